"""A campaign's past: its facts at any moment, rebuilt from the append-only history.

What never changes once it is written (what a request asks for and why, a round, the reason of a retraction) is taken
from the tables; what changes (states, labels, phase, approvals) from the events alone. Where the two disagree at the
end, somebody has changed one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from active_learning.api.provenance.comparing import Comparison
from active_learning.domain.approval import Approval, ApprovalState, Ending
from active_learning.domain.campaign import Event, Phase, RoundRecord, Verdict
from active_learning.domain.job import JobPhase
from active_learning.domain.label import Failure, FailureKind, Label, Retraction
from active_learning.domain.request import Request, RequestState
from active_learning.errors import MotherlodeError
from active_learning.store import Facts
from active_learning.store.rows import ending_of

__all__ = ["BrokenHistory", "Past"]

Key = tuple[str, str]
"""Candidate and property."""


class BrokenHistory(MotherlodeError):
    """An event cannot have happened after those before it, or speaks of what the tables do not have."""


class Past:
    """A campaign as it was after some of its events.

    Parameters
    ----------
    stored : the campaign as it stands
    events : its whole history, in order
    """

    def __init__(self, stored: Facts, events: Sequence[Event]) -> None:
        self._stored = stored
        self._asked = {request.id: request for request in stored.requests}
        self._written = {(label.candidate_id, label.property): label for label in stored.labels}
        self._newest = {_key(event): event.number for event in events if event.kind == "labeled"}
        self._rounds_of_table = {record.number: record for record in stored.rounds}
        self._requests: dict[str, Request] = {}
        self._labels: dict[Key, Label] = {}
        self._rounds: list[RoundRecord] = []
        self._retractions: list[Retraction] = []
        self._approvals: dict[int, Approval] = {}
        self._ending: Ending | None = None
        self._phase = Phase.ACTIVE
        self._verdict: Verdict | None = None
        self._notes: dict[str, Mapping[str, Any]] = {}
        self.versions: Mapping[str, str] = {}
        self.time: datetime = stored.created_at

    def apply(self, event: Event) -> None:
        """Go on by one event.

        Raises
        ------
        BrokenHistory
            If it cannot have happened now.
        """
        try:
            self._apply(event, event.data)
        except (KeyError, ValueError, TypeError, MotherlodeError) as error:
            raise BrokenHistory(
                f"event {event.number} ({event.kind}) does not follow from those before it:"
                f" {type(error).__name__}: {error}"
            ) from error
        self.time = event.time

    def _apply(self, event: Event, data: Mapping[str, Any]) -> None:
        match event.kind:
            case "pool_built" | "featurized":
                self._notes[event.kind] = dict(data)
            case "versions":
                self.versions = dict(data)
            case "active" | "paused" | "stopped" | "failed":
                self._phase, self._verdict = Phase(event.kind), Verdict(**data) if data else None
            case "planned":
                for request_id in data["requests"]:
                    self._requests[request_id] = self._asked[request_id].as_planned(event.time)
            case "moved" | "resources" | "used" | "backend" | "cancel_asked":
                self._apply_to_requests(event, data)
            case "labeled":
                self._labels[_key(event)] = self._label(event)
            case "retracted":
                del self._labels[_key(event)]
                self._retractions.append(self._stored.retractions[len(self._retractions)])
            case "round_opened":
                self._rounds.append(self._rounds_of_table[data["number"]])
            case "ending" | "approval_asked" | "approval_asked_again" | "approval":
                self._apply_a_persons_word(event, data)
            case _:
                pass  # a remark: a conflict, how many labels were told, a changed file

    def _apply_to_requests(self, event: Event, data: Mapping[str, Any]) -> None:
        if event.kind == "cancel_asked":
            for request_id in data["requests"]:
                self._change(request_id, cancel_asked_at=event.time)
            return
        name = data["request"]
        match event.kind:
            case "moved":
                failure = Failure(FailureKind(data["failure"]), data["detail"]) if "failure" in data else None
                self._requests[name] = self._requests[name].to(
                    RequestState(data["state"]), at=event.time, handle=data.get("handle"), failure=failure
                )
            case "backend":
                self._change(name, backend=JobPhase(data["says"]), backend_detail=data["detail"])
            case _:
                self._change(name, **{key: value for key, value in data.items() if key != "request"})

    def _change(self, request_id: str, **fields: Any) -> None:
        self._requests[request_id] = replace(self._requests[request_id], **fields)

    def _apply_a_persons_word(self, event: Event, data: Mapping[str, Any]) -> None:
        match event.kind:
            case "ending":
                self._ending = ending_of(data or None)
            case "approval_asked":
                self._approvals[data["round"]] = Approval(data["round"], ApprovalState.ASKED, event.time)
            case "approval_asked_again":
                for number, one in self._approvals.items():
                    if one.state is ApprovalState.ASKED:
                        self._approvals[number] = replace(one, asked_at=event.time)
            case "approval":
                self._approvals[data["round"]] = replace(
                    self._approvals[data["round"]],
                    state=ApprovalState(data["state"]),
                    decided_at=event.time,
                    by=data["by"],
                    note=data["note"],
                    dropped=tuple(data["dropped"]),
                )

    def _label(self, event: Event) -> Label:
        """The label of an event, with what else the tables know of it. Its value is the event's."""
        data, row = event.data, self._written.get(_key(event))
        if row is not None and self._newest[_key(event)] == event.number:
            return replace(row, value=data["value"], unit=data["unit"], request_id=data["request"])
        return Label(
            data["candidate"], data["property"], data["value"], data["unit"], event.time, "", request_id=data["request"]
        )

    def facts(self) -> Facts:
        """The campaign as it was."""
        return replace(
            self._stored,
            phase=self._phase,
            pool=self._notes.get("pool_built"),
            features=self._notes.get("featurized"),
            verdict=self._verdict,
            versions=self.versions,
            requests=tuple(self._requests.values()),
            labels=tuple(self._labels.values()),
            rounds=tuple(self._rounds),
            retractions=tuple(self._retractions),
            approvals=tuple(self._approvals[number] for number in sorted(self._approvals)),
            ending=self._ending,
        )

    def compared_with_the_tables(self) -> Comparison:
        """Where the end of the history is not what the tables say."""
        found, mine, theirs = Comparison(is_exact=True), self.facts(), self._stored
        for name in ("phase", "pool", "features", "versions", "ending"):
            found.add(name, getattr(theirs, name), getattr(mine, name))
        found.add("verdict", theirs.verdict, mine.verdict)
        _by_key(
            found, "request", {r.id: _settled(r) for r in theirs.requests}, {r.id: _settled(r) for r in mine.requests}
        )
        _by_key(found, "label", _labels(theirs), _labels(mine))
        _by_key(found, "round", {r.number: r.number for r in theirs.rounds}, {r.number: r.number for r in mine.rounds})
        found.add("number of retractions", len(theirs.retractions), len(mine.retractions))
        found.add("approvals", theirs.approvals, mine.approvals)
        return found


def _key(event: Event) -> Key:
    return event.data["candidate"], event.data["property"]


def _settled(request: Request) -> Request:
    """Without the backend's last word, which decides nothing."""
    return replace(request, backend=None, backend_since=None, backend_detail="")


def _labels(facts: Facts) -> dict[str, Any]:
    return {
        f"{label.property} of {label.candidate_id}": {"value": label.value, "unit": label.unit, "by": label.request_id}
        for label in facts.labels
    }


def _by_key(found: Comparison, what: str, stored: Mapping[Any, Any], rebuilt: Mapping[Any, Any]) -> None:
    for key in [*stored, *(key for key in rebuilt if key not in stored)]:
        found.add(f"{what} {key}", stored.get(key), rebuilt.get(key))
