"""What the Prefect UI shows beside the steps: one task run for each request, the science of each round, the budget.

These are views. Nothing reads them back, and a campaign loses nothing if they are lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Cancelled, Completed, Failed

from active_learning.domain.label import Label
from active_learning.domain.request import Request, RequestState
from active_learning.domain.secrets import without_secrets_in
from active_learning.reporting.best import best_table
from active_learning.reporting.rounds import round_markdown
from tasks.bench import attached

__all__ = ["artifact_key", "follow_request", "open_budget", "publish_best", "publish_round", "tell", "update_budget"]

_LOOK_S = 0.5
_N_BEST = 10

# Of `best_table`, in the order in which they are read: the UI's table is as wide as half a screen.
_COLUMNS = (
    *("rank", "formula", "value", "std", "unit", "predicted_mean", "predicted_std", "z", "chosen_by", "round"),
    *("candidate", "origin", "fidelity", "n_candidates"),
)
# What Markdown or HTML would take for something else than itself.
_MARKUP = re.compile(r"[<&*`~\[\\\n]|\b_|_\b|://|www\.|^(?:[\s>#+-]|\d+[.)]\s)")


def artifact_key(*parts: object) -> str:
    """A key as Prefect wants it: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(str(part) for part in parts).lower()).strip("-")


@task(
    name="label",
    task_run_name="{formula} · {request_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=0,
)
def follow_request(campaign: str, request_id: str, formula: str) -> State[str]:
    """Show a request for as long as it is open; ends as its label ended."""
    here = attached(campaign)
    asked = here.campaign.store.request(request_id)
    folder = here.bench.jobs / request_id
    get_run_logger().info(
        f"request {request_id}: candidate {asked.candidate_id} ({formula}), round {asked.round}; files: {folder}"
    )
    is_over = False
    while not is_over:
        is_over = here.over.wait(_LOOK_S)  # looks once more after the end, for labels that came since the last look
        request = here.campaign.store.request(request_id)
        if not request.is_open:
            return _end(request, here.campaign.store.labels_of(request_id))
    return Cancelled(message="the flow ended before the calculation; the campaign's store knows how it goes on")


def _end(request: Request, labels: tuple[Label, ...]) -> State[str]:
    said = ", ".join(f"{label.property} = {label.value:.6g} {label.unit}" for label in labels)
    match request.state:
        case RequestState.SUCCEEDED:
            return Completed(message=said, data=said)
        case RequestState.CANCELLED:
            return Cancelled(message="withdrawn")
        case RequestState.LOST:
            return Failed(message="lost: its job died with the process or machine it ran on; it is tried again")
        case _:
            assert request.failure is not None
            return Failed(message=without_secrets_in(f"{request.failure.kind}: {request.failure.detail}"))


@task(name="publish round", task_run_name="publish round {number}", cache_policy=NO_CACHE, persist_result=False)
def publish_round(campaign: str, number: int) -> str:
    """Put a round's figures and picks on a page of the UI; the same key again is the page's next version."""
    record = attached(campaign).campaign.record()
    key = artifact_key(record.name, "round", number)
    create_markdown_artifact(
        markdown=round_markdown(record, number), key=key, description=f"{record.name}: round {number}"
    )
    publish_best(campaign)
    return key


def publish_best(campaign: str) -> None:
    """Put the best materials so far into a table; its key is the same for ever, so that its versions are a timeline."""
    record = attached(campaign).campaign.record()
    rows = best_table(record, _N_BEST)
    if rows:
        key = artifact_key(record.name, "best")
        table = [_row(row) for row in rows]
        create_table_artifact(table=table, key=key, description=f"{record.name}: the best so far")


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for the UI, which shows every digit of a number."""
    return {name: _cell(row[name]) for name in _COLUMNS}


def _cell(value: Any) -> Any:
    """A cell that shows as itself: one of Prefect's two UIs takes a text for Markdown with HTML, and neither a list."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return [value] if isinstance(value, str) and _MARKUP.search(value) else value


def tell(name: str, what: str, said: str) -> None:
    """An event for automations: ``motherlode.campaign.finished``, ``.stopped`` or ``.needs-attention``."""
    resource = {"prefect.resource.id": f"motherlode.campaign.{name}", "prefect.resource.name": name}
    emit_event(event=f"motherlode.campaign.{what}", resource=resource, payload={"said": said})


def open_budget(name: str) -> UUID:
    """A progress bar for the labels; returns its id."""
    # In a synchronous flow Prefect's sync-compatible call returns the id itself.
    found = create_progress_artifact(0.0, key=artifact_key(name, "labels"), description=f"{name}: labels")
    assert isinstance(found, UUID)
    return found


def update_budget(artifact: UUID, name: str, n_labels: int, limit: int) -> None:
    """Move the bar."""
    share = round(min(100.0, 100.0 * n_labels / max(1, limit)), 1)
    update_progress_artifact(artifact, share, description=f"{name}: {n_labels} of at most {limit} labels")
