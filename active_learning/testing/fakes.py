"""A whole campaign in milliseconds: a clock that only sleep moves, thirty bare compositions, a labeler whose answers
are known, and a model of one line. Named in a campaign file as ``kind = "active_learning.testing.fakes:TinyPool"``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import combinations, islice, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.api.campaign import Campaign
from active_learning.domain import actions as do
from active_learning.domain import options
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.domain.execution import Piece
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import FeatureBlock
from active_learning.engine.chunks import ChunkFolder, FeaturizerAddress, all_parts, featurizer_of, parts_of
from active_learning.engine.feature_steps import computed
from active_learning.engine.performing import perform
from active_learning.engine.pool_file import PoolFile
from active_learning.engine.workbench import Workbench
from active_learning.errors import UserError
from active_learning.labelers.results import failure, measurement_from, read_result

__all__ = [
    "PROPERTY",
    "START",
    "FakeClock",
    "FakeLabeler",
    "Fate",
    "NearestLabel",
    "TinyFeaturizer",
    "TinyPool",
    "fill_chunk_cache",
    "run_job",
    "tiny_campaign",
    "true_value",
    "without_workers",
]

Floats = NDArray[np.float64]

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
PROPERTY = "energy"
UNIT = "eV"


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        """The present."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on by `seconds`, at once."""
        self._now += timedelta(seconds=seconds)


def _compositions() -> Iterator[Candidate]:
    amounts = ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1))
    for (a, b), (n, m) in product(combinations(("Ag", "Al", "Au", "Cu", "Ni", "Pd"), 2), amounts):
        yield Candidate({a: n, b: m}, origin=f"{a}{n}{b}{m}")


class TinyPool:
    """Up to 75 binary compositions without a structure."""

    class Options(options.Options):
        """Keys of ``[pool]``."""

        n: int = Field(30, ge=1, le=75, description="How many candidates.")
        n_dropped: int = Field(0, ge=0, description="How many more are read and not taken.")

    def __init__(self, options: Options) -> None:
        self.options = options

    def read(self) -> Iterator[Candidate | Dropped]:
        """The first `n` compositions."""
        yield from (Dropped(f"row {i}", f"too big: {i} atoms") for i in range(self.options.n_dropped))
        yield from islice(_compositions(), self.options.n)


def _moments(amounts: Mapping[str, float]) -> tuple[float, float]:
    total = sum(amounts.values())
    mean = sum(n * ATOMIC_NUMBERS[symbol] for symbol, n in amounts.items()) / total
    return mean, sum(n * abs(ATOMIC_NUMBERS[symbol] - mean) for symbol, n in amounts.items()) / total


def true_value(candidate: Candidate) -> float:
    """What a job of `FakeLabeler` computes for a candidate, in eV."""
    mean, spread = _moments(candidate.amounts)
    return round(math.sin(mean / 9.0) - 0.02 * spread, 9)


class TinyFeaturizer:
    """Mean and spread of the atomic numbers, and the largest fraction."""

    class Options(options.Options):
        """Keys of ``[features]``."""

        fails: tuple[str, ...] = Field((), description="Formulas that cannot be featurized.")

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def names(self) -> tuple[str, ...]:
        """Three features."""
        return ("mean Z", "spread of Z", "largest fraction")

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """Features of each candidate."""
        rows = [(*_moments(c.amounts), max(c.amounts.values()) / sum(c.amounts.values())) for c in candidates]
        failures = {row: "told to fail" for row, c in enumerate(candidates) if c.formula in self.options.fails}
        return FeatureBlock(np.array(rows, dtype=np.float64).reshape(-1, 3), failures)


def fill_chunk_cache(bench: Workbench) -> None:
    """Compute all chunks in this process, so that the featurize step finds them done and starts no worker."""
    computed(bench, _Here())


def _as_meant(block: FeatureBlock) -> Floats:
    """Who says that it failed and gives numbers all the same does not mean them."""
    values = np.array(block.values)
    values[[row for row in block.failures if np.isfinite(values[row]).all()]] = np.nan
    return values


@dataclass(frozen=True)
class _Here:
    """Featurizes in this process, without limits, whatever it is asked to do."""

    n_workers: int = 1

    def run(
        self, work: Callable[[Piece], int], pieces: Sequence[Piece], what: str, done: Callable[[int], None]
    ) -> None:
        for piece in pieces:
            address = FeaturizerAddress.from_json(piece["task"]["featurizer"])
            order, pool = piece["order"], PoolFile(Path(piece["order"]["pool"]))
            parts = parts_of(order["group"], all_parts(address.kind, featurizer_of(address)))
            for start, stop in piece["chunks"]:
                blocks = [part.featurize(pool.candidates(start, stop)) for part in parts]
                values = np.concatenate([_as_meant(block) for block in blocks], axis=1)
                failures = {row: reason for block in blocks for row, reason in block.failures.items()}
                ChunkFolder(Path(order["chunks"])).save(start, stop, FeatureBlock(values, failures))
                done(stop - start)


