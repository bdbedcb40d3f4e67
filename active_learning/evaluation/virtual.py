"""Labeling in virtual time: a clock that jumps, and workers whose jobs take as long as was drawn for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from active_learning.domain.seeds import rng_for
from active_learning.errors import ContractError

__all__ = ["START", "Labeling", "Run", "VirtualClock", "VirtualWorkers", "seconds_of"]

START = datetime(2000, 1, 1, tzinfo=UTC)
"""When virtual time begins."""


@dataclass(frozen=True)
class Labeling:
    """How labeling goes, where it is only imagined.

    Parameters
    ----------
    median_s : median time that one attempt takes, seconds
    spread : standard deviation of the logarithm of that time; 0 is a constant time, 1 a heavy tail (the slowest of a
        hundred takes some twelve times the median)
    failure_rate : probability that an attempt ends without a label, in [0, 1)
    decision_s : seconds from the moment that a round is opened to that at which its requests are there: training,
        predicting, choosing
    """

    median_s: float = 3600.0
    spread: float = 0.0
    failure_rate: float = 0.0
    decision_s: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.median_s) and self.median_s > 0):
            raise ContractError(f"the median time of a label is positive and finite, got {self.median_s}")
        for name in ("spread", "decision_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ContractError(f"{name} is finite and not negative, got {getattr(self, name)}")
        if not 0 <= self.failure_rate < 1:
            raise ContractError(f"the failure rate lies in [0, 1), got {self.failure_rate}")

    def time_s(self, candidate_id: str, attempt: int, seed: int) -> float:
        """How long an attempt takes, seconds: log-normal. Only the three arguments decide, so that every strategy meets
        the same time for the same candidate."""
        z = rng_for(seed, attempt, f"label time of {candidate_id}").standard_normal() if self.spread else 0.0
        return self.median_s * math.exp(self.spread * z)

    def fails(self, candidate_id: str, attempt: int, seed: int) -> bool:
        """Whether an attempt ends without a label; the three arguments decide."""
        if not self.failure_rate:
            return False
        return bool(rng_for(seed, attempt, f"label fate of {candidate_id}").random() < self.failure_rate)

    def to_json(self) -> dict[str, float]:
        """A JSON value; ``Labeling(**value)`` reads it."""
        return asdict(self)


class VirtualClock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        """The present."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on by `seconds`, at once."""
        self._now += timedelta(seconds=seconds)

    def jump_to(self, moment: datetime) -> None:
        """Move on to a moment; stay, if it is past."""
        self._now = max(self._now, moment)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return seconds_of(self._now)


def seconds_of(moment: datetime) -> float:
    """Seconds from the start of virtual time to a moment."""
    return (moment - START).total_seconds()


@dataclass(frozen=True)
class Run:
    """One attempt at work."""

    request_id: str
    start: datetime
    end: datetime


@dataclass
class VirtualWorkers:
    """`n_workers` that work on one attempt each. Whoever submits sees to it that one of them is free."""

    n_workers: int
    running: dict[str, Run] = field(default_factory=dict)
    _all: list[Run] = field(default_factory=list)

    def submit(self, request_id: str, now: datetime, time_s: float) -> None:
        """Begin an attempt that takes `time_s`, a microsecond at least: the clock knows nothing shorter.

        Raises
        ------
        ContractError
            If the request runs already, or nobody is free.
        """
        if request_id in self.running or len(self.running) >= self.n_workers:
            raise ContractError(f"{request_id}: it runs already, or none of {self.n_workers} workers is free")
        run = Run(request_id, now, now + max(timedelta(seconds=time_s), timedelta(microseconds=1)))
        self.running[request_id] = run
        self._all.append(run)

    @property
    def next_end(self) -> datetime:
        """When the next attempt ends.

        Raises
        ------
        ContractError
            If none is running.
        """
        if not self.running:
            raise ContractError("nothing is running: nobody can wait for it")
        return min(run.end for run in self.running.values())

    def take_ended(self, now: datetime) -> list[str]:
        """The requests whose attempts have ended, the first to end first; of one moment, as they were submitted."""
        ended = sorted((run for run in self.running.values() if run.end <= now), key=lambda run: run.end)
        for run in ended:
            del self.running[run.request_id]
        return [run.request_id for run in ended]

    @property
    def usage(self) -> Mapping[str, Any]:
        """`busy_s`, worker seconds up to the last submission, and `horizon_s`, when that was: afterwards there is no
        work because the campaign is over, which is nobody's idleness."""
        horizon = max((run.start for run in self._all), default=START)
        busy = sum(((min(run.end, horizon) - run.start).total_seconds() for run in self._all), 0.0)
        return {"busy_s": busy, "horizon_s": seconds_of(horizon), "n_workers": self.n_workers}
