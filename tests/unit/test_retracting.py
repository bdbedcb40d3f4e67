"""A label taken back: what it taught is forgotten, and why stays known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.api.telling import Told
from active_learning.domain import actions as do
from active_learning.domain.campaign import Phase
from active_learning.domain.request import RequestState
from active_learning.engine.deciding import next_action
from active_learning.engine.observing import unavailable
from active_learning.engine.performing import perform
from active_learning.errors import UserError
from active_learning.testing.fakes import FakeClock, tiny_campaign, without_workers
from active_learning.testing.faults import FakeScheduler

Make = Callable[..., Campaign]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Campaign] = []

    def make(*, at_once: bool = True, **changes: Any) -> Campaign:
        submitter = {"kind": "active_learning.testing.faults:FakeScheduler", "at_once": at_once}
        file = tiny_campaign(tmp_path / str(len(made)), submitter=submitter, **changes)
        made.append(without_workers(Campaign.create(file, clock=FakeClock())))
        return made[-1]

    yield make
    for campaign in made:
        campaign.close()


def test_a_campaign_that_had_stopped_goes_on_without_the_label(make: Make) -> None:
    campaign = make()
    campaign.run()
    before = campaign.store.read()
    bad = before.labels[3]
    (taken,) = campaign.retract(bad.candidate_id, reason="wrong pseudopotential")
    assert (taken.value, taken.reason, taken.request_id) == (bad.value, "wrong pseudopotential", bad.request_id)
    assert campaign.status()["phase"] == Phase.ACTIVE
    campaign.run()
    after = campaign.store.read()
    assert after.phase is Phase.STOPPED
    assert len(after.labels) == 10
    assert bad.candidate_id not in {label.candidate_id for label in after.labels}
    assert after.rounds[: len(before.rounds)] == before.rounds
    for record in after.rounds[len(before.rounds) :]:
        assert bad.candidate_id not in record.out_of_fold
    assert campaign.status()["n_retracted"] == 1


def test_a_model_that_still_waits_for_its_batch_is_trained_again(make: Make) -> None:
    campaign = make(at_once=False)
    scheduler = campaign.kit.submitter
    assert isinstance(scheduler, FakeScheduler)
    with campaign.work() as bench:
        while len(bench.store.read().rounds) < 2:
            for handle, job in scheduler.jobs.items():
                if not job.is_over:
                    scheduler.end(handle)
            perform(bench, next_action(bench.snapshot()))
        while not isinstance(action := next_action(bench.snapshot()), do.Wait):
            perform(bench, action)
        n_rounds = len(bench.store.read().rounds)
        bad = bench.store.read().labels[0]
        campaign.retract(bad.candidate_id, reason="a typing error")
        action = next_action(bench.snapshot())
        assert action == do.Retrain(n_rounds)
        said = perform(bench, action)
        facts = bench.store.read()
        assert "without those taken back" in said
        assert (facts.rounds[-1].n_picks, facts.rounds[-1].n_labels) == (0, 3)
        assert isinstance(next_action(bench.snapshot()), do.Wait | do.Collect)
        assert sum(r.state is RequestState.RUNNING for r in facts.requests) == 4


def test_what_was_taken_back_is_not_asked_for_again_unless_told_so(make: Make) -> None:
    campaign = make()
    campaign.run()
    one, two = (label.candidate_id for label in campaign.store.read().labels[:2])
    campaign.retract(one, reason="wrong")
    campaign.retract(two, reason="wrong", may_ask_again=True)
    blocked = unavailable(campaign.store.read(), campaign.kit.target, campaign.kit.settings)
    assert one in blocked
    assert two not in blocked


def test_a_person_may_tell_what_was_taken_back(make: Make) -> None:
    campaign = make()
    campaign.run()
    bad = campaign.store.read().labels[2]
    campaign.retract(bad.candidate_id, reason="wrong")
    assert campaign.tell([Told(bad.candidate_id, -0.5)])[0] == 1
    campaign.run()
    label = next(x for x in campaign.store.read().labels if x.candidate_id == bad.candidate_id)
    assert (label.value, label.request_id) == (-0.5, None)


def test_planned_requests_that_the_label_may_have_chosen_are_withdrawn(make: Make) -> None:
    campaign = make()
    with campaign.work() as bench:
        while True:
            action = next_action(bench.snapshot())
            if isinstance(action, do.Submit) and len(bench.store.read().rounds) == 2:
                break
            perform(bench, action)
        planned = [r.id for r in bench.store.read().requests if r.state is RequestState.PLANNED]
        assert planned
        campaign.retract(bench.store.read().labels[0].candidate_id, reason="wrong")
        states = {r.id: r.state for r in bench.store.read().requests}
    assert {states[one] for one in planned} == {RequestState.CANCELLED}


def test_an_unknown_or_unlabeled_candidate_is_refused(make: Make) -> None:
    campaign = make()
    campaign.run()
    labeled = {label.candidate_id for label in campaign.store.read().labels}
    free = next(c for c in campaign.record().candidate_ids if c not in labeled)
    with pytest.raises(UserError, match="no candidate 'Xy2' in the pool"):
        campaign.retract("Xy2", reason="wrong")
    with pytest.raises(UserError, match="has no label that could be taken back"):
        campaign.retract(free, reason="wrong")


def test_a_reference_cannot_be_taken_back(tmp_path: Path) -> None:
    from active_learning.domain.request import Purpose
    from active_learning.engine.performing import run_local

    file = tiny_campaign(
        tmp_path,
        target={"property": "formation_energy_per_atom", "goal": "minimize"},
        pool={"kind": "prototypes", "elements": ["Cu", "Au"], "n_elements": [2], "max_atoms": 2},
        labeler={"kind": "ase", "calculator": "emt"},
        submitter={"kind": "inline"},
        rounds={"initial": 2, "batch_size": 1, "max_in_flight": 2},
        stopping={"any": [{"kind": "labels", "max": 2}]},
        features={"kind": "active_learning.testing.fakes:TinyFeaturizer"},
    )
    with without_workers(Campaign.create(file, clock=FakeClock())) as campaign:
        with campaign.work() as bench:
            run_local(bench)
        reference = next(r for r in campaign.store.read().requests if r.purpose is Purpose.REFERENCE)
        with pytest.raises(UserError, match="is a reference: every formation energy was measured against it"):
            campaign.retract(reference.candidate_id, reason="wrong")
