"""What may be written to a campaign, inside one transaction that `CampaignStore.write` opens and commits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from active_learning.domain.approval import Approval, ApprovalState, Ending
from active_learning.domain.campaign import Phase, RoundRecord, Verdict
from active_learning.domain.job import JobPhase
from active_learning.domain.label import Failure, Label, Retraction
from active_learning.domain.request import Request, RequestState
from active_learning.errors import LabelConflict, StaleVersion
from active_learning.store import schema as t
from active_learning.store.rows import label_of, label_row, request_of, request_row, round_row

__all__ = ["Writer"]


class Writer:
    """One transaction's pen. Nothing it writes is true before the transaction commits."""

    def __init__(self, connection: sa.Connection, campaign: str, now: datetime) -> None:
        self._connection = connection
        self._campaign = campaign
        self.now = now
        self.has_written = False

    def _mine(self, table: sa.Table) -> sa.ColumnElement[bool]:
        return table.c.campaign == self._campaign

    def _next(self, table: sa.Table, column: str) -> int:
        newest = sa.select(sa.func.max(table.c[column])).where(self._mine(table))
        return int(self._connection.execute(newest).scalar() or 0) + 1

    def _set(self, **columns: Any) -> None:
        self._connection.execute(sa.update(t.campaigns).where(t.campaigns.c.name == self._campaign).values(**columns))

    def event(self, kind: str, /, **data: Any) -> None:
        """Add a line to the history."""
        number = self._next(t.events, "number")
        row = {"campaign": self._campaign, "number": number, "time": self.now, "kind": kind, "data": data}
        self._connection.execute(sa.insert(t.events).values(row))
        self.has_written = True

    def set_pool(self, pool: Mapping[str, Any]) -> None:
        """Note the stored pool."""
        self._set(pool=dict(pool))
        self.event("pool_built", **pool)

    def set_features(self, features: Mapping[str, Any]) -> None:
        """Note the stored features."""
        self._set(features=dict(features))
        self.event("featurized", **features)

    def set_spec(self, spec: Mapping[str, Any], changed: Iterable[str]) -> None:
        """Take over a changed campaign file."""
        self._set(spec=dict(spec))
        self.event("spec_changed", keys=sorted(changed), spec=dict(spec))

    def set_versions(self, versions: Mapping[str, str]) -> None:
        """Note the versions of the packages the campaign runs with."""
        self._set(versions=dict(versions))
        self.event("versions", **versions)

    def set_phase(self, phase: Phase, verdict: Verdict | None = None) -> None:
        """Change what the campaign is doing; a verdict says why it ended."""
        self._set(phase=phase.value, verdict=None if verdict is None else asdict(verdict))
        self.event(phase.value, **({} if verdict is None else asdict(verdict)))

    def set_ending(self, ending: Ending | None) -> None:
        """A person wants the campaign to end; None: no more."""
        told = None if ending is None else asdict(ending) | {"asked_at": ending.asked_at.isoformat()}
        self._set(ending=told)
        self.event("ending", **(told or {}))

    def ask_approval(self, round_number: int) -> None:
        """A round waits for a person from now on."""
        row = {"campaign": self._campaign, "round": round_number, "state": ApprovalState.ASKED.value}
        self._connection.execute(sa.insert(t.approvals).values(row | {"asked_at": self.now, "dropped": []}))
        self.event("approval_asked", round=round_number)

    def ask_approval_again(self) -> None:
        """The time in which a person is to answer begins anew for all rounds that wait."""
        waiting = self._mine(t.approvals) & (t.approvals.c.state == ApprovalState.ASKED.value)
        if self._connection.execute(sa.update(t.approvals).where(waiting).values(asked_at=self.now)).rowcount:
            self.event("approval_asked_again")

    def decide(self, approval: Approval, state: ApprovalState, *, by: str, note: str, dropped: Iterable[str]) -> None:
        """A person's answer for a round.

        Raises
        ------
        StaleVersion
            If somebody answered already.
        """
        names = sorted(dropped)
        where = self._mine(t.approvals) & (t.approvals.c.round == approval.round)
        open_still = where & (t.approvals.c.state == ApprovalState.ASKED.value)
        values = {"state": state.value, "decided_at": self.now, "by": by, "note": note, "dropped": names}
        if self._connection.execute(sa.update(t.approvals).where(open_still).values(values)).rowcount != 1:
            raise StaleVersion(f"somebody answered for round {approval.round} already")
        self.event("approval", round=approval.round, state=state.value, by=by, note=note, dropped=names)

    def note_cancel(self, request_ids: Iterable[str]) -> None:
        """The submitter was told to end these jobs."""
        ids = list(request_ids)
        for request_id in ids:
            self._change_request(request_id, cancel_asked_at=self.now)
        self.event("cancel_asked", requests=ids)

    def plan(self, requests: Iterable[Request]) -> None:
        """Add new requests, PLANNED. The database refuses a second open one for the same candidate."""
        ordinal = self._next(t.requests, "ordinal")
        rows = [
            request_row(request) | {"campaign": self._campaign, "ordinal": ordinal + offset, "planned_at": self.now}
            for offset, request in enumerate(requests)
        ]
        if rows:
            self._connection.execute(sa.insert(t.requests), rows)
            self.event("planned", requests=[row["id"] for row in rows])

    def move(
        self,
        request_id: str,
        expected: RequestState,
        state: RequestState,
        *,
        handle: str | None = None,
        failure: Failure | None = None,
    ) -> Request:
        """Make one legal move, if the request still is where the caller believes it to be.

        Raises
        ------
        StaleVersion
            If it is not.
        IllegalMove
            If the law forbids the move.
        """
        where = self._mine(t.requests) & (t.requests.c.id == request_id)
        row = self._connection.execute(sa.select(t.requests).where(where)).one_or_none()
        if row is None or row.state != expected.value:
            raise StaleVersion(f"request {request_id} is {row.state if row else 'gone'}, not {expected}")
        moved = request_of(row).to(state, at=self.now, handle=handle, failure=failure)
        self._connection.execute(sa.update(t.requests).where(where).values(**request_row(moved)))
        data = {"request": request_id, "state": state.value}
        if handle is not None:
            data["handle"] = handle
        if failure is not None:
            data |= {"failure": failure.kind.value, "detail": failure.detail}
        self.event("moved", **data)
        return moved

    def note_resources(self, request_id: str, cores: int, asked_s: float) -> None:
        """What a request's job is about to ask for."""
        self._change_request(request_id, cores=cores, asked_s=asked_s)
        self.event("resources", request=request_id, cores=cores, asked_s=asked_s)

    def note_backend(self, request: Request, backend: JobPhase, detail: str = "") -> None:
        """The submitter's word on a request's job, where it is another than before."""
        if (request.backend, request.backend_detail) == (backend, detail):
            return
        since = request.backend_since if request.backend is backend else self.now
        self._change_request(request.id, backend=backend.value, backend_since=since, backend_detail=detail)
        self.event("backend", request=request.id, says=backend.value, detail=detail)

    def note_use(self, request_id: str, *, queued_s: float | None, ran_s: float) -> None:
        """What a request's job left word of: how long it waited and how long it ran."""
        self._change_request(request_id, queued_s=queued_s, ran_s=ran_s)
        self.event("used", request=request_id, queued_s=queued_s, ran_s=ran_s)

    def _change_request(self, request_id: str, **columns: Any) -> None:
        where = self._mine(t.requests) & (t.requests.c.id == request_id)
        self._connection.execute(sa.update(t.requests).where(where).values(**columns))

    def retract(self, candidate_id: str, reason: str, *, may_ask_again: bool, n_rounds: int) -> tuple[Retraction, ...]:
        """Take back all labels of a candidate; they are kept as retractions."""
        where = self._mine(t.labels) & (t.labels.c.candidate_id == candidate_id)
        rows = self._connection.execute(sa.select(t.labels).where(where).order_by(t.labels.c.ordinal)).all()
        taken = tuple(
            Retraction(
                candidate_id=candidate_id,
                property=label.property,
                value=label.value,
                unit=label.unit,
                fidelity=label.fidelity,
                request_id=label.request_id,
                reason=reason,
                may_ask_again=may_ask_again,
                n_rounds=n_rounds,
                time=self.now,
            )
            for label in map(label_of, rows)
        )
        number = self._next(t.retractions, "number")
        for offset, retraction in enumerate(taken):
            row = asdict(retraction) | {"campaign": self._campaign, "number": number + offset}
            self._connection.execute(sa.insert(t.retractions).values(row))
            self.event(
                "retracted",
                candidate=candidate_id,
                property=retraction.property,
                value=retraction.value,
                unit=retraction.unit,
                reason=reason,
            )
        self._connection.execute(sa.delete(t.labels).where(where))
        return taken

    def add_label(self, label: Label) -> bool:
        """Add a label; False if the very same is there already.

        Raises
        ------
        LabelConflict
            If another value is there for this candidate and property.
        """
        key = (t.labels.c.candidate_id == label.candidate_id) & (t.labels.c.property == label.property)
        row = self._connection.execute(sa.select(t.labels).where(self._mine(t.labels) & key)).one_or_none()
        if row is not None:
            old = label_of(row)
            if old.unit == label.unit and math.isclose(old.value, label.value, rel_tol=1e-9, abs_tol=1e-12):
                return False
            raise LabelConflict(
                f"{label.property} of {label.candidate_id} is already {old.value:.10g} {old.unit}"
                f" ({old.fidelity}, {old.time:%Y-%m-%d}); refused: {label.value:.10g} {label.unit}."
            )
        ordinal = self._next(t.labels, "ordinal")
        self._connection.execute(
            sa.insert(t.labels).values(label_row(label) | {"campaign": self._campaign, "ordinal": ordinal})
        )
        self.event(
            "labeled",
            candidate=label.candidate_id,
            property=label.property,
            value=label.value,
            unit=label.unit,
            request=label.request_id,
        )
        return True

    def open_round(self, record: RoundRecord) -> None:
        """Add a round."""
        self._connection.execute(sa.insert(t.rounds).values(round_row(record) | {"campaign": self._campaign}))
        self.event("round_opened", number=record.number, n_labels=record.n_labels, n_picks=record.n_picks)
