"""Prefect deployments of a campaign: a tick on a schedule, a run to the end, and a person's word as forms of the UI.

A worker of the work pool runs them: `WORKER`. The flows are found by the names of
their modules: the worker needs this package installed, and the campaign's folder at the same path.

Two ticks of one campaign never work at once: the campaign's lease sees to that, whatever Prefect believes. Prefect's
own limit of one run at a time is not used: a run that is killed keeps its slot, and no tick would run any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.types.entrypoint import EntrypointType

from active_learning.errors import UserError
from flows import campaign as ring
from flows import steering

__all__ = ["POOL", "WORKER", "Deployed", "deploy", "undeploy"]

POOL = "motherlode"
WORKER = f"prefect worker start --pool {POOL} --limit 4"
"""The command that starts a worker. Without a limit it starts all that is due at once, each a process of its own."""
_TAG = "motherlode"


@dataclass(frozen=True)
class Deployed:
    """A deployment: its name in Prefect (`flow/campaign`), and its id there."""

    name: str
    id: UUID


def _flows() -> Sequence[Flow[..., Any]]:
    return ring.tick, ring.campaign, steering.pause, steering.resume, steering.cancel, steering.approve


def deploy(
    path: Path, name: str, *, every: timedelta | None = None, cron: str | None = None, whole: bool = False
) -> tuple[Deployed, ...]:
    """Deploy a campaign, or change how it was deployed.

    Parameters
    ----------
    path : the campaign file, which the worker finds at the same place
    every, cron : when it ticks (or, with `whole`, runs); neither: whenever somebody asks for it
    whole : schedule the run to the end in place of the tick

    Raises
    ------
    UserError
        If the schedule is none, or the work pool is there and of another type.
    """
    schedule = _schedule(every, cron)
    with get_client(sync_client=True) as client:
        _make_pool(client)
    scheduled = ring.campaign if whole else ring.tick
    return tuple(_deploy_one(flow, path, name, schedule if flow is scheduled else None) for flow in _flows())


def _deploy_one(
    flow: Flow[..., Any], path: Path, name: str, schedule: CronSchedule | IntervalSchedule | None
) -> Deployed:
    deployment = RunnerDeployment.from_flow(
        flow,
        name=name,
        schedules=None if schedule is None else [schedule],
        parameters={"path": str(path)},
        description=f"{_first_line(flow.description)}\n\nCampaign file: `{path}`",
        tags=[_TAG, name],
        work_pool_name=POOL,
        entrypoint_type=EntrypointType.MODULE_PATH,
        job_variables={"working_dir": str(path.parent)},
    )
    made = deployment.apply(work_pool_name=POOL)
    assert isinstance(made, UUID)  # outside of an event loop Prefect's sync-compatible call returns the id itself
    return Deployed(f"{flow.name}/{name}", made)


def _first_line(description: str | None) -> str:
    return (description or "").partition("\n")[0]


def _schedule(every: timedelta | None, cron: str | None) -> CronSchedule | IntervalSchedule | None:
    if every is not None and cron is not None:
        raise UserError("--every and --cron: one of them, please.")
    if every is not None:
        if every < timedelta(seconds=10):
            raise UserError(f"--every {every.total_seconds():g} s: a tick takes some seconds; say 10 s or more.")
        return IntervalSchedule(interval=every)
    if cron is None:
        return None
    try:
        return CronSchedule(cron=cron)
    except ValueError as error:
        raise UserError(f"--cron {cron!r}: {' '.join(str(error).split())}") from error


def _make_pool(client: SyncPrefectClient) -> None:
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Campaigns of Motherlode"))
        return
    if pool.type != "process":
        raise UserError(f"The work pool '{POOL}' is of type '{pool.type}', and campaigns need one of type 'process'.")


def undeploy(name: str) -> tuple[str, ...]:
    """Take the deployments of a campaign away; the names of those that were there. The campaign itself stays."""
    gone = []
    with get_client(sync_client=True) as client:
        for flow in _flows():
            full_name = f"{flow.name}/{name}"
            try:
                found = client.read_deployment_by_name(full_name)
            except ObjectNotFound:
                continue
            client.delete_deployment(found.id)
            gone.append(full_name)
    return tuple(gone)
