"""Whether a model has seen anything like a candidate: its domain of applicability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from active_learning.selection.scaling import standard_scale

__all__ = ["NEIGHBORS", "novelty"]

Floats = NDArray[np.float64]

NEIGHBORS = 5
SAMPLE = 2_000
"""Of more labeled candidates, as many say how far those lie from each other: enough for a percentile."""
_INSIDE = 95.0
"""Percentage of the labeled candidates that count as inside of the domain that the others span."""
_BLOCK = 1 << 23
"""Distances held in memory at once: 64 MB."""


def novelty(X_labeled: Floats, X: Floats) -> Floats:
    """How far each candidate lies from the labeled ones, beside how far those lie from each other.

    The distance of a candidate is the mean Euclidean distance to its `NEIGHBORS` nearest labeled candidates, in
    features standardized over both; it is divided by the distance within which 95 % of the labeled candidates lie from
    the others (of more than `SAMPLE` as many of them, evenly spaced). Above 1 a candidate is outside of the model's
    domain of applicability: its prediction is an extrapolation, and its std has not been tried on anything like it.

    Parameters
    ----------
    X_labeled : (n_labels, n_features), finite, n_labels >= 2
    X : (n_candidates, n_features), finite

    Returns
    -------
    (n_candidates,), >= 0. Where the labeled candidates all are one point: 0 there, and 2 elsewhere.

    References
    ----------
    Sahigara et al., J. Cheminform. 5, 27 (2013), doi:10.1186/1758-2946-5-27: domains from k nearest neighbors.
    """
    mean, std = standard_scale(np.concatenate([X_labeled, X]))
    Z, Z_labeled = (X - mean) / std, (X_labeled - mean) / std
    k = min(NEIGHBORS, len(Z_labeled) - 1)
    places = np.linspace(0, len(Z_labeled) - 1, min(SAMPLE, len(Z_labeled))).round().astype(np.intp)
    # The nearest of a labeled candidate is itself.
    between = _nearest(Z_labeled[places], Z_labeled, k + 1)[:, 1:].mean(axis=1)
    bound = float(np.percentile(between, _INSIDE))
    distance = _nearest(Z, Z_labeled, k).mean(axis=1)
    if bound > 0:
        return np.asarray(distance / bound)
    return np.where(distance > 0, 2.0, 0.0)


def _nearest(Z: Floats, Z_labeled: Floats, k: int) -> Floats:
    """Distances of each row to the `k` nearest labeled ones, ascending, (n_rows, k)."""
    nearest = np.empty((len(Z), k))
    size = max(1, _BLOCK // len(Z_labeled))
    for start in range(0, len(Z), size):
        distances = cdist(Z[start : start + size], Z_labeled)
        nearest[start : start + size] = np.sort(np.partition(distances, k - 1, axis=1)[:, :k], axis=1)
    return nearest
