"""The campaign file as it was at any moment.

The history holds the first file, and of each change its tables' names and perhaps the whole file that came of it
(`spec`). Without it, the tables in force can be had as long as none changed twice: before its change a table is that of
the beginning, after it that of the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from active_learning.config import CampaignSpec
from active_learning.domain.campaign import Event
from active_learning.errors import StoreError
from active_learning.store import Facts

__all__ = ["SpecInForce", "changed_keys", "specs_of"]

_OF_NO_MEANING = frozenset({"workdir", "store"})
"""Where a campaign lies decides nothing: a copy of it lies elsewhere."""


@dataclass(frozen=True)
class SpecInForce:
    """A campaign file, from an event on.

    Parameters
    ----------
    since : number of the event
    tables : the file as a JSON object
    unknown : tables that are not known at that time
    """

    since: int
    tables: Mapping[str, Any]
    unknown: tuple[str, ...] = ()


def specs_of(stored: Facts, events: Sequence[Event]) -> tuple[SpecInForce, ...]:
    """Every campaign file that was in force, in order.

    Raises
    ------
    StoreError
        If the history does not begin with one.
    """
    return tuple(_specs_of(stored, events))


def _specs_of(stored: Facts, events: Sequence[Event]) -> Iterator[SpecInForce]:
    if not events or events[0].kind != "created":
        raise StoreError(f"the history of campaign '{stored.name}' does not begin with its creation")
    tables: Mapping[str, Any] = events[0].data["spec"]
    yield SpecInForce(events[0].number, tables)
    changes = [event for event in events if event.kind == "spec_changed"]
    for place, event in enumerate(changes):
        unknown: set[str] = set()
        if "spec" in event.data:
            tables = event.data["spec"]
        else:
            later = {key for change in changes[place + 1 :] for key in change.data["keys"]}
            ours = {key for change in changes[: place + 1] for key in change.data["keys"]}
            unknown = ours & later
            tables = {**tables, **{key: stored.spec[key] for key in ours - later if key in stored.spec}}
        yield SpecInForce(event.number, tables, tuple(sorted(unknown)))


def changed_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, bool]:
    """Tables in which two files differ -> whether that one is fixed for a campaign's life."""
    found = CampaignSpec.model_validate(one).changed(CampaignSpec.model_validate(other))
    return {key: is_fixed for key, is_fixed in found.items() if key not in _OF_NO_MEANING}
