"""modAL's query strategies as acquisitions, and our acquisitions as modAL query strategies.

Strategies are called directly, never through modAL's ``learner.query``, which hides a strategy's exception by calling
it a second time, and reads an array of exactly two indices as (index, metrics).
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from active_learning.acquisition.beliefs import belief
from active_learning.acquisition.learner_view import LearnerView
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import Acquisition, Scoring
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError

__all__ = ["ModalStrategy", "as_modal_strategy"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Strategy = Callable[..., Any]

_NEED_A_BEST = ("modAL.acquisition", "modAL.uncertainty", "modAL.batch")
"""modAL's modules whose strategies ask for a maximum so far, or for the probability of being better than it."""


def _resolve(path: str) -> Strategy:
    if path.count(":") != 1:
        raise ValueError(f"{path!r} is not an import path; write it as 'module:function'")
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"cannot import {path!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"{path!r} is not a function")
    strategy: Strategy = found
    return strategy


class ModalStrategy:
    """The rows that a modAL query strategy picks score highest, in the order it gives; all others score 0.

    Use it with the selection `top`: the strategy has chosen already.
    """

    class Options(Options):
        """Keys of ``[acquisition]`` for ``kind = "modal"``."""

        strategy: str = Field(
            "modAL.disagreement:max_std_sampling",
            description="Query strategy, as an import path, such as modAL.acquisition:max_EI. It is called as "
            "strategy(learner, X, n_instances=n, **options) and returns indices, or (indices, anything).",
        )
        options: dict[str, Any] = Field({}, description="Further keyword arguments of the strategy.")

        @model_validator(mode="after")
        def _can_be_called(self) -> Self:
            strategy = _resolve(self.strategy)
            if self.options.get("random_tie_break"):
                raise ValueError(
                    "random_tie_break draws from numpy's global state, so that the same seed would not give the same "
                    "choices; leave it out"
                )
            try:
                inspect.signature(strategy).bind(None, None, n_instances=1, **self.options)
            except TypeError as error:
                raise ValueError(
                    f"{self.strategy!r} cannot be called as strategy(learner, X, n_instances=n, **options): {error}"
                ) from error
            return self

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def goals(self) -> frozenset[Goal]:
        """All but `classify`; and `learn` only for strategies that need no best value."""
        goals = frozenset(Goal) - {Goal.CLASSIFY}
        needs_best = getattr(_resolve(self.options.strategy), "__module__", "") in _NEED_A_BEST
        return goals - {Goal.LEARN} if needs_best else goals

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,): n, n - 1, ..., 1 for the rows picked, 0 for all others.

        Raises
        ------
        ContractError
            If the strategy fails, or does not return as many distinct rows as it was asked for.
        """
        strategy = _resolve(self.options.strategy)
        n = min(scoring.n, len(scoring.X))
        if n < 1:
            return np.zeros(len(scoring.X))
        mean, std = belief(prediction, scoring)
        view = LearnerView(mean, std, scoring)
        try:
            # modAL divides by the std; the view keeps it above 0, and the overflow of gain / std is right: +-infinity.
            with np.errstate(over="ignore"):
                result = strategy(view, view.X_pool, n_instances=n, **self.options.options)
        except Exception as error:
            raise ContractError(f"{self.options.strategy} failed: {type(error).__name__}: {error}") from error
        chosen = _indices(result, n, len(scoring.X), self.options.strategy)
        score = np.zeros(len(scoring.X))
        score[chosen] = np.arange(n, 0, -1)
        return score


def _indices(result: Any, n: int, n_rows: int, name: str) -> Indices:
    """The rows in what a strategy returned: indices, or (indices, metrics or instances)."""
    both_rows = n == 2 and isinstance(result, tuple) and all(isinstance(item, int | np.integer) for item in result)
    if isinstance(result, tuple) and not both_rows:
        result = result[0] if result else result
    rows = np.atleast_1d(np.asarray(result)).ravel()
    if rows.dtype.kind not in "iu":
        raise ContractError(f"{name} returned {rows.dtype} where row numbers are needed")
    if len(rows) != n or len(np.unique(rows)) != n or rows.min() < 0 or rows.max() >= n_rows:
        raise ContractError(f"{name} returned rows {rows.tolist()}; {n} distinct rows of {n_rows} are needed")
    return rows.astype(np.intp)


def as_modal_strategy(
    acquisition: Acquisition, target: Target, *, seed: int = 0
) -> Callable[..., tuple[Indices, Floats]]:
    """Make one of our acquisitions a query strategy for modAL's own learners.

    Parameters
    ----------
    acquisition : an acquisition that serves the goal of `target`
    target : what is sought; the best label is the best of ``learner.y_training``, in the target's unit
    seed : of the acquisition's randomness; a strategy draws on from call to call

    Returns
    -------
    strategy(learner, X, n_instances=1) -> (indices, X[indices])
        Best first; ties by row. Both are returned because modAL reads two bare indices as (index, metrics).

    Raises
    ------
    ContractError
        If the goal is not served; from the strategy, if the learner has no labels, or cannot say how sure it is.

    >>> from active_learning.acquisition.rules import UpperConfidenceBound
    >>> target = Target("band_gap", Goal.MAXIMIZE, "eV")
    >>> query_strategy = as_modal_strategy(UpperConfidenceBound(UpperConfidenceBound.Options()), target)
    """
    if target.goal not in acquisition.goals:
        served = ", ".join(sorted(acquisition.goals))
        raise ContractError(f"{type(acquisition).__name__} does not serve goal '{target.goal}', but {served}")
    rng = np.random.default_rng(seed)

    def strategy(learner: Any, X: Any, n_instances: int = 1) -> tuple[Indices, Floats]:
        pool = np.asarray(X, dtype=np.float64)
        model = _ModalModel(learner)
        X_labeled, y_labeled = model.labels()
        best = float(y_labeled[np.argmax(target.merit(y_labeled))]) if target.goal.has_best else None
        scoring = Scoring(target, best, n_instances, len(pool), lambda: pool, X_labeled, y_labeled, model, rng)
        score = acquisition.score(model.predict(pool), scoring)
        rows = np.argsort(-score, kind="stable")[:n_instances]
        return rows, pool[rows]

    return strategy


class _ModalModel:
    """A modAL learner, spoken to as one of our trained models."""

    def __init__(self, learner: Any) -> None:
        self._learner = learner

    def predict(self, X: Floats) -> Prediction:
        try:
            mean, std = self._learner.predict(X, return_std=True)
        except TypeError as error:
            raise ContractError(
                f"modAL's learner cannot say how sure it is: {error}. Give it an estimator whose predict takes "
                "return_std, such as active_learning.surrogates.estimators.StdRandomForestRegressor"
            ) from error
        return Prediction(np.reshape(mean, (len(X), 1)), np.reshape(std, (len(X), 1)))

    def labels(self) -> tuple[Floats, Floats]:
        # A committee keeps no labels of its own; each member keeps all of them.
        source = self._learner.learner_list[0] if hasattr(self._learner, "learner_list") else self._learner
        if source.X_training is None:
            raise ContractError("modAL's learner has no labels yet: give it X_training and y_training")
        return np.asarray(source.X_training, dtype=np.float64), np.asarray(source.y_training, dtype=np.float64).ravel()
