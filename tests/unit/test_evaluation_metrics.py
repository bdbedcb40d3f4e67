"""Metrics against scikit-learn, closed forms, brute force and Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn import metrics as reference

from active_learning.domain import metrics
from active_learning.errors import ContractError


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    std = rng.uniform(0.2, 2.0, 57)
    mean = rng.normal(3.0, 2.0, 57)
    return mean + 1.3 * std * rng.normal(size=57), mean, std


def test_errors_equal_those_of_scikit_learn(sample):
    y, mean, _ = sample
    assert metrics.mae(y, mean) == pytest.approx(reference.mean_absolute_error(y, mean), rel=1e-12)
    assert metrics.rmse(y, mean) == pytest.approx(reference.root_mean_squared_error(y, mean), rel=1e-12)
    assert metrics.mape(y, mean) == pytest.approx(reference.mean_absolute_percentage_error(y, mean), rel=1e-12)
    assert metrics.r2(y, mean) == pytest.approx(reference.r2_score(y, mean), rel=1e-12)


@pytest.mark.parametrize("mean", [[2.0, 2.0, 2.0], [2.0, 2.5, 2.0]])
def test_r2_of_equal_values_is_one_if_perfect_and_zero_if_not_as_in_scikit_learn(mean):
    y = np.full(3, 2.0)
    assert metrics.r2(y, np.array(mean)) == reference.r2_score(y, mean)


def test_r2_of_one_value_is_a_number():
    assert metrics.r2(np.array([1.0]), np.array([1.5])) == 0.0
    assert metrics.r2(np.array([1.0]), np.array([1.0])) == 1.0


def test_r2_of_values_whose_average_rounds_is_not_noise():
    y = np.full(7, 0.1)
    assert metrics.r2(y, y + 1.0) == 0.0


def test_mape_leaves_out_values_that_are_zero():
    y, mean = np.array([0.0, 2.0, -4.0]), np.array([9.0, 1.0, -5.0])
    assert metrics.mape(y, mean) == pytest.approx((0.5 + 0.25) / 2)
    with pytest.raises(ContractError, match="every value is zero"):
        metrics.mape(np.zeros(2), np.ones(2))


def test_z_scores_are_errors_in_units_of_the_std_and_stay_finite_without_one():
    y = np.array([3.0, 1.0, 1.0, 0.0, 1e9])
    std = np.array([0.5, 2.0, 0.0, 0.0, 1e-9])
    z = metrics.z_scores(y, np.array([1.0, 2.0, 1.0, 2.0, 0.0]), std)
    assert z.tolist() == [4.0, -0.5, 0.0, -metrics.Z_MAX, metrics.Z_MAX]


def test_mean_z2_of_calibrated_samples_is_one_and_grows_with_the_square_of_overconfidence():
    error = np.random.default_rng(0).normal(size=20_000)
    zero = np.zeros_like(error)
    assert metrics.mean_z2(error, zero, np.ones_like(error)) == pytest.approx(1.0, abs=0.03)
    assert metrics.mean_z2(error, zero, np.full_like(error, 0.5)) == pytest.approx(4.0, abs=0.12)


def test_coverage_counts_labels_inside_the_central_normal_intervals(sample):
    y, mean, std = sample
    levels = [0.0, 0.5, 0.683, 0.9, 1.0]
    half = [stats.norm.ppf((1 + level) / 2) for level in levels]
    counted = [(np.abs(y - mean) <= h * std).mean() for h in half]
    assert metrics.coverage(y, mean, std, levels).tolist() == counted


def test_coverage_refuses_levels_that_are_no_probability(sample):
    with pytest.raises(ContractError, match=r"levels lie in \[0, 1\], got \[1.2\]"):
        metrics.coverage(*sample, [1.2])


def test_miscalibration_area_is_the_integral_between_curve_and_diagonal(sample):
    y, mean, std = sample
    levels = np.linspace(0, 1, 200_001)
    gap = np.abs(metrics.coverage(y, mean, std, list(levels)) - levels)
    assert metrics.miscalibration_area(y, mean, std) == pytest.approx(integrate.trapezoid(gap, levels), abs=1e-5)


def test_miscalibration_area_is_the_wasserstein_distance_to_uniform_levels(sample):
    y, mean, std = sample
    levels = 2 * stats.norm.cdf(np.abs(y - mean) / std) - 1
    uniform = (np.arange(400_000) + 0.5) / 400_000
    expected = stats.wasserstein_distance(levels, uniform)
    assert metrics.miscalibration_area(y, mean, std) == pytest.approx(expected, abs=1e-5)


def test_miscalibration_area_lies_at_half_for_the_two_worst_models_and_at_its_noise_for_a_right_one():
    y, zero = np.ones(50), np.zeros(50)
    assert metrics.miscalibration_area(y, zero, np.full(50, 1e-9)) == pytest.approx(0.5, abs=1e-6)
    assert metrics.miscalibration_area(y, zero, np.full(50, 1e9)) == pytest.approx(0.5, abs=1e-6)
    rng = np.random.default_rng(1)
    areas = [metrics.miscalibration_area(rng.normal(size=100), np.zeros(100), np.ones(100)) for _ in range(400)]
    # The mean of |Brownian bridge| is sqrt(2 / pi) times the integral of sqrt(p (1 - p)), pi / 8.
    expected = math.sqrt(2 / math.pi) * math.pi / 8 / math.sqrt(100)
    assert np.mean(areas) == pytest.approx(expected, rel=0.08)


def test_ence_is_the_mean_relative_gap_between_predicted_and_real_errors_of_bins():
    y = np.array([1.0, -1.0, 6.0, -6.0])
    std = np.array([2.0, 2.0, 4.0, 4.0])
    assert metrics.ence(y, np.zeros(4), std, n_bins=2) == pytest.approx((0.5 + 0.5) / 2)
    assert metrics.ence(y[::-1], np.zeros(4), std[::-1], n_bins=2) == pytest.approx(0.5)


def test_ence_of_calibrated_samples_is_the_noise_of_the_bins():
    rng = np.random.default_rng(2)
    std = rng.uniform(0.5, 2.0, (300, 400))
    errors = std * rng.normal(size=std.shape)
    found = [metrics.ence(e, np.zeros(400), s, n_bins=10) for e, s in zip(errors, std, strict=True)]
    assert np.mean(found) == pytest.approx(1 / math.sqrt(math.pi * 40), rel=0.05)


def test_ence_refuses_what_has_no_value():
    with pytest.raises(ContractError, match="3 bins for 2 values"):
        metrics.ence(np.ones(2), np.zeros(2), np.ones(2), n_bins=3)
    with pytest.raises(ContractError, match="no std but zero"):
        metrics.ence(np.ones(4), np.zeros(4), np.array([0.0, 0.0, 1.0, 1.0]), n_bins=2)


def test_nll_equals_scipy_and_refuses_a_zero_std(sample):
    y, mean, std = sample
    assert metrics.nll(y, mean, std) == pytest.approx(-stats.norm.logpdf(y, mean, std).mean(), rel=1e-12)
    with pytest.raises(ContractError, match="std is zero in row 1"):
        metrics.nll(np.ones(2), np.ones(2), np.array([1.0, 0.0]))


def test_regression_metrics_of_many_values_are_those_of_the_single_functions(sample):
    y, mean, std = sample
    found = metrics.regression_metrics(y, mean, std)
    assert found == {
        "mae": metrics.mae(y, mean),
        "rmse": metrics.rmse(y, mean),
        "r2": metrics.r2(y, mean),
        "mean_z2": metrics.mean_z2(y, mean, std),
        "miscalibration_area": metrics.miscalibration_area(y, mean, std),
        "mape": metrics.mape(y, mean),
        "ence": metrics.ence(y, mean, std, n_bins=5),
    }


def test_regression_metrics_of_nothing_are_empty():
    assert metrics.regression_metrics(np.array([]), np.array([]), np.array([])) == {}


@pytest.mark.parametrize(
    ("y", "mean", "std", "message"),
    [
        ([1.0, 2.0], [1.0], [1.0], "one shape"),
        ([[1.0]], [[1.0]], [[1.0]], "one shape"),
        ([1.0, math.nan], [1.0, 1.0], [1.0, 1.0], "y is not finite in row 1"),
        ([1.0], [math.inf], [1.0], "mean is not finite in row 0"),
        ([1.0], [1.0], [-0.1], "std is negative in row 0"),
    ],
)
def test_metrics_refuse_arrays_that_break_their_law(y, mean, std, message):
    with pytest.raises(ContractError, match=message):
        metrics.regression_metrics(np.array(y), np.array(mean), np.array(std))


def test_a_metric_of_nothing_is_refused():
    with pytest.raises(ContractError, match="at least one value"):
        metrics.mae(np.array([]), np.array([]))
