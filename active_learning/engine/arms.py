"""Who chooses a candidate: the first design, the model, the control arm or the test set; and what is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from math import floor

import numpy as np
from numpy.typing import NDArray

from active_learning.config.spec import CampaignSpec
from active_learning.domain.label import Label
from active_learning.domain.request import Arm
from active_learning.domain.seeds import rng_for
from active_learning.domain.target import Target
from active_learning.engine.answering import answered, standing
from active_learning.engine.deciding import MIN_LABELS
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.filling import filled
from active_learning.engine.observing import target_labels
from active_learning.learning.splitting import Groups, representative_rows
from active_learning.store import Facts

__all__ = ["SAMPLE", "Shares", "known_labels", "split_labels", "to_test"]

Rows = NDArray[np.intp]

SAMPLE = 5_000
"""Of a larger pool the test set represents as many candidates, drawn at random."""


class Shares:
    """How many of the next requests each arm gets, so that its share of all comes as near to its fraction as can be."""

    def __init__(self, facts: Facts, spec: CampaignSpec) -> None:
        self._asked = Counter(request.arm for request in standing(facts.requests, facts.labels))
        self._spec = spec

    def of(self, size: int, *, is_design: bool) -> dict[Arm, int]:
        """The next `size` requests by arm; the first design has no control, and leaves enough for a model."""
        n_test = _due(self._asked, Arm.TEST, size, self._spec.training.test_fraction, tuple(Arm))
        if is_design:
            n_test = min(n_test, max(0, size - MIN_LABELS))
        rest = size - n_test
        if is_design:
            return {Arm.TEST: n_test, Arm.CONTROL: 0, Arm.DESIGN: rest, Arm.CHOSEN: 0}
        n_control = _due(self._asked, Arm.CONTROL, rest, self._spec.control.fraction, (Arm.CHOSEN, Arm.CONTROL))
        return {Arm.TEST: n_test, Arm.CONTROL: n_control, Arm.DESIGN: 0, Arm.CHOSEN: rest - n_control}


def _due(asked: Counter[Arm], arm: Arm, size: int, fraction: float, among: tuple[Arm, ...]) -> int:
    total = sum(asked[other] for other in among) + size
    # 0.2 * 15 is 3 in ten thousand ways but one.
    return min(size, max(0, floor(fraction * total + 1e-9) - asked[arm]))


def known_labels(facts: Facts, target: Target, featurized: Container[str]) -> tuple[Label, ...]:
    """The labels of candidates that have features. A person may have told one of a candidate that has none."""
    return tuple(x for x in target_labels(facts, target) if x.candidate_id in featurized)


def split_labels(
    facts: Facts, spec: CampaignSpec, target: Target, features: FeatureFile
) -> tuple[tuple[Label, ...], tuple[Label, ...]]:
    """The labels to train on, and those of the test set.

    Of the labels that were known before the first round the test set takes its share, so that it represents their
    descriptor space; later ones belong to it if they were asked for it. What a person tells without being asked is
    trained on.
    """
    labels = known_labels(facts, target, features.ids)
    if spec.training.test_fraction == 0:
        return labels, ()
    asked = answered(facts.requests, labels)
    test = {candidate for candidate, request in asked.items() if request.arm is Arm.TEST}
    test |= _of_known_before(facts, spec, features, tuple(x for x in labels if x.candidate_id not in asked))
    return (
        tuple(x for x in labels if x.candidate_id not in test),
        tuple(x for x in labels if x.candidate_id in test),
    )


def _of_known_before(
    facts: Facts, spec: CampaignSpec, features: FeatureFile, unasked: tuple[Label, ...]
) -> frozenset[str]:
    started = facts.rounds[0].opened_at if facts.rounds else None
    known = sorted(features.ids.row(x.candidate_id) for x in unasked if started is None or x.time <= started)
    n = min(floor(spec.training.test_fraction * len(known) + 1e-9), len(known) - MIN_LABELS)
    if n < 1:
        return frozenset()
    rows = np.array(known, dtype=np.intp)
    chosen = representative_rows(filled(features.rows(rows)), n, rng=rng_for(spec.seed, 0, "test-known"))
    return frozenset(features.ids[row] for row in rows[chosen])


def _asked_for_test(facts: Facts, features: FeatureFile) -> Rows:
    """Rows of the candidates that were asked for the test set, labeled or not."""
    asked = {r.candidate_id for r in standing(facts.requests, facts.labels) if r.arm is Arm.TEST}
    return np.array(sorted(features.ids.row(c) for c in asked), dtype=np.intp)


def to_test(
    facts: Facts, spec: CampaignSpec, features: FeatureFile, available: Rows, n: int, *, round_number: int
) -> Rows:
    """The next `n` candidates of the test set: with those asked before them they represent the pool."""
    if n == 0:
        return np.empty(0, dtype=np.intp)
    n_rows = len(features.ids)
    sample = np.arange(n_rows)
    if n_rows > SAMPLE:
        sample = np.sort(rng_for(spec.seed, 0, "test-sample").choice(n_rows, SAMPLE, replace=False))
    groups = Groups(filled(features.rows(sample)), rng=rng_for(spec.seed, 0, "test-groups"))
    taken = np.flatnonzero(np.isin(sample, _asked_for_test(facts, features)))
    free = np.flatnonzero(np.isin(sample, available))
    return sample[groups.take(n, taken=taken, free=free, rng=rng_for(spec.seed, round_number, "test"))]
