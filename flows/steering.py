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

from prefect import flow, get_run_logger

from active_learning.api import approving, steering
from active_learning.api.status import open_store
from active_learning.domain.secrets import without_secrets_in
from active_learning.store import CampaignStore

__all__ = ["Answer", "approve", "cancel", "pause", "resume"]

FROM_THE_UI = "Prefect UI"


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
    shown = without_secrets_in(text)
    get_run_logger().info(shown)
    return shown


# Prefect makes its forms of the parameters, and takes what it says of each from a docstring in Google's manner.


@flow(name="pause", persist_result=False, retries=0)
def pause(path: str) -> str:
    """Open no new requests; calculations that run are still collected.

    Args:
        path: The campaign file: its absolute path, as the worker sees it.
    """
    with _store(path) as store:
        return _said(steering.pause(store, datetime.now(UTC)))


@flow(name="resume", persist_result=False, retries=0)
def resume(path: str) -> str:
    """Go on after a pause, or after a cancel.

    Args:
        path: The campaign file: its absolute path, as the worker sees it.
    """
    with _store(path) as store:
        return _said(steering.resume(store, datetime.now(UTC)))


@flow(name="cancel", persist_result=False, retries=0)
def cancel(path: str, reason: str = "", jobs: bool = False, by: str = FROM_THE_UI) -> str:
    """End the campaign: nothing new is asked, planned requests are withdrawn.

    Args:
        path: The campaign file: its absolute path, as the worker sees it.
        reason: Why; kept with the campaign.
        jobs: End the calculations that run, too; otherwise they are waited for.
        by: Who you are; kept with the campaign.
    """
    with _store(path) as store:
        return _said(steering.cancel(store, datetime.now(UTC), by=by, reason=reason, jobs=jobs))


@flow(name="approve", persist_result=False, retries=0)
def approve(
    path: str,
    answer: Answer = Answer.APPROVE,
    drop: list[str] = [],  # noqa: B006 - Prefect shows it in its form, and nothing changes it
    round_number: int | None = None,
    note: str = "",
    by: str = FROM_THE_UI,
) -> str:
    """Answer for a round that waits: all of it, a part of it, or nothing.

    Args:
        path: The campaign file: its absolute path, as the worker sees it.
        answer: Approve it, or reject all of it, now and later.
        drop: Candidates (ids) that shall not be calculated, now or later.
        round_number: Which round; the oldest that waits, if you name none.
        note: What you have to say; kept with the round.
        by: Who you are; kept with the answer.
    """
    with _store(path) as store:
        now = datetime.now(UTC)
        if answer is Answer.REJECT:
            return _said(approving.reject(store, now, by=by, number=round_number, note=note))
        return _said(approving.approve(store, now, by=by, number=round_number, drop=drop, note=note))
