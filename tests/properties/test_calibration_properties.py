"""Laws of recalibration that hold for any held-out predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_learning.domain.class_metrics import classification_metrics
from active_learning.domain.metrics import calibration_metrics
from active_learning.learning.calibration import Recalibration, fit_recalibration, recalibrate
from active_learning.learning.calibration_record import CalibrationRecord

_VALUE = st.one_of(st.just(0.0), st.floats(-1e150, 1e150))
_STD = st.one_of(st.just(0.0), st.floats(0, 1e150), st.sampled_from([1e-160, 5e-324]))
_ROWS = st.lists(st.tuples(_VALUE, _VALUE, _STD), min_size=0, max_size=40)
_PREVIOUS = st.none() | st.builds(Recalibration, st.floats(0, 1e3), st.floats(0, 1e3))


def _columns(rows: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, mean, std = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return y, mean, std


@settings(deadline=None)
@given(_ROWS, _PREVIOUS)
def test_any_predictions_give_a_map_that_is_never_negative_and_a_record_of_finite_numbers(rows, previous):
    y, mean, std = _columns(rows)
    outcome = recalibrate(y, mean, std, folds=np.arange(len(y)) % 2, previous=previous)
    after = outcome.recalibration(std)
    assert np.isfinite(after).all()
    assert (after >= 0).all()
    assert (np.diff(outcome.recalibration(np.sort(std))) >= 0).all()
    record = outcome.record
    assert (record.source == "kept") <= (previous is not None)
    assert all(math.isfinite(value) for side in (record.before, record.after) for value in side.values())
    assert CalibrationRecord.from_json(record.to_json()) == record


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 3)), min_size=10, max_size=40),
    st.integers(-60, 60),
)
def test_another_unit_gives_the_same_slope_and_the_offset_in_that_unit(rows, power):
    y, mean, std = _columns(rows)
    unit = 2.0**power
    one, other = fit_recalibration(y, mean, std), fit_recalibration(unit * y, unit * mean, unit * std)
    assert other.slope == pytest.approx(one.slope, rel=1e-9)
    assert other.offset == pytest.approx(unit * one.offset, rel=1e-9)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 3)), min_size=20, max_size=40),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_labels_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    std = np.linspace(0, 3, 7)
    one, other = (fit_recalibration(*_columns(r))(std) for r in (rows, shuffled))
    assert other == pytest.approx(one, rel=0.02, abs=0.02)


@given(st.lists(st.tuples(_VALUE, _VALUE, _STD), min_size=1, max_size=60))
def test_calibration_metrics_of_any_predictions_are_finite_and_in_their_ranges(rows):
    found = calibration_metrics(*_columns(rows))
    assert all(math.isfinite(value) for value in found.values())
    assert 0 <= found["coverage_50"] <= found["coverage_90"] <= found["coverage_95"] <= 1
    if len(rows) > 1:
        assert 0 <= found["mean_z2_low"] <= found["mean_z2"] <= found["mean_z2_high"]


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(
            st.tuples(
                st.integers(0, 5), st.lists(st.floats(0, 1), min_size=k, max_size=k).filter(lambda p: sum(p) > 0.01)
            ),
            min_size=1,
            max_size=30,
        )
    )
)
def test_class_metrics_of_any_predictions_are_finite_and_in_their_ranges(rows):
    probabilities = np.array([p for _, p in rows])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    y, classes = np.array([float(c) for c, _ in rows]), np.arange(probabilities.shape[1], dtype=np.float64)
    found = classification_metrics(y, classes, probabilities)
    assert all(math.isfinite(value) for value in found.values())
    assert all(0 <= value <= 1 for name, value in found.items() if name not in {"log_loss", "brier"})
    assert 0 <= found["brier"] <= 2 + 1e-9
    assert 0 <= found["log_loss"] < 37
