"""What a job may use, and what is changed after a failure: both are said by [requests] of the campaign file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from active_learning.config.spec import Requests
from active_learning.domain.candidate import Candidate
from active_learning.domain.job import Resources
from active_learning.domain.label import FailureKind
from active_learning.domain.request import Request

__all__ = ["Change", "change_after", "failures_before", "merged", "resources_for"]


@dataclass(frozen=True)
class Change:
    """What the attempts after some failures get: so many times the time and the memory, and other keys of [labeler]."""

    time: float = 1.0
    memory: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


def merged(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the keys of another in the place of its own; tables inside are merged likewise.

    >>> merged({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}})
    {'a': 1, 'b': {'c': 4, 'd': 3}}
    """
    found = dict(table)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
    return found


def failures_before(requests: Iterable[Request], request: Request) -> tuple[FailureKind, ...]:
    """How the earlier attempts at a request's candidate failed, in their order."""
    earlier = [r for r in requests if r.candidate_id == request.candidate_id and r.attempt < request.attempt]
    return tuple(r.failure.kind for r in sorted(earlier, key=lambda r: r.attempt) if r.failure is not None)


def change_after(kinds: Iterable[FailureKind], requests: Requests) -> Change:
    """All remedies together: factors multiply, and of two settings for one key the later failure's counts."""
    change = Change()
    for kind in kinds:
        remedy = requests.on.get(kind)
        if remedy is not None:
            change = Change(
                time=change.time * remedy.time,
                memory=change.memory * remedy.memory,
                settings=merged(change.settings, remedy.settings),
            )
    return change


def resources_for(candidate: Candidate, change: Change, requests: Requests) -> Resources:
    """What the job of a candidate may use: what all get, or what the largest size gives that it reaches, times what
    its failures so far call for."""
    n_atoms = 0 if candidate.crystal is None else len(candidate.crystal.species)
    found = Resources(requests.timeout, requests.cores, requests.memory)
    reached = [size for size in requests.sizes if size.atoms <= n_atoms]
    if reached:
        size = max(reached, key=lambda size: size.atoms)
        found = Resources(
            found.timeout_s if size.timeout is None else size.timeout,
            found.cores if size.cores is None else size.cores,
            found.memory_mb if size.memory is None else size.memory,
        )
    memory = found.memory_mb
    return replace(
        found,
        timeout_s=found.timeout_s * change.time,
        memory_mb=None if memory is None else math.ceil(memory * change.memory),
    )
