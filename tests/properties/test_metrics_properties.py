"""Laws of the metrics that hold for any predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_learning.domain import metrics
from active_learning.domain.target import Goal, Target
from active_learning.evaluation.discovery import discovery_area, discovery_curve

_VALUE = st.floats(-1e6, 1e6)
_STD = st.one_of(st.just(0.0), st.floats(1e-9, 1e6))
_ROWS = st.lists(st.tuples(_VALUE, _VALUE, _STD), min_size=1, max_size=60)


def _columns(rows: list[tuple[float, float, float]]) -> list[np.ndarray]:
    return list(np.array(rows, dtype=np.float64).T)


@given(_ROWS)
def test_every_metric_of_any_predictions_is_finite_and_in_its_range(rows):
    y, mean, std = _columns(rows)
    found = metrics.regression_metrics(y, mean, std)
    assert {"mae", "rmse", "r2", "mean_z2", "miscalibration_area"} <= set(found)
    assert all(math.isfinite(value) for value in found.values())
    # Squares of the smallest floats are zero.
    assert 0 <= found["mae"] <= found["rmse"] * (1 + 1e-12) + 1e-150
    assert found["r2"] <= 1
    assert 0 <= found["miscalibration_area"] <= 0.5
    assert 0 <= found["mean_z2"] <= metrics.Z_MAX**2


@given(_ROWS, st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_the_order_of_the_rows(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    one, other = (metrics.regression_metrics(*_columns(r)) for r in (rows, shuffled))
    # Rows that tie in std may change bins, so the binned error is left out.
    one.pop("ence", None), other.pop("ence", None)
    assert one == pytest.approx(other, rel=1e-9, abs=1e-12)


@given(st.lists(st.tuples(_VALUE, _VALUE, st.floats(0.01, 1e3)), min_size=1, max_size=40), st.integers(-8, 8))
def test_metrics_without_a_unit_do_not_change_with_the_unit(rows, power):
    y, mean, std = _columns(rows)
    scale = 2.0**power
    one, other = (
        metrics.regression_metrics(y, mean, std),
        metrics.regression_metrics(scale * y, scale * mean, scale * std),
    )
    for name in ("r2", "mean_z2", "miscalibration_area"):
        assert other[name] == pytest.approx(one[name], rel=1e-9, abs=1e-12)
    assert other["mae"] == pytest.approx(scale * one["mae"], rel=1e-9)


@given(_ROWS, st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_coverage_never_falls_with_the_level_and_everything_lies_within_the_whole_line(rows, levels):
    y, mean, std = _columns(rows)
    seen = metrics.coverage(y, mean, std, [*sorted(levels), 1.0])
    assert (np.diff(seen) >= 0).all()
    assert seen[-1] == 1.0


@given(
    st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.floats(-5, 5), min_size=1, max_size=25),
    st.data(),
)
def test_a_discovery_curve_never_falls_and_reaches_one_when_all_is_labeled(values, data):
    materials = {c: data.draw(st.sampled_from(sorted(values)), label=c) for c in values}
    k = data.draw(st.integers(1, len(set(materials.values()))))
    order = data.draw(st.permutations(sorted(values)))
    curve = discovery_curve(order, values, materials, Target("p", Goal.MAXIMIZE), k=k)
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1.0
    assert 0 <= discovery_area(curve) <= 1
    best_first = sorted(values, key=lambda c: -values[c])
    assert discovery_area(discovery_curve(best_first, values, materials, Target("p", Goal.MAXIMIZE), k=1)) == 1.0
