"""Metrics of classes against scikit-learn and numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from active_learning.domain.class_metrics import ClassPredictions, classification_metrics
from active_learning.errors import ContractError

_TWO = np.array([0.0, 1.0])


def _sample(n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = np.arange(n_classes) * 2.0 - 1.0
    probabilities = rng.dirichlet(np.full(n_classes, 0.7), 80).round(2)
    probabilities[:, -1] = np.abs(1 - probabilities[:, :-1].sum(axis=1))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(classes, p=p / p.sum()) for p in 0.7 * probabilities + 0.3 / n_classes])
    return truth, classes, probabilities


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_metrics_equal_those_of_scikit_learn(n_classes):
    y, classes, probabilities = _sample(n_classes)
    found = classification_metrics(y, classes, probabilities)
    predicted = classes[probabilities.argmax(axis=1)]
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y, predicted), rel=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, predicted), rel=1e-12)
    assert found["f1"] == pytest.approx(reference.f1_score(y, predicted, average="macro"), rel=1e-12)
    assert found["log_loss"] == pytest.approx(reference.log_loss(y, probabilities, labels=classes), rel=1e-12)
    expected = reference.brier_score_loss(y, probabilities if n_classes > 2 else probabilities[:, 1], labels=classes)
    assert found["brier"] == pytest.approx(expected, rel=1e-12)
    assert ("roc_auc" in found) == (n_classes == 2)


def test_the_area_under_the_roc_curve_equals_that_of_scikit_learn_with_ties():
    for seed in range(5):
        y, classes, probabilities = _sample(2, seed)
        upper = probabilities[:, 1].round(1)
        probabilities = np.column_stack([1 - upper, upper])
        assert len(np.unique(probabilities[:, 1])) < 12
        expected = reference.roc_auc_score(y, probabilities[:, 1])
        assert classification_metrics(y, classes, probabilities)["roc_auc"] == pytest.approx(expected, rel=1e-12)


def test_the_f1_of_a_class_never_predicted_is_zero_as_in_scikit_learn():
    y, probabilities = np.array([0.0, 0.0, 1.0]), np.array([[0.9, 0.1]] * 3)
    expected = reference.f1_score(y, np.zeros(3), average="macro")
    assert classification_metrics(y, _TWO, probabilities)["f1"] == pytest.approx(expected, rel=1e-12)


def test_the_calibration_error_is_the_gap_of_the_bins_weighed_by_their_rows():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.4, 0.6]])
    found = classification_metrics(np.array([0.0, 1.0, 1.0, 1.0]), _TWO, probabilities)
    # Confidence 0.95 beside half right; 0.65 beside all right; 0.6, which is in the bin below, beside all right.
    assert found["calibration_error"] == pytest.approx((2 * 0.45 + 0.35 + 0.4) / 4)


def test_the_calibration_error_of_right_probabilities_is_small():
    rng = np.random.default_rng(1)
    upper = rng.uniform(size=40_000)
    y = (rng.uniform(size=40_000) < upper).astype(float)
    assert classification_metrics(y, _TWO, np.column_stack([1 - upper, upper]))["calibration_error"] < 0.01


def test_a_true_class_that_the_model_does_not_know_counts_as_held_for_impossible():
    y, probabilities = np.array([0.0, 7.0]), np.array([[0.75, 0.25], [0.5, 0.5]])
    found = classification_metrics(y, _TWO, probabilities)
    whole = np.column_stack([probabilities, np.zeros(2)])
    labels = [0.0, 1.0, 7.0]
    assert found["log_loss"] == pytest.approx(reference.log_loss(y, whole, labels=labels), rel=1e-12)
    assert found["log_loss"] == pytest.approx((-math.log(0.75) - math.log(np.finfo(float).eps)) / 2)
    assert found["brier"] == pytest.approx((2 * 0.25**2 + 2 * 0.5**2 + 1) / 2)
    assert found["accuracy"] == found["balanced_accuracy"] == 0.5
    assert "roc_auc" not in found


def test_one_class_alone_is_known_perfectly_and_has_no_roc_curve():
    assert classification_metrics(np.ones(3), np.array([1.0]), np.ones((3, 1))) == {
        "accuracy": 1.0,
        "balanced_accuracy": 1.0,
        "f1": 1.0,
        "log_loss": 0.0,
        "brier": 0.0,
        "calibration_error": 0.0,
    }
    rows = ClassPredictions(np.ones(2), _TWO, np.full((2, 2), 0.5))
    with pytest.raises(ContractError, match=r"two classes, both true of some row; got \[1.0\]"):
        rows.roc_auc()


def test_metrics_of_no_rows_are_empty():
    assert classification_metrics(np.array([]), _TWO, np.empty((0, 2))) == {}


@pytest.mark.parametrize(
    ("y", "classes", "probabilities", "message"),
    [
        ([0.0], [0.0, 1.0], [[1.0]], "none empty; got"),
        ([0.0, 1.0], [0.0, 1.0], [[1.0, 0.0]], "none empty; got"),
        ([math.nan], [0.0, 1.0], [[1.0, 0.0]], "y is not finite in row 0"),
        ([0.0], [1.0, 0.0], [[1.0, 0.0]], "classes are finite and ascend"),
        ([0.0], [0.0, 1.0], [[0.5, 0.4]], "probabilities of row 0 are no probabilities"),
        ([0.0], [0.0, 1.0], [[1.5, -0.5]], "probabilities of row 0 are no probabilities"),
        ([0.0], [0.0, 1.0], [[math.nan, 1.0]], "probabilities of row 0 are no probabilities"),
    ],
)
def test_predictions_that_break_their_law_are_refused(y, classes, probabilities, message):
    with pytest.raises(ContractError, match=message):
        classification_metrics(np.array(y), np.array(classes), np.array(probabilities))
