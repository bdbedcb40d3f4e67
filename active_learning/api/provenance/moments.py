"""On what a decision was made: the facts before it, at a time between the event before it and its own.

A decision is made on one look at the campaign and carried out on the next. In between a person may have said something;
then a look before their word, or before one of several, is the one that counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from active_learning.api.provenance.history import Past
from active_learning.domain.campaign import Event
from active_learning.store import Facts

__all__ = ["Look", "Moments"]


@dataclass(frozen=True)
class Look:
    """What a decision may have been made on. Rules about time see a `now` that is not known to the second."""

    facts: Facts
    now: datetime


@dataclass(frozen=True)
class Moments:
    """A campaign's history, to be walked through once."""

    stored: Facts
    events: Sequence[Event]

    def walk(self) -> Iterator[tuple[int, Past]]:
        """The place of each event, and the past before it.

        Raises
        ------
        BrokenHistory
            Where an event cannot have happened.
        """
        past = Past(self.stored, self.events)
        for place, event in enumerate(self.events):
            yield place, past
            past.apply(event)

    def looks(self, place: int, past: Past) -> Iterator[Look]:
        """What the decision at an event may have been made on, the likeliest first.

        Parameters
        ----------
        past : before that event
        """
        yield from self._between(place, past.facts(), past.time)
        first = place
        while first > 0 and _is_a_persons(self.events[first - 1]):
            first -= 1
        if first < place:
            for facts, time in reversed(self._words(first, place)):
                yield from self._between(place, facts, time)

    def _words(self, first: int, last: int) -> list[tuple[Facts, datetime]]:
        """The facts before each of a person's words that stand in a row, from one place to another."""
        past, found = Past(self.stored, self.events), []
        for place, event in enumerate(self.events[:last]):
            is_next_word = place >= first and (event.time != past.time or self.events[place - 1].kind == "told")
            if place == first or is_next_word:
                found.append((past.facts(), past.time))
            past.apply(event)
        return found

    def _between(self, place: int, facts: Facts, before: datetime) -> Iterator[Look]:
        # A rule about time that was silent when it was decided was silent before; one that spoke speaks since.
        yield Look(facts, before)
        if (now := self.events[place].time) != before:
            yield Look(facts, now)

    def next_at_once(self, place: int) -> Event | None:
        """The event after another, if it came at the same time: in the same transaction, perhaps."""
        following = self.events[place + 1] if place + 1 < len(self.events) else None
        return following if following is not None and following.time == self.events[place].time else None


def _is_a_persons(event: Event) -> bool:
    """Whether an event may be a person's word, which is said whatever a process does."""
    match event.kind:
        case "told" | "retracted" | "active" | "paused" | "ending" | "approval" | "approval_asked_again":
            return True
        case "labeled" | "conflict":
            return event.data.get("request") is None
        case "moved":
            return bool(event.data["state"] == "CANCELLED")
        case _:
            return False
