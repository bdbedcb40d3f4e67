"""What a run of a deployment does about the others: those that were missed, and those that were killed.

Prefect would start, one after another, every run that was due while no worker was there, and would show for ever as
running what died with its worker.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Crashed

__all__ = ["cancel_missed", "mark_killed"]

_TO_BE_REFUSED = timedelta(seconds=30)
"""A run that finds the lease held ends within a shorter time."""


def cancel_missed() -> None:
    """Cancel the runs that were due before this one: it does their work."""
    _set(
        FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        ),
        Cancelled(message="missed; a later run does its work"),
    )


def mark_killed() -> None:
    """Say of the runs that still count as running that they are not. To be called by the one that holds the lease."""
    if flow_run.id is None:
        return
    _set(
        FlowRunFilter(
            id=FlowRunFilterId(not_any_=[UUID(flow_run.id)]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
            start_time=FlowRunFilterStartTime(before_=datetime.now(UTC) - _TO_BE_REFUSED),
        ),
        Crashed(message="killed, or cut off from the campaign; a later run went on from the store"),
    )


def _set(which: FlowRunFilter, state: State[None]) -> None:
    """Give a state to those runs of this run's deployment; a run without a deployment has no others."""
    if deployment.id is None:
        return
    mine = DeploymentFilter(id=DeploymentFilterId(any_=[UUID(deployment.id)]))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(deployment_filter=mine, flow_run_filter=which):
            client.set_flow_run_state(run.id, state)
