"""modAL's learners as surrogates: any scikit-learn regressor that can say how sure it is, or a committee of any.

What of modAL 0.4.2 works with today's scikit-learn decides the shape of this file. ``teach`` and ``fit`` fail
(``check_X_y`` lost ``force_all_finite`` in scikit-learn 1.8), so each training builds a new learner from all labels,
through its constructor. ``repr`` and ``clone`` of a learner raise AttributeError, so neither is used. Bootstrapping
inside modAL draws from numpy's global state, so bootstrap samples are drawn here, from the campaign's generator.
"""

from __future__ import annotations

import inspect
import pkgutil
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from modAL.models import ActiveLearner, CommitteeRegressor
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator
from sklearn.base import is_regressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError, UserError
from active_learning.surrogates.checks import checked_features, checked_training

__all__ = ["FittedLearner", "ModalLearner", "ModalLearnerOptions"]

Floats = NDArray[np.float64]
Table = dict[str, Any]

_BLOCK_ROWS = 4096
"""Rows predicted at once; a Gaussian process holds (rows, n_labels) kernels."""

_OUR_FOREST = "active_learning.surrogates.estimators:StdRandomForestRegressor"


def _importable(path: str) -> str:
    """Check an import path while the campaign file is read, so that a typing error is reported with its line."""
    if path.count(":") != 1:
        raise ValueError(f"{path!r} is not an import path; write it as 'module:name'")
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"cannot import {path!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"{path!r} is not a class")
    return path


ImportPath = Annotated[str, AfterValidator(_importable)]


def _takes_return_std(estimator: Any) -> bool:
    parameters = inspect.signature(estimator.predict).parameters.values()
    return any(p.name == "return_std" or p.kind is p.VAR_KEYWORD for p in parameters)


def _build(path: str, options: Table) -> Any:
    """A new estimator.

    Raises
    ------
    ValueError
        If it is no regressor, does not take these options, or a random_state is among them.
    """
    seeds = sorted(key for key in options if key.split("__")[-1] == "random_state")
    if seeds:
        raise ValueError(f"leave out {seeds[0]!r}: randomness comes from the campaign's seed")
    try:
        estimator = pkgutil.resolve_name(path)()
        estimator.set_params(**options)
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"cannot build {path!r}: {error}") from error
    if not is_regressor(estimator):
        raise ValueError(f"{path!r} is not a scikit-learn regressor")
    return estimator


