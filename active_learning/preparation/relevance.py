"""How much each feature tells about the target, and how alike features are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import mutual_info_regression
from sklearn.model_selection import KFold

from active_learning.preparation.options import RankBy

__all__ = [
    "FEWEST_LABELS",
    "MEASURES",
    "is_constant",
    "mutual_information",
    "permutation_importances",
    "spearman",
    "uncorrelated",
    "unit_columns",
    "usable_measure",
]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

MEASURES: dict[RankBy, str] = {
    "mutual_information": "mutual information",
    "permutation_importance": "permutation importance",
    "correlation": "|Spearman correlation|",
}

FEWEST_LABELS = 20
"""With fewer the estimates of mutual information and permutation importance are mostly noise (and need 4 at least)."""

_FOLDS = 3
_REPEATS = 2
_TREES = 50
_BLOCK = 128
_TILED_VALUES = 10_000_000


def is_constant(X: Floats) -> Flags:
    """(n_features,): the spread of the column is not more than rounding, 1e-10 of its size."""
    spread: Flags = np.ptp(X, axis=0) <= 1e-10 * np.abs(X).max(axis=0)
    return spread


def unit_columns(X: Floats) -> Floats:
    """Columns of mean 0 and length 1, so that ``U.T @ U`` is the Pearson correlation; 0 where a column is constant."""
    centered = X - X.mean(axis=0)
    # The largest first: squares of 1e-200 would vanish.
    for size in (np.abs(centered).max(axis=0), None):
        length = np.sqrt(np.square(centered).sum(axis=0)) if size is None else size
        centered = centered / np.where(length > 0, length, 1.0)
    return np.where(is_constant(X), 0.0, centered)


def spearman(X: Floats, y: Floats) -> Floats:
    """Rank correlation of each column with `y`, (n_features,), -1 to 1; 0 where the column or `y` is constant."""
    values: Floats = unit_columns(_ranks(X)).T @ unit_columns(_ranks(y[:, None]))[:, 0]
    return np.clip(values, -1.0, 1.0)


def _ranks(X: Floats) -> Floats:
    # Rounding has ranks too, which must not count.
    ranks: Floats = rankdata(np.where(is_constant(X), 0.0, X), axis=0)
    return ranks


def mutual_information(X: Floats, y: Floats, *, seed: int) -> Floats:
    """Mutual information of each column and `y` in nats, (n_features,), >= 0: by 3 nearest neighbors, among the ranks.

    Ranks, because mutual information is the same for ``log(a)`` and ``a``, and its estimate from values is not. Columns
    of equal ranks tell exactly the same.

    References
    ----------
    Kraskov, Stögbauer & Grassberger (2004), doi:10.1103/PhysRevE.69.066138.
    """
    columns, values = unit_columns(_ranks(X)), unit_columns(_ranks(y[:, None]))[:, 0]
    told = np.zeros(X.shape[1])
    # One by one, since the estimator adds a trace of noise: the same for each column that comes alone.
    for i in np.flatnonzero(columns.any(axis=0)):
        told[i] = mutual_info_regression(columns[:, [i]], values, random_state=seed)[0]
    return told


def permutation_importances(X: Floats, y: Floats, *, seed: int) -> Floats:
    """How much the squared error of a forest on held-out labels grows when a column is shuffled, (n_features,).

    In variances of `y`; about 0, or a little below, for a column that tells nothing. The mean over 3 folds, each
    with 50 trees trained on the other two, and 2 shuffles. For 1,000 labels one CPU takes 2 s with 132 columns and 10 s
    with 500.

    References
    ----------
    Breiman (2001), doi:10.1023/A:1010933404324, section 10; held-out folds instead of out-of-bag labels.
    """
    ranks, scaled = (_ranks(X) / len(X)).astype(np.float32), (y - y.min()) / np.ptp(y)
    rng = np.random.default_rng(seed)
    growth = np.zeros(X.shape[1])
    for train, test in KFold(_FOLDS, shuffle=True, random_state=seed).split(ranks):
        forest = RandomForestRegressor(
            _TREES, max_features=1 / 3, min_samples_leaf=2, random_state=int(rng.integers(2**31))
        )
        forest.fit(ranks[train], scaled[train])
        error = float(np.square(forest.predict(ranks[test]) - scaled[test]).mean())
        for _ in range(_REPEATS):
            growth += _shuffled_errors(forest, ranks[test], scaled[test], rng.permutation(len(test))) - error
    importances: Floats = growth / (_FOLDS * _REPEATS) / scaled.var()
    return importances


def _shuffled_errors(forest: Any, X: NDArray[np.float32], y: Floats, order: Indices) -> Floats:
    """Mean squared error with each column in turn in another order, (n_features,).

    Many columns are predicted at once: a call of a small forest takes as long as a thousand rows.
    """
    n, n_features = X.shape
    size = min(n_features, max(1, _TILED_VALUES // X.size))
    copies = np.tile(X, (size, 1)).reshape(size, n, n_features)
    errors = []
    for start in range(0, n_features, size):
        columns = np.arange(start, min(start + size, n_features))
        rows = np.arange(len(columns))
        copies[rows, :, columns] = X[order][:, columns].T
        predicted = forest.predict(copies[: len(rows)].reshape(-1, n_features))
        copies[rows, :, columns] = X[:, columns].T
        errors.append(np.square(predicted.reshape(len(rows), n) - y).mean(axis=1))
    return np.concatenate(errors)


def usable_measure(wanted: RankBy, y: Floats) -> tuple[RankBy, str]:
    """The measure that these labels allow, and why it is not the one that was wanted ("" if it is)."""
    if np.ptp(y) <= 1e-10 * np.abs(y).max():
        return "correlation", "All labels are equal: no feature tells more than another, and the first ones are kept."
    if wanted != "correlation" and len(y) < FEWEST_LABELS:
        name = MEASURES["correlation"]
        return "correlation", (
            f"Ranked by {name}: {len(y)} labels are too few for {MEASURES[wanted]}, which needs {FEWEST_LABELS}."
        )
    return wanted, ""


@dataclass(frozen=True, eq=False)
class Uncorrelated:
    """Who stays of some columns.

    Parameters
    ----------
    is_kept : (n_columns,)
    rival : (n_columns,), of a column that goes the kept one most like it; -1 of one that stays
    likeness : (n_columns,), |Pearson correlation| with the rival; 0 of one that stays
    """

    is_kept: Flags
    rival: Indices
    likeness: Floats


def uncorrelated(U: Floats, order: Indices, limit: float) -> Uncorrelated:
    """Walk down `order` and keep each column whose |correlation| with every one kept before is at most `limit`.

    Parameters
    ----------
    U : (n_labels, n_columns), from `unit_columns`
    order : (n_columns,), those first that are worth most
    """
    n = U.shape[1]
    found = Uncorrelated(np.zeros(n, dtype=np.bool_), np.full(n, -1, dtype=np.intp), np.zeros(n))
    kept: list[int] = []
    for start in range(0, n, _BLOCK):
        block = order[start : start + _BLOCK]
        before = len(kept)
        likeness = np.abs(U[:, [*kept, *block]].T @ U[:, block])
        # Rows of the block's own columns count once they are kept.
        counts = np.arange(before + len(block)) < before
        for i, column in enumerate(block):
            rivals = np.where(counts, likeness[:, i], 0.0)
            worst = int(rivals.argmax())
            if rivals[worst] > limit:
                found.rival[column] = kept[worst] if worst < before else block[worst - before]
                found.likeness[column] = min(rivals[worst], 1.0)
            else:
                counts[before + i] = found.is_kept[column] = True
        kept += [int(column) for column in block if found.is_kept[column]]
    return found
