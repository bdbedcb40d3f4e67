"""A person's word from the Prefect UI: a small flow for each, whose parameters are the form that the UI shows.

They write to the campaign's store what `motherlode pause`, `resume`, `cancel` and `approve` write; the next tick, or
the process that works on the campaign now, acts on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from active_learning.api import approving, steering
from active_learning.api.status import open_store
from active_learning.store import CampaignStore
from flows.campaign import CampaignFile

__all__ = ["Answer", "approve", "cancel", "pause", "resume"]

FROM_THE_UI = "Prefect UI"

Who = Annotated[str, Field(title="Who you are", description="Kept with the answer.")]


class Answer(StrEnum):
    """To a round that waits."""

    APPROVE = "approve"
    REJECT = "reject"


@contextmanager
def _store(path: str) -> Iterator[CampaignStore]:
    store = open_store(Path(path))
    try:
        yield store
    finally:
        store.close()


def _said(text: str) -> str:
    get_run_logger().info(text)
    return text


@flow(name="pause", persist_result=False, retries=0)
def pause(path: CampaignFile) -> str:
    """Open no new requests; calculations that run are still collected."""
    with _store(path) as store:
        return _said(steering.pause(store, datetime.now(UTC)))


@flow(name="resume", persist_result=False, retries=0)
def resume(path: CampaignFile) -> str:
    """Go on after a pause, or after a cancel."""
    with _store(path) as store:
        return _said(steering.resume(store, datetime.now(UTC)))


@flow(name="cancel", persist_result=False, retries=0)
def cancel(
    path: CampaignFile,
    reason: Annotated[str, Field(title="Why", description="Kept with the campaign.")] = "",
    jobs: Annotated[
        bool, Field(title="End what runs", description="Otherwise calculations that run are waited for.")
    ] = False,
    by: Who = FROM_THE_UI,
) -> str:
    """End the campaign: nothing new is asked, planned requests are withdrawn."""
    with _store(path) as store:
        return _said(steering.cancel(store, datetime.now(UTC), by=by, reason=reason, jobs=jobs))


@flow(name="approve", persist_result=False, retries=0)
def approve(
    path: CampaignFile,
    answer: Annotated[
        Answer, Field(title="Answer", description="Reject: nothing of it, now or later.")
    ] = Answer.APPROVE,
    drop: Annotated[
        list[str], Field(title="Drop", description="Candidates (ids) that shall not be calculated, now or later.")
    ] = [],  # noqa: B006 - Prefect shows it in its form, and nothing changes it
    round_number: Annotated[
        int | None, Field(title="Round", description="The oldest that waits, if you name none.")
    ] = None,
    note: Annotated[str, Field(title="Note", description="Kept with the round.")] = "",
    by: Who = FROM_THE_UI,
) -> str:
    """Answer for a round that waits: all of it, a part of it, or nothing."""
    with _store(path) as store:
        now = datetime.now(UTC)
        if answer is Answer.REJECT:
            return _said(approving.reject(store, now, by=by, number=round_number, note=note))
        return _said(approving.approve(store, now, by=by, number=round_number, drop=drop, note=note))
