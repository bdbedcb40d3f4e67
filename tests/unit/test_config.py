"""The campaign file: every fault at once with its place, and what may change in a campaign's life."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.config import CampaignSpec, read_campaign_file, read_header
from active_learning.config.spec import FIXED
from active_learning.domain.options import parse_duration
from active_learning.engine.assembly import Kit, assemble
from active_learning.errors import LeaseHeld, SpecChanged, SpecError, UserError
from active_learning.plugins import GROUPS, installed, load
from active_learning.testing.fakes import FakeClock, tiny_campaign, without_workers

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "examples").glob("*.toml"), *(ROOT / "flows" / "templates").glob("*.toml")])

FAULTY = """\
name = "two words"
seed = -1
colour = "blue"

[target]
property = "energy"
goal = "minimise"

[pool]
kind = "prototypse"
elements = ["Al"]

[features]
kind = "matminer"
setz = ["magpie"]

[surrogate]
n_trees = 10

[rounds]
batch_size = 8
max_in_flight = 4

[labeler]
kind = "no_such_module:Labeler"

[requests]
timeout = "10 parsecs"
retry = 1

[[stopping.any]]
kind = "labels"
max = 120

[[stopping.any]]
kind = "labels"
maximum = 3
"""


def faults(path: Path, text: str) -> dict[str, tuple[int | None, str]]:
    """Key path -> line and message of each fault of a file."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=f"{path.name}: [0-9]+ fault") as caught:
        assemble(read_campaign_file(path))
    return {fault.path: (fault.line, fault.message) for fault in caught.value.faults}


def kit(folder: Path, **changes: Any) -> Kit:
    return assemble(read_campaign_file(tiny_campaign(folder, **changes)))


def fault_of(folder: Path, **changes: Any) -> tuple[str, str]:
    """The one fault of a tiny campaign that was changed."""
    path = tiny_campaign(folder, **changes)
    with pytest.raises(SpecError, match="1 fault\n") as caught:
        assemble(read_campaign_file(path))
    (fault,) = caught.value.faults
    return fault.path, fault.message


def test_every_fault_is_reported_at_once_with_its_key_and_line(tmp_path: Path) -> None:
    found = faults(tmp_path / "bad.toml", FAULTY)
    assert {path: line for path, (line, _) in found.items()} == {
        "name": 1,
        "seed": 2,
        "colour": 3,
        "target.goal": 7,
        "pool.kind": 10,
        "features.setz": 15,
        "surrogate.kind": 17,
        "rounds": 20,
        "labeler.kind": 25,
        "requests.timeout": 28,
        "requests.retry": 29,
        "stopping.any.1.max": 35,
        "stopping.any.1.maximum": 37,
    }
    message = {path: text for path, (_, text) in found.items()}
    assert message["features.setz"] == "unknown key. Did you mean 'sets'?"
    assert message["requests.retry"] == "unknown key. Did you mean 'retries'?"
    assert message["colour"].startswith(
        "unknown key. Known: acquisition, approval, cache, control, execution, features,"
    )
    assert message["pool.kind"].startswith("No pool named 'prototypse'. Did you mean 'prototypes'? Installed:")
    assert message["surrogate.kind"] == message["stopping.any.1.max"] == "missing."
    assert "no round could ever open" in message["rounds"]
    assert (
        "'10 parsecs' is not a duration; write it as '30 s', '10 min', '2 h' or '1 day'" in message["requests.timeout"]
    )
    assert message["labeler.kind"].startswith("The labeler 'no_such_module:Labeler' cannot be imported")
    assert "got 'minimise'" in message["target.goal"]
    assert "got -1" in message["seed"]


def test_the_message_shows_every_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(FAULTY, encoding="utf-8")
    with pytest.raises(SpecError, match=r"13 faults\n") as caught:
        assemble(read_campaign_file(path))
    assert "  line 15, features.setz: unknown key. Did you mean 'sets'?" in str(caught.value).splitlines()
    assert caught.value.exit_code == 2


