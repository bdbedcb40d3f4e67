"""What a plug-in is, kind by kind: at most three methods each, further capabilities by small protocols.

A plug-in is a class with two things: ``Options``, a subclass of `active_learning.domain.options.Options` (the keys
of its table in the campaign file), and ``__init__(self, options)``. Building one must be cheap and touch nothing:
errors that only the outside world can reveal belong to the methods.

The laws below are tested by the contract suites in ``active_learning.testing``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.campaign import Progress, Verdict
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.job import Job, JobReport, JobSpec
from active_learning.domain.label import Failure, Measurement
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target

__all__ = [
    "Acquisition",
    "BudgetRule",
    "Cancels",
    "Clock",
    "DiesWithProcess",
    "FeatureBlock",
    "FeaturePart",
    "Featurizer",
    "FittedSurrogate",
    "HasImportances",
    "HasParts",
    "KnowsLabels",
    "Labeler",
    "Pool",
    "Portable",
    "References",
    "Remembers",
    "ScoresByRow",
    "Scoring",
    "Selection",
    "StoppingRule",
    "Submitter",
    "Surrogate",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> datetime:
        """The present, UTC, timezone-aware."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class Pool(Protocol):
    """Where candidates come from."""

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every candidate, and everything that was read and not taken, with its reason.

        Laws: the same options and files give the same candidates in the same order; one bad file or row costs
        itself only (it is yielded as `Dropped`); a candidate that was already yielded is `Dropped` as a duplicate.

        Raises
        ------
        UserError
            If there is nothing to read at all (no such folder, an empty file).
        """


@runtime_checkable
class KnowsLabels(Protocol):
    """A pool that brings labels of its candidates along: they are the campaign's first labels."""

    def known_labels(self, property_name: str) -> Iterator[tuple[str, Measurement]]:
        """Candidate id and what is known of it, for candidates that `read` yields; no candidate twice.

        Parameters
        ----------
        property_name : the target's; the measurement's one value has this name
        """


@dataclass(frozen=True, eq=False)
class FeatureBlock:
    """Descriptors of some candidates.

    Parameters
    ----------
    values : (n_candidates, n_features)
        A feature that could not be computed is NaN.
    failures : row -> reason, one line
        Why features of this row are NaN: some of them, or all. A row that is not named is finite.
    """

    values: Floats
    failures: Mapping[int, str] = field(default_factory=dict)


class Featurizer(Protocol):
    """Descriptors of a candidate."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, unique, in the order of the columns. May import heavy libraries."""

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """Features of each candidate.

        Laws: a row depends on its own candidate only; a candidate that cannot be featurized is in `failures`, and
        never an exception; every value of the other rows is finite.
        """


class FeaturePart(Protocol):
    """One descriptor of a featurizer that has several: computed, timed and limited on its own.

    Laws: `label` is unique in its featurizer. What is `of_composition` is computed once for each composition of the
    pool, on candidates without a crystal. What `is_batched` is quicker with many candidates at once, and safe: none can
    make it hang or kill its process; the others get one candidate at a time, each under the time limit.
    """

    @property
    def label(self) -> str:
        """What the user calls it."""

    @property
    def of_composition(self) -> bool:
        """Whether it looks at the composition alone."""

    @property
    def is_batched(self) -> bool:
        """Whether it takes many candidates at once."""

    @property
    def names(self) -> tuple[str, ...]:
        """As `Featurizer.names`."""

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """As `Featurizer.featurize`."""


@runtime_checkable
class HasParts(Protocol):
    """A featurizer made of several descriptors."""

    @property
    def parts(self) -> Sequence[FeaturePart]:
        """Its descriptors. Law: their columns side by side, in this order, are the featurizer's."""


@runtime_checkable
class Remembers(Protocol):
    """A featurizer that keeps costly intermediate results (oxidation states) on disk."""

    def with_memory(self, folder: Path) -> Featurizer:
        """The same featurizer, which keeps them in this folder; several processes may share it."""


@runtime_checkable
class FittedSurrogate(Protocol):
    """A trained model."""

    def predict(self, X: Floats) -> Prediction:
        """Mean and std of the target for each row of `X`, (n_candidates, n_features)."""


@runtime_checkable
class HasImportances(Protocol):
    """A trained model that knows how much each feature told it."""

    @property
    def importances(self) -> Floats:
        """(n_features,), non-negative, summing to 1 (or all 0, if no feature told anything)."""


@runtime_checkable
class Portable(Protocol):
    """A trained model that can be written down as arrays and built again elsewhere, so that others can predict too."""

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """All that it knows; no array of objects."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model that `to_arrays` wrote. Law: it predicts exactly the same."""


