"""A campaign's decisions computed again: the same wherever nobody touched it, and found out wherever somebody did."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from learning_campaigns import FOREST, POOL, run, steps

from active_learning.api import approving, steering
from active_learning.api.campaign import Campaign
from active_learning.api.provenance.comparing import Comparison
from active_learning.api.provenance.history import BrokenHistory, Past
from active_learning.api.provenance.replaying import replay
from active_learning.api.provenance.specs import specs_of
from active_learning.api.provenance.steps import Outcome, Step
from active_learning.api.telling import Told
from active_learning.domain import actions as do
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform
from active_learning.errors import StaleVersion, UserError
from active_learning.testing.fakes import FakeClock, tiny_campaign, true_value, without_workers

_SHM = Path("/dev/shm")
_PEOPLES = {"kind": "active_learning.testing.faults:FakeScheduler", "at_once": False}
_ASYNC = {"initial": 4, "batch_size": 2, "max_in_flight": 5}


def looked_at(path: Path) -> dict[str, Step]:
    """What came of replaying a campaign, by the names of the steps; the last of a name counts."""
    with replay(path) as past:
        return {step.name: step for step in past.steps()}


def bad(found: Mapping[str, Step]) -> dict[str, str]:
    """What is not the same, and how."""
    said = {name: " | ".join([step.said, *map(str, step.differences)]) for name, step in found.items()}
    return {name: said[name] for name, step in found.items() if step.outcome is not Outcome.SAME}


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """The store behind a campaign's back."""
    with closing(sqlite3.connect(path.parent / "tiny.campaign" / "campaign.db")) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        yield connection
        connection.commit()


