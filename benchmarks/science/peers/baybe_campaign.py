"""BayBE 0.15.0: a campaign over one parameter whose values are the candidates, described by their features.

Source: BayBE's user guide, "Parameters" (`CustomDiscreteParameter`: "the user is expected to provide their own
descriptors", decorrelated by default: a feature correlated to 0.7 or more with one kept is dropped), "Campaigns"
(`add_measurements`, `recommend(batch_size)`), "Recommenders" (`TwoPhaseMetaRecommender` with `BotorchRecommender`,
whose surrogate and acquisition function are the defaults) and "Active Learning", "Local Uncertainty Reduction" (the
posterior's standard deviation, for batches `qPSTD`). The guide also has `qNIPV`, the integrated variance, and calls it
"often superior" and computationally complex: the README beside says what it cost.

What the library demands of its user, and how it is met:

- A column with a single value is refused: those are left out.
- Equal rows are refused: candidates with equal features are one value. Its measurements are all given; once one of the
  candidates is measured the others are not recommended any more.
- A campaign may recommend again what it was told (`allow_recommending_already_measured`, on by default): off, since a
  table has one label a row.

The campaign is made anew from all labels each round, on a search space that depends on the features alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from baybe import Campaign
from baybe.acquisition import qPSTD
from baybe.parameters import CustomDiscreteParameter
from baybe.recommenders import BotorchRecommender, TwoPhaseMetaRecommender
from baybe.searchspace import SearchSpace
from baybe.settings import Settings
from baybe.targets import NumericalTarget

from peers.base import Floats, Goal, Rows, seed_of

__all__ = ["BaybeCampaign"]

PARAMETER = "candidate"
TARGET = "merit"


@dataclass(frozen=True, eq=False)
class _Space:
    """A search space and what of the pool it was made from.

    Parameters
    ----------
    value_of : (n_candidates,)
        The first row with the same features, whose number is the label of the parameter's value.
    """

    X: Floats
    value_of: Rows
    space: SearchSpace


@dataclass(eq=False)
class BaybeCampaign:
    """Log expected improvement (maximize) or the posterior's standard deviation (learn), jointly for the batch."""

    goal: Goal
    _known: _Space | None = field(default=None, init=False)

    def choose(self, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Rows:
        """Choose as `Peer.choose` says."""
        if self._known is None or self._known.X is not X:
            self._known = _space_of(X)
        with Settings(random_seed=seed_of(rng)):
            campaign = Campaign(
                searchspace=self._known.space,
                objective=NumericalTarget(TARGET).to_objective(),
                recommender=self._recommender(),
                allow_recommending_already_measured=False,
            )
            values = self._known.value_of[labeled].astype(str)
            campaign.add_measurements(pd.DataFrame({PARAMETER: values, TARGET: merits}))
            recommended = campaign.recommend(batch_size=n)
        return np.asarray(recommended[PARAMETER].astype(np.int64))

    def _recommender(self) -> TwoPhaseMetaRecommender:
        if self.goal == "maximize":
            return TwoPhaseMetaRecommender()
        return TwoPhaseMetaRecommender(recommender=BotorchRecommender(acquisition_function=qPSTD()))


def _space_of(X: Floats) -> _Space:
    varying = X[:, np.ptp(X, axis=0) > 0]
    _, first, inverse = np.unique(varying, axis=0, return_index=True, return_inverse=True)
    value_of = first[inverse.ravel()]
    rows = np.unique(value_of)
    descriptors = pd.DataFrame(varying[rows], index=rows.astype(str)).add_prefix("feature_")
    parameter = CustomDiscreteParameter(name=PARAMETER, data=descriptors)
    return _Space(X=X, value_of=value_of, space=SearchSpace.from_parameter(parameter))
