"""Of a classification: which class was predicted, and how often that was right. Light: no matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.api.record import CampaignRecord
from active_learning.domain.request import Arm
from active_learning.domain.target import Goal
from active_learning.reporting.links import Comparison, answers, candidate_requests, newest_round, out_of_fold

__all__ = ["MOST_CLASSES", "Confusion", "class_names", "confusions", "prospective_classes", "recovered_probabilities"]

Floats = NDArray[np.float64]

MOST_CLASSES = 3
"""Mean and std of the class as a number say what the probabilities of up to three classes were, and of no more."""

# Far above the rounding errors of the recovery, far below any difference that matters: classes that tied tie again.
_DECIMALS = 9


def recovered_probabilities(mean: Floats, std: Floats, classes: tuple[float, ...]) -> Floats | None:
    """The probabilities of the classes, (n, n_classes), from mean and std of the class as a number, (n,) each.

    They sum to 1 and have these two moments: three equations, which three unknowns solve. None for more classes.

    >>> recovered_probabilities(np.array([0.75]), np.array([0.4330127]), (0.0, 1.0)).tolist()
    [[0.25, 0.75]]
    """
    values = np.array(classes, dtype=np.float64)
    if not 1 <= len(values) <= MOST_CLASSES:
        return None
    # About the middle of the classes and in units of their range: large class numbers then lose no digits.
    middle, scale = float(values.mean()), float(np.ptp(values)) or 1.0
    shifted = (np.asarray(mean, dtype=np.float64) - middle) / scale
    moments = np.stack([np.ones(len(shifted)), shifted, np.square(shifted) + np.square(std / scale)])[: len(values)]
    powers = np.vander((values - middle) / scale, increasing=True).T
    return np.asarray(np.clip(np.linalg.solve(powers, moments).T, 0.0, 1.0).round(_DECIMALS))


def class_names(classes: tuple[float, ...]) -> tuple[str, ...]:
    """Classes as text.

    >>> class_names((0.0, 2.5))
    ('0', '2.5')
    """
    return tuple(f"{value:.12g}" for value in classes)


@dataclass(frozen=True)
class Confusion:
    """How often each class was predicted for each true one.

    Parameters
    ----------
    name : what kind of prediction
    classes : all that are true or known to the model, ascending
    counts : of each true class (row) how many labels were predicted to be of each class (column)
    """

    name: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def n(self) -> int:
        """All labels of the table."""
        return sum(map(sum, self.counts))

    @property
    def n_right(self) -> int:
        """Those whose class was predicted."""
        return sum(row[i] for i, row in enumerate(self.counts))

    @property
    def shares(self) -> tuple[str, ...]:
        """Of each true class the part that was predicted to be of it; a dash for a class without labels."""
        rows = [(row[i], sum(row)) for i, row in enumerate(self.counts)]
        return tuple(f"{right / n:.0%}" if n else "–" for right, n in rows)


def _confusion(name: str, true: Floats, predicted: Floats, classes: tuple[float, ...]) -> Confusion:
    known = np.union1d(classes, true)
    counts = np.zeros((len(known), len(known)), dtype=int)
    np.add.at(counts, (np.searchsorted(known, true), np.searchsorted(known, predicted)), 1)
    return Confusion(name, class_names(tuple(known)), tuple(tuple(map(int, row)) for row in counts))


def _likeliest(data: Comparison, classes: tuple[float, ...]) -> Floats | None:
    probabilities = recovered_probabilities(data.mean, data.std, classes)
    return None if probabilities is None else np.asarray(np.array(classes)[probabilities.argmax(axis=1)])


def prospective_classes(record: CampaignRecord, arm: Arm, *, up_to: int | None = None) -> tuple[Floats, Floats]:
    """True class and the one predicted when the candidate was asked for, (n,) each, of the labels of an arm.

    Predictions of a model of more than `MOST_CLASSES` classes are left out.
    """
    labels, known = answers(record), {r.number: r.classes for r in record.rounds}
    pairs = []
    for request in candidate_requests(record):
        classes = known.get(request.round, ())
        is_asked = request.arm is arm and request.id in labels and (up_to is None or request.round <= up_to)
        if not is_asked or request.mean is None or request.std is None:
            continue
        value = labels[request.id].value
        predicted = _likeliest(Comparison.of([(value, request.mean, request.std)]), classes)
        if predicted is not None:
            pairs.append((value, float(predicted[0])))
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def confusions(record: CampaignRecord, *, number: int | None = None) -> tuple[Confusion, ...]:
    """Tables of true and predicted classes: held out by the newest model, and before labeling.

    Only what was known of rounds up to `number`, if it is given. None of a goal other than `classify`, and none where
    mean and std do not say which class was predicted.
    """
    if record.target.goal is not Goal.CLASSIFY:
        return ()
    found = []
    newest = newest_round(record, "out_of_fold", up_to=number)
    if newest is not None:
        data = out_of_fold(record, newest)
        predicted = _likeliest(data, newest.classes)
        if predicted is not None and len(data):
            found.append(_confusion(f"held out, round {newest.number}", data.y, predicted, newest.classes))
    classes = tuple(sorted({c for r in record.rounds if number is None or r.number <= number for c in r.classes}))
    for arm, name in ((Arm.CHOSEN, "chosen, before labeling"), (Arm.CONTROL, "control, before labeling")):
        true, predicted = prospective_classes(record, arm, up_to=number)
        if len(true):
            found.append(_confusion(name, true, predicted, classes))
    return tuple(found)
