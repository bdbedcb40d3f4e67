"""What somebody sees who looks on while many campaigns run, and what is written meanwhile. Shared by the benchmarks."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import sqlalchemy as sa
from measuring import megabytes

from active_learning.api.status import read_status
from active_learning.errors import MotherlodeError, UserError

__all__ = [
    "Looking",
    "Memory",
    "all_runs",
    "asked",
    "complaints",
    "logs_below",
    "meanwhile",
    "said_in_prefect",
    "spread",
]

Json = dict[str, Any]

_COMPLAINTS = (
    "database is locked",
    "OperationalError",
    "deadlock detected",
    "could not serialize access",
    "too many clients",
    "TooManyConnections",
)
_RUNS = ("prefect.engine", "prefect.runner._workspace_supervisor")
"""The modules that a process worker starts for a flow run."""

_PAGES = ("flow_runs/filter", "artifacts/latest/filter", "deployments/filter", "task_runs/filter")
"""What the pages of Prefect's UI ask for."""

_LIMIT = 200


def asked(api: str, what: str, **wanted: Any) -> Any:
    """The answer of Prefect's API."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{api}/{what}", data=json.dumps(wanted).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def _all_of(api: str, kind: str, order: str, **wanted: Any) -> Iterator[Json]:
    for offset in itertools.count(0, _LIMIT):
        found = asked(api, f"{kind}/filter", **wanted, sort=order, limit=_LIMIT, offset=offset)
        yield from found
        if len(found) < _LIMIT:
            return


def all_runs(api: str, **wanted: Any) -> Iterator[Json]:
    """Flow runs, in the order in which they were due."""
    return _all_of(api, "flow_runs", "EXPECTED_START_TIME_ASC", **wanted)


def said_in_prefect(api: str) -> list[str]:
    """All logs and all messages of flow runs and task runs."""
    logs = [one["message"] for one in _all_of(api, "logs", "TIMESTAMP_ASC")]
    tasks = _all_of(api, "task_runs", "EXPECTED_START_TIME_ASC")
    states = [one["state"] for one in itertools.chain(all_runs(api), tasks) if one["state"]]
    return [*logs, *(str(state["message"] or "") for state in states)]


@dataclass
class Looking:
    """Somebody who looks at the campaigns' status, one after the other, and at the UI; notes what goes wrong."""

    paths: Sequence[Path]
    api: str | None
    took_s: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def look(self, number: int) -> None:
        """Once: at one campaign and at the pages."""
        begin = time.monotonic()
        try:
            with suppress(UserError):  # it has not started
                read_status(self.paths[number % len(self.paths)], datetime.now(UTC))
            if self.api is not None:
                for page in _PAGES:
                    asked(self.api, page, limit=_LIMIT)
        except urllib.error.HTTPError as error:
            self.troubles.append(f"HTTP {error.code}: {error.read().decode(errors='replace')}")
        except (OSError, MotherlodeError, sa.exc.SQLAlchemyError) as error:
            self.troubles.append(f"{type(error).__name__}: {error}")
        self.took_s.append(time.monotonic() - begin)

    def to_json(self) -> Json:
        """Looks, how long they took, and the kinds of trouble with their numbers."""
        kinds = Counter(trouble[:120] for trouble in self.troubles)
        return {"n": len(self.took_s), "took_s": spread(self.took_s), "troubles": dict(kinds.most_common(10))}


@dataclass
class Memory:
    """The most that a flow run takes, how many there are at once, and what all that began since takes together."""

    free_before: float = field(default_factory=lambda: float(psutil.virtual_memory().available))
    n_runs: int = 0
    largest_run: float = 0.0
    taken: float = 0.0

    def look(self, _number: int) -> None:
        """Once."""
        n_runs = 0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any(module in process.cmdline() for module in _RUNS):
                    n_runs += 1
                    self.largest_run = max(self.largest_run, float(process.memory_info().rss))
        self.n_runs = max(self.n_runs, n_runs)
        self.taken = max(self.taken, self.free_before - psutil.virtual_memory().available)

    def to_json(self) -> Json:
        """In MB."""
        return {
            "runs_at_once": self.n_runs,
            "largest_run_mb": megabytes(self.largest_run),
            "all_together_mb": megabytes(self.taken),
        }


@contextmanager
def meanwhile(work: Callable[[int], None], every_s: float = 1.0) -> Iterator[None]:
    """Do something again and again in a thread, for as long as the block runs; what it raises, the block raises."""
    over = threading.Event()

    def go_on() -> None:
        for number in itertools.count():
            work(number)
            if over.wait(every_s):
                return

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(go_on)
        try:
            yield
        finally:
            over.set()
        working.result()


def complaints(texts: Iterable[str]) -> dict[str, int]:
    """Complaints of databases, and in how many of some texts each is."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(what for what in _COMPLAINTS if what in text)
    return dict(counts)


def logs_below(folder: Path) -> Iterator[str]:
    """Line by line: the logs of servers and workers, and what jobs wrote."""
    for pattern in ("*.log", "log", "stdout", "stderr"):
        for path in folder.rglob(pattern):
            if path.is_file():
                yield from path.read_text(errors="replace").splitlines()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95 % and the largest; nothing of nothing."""
    if not values:
        return {}
    median, most, largest = (round(float(value), 2) for value in np.quantile(values, [0.5, 0.95, 1.0]))
    return {"median": median, "p95": most, "largest": largest}