class ModalLearnerOptions(Options):
    """Keys of ``[surrogate]`` for ``kind = "modal"``."""

    learner: ImportPath = Field(
        "modAL.models:ActiveLearner",
        description="modAL learner, as an import path: modAL.models:ActiveLearner, BayesianOptimizer or "
        "CommitteeRegressor.",
    )
    estimator: ImportPath | list[ImportPath] = Field(
        _OUR_FOREST, description="scikit-learn regressor, as an import path; a list of them for a committee."
    )
    estimator_options: Table | list[Table] = Field(
        {}, description="Parameters of the estimator; for a committee one table for all members, or a list of tables."
    )
    standardize: bool = Field(True, description="Scale the features to zero mean and unit variance first.")
    bootstrap: bool = Field(False, description="Committee only: train each member on labels drawn with replacement.")

    @property
    def is_committee(self) -> bool:
        """Whether the learner is a committee, whose doubt is the spread of its members."""
        return issubclass(pkgutil.resolve_name(self.learner), CommitteeRegressor)

    def members(self) -> list[Any]:
        """New, untrained estimators: one, or those of a committee.

        Raises
        ------
        ValueError
            If there are not as many tables of options as estimators, or an estimator cannot be built.
        """
        paths = self.estimator if isinstance(self.estimator, list) else [self.estimator]
        tables = self.estimator_options
        tables = tables if isinstance(tables, list) else [tables] * len(paths)
        if len(tables) != len(paths):
            raise ValueError(f"{len(tables)} tables of estimator_options for {len(paths)} estimators")
        return [_build(path, table) for path, table in zip(paths, tables, strict=True)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        learner = pkgutil.resolve_name(self.learner)
        if not (inspect.isclass(learner) and issubclass(learner, ActiveLearner | CommitteeRegressor)):
            raise ValueError(
                f"{self.learner!r} is not a modAL regression learner; "
                "use modAL.models:ActiveLearner, BayesianOptimizer or CommitteeRegressor"
            )
        members = self.members()
        if self.is_committee and len(members) < 2:
            raise ValueError("a committee needs at least two estimators: its doubt is the spread of its members")
        if not self.is_committee:
            self._check_alone(members)
        return self

    def _check_alone(self, members: list[Any]) -> None:
        if len(members) > 1 or self.bootstrap:
            raise ValueError("several estimators, and bootstrap, go with learner 'modAL.models:CommitteeRegressor'")
        if not _takes_return_std(members[0]):
            raise ValueError(
                f"{self.estimator!r} cannot say how sure it is: its predict has no return_std. Use {_OUR_FOREST!r}, "
                "its sibling StdExtraTreesRegressor or a Gaussian process; or several estimators with learner "
                "'modAL.models:CommitteeRegressor'"
            )


@dataclass(frozen=True, eq=False)
class FittedLearner:
    """A trained modAL learner."""

    learner: Any
    n_features: int

    def predict(self, X: Floats) -> Prediction:
        """Mean and standard deviation, in the target's unit; a committee's std is that of its members' means.

        Parameters
        ----------
        X : (n_candidates, n_features)

        Raises
        ------
        ContractError
            If `X` has another number of features or a row that is not finite, or the estimator does not answer
            ``predict(X, return_std=True)`` with finite numbers.
        """
        X = checked_features(X, n_features=self.n_features)
        blocks = [self._block(X[start : start + _BLOCK_ROWS]) for start in range(0, len(X), _BLOCK_ROWS)]
        if not blocks:
            return Prediction(np.empty((0, 1)), np.empty((0, 1)))
        mean, std = (np.concatenate(columns) for columns in zip(*blocks, strict=True))
        return Prediction(mean, std)

    def _block(self, X: Floats) -> tuple[Floats, Floats]:
        try:
            mean, std = self.learner.predict(X, return_std=True)
        except TypeError as error:
            raise ContractError(f"the learner cannot say how sure it is: {error}. Use {_OUR_FOREST!r}") from error
        return np.reshape(mean, (len(X), 1)), np.reshape(std, (len(X), 1))


class ModalLearner:
    """A modAL learner, trained anew from all labels each time."""

    Options = ModalLearnerOptions

    def __init__(self, options: ModalLearnerOptions) -> None:
        self.options = options

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedLearner:
        """Build and train a new learner.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), in the target's unit

        Raises
        ------
        ContractError
            If shapes do not match, there is no label, or a number is not finite (its row is named).
        UserError
            If the estimator does not accept the values of its options, or these labels.
        """
        X, y = checked_training(X, y)
        try:
            return FittedLearner(self._trained(X, y, rng), X.shape[1])
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.options.estimator} cannot be trained on {len(y)} labels: {error}") from error

    def _trained(self, X: Floats, y: Floats, rng: np.random.Generator) -> Any:
        learner = pkgutil.resolve_name(self.options.learner)
        estimators = [self._seeded(member, rng) for member in self.options.members()]
        if not self.options.is_committee:
            return learner(estimators[0], X_training=X, y_training=y)
        committee = []
        for estimator in estimators:
            rows = rng.integers(len(y), size=len(y)) if self.options.bootstrap else np.arange(len(y))
            committee.append(ActiveLearner(estimator, X_training=X[rows], y_training=y[rows]))
        return learner(committee)

    def _seeded(self, estimator: Any, rng: np.random.Generator) -> Any:
        for name in sorted(estimator.get_params()):
            if name.split("__")[-1] == "random_state":
                estimator.set_params(**{name: int(rng.integers(2**31))})
        return make_pipeline(StandardScaler(), estimator) if self.options.standardize else estimator
