"""The laws of a surrogate, as tests: subclass `SurrogateContract` and override its fixture `surrogate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.domain.protocols import FittedSurrogate, HasImportances, Portable, Surrogate
from active_learning.errors import ContractError

__all__ = ["SurrogateContract"]

Floats = NDArray[np.float64]


def _data(n_rows: int = 40, n_features: int = 4) -> tuple[Floats, Floats]:
    X = np.random.default_rng(0).normal(size=(n_rows, n_features))
    return X, 3.0 + X[:, 0] - 2.0 * X[:, 1] ** 2


class SurrogateContract:
    """What every surrogate promises."""

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        """The surrogate under test."""
        raise NotImplementedError("override the fixture `surrogate`")

    @pytest.fixture
    def fit(self, surrogate: Surrogate) -> Callable[..., FittedSurrogate]:
        """Train on (X, y) with a generator of the given seed."""

        def fit(X: Floats, y: Floats, seed: int = 1) -> FittedSurrogate:
            return surrogate.fit(X, y, rng=np.random.default_rng(seed))

        return fit

    def test_it_predicts_one_mean_and_one_std_for_each_row(self, fit: Any) -> None:
        X, y = _data()
        prediction = fit(X[:30], y[:30]).predict(X)
        assert prediction.mean.shape == prediction.std.shape == (40, 1)
        assert (prediction.std >= 0).all()

    def test_it_learns_more_than_the_mean_of_the_labels(self, fit: Any) -> None:
        X, y = _data(120)
        mean = fit(X[:100], y[:100]).predict(X[100:]).mean[:, 0]
        assert np.abs(mean - y[100:]).mean() < np.abs(y[:100].mean() - y[100:]).mean()

    def test_the_same_data_and_seed_give_the_same_predictions(self, fit: Any) -> None:
        X, y = _data()
        first, second = fit(X, y).predict(X), fit(X.copy(), y.copy()).predict(X)
        np.testing.assert_array_equal(first.mean, second.mean)
        np.testing.assert_array_equal(first.std, second.std)

    def test_numpys_global_random_state_plays_no_part(self, fit: Any) -> None:
        X, y = _data()
        before = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
        first = fit(X, y).predict(X)
        np.testing.assert_array_equal(before, np.random.get_state(legacy=False)["state"]["key"])  # noqa: NPY002
        np.random.seed(12345)  # noqa: NPY002
        np.testing.assert_array_equal(first.mean, fit(X, y).predict(X).mean)

    def test_a_second_training_leaves_the_first_model_as_it_was(self, fit: Any) -> None:
        X, y = _data()
        model = fit(X, y)
        before = model.predict(X).mean
        fit(X[:10], -y[:10])
        np.testing.assert_array_equal(model.predict(X).mean, before)

    def test_the_data_are_left_as_they_were(self, fit: Any) -> None:
        X, y = _data()
        X_before, y_before = X.copy(), y.copy()
        fit(X, y).predict(X)
        np.testing.assert_array_equal(X, X_before)
        np.testing.assert_array_equal(y, y_before)

    def test_a_prediction_depends_on_its_own_row_only(self, fit: Any) -> None:
        X, y = _data()
        model = fit(X[:30], y[:30])
        whole = model.predict(X)
        np.testing.assert_allclose(model.predict(X[35:]).mean, whole.mean[35:], rtol=1e-9)
        np.testing.assert_allclose(model.predict(X[::-1]).mean[::-1], whole.mean, rtol=1e-9)

    def test_two_labels_are_enough(self, fit: Any) -> None:
        X, y = _data(2)
        assert len(fit(X, y).predict(X)) == 2

    def test_a_constant_target_is_predicted(self, fit: Any) -> None:
        X, _y = _data()
        np.testing.assert_allclose(fit(X, np.full(40, -1.7)).predict(X).mean, -1.7, rtol=1e-6)

    def test_equal_rows_with_different_labels_are_accepted(self, fit: Any) -> None:
        X, y = np.ones((6, 3)), np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
        assert np.isfinite(fit(X, y).predict(X).mean).all()

    def test_no_candidates_have_no_predictions(self, fit: Any) -> None:
        X, y = _data()
        assert fit(X, y).predict(X[:0]).mean.shape == (0, 1)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_a_feature_that_is_not_finite_is_refused_and_its_row_named(self, fit: Any, bad: float) -> None:
        X, y = _data()
        wrong = X.copy()
        wrong[7, 2] = bad
        with pytest.raises(ContractError, match="row 7"):
            fit(wrong, y)
        with pytest.raises(ContractError, match="row 7"):
            fit(X, y).predict(wrong)

    def test_a_label_that_is_not_finite_is_refused_and_its_row_named(self, fit: Any) -> None:
        X, y = _data()
        y[5] = np.nan
        with pytest.raises(ContractError, match="row 5"):
            fit(X, y)

    def test_another_number_of_features_is_refused(self, fit: Any) -> None:
        X, y = _data()
        with pytest.raises(ContractError, match="3 features"):
            fit(X, y).predict(X[:, :3])

    def test_no_labels_are_refused(self, fit: Any) -> None:
        X, y = _data()
        with pytest.raises(ContractError, match="no labels"):
            fit(X[:0], y[:0])

    def test_a_label_short_is_refused(self, fit: Any) -> None:
        X, y = _data()
        with pytest.raises(ContractError, match="each of the 40 rows"):
            fit(X, y[:-1])

    def test_importances_if_known_are_shares(self, fit: Any) -> None:
        X, y = _data()
        model = fit(X, y)
        if not isinstance(model, HasImportances):
            pytest.skip("this model knows no importances")
        assert model.importances.shape == (4,)
        assert (model.importances >= 0).all()
        assert model.importances.sum() == pytest.approx(1.0)

    def test_a_model_that_can_travel_predicts_exactly_the_same_after_a_file(self, fit: Any, tmp_path: Path) -> None:
        X, y = _data()
        model = _portable(fit(X[:30], y[:30]))
        np.savez(tmp_path / "model.npz", **model.to_arrays())
        with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
            again = type(model).from_arrays({name: file[name] for name in file.files})
        for rows in (X, X[:1], X[:0]):
            expected, found = model.predict(rows), again.predict(rows)
            np.testing.assert_array_equal(found.mean, expected.mean)
            np.testing.assert_array_equal(found.std, expected.std)
        assert isinstance(again, HasImportances) == isinstance(model, HasImportances)
        if isinstance(model, HasImportances):
            np.testing.assert_array_equal(again.importances, model.importances)

    def test_a_model_that_has_traveled_travels_on_unchanged(self, fit: Any) -> None:
        model = _portable(fit(*_data()))
        first = model.to_arrays()
        second = type(model).from_arrays(first).to_arrays()
        assert first.keys() == second.keys()
        for name, array in first.items():
            assert not array.dtype.hasobject
            assert array.dtype == second[name].dtype
            np.testing.assert_array_equal(array, second[name])


def _portable(model: Any) -> Any:
    if not isinstance(model, Portable):
        pytest.skip("this model cannot be written down")
    return model