@dataclass(frozen=True, eq=False)
class _Labels:
    X: Floats
    y: Floats

    def predict(self, X: Floats) -> Prediction:
        distances = np.linalg.norm(np.asarray(X)[:, None] - self.X[None], axis=2)
        nearest = distances.argmin(axis=1)
        return Prediction(self.y[nearest][:, None], distances[np.arange(len(X)), nearest][:, None])


class NearestLabel:
    """A model that believes in the nearest label, the less the farther it is."""

    class Options(options.Options):
        """Keys of ``[surrogate]``: none."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> _Labels:
        """Keep the labels."""
        return _Labels(np.array(X), np.array(y))


class Fate(StrEnum):
    """How a job ends. A LOST one never says so in its directory; TIMEOUT is known to the scheduler only."""

    OK = "ok"
    RAISES = "raises"
    UNCONVERGED = "unconverged"
    NAN = "nan"
    NO_RESULT = "no result"
    TIMEOUT = "timeout"
    LOST = "lost"
    REJECTED = "rejected"


class FakeLabeler:
    """Labels that are known beforehand (`true_value`), and failures on command."""

    class Options(options.Options):
        """Keys of ``[labeler]``."""

        fates: dict[str, Fate] = Field(default_factory=dict, description="Formula -> how its jobs end, if not well.")

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def units(self) -> Mapping[str, str]:
        """One property."""
        return {PROPERTY: UNIT}

    def protocol(self) -> Mapping[str, Any]:
        """The same values for ever."""
        return {"fake": "1"}

    def prepare(self, candidate: Candidate) -> JobSpec:
        """A job that computes `true_value`.

        Raises
        ------
        UserError
            If the candidate's fate is to be rejected.
        """
        fate = self.options.fates.get(candidate.formula, Fate.OK)
        if fate is Fate.REJECTED:
            raise UserError(f"{candidate.formula} cannot be labeled by this labeler")
        value = true_value(candidate)
        return JobSpec(f"{__name__}:run_job", {"formula": candidate.formula, "value": value, "fate": fate.value})

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """The value, or why there is none."""
        result = read_result(job_dir)
        return result if isinstance(result, Failure) else measurement_from(result, PROPERTY, self.units, "fake")


def run_job(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a job does. A file `fate` in its directory overrules the labeler's word."""
    told = Path("fate")
    fate = Fate(told.read_text(encoding="utf-8") if told.exists() else inputs["fate"])
    match fate:
        case Fate.OK:
            return {"properties": {PROPERTY: inputs["value"]}, "code": "fake"}
        case Fate.NAN:
            return {"properties": {PROPERTY: math.nan}}
        case Fate.NO_RESULT:
            return {}
        case Fate.UNCONVERGED:
            return failure(FailureKind.UNCONVERGED, "told not to converge")
        case _:
            raise RuntimeError(f"told to fail: {fate}")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def tiny_campaign(folder: Path, **changes: Any) -> Path:
    """Write a campaign file of fakes into `folder`; `changes` replace top-level keys (None leaves one out)."""
    here = __name__
    tables: dict[str, Any] = {
        "name": "tiny",
        "seed": 3,
        "target": {"property": PROPERTY, "goal": "minimize"},
        "pool": {"kind": f"{here}:TinyPool"},
        "features": {"kind": f"{here}:TinyFeaturizer"},
        "surrogate": {"kind": f"{here}:NearestLabel"},
        "selection": {"kind": "top"},
        "rounds": {"initial": 4, "batch_size": 2, "max_in_flight": 4},
        "labeler": {"kind": f"{here}:FakeLabeler"},
        "submitter": {"kind": "active_learning.testing.faults:FakeScheduler"},
        "requests": {"poll": 1, "retries": 1, "lost_retries": 2},
        "stopping": {"any": [{"kind": "labels", "max": 10}]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.toml"
    lines = [f"{key} = {_toml(value)}" for key, value in (tables | changes).items() if value is not None]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def without_workers(campaign: Campaign) -> Campaign:
    """The same campaign, its pool built and its chunks computed here, so that running it starts no process."""
    with campaign.work() as bench:
        if bench.store.read().pool is None:
            perform(bench, do.BuildPool())
            fill_chunk_cache(bench)
    return campaign
