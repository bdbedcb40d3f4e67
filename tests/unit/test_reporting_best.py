"""The best materials: distinct, ordered, and light to import."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from active_learning.api.record import CampaignRecord
from active_learning.domain.label import Label
from active_learning.domain.target import Goal
from active_learning.reporting.best import best_table, distinct_best
from active_learning.testing.records import START, example_record


def _label(candidate: str, value: float, key: str | None = None, property_: str = "formation_energy_per_atom") -> Label:
    provenance = {} if key is None else {"crystal_key": key}
    return Label(candidate, property_, value, "eV/atom", START, "emt", provenance=provenance)


def _with(*labels: Label, goal: Goal = Goal.MINIMIZE) -> CampaignRecord:
    return replace(example_record(n_rounds=0, goal=goal), labels=labels)


def test_candidates_that_relaxed_to_one_crystal_count_once_with_their_best_value():
    record = _with(_label("a", -0.1, "k"), _label("b", -0.3, "k"), _label("c", -0.2, "other"))
    best = distinct_best(record)
    assert [(b.label.candidate_id, b.candidates) for b in best] == [("b", ("a", "b")), ("c", ("c",))]


def test_labels_without_a_crystal_key_are_materials_of_their_own():
    record = _with(_label("a", -0.1), _label("b", -0.1), replace(_label("c", -0.1), provenance={"crystal_key": None}))
    assert [b.label.candidate_id for b in distinct_best(record)] == ["a", "b", "c"]


def test_a_crystal_key_that_looks_like_a_candidate_is_not_that_candidate():
    assert len(distinct_best(_with(_label("a", -0.1), _label("b", -0.2, "a")))) == 2


def test_ties_break_by_candidate_id_whatever_the_order_of_the_labels():
    record = _with(_label("z", -0.1), _label("m", -0.1), _label("b", -0.1))
    assert [b.label.candidate_id for b in distinct_best(record)] == ["b", "m", "z"]


def test_labels_of_other_properties_do_not_count():
    assert distinct_best(_with(_label("a", -9.0, property_="band_gap"))) == ()


@pytest.mark.parametrize(
    ("goal", "order"), [(Goal.MINIMIZE, "abc"), (Goal.MAXIMIZE, "cba"), (Goal.WITHIN, "bac"), (Goal.LEARN, "")]
)
def test_the_goal_orders_the_materials(goal, order):
    record = _with(_label("a", -0.3), _label("b", -0.15), _label("c", 0.4), goal=goal)
    assert "".join(b.label.candidate_id for b in distinct_best(record)) == order


def test_the_table_is_json_with_the_prediction_at_choice_and_its_z():
    record = example_record()
    rows = json.loads(json.dumps(best_table(record, 8), allow_nan=False))
    assert [row["rank"] for row in rows] == list(range(1, 9))
    values = [row["value"] for row in rows]
    assert values == sorted(values)
    assert values[0] == min(label.value for label in record.target_labels)
    modelled = [row for row in rows if row["chosen_by"] == "model"]
    assert modelled
    for row in modelled:
        assert row["z"] == pytest.approx((row["value"] - row["predicted_mean"]) / row["predicted_std"])
    assert {row["chosen_by"] for row in best_table(record, 100)} == {"model", "first design"}


@pytest.mark.parametrize(("more", "chosen_by"), [({"source": "told"}, "told"), ({"rows": [3]}, "known before")])
def test_a_label_that_nobody_asked_for_has_no_round_and_no_prediction(more, chosen_by):
    label = replace(_label("stranger", -0.4), provenance={"formula": "CuO", **more})
    row = best_table(_with(label), 1)[0]
    assert (row["chosen_by"], row["round"], row["predicted_mean"], row["z"]) == (chosen_by, None, None, None)
    assert row["formula"] == "CuO"
    assert best_table(_with(_label("stranger", -0.4)), 1)[0]["formula"] == "stranger"


def test_the_table_of_a_campaign_without_labels_is_empty():
    assert best_table(example_record(n_rounds=0), 5) == []


def test_the_example_has_materials_that_several_candidates_are():
    rows = best_table(example_record(n_candidates=60, n_rounds=6), 100)
    assert any(row["n_candidates"] > 1 for row in rows)
    assert all(row["n_candidates"] == len(row["candidates"]) for row in rows)


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [("best", "matplotlib"), ("tables", "matplotlib"), ("report", "matplotlib.pyplot"), ("report", "umap")],
)
def test_a_light_module_does_not_import_a_heavy_one(module, forbidden):
    code = f"import sys, active_learning.reporting.{module}; sys.exit({forbidden!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
