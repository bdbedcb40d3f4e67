"""Train on what is known: the model and its cross-validated metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from active_learning.domain.label import Label
from active_learning.domain.metrics import regression_metrics
from active_learning.domain.protocols import FittedSurrogate, HasImportances, Surrogate
from active_learning.domain.seeds import rng_for
from active_learning.engine.feature_file import FeatureFile
from active_learning.preparation.surrogate import PreparedModel

__all__ = ["FOLDS", "Learned", "known_rows", "learn"]

Floats = NDArray[np.float64]

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained model and what is known of it. `rows` are those of the labeled candidates, ascending."""

    model: FittedSurrogate
    rows: NDArray[np.intp]
    X: Floats
    y: Floats
    metrics: Mapping[str, float]
    out_of_fold: Mapping[str, tuple[float, float]]
    importances: Mapping[str, float]
    preparation: Mapping[str, Any] | None


def known_rows(features: FeatureFile, labels: tuple[Label, ...]) -> tuple[NDArray[np.intp], Floats]:
    """Rows of the labeled candidates, ascending, and their values: the order of arrival must not matter."""
    pairs = sorted((features.ids.row(x.candidate_id), x.value) for x in labels if x.candidate_id in features.ids)
    return np.array([row for row, _ in pairs], dtype=np.intp), np.array([value for _, value in pairs])


def learn(
    surrogate: Surrogate, features: FeatureFile, labels: tuple[Label, ...], *, seed: int, round_number: int
) -> Learned:
    """Train on all labels, and cross-validate."""
    rows, y = known_rows(features, labels)
    X = features.rows(rows)
    model = surrogate.fit(X, y, rng=rng_for(seed, round_number, "fit"))
    metrics, held_out = _cross_validated(surrogate, X, y, seed, round_number)
    importances = model.importances if isinstance(model, HasImportances) else ()
    prepared = model.preparation if isinstance(model, PreparedModel) else None
    names = features.names if prepared is None else prepared.names
    return Learned(
        model=model,
        rows=rows,
        X=X,
        y=y,
        metrics=metrics,
        out_of_fold={features.ids[row]: pair for row, pair in zip(rows, held_out, strict=False)},
        importances={name: float(v) for name, v in zip(names, importances, strict=False)},
        preparation=None if prepared is None else prepared.record.to_json(),
    )


def _cross_validated(
    surrogate: Surrogate, X: Floats, y: Floats, seed: int, round_number: int
) -> tuple[dict[str, float], list[tuple[float, float]]]:
    """Metrics, and (mean, std) of each label by a model that did not see it; empty for fewer than 2 * FOLDS labels."""
    if len(y) < 2 * FOLDS:
        return {}, []
    rng = rng_for(seed, round_number, "folds")
    mean, std = np.empty_like(y), np.empty_like(y)
    for train, test in KFold(FOLDS, shuffle=True, random_state=int(rng.integers(2**31))).split(X):
        prediction = surrogate.fit(X[train], y[train], rng=rng).predict(X[test])
        mean[test], std[test] = prediction.mean[:, 0], prediction.std[:, 0]
    return regression_metrics(y, mean, std), [(float(m), float(s)) for m, s in zip(mean, std, strict=True)]
