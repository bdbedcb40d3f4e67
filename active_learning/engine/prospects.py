"""What labeling a candidate is likely to come to: whether it succeeds, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.config.spec import AcquisitionTable
from active_learning.domain.models import FittedSurrogate
from active_learning.domain.seeds import rng_for
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.filling import Filling
from active_learning.engine.history import Tried
from active_learning.surrogates.forest import ForestOptions, RandomForest

__all__ = ["NO_PROSPECTS", "Prospects", "prospects_of"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_TREES = 200
_LEAF = 3
_FEWEST = 5
"""Run times, or labelings of which one failed, that teach nothing yet."""
_SHORTEST_S = 1e-3


@dataclass(frozen=True, eq=False)
class Prospects:
    """What is known of labeling itself; None for what nothing is known of.

    Parameters
    ----------
    success : a classification of labelings that failed (0) and succeeded (1)
    base_rate : the share of all labelings that succeeded, counted with one success and one failure more
    log_run_s : the logarithm of the run time in seconds
    typical_run_s : the median run time
    """

    features: FeatureFile | None = None
    filling: Filling | None = None
    success: FittedSurrogate | None = None
    base_rate: float = 1.0
    log_run_s: FittedSurrogate | None = None
    typical_run_s: float = 1.0

    @property
    def is_known(self) -> bool:
        """Whether there is anything to weigh by."""
        return self.success is not None or self.log_run_s is not None

    def of(self, rows: Rows) -> tuple[Floats | None, Floats | None]:
        """Probability that a label succeeds and predicted run time in seconds, (n_rows,) each.

        The probability is drawn to the base rate as if that had been seen once: no candidate is hopeless, or sure.
        """
        if not self.is_known or self.features is None or self.filling is None:
            return None, None
        X = self.filling(self.features.rows(rows))
        success = run_s = None
        if self.success is not None:
            told = np.clip(self.success.predict(X).mean[:, 0], 0.0, 1.0)
            success = (told * _LEAF + self.base_rate) / (_LEAF + 1)
        if self.log_run_s is not None:
            run_s = np.exp(self.log_run_s.predict(X).mean[:, 0])
        return success, run_s


NO_PROSPECTS = Prospects()


def prospects_of(
    table: AcquisitionTable, features: FeatureFile, tried: Tried, *, seed: int, round_number: int
) -> Prospects:
    """Learn from how labelings went so far, as far as the campaign file asks for it.

    Failures teach as soon as there is one among `_FEWEST` labelings; run times, from as many.
    """
    if not (table.weigh_success or table.per_cost):
        return NO_PROSPECTS
    success = log_run_s = None
    rate, typical = 1.0, 1.0
    X_tried = features.rows(tried.rows)
    filling = Filling(X_tried)
    options = ForestOptions(n_trees=_TREES, min_samples_leaf=_LEAF)
    if table.weigh_success and len(tried.rows) >= _FEWEST and not tried.succeeded.all():
        X, y = filling(X_tried), tried.succeeded.astype(np.float64)
        success = RandomForest(options).classifier().fit(X, y, rng=rng_for(seed, round_number, "success"))
        rate = float((y.sum() + 1) / (len(y) + 2))
    timed = tried.succeeded & np.isfinite(tried.run_s)
    if table.per_cost and timed.sum() >= _FEWEST:
        run_s = np.maximum(tried.run_s[timed], _SHORTEST_S)
        log_run_s = RandomForest(options).fit(
            filling(X_tried[timed]), np.log(run_s), rng=rng_for(seed, round_number, "cost")
        )
        typical = float(np.median(run_s))
    return Prospects(features, filling, success, rate, log_run_s, typical)
