"""A campaign's memory that lasts as long as its process: what a replay needs of `CampaignStore`, under its laws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from active_learning.domain.campaign import Phase, RoundRecord, Verdict
from active_learning.domain.job import JobPhase
from active_learning.domain.label import Failure, Label
from active_learning.domain.request import Request, RequestState
from active_learning.errors import ContractError, LabelConflict, StaleVersion
from active_learning.store import Facts, Lease

__all__ = ["MemoryStore", "MemoryWriter"]


@dataclass
class _State:
    """Everything that is known, in the order it came."""

    phase: Phase = Phase.ACTIVE
    verdict: Verdict | None = None
    pool: Mapping[str, Any] | None = None
    features: Mapping[str, Any] | None = None
    requests: dict[str, Request] = field(default_factory=dict)
    labels: dict[tuple[str, str], Label] = field(default_factory=dict)
    rounds: dict[int, RoundRecord] = field(default_factory=dict)

    def copied(self) -> _State:
        mine = copy(self)
        mine.requests, mine.labels, mine.rounds = dict(self.requests), dict(self.labels), dict(self.rounds)
        return mine


class MemoryStore:
    """The memory of one replay. One thread has it; there is nobody to take a lease from."""

    def __init__(self, name: str, created_at: datetime) -> None:
        self.name = name
        self._created_at = created_at
        self._version = 1
        self._state = _State()
        self._facts: Facts | None = None

    def read(self) -> Facts:
        """Everything, as it stands."""
        if self._facts is None:
            state = self._state
            self._facts = Facts(
                name=self.name,
                version=self._version,
                phase=state.phase,
                created_at=self._created_at,
                spec={},
                pool=state.pool,
                features=state.features,
                verdict=state.verdict,
                versions={},
                requests=tuple(state.requests.values()),
                labels=tuple(state.labels.values()),
                rounds=tuple(state.rounds[number] for number in sorted(state.rounds)),
            )
        return self._facts

    @contextmanager
    def write(
        self,
        now: datetime,
        *,
        lease: Lease | None = None,  # noqa: ARG002
        expect: int | None = None,
    ) -> Iterator[MemoryWriter]:
        """One transaction: kept when the block ends, dropped if it raises.

        Raises
        ------
        StaleVersion
            If the version is not the one expected, or became another one meanwhile; nothing is written.
        """
        version = self._version
        if expect is not None and version != expect:
            raise StaleVersion(f"campaign '{self.name}' is at version {version}, not {expect}")
        writer = MemoryWriter(self._state.copied(), now)
        yield writer
        if not writer.has_written:
            return
        if self._version != version:
            raise StaleVersion(f"campaign '{self.name}' moved on from version {version}")
        self._state, self._version, self._facts = writer.state, version + 1, None


class MemoryWriter:
    """One transaction's pen, like `active_learning.store.Writer`; the history is not kept."""

    def __init__(self, state: _State, now: datetime) -> None:
        self.state = state
        self.now = now
        self.has_written = False

    def event(self, _kind: str, /, **_data: Any) -> None:
        """Something happened."""
        self.has_written = True

    def set_pool(self, pool: Mapping[str, Any]) -> None:
        """Note the stored pool."""
        self.state.pool = dict(pool)
        self.event("pool_built")

    def set_features(self, features: Mapping[str, Any]) -> None:
        """Note the stored features."""
        self.state.features = dict(features)
        self.event("featurized")

    def set_phase(self, phase: Phase, verdict: Verdict | None = None) -> None:
        """Change what the campaign is doing; a verdict says why it ended."""
        self.state.phase, self.state.verdict = phase, verdict
        self.event(phase.value)

    def plan(self, requests: Iterable[Request]) -> None:
        """Add new requests, PLANNED.

        Raises
        ------
        ContractError
            If a request is there already, or its candidate has an open one.
        """
        is_open = {request.candidate_id for request in self.state.requests.values() if request.is_open}
        for request in requests:
            if request.id in self.state.requests:
                raise ContractError(f"request {request.id} is planned already")
            if request.candidate_id in is_open:
                raise ContractError(f"candidate {request.candidate_id} has an open request already")
            self.state.requests[request.id] = replace(request, planned_at=self.now)
            is_open.add(request.candidate_id)
            self.event("planned")

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
        request = self.state.requests.get(request_id)
        if request is None or request.state is not expected:
            raise StaleVersion(f"request {request_id} is {request.state if request else 'gone'}, not {expected}")
        moved = request.to(state, at=self.now, handle=handle, failure=failure)
        self.state.requests[request_id] = moved
        self.event("moved")
        return moved

    def note_resources(self, request_id: str, cores: int, asked_s: float) -> None:
        """What a request's job is about to ask for."""
        self._change_request(request_id, cores=cores, asked_s=asked_s)

    def note_backend(self, request: Request, backend: JobPhase, detail: str = "") -> None:
        """The submitter's word on a request's job, where it is another than before."""
        if (request.backend, request.backend_detail) == (backend, detail):
            return
        since = request.backend_since if request.backend is backend else self.now
        self._change_request(request.id, backend=backend, backend_since=since, backend_detail=detail)

    def note_use(self, request_id: str, *, queued_s: float | None, ran_s: float) -> None:
        """What a request's job left word of: how long it waited and how long it ran."""
        self._change_request(request_id, queued_s=queued_s, ran_s=ran_s)

    def _change_request(self, request_id: str, **fields: Any) -> None:
        self.state.requests[request_id] = replace(self.state.requests[request_id], **fields)
        self.event("request")

    def add_label(self, label: Label) -> bool:
        """Add a label; False if the very same is there already.

        Raises
        ------
        LabelConflict
            If another value is there for this candidate and property.
        """
        key = (label.candidate_id, label.property)
        old = self.state.labels.get(key)
        if old is not None:
            if old.unit == label.unit and math.isclose(old.value, label.value, rel_tol=1e-9, abs_tol=1e-12):
                return False
            raise LabelConflict(
                f"{label.property} of {label.candidate_id} is already {old.value:.10g} {old.unit};"
                f" refused: {label.value:.10g} {label.unit}."
            )
        self.state.labels[key] = label
        self.event("labeled")
        return True

    def open_round(self, record: RoundRecord) -> None:
        """Add a round.

        Raises
        ------
        ContractError
            If there is one of this number.
        """
        if record.number in self.state.rounds:
            raise ContractError(f"round {record.number} is open already")
        self.state.rounds[record.number] = record
        self.event("round_opened")
