"""A label is predicted by models that did not see it, and judged as what it is: a number or a class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss, mean_squared_error

from active_learning.domain.prediction import Prediction
from active_learning.learning.validation import cross_validated, fold_of_each, held_out, metrics_of
from active_learning.preparation.fitting import Preparation
from active_learning.preparation.options import PreparationOptions
from active_learning.preparation.surrogate import prepared
from active_learning.surrogates.forest import ExtraTrees, RandomForest
from active_learning.surrogates.gaussian_process import GaussianProcess
from active_learning.testing.fakes import NearestLabel

Floats = NDArray[np.float64]

FOREST = RandomForest(RandomForest.Options(n_trees=30, n_jobs=1))


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _data(n: int = 23) -> tuple[Floats, Floats]:
    X = _rng(1).normal(size=(n, 3))
    return X, X[:, 0] - 2 * X[:, 1]


class _Spy:
    """A surrogate that keeps what it is given."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.given = inner, list[tuple[Floats, Floats]]()

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> Any:
        self.given.append((X.copy(), y.copy()))
        return self.inner.fit(X, y, rng=rng)


def _nearest() -> _Spy:
    return _Spy(NearestLabel(NearestLabel.Options()))


def _held_out(surrogate: Any, X: Floats, y: Floats, *, asks_model: bool = True, n_folds: int = 5, seed: int = 0) -> Any:
    model = surrogate.fit(X, y, rng=_rng(7))
    return held_out(surrogate, model, X, y, n_folds=n_folds, asks_model=asks_model, rng=_rng(seed))


@pytest.mark.parametrize(("n_labels", "n_folds"), [(10, 2), (10, 5), (23, 5), (7, 3)])
def test_folds_are_of_equal_size_but_for_one(n_labels: int, n_folds: int) -> None:
    sizes = np.bincount(fold_of_each(n_labels, n_folds, _rng()), minlength=n_folds)
    assert len(sizes) == n_folds
    assert sizes.max() - sizes.min() <= 1
    assert fold_of_each(n_labels, n_folds, _rng()).tolist() == fold_of_each(n_labels, n_folds, _rng()).tolist()


def test_by_folds_no_model_saw_the_label_that_it_predicts() -> None:
    X, y = _data()
    spy = _nearest()
    judged = _held_out(spy, X, y)
    assert judged.how == "folds"
    fits = spy.given[1:]
    assert len(fits) == 5
    for row in range(len(y)):
        shown_X, shown_y = fits[judged.folds[row]]
        assert y[row] not in shown_y
        nearest = np.linalg.norm(shown_X - X[row], axis=1).argmin()
        assert judged.prediction.mean[row, 0] == shown_y[nearest]


def test_every_label_is_in_all_training_sets_but_one() -> None:
    X, y = _data()
    spy = _nearest()
    cross_validated(spy, X, y, fold_of_each(len(y), 4, _rng()), rng=_rng())
    assert [sum(value in shown for _, shown in spy.given) for value in y] == [3] * len(y)


def test_a_model_that_knows_is_asked_if_that_is_wanted() -> None:
    X, y = _data()
    spy = _Spy(FOREST)
    judged = _held_out(spy, X, y)
    model = FOREST.fit(X, y, rng=_rng(7))
    assert (judged.how, len(spy.given)) == ("out_of_sample", 1)
    assert model.held_out is not None
    np.testing.assert_array_equal(judged.prediction.mean, model.held_out.mean)
    by_folds = _held_out(FOREST, X, y, asks_model=False)
    assert by_folds.how == "folds"
    assert not np.array_equal(by_folds.prediction.mean, judged.prediction.mean)
    np.testing.assert_array_equal(by_folds.folds, judged.folds)


def test_a_process_knows_of_itself_what_models_without_each_label_say() -> None:
    X, y = _data(14)
    process = GaussianProcess(GaussianProcess.Options())
    judged = _held_out(process, X, y)
    assert judged.how == "out_of_sample"
    assert np.abs(judged.prediction.mean[:, 0] - y).mean() > 1e-6
    assert np.corrcoef(judged.prediction.mean[:, 0], y)[0, 1] > 0.5


@pytest.mark.parametrize(
    "surrogate",
    [
        ExtraTrees(ExtraTrees.Options(n_trees=10, n_jobs=1)),
        prepared(FOREST, Preparation(PreparationOptions(keep=2), impute=False), ("a", "b", "c")),
    ],
    ids=["no bags", "prepared"],
)
def test_a_model_that_does_not_know_is_judged_by_folds(surrogate: Any) -> None:
    assert _held_out(surrogate, *_data()).how == "folds"


def test_a_model_that_has_traveled_does_not_know_any_more_and_is_judged_by_folds() -> None:
    X, y = _data()
    model = FOREST.fit(X, y, rng=_rng(7))
    again = type(model).from_arrays(model.to_arrays())
    judged = held_out(FOREST, again, X, y, n_folds=5, asks_model=True, rng=_rng())
    assert judged is not None
    assert judged.how == "folds"


