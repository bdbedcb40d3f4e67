"""Score what may be chosen, and take a batch of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.acquisition.weighing import weighed
from active_learning.domain.models import KnowsCovariance
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import Attributes, Batch, Outcome, ScoresByRow, Scoring
from active_learning.domain.request import Arm
from active_learning.domain.seeds import rng_for
from active_learning.engine.assembly import Kit
from active_learning.engine.corrected import corrected_model
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.filling import Filling
from active_learning.engine.learning import Learned
from active_learning.engine.prospects import NO_PROSPECTS, Prospects
from active_learning.engine.scoring import PROMISING, Beliefs, BestRows, checked_scores
from active_learning.errors import ContractError
from active_learning.learning.applicability import novelty

__all__ = ["Chooser", "Pick", "Scored"]

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pick:
    """A candidate to ask for, and why; `score`, `mean` and `std` in the target's unit."""

    row: int
    arm: Arm
    reason: str
    mean: float | None = None
    std: float | None = None
    score: float | None = None
    rule: str = ""
    novelty: float | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """The most promising of the candidates that may be chosen.

    Parameters
    ----------
    rows, scores : (n_promising,), by ascending row
    n : how many candidates were scored
    max_std : over all of them
    """

    rows: Rows
    scores: Floats
    n: int
    max_std: float


