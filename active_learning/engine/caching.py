"""Where a campaign takes labels from the cache, and gives its own to it."""

from __future__ import annotations

import json
from typing import Any

from active_learning.domain.job import JobSpec
from active_learning.domain.protocols import SaysProtocol
from active_learning.domain.request import Request
from active_learning.engine.label_cache import CachedResult, LabelCache, cache_key
from active_learning.engine.workbench import Workbench
from active_learning.errors import StoreError
from active_learning.jobs import JobDirectory
from active_learning.store import Facts

__all__ = ["adopt", "handle_of", "is_cached", "look_up", "origin_of", "share"]

_CACHED = "cache:"
_ORIGIN = "from_cache.json"


def handle_of(key: str) -> str:
    """What stands for a job's handle where there was none to run."""
    return f"{_CACHED}{key}"


def is_cached(request: Request) -> bool:
    """Whether its label came from the cache."""
    return bool(request.handle) and str(request.handle).startswith(_CACHED)


def _cache(bench: Workbench) -> LabelCache | None:
    table = bench.kit.spec.cache
    return None if table.mode == "off" or table.path is None else LabelCache(table.path)


def _key(bench: Workbench, facts: Facts, request: Request, spec: JobSpec) -> str:
    labeler = bench.labeler_for(facts, request)
    assert isinstance(labeler, SaysProtocol)  # the assembly saw to it
    return cache_key(spec, labeler.protocol())


def look_up(bench: Workbench, facts: Facts, request: Request, spec: JobSpec) -> tuple[str, CachedResult] | None:
    """The key and the result of a job that somebody ran already; None if nobody did, or there is no cache.

    An entry that cannot be read is noted in the history and counts as missing.
    """
    cache = _cache(bench)
    if cache is None:
        return None
    key = _key(bench, facts, request, spec)
    try:
        found = cache.get(key)
    except StoreError as error:
        with bench.write() as writer:
            writer.event("cache_fault", request=request.id, reason=str(error))
        return None
    return None if found is None else (key, found)


def adopt(directory: JobDirectory, key: str, found: CachedResult) -> None:
    """Put a known result where a job would have left it, with word of where it came from; the job never runs."""
    directory.write(_ORIGIN, json.dumps({"key": key, **found.origin}))
    directory.start()
    directory.finish(0, found.result)


def origin_of(directory: JobDirectory) -> dict[str, Any]:
    """What `adopt` wrote: which job the result is of."""
    known: dict[str, Any] = json.loads((directory.path / _ORIGIN).read_text(encoding="utf-8"))
    return known


def share(bench: Workbench, facts: Facts, request: Request) -> None:
    """Give what the job of a request returned to the cache, if the campaign file says so."""
    cache, directory = _cache(bench), JobDirectory(bench.jobs / request.id)
    outcome = directory.outcome()
    if cache is None or bench.kit.spec.cache.mode != "read-write" or is_cached(request):
        return
    if outcome is None or outcome.result is None:
        return
    spec = bench.labeler_for(facts, request).prepare(bench.candidate(facts, request.candidate_id))
    origin = {
        "campaign": facts.name,
        "request": request.id,
        "formula": request.formula,
        "time": bench.clock.now().isoformat(),
        "host": None if outcome.usage is None else outcome.usage.host,
    }
    try:
        cache.put(_key(bench, facts, request, spec), outcome.result, origin)
    except StoreError as error:
        with bench.write() as writer:
            writer.event("cache_fault", request=request.id, reason=str(error))
