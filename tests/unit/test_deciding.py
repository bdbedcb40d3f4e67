"""What a campaign does next, branch by branch, from snapshots made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from active_learning.domain import actions as do
from active_learning.domain.campaign import CampaignSnapshot, Phase, Progress, Settings, Verdict
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.domain.target import Goal, Target
from active_learning.engine.deciding import is_given_up, next_action
from active_learning.engine.performing import GoesOn, decide, one_pass, to_the_end
from active_learning.testing.fakes import START

SETTINGS = Settings(initial=4, batch_size=2, max_in_flight=4, retries=1, lost_retries=2, poll_s=10.0)
PROGRESS = Progress(Target("energy", Goal.MINIMIZE, "eV"), 30, n_labels=6, n_pending=0, n_available=20, n_rounds=2)
VERDICT = Verdict("labels", "enough")


def request(name: str, state: str, attempt: int = 1, kind: str = "crashed", reference: bool = False) -> Request:
    return Request(
        candidate_id=f"ref-{name}" if reference else name,
        formula=name,
        attempt=attempt,
        round=0,
        state=RequestState(state),
        job_name=f"tiny-{name}-{attempt}",
        purpose=Purpose.REFERENCE if reference else Purpose.CANDIDATE,
        handle="h" if state in ("RUNNING", "SUCCEEDED") else None,
        failure=Failure(FailureKind(kind), "told to fail.") if state == "FAILED" else None,
    )


def snapshot(*requests: Request, **changes: Any) -> CampaignSnapshot:
    """An active campaign after its second round; asked the scheduler long ago."""
    made = CampaignSnapshot(
        version=9,
        phase=Phase.ACTIVE,
        now=START,
        settings=SETTINGS,
        has_pool=True,
        has_features=True,
        needs_references=False,
        is_model_stale=False,
        n_rounds=2,
        requests=requests,
        labeled=frozenset(),
        progress=PROGRESS,
        verdict=None,
        budget=None,
        launches=None,
        polled_at=START - timedelta(hours=1),
    )
    return replace(made, **changes)


def ids(*names: str, attempt: int = 1) -> tuple[str, ...]:
    return tuple(f"{name}-{attempt}" for name in names)


JUST_ASKED = {"polled_at": START}


@pytest.mark.parametrize("phase", [Phase.STOPPED, Phase.FAILED])
def test_a_campaign_that_ended_does_nothing(phase: Phase) -> None:
    assert next_action(snapshot(request("a", "PLANNED"), phase=phase)) == do.Finished()


def test_the_pool_comes_before_the_features_and_these_before_all_else() -> None:
    assert next_action(snapshot(has_pool=False, has_features=False)) == do.BuildPool()
    assert next_action(snapshot(has_features=False)) == do.Featurize()


def test_doubt_is_settled_before_anything_else() -> None:
    requests = request("a", "SUBMITTING"), request("b", "RUNNING"), request("c", "PLANNED"), request("d", "FAILED")
    assert next_action(snapshot(*requests, verdict=VERDICT)) == do.Reconcile(ids("a"))


def test_nothing_is_asked_or_submitted_while_a_request_is_in_doubt() -> None:
    requests = request("a", "SUBMITTING"), request("c", "PLANNED"), request("d", "FAILED")
    action = next_action(snapshot(*requests, **JUST_ASKED))
    assert action == do.Wait(START + timedelta(seconds=10), 1)


def test_what_runs_is_collected_when_the_poll_is_due_and_not_before() -> None:
    requests = [request(name, "RUNNING") for name in "abcd"]
    assert next_action(snapshot(*requests)) == do.Collect(ids("a", "b", "c", "d"))
    assert next_action(snapshot(*requests, polled_at=None)) == do.Collect(ids("a", "b", "c", "d"))
    soon = START - timedelta(seconds=4)
    assert next_action(snapshot(*requests, polled_at=soon)) == do.Wait(START + timedelta(seconds=6), 4)


def test_references_are_planned_before_any_round() -> None:
    assert next_action(snapshot(n_rounds=0, needs_references=True)) == do.PlanReferences()


def test_a_campaign_that_is_to_stop_plans_no_references() -> None:
    """It withdraws those that are planned, and would plan them again for ever."""
    assert next_action(snapshot(needs_references=True, verdict=VERDICT)) == do.Conclude(VERDICT)


def test_no_round_opens_and_no_candidate_is_submitted_before_the_references_are_in() -> None:
    running = request("Al", "RUNNING", reference=True)
    assert isinstance(next_action(snapshot(running, n_rounds=0, **JUST_ASKED)), do.Wait)
    planned = request("b", "PLANNED"), request("Cu", "PLANNED", reference=True)
    assert next_action(snapshot(running, *planned, n_rounds=0, **JUST_ASKED)) == do.Submit(("ref-Cu-1",))


def test_a_reference_that_failed_for_good_ends_the_campaign_once_nothing_runs() -> None:
    failed = request("Al", "FAILED", 1, reference=True), request("Al", "FAILED", 2, reference=True)
    planned, running = request("Cu", "PLANNED", reference=True), request("Ni", "RUNNING", reference=True)
    assert next_action(snapshot(*failed, planned, running, **JUST_ASKED)) == do.CancelPlanned(("ref-Cu-1",))
    withdrawn = snapshot(
        *failed, request("Cu", "CANCELLED", reference=True), running, needs_references=True, **JUST_ASKED
    )
    assert isinstance(next_action(withdrawn), do.Wait)
    assert isinstance(next_action(snapshot(*failed, running, **JUST_ASKED)), do.Wait)
    action = next_action(snapshot(*failed, n_rounds=0))
    assert isinstance(action, do.Fail)
    assert "The reference calculation of Al failed: crashed: told to fail." in action.reason
    assert action.reason.endswith("leave the element out, or repair the calculation.")


@pytest.mark.parametrize(("kind", "key"), [(FailureKind.OUT_OF_MEMORY, "memory"), (FailureKind.TIMEOUT, "timeout")])
def test_a_reference_that_lacked_something_says_which_key_gives_it(kind: FailureKind, key: str) -> None:
    attempts = [request("Al", "FAILED", number, reference=True) for number in (1, 2)]
    failed = [replace(attempt, failure=Failure(kind, "not enough")) for attempt in attempts]
    action = next_action(snapshot(*failed, n_rounds=0))
    assert isinstance(action, do.Fail)
    assert f"'{key}'" in action.reason


def test_a_failure_is_tried_again_as_often_as_the_settings_say() -> None:
    assert next_action(snapshot(request("a", "FAILED"))) == do.Retry(ids("a"))
    twice = request("a", "FAILED"), request("a", "FAILED", 2)
    assert not isinstance(next_action(snapshot(*twice)), do.Retry)
    assert is_given_up(twice, SETTINGS) == {"a"}


def test_what_was_rejected_is_not_tried_again() -> None:
    rejected = request("a", "FAILED", kind="rejected")
    assert not isinstance(next_action(snapshot(rejected)), do.Retry)
    assert is_given_up((rejected,), SETTINGS) == {"a"}


def test_lost_jobs_are_counted_apart_from_failures() -> None:
    requests: Sequence[Request] = [request("a", "LOST"), request("a", "LOST", 2), request("a", "FAILED", 3)]
    assert next_action(snapshot(*requests)) == do.Retry(ids("a", attempt=3))
    assert next_action(snapshot(*requests[:2])) == do.Retry(ids("a", attempt=2))
    thrice = [request("a", "LOST", attempt) for attempt in (1, 2, 3)]
    assert not isinstance(next_action(snapshot(*thrice)), do.Retry)


def test_a_candidate_that_a_person_labeled_is_not_tried_again_and_its_planned_request_is_withdrawn() -> None:
    labeled = frozenset({"a"})
    assert not isinstance(next_action(snapshot(request("a", "FAILED"), labeled=labeled)), do.Retry)
    both = request("a", "PLANNED"), request("b", "PLANNED")
    assert next_action(snapshot(*both, labeled=labeled)) == do.CancelPlanned(ids("a"))


def test_a_retry_takes_no_more_than_the_budget_has() -> None:
    failed = [request(name, "FAILED") for name in "abc"]
    assert next_action(snapshot(*failed, budget=2)) == do.Retry(ids("a", "b"))
    reference = request("Al", "FAILED", reference=True)
    running = request("d", "RUNNING")
    assert next_action(snapshot(*failed, reference, running, budget=0, **JUST_ASKED)) == do.Retry(("ref-Al-1",))


def test_planned_requests_that_the_budget_has_no_room_for_are_withdrawn() -> None:
    planned = [request(name, "PLANNED") for name in "abc"]
    assert next_action(snapshot(*planned, budget=0, launches=2)) == do.CancelPlanned(ids("c"))
    assert next_action(snapshot(*planned, budget=0, launches=3)) == do.Submit(ids("a", "b", "c"))


def test_no_more_is_submitted_than_may_be_in_flight() -> None:
    requests = [request(name, "RUNNING") for name in "abc"] + [request(name, "PLANNED") for name in "de"]
    assert next_action(snapshot(*requests, **JUST_ASKED)) == do.Submit(ids("d"))
    full = [*requests, request("f", "RUNNING")]
    assert isinstance(next_action(snapshot(*full, **JUST_ASKED)), do.Wait)


def test_a_verdict_withdraws_what_is_planned_waits_for_what_runs_and_concludes() -> None:
    requests = request("a", "RUNNING"), request("b", "PLANNED"), request("c", "FAILED")
    assert next_action(snapshot(*requests, verdict=VERDICT, **JUST_ASKED)) == do.CancelPlanned(ids("b"))
    assert isinstance(next_action(snapshot(requests[0], verdict=VERDICT, **JUST_ASKED)), do.Wait)
    assert next_action(snapshot(requests[2], verdict=VERDICT)) == do.Conclude(VERDICT)


def test_the_first_design_opens_whatever_may_be_in_flight() -> None:
    assert next_action(snapshot(n_rounds=0, settings=replace(SETTINGS, initial=9))) == do.OpenRound(0, 3)


def test_a_synchronous_round_waits_for_the_whole_batch() -> None:
    settings = replace(SETTINGS, batch_size=4)
    assert next_action(snapshot(settings=settings)) == do.OpenRound(2, 4)
    waiting = next_action(snapshot(request("a", "RUNNING"), settings=settings, **JUST_ASKED))
    assert isinstance(waiting, do.Wait)


def test_an_asynchronous_round_opens_as_soon_as_a_batch_has_room() -> None:
    running = [request(name, "RUNNING") for name in "abc"]
    assert next_action(snapshot(*running[:2], **JUST_ASKED)) == do.OpenRound(2, 2)
    assert isinstance(next_action(snapshot(*running, **JUST_ASKED)), do.Wait)
    one_by_one = replace(SETTINGS, batch_size=1)
    assert next_action(snapshot(*running, settings=one_by_one, **JUST_ASKED)) == do.OpenRound(2, 1)


def test_the_batch_is_no_larger_than_the_budget_or_what_is_left() -> None:
    settings = replace(SETTINGS, batch_size=4)
    assert next_action(snapshot(settings=settings, budget=3)) == do.OpenRound(2, 3)
    last = replace(PROGRESS, n_available=1)
    assert next_action(snapshot(settings=settings, progress=last)) == do.OpenRound(2, 1)


def test_a_budget_that_is_spoken_for_opens_nothing() -> None:
    action = next_action(snapshot(request("a", "RUNNING"), budget=0, launches=0, **JUST_ASKED))
    assert isinstance(action, do.Wait)


def test_too_few_labels_to_go_on_is_a_failure_that_names_the_causes() -> None:
    poor = replace(PROGRESS, n_labels=1)
    requests = (
        request("a", "SUCCEEDED"),
        request("b", "FAILED", kind="rejected"),
        *(request("c", "LOST", attempt) for attempt in (1, 2, 3)),
    )
    action = next_action(snapshot(*requests, n_rounds=1, progress=poor))
    assert isinstance(action, do.Fail)
    assert action.reason.startswith("1 of the first 3 requests gave a label, and a model needs 2 (1 rejected, 1 lost)")
    assert "For example c: its job was lost again and again." in action.reason


def test_with_too_few_labels_what_runs_may_still_bring_some() -> None:
    poor = replace(PROGRESS, n_labels=1)
    assert isinstance(next_action(snapshot(request("a", "RUNNING"), progress=poor, **JUST_ASKED)), do.Wait)


def test_a_rule_that_holds_its_budget_back_and_never_stops_is_named() -> None:
    action = next_action(snapshot(budget=0))
    assert isinstance(action, do.Fail)
    assert "its `remaining` is 0 while its `check` gives no verdict" in action.reason


def test_a_paused_campaign_only_collects() -> None:
    paused = {"phase": Phase.PAUSED}
    assert next_action(snapshot(has_pool=False, has_features=False, **paused)) == do.Finished()
    assert next_action(snapshot(request("a", "SUBMITTING"), **paused)) == do.Reconcile(ids("a"))
    assert next_action(snapshot(request("a", "RUNNING"), request("b", "PLANNED"), **paused)) == do.Collect(ids("a"))
    running = snapshot(request("a", "RUNNING"), request("b", "PLANNED"), **paused, **JUST_ASKED)
    assert isinstance(next_action(running), do.Wait)
    idle = request("b", "PLANNED"), request("c", "FAILED")
    assert next_action(snapshot(*idle, verdict=VERDICT, needs_references=True, **paused)) == do.Finished()


def _after_its_batch(*, waits: bool) -> GoesOn:
    goes_on = one_pass(waits=waits)
    for action in (do.Submit(ids("a", "b")), do.Collect(ids("a", "b"))):
        assert goes_on(action)
    return goes_on


def test_a_pass_whose_jobs_die_with_it_opens_no_further_round_but_stays_for_what_runs() -> None:
    running = snapshot(request("a", "RUNNING"), request("b", "SUCCEEDED"), **JUST_ASKED)
    assert isinstance(next_action(running), do.OpenRound)
    assert isinstance(decide(running, _after_its_batch(waits=True)), do.Wait)
    assert decide(replace(running, polled_at=None), _after_its_batch(waits=True)) == do.Collect(ids("a"))
    assert decide(snapshot(request("b", "SUCCEEDED")), _after_its_batch(waits=True)) is None


def test_a_pass_whose_jobs_live_on_fills_all_places_and_does_not_wait() -> None:
    running = snapshot(request("a", "RUNNING"), request("b", "RUNNING"), **JUST_ASKED)
    assert isinstance(decide(running, _after_its_batch(waits=False)), do.OpenRound)
    full = snapshot(*(request(name, "RUNNING") for name in "abcd"), **JUST_ASKED)
    assert decide(full, _after_its_batch(waits=False)) is None


def test_a_run_to_the_end_refuses_nothing() -> None:
    waiting = snapshot(*(request(name, "RUNNING") for name in "abcd"), **JUST_ASKED)
    assert isinstance(decide(waiting, to_the_end), do.Wait)
    assert decide(snapshot(phase=Phase.STOPPED), to_the_end) is None
