"""Write down what a preparation did."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from active_learning.preparation.choosing import Choice
from active_learning.preparation.record import CorrelationMap, Filled, PreparationRecord
from active_learning.preparation.relevance import spearman, unit_columns

__all__ = ["MOST_SHOWN", "correlation_map", "record_of"]

Floats = NDArray[np.float64]

MOST_SHOWN = 40
"""Features of a correlation map at most: more names cannot be read."""

_DROPPED_SHOWN = 12


def correlation_map(X: Floats, names: tuple[str, ...]) -> CorrelationMap:
    """Pearson correlations of columns, rounded to 4 digits; 0 with a constant one.

    Parameters
    ----------
    X : (n_labels, n), finite
    """
    U = unit_columns(X)
    values = np.clip(U.T @ U, -1.0, 1.0).round(4) + 0.0
    return CorrelationMap(names, tuple(tuple(map(float, row)) for row in values))


def record_of(
    choice: Choice, kept: tuple[str, ...], names: tuple[str, ...], X: Floats, y: Floats, filled: Mapping[str, Filled]
) -> PreparationRecord:
    """The record of a choice.

    Parameters
    ----------
    kept : names of the kept columns
    names, X : of the given features, missing values filled in
    """
    correlations = dict(zip((names[i] for i in choice.varied), spearman(X[:, choice.varied], y), strict=True))
    correlations |= zip(kept, spearman(choice.values, y), strict=True)
    order = np.argsort(-(choice.told if choice.measure else np.abs(spearman(choice.values, y))), kind="stable")
    return PreparationRecord(
        n_labels=len(y),
        n_given=len(names),
        kept=kept,
        measure=choice.measure,
        values={kept[i]: round(float(choice.told[i]), 6) for i in order} if choice.measure else {},
        dropped={names[i]: choice.dropped[i] for i in sorted(choice.dropped)},
        n_combinations=choice.n_combinations,
        combinations_dropped={kind: n for kind, n in choice.combinations_dropped.items() if n},
        filled=dict(filled),
        target_correlations={name: round(float(r), 4) + 0.0 for name, r in correlations.items()},
        correlations=_map(choice, kept, names, X, y, order),
        notes=choice.notes,
    )


def _map(
    choice: Choice, kept: tuple[str, ...], names: tuple[str, ...], X: Floats, y: Floats, order: NDArray[np.intp]
) -> CorrelationMap:
    gone = np.array([i for i in choice.varied if int(i) in choice.dropped], dtype=np.intp)
    gone = gone[np.argsort(-np.abs(spearman(X[:, gone], y)), kind="stable")]
    shown = order[: MOST_SHOWN - min(len(gone), _DROPPED_SHOWN)]
    gone = gone[: MOST_SHOWN - len(shown)]
    columns = np.concatenate([choice.values[:, shown], X[:, gone]], axis=1)
    return correlation_map(columns, (*(kept[i] for i in shown), *(names[i] for i in gone)))
