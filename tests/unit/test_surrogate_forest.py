"""The forests as surrogates."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from active_learning.domain.protocols import HasImportances
from active_learning.errors import ContractError
from active_learning.surrogates.forest import ExtraTrees, FittedForest, RandomForest

BOTH = pytest.mark.parametrize(
    ("plug_in", "peer"), [(RandomForest, RandomForestRegressor), (ExtraTrees, ExtraTreesRegressor)]
)


def _data() -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(80, 6))
    return X, 5.0 + X[:, 0] - X[:, 1] * X[:, 2]


def _fit(plug_in: Any, X: Any, y: Any, seed: int = 1, **options: Any) -> Any:
    return plug_in(plug_in.Options(n_trees=25, **options)).fit(X, y, rng=np.random.default_rng(seed))


@BOTH
def test_it_predicts_what_scikit_learn_predicts(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    seed = int(np.random.default_rng(1).integers(2**31))
    reference = peer(n_estimators=25, max_features=0.5, min_samples_leaf=2, random_state=seed)
    low, span = y[:50].min(), np.ptp(y[:50])
    reference.fit(X[:50], (y[:50] - low) / span)
    prediction = _fit(plug_in, X[:50], y[:50], max_features=0.5, min_samples_leaf=2).predict(X)
    np.testing.assert_allclose(prediction.mean[:, 0], low + span * reference.predict(X), rtol=1e-12)
    by_tree = np.stack([tree.predict(X.astype(np.float32)) for tree in reference.estimators_])
    np.testing.assert_allclose(prediction.std[:, 0], span * by_tree.std(axis=0), rtol=1e-9, atol=1e-12)


@BOTH
def test_the_trees_are_behind_mean_and_std(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    model = _fit(plug_in, X, y)
    values, prediction = model.tree_values(X), model.predict(X)
    assert values.shape == (25, 80)
    assert prediction.draws is None
    np.testing.assert_allclose(values.mean(axis=0), prediction.mean[:, 0], rtol=1e-9)
    np.testing.assert_allclose(values.std(axis=0), prediction.std[:, 0], rtol=1e-9, atol=1e-12)


@BOTH
def test_draws_are_trees_none_of_them_twice_before_all_have_come(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    model = _fit(plug_in, X[:50], y[:50])
    values = model.tree_values(X)
    place = {tree.tobytes(): number for number, tree in enumerate(values)}
    assert len(place) == 25
    few, many = (model.draws(X, n, rng=np.random.default_rng(3)) for n in (10, 60))
    assert few.shape == (10, 80)
    assert len({place[draw.tobytes()] for draw in few}) == 10
    drawn = [place[draw.tobytes()] for draw in many]
    assert sorted(drawn[:25]) == sorted(drawn[25:50]) == list(range(25))
    assert drawn[:25] != drawn[25:50]


def test_the_same_state_draws_the_same_trees_whichever_rows_are_asked_for() -> None:
    X, y = _data()
    model = _fit(RandomForest, X, y)
    whole, part = (model.draws(rows, 7, rng=np.random.default_rng(5)) for rows in (X, X[40:41]))
    np.testing.assert_array_equal(whole[:, 40:41], part)
    assert (model.draws(X, 7, rng=np.random.default_rng(6)) != whole).any()


def test_no_draws_cannot_be_asked_for() -> None:
    X, y = _data()
    with pytest.raises(ContractError, match="cannot draw 0 functions"):
        _fit(RandomForest, X, y).draws(X, 0, rng=np.random.default_rng(0))


@BOTH
def test_the_number_of_threads_does_not_change_the_result(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    one, two = (_fit(plug_in, X, y, n_jobs=n).predict(X) for n in (1, 2))
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.std, two.std)


@BOTH
def test_another_seed_gives_another_forest(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    assert (_fit(plug_in, X[:40], y[:40], 1).predict(X).mean != _fit(plug_in, X[:40], y[:40], 2).predict(X).mean).any()


@BOTH
@pytest.mark.parametrize("unit", [2.0**-40, 2.0**30])  # powers of two, so that no rounding decides between equal splits
def test_the_unit_of_the_target_does_not_matter(plug_in: Any, peer: Any, unit: float) -> None:
    X, y = _data()
    plain, scaled = _fit(plug_in, X, y).predict(X), _fit(plug_in, X, y * unit).predict(X)
    np.testing.assert_allclose(scaled.mean, plain.mean * unit, rtol=1e-12)
    np.testing.assert_allclose(scaled.std, plain.std * unit, rtol=1e-12)


def test_scikit_learn_alone_does_not_learn_labels_of_1e_minus_9() -> None:
    X, y = _data()
    alone = RandomForestRegressor(n_estimators=5, random_state=0).fit(X, y * 1e-9)
    assert all(tree.get_depth() <= 1 for tree in alone.estimators_)


@BOTH
def test_a_constant_target_is_met_exactly_and_with_certainty(plug_in: Any, peer: Any) -> None:
    X, _y = _data()
    model = _fit(plug_in, X, np.full(80, 0.1))
    np.testing.assert_array_equal(model.predict(X).mean, 0.1)
    np.testing.assert_array_equal(model.predict(X).std, 0.0)
    np.testing.assert_array_equal(model.importances, 0.0)


@BOTH
def test_importances_find_the_features_that_matter(plug_in: Any, peer: Any) -> None:
    X, _y = _data()
    model = _fit(plug_in, X, 10 * X[:, 4])
    assert isinstance(model, HasImportances)
    assert model.importances.argmax() == 4
    assert model.importances.sum() == pytest.approx(1.0)


def test_a_trained_forest_is_frozen() -> None:
    model = _fit(RandomForest, *_data())
    with pytest.raises(dataclasses.FrozenInstanceError, match="low"):
        model.low = 0.0


def test_a_feature_beyond_32_bits_is_refused_and_its_place_named() -> None:
    X, y = _data()
    X[3, 1] = 1e39
    with pytest.raises(ContractError, match=r"1e\+39 in row 3, column 1"):
        _fit(RandomForest, X, y)


def test_features_of_one_candidate_alone_are_refused() -> None:
    X, y = _data()
    with pytest.raises(ContractError, match=r"\(n_candidates, n_features\), got \(6,\)"):
        _fit(RandomForest, X, y).predict(X[0])


@pytest.mark.parametrize("accepted", [1.0, 0.333, "sqrt", None])
def test_max_features_may_be_a_fraction_sqrt_or_none(accepted: Any) -> None:
    assert _fit(RandomForest, *_data(), max_features=accepted).predict(_data()[0]).mean.shape == (80, 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_features", 0.0), ("max_features", 1.5), ("n_trees", 1), ("min_samples_leaf", 0), ("n_jobs", 0)],
)
def test_options_out_of_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=key):
        RandomForest.Options(**{key: value})


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="n_estimators"):
        ExtraTrees.Options(**{"n_estimators": 5})


def test_accuracy_is_the_default() -> None:
    options = RandomForest.Options()
    assert (options.bootstrap, ExtraTrees.Options().bootstrap, options.uncertainty) == (True, False, "spread")
    assert (options.n_trees, options.max_features, options.min_samples_leaf, options.n_jobs) == (300, 1.0, 1, None)


@pytest.mark.parametrize(("plug_in", "n_jobs"), [(RandomForest, None), (ExtraTrees, 2)])
def test_a_forest_travels_to_another_process_as_a_file(plug_in: Any, n_jobs: Any, tmp_path: Path) -> None:
    X, y = _data()
    model = _fit(plug_in, X[:50], y[:50], n_jobs=n_jobs)
    np.savez(tmp_path / "model.npz", **model.to_arrays())
    np.save(tmp_path / "X.npy", X)
    code = """
