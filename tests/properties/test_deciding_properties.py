"""What holds of a decision whatever the campaign looks like."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from active_learning.domain import actions as do
from active_learning.domain.campaign import CampaignSnapshot, Phase, Progress, Settings, Verdict
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.domain.target import Goal, Target
from active_learning.engine.deciding import next_action
from active_learning.testing.fakes import START

FINAL = [RequestState.FAILED, RequestState.LOST, RequestState.SUCCEEDED, RequestState.CANCELLED]
small = st.integers(0, 6)


@st.composite
def histories(draw: Any) -> tuple[Request, ...]:
    """Each candidate's attempts; all but the newest are over."""
    requests = []
    for number in range(draw(st.integers(0, 5))):
        is_reference = draw(st.booleans()) and number < 2
        attempts = draw(st.integers(1, 3))
        for attempt in range(1, attempts + 1):
            state = draw(st.sampled_from(list(RequestState) if attempt == attempts else FINAL[:2]))
            failure = Failure(draw(st.sampled_from(FailureKind)), "why") if state is RequestState.FAILED else None
            name = f"ref-{number}" if is_reference else f"c{number}"
            purpose = Purpose.REFERENCE if is_reference else Purpose.CANDIDATE
            requests.append(
                Request(name, name, attempt, 0, state, f"{name}-{attempt}", purpose, handle="h", failure=failure)
            )
    return tuple(requests)


@st.composite
def snapshots(draw: Any) -> CampaignSnapshot:
    requests = draw(histories())
    target = Target("energy", Goal.MINIMIZE)
    batch = draw(st.integers(1, 3))
    return CampaignSnapshot(
        version=1,
        phase=draw(st.sampled_from(Phase)),
        now=START,
        settings=Settings(draw(st.integers(1, 4)), batch, batch + draw(small), draw(small), draw(small), 1.0),
        has_pool=True,
        has_features=True,
        needs_references=draw(st.booleans()),
        is_model_stale=draw(st.booleans()),
        n_rounds=draw(small),
        requests=requests,
        labeled=frozenset(draw(st.sets(st.sampled_from([f"c{n}" for n in range(5)])))),
        progress=Progress(target, 30, draw(small), draw(small), draw(small), draw(small)),
        verdict=draw(st.none() | st.just(Verdict("labels", "enough"))),
        budget=draw(st.none() | small),
        launches=draw(st.none() | small),
        polled_at=draw(st.sampled_from([None, START, START - timedelta(seconds=5)])),
    )


@given(snapshots())
def test_the_same_snapshot_gives_the_same_action_and_is_left_as_it_was(snapshot: CampaignSnapshot) -> None:
    copied = copy.deepcopy(snapshot)
    assert next_action(snapshot) == next_action(copied) == next_action(snapshot)
    assert snapshot == copied


@given(snapshots(), st.integers(2, 1000))
def test_a_decision_does_not_depend_on_the_version(snapshot: CampaignSnapshot, version: int) -> None:
    assert next_action(replace(snapshot, version=version)) == next_action(snapshot)


@given(snapshots())
def test_every_action_names_requests_in_the_state_it_is_for(snapshot: CampaignSnapshot) -> None:
    state_of = {request.id: request.state for request in snapshot.requests}
    allowed = {
        do.Reconcile: {RequestState.SUBMITTING},
        do.Submit: {RequestState.PLANNED},
        do.Collect: {RequestState.RUNNING},
        do.Retry: {RequestState.FAILED, RequestState.LOST},
        do.CancelPlanned: {RequestState.PLANNED},
    }
    action = next_action(snapshot)
    if isinstance(action, do.Reconcile | do.Submit | do.Collect | do.Retry | do.CancelPlanned):
        assert action.request_ids
        assert len(set(action.request_ids)) == len(action.request_ids)
        assert {state_of[request] for request in action.request_ids} <= allowed[type(action)]


@given(snapshots())
def test_nothing_is_spent_while_paused_or_in_doubt(snapshot: CampaignSnapshot) -> None:
    in_doubt = any(r.state is RequestState.SUBMITTING for r in snapshot.requests)
    if snapshot.phase is not Phase.ACTIVE or in_doubt:
        assert isinstance(next_action(snapshot), do.Reconcile | do.Collect | do.Wait | do.Finished)


@given(snapshots())
def test_in_flight_stays_within_its_limit(snapshot: CampaignSnapshot) -> None:
    running = sum(r.state is RequestState.RUNNING for r in snapshot.requests)
    action = next_action(snapshot)
    if isinstance(action, do.Submit):
        assert running + len(action.request_ids) <= snapshot.settings.max_in_flight


@given(snapshots())
def test_a_labeled_candidate_is_neither_submitted_nor_tried_again(snapshot: CampaignSnapshot) -> None:
    candidate_of = {request.id: request.candidate_id for request in snapshot.requests}
    action = next_action(snapshot)
    if isinstance(action, do.Submit | do.Retry):
        assert not {candidate_of[request] for request in action.request_ids} & snapshot.labeled


@given(snapshots())
def test_an_active_campaign_is_finished_only_by_a_verdict_or_a_failure(snapshot: CampaignSnapshot) -> None:
    if snapshot.phase is Phase.ACTIVE:
        assert next_action(snapshot) != do.Finished()