def test_a_forest_of_so_few_trees_that_a_label_is_in_all_bags_is_judged_by_folds() -> None:
    few = RandomForest(RandomForest.Options(n_trees=2, n_jobs=1))
    assert _held_out(few, *_data()).how == "folds"


def test_the_preparation_is_fitted_anew_in_each_fold() -> None:
    """Fitted once on all labels it would fill a missing value with the held-out labels' median, too."""
    X, y = _data(20)
    X[:, 2] = np.where(np.arange(20) % 2, np.nan, np.arange(20) * 10.0)
    spy = _nearest()
    whole = prepared(spy, Preparation(PreparationOptions(), impute=True), ("a", "b", "c"))
    judged = _held_out(whole, X, y)
    for fold in range(5):
        shown = spy.given[1 + fold][0][:, 2]
        assert set(shown[np.isin(shown, X[:, 2], invert=True)].tolist()) <= {
            float(np.nanmedian(X[judged.folds != fold, 2]))
        }
    assert len({float(np.nanmedian(X[judged.folds != fold, 2])) for fold in range(5)}) > 1


def test_fewer_than_two_labels_a_fold_cannot_be_judged() -> None:
    X, y = _data(10)
    assert _held_out(_nearest(), X[:9], y[:9]) is None
    assert _held_out(_nearest(), X, y) is not None


def test_constant_labels_are_predicted_without_error() -> None:
    X, _y = _data()
    for asks in (True, False):
        judged = _held_out(FOREST, X, np.full(23, 1.5), asks_model=asks)
        np.testing.assert_array_equal(judged.prediction.mean, 1.5)
        assert metrics_of(np.full(23, 1.5), judged.prediction)["rmse"] == 0


def test_the_same_generator_gives_the_same_predictions() -> None:
    X, y = _data()
    first, again, other = (_held_out(FOREST, X, y, asks_model=False, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.prediction.mean, again.prediction.mean)
    assert not np.array_equal(first.prediction.mean, other.prediction.mean)


@pytest.mark.parametrize("asks_model", [True, False])
def test_classes_are_predicted_with_probabilities(asks_model: bool) -> None:
    X, y = _data(40)
    classes = (y > 0).astype(np.float64)
    judged = _held_out(FOREST.classifier(), X, classes, asks_model=asks_model)
    assert judged.how == ("out_of_sample" if asks_model else "folds")
    assert judged.prediction.classes.tolist() == [0.0, 1.0]
    metrics = metrics_of(classes, judged.prediction)
    assert metrics["log_loss"] == pytest.approx(
        log_loss(classes, np.clip(judged.prediction.probabilities, np.finfo(np.float64).eps, 1)), rel=1e-9
    )
    assert metrics["accuracy"] > 0.7
    assert "rmse" not in metrics


def test_a_class_that_a_fold_did_not_see_has_no_probability_there() -> None:
    X, _y = _data(20)
    classes = np.zeros(20)
    classes[[3, 4, 5, 6]] = 2.0
    classes[11] = 7.0
    judged = _held_out(FOREST.classifier(), X, classes, asks_model=False)
    assert judged.prediction.classes.tolist() == [0.0, 2.0, 7.0]
    same_fold = judged.folds == judged.folds[11]
    np.testing.assert_array_equal(judged.prediction.probabilities[same_fold, 2], 0.0)
    np.testing.assert_allclose(judged.prediction.probabilities.sum(axis=1), 1.0)
    assert np.isfinite(list(metrics_of(classes, judged.prediction).values())).all()


@pytest.mark.parametrize("asks_model", [True, False])
def test_one_class_alone_is_predicted_for_certain(asks_model: bool) -> None:
    X, _y = _data()
    judged = _held_out(FOREST.classifier(), X, np.ones(23), asks_model=asks_model)
    np.testing.assert_array_equal(judged.prediction.probabilities, np.ones((23, 1)))
    metrics = metrics_of(np.ones(23), judged.prediction)
    assert (metrics["accuracy"], metrics["log_loss"]) == (1.0, 0.0)


def test_metrics_of_numbers_are_those_of_scikit_learn() -> None:
    _X, y = _data()
    mean = y + _rng(2).normal(size=len(y))
    metrics = metrics_of(y, Prediction(mean[:, None], np.ones((len(y), 1))))
    assert metrics["rmse"] == pytest.approx(mean_squared_error(y, mean) ** 0.5)
    assert "accuracy" not in metrics


def test_a_true_class_that_the_model_does_not_know_counts_as_impossible() -> None:
    prediction = Prediction.of_classes(np.array([0.0, 1.0]), np.array([[0.5, 0.5], [1.0, 0.0]]))
    metrics = metrics_of(np.array([2.0, 0.0]), prediction)
    assert metrics["accuracy"] == 0.5
    assert metrics["log_loss"] == pytest.approx(-np.log(np.finfo(np.float64).eps) / 2)
