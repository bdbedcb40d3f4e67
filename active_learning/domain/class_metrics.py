"""How good predicted classes are, and how honest their probabilities.

Functions take `y`, the true class of each row, (n,), n >= 1; `classes`, those that the model knows, (n_classes,),
ascending; and `probabilities`, (n, n_classes), rows that sum to 1. A true class that the model does not know counts as
one that it gave probability 0. The predicted class is the likeliest one, the first of those that tie.

References
----------
Brier, Mon. Weather Rev. 78, 1 (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
Fawcett, Pattern Recognit. Lett. 27, 861 (2006), doi:10.1016/j.patrec.2005.10.010: the area under the ROC curve.
Guo et al., ICML 2017, arXiv:1706.04599: the expected calibration error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = ["ClassPredictions", "classification_metrics"]

Floats = NDArray[np.float64]

_BINS = 10
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class ClassPredictions:
    """True classes beside the probabilities predicted for them.

    Parameters
    ----------
    y : (n,), n >= 1
    classes : (n_classes,), ascending
    probabilities : (n, n_classes), each row sums to 1

    Raises
    ------
    ContractError
        If shapes differ, there is no row or class, a number is not finite, classes do not ascend, or the probabilities
        of a row (it is named) are negative or do not sum to 1.
    """

    y: Floats
    classes: Floats
    probabilities: Floats

    def __post_init__(self) -> None:
        y, classes, probabilities = (np.asarray(v, np.float64) for v in (self.y, self.classes, self.probabilities))
        if y.ndim != 1 or classes.ndim != 1 or probabilities.shape != (len(y), len(classes)) or not probabilities.size:
            raise ContractError(
                f"y is (n,), classes (n_classes,), probabilities (n, n_classes), none empty; "
                f"got {y.shape}, {classes.shape} and {probabilities.shape}"
            )
        if not np.isfinite(y).all():
            raise ContractError(f"y is not finite in row {np.flatnonzero(~np.isfinite(y))[0]}")
        if not np.isfinite(classes).all() or (np.diff(classes) <= 0).any():
            raise ContractError(f"classes are finite and ascend, got {classes.tolist()}")
        is_right = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= _SUM_TOLERANCE)
        if not is_right.all():
            raise ContractError(f"the probabilities of row {np.flatnonzero(~is_right)[0]} are no probabilities")
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "probabilities", probabilities)

    @cached_property
    def predicted(self) -> Floats:
        """The likeliest class of each row, (n,)."""
        return np.asarray(self.classes[self.probabilities.argmax(axis=1)])

    @cached_property
    def all_classes(self) -> Floats:
        """Those that the model knows or that are true, ascending."""
        return np.union1d(self.classes, self.y)

    @cached_property
    def all_probabilities(self) -> Floats:
        """Of `all_classes`, (n, n_all_classes); 0 where the model does not know the class."""
        out = np.zeros((len(self.y), len(self.all_classes)))
        out[:, np.searchsorted(self.all_classes, self.classes)] = self.probabilities
        return out

    @cached_property
    def is_true(self) -> NDArray[np.bool_]:
        """Whether a row is of each of `all_classes`, (n, n_all_classes)."""
        return np.asarray(self.y[:, None] == self.all_classes)

    def accuracy(self) -> float:
        """Fraction of rows whose class is predicted."""
        return float((self.predicted == self.y).mean())

    def balanced_accuracy(self) -> float:
        """The mean, over the classes that are true of some row, of the fraction of their rows that are predicted."""
        hit = self.predicted == self.y
        return float(np.mean([hit[self.y == c].mean() for c in np.unique(self.y)]))

    def f1(self) -> float:
        """The mean, over the classes that are true or predicted somewhere, of ``2 hits / (true + predicted)``."""
        found = np.union1d(self.y, self.predicted)
        true = self.y[:, None] == found
        predicted = self.predicted[:, None] == found
        return float((2 * (true & predicted).sum(axis=0) / (true.sum(axis=0) + predicted.sum(axis=0))).mean())

    def log_loss(self) -> float:
        """Mean of ``-log(probability of the true class)``; probabilities are cut at the resolution of a float,
        2.2e-16, so that a class held for impossible costs 36 and not infinity."""
        least = float(np.finfo(np.float64).eps)
        return float(-np.log(np.clip(self.all_probabilities[self.is_true], least, 1.0)).mean())

    def brier(self) -> float:
        """Mean squared error of the probabilities, summed over the classes (0 to 2); of two classes it is that of one
        of them (0 to 1), as the score is mostly given."""
        total = float(np.square(self.all_probabilities - self.is_true).sum(axis=1).mean())
        return total / 2 if len(self.all_classes) == 2 else total

    def calibration_error(self) -> float:
        """Expected calibration error: the mean over rows of ``|accuracy - confidence|`` of their bin (Guo et al., 2017,
        eq. 5), the confidence being the largest probability, in ten bins of equal width."""
        confidence = self.probabilities.max(axis=1)
        # Bins are open on the left, as in the paper; rounding may take a confidence a little above 1.
        bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
        gap = np.bincount(bins, (self.predicted == self.y) - confidence, minlength=_BINS)
        return float(np.abs(gap).sum() / len(self.y))

    @property
    def has_roc(self) -> bool:
        """Whether there are two classes, both true of some row."""
        return len(self.all_classes) == 2 and len(np.unique(self.y)) == 2

    def roc_auc(self) -> float:
        """The chance that a row of the upper class has a larger probability of it than one of the lower class; ties
        count half (Fawcett, 2006, section 7).

        Raises
        ------
        ContractError
            If there are not two classes, both true of some row.
        """
        if not self.has_roc:
            raise ContractError(
                f"a ROC curve needs two classes, both true of some row; got {np.unique(self.y).tolist()}"
            )
        scores, upper = self.all_probabilities[:, 1], self.is_true[:, 1]
        low = np.sort(scores[~upper])
        below = np.searchsorted(low, scores[upper], "left") + np.searchsorted(low, scores[upper], "right")
        return float(below.mean() / (2 * len(low)))


def classification_metrics(y: Floats, classes: Floats, probabilities: Floats) -> dict[str, float]:
    """The metrics of a round that tells classes apart, for any number of rows, all finite.

    Parameters
    ----------
    y : (n,)
        The true class of each row.
    classes : (n_classes,), ascending
    probabilities : (n, n_classes), each row sums to 1

    Returns
    -------
    ``accuracy, balanced_accuracy, f1`` (macro)``, log_loss, brier, calibration_error``; ``roc_auc`` if there are two
    classes and both are true of some row. Nothing for no rows.

    Raises
    ------
    ContractError
        As `ClassPredictions` does.

    >>> classification_metrics([0.0, 1.0], [0.0, 1.0], [[0.75, 0.25], [0.75, 0.25]])["accuracy"]
    0.5
    """
    if not np.size(y):
        return {}
    rows = ClassPredictions(y, classes, probabilities)
    metrics = {
        "accuracy": rows.accuracy(),
        "balanced_accuracy": rows.balanced_accuracy(),
        "f1": rows.f1(),
        "log_loss": rows.log_loss(),
        "brier": rows.brier(),
        "calibration_error": rows.calibration_error(),
    }
    return metrics | ({"roc_auc": rows.roc_auc()} if rows.has_roc else {})
