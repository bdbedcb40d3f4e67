"""modAL 0.4.2.1 with a committee of random forests.

Source: modAL's documentation, example "Active regression with Committee": a `CommitteeRegressor` of `ActiveLearner`s,
each trained on its own part of the data (`X_training=X[idx]`), queried by `max_std_sampling`, its default. The parts
are bootstraps, as in the example "Bootstrapping and bagging"; they are drawn here from the round's generator, since
`bootstrap_init=True` draws from numpy's global one.

To maximize, the documentation pairs acquisition functions with `BayesianOptimizer`, which does not take a committee.
`max_UCB` (page "Acquisition functions", beta 1 by default) asks of its learner only `predict(return_std=True)`, which
the page "CommitteeRegressor" promises, so it is the committee's query strategy; expected improvement would need a
`y_max`, which a committee lacks.

The committee is made anew from all labels each round: `teach` does not run on scikit-learn 1.8 and newer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from modAL.acquisition import max_UCB
from modAL.disagreement import max_std_sampling
from modAL.models import ActiveLearner, CommitteeRegressor
from sklearn.ensemble import RandomForestRegressor

from peers.base import Floats, Goal, Rows, seed_of, unlabeled_rows

__all__ = ["ModalCommittee"]

MEMBERS = 5
"""The examples have two and three; five make the spread less coarse."""


@dataclass(frozen=True)
class ModalCommittee:
    """Mean plus one spread (maximize) or the spread over the members (learn), the n highest."""

    goal: Goal

    def choose(self, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Rows:
        """Choose as `Peer.choose` says."""
        rest = unlabeled_rows(len(X), labeled)
        learners = []
        for _ in range(MEMBERS):
            part = rng.integers(len(labeled), size=len(labeled))
            forest = RandomForestRegressor(random_state=seed_of(rng))
            learners.append(ActiveLearner(forest, X_training=X[labeled[part]], y_training=merits[part]))
        strategy = max_UCB if self.goal == "maximize" else max_std_sampling
        picked, _ = CommitteeRegressor(learners, query_strategy=strategy).query(X[rest], n_instances=n)
        return np.asarray(rest[picked])
