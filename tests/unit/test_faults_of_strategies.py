"""Tables of a campaign file that cannot be what was meant: refused with what to do, before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from active_learning.config import CampaignSpec, read_campaign_file
from active_learning.config.defaults import default_acquisition, default_selection
from active_learning.domain.target import Goal
from active_learning.engine.assembly import Kit, assemble
from active_learning.errors import SpecError
from active_learning.surrogates.forest import ExtraTrees, RandomForest
from active_learning.testing.fakes import PROPERTY, tiny_campaign

FOREST: Mapping[str, Any] = {"kind": "random_forest", "n_trees": 10}
MODAL: Mapping[str, Any] = {"kind": "modal"}


def _kit(folder: Path, **changes: Any) -> Kit:
    return assemble(read_campaign_file(tiny_campaign(folder, **changes)))


def _faults(folder: Path, **changes: Any) -> dict[str, str]:
    with pytest.raises(SpecError, match="fault") as caught:
        _kit(folder, **changes)
    return {fault.path: fault.message for fault in caught.value.faults}


# Numbers and lists.


@pytest.mark.parametrize(
    ("surrogate", "key", "message"),
    [
        (
            {"kind": "random_forest", "max_features": "log2"},
            "surrogate.max_features",
            "Input should be a valid number, unable to parse string as a number; or Input should be 'sqrt', got 'log",
        ),
        (
            {"kind": "modal", "estimator": "sklearn.ensemble:Foo"},
            "surrogate.estimator",
            "cannot import 'sklearn.ensemble:Foo': module 'sklearn.ensemble' has no attribute 'Foo'.",
        ),
        ({"kind": "neural_network", "hidden": [0]}, "surrogate.hidden.0", "Input should be greater than or equal to 1"),
        ({"kind": "neural_network", "hidden": []}, "surrogate.hidden", "Input should have 1 or more items, got []."),
        ({"kind": "neural_network", "hidden": 3}, "surrogate.hidden", "Input should be a list, got 3."),
    ],
)
def test_a_wrong_value_has_one_fault_in_words_of_the_file(
    tmp_path: Path, surrogate: Any, key: str, message: str
) -> None:
    found = _faults(tmp_path, surrogate=surrogate)
    assert list(found) == [key]
    assert found[key].startswith(message)


def test_a_plug_in_without_keys_says_that_it_has_none(tmp_path: Path) -> None:
    found = _faults(tmp_path, selection={"kind": "top", "n": 3})
    assert found == {"selection.n": "unknown key. There are none here but 'kind'."}


def test_a_rule_straight_in_the_table_of_stopping_is_named(tmp_path: Path) -> None:
    found = _faults(tmp_path, stopping={"kind": "labels", "max": 3})
    assert found["stopping.kind"] == "unknown key. Known: all, any."


@pytest.mark.parametrize(
    ("heading", "path", "message"),
    [
        ("[stopping.any]", "stopping.any", "Input should be a list of tables, each with its heading in two brackets"),
        ("[[stopping.some]]", "stopping.some", "unknown key. Known: all, any."),
    ],
)
def test_a_wrong_heading_of_a_rule_is_found_at_its_line(tmp_path: Path, heading: str, path: str, message: str) -> None:
    file = tiny_campaign(tmp_path, stopping=None)
    text = file.read_text(encoding="utf-8")
    file.write_text(f'{text}{heading}\nkind = "labels"\nmax = 3\n', encoding="utf-8")
    with pytest.raises(SpecError, match=r"line 12, stopping") as caught:
        assemble(read_campaign_file(file))
    [fault] = caught.value.faults
    assert (fault.path, fault.line) == (path, len(text.splitlines()) + 1)
    assert fault.message.startswith(message)


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf", "1e101"])
def test_a_bound_is_a_value_that_a_label_may_have(tmp_path: Path, bound: str) -> None:
    file = tiny_campaign(tmp_path, target={"property": PROPERTY, "goal": "within", "low": 0.0, "high": 7.5})
    file.write_text(file.read_text(encoding="utf-8").replace("7.5", bound), encoding="utf-8")
    with pytest.raises(SpecError, match=r"finite number|needs low < high|at most 1e\+100"):
        assemble(read_campaign_file(file))


def test_a_first_design_of_one_trains_no_model_and_is_refused(tmp_path: Path) -> None:
    found = _faults(tmp_path, rounds={"initial": 1})
    assert found == {"rounds.initial": "Input should be greater than or equal to 2, got 1."}


# Goals.


@pytest.mark.parametrize("goal", ["learn", "classify"])
def test_no_improvement_is_refused_where_nothing_can_improve(tmp_path: Path, goal: str) -> None:
    # It would never say stop, and the whole pool would be paid for.
    stopping = {"any": [{"kind": "no_improvement", "rounds": 2}]}
    found = _faults(tmp_path, target={"property": PROPERTY, "goal": goal}, surrogate=FOREST, stopping=stopping)
    assert "needs a best label to improve on" in found["stopping.any.0"]
    assert "take 'error_plateau'" in found["stopping.any.0"]


@pytest.mark.parametrize(
    ("surrogate", "acquisition", "joint"),
    [
        ({"kind": "committee"}, "expected_model_gain", "fantasies"),
        ({"kind": "committee", "members": [FOREST, FOREST]}, "expected_model_gain", "fantasies"),
        ({"kind": "committee", "members": [FOREST, MODAL]}, "uncertainty", "diverse"),
        (MODAL, "uncertainty", "diverse"),
        ({"kind": "modAL.models:CommitteeRegressor"}, "uncertainty", "diverse"),
    ],
)
def test_what_is_left_out_fits_the_surrogate(surrogate: Any, acquisition: str, joint: str) -> None:
    rule = default_acquisition(Goal.LEARN, surrogate)
    assert rule == {"kind": acquisition}
    assert default_selection(Goal.LEARN, surrogate, rule) == {"kind": "diverse"}
    bound = {"kind": "upper_confidence_bound"}
    assert default_selection(Goal.MAXIMIZE, surrogate, bound) == {"kind": "diverse"}
    assert default_selection(Goal.MAXIMIZE, surrogate, bound, overlaps=True) == {"kind": joint}
    assert default_selection(Goal.MAXIMIZE, surrogate, {"kind": "expected_improvement"}) == {"kind": joint}


def test_the_file_is_filled_in_for_its_surrogate(tmp_path: Path) -> None:
    target = {"property": PROPERTY, "goal": "learn"}
    spec = _kit(tmp_path, target=target, surrogate=MODAL, selection=None).spec
    assert isinstance(spec, CampaignSpec)
    assert (spec.acquisition.kind, spec.selection.kind) == ("uncertainty", "diverse")


# Plug-ins that are made of plug-ins.


def test_a_member_without_a_kind_is_a_fault(tmp_path: Path) -> None:
    found = _faults(tmp_path, surrogate={"kind": "committee", "members": [FOREST, {"n_trees": 10}]})
    assert found == {"surrogate.members": "table 2 of 2 has no 'kind', which names a plug-in; it has: n_trees."}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"xi": 0.1}], "table 1 of 1 has no 'kind', which names a plug-in; it has: xi."),
        ([{"kind": "expected_improvement", "weigh_success": True}], "weigh_success cannot stand in a rule"),
        ([{"kind": "expected_improvement"}] * 2, "the rule 'expected_improvement' stands there twice"),
    ],
)
def test_rules_that_share_a_batch_have_a_kind_and_are_not_weighed(tmp_path: Path, rules: Any, message: str) -> None:
    found = _faults(tmp_path, acquisition={"kind": "adaptive", "rules": rules})
    assert list(found) == ["acquisition.rules"]
    assert found["acquisition.rules"].startswith(message)


def test_rules_without_a_goal_in_common_are_named_with_what_they_serve(tmp_path: Path) -> None:
    rules = [{"kind": "expected_improvement"}, {"kind": "entropy"}]
    found = _faults(tmp_path, acquisition={"kind": "adaptive", "rules": rules})
    assert found["acquisition"].endswith(
        "They serve: expected_improvement: maximize, minimize, within; entropy: classify."
    )


def test_a_committee_that_cannot_classify_says_who_must_go_and_who_may_stay(tmp_path: Path) -> None:
    surrogate = {"kind": "committee", "members": [FOREST, {"kind": "gaussian_process"}]}
    found = _faults(tmp_path, target={"property": PROPERTY, "goal": "classify"}, surrogate=surrogate)
    assert found["surrogate.kind"] == (
        "of this committee GaussianProcess cannot tell classes apart, and must be left out; "
        "random_forest, extra_trees, neural_network and committees of them can."
    )


# Models without doubt.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bootstrap": False}, "there is no spread. Set bootstrap = true or max_features below 1"),
        ({"uncertainty": "jackknife", "n_trees": 2}, "2 trees tell nothing. Set n_trees to 20 or more"),
    ],
)
def test_a_forest_that_could_not_doubt_is_refused(tmp_path: Path, options: Any, message: str) -> None:
    assert message in _faults(tmp_path, surrogate={"kind": "random_forest", **options})["surrogate"]


@pytest.mark.parametrize("share", [0.5, "sqrt"])
def test_a_search_never_comes_to_a_forest_of_equal_trees(share: Any) -> None:
    forest = RandomForest(RandomForest.Options(bootstrap=False, max_features=share))
    assert 1.0 not in forest.settings["max_features"]
    for value in forest.settings["max_features"]:
        forest.with_settings({"max_features": value})
    assert 1.0 in ExtraTrees(ExtraTrees.Options()).settings["max_features"]
