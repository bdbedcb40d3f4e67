"""What a model would have said of its own labels without them, and how good that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from active_learning.domain.class_metrics import classification_metrics
from active_learning.domain.metrics import regression_metrics
from active_learning.domain.models import FittedSurrogate, HasHeldOut, Surrogate
from active_learning.domain.prediction import Prediction

__all__ = ["HeldOut", "cross_validated", "fold_of_each", "held_out", "metrics_of"]

Floats = NDArray[np.float64]
Folds = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of the labels a model was trained on, each by a model that did not see it.

    Parameters
    ----------
    prediction : (n_labels, 1)
    folds : (n_labels,), the fold of each label: what is fitted to these predictions is judged fold by fold, too
    how : "out_of_sample" by the model itself (out-of-bag, leave-one-out), or "folds"
    """

    prediction: Prediction
    folds: Folds
    how: str


def fold_of_each(n_labels: int, n_folds: int, rng: np.random.Generator) -> Folds:
    """The fold of each label, (n_labels,), at random, of equal size but for one."""
    folds = np.empty(n_labels, dtype=np.intp)
    split = KFold(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
    for fold, (_train, test) in enumerate(split.split(folds)):
        folds[test] = fold
    return folds


def held_out(
    surrogate: Surrogate,
    model: FittedSurrogate,
    X: Floats,
    y: Floats,
    *,
    n_folds: int,
    asks_model: bool,
    rng: np.random.Generator,
) -> HeldOut | None:
    """Predict each label without it; None for fewer than two labels a fold.

    Parameters
    ----------
    surrogate, model : what was trained on `X`, `y`, and the model that came out
    X : (n_labels, n_features)
    y : (n_labels,)
    asks_model : whether a model that knows this of itself (`HasHeldOut`) is believed; otherwise, or if it does not
        know, `n_folds` models are trained
    """
    if len(y) < 2 * n_folds:
        return None
    folds = fold_of_each(len(y), n_folds, rng)
    if asks_model and isinstance(model, HasHeldOut) and (known := model.held_out) is not None:
        return HeldOut(known, folds, "out_of_sample")
    return HeldOut(cross_validated(surrogate, X, y, folds, rng=rng), folds, "folds")


def cross_validated(
    surrogate: Surrogate, X: Floats, y: Floats, folds: Folds, *, rng: np.random.Generator
) -> Prediction:
    """What models say of the labels of each fold that were trained on the other folds, (n_labels, 1).

    Parameters
    ----------
    X : (n_labels, n_features)
    y : (n_labels,)
    folds : (n_labels,), 0 to n_folds - 1, each with a label
    rng : handed to one fit after another
    """
    parts = []
    for fold in range(int(folds.max()) + 1):
        is_test = folds == fold
        parts.append(surrogate.fit(X[~is_test], y[~is_test], rng=rng).predict(X[is_test]))
    order = np.argsort(np.argsort(folds, kind="stable"), kind="stable")
    return _joined(parts, order)


def _joined(parts: list[Prediction], order: Folds) -> Prediction:
    """The predictions of all folds, one below the other, in the order of the labels."""
    if parts[0].probabilities is not None:
        return _joined_classes(parts, order)
    return Prediction(
        *(np.concatenate(column)[order] for column in zip(*((p.mean, p.std) for p in parts), strict=True))
    )


def _joined_classes(parts: list[Prediction], order: Folds) -> Prediction:
    """A class that all labels of a fold's training set lack has probability 0 there."""
    known = [(np.asarray(p.classes), np.asarray(p.probabilities)) for p in parts]
    classes = np.unique(np.concatenate([c for c, _ in known]))
    tables = []
    for mine, probabilities in known:
        table = np.zeros((len(probabilities), len(classes)))
        table[:, np.searchsorted(classes, mine)] = probabilities
        tables.append(table)
    return Prediction.of_classes(classes, np.concatenate(tables)[order])


def metrics_of(y: Floats, prediction: Prediction) -> Mapping[str, float]:
    """The metrics of a round on some labels: of a classification if there are probabilities, else of a regression.

    Parameters
    ----------
    y : (n,), what is true of the n rows of `prediction`
    """
    if prediction.probabilities is not None:
        return classification_metrics(y, np.asarray(prediction.classes), prediction.probabilities)
    return regression_metrics(y, prediction.mean[:, 0], prediction.std[:, 0])