@dataclass(frozen=True, eq=False)
class Chooser:
    """All that the choice of one round depends on.

    Parameters
    ----------
    best : value of the best label, in the target's unit; None if the goal has none
    pending : rows of the candidates that are being labeled
    """

    kit: Kit
    features: FeatureFile
    learned: Learned
    beliefs: Beliefs
    round_number: int
    best: float | None
    pending: Rows
    outcomes: tuple[Outcome, ...] = ()
    prospects: Prospects = NO_PROSPECTS

    def score(self, available: Rows, size: int) -> Scored:
        """Score what may be chosen and keep the best of it, block by block where the acquisition allows that."""
        scoring = self._scoring(size)
        acquisition = self.kit.acquisition
        by_row = self._scores_by_row
        top = BestRows(max(PROMISING, size))
        max_std = 0.0
        for first, block in self.beliefs.blocks() if by_row else self.beliefs.blocks(max(1, self.beliefs.n_rows)):
            mine = available[np.searchsorted(available, first) : np.searchsorted(available, first + len(block))]
            if not len(mine):
                continue
            believed = block.rows(mine - first)
            shown = replace(scoring, n_candidates=len(mine), load_X=partial(self._rows, mine))
            scores = checked_scores(acquisition.score(believed, shown), len(mine))
            top.add(self._weighed(scores, *self.prospects.of(mine)), mine)
            max_std = max(max_std, float(believed.std.max()))
        order = np.argsort(top.rows)
        return Scored(top.rows[order], top.scores[order], len(available), max_std)

    def take(self, scored: Scored, size: int) -> list[Pick]:
        """A batch of the promising, and why each."""
        batch = self._batch(scored, size)
        places = _checked_places(self.kit.selection.choose(batch), batch, self.kit.spec.selection.kind)
        rows = scored.rows[places]
        ranks = np.empty(len(scored.rows), dtype=np.intp)
        ranks[batch.ranked] = np.arange(1, len(scored.rows) + 1)
        rules = self._rules_of(scored, places, size)
        believed = self.beliefs.at(rows)
        spec = self.kit.spec
        picks = []
        for n, (row, place) in enumerate(zip(rows, places, strict=True)):
            by = f"{spec.acquisition.kind} ({rules[n]})" if rules[n] else spec.acquisition.kind
            reason = f"{by}: rank {ranks[place]} of {scored.n:,}, taken by {spec.selection.kind}"
            picks.append(
                Pick(
                    int(row),
                    Arm.CHOSEN,
                    reason,
                    float(believed.mean[n, 0]),
                    float(believed.std[n, 0]),
                    float(scored.scores[place]),
                    rules[n],
                )
            )
        return picks

    def beside(self, rows: Rows, arm: Arm, reason: str) -> list[Pick]:
        """Candidates that the model did not choose, with what it believes of them."""
        believed = self.beliefs.at(rows)
        return [
            Pick(int(row), arm, reason, float(believed.mean[n, 0]), float(believed.std[n, 0]))
            for n, row in enumerate(rows)
        ]

    def with_novelty(self, picks: list[Pick]) -> list[Pick]:
        """The picks with their distance from the model's domain of applicability."""
        if not picks:
            return []
        chosen = np.array([pick.row for pick in picks], dtype=np.intp)
        distances = novelty(self._filling(self.learned.X), self._rows(chosen))
        return [replace(pick, novelty=float(d)) for pick, d in zip(picks, distances, strict=True)]

    @property
    def _scores_by_row(self) -> bool:
        """Whether a score follows from its candidate's prediction: then it can be asked again for another one."""
        acquisition = self.kit.acquisition
        return isinstance(acquisition, ScoresByRow) and acquisition.scores_by_row

    def _scoring(self, size: int) -> Scoring:
        learned = self.learned
        return Scoring(
            target=self.kit.target,
            best=self.best,
            n=size,
            n_candidates=0,
            load_X=lambda: np.empty((0, len(self.features.names))),
            X_labeled=self._filling(learned.X),
            y_labeled=learned.y,
            model=corrected_model(learned.model, learned.recalibration),
            rng=rng_for(self.kit.spec.seed, self.round_number, "acquisition"),
            X_pending=self._rows(self.pending),
            outcomes=self.outcomes,
        )

    @cached_property
    def _filling(self) -> Filling:
        return Filling(self.learned.X)

    def _rows(self, rows: Rows) -> Floats:
        """Features for a strategy that looks at them itself."""
        return self._filling(self.features.rows(rows))

    def _weighed(self, scores: Floats, success: Floats | None, run_s: Floats | None) -> Floats:
        if success is None and run_s is None:
            return scores
        return weighed(scores, success, run_s, typical_cost=self.prospects.typical_run_s)

    def _batch(self, scored: Scored, size: int) -> Batch:
        return Batch(
            n=size,
            scores=scored.scores,
            X=self._rows(scored.rows),
            X_pending=self._rows(self.pending),
            rng=rng_for(self.kit.spec.seed, self.round_number, "selection"),
            prediction=self.beliefs.at(scored.rows),
            pending=self.beliefs.at(self.pending),
            factor=self._factor(scored),
            rescore=self._rescoring(scored, size) if self._scores_by_row else None,
        )

    def _factor(self, scored: Scored) -> Callable[[Rows], Floats] | None:
        model = corrected_model(self.learned.model, self.learned.recalibration)
        if not isinstance(model, KnowsCovariance):
            return None
        return lambda places: model.covariance_factor(
            self.features.rows(np.concatenate([scored.rows[places], self.pending]))
        )

    def _rescoring(self, scored: Scored, size: int) -> Callable[[Prediction, Rows], Floats]:
        @cache  # asked for once for each candidate of a batch; what labeling comes to stays the same
        def prospects() -> tuple[Floats | None, Floats | None]:
            return self.prospects.of(scored.rows)

        def rescored(prediction: Prediction, places: Rows) -> Floats:
            rows = scored.rows[places]
            shown = replace(self._scoring(size), n_candidates=len(rows), load_X=partial(self._rows, rows))
            scores = checked_scores(self.kit.acquisition.score(prediction, shown), len(rows))
            success, run_s = (None if known is None else known[places] for known in prospects())
            return self._weighed(scores, success, run_s)

        return rescored

    def _rules_of(self, scored: Scored, places: Rows, size: int) -> tuple[str, ...]:
        acquisition = self.kit.acquisition
        if not isinstance(acquisition, Attributes):
            return ("",) * len(places)
        shown = replace(
            self._scoring(size),
            n_candidates=len(scored.rows),
            load_X=partial(self._rows, scored.rows),
        )
        return acquisition.rules_of(self.beliefs.at(scored.rows), shown, places)


def _checked_places(places: Any, batch: Batch, kind: str) -> Rows:
    """What a selection took: as many distinct places of the batch as it was asked for, or all there are."""
    places = np.asarray(places)
    n_rows = len(batch.scores)
    n = min(batch.n, n_rows)
    is_integer = places.dtype.kind in "iu" or not places.size
    if places.shape != (n,) or not is_integer or (n and (places.min() < 0 or places.max() >= n_rows)):
        raise ContractError(
            f"the selection '{kind}' was asked for {n} of {n_rows} rows and took {places.tolist()} ({places.dtype})"
        )
    if len(np.unique(places)) < n:
        raise ContractError(f"the selection '{kind}' took a row twice: {places.tolist()}")
    rows: Rows = places.astype(np.intp)
    return rows
