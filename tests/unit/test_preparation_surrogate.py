"""A surrogate whose features are prepared inside each fit: honest, and able to do what the surrogate can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import HasImportances, Portable, Surrogate
from active_learning.errors import ContractError
from active_learning.preparation.fitting import Preparation
from active_learning.preparation.options import PreparationOptions
from active_learning.preparation.surrogate import PreparedModel, PreparedSurrogate, prepared
from active_learning.surrogates.forest import ExtraTrees, RandomForest
from active_learning.testing.surrogates import SurrogateContract

NAN = float("nan")
FOREST = RandomForest(RandomForest.Options(n_trees=20, n_jobs=1))


def _names(n: int) -> list[str]:
    return [f"f{i}" for i in range(n)]


def _surrogate(inner: Surrogate, n_features: int, *, impute: bool = False, **options: Any) -> PreparedSurrogate:
    return PreparedSurrogate(inner, Preparation(PreparationOptions(**options), impute=impute), _names(n_features))


def _fit(inner: Surrogate, X: Any, y: Any, *, seed: int = 1, **options: Any) -> PreparedModel:
    return _surrogate(inner, X.shape[1], **options).fit(X, y, rng=np.random.default_rng(seed))


def _data(n: int = 80, n_features: int = 6) -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(n, n_features))
    return X, X[:, 0] + X[:, 1] * X[:, 2]


@dataclass(frozen=True, eq=False)
class Line:
    """A straight line that can be written down, whose draws are two and the same."""

    weights: Any

    def predict(self, X: Any) -> Prediction:
        mean = (np.column_stack([np.ones(len(X)), X]) @ self.weights)[:, None]
        return Prediction(mean, np.zeros_like(mean), np.stack([mean, mean]))

    def to_arrays(self) -> Mapping[str, Any]:
        return {"weights": self.weights}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        return cls(arrays["weights"])


class Lines:
    """Least squares."""

    def fit(self, X: Any, y: Any, *, rng: np.random.Generator) -> Line:
        model = LinearRegression().fit(X, y)
        return Line(np.concatenate([[model.intercept_], model.coef_]))


class _AnyWidth:
    """The suite trains on three features and on four."""

    def fit(self, X: Any, y: Any, *, rng: np.random.Generator) -> Any:
        n = X.shape[1] if np.ndim(X) == 2 else 1
        # Trees with random splits, so that no two of four features are mistaken for each other.
        inner = ExtraTrees(ExtraTrees.Options(n_trees=20, n_jobs=1))
        return _surrogate(inner, n, drop_constant=True, max_correlation=0.999, keep=50).fit(X, y, rng=rng)


class TestPreparedSurrogate(SurrogateContract):
    @pytest.fixture
    def surrogate(self) -> Surrogate:
        return _AnyWidth()


def test_without_anything_to_do_the_surrogate_is_itself() -> None:
    assert prepared(FOREST, Preparation(PreparationOptions(), impute=False), _names(3)) is FOREST
    wrapped = prepared(FOREST, Preparation(PreparationOptions(), impute=True), _names(3))
    assert isinstance(wrapped, PreparedSurrogate)


def test_it_predicts_what_the_surrogate_predicts_from_prepared_columns() -> None:
    X, y = _data()
    options = PreparationOptions(polynomial=2, keep=4, max_correlation=0.9)
    model = _fit(FOREST, X, y, polynomial=2, keep=4, max_correlation=0.9)
    rng = np.random.default_rng(1)
    fitted = Preparation(options, impute=False).fit(X, y, names=_names(6), rng=rng)
    reference = FOREST.fit(fitted.transform(X), y, rng=rng).predict(fitted.transform(X))
    np.testing.assert_array_equal(model.predict(X).mean, reference.mean)
    np.testing.assert_array_equal(model.predict(X).std, reference.std)
    assert model.preparation.names == fitted.names


def test_importances_are_of_the_prepared_columns() -> None:
    X, y = _data(300)
    model = _fit(FOREST, X, y, polynomial=2, keep=4)
    assert isinstance(model, HasImportances)
    named = dict(zip(model.importance_names, model.importances, strict=True))
    assert set(sorted(named, key=lambda name: -named[name])[:2]) == {"f0", "f1 * f2"}
    assert sum(named.values()) == pytest.approx(1.0)


def test_it_claims_only_what_the_inner_model_can() -> None:
    X, y = _data()
    line, forest = _fit(Lines(), X, y, keep=3), _fit(FOREST, X, y, keep=3)
    assert isinstance(line, PreparedModel)
    assert isinstance(forest, PreparedModel)
    assert not isinstance(line, HasImportances)
    assert isinstance(line, Portable)
    assert isinstance(forest, HasImportances)
    assert isinstance(forest, Portable) is isinstance(forest.model, Portable)


def test_a_model_survives_being_written_down_as_arrays() -> None:
    X, y = _data()
    X[4, 2] = NAN
    model = _fit(Lines(), X, y, polynomial=2, keep=5, impute=True)
    assert isinstance(model, Portable)
    arrays = {key: np.array(array) for key, array in model.to_arrays().items()}
    assert not [key for key, array in arrays.items() if array.dtype.hasobject]
    again = type(model).from_arrays(arrays)
    np.testing.assert_array_equal(again.predict(X).mean, model.predict(X).mean)
    assert again.preparation.record == model.preparation.record


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere:Model", "cannot be imported here"), ("os:system", "is not the class of a trained")]
)
def test_arrays_that_name_another_class_are_refused(name: str, message: str) -> None:
    X, y = _data()
    model = _fit(Lines(), X, y, keep=2)
    assert isinstance(model, Portable)
    with pytest.raises(ContractError, match=message):
        type(model).from_arrays({**model.to_arrays(), "class": np.array(name)})


def test_a_large_pool_is_predicted_in_blocks_and_the_bad_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _data()
    model = _fit(Lines(), X, y, polynomial=2, keep=5)
    whole = model.predict(X)
    monkeypatch.setattr("active_learning.preparation.surrogate._BLOCK_VALUES", 60)
    blocks = model.predict(X)
    np.testing.assert_allclose(blocks.mean, whole.mean, rtol=1e-12)
    assert blocks.draws is not None
    assert blocks.draws.shape == (2, 80, 1)
    assert model.predict(X[:0]).mean.shape == (0, 1)
    X[63, 1] = NAN
    with pytest.raises(ContractError, match="row 63"):
        model.predict(X)


def test_missing_values_of_candidates_are_filled_in_by_the_labels() -> None:
    X, y = _data()
    model = _fit(FOREST, X, y, impute=True)
    hole, filled = X.copy(), X.copy()
    hole[5, 0], filled[5, 0] = NAN, np.median(X[:, 0])
    np.testing.assert_array_equal(model.predict(hole).mean, model.predict(filled).mean)


# Nothing that is judged on is looked at


OPTIONS = {"polynomial": 2, "drop_constant": True, "max_correlation": 0.9, "keep": 5}


@pytest.mark.parametrize("rank_by", ["mutual_information", "permutation_importance", "correlation"])
def test_what_is_held_out_does_not_change_what_was_learned(rank_by: str) -> None:
    """In each fold: whatever stands in the held-out rows, the predictions of new candidates are the same."""
    X, y = _data(60, 12)
    surrogate = _surrogate(FOREST, 12, impute=True, **OPTIONS, rank_by=rank_by)
    new = np.random.default_rng(9).normal(size=(20, 12))
    for train, test in KFold(3, shuffle=True, random_state=0).split(X):
        X_other, y_other = X.copy(), y.copy()
        X_other[test], y_other[test] = 1e6, -1e6
        one = surrogate.fit(X[train], y[train], rng=np.random.default_rng(1))
        two = surrogate.fit(X_other[train], y_other[train], rng=np.random.default_rng(1))
        np.testing.assert_array_equal(one.predict(new).mean, two.predict(new).mean)
        assert one.preparation.record == two.preparation.record


def _r2_within(X: Any, y: Any, surrogate: Surrogate) -> float:
    out = np.empty_like(y)
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        out[test] = surrogate.fit(X[train], y[train], rng=np.random.default_rng(1)).predict(X[test]).mean[:, 0]
    return float(r2_score(y, out))


def test_noise_seems_to_tell_something_only_if_features_are_chosen_before_the_folds() -> None:
    """300 features of noise, and a target of noise: chosen on all labels they show a skill that is not there.

    References
    ----------
    Ambroise & McLachlan (2002), doi:10.1073/pnas.102102699.
    """
    inside, outside = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(30, 300)), rng.normal(size=30)
        options = {"keep": 5, "rank_by": "correlation"}
        inside.append(_r2_within(X, y, _surrogate(Lines(), 300, **options)))
        chosen = _fit(Lines(), X, y, **options).preparation.transform(X)
        outside.append(_r2_within(chosen, y, Lines()))
    assert np.mean(inside) < 0.0
    assert np.mean(outside) > 0.25
    assert min(outside) > 0.1
    assert all(honest < 0.15 for honest in inside)


@pytest.mark.parametrize("rank_by", ["mutual_information", "permutation_importance"])
def test_a_shuffled_target_cannot_be_predicted(rank_by: str) -> None:
    X, y = _data(60, 12)
    shuffled = np.random.default_rng(3).permutation(y)
    assert _r2_within(X, shuffled, _surrogate(FOREST, 12, **OPTIONS, rank_by=rank_by)) < 0.1


def test_combinations_help_a_model_that_cannot_make_them() -> None:
    X, y = _data(150, 10)
    alone, combined = _r2_within(X, y, Lines()), _r2_within(X, y, _surrogate(Lines(), 10, polynomial=2, keep=8))
    assert alone < 0.6
    assert combined > 0.95
