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

from active_learning.acquisition.learner_view import view_of
from active_learning.acquisition.modal_model import model_of
from active_learning.domain.choosing import Acquisition, Scoring
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError

__all__ = ["ModalStrategy", "as_modal_strategy"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Strategy = Callable[..., Any]

_BETTER_THAN_BEST = frozenset({Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN})
_GOALS = {
    "modAL.acquisition": _BETTER_THAN_BEST,
    "modAL.uncertainty": _BETTER_THAN_BEST | {Goal.CLASSIFY},
    "modAL.batch": _BETTER_THAN_BEST | {Goal.CLASSIFY},
}
"""What modAL's modules serve whose strategies ask for a maximum so far, or for probabilities: those of classes, or
that of being better than the best label."""

_FOR_COMMITTEES = frozenset({"vote_entropy_sampling", "consensus_entropy_sampling", "max_disagreement_sampling"})
"""Strategies of modAL.disagreement that ask the members of a committee of classifiers."""


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
        """Those with a best value or classes for strategies that ask for one, `classify` for those that ask a
        committee of classifiers, all for others."""
        strategy = _resolve(self.options.strategy)
        module, name = getattr(strategy, "__module__", ""), getattr(strategy, "__name__", "")
        if module == "modAL.disagreement" and name in _FOR_COMMITTEES:
            return frozenset({Goal.CLASSIFY})
        return _GOALS.get(module, frozenset(Goal))

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,): n, n - 1, ..., 1 for the rows picked, 0 for all others.

        Raises
        ------
        ContractError
            If the strategy fails, or does not return as many distinct rows as it was asked for; if the prediction is
            not one of `scoring`'s candidates, or the goal is `classify` and it has no probabilities.
        """
        strategy = _resolve(self.options.strategy)
        n = min(scoring.n, len(scoring.X))
        if n < 1:
            return np.zeros(len(scoring.X))
        view = view_of(prediction, scoring)
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
        If the goal is not served; from the strategy, if the learner has no labels, cannot say how sure it is, or
        cannot do what the acquisition asks of a model.

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
        model = model_of(learner, target.goal)
        X_labeled, y_labeled = model.labels()
        best = float(y_labeled[np.argmax(target.merit(y_labeled))]) if target.goal.has_best else None
        scoring = Scoring(target, best, n_instances, len(pool), lambda: pool, X_labeled, y_labeled, model, rng)
        score = acquisition.score(model.predict(pool), scoring)
        rows = np.argsort(-score, kind="stable")[:n_instances]
        return rows, pool[rows]

    return strategy