def _everywhere(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Replace a text in all columns of all tables: a forger who forgets nothing."""
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
        for column in connection.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchall():
            name = column[0]
            connection.execute(
                f'UPDATE {table} SET "{name}" = replace("{name}", ?, ?) WHERE instr("{name}", ?)', (old, new, old)
            )


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory, where there is such a folder: nothing here is lost with the machine, and commits do not wait."""
    with tempfile.TemporaryDirectory(dir=_SHM if _SHM.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an asynchronous campaign of a forest, that ended. Tests work on copies of its store."""
    folder = tmp_path_factory.mktemp("ended")
    run(folder, surrogate=FOREST, rounds=_ASYNC, submitter=_PEOPLES, pool=POOL, control={"fraction": 0.25})
    return folder / "tiny.toml"


@pytest.fixture
def copy(ended: Path, tmp_path: Path) -> Path:
    shutil.copytree(ended.parent, tmp_path / "copy")
    return tmp_path / "copy" / "tiny.toml"


_CAMPAIGNS: Mapping[str, Mapping[str, Any]] = {
    "nearest label": {},
    "asynchronous forest": {"surrogate": FOREST, "rounds": _ASYNC, "submitter": _PEOPLES},
    "adaptive, control and test set": {
        "surrogate": FOREST,
        "pool": POOL,
        "acquisition": {"kind": "adaptive"},
        "control": {"fraction": 0.3},
        "training": {"test_fraction": 0.2, "folds": 3},
        "stopping": {"any": [{"kind": "labels", "max": 16}]},
    },
    "joint batches of a process": {
        "surrogate": {"kind": "gaussian_process"},
        "acquisition": {"kind": "expected_improvement"},
        "selection": {"kind": "fantasies"},
    },
    "search for settings": {"surrogate": FOREST, "search": {"every": 2, "trials": 3}, "training": {"folds": 2}},
    "classes": {
        "surrogate": FOREST,
        "target": {"property": "energy", "goal": "classify"},
        "labeler": {"kind": "learning_campaigns:ClassLabeler", "above": -0.5},
        "acquisition": {"kind": "entropy"},
    },
    "failures weighed": {
        "surrogate": FOREST,
        "acquisition": {"kind": "expected_improvement", "weigh_success": True, "per_cost": True},
        "labeler": {
            "kind": "active_learning.testing.fakes:FakeLabeler",
            "fates": {"AgAl": "raises", "AlAu": "unconverged", "AgAl2": "lost", "AgAu": "rejected"},
        },
    },
    "missing descriptors": {
        "surrogate": FOREST,
        "features": {"kind": "learning_campaigns:GappyFeaturizer", "missing": "impute"},
        "stopping": {"all": [{"kind": "labels", "max": 6}, {"kind": "labels", "max": 8}]},
    },
    "the same label everywhere": {"surrogate": FOREST, "labeler": {"kind": "learning_campaigns:ConstantLabeler"}},
    "all of a small pool": {
        "pool": {"kind": "active_learning.testing.fakes:TinyPool", "n": 9},
        "stopping": {"any": []},
    },
}


@pytest.mark.parametrize("name", _CAMPAIGNS)
def test_every_decision_of_a_campaign_that_nobody_touched_is_the_same(name: str, tmp_path: Path) -> None:
    ran = run(tmp_path, **dict(_CAMPAIGNS[name]))
    found = looked_at(tmp_path / "tiny.toml")
    assert bad(found) == {}
    assert [n for n in found if n.startswith("round ")] == [f"round {r.number}" for r in ran.facts.rounds]
    assert all(step.rounding == 0.0 for step in found.values()), "on one machine every digit is the same"


def test_a_round_tells_which_labels_were_known_and_which_requests_in_flight(ended: Path) -> None:
    found = looked_at(ended)
    with Campaign.open(ended) as campaign:
        facts = campaign.store.read()
    assert (found["round 0"].n_labels, found["round 0"].in_flight) == (0, ())
    waited = [name for name, step in found.items() if step.in_flight]
    assert waited, "an asynchronous campaign opens rounds while requests are in flight"
    for record in facts.rounds[1:]:
        step = found[f"round {record.number}"]
        assert step.n_labels == record.n_labels
        earlier = {r.id for r in facts.requests if r.round < record.number}
        assert set(step.in_flight) <= earlier
        assert len(step.in_flight) + record.n_labels == len(earlier)


def test_a_search_that_had_a_time_ends_after_as_many_trials_as_then(tmp_path: Path) -> None:
    search = {"every": 1, "seconds": "0.05 s"}
    ran = run(tmp_path, surrogate=FOREST, search=search, training={"folds": 2})
    searched = [r.settings for r in ran.facts.rounds if r.settings is not None and r.settings["round"] == r.number]
    assert searched
    assert bad(looked_at(tmp_path / "tiny.toml")) == {}


def test_a_campaign_is_only_read(ended: Path) -> None:
    before = _hashes(ended.parent)
    assert before
    looked_at(ended)
    assert _hashes(ended.parent) == before


def test_a_campaign_is_replayed_while_another_process_works_on_it(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, submitter=_PEOPLES)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign, campaign.work() as bench:
        for n, _ in enumerate(steps(bench)):
            if n % 8 == 7:
                found = looked_at(path)
                assert bad(found) == {}
                assert len(found) == 3 + len(bench.store.read().rounds)
    assert n >= 16


class Ticking(FakeClock):
    """Time passes whenever somebody looks."""

    def now(self) -> Any:
        self.sleep(0.25)
        return super().now()


def _interfered(folder: Path, says: Callable[[Campaign, int], None], **changes: Any) -> Path:
    """A campaign in which a person says something between each decision and what follows from it."""
    path = tiny_campaign(folder, **({"surrogate": FOREST, "rounds": _ASYNC, "submitter": _PEOPLES} | changes))
    with without_workers(Campaign.create(path, clock=Ticking())) as campaign, campaign.work() as bench:
        n_stale = 0
        for n in range(400):
            action = next_action(bench.snapshot())
            if isinstance(action, do.Finished):
                break
            scheduler: Any = campaign.kit.submitter
            if isinstance(action, do.Wait | do.Collect):
                for handle in scheduler.running()[:2]:
                    scheduler.end(handle)
            says(campaign, n)
            try:
                perform(bench, action)
            except StaleVersion:
                n_stale += 1
    return path


def test_labels_told_between_a_decision_and_its_round_are_no_difference(tmp_path: Path) -> None:
    def says(campaign: Campaign, n: int) -> None:
        facts = campaign.store.read()
        if facts.pool is not None and n % 3 == 0:
            known = {label.candidate_id for label in facts.labels}
            free = next(c for c in campaign.pool().ids if c not in known)
            campaign.tell([Told(free, true_value(campaign.pool().candidate(free)))])

    path = _interfered(tmp_path, says, stopping={"any": [{"kind": "labels", "max": 20}]})
    found = looked_at(path)
    assert bad(found) == {}
    assert len([name for name in found if name.startswith("round ")]) >= 2


def test_labels_taken_back_and_told_anew_are_no_difference(tmp_path: Path) -> None:
    def says(campaign: Campaign, n: int) -> None:
        labels = campaign.store.read().labels
        if labels and n % 6 == 5:
            label = labels[n % len(labels)]
            campaign.retract(label.candidate_id, reason="a typing error", may_ask_again=n % 12 == 5)
            if n % 18 == 5:
                campaign.tell([Told(label.candidate_id, label.value + 0.125)])

    path = _interfered(tmp_path, says)
    with Campaign.open(path) as campaign:
        assert len(campaign.store.read().retractions) >= 2
    assert bad(looked_at(path)) == {}


def test_rounds_that_waited_for_a_person_and_a_cancelled_end_are_no_difference(tmp_path: Path) -> None:
    def says(campaign: Campaign, n: int) -> None:
        facts, now = campaign.store.read(), campaign.clock.now()
        if any(a.state.value == "asked" for a in facts.approvals):
            _, planned = approving.waiting_round(facts)
            approving.approve(campaign.store, now, by="me", drop=[planned[0].candidate_id] if len(planned) > 1 else [])
        if len(facts.rounds) == 4 and facts.ending is None:
            steering.cancel(campaign.store, now, by="me")

    path = _interfered(tmp_path, says, approval={"required": True})
    found = looked_at(path)
    assert bad(found) == {}
    with Campaign.open(path) as campaign:
        facts = campaign.store.read()
        assert facts.verdict is not None
        assert facts.verdict.kind == "cancelled"
        assert any(approval.dropped for approval in facts.approvals)


def test_an_end_by_the_clock_is_no_difference(tmp_path: Path) -> None:
    stopping = {"any": [{"kind": "wall_time", "max": "40 s"}, {"kind": "labels", "max": 70}]}
    path = _interfered(tmp_path, lambda *_: None, stopping=stopping, pool=POOL)
    with Campaign.open(path) as campaign:
        verdict = campaign.store.read().verdict
    assert verdict is not None
    assert verdict.kind == "wall_time"
    assert bad(looked_at(path)) == {}


def test_a_changed_file_is_in_force_from_its_change_on(tmp_path: Path) -> None:
    clock = FakeClock()

    def go_on(**changes: Any) -> None:
        with without_workers(Campaign.create(tiny_campaign(tmp_path, **changes), clock=clock)) as campaign:
            campaign.run()

    first: dict[str, Any] = {"surrogate": FOREST, "stopping": {"any": [{"kind": "labels", "max": 8}]}}
    go_on(**first)
    more: dict[str, Any] = first | {"stopping": {"any": [{"kind": "labels", "max": 14}]}}
    go_on(**more, acquisition={"kind": "uncertainty"})
    found = looked_at(tmp_path / "tiny.toml")
    assert bad(found) == {}
    assert "goes on" in found["judged again"].said
    with replay(tmp_path / "tiny.toml") as past:
        kinds = [spec.tables["acquisition"]["kind"] for spec in specs_of(past.stored, past.events)]
    assert kinds == ["upper_confidence_bound", "uncertainty"]


def _thrice_changed(folder: Path) -> Path:
    clock = FakeClock()
    for n, kind in enumerate(("upper_confidence_bound", "uncertainty", "random")):
        stopping = {"any": [{"kind": "labels", "max": 6 + 4 * n}]}
        path = tiny_campaign(folder, surrogate=FOREST, acquisition={"kind": kind}, stopping=stopping)
        with without_workers(Campaign.create(path, clock=clock)) as campaign:
            campaign.run()
    return path


def test_a_table_that_changed_twice_is_unknown_in_between_unless_its_event_holds_the_file(tmp_path: Path) -> None:
    path = _thrice_changed(tmp_path)
    with database(path) as connection:
        rows = connection.execute("SELECT number, data FROM events WHERE kind = 'spec_changed'").fetchall()
        (_, whole), *_ = connection.execute("SELECT name, spec FROM campaigns").fetchall()
        for number, data in rows:
            kept = {"keys": json.loads(data)["keys"]}
            connection.execute("UPDATE events SET data = ? WHERE number = ?", (json.dumps(kept), number))
    assert len(rows) == 2
    found = looked_at(path)
    unknown = {name for name, step in found.items() if step.outcome is Outcome.UNKNOWN}
    assert unknown
    assert set(bad(found)) == unknown
    assert "[acquisition], [stopping] changed more than once" in bad(found)[max(unknown)]
    between = json.loads(whole) | {"acquisition": {"kind": "uncertainty", "weigh_success": False, "per_cost": False}}
    between["stopping"] = {"any": [{"kind": "labels", "max": 10}], "all": []}
    with database(path) as connection:
        told = {"keys": ["acquisition", "stopping"], "spec": between}
        connection.execute("UPDATE events SET data = ? WHERE number = ?", (json.dumps(told), rows[0][0]))
    assert bad(looked_at(path)) == {}


def test_a_tampered_pick_is_found_in_its_round_though_history_and_tables_agree(copy: Path) -> None:
    with Campaign.open(copy) as campaign:
        facts, ids = campaign.store.read(), list(campaign.pool().ids)
    asked = {r.candidate_id for r in facts.requests}
    victim = next(r for r in facts.requests if r.round == 2 and r.arm.value == "chosen")
    other = next(c for c in ids if c not in asked)
    with database(copy) as connection:
        _everywhere(connection, victim.candidate_id, other)
    found = looked_at(copy)
    assert found["history"].outcome is Outcome.SAME
    assert found["round 1"].outcome is Outcome.SAME
    (difference, *_) = found["round 2"].differences
    assert difference.what == "picks"
    assert other in difference.stored
    assert victim.candidate_id in difference.computed


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("score", 9.5, ".score"), ("arm", "control", ".arm"), ("reason", "because", ".reason"), ("mean", None, ".mean")],
)
def test_what_is_said_of_a_pick_is_computed_again(copy: Path, column: str, value: Any, said: str) -> None:
    with database(copy) as connection:
        where = "round = 1 AND arm = 'chosen' AND ordinal = (SELECT min(ordinal) FROM requests WHERE round = 1)"
        assert connection.execute(f"UPDATE requests SET {column} = ? WHERE {where}", (value,)).rowcount == 1
    found = bad(looked_at(copy))
    assert said in found["round 1"]
    assert "stored" in found["round 1"]


def test_a_tampered_label_is_found_against_the_history(copy: Path) -> None:
    with database(copy) as connection:
        connection.execute("UPDATE labels SET value = value + 1e-9 WHERE ordinal = 3")
    found = bad(looked_at(copy))
    assert set(found) == {"history"}
    assert "label energy of" in found["history"]


def test_a_label_tampered_with_in_the_history_too_is_found_by_what_was_learned_of_it(copy: Path) -> None:
    with database(copy) as connection:
        (candidate, value) = connection.execute("SELECT candidate_id, value FROM labels WHERE ordinal = 2").fetchone()
        connection.execute("UPDATE labels SET value = ? WHERE ordinal = 2", (value + 0.5,))
        (number, data) = connection.execute(
            "SELECT number, data FROM events WHERE kind = 'labeled' AND instr(data, ?)", (candidate,)
        ).fetchone()
        forged = json.dumps(json.loads(data) | {"value": value + 0.5})
        connection.execute("UPDATE events SET data = ? WHERE number = ?", (forged, number))
    found = looked_at(copy)
    assert found["history"].outcome is Outcome.SAME
    assert found["round 0"].outcome is Outcome.SAME
    assert found["round 1"].outcome is Outcome.DIFFERS
    assert "predicted mean" in bad(found)["round 1"]


def test_a_changed_seed_in_the_file_is_found_against_the_store(copy: Path) -> None:
    copy.write_text(copy.read_text().replace("seed = 3", "seed = 4"))
    assert "'seed' of the campaign file: stored 3, computed 4" in bad(looked_at(copy))["file"]


def test_a_changed_seed_in_file_and_store_is_found_by_the_first_choice(copy: Path) -> None:
    copy.write_text(copy.read_text().replace("seed = 3", "seed = 4"))
    with database(copy) as connection:
        _everywhere(connection, '"seed": 3', '"seed": 4')
    found = looked_at(copy)
    assert (found["file"].outcome, found["history"].outcome) == (Outcome.SAME, Outcome.SAME)
    assert found["round 0"].differences[0].what == "picks"


def test_a_stored_file_that_disagrees_with_its_history_is_found(copy: Path) -> None:
    with database(copy) as connection:
        connection.execute("UPDATE campaigns SET spec = replace(spec, '\"seed\": 3', '\"seed\": 5')")
    assert "'seed' of the stored campaign file: stored 5, computed 3" in bad(looked_at(copy))["history"]


def test_a_tampered_verdict_is_found(copy: Path) -> None:
    with database(copy) as connection:
        _everywhere(connection, '"n_labels": 10', '"n_labels": 12')
    (last,) = bad(looked_at(copy)).values()
    assert "evidence.n_labels: stored 12, computed 10" in last


def test_an_end_that_no_rule_wanted_is_found(copy: Path) -> None:
    with database(copy) as connection:
        _everywhere(connection, '"max": 10', '"max": 11')
        _everywhere(connection, "max = 10", "max = 11")
    assert any("what was decided" in said for said in bad(looked_at(copy)).values())


def test_an_event_that_was_removed_breaks_the_history(copy: Path) -> None:
    with database(copy) as connection:
        connection.execute("DELETE FROM events WHERE number = (SELECT max(number) FROM events WHERE kind = 'planned')")
    found = looked_at(copy)
    assert found["history"].outcome is Outcome.DIFFERS
    assert "it breaks off, and nothing after it is computed: event" in found["history"].said


def test_predictions_that_were_tampered_with_are_found_by_their_hash(copy: Path) -> None:
    file = next((copy.parent / "tiny.campaign" / "files").glob("predictions-*.npy"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert f"hash of files/{file.name}" in bad(looked_at(copy))["files"]


def test_without_predictions_a_round_is_computed_all_the_same(copy: Path) -> None:
    for file in (copy.parent / "tiny.campaign" / "files").glob("predictions-*.npy"):
        file.unlink()
    found = looked_at(copy)
    assert set(bad(found)) == {"files"}
    assert found["files"].outcome is Outcome.UNKNOWN


def test_without_descriptors_no_round_can_be_computed_and_it_says_so(copy: Path) -> None:
    for file in (copy.parent / "tiny.campaign" / "files").glob("features-*.npy"):
        file.unlink()
    found = looked_at(copy)
    assert found["round 1"].outcome is Outcome.UNKNOWN
    assert "StoreError" in found["round 1"].said
    assert "is missing" in found["round 1"].said


def test_other_versions_are_told(copy: Path) -> None:
    with database(copy) as connection:
        (number, data) = connection.execute("SELECT number, data FROM events WHERE kind = 'versions'").fetchone()
        told = json.dumps(json.loads(data) | {"numpy": "1.0", "no-such-package": "2.0"})
        connection.execute("UPDATE events SET data = ? WHERE number = ?", (told, number))
    with replay(copy) as past:
        changes = {change.package: str(change) for change in past.versions()}
    assert changes["numpy"].startswith("numpy 1.0 then, ")
    assert changes["no-such-package"] == "no-such-package 2.0 then, not installed here"
    assert len(changes) == 2


def test_a_campaign_that_never_started_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has not started"), replay(tiny_campaign(tmp_path)):
        pass


def test_numbers_that_differ_in_the_last_digits_only_are_the_same_and_counted_as_rounding() -> None:
    found = Comparison()
    found.add("std", {"a": [1.0, 0.0]}, {"a": [1.0 + 1e-12, 1e-16]})
    assert found.is_same
    assert found.rounding == pytest.approx(1.0)
    found.add("std", {"a": [1.0, 2.0], "b": 1}, {"a": [1.5, 3.0]})
    assert str(found.differences[0]) == "std.a[0] (and 2 more places): stored 1, computed 1.5"
    exact = Comparison(is_exact=True)
    exact.add("value", 1.0, 1.0 + 1e-12)
    assert not exact.is_same


def test_an_event_that_cannot_have_happened_is_refused(ended: Path) -> None:
    with replay(ended) as past:
        rebuilt = Past(past.stored, past.events)
        moved = next(event for event in past.events if event.kind == "moved")
        with pytest.raises(BrokenHistory, match=rf"event {moved.number} \(moved\) does not follow"):
            rebuilt.apply(moved)