class Surrogate(Protocol):
    """A model of the target that knows how sure it is."""

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedSurrogate:
        """A new trained model; this object does not change.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), in the target's unit

        Laws: the same data and the same state of `rng` give the same predictions; two labels are enough.
        """


@dataclass(frozen=True, eq=False)
class Scoring:
    """What an acquisition may look at beside the prediction.

    Parameters
    ----------
    best : value of the best label so far, in the target's unit; None if the goal has no best
    n : how many candidates will be chosen
    n_candidates : how many are to be scored
    load_X : gives the features of the candidates to score, (n_candidates, n_features)
    X_labeled, y_labeled : what the model was trained on
    model : the trained model
    """

    target: Target
    best: float | None
    n: int
    n_candidates: int
    load_X: Callable[[], Floats]
    X_labeled: Floats
    y_labeled: Floats
    model: FittedSurrogate
    rng: np.random.Generator

    @cached_property
    def X(self) -> Floats:
        """(n_candidates, n_features), the candidates to score: read when first asked for, since it may be large."""
        return self.load_X()


class Acquisition(Protocol):
    """What a candidate is worth: a score; higher is better."""

    @property
    def goals(self) -> frozenset[Goal]:
        """The goals it can serve; `motherlode check` refuses the others."""

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), finite; higher is better.

        Law: a pure function of its arguments; only `scoring.rng` is random.
        """


@runtime_checkable
class ScoresByRow(Protocol):
    """An acquisition whose score of a candidate depends on this candidate's prediction only (and on `scoring.rng`,
    asked once for each candidate in order). A large pool is then scored block by block."""

    @property
    def scores_by_row(self) -> bool:
        """True."""


class Selection(Protocol):
    """Which batch to take from the scores."""

    def choose(self, scores: Floats, X: Floats, n: int, *, X_pending: Floats, rng: np.random.Generator) -> Indices:
        """Rows to take, best first, (min(n, n_candidates),), no row twice.

        Rows are in the order of the candidates' ids, so that ties broken by row are broken by id. Of a pool larger
        than `active_learning.engine.scoring.PROMISING` only that many with the highest scores are given.

        Parameters
        ----------
        scores : (n_candidates,)
        X : (n_candidates, n_features)
        X_pending : (n_pending, n_features)
            Candidates that are being labeled; they cannot be chosen, and it is a waste to choose their like.
        """


class Labeler(Protocol):
    """What is computed for a label."""

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of each property this labeler can give."""

    def prepare(self, candidate: Candidate) -> JobSpec:
        """The job that labels a candidate.

        Law: the same candidate and options give an equal job.

        Raises
        ------
        UserError
            If this labeler can never label such a candidate; the request fails as `rejected`.
        """

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """What came out of a job that ended. Reads the directory only; never raises for what a job left there."""


@runtime_checkable
class References(Protocol):
    """A labeler that measures against the elements (formation energies)."""

    def references(self, elements: Sequence[str]) -> Mapping[str, Candidate]:
        """For each element the crystal whose energy is zero by definition; empty if the property needs none."""

    def with_references(self, energies: Mapping[str, Measurement]) -> Labeler:
        """A labeler that measures against these."""


class Submitter(Protocol):
    """Where a job is computed.

    Laws: a job that `submit` returned for is found by `find` and answered by `poll`, also from another process
    and after a crash of this one; submitting never runs a job twice, because a job directory starts once only
    (`active_learning.jobs`); all methods may be called from one thread at a time.
    """

    def submit(self, job: Job) -> str:
        """Launch a job; return the backend's handle for it.

        Raises
        ------
        TransientSubmitError
            The job was certainly not launched; trying again may work.
        BackendError
            Nothing is known about the job: the request stays in doubt.
        """

    def find(self, job: Job) -> str | None:
        """The handle of a job that may or may not have been launched; None if it certainly was not.

        Raises
        ------
        BackendError
            If the backend does not answer: the request stays in doubt.
        """

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle. A backend that does not answer is UNKNOWN, never ENDED."""


@runtime_checkable
class Cancels(Protocol):
    """A submitter that can end jobs."""

    def cancel(self, handles: Sequence[str]) -> None:
        """End these jobs; unknown or ended ones are left alone."""


@runtime_checkable
class DiesWithProcess(Protocol):
    """A submitter whose jobs live no longer than the process that submitted them; a tick waits for its batch."""

    def close(self) -> None:
        """End what still runs and release all resources; twice is fine."""


class StoppingRule(Protocol):
    """When to stop, and why."""

    def check(self, progress: Progress) -> Verdict | None:
        """A verdict to stop, or None to go on. A pure function of `progress`."""


@runtime_checkable
class BudgetRule(Protocol):
    """A stopping rule that limits how many candidates are requested."""

    def remaining(self, progress: Progress) -> int:
        """How many more candidates may be requested; >= 0."""
