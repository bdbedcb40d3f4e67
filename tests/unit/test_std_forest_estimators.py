"""The scikit-learn style forests whose predict takes return_std."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from active_learning.surrogates import estimators
from active_learning.surrogates.estimators import StdExtraTreesRegressor, StdRandomForestRegressor

BOTH = [(StdRandomForestRegressor, RandomForestRegressor), (StdExtraTreesRegressor, ExtraTreesRegressor)]

# A bootstrap draws rows, not weights. scikit-learn excuses its own RandomForestRegressor from these two for the same
# reason; without the bootstrap ours passes all of them.
BOOTSTRAP_DRAWS_ROWS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "sample_weight is not equal to repeating rows"
    for kind in ("dense", "sparse")
}


def _data(n_rows: int = 60) -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(n_rows, 5))
    return X, X[:, 0] ** 2 + X[:, 1]


@pytest.mark.parametrize(
    ("estimator", "excused"),
    [
        (StdRandomForestRegressor(n_estimators=5), BOOTSTRAP_DRAWS_ROWS),
        (StdRandomForestRegressor(n_estimators=5, bootstrap=False), {}),
        (StdExtraTreesRegressor(n_estimators=5), {}),
    ],
    ids=["random_forest", "random_forest_without_bootstrap", "extra_trees"],
)
# "Can't check dok sparse matrix" and the like: scikit-learn tells of checks that scipy has no means for.
@pytest.mark.filterwarnings("ignore:.*Can't check.*sparse:UserWarning")
def test_every_check_that_scikit_learn_has_for_estimators_passes(estimator: Any, excused: dict[str, str]) -> None:
    results = check_estimator(estimator, expected_failed_checks=excused, on_skip=None)
    assert len(results) > 40
    assert {r["check_name"] for r in results if r["status"] == "failed"} == set()


@pytest.mark.parametrize(("ours", "parent"), BOTH)
def test_the_mean_is_what_the_parent_predicts(ours: Any, parent: Any) -> None:
    X, y = _data()
    expected = parent(n_estimators=30, random_state=3).fit(X[:40], y[:40]).predict(X)
    model = ours(n_estimators=30, random_state=3).fit(X[:40], y[:40])
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), model.predict(X, return_std=True)[0])


@pytest.mark.parametrize(("ours", "parent"), BOTH)
def test_the_std_is_the_spread_of_the_trees(ours: Any, parent: Any) -> None:
    X, y = _data()
    model = ours(n_estimators=30, random_state=3).fit(X[:40], y[:40])
    by_tree = np.stack([tree.predict(X.astype(np.float32)) for tree in model.estimators_])
    np.testing.assert_allclose(model.predict(X, return_std=True)[1], by_tree.std(axis=0), rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(model.predict_trees(X)[:, :, 0], by_tree)


@pytest.mark.parametrize(("ours", "parent"), BOTH)
def test_threads_do_not_change_a_digit(ours: Any, parent: Any) -> None:
    X, y = _data()
    one, two = (ours(n_estimators=30, random_state=3, n_jobs=n).fit(X, y) for n in (1, 2))
    for a, b in zip(one.predict(X, return_std=True), two.predict(X, return_std=True), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.feature_importances_, two.feature_importances_)


def test_blocks_of_rows_join_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _data()
    model = StdRandomForestRegressor(n_estimators=10, random_state=0).fit(X, y)
    whole = model.predict(X, return_std=True)
    trees = model.predict_trees(X)
    monkeypatch.setattr(estimators, "_BLOCK_ROWS", 7)
    for a, b in zip(model.predict(X, return_std=True), whole, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.predict_trees(X), trees)


def test_the_std_is_exactly_zero_where_all_trees_agree() -> None:
    X, _y = _data()
    _mean, std = StdExtraTreesRegressor(n_estimators=7, random_state=0).fit(X, np.full(60, 0.1)).predict(X, True)
    np.testing.assert_array_equal(std, 0.0)


def test_two_outputs_have_two_stds() -> None:
    X, y = _data()
    model = StdRandomForestRegressor(n_estimators=10, random_state=0).fit(X, np.column_stack([y, -2 * y]))
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (60, 2)
    np.testing.assert_allclose(std[:, 1], 2 * std[:, 0], rtol=1e-9)


def test_sparse_features_give_what_dense_ones_give() -> None:
    X, y = _data()
    model = StdRandomForestRegressor(n_estimators=10, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(sp.csr_matrix(X)), model.predict(X))


def test_a_clone_predicts_the_same() -> None:
    X, y = _data()
    model = StdExtraTreesRegressor(n_estimators=10, random_state=0, min_samples_leaf=3)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), model.fit(X, y).predict(X))


def test_an_untrained_forest_says_so() -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        StdRandomForestRegressor().predict(np.ones((2, 2)), return_std=True)
