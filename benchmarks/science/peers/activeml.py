"""scikit-activeml 1.0.1: two of its strategies for regression. They know no best: both goals are run alike.

Source: its tutorials "Pool-based Active Learning for Regression - Getting Started" (both strategies) and "Advanced
Active Learning for Regression Tasks" (standardized features, `SklearnRegressor(RandomForestRegressor())`,
`GreedySamplingTarget(method="GSi")`, a batch by `batch_size`), and the reference of `QueryByCommittee`: of an ensemble
with `n_estimators` and `estimators_`, the estimators are the committee.

The second tutorial also samples 1,000 candidates a round, of 17,000; here all are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skactiveml.pool import GreedySamplingTarget, QueryByCommittee
from skactiveml.regressor import SklearnRegressor
from skactiveml.utils import MISSING_LABEL
from sklearn.ensemble import RandomForestRegressor

from peers.base import Floats, Goal, Rows, scaled, seed_of

__all__ = ["CommitteeOfTrees", "GreedySampling"]


def _forest(seed: int) -> SklearnRegressor:
    return SklearnRegressor(RandomForestRegressor(random_state=seed), random_state=seed)


def _with_gaps(n_candidates: int, labeled: Rows, merits: Floats) -> Floats:
    """(n_candidates,), the library's sign for "no label" where there is none."""
    y = np.full(n_candidates, MISSING_LABEL)
    y[labeled] = merits
    return y


@dataclass(frozen=True)
class GreedySampling:
    """Improved greedy sampling: farthest from all labels in features times predicted merit (Wu, Lin & Huang, 2019)."""

    goal: Goal

    def choose(self, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Rows:
        """Choose as `Peer.choose` says."""
        seed = seed_of(rng)
        strategy = GreedySamplingTarget(method="GSi", random_state=seed)
        y = _with_gaps(len(X), labeled, merits)
        return np.asarray(strategy.query(X=scaled(X), y=y, reg=_forest(seed), batch_size=n))


@dataclass(frozen=True)
class CommitteeOfTrees:
    """Query by committee: the n highest variances over a forest's trees (Burbidge, Rowland & King, 2007)."""

    goal: Goal

    def choose(self, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Rows:
        """Choose as `Peer.choose` says."""
        seed = seed_of(rng)
        strategy = QueryByCommittee(random_state=seed)
        y = _with_gaps(len(X), labeled, merits)
        return np.asarray(strategy.query(X=scaled(X), y=y, ensemble=_forest(seed), batch_size=n))