def test_an_empty_file_is_told_what_it_lacks(tmp_path: Path) -> None:
    found = faults(tmp_path / "empty.toml", "")
    assert set(found) == {"name", "target", "pool", "features", "labeler"}
    assert {line for line, _ in found.values()} == {None}


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('name = "x"\nseed = = 3\n', encoding="utf-8")
    with pytest.raises(SpecError, match=r"not valid TOML: .*line 2"):
        read_campaign_file(path)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(UserError, match="cannot be read"):
        read_campaign_file(path)


def test_a_file_that_is_not_there_has_a_near_name(tmp_path: Path) -> None:
    tiny_campaign(tmp_path)
    with pytest.raises(UserError, match=r"No campaign file at .*tinny\.toml\. Did you mean tiny\.toml\?"):
        read_campaign_file(tmp_path / "tinny.toml")
    with pytest.raises(UserError, match="is a folder; name the campaign file in it"):
        read_campaign_file(tmp_path)
    with pytest.raises(UserError, match="'motherlode init DIR' writes one to start from"):
        read_campaign_file(tmp_path / "gone" / "x.toml")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30 s", 30), ("10 min", 600), ("1.5h", 5400), ("2 days", 172_800), (" 1 day ", 86_400), (45, 45), (0.5, 0.5)],
)
def test_durations_are_written_as_people_do(written: Any, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize("written", ["10", "min", "-3 s", "1 month", "0 s", 0, -1, True, None, float("nan"), "1e3 s"])
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="is not a duration; write it as"):
        parse_duration(written)


@pytest.mark.parametrize("group", GROUPS)
def test_a_near_name_is_offered_for_every_kind_of_plugin(group: str) -> None:
    known = installed(group)[0].kind
    with pytest.raises(UserError, match=f"No {GROUPS[group]} named '{known}x'. Did you mean '{known}'"):
        load(group, f"{known}x")
    with pytest.raises(UserError, match="Your own class goes in as 'module:Class'"):
        load(group, "zzzzzz")


def test_every_installed_plugin_loads_and_has_options() -> None:
    for group in GROUPS:
        for plugin in installed(group):
            assert load(group, plugin.kind).Options.model_fields is not None
            assert plugin.distribution.startswith("motherlode ")


def test_a_bad_option_of_a_plugin_is_reported_with_its_place(tmp_path: Path) -> None:
    pool = {"kind": "active_learning.testing.fakes:TinyPool", "n": 0}
    path, message = fault_of(tmp_path, pool=pool)
    assert path == "pool.n"
    assert message == "Input should be greater than or equal to 1, got 0."


_OWN = """
from active_learning.domain import options
from active_learning.stopping.rules import Labels

class Best:
    class Options(options.Options):
        file: options.FilePath

    def __init__(self, options):
        self.options = options

    def check(self, progress):
        return None

class Bare:
    pass

def function():
    pass
"""

_numbers = itertools.count()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[str]:
    """A module of the user's, beside the campaign file."""
    name = f"own_rules_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(_OWN, encoding="utf-8")
    path = list(sys.path)
    yield name
    sys.path[:] = path
    sys.modules.pop(name, None)


def test_a_class_beside_the_campaign_file_is_a_plugin(tmp_path: Path, own: str) -> None:
    built = kit(tmp_path, stopping={"any": [{"kind": f"{own}:Best", "file": "limits.csv"}]})
    assert type(built.rules.any[0]).__name__ == "Best"
    assert built.rules.any[0].options.file == tmp_path / "limits.csv"  # type: ignore[attr-defined]
    assert built.python_path == (str(tmp_path),)


def test_a_class_without_options_says_what_to_give_it(tmp_path: Path, own: str) -> None:
    path, message = fault_of(tmp_path, stopping={"any": [{"kind": f"{own}:Bare"}]})
    assert path == "stopping.any.0.kind"
    assert f"The stopping rule '{own}:Bare' has no options model: give the class an attribute 'Options'" in message


def test_what_is_not_a_class_or_not_there_is_named(tmp_path: Path, own: str) -> None:
    assert (
        fault_of(tmp_path, surrogate={"kind": f"{own}:function"})[1] == f"'{own}:function' is a function, not a class."
    )
    missing = fault_of(tmp_path, surrogate={"kind": f"{own}:Missing"})[1]
    assert missing == f"The surrogate '{own}:Missing': module {own} has no 'Missing'."


