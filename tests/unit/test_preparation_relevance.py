"""How much features tell, and how alike they are, beside independent references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import KFold

from active_learning.preparation import relevance
from active_learning.preparation.relevance import (
    is_constant,
    mutual_information,
    permutation_importances,
    spearman,
    uncorrelated,
    unit_columns,
    usable_measure,
)


def _data(n: int = 120, n_features: int = 6) -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(n, n_features))
    return X, X[:, 0] + 2.0 * X[:, 1] ** 2 + 0.1 * rng.normal(size=n)


def test_unit_columns_give_the_correlations_of_pandas() -> None:
    X, _y = _data()
    X[:, 3] = 1e8 + X[:, 3]
    X[:, 4] *= 1e-200
    U = unit_columns(X)
    np.testing.assert_allclose(U.T @ U, np.corrcoef(unit_columns(X), rowvar=False), atol=1e-12)
    reference = pd.DataFrame(np.delete(X, 4, axis=1)).corr().to_numpy()
    np.testing.assert_allclose(np.delete(np.delete(U.T @ U, 4, 0), 4, 1), reference, atol=1e-7)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([0.0, 0.0, 0.0], True),
        ([0.1 + 0.2, 0.3, 0.3], True),
        ([1e12, 1e12 + 1, 1e12], True),
        ([1e-300, 0.0, 0.0], False),
        ([1.0, 1.0 + 1e-9, 1.0], False),
    ],
)
def test_a_column_is_constant_if_its_spread_is_rounding(column: Any, expected: bool) -> None:
    X = np.array(column)[:, None]
    assert is_constant(X).tolist() == [expected]
    assert bool(unit_columns(X).any()) is not expected


def test_rank_correlations_are_those_of_scipy_with_ties() -> None:
    X, y = _data()
    X, y = X.round(1), y.round(0)
    reference = [spearmanr(column, y).statistic for column in X.T]
    np.testing.assert_allclose(spearman(X, y), reference, atol=1e-12)


def test_noise_of_rounding_has_no_rank() -> None:
    y = np.arange(10.0)
    assert spearman(1e6 * (1 + 1e-15 * y)[:, None], y).tolist() == [0.0]
    assert mutual_information(1e6 * (1 + 1e-15 * np.arange(40.0))[:, None], np.arange(40.0), seed=0).tolist() == [0.0]


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_mutual_information_of_normal_numbers_is_that_of_the_formula(correlation: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 1))
    y = correlation * X[:, 0] + np.sqrt(1 - correlation**2) * rng.normal(size=3000)
    exact = -0.5 * np.log(1 - correlation**2)
    assert mutual_information(X, y, seed=0)[0] == pytest.approx(exact, abs=0.04)


def test_mutual_information_does_not_know_the_unit_nor_the_scale() -> None:
    X, y = _data()
    same = np.column_stack([X[:, 1], np.exp(X[:, 1]), 1e-9 * X[:, 1] + 5, X[:, 1] ** 3])
    told = mutual_information(same, y, seed=0)
    np.testing.assert_array_equal(told, told[0])
    np.testing.assert_array_equal(mutual_information(X, np.exp(y), seed=0), mutual_information(X, y, seed=0))


def test_permutation_importances_agree_with_scikit_learn() -> None:
    X, y = _data(200)
    ours = permutation_importances(X, y, seed=0)
    reference = np.zeros(6)
    for train, test in KFold(3, shuffle=True, random_state=0).split(X):
        forest = RandomForestRegressor(50, max_features=1 / 3, min_samples_leaf=2, random_state=1)
        forest.fit(X[train], y[train])
        found = permutation_importance(
            forest, X[test], y[test], scoring="neg_mean_squared_error", n_repeats=10, random_state=2
        )
        reference += found.importances_mean / 3 / y.var()
    np.testing.assert_allclose(ours, reference, atol=0.12)
    assert ours[1] > ours[0] > 0.05 > np.abs(ours[2:]).max()


def test_columns_shuffled_many_at_once_or_one_by_one_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _data(60)
    whole = permutation_importances(X, y, seed=0)
    monkeypatch.setattr(relevance, "_TILED_VALUES", 500)
    np.testing.assert_allclose(permutation_importances(X, y, seed=0), whole, rtol=1e-12)


def test_the_unit_of_target_and_features_does_not_change_permutation_importances() -> None:
    X, y = _data(60)
    np.testing.assert_array_equal(
        permutation_importances(X * 2.0**-40, y * 2.0**-40, seed=0), permutation_importances(X, y, seed=0)
    )


def _slow_walk(U: Any, order: Any, limit: float) -> list[int]:
    kept: list[int] = []
    for column in order:
        if all(abs(U[:, other] @ U[:, column]) <= limit for other in kept):
            kept.append(int(column))
    return sorted(kept)


@pytest.mark.parametrize("limit", [0.3, 0.6, 0.95])
def test_the_walk_in_blocks_keeps_what_a_walk_one_by_one_keeps(limit: float) -> None:
    rng = np.random.default_rng(1)
    U = unit_columns(rng.normal(size=(40, 8)) @ rng.normal(size=(8, 400)) + 0.5 * rng.normal(size=(40, 400)))
    order = rng.permutation(400)
    found = uncorrelated(U, order, limit)
    assert np.flatnonzero(found.is_kept).tolist() == _slow_walk(U, order, limit)
    gone = np.flatnonzero(~found.is_kept)
    assert found.is_kept[found.rival[gone]].all()
    np.testing.assert_allclose(found.likeness[gone], np.abs(np.einsum("ij,ij->j", U[:, gone], U[:, found.rival[gone]])))
    place = np.argsort(order)
    assert (place[found.rival[gone]] < place[gone]).all()
    assert (found.rival[found.is_kept] == -1).all()


def test_a_measure_that_the_labels_allow_is_used_as_it_was_wanted() -> None:
    assert usable_measure("mutual_information", np.arange(20.0)) == ("mutual_information", "")
    assert usable_measure("correlation", np.arange(2.0)) == ("correlation", "")
    assert usable_measure("permutation_importance", np.arange(19.0))[0] == "correlation"
