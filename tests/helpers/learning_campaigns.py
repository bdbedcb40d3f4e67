"""Whole tiny campaigns for tests of what they learn: run to the end, with everything that was trained on noted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.api.campaign import Campaign
from active_learning.api.telling import Told
from active_learning.domain import actions as do
from active_learning.domain.choosing import Batch, Scoring
from active_learning.domain.label import Measurement
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import FeatureBlock
from active_learning.domain.target import Goal
from active_learning.engine.deciding import next_action
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.performing import perform
from active_learning.engine.workbench import Workbench
from active_learning.store import Blobs, Facts
from active_learning.surrogates.forest import RandomForest
from active_learning.testing.fakes import (
    FakeClock,
    FakeLabeler,
    TinyFeaturizer,
    tiny_campaign,
    true_value,
    without_workers,
)
from active_learning.testing.faults import FakeScheduler

Floats = NDArray[np.float64]

FOREST: Mapping[str, Any] = {"kind": "random_forest", "n_trees": 10, "n_jobs": 1}
POOL: Mapping[str, Any] = {"kind": "active_learning.testing.fakes:TinyPool", "n": 75}
SPY: Mapping[str, Any] = {"kind": "learning_campaigns:SpyForest", "n_trees": 10, "n_jobs": 1}


@dataclass(frozen=True)
class Run:
    """A campaign that ended, or came as far as it was let."""

    campaign: Campaign
    facts: Facts

    @property
    def features(self) -> FeatureFile:
        assert self.facts.features is not None
        return FeatureFile(dict(self.facts.features), Blobs(self.campaign.workdir / "files"))

    @property
    def asked(self) -> list[tuple[Any, ...]]:
        """Every request with its arm and belief, in order."""
        return [
            (r.round, r.arm.value, r.candidate_id, r.score, r.mean, r.std, r.novelty, r.rule)
            for r in self.facts.requests
        ]

    @property
    def learned(self) -> list[tuple[Any, ...]]:
        """What each round learned."""
        return [
            (r.n_labels, dict(r.metrics), dict(r.test_metrics), r.max_std, dict(r.forecast), r.calibration)
            for r in self.facts.rounds
        ]

    def rows(self, X: Floats) -> list[int]:
        """The candidates that rows of features belong to; those of the tiny pool all differ."""
        known = {tuple(row): n for n, row in enumerate(self.features.X.tolist())}
        return [known[tuple(row)] for row in np.asarray(X).tolist()]

    def row(self, candidate_id: str) -> int:
        return self.features.ids.row(candidate_id)


def steps(bench: Workbench, n: int | None = None) -> Iterator[do.Action]:
    """Carry out what is next, until there is nothing, or `n` times."""
    done = 0
    while n is None or done < n:
        action = next_action(bench.snapshot())
        if isinstance(action, do.Finished):
            return
        if isinstance(action, do.Wait) and isinstance(bench.kit.submitter, FakeScheduler):
            for handle in bench.kit.submitter.running():
                bench.kit.submitter.end(handle)
        perform(bench, action)
        done += 1
        yield action


def run(folder: Path, **changes: Any) -> Run:
    """A campaign from its beginning to its end."""
    path = tiny_campaign(folder, **changes)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        with campaign.work() as bench:
            for _ in steps(bench):
                pass
        return Run(campaign, campaign.store.read())


def run_in_parts(folder: Path, **changes: Any) -> Run:
    """The same, by a process of its own for each step (but for its memory: the campaign is opened anew)."""
    path = tiny_campaign(folder, **changes)
    clock = FakeClock()
    with without_workers(Campaign.create(path, clock=clock)):
        pass
    while True:
        with Campaign.open(path, clock=clock) as campaign:
            with campaign.work() as bench:
                taken = list(steps(bench, 1))
            if not taken:
                return Run(campaign, campaign.store.read())


def run_told(folder: Path, n_rounds: int | None = None, **changes: Any) -> Run:
    """The same labels, told by a caller that is asked for them: many times faster than jobs."""
    path = tiny_campaign(folder, **changes)
    clock = FakeClock()
    with without_workers(Campaign.create(path, clock=clock)) as campaign:
        while asked := campaign.ask():
            if n_rounds is not None and len(campaign.store.read().rounds) >= n_rounds:
                break
            clock.sleep(60)
            campaign.tell([Told(candidate.id, true_value(candidate)) for candidate in asked])
        return Run(campaign, campaign.store.read())


@contextmanager
def at_round(folder: Path, number: int, **changes: Any) -> Iterator[Workbench]:
    """A campaign that is about to open a round."""
    path = tiny_campaign(folder, **changes)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign, campaign.work() as bench:
        while True:
            action = next_action(bench.snapshot())
            if isinstance(action, do.OpenRound) and action.number == number:
                break
            assert not isinstance(action, do.Finished)
            perform(bench, action)
        yield bench


class SpyForest(RandomForest):
    """A forest that notes what it is trained on."""

    given: list[tuple[Floats, Floats]] = []  # noqa: RUF012 - the test empties it

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> Any:
        self.given.append((np.array(X), np.array(y)))
        return super().fit(X, y, rng=rng)


class SpyScore:
    """An acquisition that notes what it is shown, and prefers low means."""

    Options = Options
    goals = frozenset(Goal)
    shown: list[tuple[Prediction, Scoring, Floats]] = []  # noqa: RUF012 - the test empties it

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        self.shown.append((prediction, scoring, scoring.X))
        return -prediction.mean[:, 0]


class SpyTop:
    """A selection that notes what it is shown, and takes the best."""

    Options = Options
    shown: list[Batch] = []  # noqa: RUF012 - the test empties it

    def __init__(self, options: Options) -> None:
        self.options = options

    def choose(self, batch: Batch) -> NDArray[np.intp]:
        self.shown.append(batch)
        return batch.ranked[: batch.n]


class Careless:
    """A selection that does not keep its law."""

    class Options(Options):
        """How it fails."""

        how: str

    def __init__(self, options: Options) -> None:
        self.options = options

    def choose(self, batch: Batch) -> NDArray[Any]:
        rows = batch.ranked[: batch.n]
        match self.options.how:
            case "fewer":
                return rows[:-1]
            case "twice":
                return np.concatenate([rows[:1], rows[:-1]])
            case "outside":
                return rows + len(batch.scores)
            case "scores":
                return batch.scores[rows]
        return rows.tolist()  # type: ignore[return-value]


class ClassLabeler(FakeLabeler):
    """Labels of two classes: 1 where the value of `FakeLabeler` is above the bound."""

    class Options(FakeLabeler.Options):
        """With the bound."""

        above: float = 0.0

    def parse(self, job_dir: Path) -> Any:
        result = super().parse(job_dir)
        if not isinstance(result, Measurement):
            return result
        ((name, (value, unit)),) = result.values.items()
        return Measurement({name: (float(value > self.options.above), unit)}, result.fidelity)  # type: ignore[attr-defined]


class ConstantLabeler(FakeLabeler):
    """The same label for all."""

    def parse(self, job_dir: Path) -> Any:
        return Measurement({"energy": (1.25, "eV")}, "fake")


class GappyFeaturizer(TinyFeaturizer):
    """Lacks the spread of some compositions, and of others the largest fraction."""

    def featurize(self, candidates: Any) -> Any:
        block = super().featurize(candidates)
        failures = dict(block.failures)
        for row, candidate in enumerate(candidates):
            lacking = [column for column, element in ((1, "Cu"), (2, "Pd")) if element in candidate.amounts]
            block.values[row, lacking] = np.nan
            if lacking:
                failures[row] = "told to lack something"
        return FeatureBlock(block.values, failures)
