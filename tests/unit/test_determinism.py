"""Same seed and same labels, same choices: whatever the order of arrival and the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.domain import actions as do
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform
from active_learning.testing.fakes import FakeClock, tiny_campaign, without_workers
from active_learning.testing.faults import FakeScheduler

Choice = tuple[int, str, float | None, float | None, float | None, str]
_TABLES: Mapping[str, Any] = {
    "rounds": {"initial": 3, "batch_size": 3, "max_in_flight": 3},
    "surrogate": {"kind": "random_forest", "n_trees": 8, "n_jobs": 1},
    "selection": {"kind": "diverse"},
    "stopping": {"any": [{"kind": "labels", "max": 15}]},
}
Pick = Callable[[Sequence[str]], Sequence[str]]


def _together(running: Sequence[str]) -> Sequence[str]:
    return running


def _one_by_one(running: Sequence[str]) -> Sequence[str]:
    return running[:1]


def _last_first(running: Sequence[str]) -> Sequence[str]:
    return running[-1:]


def _choices(folder: Path, ends: Pick = _together, **changes: Any) -> tuple[list[Choice], list[str]]:
    """Every choice of a synchronous campaign with its belief, and the order in which labels came in."""
    submitter = {"kind": "active_learning.testing.faults:FakeScheduler", "at_once": False}
    path = tiny_campaign(folder, **(dict(_TABLES) | {"submitter": submitter} | changes))
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign, campaign.work() as bench:
        scheduler = bench.kit.submitter
        assert isinstance(scheduler, FakeScheduler)
        while not isinstance(action := next_action(bench.snapshot()), do.Finished):
            if isinstance(action, do.Wait):
                for handle in ends(scheduler.running()):
                    scheduler.end(handle)
            perform(bench, action)
        facts = bench.store.read()
    choices = [(r.round, r.candidate_id, r.score, r.mean, r.std, r.reason) for r in facts.requests]
    return choices, [label.candidate_id for label in facts.labels]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Choice], list[str]]:
    return _choices(tmp_path_factory.mktemp("reference"))


def test_the_same_campaign_chooses_the_same_again(tmp_path: Path, reference: Any) -> None:
    assert len(reference[0]) == 15
    assert _choices(tmp_path) == reference


@pytest.mark.parametrize("ends", [_one_by_one, _last_first])
def test_the_order_in_which_labels_arrive_does_not_matter(tmp_path: Path, reference: Any, ends: Pick) -> None:
    choices, arrivals = _choices(tmp_path, ends)
    assert choices == reference[0]
    assert (arrivals == reference[1]) == (ends is _one_by_one)


def test_the_number_of_threads_does_not_matter(tmp_path: Path, reference: Any) -> None:
    surrogate = {"kind": "random_forest", "n_trees": 8, "n_jobs": 2}
    assert _choices(tmp_path, surrogate=surrogate) == reference


def test_another_seed_chooses_otherwise(tmp_path: Path, reference: Any) -> None:
    assert _choices(tmp_path, seed=4)[0] != reference[0]


def test_a_campaign_that_changes_hands_at_every_step_chooses_the_same(tmp_path: Path, reference: Any) -> None:
    """Each step is another process: nothing that matters is kept in memory."""
    path = tiny_campaign(tmp_path, **_TABLES)
    for _ in range(60):
        with without_workers(Campaign.create(path, clock=FakeClock())) as campaign, campaign.work() as bench:
            action = next_action(bench.snapshot())
            perform(bench, action)
        if isinstance(action, do.Finished):
            break
    requests = campaign.store.read().requests
    choices = [(r.round, r.candidate_id, r.score, r.mean, r.std, r.reason) for r in requests]
    assert choices == reference[0]
