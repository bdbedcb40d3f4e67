"""Strategies see a model whose std is corrected, that can do what the model behind it can."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.acquisition.classes import MembersClassify
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import HasDraws, KnowsCovariance
from active_learning.engine.corrected import CorrectedModel, corrected_model, corrected_prediction
from active_learning.learning.calibration import Recalibration
from active_learning.preparation.fitting import Preparation
from active_learning.preparation.options import PreparationOptions
from active_learning.preparation.surrogate import prepared
from active_learning.surrogates.committee import Committee
from active_learning.surrogates.forest import RandomForest
from active_learning.testing.fakes import NearestLabel

Floats = NDArray[np.float64]

FOREST = RandomForest(RandomForest.Options(n_trees=20, n_jobs=1))
NEAREST = NearestLabel(NearestLabel.Options())
COMMITTEE = Committee(Committee.Options()).with_members([FOREST, FOREST])
MAP = Recalibration(2.5, 0.3)


def _data() -> tuple[Floats, Floats]:
    X = np.random.default_rng(3).normal(size=(30, 3))
    return X, 2.0 + X[:, 0] - X[:, 1] ** 2


def _fit(surrogate: Any, *, is_prepared: bool = False, classes: bool = False) -> Any:
    X, y = _data()
    if classes:
        surrogate, y = surrogate.classifier(), np.where(y > 2, 1.0, 0.0)
    if is_prepared:
        surrogate = prepared(surrogate, Preparation(PreparationOptions(polynomial=2, keep=4), impute=True), "abc")
    return surrogate.fit(X, y, rng=np.random.default_rng(1))


def _rng() -> np.random.Generator:
    return np.random.default_rng(9)


@pytest.mark.parametrize("is_prepared", [False, True])
@pytest.mark.parametrize(
    ("surrogate", "abilities"),
    [(FOREST, {HasDraws, KnowsCovariance}), (COMMITTEE, {HasDraws, KnowsCovariance}), (NEAREST, set())],
    ids=["forest", "committee", "one that can nothing"],
)
def test_it_can_do_what_the_model_can(surrogate: Any, abilities: set[Any], is_prepared: bool) -> None:
    model = corrected_model(_fit(surrogate, is_prepared=is_prepared), MAP)
    assert {a for a in (HasDraws, KnowsCovariance, MembersClassify) if isinstance(model, a)} == abilities
    # Newer Pythons look for an ability at the class, not at the object.
    assert hasattr(type(model), "draws") == hasattr(type(model), "covariance_factor") == bool(abilities)


@pytest.mark.parametrize("is_prepared", [False, True])
@pytest.mark.parametrize("surrogate", [FOREST, COMMITTEE], ids=["forest", "committee"])
def test_members_of_a_classifier_can_be_asked(surrogate: Any, is_prepared: bool) -> None:
    X, _y = _data()
    inner = _fit(surrogate, is_prepared=is_prepared, classes=True)
    model: Any = corrected_model(inner, Recalibration.none)
    assert isinstance(model, MembersClassify)
    members = model.member_probabilities(X)
    np.testing.assert_allclose(members.mean(axis=0), model.predict(X).probabilities, atol=1e-12)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_its_std_is_corrected_and_its_mean_is_not(is_prepared: bool) -> None:
    X, _y = _data()
    inner = _fit(FOREST, is_prepared=is_prepared)
    found = corrected_model(inner, MAP).predict(X)
    np.testing.assert_array_equal(found.mean, inner.predict(X).mean)
    np.testing.assert_array_equal(found.std, 2.5 * inner.predict(X).std + 0.3)


def test_probabilities_of_classes_are_left_as_they_are() -> None:
    prediction = Prediction.of_classes(np.array([0.0, 1.0]), np.array([[0.25, 0.75]]))
    assert corrected_prediction(prediction, MAP) is prediction


@pytest.mark.parametrize("is_prepared", [False, True])
def test_draws_are_widened_about_the_mean_as_the_std_is(is_prepared: bool) -> None:
    X, _y = _data()
    inner = _fit(FOREST, is_prepared=is_prepared)
    model: Any = corrected_model(inner, MAP)
    plain: Any = corrected_model(inner, Recalibration.none)
    drawn, narrow = model.draws(X, 20, rng=_rng()), plain.draws(X, 20, rng=_rng())
    mean = inner.predict(X).mean[:, 0]
    np.testing.assert_allclose(drawn - mean, 2.5 * (narrow - mean), atol=1e-9)
    # All 20 trees are drawn once: their mean and spread are the forest's own, before the offset, which is noise.
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=1e-9)
    np.testing.assert_allclose(drawn.std(axis=0), 2.5 * inner.predict(X).std[:, 0], atol=1e-9)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_the_covariance_is_that_of_the_draws(is_prepared: bool) -> None:
    X, _y = _data()
    model: Any = corrected_model(_fit(FOREST, is_prepared=is_prepared), MAP)
    factor = model.covariance_factor(X)
    drawn = model.draws(X, 20, rng=_rng())
    np.testing.assert_allclose(factor @ factor.T, np.cov(drawn.T, ddof=0), atol=1e-9)
    assert (np.sqrt(np.square(factor).sum(axis=1)) <= model.predict(X).std[:, 0]).all()


def test_a_map_without_slope_leaves_no_doubt_about_the_function() -> None:
    X, _y = _data()
    model: Any = corrected_model(_fit(FOREST), Recalibration(0.0, 0.4))
    np.testing.assert_allclose(model.draws(X, 5, rng=_rng()), np.tile(model.predict(X).mean[:, 0], (5, 1)))
    np.testing.assert_array_equal(model.covariance_factor(X), 0.0)
    np.testing.assert_array_equal(model.predict(X).std, 0.4)


def test_like_models_are_of_one_class_that_has_their_name() -> None:
    assert type(corrected_model(_fit(FOREST), MAP)) is type(corrected_model(_fit(FOREST), MAP))
    assert type(corrected_model(_fit(FOREST), MAP)).__name__ == type(_fit(FOREST)).__name__
    assert type(corrected_model(_fit(NEAREST), MAP)) is not type(corrected_model(_fit(FOREST), MAP))
    assert isinstance(corrected_model(_fit(NEAREST), MAP), CorrectedModel)
