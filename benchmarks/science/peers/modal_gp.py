"""modAL 0.4.2.1 with a Gaussian process.

Source: modAL's documentation, examples "Bayesian optimization" (`Matern(length_scale=1.0)` in a `BayesianOptimizer`
with `max_EI`) and "Active regression" (RBF of length scale 1 within 1e-2 and 1e3, plus white noise of level 1 within
1e-10 and 10, in an `ActiveLearner` with the example's own strategy `GP_regression_std`).

Where we leave the examples, and why:

- Features and merits are scaled to mean 0 and variance 1. The examples' functions are of order one, and their kernels
  have unit variance and a mean of zero: on Vickers hardnesses in the hundreds, unscaled, they say nothing.
- `n_instances` (the strategies' own argument) makes the batch of the n highest scores; `GP_regression_std`, which the
  example ends in `argmax`, ends in modAL's `multi_argmax` here.
- The learner is made anew from all labels each round: `teach` does not run on scikit-learn 1.8 and newer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from modAL.acquisition import max_EI
from modAL.models import ActiveLearner, BayesianOptimizer
from modAL.utils.selection import multi_argmax
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel

from peers.base import Floats, Goal, Rows, scaled, unlabeled_rows

__all__ = ["ModalGaussianProcess"]


def _highest_std(regressor: ActiveLearner, X: Floats, n_instances: int = 1) -> tuple[Rows, Floats]:
    """Indices of the n highest standard deviations, and these."""
    _, std = regressor.predict(X, return_std=True)
    indices, highest = multi_argmax(std, n_instances=n_instances)
    return indices, highest


@dataclass(frozen=True)
class ModalGaussianProcess:
    """Expected improvement (maximize) or the standard deviation (learn), the n highest."""

    goal: Goal

    def choose(self, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Rows:  # noqa: ARG002
        """Choose as `Peer.choose` says; nothing here is random."""
        Z, targets, rest = scaled(X), scaled(merits), unlabeled_rows(len(X), labeled)
        learner = self._learner(Z[labeled], targets)
        picked, _ = learner.query(Z[rest], n_instances=n)
        return np.asarray(rest[picked])

    def _learner(self, Z: Floats, targets: Floats) -> ActiveLearner:
        if self.goal == "maximize":
            regressor = GaussianProcessRegressor(kernel=Matern(length_scale=1.0))
            return BayesianOptimizer(regressor, query_strategy=max_EI, X_training=Z, y_training=targets)
        kernel = RBF(length_scale=1.0, length_scale_bounds=(1e-2, 1e3)) + WhiteKernel(
            noise_level=1, noise_level_bounds=(1e-10, 1e1)
        )
        regressor = GaussianProcessRegressor(kernel=kernel)
        return ActiveLearner(regressor, query_strategy=_highest_std, X_training=Z, y_training=targets)