def test_a_modal_strategy_stands_as_a_kind(tmp_path: Path) -> None:
    built = kit(tmp_path, acquisition={"kind": "modAL.acquisition:max_EI", "tradeoff": 0.1})
    assert type(built.acquisition).__name__ == "ModalStrategy"
    assert built.spec.acquisition.kind == "modAL.acquisition:max_EI"


def test_options_of_the_features_reach_the_workers_as_checked(tmp_path: Path) -> None:
    assert kit(tmp_path).featurizer_options == {"fails": []}


def test_a_property_that_the_labeler_does_not_give_has_a_near_name(tmp_path: Path) -> None:
    path, message = fault_of(tmp_path, target={"property": "energi", "goal": "minimize"})
    assert path == "target.property"
    assert "gives no 'energi'. Did you mean 'energy'? It gives: energy." in message


def test_a_unit_that_is_not_the_labelers_is_refused(tmp_path: Path) -> None:
    target = {"property": "energy", "goal": "minimize", "unit": "kJ/mol"}
    assert fault_of(tmp_path, target=target) == ("target.unit", "the labeler gives energy in 'eV', not in 'kJ/mol'.")
    assert kit(tmp_path, target=target | {"unit": "eV"}).target.unit == "eV"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"goal": "within", "low": 1.0}, "goal 'within' needs low < high"),
        ({"goal": "within", "low": 1.0, "high": 1.0}, "goal 'within' needs low < high"),
        ({"goal": "learn", "low": 1.0}, "low and high go with goal 'within', not with 'learn'"),
    ],
)
def test_bounds_go_with_the_goal_within(tmp_path: Path, target: dict[str, Any], message: str) -> None:
    path, said = fault_of(tmp_path, target={"property": "energy"} | target)
    assert path == "target"
    assert message in said


def test_an_acquisition_that_cannot_serve_the_goal_is_refused(tmp_path: Path) -> None:
    target = {"property": "energy", "goal": "learn"}
    path, message = fault_of(tmp_path, target=target, acquisition={"kind": "expected_improvement"})
    assert path == "acquisition.kind"
    assert "cannot serve the goal 'learn'; it serves: maximize" in message
    assert kit(tmp_path, target=target, acquisition={"kind": "uncertainty"}).target.goal == "learn"


def test_a_surrogate_that_cannot_tell_classes_apart_is_refused(tmp_path: Path) -> None:
    target = {"property": "energy", "goal": "classify"}
    acquisition = {"kind": "random"}
    path, message = fault_of(tmp_path, target=target, surrogate={"kind": "modal"}, acquisition=acquisition)
    assert path == "surrogate.kind"
    assert "'modal' cannot tell classes apart; random_forest, extra_trees" in message


def test_only_gains_can_be_weighed(tmp_path: Path) -> None:
    acquisition = {"kind": "upper_confidence_bound", "weigh_success": True}
    path, message = fault_of(tmp_path, acquisition=acquisition)
    assert path == "acquisition.weigh_success"
    assert "no amounts of gain" in message
    assert kit(tmp_path, acquisition=acquisition | {"kind": "expected_improvement"}).spec.acquisition.weigh_success


