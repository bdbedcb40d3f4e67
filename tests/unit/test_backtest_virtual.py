"""Imagined labeling: a clock that jumps, workers whose busy time can be counted by hand, and a memory with laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.domain.campaign import Phase, RoundRecord, Verdict
from active_learning.domain.label import Failure, FailureKind, Label
from active_learning.domain.request import Request, RequestState
from active_learning.errors import ContractError, IllegalMove, LabelConflict, StaleVersion
from active_learning.evaluation.memory_store import MemoryStore
from active_learning.evaluation.virtual import START, Labeling, VirtualClock, VirtualWorkers
from active_learning.store import CampaignStore

S = RequestState


def after(seconds: float) -> Any:
    return START + timedelta(seconds=seconds)


def test_workers_are_busy_as_long_as_is_counted_by_hand() -> None:
    workers = VirtualWorkers(2)
    workers.submit("a", after(0), 10)
    workers.submit("b", after(0), 4)
    assert workers.next_end == after(4)
    assert workers.take_ended(after(4)) == ["b"]
    workers.submit("c", after(6), 100)
    assert workers.take_ended(after(5)) == []
    assert workers.next_end == after(10)
    # a worked 6 of its 10 s before the last submission, b all of its 4; c began with it.
    assert workers.usage == {"busy_s": 10.0, "horizon_s": 6.0, "n_workers": 2}


def test_attempts_end_in_the_order_of_their_ends_and_of_one_moment_as_they_were_submitted() -> None:
    workers = VirtualWorkers(4)
    for name, time_s in (("a", 3), ("b", 1), ("c", 3), ("d", 2)):
        workers.submit(name, after(0), time_s)
    assert workers.take_ended(after(3)) == ["b", "d", "a", "c"]
    assert workers.running == {}


def test_an_end_that_is_no_whole_microsecond_is_reached() -> None:
    """Floats of seconds and the clock's microseconds differ: who waits for an end must find it."""
    clock, workers = VirtualClock(), VirtualWorkers(1)
    for n in range(200):
        workers.submit(f"r{n}", clock.now(), 0.1234567 * (n + 1) / 3)
        clock.jump_to(workers.next_end)
        assert workers.take_ended(clock.now()) == [f"r{n}"]


def test_no_attempt_takes_no_time_at_all() -> None:
    workers = VirtualWorkers(1)
    workers.submit("a", after(0), 1e-12)
    assert workers.next_end > after(0)


def test_a_worker_does_one_thing_at_a_time() -> None:
    workers = VirtualWorkers(1)
    workers.submit("a", after(0), 1)
    with pytest.raises(ContractError, match="none of 1 workers is free"):
        workers.submit("b", after(0), 1)
    workers.take_ended(after(1))
    with pytest.raises(ContractError, match="nothing is running"):
        workers.next_end  # noqa: B018 - raises


def test_the_clock_never_goes_back() -> None:
    clock = VirtualClock()
    clock.sleep(5)
    clock.jump_to(after(3))
    assert clock.elapsed_s == 5.0
    clock.jump_to(after(8))
    assert clock.now() == after(8)


def test_times_are_log_normal_with_the_median_and_spread_asked_for() -> None:
    times = np.log([Labeling(60.0, 0.7).time_s(f"c{n}", 1, 5) for n in range(4000)])
    assert times.mean() == pytest.approx(np.log(60.0), abs=0.05)
    assert times.std() == pytest.approx(0.7, abs=0.03)
    assert {Labeling(60.0).time_s(f"c{n}", 1, 5) for n in range(10)} == {60.0}


def test_time_and_fate_hang_on_candidate_attempt_and_seed_and_on_nothing_else() -> None:
    labeling = Labeling(60.0, 1.0, 0.5)
    times = {(c, a, s): labeling.time_s(c, a, s) for c in "ab" for a in (1, 2) for s in (1, 2)}
    assert len(set(times.values())) == 8
    assert labeling.time_s("a", 2, 1) == times["a", 2, 1] == Labeling(60.0, 1.0, 0.1, 9.0).time_s("a", 2, 1)
    fates = [labeling.fails(f"c{n}", 1, 1) for n in range(2000)]
    assert np.mean(fates) == pytest.approx(0.5, abs=0.04)
    assert fates != [labeling.fails(f"c{n}", 2, 1) for n in range(2000)]
    # Who fails at a low rate fails at a higher one, too.
    rare = [Labeling(failure_rate=0.1).fails(f"c{n}", 1, 1) for n in range(2000)]
    assert all(often for often, seldom in zip(fates, rare, strict=True) if seldom)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"median_s": 0.0}, "median time of a label is positive"),
        ({"median_s": float("nan")}, "median time of a label is positive"),
        ({"spread": -1.0}, "spread is finite and not negative"),
        ({"decision_s": float("inf")}, "decision_s is finite"),
        ({"failure_rate": 1.0}, r"failure rate lies in \[0, 1\)"),
    ],
)
def test_impossible_labelings_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        Labeling(**options)


