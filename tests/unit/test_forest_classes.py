"""Forests for classes, against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from active_learning.domain.protocols import Classifies, HasHeldOut, HasImportances, Portable
from active_learning.errors import ContractError
from active_learning.surrogates.forest import ExtraTrees, RandomForest
from active_learning.surrogates.forest_classes import FittedForestClassifier

BOTH = pytest.mark.parametrize(
    ("plug_in", "peer"), [(RandomForest, RandomForestClassifier), (ExtraTrees, ExtraTreesClassifier)]
)
CLASSES = (-1.0, 0.5, 3.0)


def _data(n_classes: int = 3) -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(90, 4))
    edges = np.quantile(X[:, 0] + 0.5 * X[:, 1], np.arange(1, n_classes) / n_classes)
    return X, np.array(CLASSES)[np.digitize(X[:, 0] + 0.5 * X[:, 1], edges)]


def _fit(plug_in: Any, X: Any, y: Any, **options: Any) -> Any:
    forest = plug_in(plug_in.Options(**({"n_trees": 25, "n_jobs": 1} | options)))
    assert isinstance(forest, Classifies)
    return forest.classifier().fit(X, y, rng=np.random.default_rng(1))


def _reference(peer: Any, X: Any, y: Any, **options: Any) -> Any:
    state = int(np.random.default_rng(1).integers(2**31))
    options = {"n_estimators": 25, "max_features": 1.0} | options
    return peer(random_state=state, **options).fit(X, np.unique(y, return_inverse=True)[1])


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(plug_in: Any, peer: Any, n_classes: int) -> None:
    X, y = _data(n_classes)
    reference = _reference(peer, X[:60], y[:60], min_samples_leaf=3)
    prediction = _fit(plug_in, X[:60], y[:60], min_samples_leaf=3).predict(X)
    np.testing.assert_array_equal(prediction.classes, CLASSES[:n_classes])
    np.testing.assert_allclose(prediction.probabilities, reference.predict_proba(X), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(prediction.mean[:, 0], reference.predict_proba(X) @ CLASSES[:n_classes], atol=1e-12)


@BOTH
def test_members_say_what_scikit_learns_trees_say(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    reference = _reference(peer, X[:60], y[:60], min_samples_leaf=3)
    members = _fit(plug_in, X[:60], y[:60], min_samples_leaf=3).member_probabilities(X)
    assert members.shape == (25, 90, 3)
    expected = np.stack([tree.predict_proba(X) for tree in reference.estimators_])
    np.testing.assert_allclose(members, expected, rtol=1e-12, atol=1e-15)


@BOTH
def test_held_out_is_what_scikit_learn_has_out_of_bag(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    reference = _reference(peer, X, y, bootstrap=True, oob_score=True)
    model = _fit(plug_in, X, y, bootstrap=True)
    np.testing.assert_allclose(model.held_out.probabilities, reference.oob_decision_function_, rtol=1e-12, atol=1e-15)
    assert _fit(plug_in, X, y, bootstrap=False, max_features=0.5).held_out is None
    assert _fit(plug_in, X, y, bootstrap=True, n_trees=2).held_out is None


@BOTH
def test_one_class_alone_is_certain(plug_in: Any, peer: Any) -> None:
    X, _y = _data()
    model = _fit(plug_in, X, np.full(90, 3.0))
    prediction = model.predict(X)
    np.testing.assert_array_equal(prediction.probabilities, np.ones((90, 1)))
    np.testing.assert_array_equal(prediction.mean, 3.0)
    np.testing.assert_array_equal(prediction.std, 0.0)
    np.testing.assert_array_equal(model.importances, 0.0)


@BOTH
def test_a_row_has_the_same_probabilities_in_any_company_and_on_any_threads(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    one, two = (_fit(plug_in, X[:60], y[:60], n_jobs=n).predict(np.tile(X, (9, 1))) for n in (1, 2))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    alone = _fit(plug_in, X[:60], y[:60]).predict(X[77:78])
    np.testing.assert_array_equal(one.probabilities[77::90], np.tile(alone.probabilities, (9, 1)))


@BOTH
def test_a_classifier_that_has_traveled_predicts_as_before(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    model = _fit(plug_in, X[:60], y[:60], n_jobs=2)
    assert all(isinstance(model, able) for able in (Portable, HasImportances, HasHeldOut))
    arrays = model.to_arrays()
    assert not any(array.dtype.hasobject for array in arrays.values())
    again = FittedForestClassifier.from_arrays(arrays)
    np.testing.assert_array_equal(again.predict(X).probabilities, model.predict(X).probabilities)
    np.testing.assert_array_equal(again.importances, model.importances)
    assert (again.n_jobs, again.held_out) == (2, None)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"classes": None}, "hold classes, importances and one number n_jobs; there are feature"),
        ({"classes": np.array([0.0, 1.0])}, "one for each of the 3 shares"),
        ({"classes": np.array([0.0, 2.0, 1.0])}, "classes ascend"),
        ({"classes": np.array([0.0, 1.0, np.inf])}, "classes are finite"),
        ({"value": 0.5}, "their shares in each leaf sum to 1"),
        ({"importances": np.zeros(2)}, "there are 2, counted from 0"),
        ({"importances": np.full(4, np.nan)}, "must be finite"),
    ],
)
def test_a_damaged_file_is_refused(changes: dict[str, Any], fault: str) -> None:
    found = dict(_fit(RandomForest, *_data()).to_arrays())
    for name, change in changes.items():
        found[name] = found[name] * change if name == "value" else change
    with pytest.raises(ContractError, match=fault):
        FittedForestClassifier.from_arrays({name: array for name, array in found.items() if array is not None})


def test_a_class_that_is_not_finite_is_refused_and_its_row_named() -> None:
    X, y = _data()
    y[5] = np.nan
    with pytest.raises(ContractError, match="row 5"):
        _fit(RandomForest, X, y)
    with pytest.raises(ContractError, match="row 7"):
        _fit(RandomForest, *_data()).predict(np.where(np.arange(90)[:, None] == 7, np.nan, X))