import sys
import numpy as np
from active_learning.surrogates.forest import FittedForest
with np.load("model.npz", allow_pickle=False) as file:
    model = FittedForest.from_arrays(dict(file))
prediction = model.predict(np.load("X.npy", allow_pickle=False))
np.savez("found.npz", mean=prediction.mean, std=prediction.std)
print(model.n_jobs)
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(n_jobs)
    with np.load(tmp_path / "found.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["mean"], model.predict(X).mean)
        np.testing.assert_array_equal(found["std"], model.predict(X).std)


@BOTH
def test_a_forest_that_has_traveled_draws_and_weighs_features_as_before(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    model = _fit(plug_in, X, y)
    again = FittedForest.from_arrays(model.to_arrays())
    np.testing.assert_array_equal(again.tree_values(X), model.tree_values(X))
    np.testing.assert_array_equal(again.importances, model.importances)


@BOTH
def test_a_row_has_the_same_prediction_to_the_last_digit_in_any_company(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    model = _fit(plug_in, X[:50], y[:50])
    whole = model.predict(np.tile(X, (30, 1)))
    for row in (0, 33, 79):
        alone = model.predict(X[row : row + 1])
        np.testing.assert_array_equal(whole.mean[row::80], np.tile(alone.mean, (30, 1)))
        np.testing.assert_array_equal(whole.std[row::80], np.tile(alone.std, (30, 1)))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"importances": None}, "hold importances and one number each of low, span and n_jobs; there are feature"),
        ({"low": np.zeros(2)}, r"low \(2,\)"),
        ({"span": np.array(np.nan)}, "must be finite"),
        ({"importances": np.zeros((6, 1))}, r"\(n_features,\) importances"),
        ({"importances": np.zeros(3)}, "a tree looks at feature 5; there are 3, counted from 0"),
        ({"left": np.zeros(0, np.uint32)}, "these arrays are no trees"),
    ],
)
def test_a_damaged_file_is_refused(changes: dict[str, Any], fault: str) -> None:
    arrays = {**_fit(RandomForest, *_data()).to_arrays(), **changes}
    with pytest.raises(ContractError, match=fault):
        FittedForest.from_arrays({name: array for name, array in arrays.items() if array is not None})