def request(candidate: str, attempt: int = 1) -> Request:
    return Request(candidate, candidate.upper(), attempt, 0, S.PLANNED, f"job-{candidate}-{attempt}")


def label(candidate: str, value: float = 1.0, request_id: str | None = None) -> Label:
    return Label(candidate, "energy", value, "eV", START, "test", request_id=request_id)


@pytest.fixture(params=["in memory", "on disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The replay's store and the campaign's: what holds of one must hold of the other."""
    if request.param == "in memory":
        yield MemoryStore("tiny", START)
        return
    found = CampaignStore(f"sqlite:///{tmp_path / 'campaign.db'}", "tiny")
    found.create({}, START)
    yield found
    found.close()


def test_both_stores_remember_the_same(store: Any) -> None:
    record = RoundRecord(0, START, 0, 2, {"mae": 0.5}, {"a": (1.0, 0.25)}, classes=(0.0, 1.0))
    with store.write(START) as writer:
        writer.set_pool({"file": "pool.parquet"})
        writer.set_features({"file": "features.npy", "n_candidates": 2})
        writer.open_round(record)
        writer.plan([request("b"), request("a")])
    assert store.read().version == 2
    with store.write(after(5), expect=2) as writer:
        writer.move("a-1", S.PLANNED, S.SUBMITTING)
        writer.move("a-1", S.SUBMITTING, S.RUNNING, handle="h")
        writer.move("b-1", S.PLANNED, S.SUBMITTING)
        writer.move("b-1", S.SUBMITTING, S.RUNNING, handle="h2")
    with store.write(after(9)) as writer:
        writer.move("a-1", S.RUNNING, S.SUCCEEDED)
        assert writer.add_label(label("a", request_id="a-1"))
        assert not writer.add_label(label("a", request_id="a-1"))
        writer.move("b-1", S.RUNNING, S.FAILED, failure=Failure(FailureKind.CRASHED, "why"))
        writer.plan([request("b", 2)])
        writer.set_phase(Phase.STOPPED, Verdict("labels", "enough", {"n": 1}))
    facts = store.read()
    assert (facts.version, facts.phase, facts.pool) == (4, Phase.STOPPED, {"file": "pool.parquet"})
    assert facts.verdict == Verdict("labels", "enough", {"n": 1})
    assert facts.rounds == (record,)
    assert facts.labels == (label("a", request_id="a-1"),)
    assert [(r.id, r.state, r.planned_at, r.submitted_at, r.settled_at) for r in facts.requests] == [
        ("b-1", S.FAILED, START, after(5), after(9)),
        ("a-1", S.SUCCEEDED, START, after(5), after(9)),
        ("b-2", S.PLANNED, after(9), None, None),
    ]
    assert facts.requests[1].run_s == 4.0


def test_both_stores_write_nothing_of_a_transaction_that_raises(store: Any) -> None:
    before = store.read()

    def half() -> None:
        with store.write(START) as writer:
            writer.plan([request("a")])
            writer.add_label(label("a"))
            raise RuntimeError("half of it")

    with pytest.raises(RuntimeError, match="half of it"):
        half()
    assert store.read() == before
    with store.write(START):
        pass
    assert store.read().version == before.version, "what changes nothing raises no version"


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda w: w.plan([request("a", 2)]), ContractError),
        (lambda w: w.plan([request("c"), request("c")]), ContractError),
        (lambda w: w.open_round(RoundRecord(0, START, 0, 1)), ContractError),
        (lambda w: w.move("a-1", S.RUNNING, S.SUCCEEDED), StaleVersion),
        (lambda w: w.move("nobody-1", S.PLANNED, S.SUBMITTING), StaleVersion),
        (lambda w: w.move("a-1", S.PLANNED, S.SUCCEEDED, handle="h"), IllegalMove),
        (lambda w: w.add_label(label("b", 2.0)), LabelConflict),
        (lambda w: w.add_label(replace(label("b"), unit="meV")), LabelConflict),
    ],
)
def test_both_stores_refuse_what_breaks_the_law(store: Any, act: Callable[[Any], Any], error: type[Exception]) -> None:
    with store.write(START) as writer:
        writer.open_round(RoundRecord(0, START, 0, 1))
        writer.plan([request("a")])
        writer.add_label(label("b"))
    before = store.read()
    with pytest.raises(error, match=r"\w"), store.write(START) as writer:
        act(writer)
    assert store.read() == before


def test_both_stores_refuse_a_write_that_was_decided_on_another_version(store: Any) -> None:
    with store.write(START) as writer:
        writer.plan([request("a")])
    with pytest.raises(StaleVersion, match="at version 2, not 1"), store.write(START, expect=1) as writer:
        writer.plan([request("b")])
    assert len(store.read().requests) == 1
