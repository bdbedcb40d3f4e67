"""Each round and each end of a campaign, decided and computed once more by the engine's own steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from active_learning.api.provenance.comparing import Comparison
from active_learning.api.provenance.history import BrokenHistory, Past
from active_learning.api.provenance.moments import Look, Moments
from active_learning.api.provenance.results import compare_picks, compare_records, compare_verdicts
from active_learning.api.provenance.specs import SpecInForce
from active_learning.api.provenance.stage import Shelf, bench_at, kit_of, searching_as_then
from active_learning.api.provenance.steps import Outcome, Step
from active_learning.domain import actions as do
from active_learning.domain.campaign import CampaignSnapshot, Event, Phase, Verdict
from active_learning.domain.request import Request
from active_learning.engine.assembly import Kit
from active_learning.engine.deciding import next_action
from active_learning.engine.observing import target_labels
from active_learning.engine.performing import perform
from active_learning.engine.round_steps import judge_again
from active_learning.errors import MotherlodeError, StaleVersion
from active_learning.store import Facts

__all__ = ["Retrace"]

_Decision = do.OpenRound | do.Retrain | do.Conclude | do.Fail
_ENDED = (Phase.STOPPED, Phase.FAILED)
_LATER = timedelta(hours=1)
"""Of what is said of time, an hour changes everything."""


class _OfAnotherKind(MotherlodeError):
    """Something else would have been decided."""

    def __init__(self, action: do.Action) -> None:
        super().__init__(str(action))
        self.action = action


class _Unknown(MotherlodeError):
    """What would be needed is not stored, or cannot be used here."""


class Retrace:
    """Walks through a campaign's history and computes again whatever was decided.

    Parameters
    ----------
    specs : every campaign file that was in force, in order
    """

    def __init__(self, path: Path, moments: Moments, specs: Sequence[SpecInForce], shelf: Shelf) -> None:
        self._path = path
        self._moments = moments
        self._events = moments.events
        self._specs = specs
        self._shelf = shelf
        self._kits: dict[int, Kit] = {}
        self._records = {record.number: record for record in moments.stored.rounds}
        self._asked = {request.id: request for request in moments.stored.requests}

    def steps(self) -> Iterator[Step]:
        """What came of each decision, in order; where the history breaks off, this ends."""
        done: set[int] = set()
        try:
            for place, past in self._moments.walk():
                step = None if place in done else self._step(place, past, done)
                if step is not None:
                    yield step
        except BrokenHistory as broken:
            yield Step("history", Outcome.DIFFERS, f"it breaks off, and nothing after it is computed: {broken}")

    def _step(self, place: int, past: Past, done: set[int]) -> Step | None:
        """What came of an event's decision, if it was one. Events that belong to it are `done`, too."""
        event = self._events[place]
        names = {"round_opened": f"round {event.data.get('number')}", "stopped": "end", "failed": "end"}
        is_judged_again = event.kind == "spec_changed" and past.facts().phase in _ENDED
        if event.kind not in names and not is_judged_again:
            return None
        name = names.get(event.kind, "judged again")
        try:
            if is_judged_again:
                return self._judged_again(name, place, past, done)
            if event.kind != "round_opened":
                return self._end(name, place, past)
            if event.data["number"] not in self._records:
                return None  # the history breaks here, and is told to
            return self._round(name, place, past, done)
        except StaleVersion as stale:
            return Step(name, Outcome.DIFFERS, f"it could not have happened then: {stale}")
        except _Unknown as unknown:
            return Step(name, Outcome.UNKNOWN, str(unknown))
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the other rounds can still be computed
            return Step(name, Outcome.UNKNOWN, f"computing it failed: {type(error).__name__}: {error}")

    def _kit(self, place: int) -> Kit:
        """The plug-ins that were in force at an event."""
        number = self._events[place].number
        spec = max((spec for spec in self._specs if spec.since <= number), key=lambda spec: spec.since)
        if spec.unknown:
            tables = ", ".join(f"[{key}]" for key in spec.unknown)
            raise _Unknown(f"the campaign file of then is not stored: {tables} changed more than once")
        if spec.since not in self._kits:
            self._kits[spec.since] = kit_of(self._path, spec)
        return self._kits[spec.since]

    def _snapshot(self, kit: Kit, look: Look) -> CampaignSnapshot:
        return bench_at(kit, look.facts, look.now, self._shelf)[0].snapshot()

    def _decisions(
        self, kit: Kit, place: int, past: Past, wanted: tuple[type[_Decision], ...]
    ) -> Iterator[tuple[_Decision, Look]]:
        """What may have been decided, with the look it was made on, the likeliest first.

        Raises
        ------
        _OfAnotherKind
            In the place of the first, if on no look it would have been a decision of the wanted kinds.
        """
        seen: list[do.Action] = []
        for look in self._moments.looks(place, past):
            action = next_action(self._snapshot(kit, look))
            if isinstance(action, wanted) and action not in seen:
                yield action, look
            seen.append(action)
        if not any(isinstance(action, wanted) for action in seen):
            raise _OfAnotherKind(seen[0])

    def _round(self, name: str, place: int, past: Past, done: set[int]) -> Step:
        """A round: what was decided, what was learned, what was chosen. One decision that explains it is enough."""
        record = self._records[self._events[place].data["number"]]
        kit, facts = searching_as_then(self._kit(place), record), past.facts()
        wanted = (do.OpenRound,) if record.n_picks else (do.OpenRound, do.Retrain, do.Conclude)
        tried: list[tuple[Comparison, str, bool]] = []
        try:
            for decision, look in self._decisions(kit, place, past, wanted):
                tried.append(self._carried_out(kit, place, facts, decision, look))
                if tried[-1][0].is_same:
                    break
        except _OfAnotherKind as other:
            asked = do.OpenRound(record.number, max(1, record.n_picks))
            tried.append(self._carried_out(kit, place, facts, asked, Look(facts, past.time)))
            tried[0][0].add("what was decided", "open a round" if record.n_picks else "train", _in_words(other.action))
        found, said, is_end = tried[-1] if tried[-1][0].is_same else tried[0]
        if is_end:
            done.add(place + 1)
        in_flight = tuple(r.id for r in facts.requests if r.is_open)
        n_labels = len(target_labels(facts, kit.target))
        known = f"{_counted(n_labels, 'label')} known, {_counted(len(in_flight), 'request')} in flight"
        return Step.of(
            name, f"{known}; {said.removeprefix(f'{name}: ')}", found, n_labels=n_labels, in_flight=in_flight
        )

    def _carried_out(
        self, kit: Kit, place: int, facts: Facts, decision: _Decision, look: Look
    ) -> tuple[Comparison, str, bool]:
        """What differs if a decision is carried out on the facts before an event, what is said of it, and whether the
        event after it is the end that belongs to it."""
        event = self._events[place]
        record = self._records[event.data["number"]]
        bench, notes = bench_at(kit, facts, look.now, self._shelf)
        found, said = Comparison(), perform(bench, decision)
        told = {"n_labels": record.n_labels, "n_picks": record.n_picks}
        found.add("the round as its event has it", told, {key: event.data.get(key) for key in told})
        compare_picks(found, self._planned(place) if record.n_picks else [], notes.requests)
        compare_records(found, record, notes.rounds[0] if notes.rounds else None, self._shelf)
        if not isinstance(decision, do.Conclude):
            return found, said, False
        after = self._moments.next_at_once(place)
        if after is None or after.kind != "stopped":
            found.add("what followed", None if after is None else after.kind, "stopped")
            return found, said, False
        self._compare_verdicts(found, after, decision.verdict, kit, look)
        return found, said, True

    def _planned(self, place: int) -> list[Request]:
        """The requests of a round."""
        following = self._events[place + 1] if place + 1 < len(self._events) else None
        if following is None or following.kind != "planned":
            return []
        return [self._asked[name] for name in following.data["requests"] if name in self._asked]

    def _end(self, name: str, place: int, past: Past) -> Step:
        """An end without a last training."""
        event, kit = self._events[place], self._kit(place)
        wanted: type[_Decision] = do.Conclude if event.kind == "stopped" else do.Fail
        tried: list[Comparison] = []
        try:
            for decision, look in self._decisions(kit, place, past, (wanted,)):
                tried.append(Comparison())
                if isinstance(decision, do.Conclude):
                    self._compare_verdicts(tried[-1], event, decision.verdict, kit, look)
                if tried[-1].is_same:
                    break
        except _OfAnotherKind as other:
            tried.append(Comparison())
            tried[0].add("what was decided", f"end: {event.data.get('reason')}", _in_words(other.action))
        n_labels = len(target_labels(past.facts(), kit.target))
        found = tried[-1] if tried[-1].is_same else tried[0]
        return Step.of(name, str(event.data.get("reason", event.kind)), found, n_labels=n_labels)

    def _judged_again(self, name: str, place: int, past: Past, done: set[int]) -> Step:
        """A campaign that had ended, by the rules of a file that changed."""
        facts, kit = past.facts(), self._kit(place)
        look = Look(facts, self._events[place].time)
        bench, notes = bench_at(kit, facts, look.now, self._shelf)
        judge_again(bench, facts, notes)  # type: ignore[arg-type] # it only sets the phase
        event = self._moments.next_at_once(place)
        ended = event if event is not None and event.kind in ("active", "stopped") else None
        found = Comparison()
        phase, verdict = notes.phases[0] if notes.phases else (None, None)
        found.add("phase after the file changed", ended.kind if ended else None, phase.value if phase else None)
        if ended is not None:
            done.add(place + 1)
            if verdict is not None:
                self._compare_verdicts(found, ended, verdict, kit, look)
        said = "goes on" if phase is Phase.ACTIVE else verdict.reason if verdict else "stays as it was"
        n_labels = len(target_labels(facts, kit.target))
        return Step.of(name, f"by the rules of the changed file: {said}", found, n_labels=n_labels)

    def _compare_verdicts(self, found: Comparison, event: Event, verdict: Verdict | None, kit: Kit, look: Look) -> None:
        later = self._snapshot(kit, replace(look, now=look.now + _LATER)).verdict
        compare_verdicts(found, event.data, verdict, later)


def _in_words(action: do.Action) -> str:
    match action:
        case do.OpenRound(number, size):
            return f"open round {number} with {size}"
        case do.Conclude(verdict):
            return f"end: {verdict.reason}"
        case do.Fail(reason):
            return f"fail: {reason}"
        case _:
            return type(action).__name__


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
