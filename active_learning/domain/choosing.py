"""From beliefs to a batch: what an acquisition and a selection are, and what they may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.models import FittedSurrogate
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError

__all__ = ["Acquisition", "Attributes", "Batch", "Outcome", "ScoresAreGains", "ScoresByRow", "Scoring", "Selection"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Outcome:
    """What became of one choice of the model, for strategies that learn from how choices have paid.

    Parameters
    ----------
    rule : which rule of the acquisition proposed it; empty if the acquisition has one rule only
    mean, std : what was believed when it was chosen, in the target's unit
    value : its label; None if it failed for good
    best : value of the best label when it was chosen; None if the goal has no best
    """

    round: int
    rule: str
    mean: float
    std: float
    value: float | None
    best: float | None = None


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
    model : the trained model; its std is corrected as that of the prediction is
    X_pending : (n_pending, n_features), candidates that are being labeled
    outcomes : what became of the choices so far, oldest first
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
    X_pending: Floats = field(default_factory=lambda: np.empty((0, 0)))
    outcomes: tuple[Outcome, ...] = ()

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


@runtime_checkable
class ScoresAreGains(Protocol):
    """An acquisition whose scores are amounts of something good: never negative, and 0 is worth nothing.

    Such a score may be multiplied by the probability that a label succeeds, and divided by what it costs."""

    @property
    def scores_are_gains(self) -> bool:
        """True."""


@runtime_checkable
class Attributes(Protocol):
    """An acquisition made of several rules, that can say which of them a candidate owes its score to."""

    def rules_of(self, prediction: Prediction, scoring: Scoring, rows: Indices) -> tuple[str, ...]:
        """For each of these rows of the candidates the rule that proposes it. As pure as `Acquisition.score`."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What a selection may look at.

    Rows are in the order of the candidates' ids, so that ties broken by row are broken by id. Of a pool larger than
    `active_learning.engine.scoring.PROMISING` only that many with the highest scores are here.

    Parameters
    ----------
    n : how many to choose
    scores : (n_candidates,), finite
    X : (n_candidates, n_features)
    X_pending : (n_pending, n_features)
        Candidates that are being labeled; they cannot be chosen, and it is a waste to choose their like.
    prediction, pending : what is believed of the rows of `X` and `X_pending`; None where nobody knows
    factor : gives the covariance factor of some candidates and of all pending ones below them,
        (n_rows + n_pending, rank), see `KnowsCovariance`; None if the model knows no covariance
    rescore : the score of some rows if this were believed of them: ``rescore(prediction, rows)``; None if nobody knows
    """

    n: int
    scores: Floats
    X: Floats
    X_pending: Floats
    rng: np.random.Generator
    prediction: Prediction | None = None
    pending: Prediction | None = None
    factor: Callable[[Indices], Floats] | None = None
    rescore: Callable[[Prediction, Indices], Floats] | None = None

    def __post_init__(self) -> None:
        X = np.asarray(self.X, dtype=np.float64)
        scores = np.asarray(self.scores, dtype=np.float64)
        pending = np.asarray(self.X_pending, dtype=np.float64)
        if X.ndim != 2:
            raise ContractError(f"X has shape (n_candidates, n_features), got {X.shape}")
        if scores.shape != (len(X),):
            raise ContractError(f"scores have shape {scores.shape}; one for each of the {len(X)} candidates is needed")
        bad = np.flatnonzero(~np.isfinite(scores))
        if bad.size:
            raise ContractError(f"the score of row {bad[0]} is {scores[bad[0]]} ({bad.size} rows in all)")
        if self.n < 0:
            raise ContractError(f"cannot choose {self.n} candidates")
        if pending.size == 0:
            pending = np.empty((0, X.shape[1]))
        if pending.ndim != 2 or pending.shape[1] != X.shape[1]:
            raise ContractError(f"X_pending has {pending.shape[-1]} features, X has {X.shape[1]}")
        for name, matrix in (("X", X), ("X_pending", pending)):
            bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
            if bad.size:
                raise ContractError(f"{name} is not finite in row {bad[0]} ({bad.size} rows in all)")
        for name, value in (("X", X), ("scores", scores), ("X_pending", pending)):
            object.__setattr__(self, name, value)

    @cached_property
    def ranked(self) -> Indices:
        """All rows, the highest score first, ties by row."""
        return np.argsort(-self.scores, kind="stable").astype(np.intp)


class Selection(Protocol):
    """Which batch to take from the scores."""

    def choose(self, batch: Batch) -> Indices:
        """Rows to take, best first, (min(batch.n, n_candidates),), no row twice.

        Law: a pure function of the batch; only `batch.rng` is random.
        """