def test_the_header_is_read_without_judging_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('name = "x"\nworkdir = "y"\nnonsense = 3\n', encoding="utf-8")
    assert read_header(path) == ("x", tmp_path / "y", "sqlite")
    path.write_text("seed = 3\n", encoding="utf-8")
    with pytest.raises(SpecError, match="name: missing"):
        read_header(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_example_and_template_assembles(path: Path) -> None:
    assert assemble(read_campaign_file(path)).spec.name


FIXED_CHANGES: dict[str, Any] = {
    "seed": 4,
    "store": "sqlite+pysqlite:///{workdir}/campaign.db",
    "target": {"property": "energy", "goal": "maximize"},
    "pool": {"kind": "active_learning.testing.fakes:TinyPool", "n": 29},
    "features": {"kind": "active_learning.testing.fakes:TinyFeaturizer", "fails": ["AgAl"]},
    "labeler": {"kind": "active_learning.testing.fakes:FakeLabeler", "fates": {"AgAl": "nan"}},
}
FREE_CHANGES: dict[str, Any] = {
    "rounds": {"initial": 5, "batch_size": 1, "max_in_flight": 7},
    "surrogate": {"kind": "random_forest", "n_trees": 10},
    "acquisition": {"kind": "expected_improvement"},
    "selection": {"kind": "diverse"},
    "submitter": {"kind": "inline"},
    "requests": {"retries": 5},
    "stopping": {"any": [{"kind": "no_improvement", "rounds": 3}]},
    "preparation": {"max_correlation": 0.9},
    "training": {"test_fraction": 0.2},
    "search": {"every": 5},
    "control": {"fraction": 0.1},
    "execution": {"workers": 3},
    "cache": {"mode": "read", "path": "labels"},
    "approval": {"required": True},
}


def test_every_key_of_the_file_is_known_to_be_fixed_or_free() -> None:
    assert {*FIXED_CHANGES, *FREE_CHANGES, "name", "workdir"} == set(CampaignSpec.model_fields)
    assert {*FIXED_CHANGES, "name"} == set(FIXED)


@pytest.mark.parametrize("key", FIXED_CHANGES)
def test_what_labels_mean_cannot_change(tmp_path: Path, key: str) -> None:
    with without_workers(Campaign.create(tiny_campaign(tmp_path), clock=FakeClock())) as begun:
        begun.ask()  # the pool and its features are there
    change = FIXED_CHANGES[key]
    if key == "store":
        change = change.format(workdir=tmp_path / "tiny.campaign")
    path = tiny_campaign(tmp_path, **{key: change})
    with pytest.raises(SpecChanged, match=rf"\[{key}\] changed since campaign 'tiny' started.*start a new campaign"):
        Campaign.create(path, clock=FakeClock())


def test_all_else_is_taken_over_and_noted(tmp_path: Path) -> None:
    Campaign.create(tiny_campaign(tmp_path), clock=FakeClock()).close()
    with Campaign.create(tiny_campaign(tmp_path, **FREE_CHANGES), clock=FakeClock()) as campaign:
        assert campaign.store.read().spec["rounds"]["initial"] == 4
        with campaign.work():
            assert campaign.store.read().spec["rounds"]["initial"] == 5
        (event,) = [event for event in campaign.store.events() if event.kind == "spec_changed"]
        assert event.data == {"keys": sorted(FREE_CHANGES), "spec": campaign.store.read().spec}
        version = campaign.store.read().version
        with campaign.work():
            assert campaign.store.read().version == version


def _limit(folder: Path, n: int, **changes: Any) -> Campaign:
    path = tiny_campaign(folder, stopping={"any": [{"kind": "labels", "max": n}]}, **changes)
    return without_workers(Campaign.create(path, clock=FakeClock()))


def test_a_campaign_that_stopped_goes_on_when_its_budget_is_raised(tmp_path: Path) -> None:
    with _limit(tmp_path, 6) as campaign:
        first = campaign.run()
    assert (first["phase"], first["n_labels"]) == ("stopped", 6)
    with _limit(tmp_path, 6) as campaign:
        assert campaign.run() == first
    with _limit(tmp_path, 9) as campaign:
        second = campaign.run()
    assert (second["phase"], second["n_labels"], second["stop_rule"]) == ("stopped", 9, "labels")
    with _limit(tmp_path, 7) as campaign:
        assert campaign.run() == second


def test_a_campaign_that_stays_stopped_for_another_reason_says_which(tmp_path: Path) -> None:
    pool = {"kind": "active_learning.testing.fakes:TinyPool", "n": 6}
    with _limit(tmp_path, 6, pool=pool) as campaign:
        assert campaign.run()["stop_rule"] == "labels"
    with _limit(tmp_path, 9, pool=pool) as campaign:
        status = campaign.run()
    assert (status["phase"], status["stop_rule"], status["n_labels"]) == ("stopped", "pool_exhausted", 6)


def test_a_second_worker_is_refused_while_the_first_works(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    with Campaign.create(path) as one, Campaign.create(path) as two, one.work():
        with pytest.raises(LeaseHeld, match="is being worked on by process"), two.work():
            pytest.fail("two work at once")
        assert two.status()["working"].startswith("process ")
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_a_campaign_that_never_started_says_how_to_start_it(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    with pytest.raises(UserError, match=r"Campaign 'tiny' has not started: .* Start it: motherlode run .*tiny\.toml"):
        Campaign.open(path)
