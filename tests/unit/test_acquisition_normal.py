"""Gains and probabilities of normal beliefs, against numbers of many digits, integrals and draws."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.stats import norm

from active_learning.acquisition.normal import (
    expected_improvement,
    expected_improvement_within,
    log_expected_improvement,
    probability_between,
    probability_of_improvement,
)


def _exact(gain: float, std: float) -> float:
    with mpmath.workdps(1000):
        z = mpmath.mpf(gain) / mpmath.mpf(std)
        return float(gain * mpmath.ncdf(z) + std * mpmath.npdf(z))


@pytest.mark.parametrize("z", [-37.0, -20.0, -8.0, -3.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 3.0, 8.0, 20.0, 1e3, 1e8])
@pytest.mark.parametrize("std", [1e-160, 1e-9, 1.0, 1e12])
def test_expected_improvement_is_right_to_eleven_digits(z: float, std: float) -> None:
    got = expected_improvement(np.array([z * std]), np.array([std]))[0]
    assert got == pytest.approx(_exact(z * std, std), rel=1e-11, abs=0)


def test_the_textbook_sum_would_be_wrong_in_the_tail() -> None:
    z = -12.0
    textbook = z * norm.cdf(z) + norm.pdf(z)
    ours = expected_improvement(np.array([z]), np.array([1.0]))[0]
    assert abs(ours / _exact(z, 1.0) - 1) < 1e-12 < abs(textbook / _exact(z, 1.0) - 1)


@pytest.mark.parametrize(
    ("gain", "std", "expected"),
    [
        (2.5, 0.0, 2.5),
        (-2.5, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (1e200, 1e-160, 1e200),
        (-1e200, 1e-160, 0.0),
        (0.0, 5e-324, 0.0),
        (-1.0, 1e-3, 0.0),
    ],
)
def test_expected_improvement_at_its_limits(gain: float, std: float, expected: float) -> None:
    assert expected_improvement(np.array([gain]), np.array([std]))[0] == expected


@pytest.mark.parametrize("z", [-1e5, -1e3, -60.0, -40.001, -39.999, -37.0, -8.0, -1.001, -1.0, -0.999, 0.0, 2.0, 1e6])
@pytest.mark.parametrize("std", [1e-160, 1.0, 1e12])
def test_the_logarithm_of_the_improvement_is_right_to_twelve_digits(z: float, std: float) -> None:
    with mpmath.workdps(60):
        x = mpmath.mpf(z * std) / mpmath.mpf(std)
        exact = float(mpmath.log(mpmath.mpf(std)) + mpmath.log(x * mpmath.ncdf(x) + mpmath.npdf(x)))
    got = log_expected_improvement(np.array([z * std]), np.array([std]))[0]
    assert got == pytest.approx(exact, rel=1e-12, abs=3e-12)


def test_the_logarithm_reaches_gains_of_minus_1e150_sigma() -> None:
    z = -np.logspace(2, 153, 152)
    scores = log_expected_improvement(z, np.ones(152))
    assert (np.diff(scores) < 0).all()
    expected = -(z**2) / 2 - np.log(2 * np.pi) / 2 - 2 * np.log(-z)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("gain", "std", "expected"),
    [(2.5, 0.0, np.log(2.5)), (0.0, 0.0, None), (-1.0, 0.0, None), (-1e200, 1e-160, None), (-1e300, 1.0, None)],
)
def test_the_logarithm_of_nothing_is_the_least_number(gain: float, std: float, expected: float | None) -> None:
    least = np.finfo(np.float64).min
    got = log_expected_improvement(np.array([gain]), np.array([std]))[0]
    assert got == (least if expected is None else expected)


@pytest.mark.parametrize("z", [-37.0, -12.0, -1.0, 0.0, 1e-9, 3.0, 9.0])
@pytest.mark.parametrize("std", [1e-160, 1.0, 1e12])
def test_the_probability_of_improvement_is_right_in_the_tail(z: float, std: float) -> None:
    with mpmath.workdps(50):
        exact = float(mpmath.ncdf(mpmath.mpf(z * std) / mpmath.mpf(std)))
    # An error of one digit in z is one of 37^2 digits in the tail.
    got = probability_of_improvement(np.array([z * std]), np.array([std]))[0]
    assert got == pytest.approx(exact, rel=1e-12, abs=0)


@pytest.mark.parametrize(
    ("gain", "std", "expected"),
    [(0.0, 0.0, 0.0), (-1e-300, 0.0, 0.0), (1e-300, 0.0, 1.0), (1e200, 1e-160, 1.0), (-1e200, 1e-160, 0.0)],
)
def test_without_doubt_an_improvement_is_certain_or_impossible(gain: float, std: float, expected: float) -> None:
    assert probability_of_improvement(np.array([gain]), np.array([std]))[0] == expected


@pytest.mark.parametrize("mean", [-20.0, -3.0, 0.4, 1.0, 1.5, 6.0, 30.0])
@pytest.mark.parametrize("std", [1.0, 0.7])
def test_the_probability_between_bounds_keeps_its_digits_on_both_sides(mean: float, std: float) -> None:
    with mpmath.workdps(400):
        low, high = ((mpmath.mpf(bound) - mpmath.mpf(mean)) / mpmath.mpf(std) for bound in (0.0, 2.0))
        exact = float(mpmath.ncdf(high) - mpmath.ncdf(low))
    got = probability_between(0.0, 2.0, np.array([mean]), np.array([std]))[0]
    assert got == pytest.approx(exact, rel=1e-11, abs=1e-300)


def _exact_within(low: float, high: float, reach: float, mean: float, std: float) -> float:
    """The four ramps with as many digits as they lose."""
    with mpmath.workdps(700):
        corners = [mpmath.mpf(low) - reach, mpmath.mpf(low), mpmath.mpf(high), mpmath.mpf(high) + reach]
        z = [(mpmath.mpf(mean) - corner) / mpmath.mpf(std) for corner in corners]
        ramps = [std * (x * mpmath.ncdf(x) + mpmath.npdf(x)) for x in z]
        return float(ramps[0] - ramps[1] - ramps[2] + ramps[3])


@pytest.mark.parametrize("mean", [-9.0, -1.5, 0.0, 0.3, 0.5, 0.9, 2.0, 15.0])
@pytest.mark.parametrize("std", [1e-9, 0.1, 1.0, 4.9, 5.1, 1e3, 1e6])
@pytest.mark.parametrize("reach", [1e-3, 0.5, 40.0])
def test_the_improvement_towards_bounds_is_right_to_ten_digits(mean: float, std: float, reach: float) -> None:
    got = expected_improvement_within(0.0, 1.0, reach, np.array([mean]), np.array([std]))[0]
    assert got == pytest.approx(_exact_within(0.0, 1.0, reach, mean, std), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(("reach", "mean", "std"), [(0.8, 1.6, 0.5), (0.05, -0.4, 0.9), (3.0, 0.2, 2.0)])
def test_the_improvement_towards_bounds_is_the_mean_of_drawn_improvements(
    reach: float, mean: float, std: float
) -> None:
    drawn = np.random.default_rng(1).normal(mean, std, 400_000)
    gains = np.maximum(reach - np.maximum(np.maximum(-drawn, drawn - 1.0), 0.0), 0.0)
    got = expected_improvement_within(0.0, 1.0, reach, np.array([mean]), np.array([std]))[0]
    assert abs(got - gains.mean()) < 5 * gains.std() / np.sqrt(len(gains))


def test_the_improvement_towards_bounds_is_the_same_on_both_sides() -> None:
    mean, std = np.linspace(-4, 4, 41), np.full(41, 0.7)
    left = expected_improvement_within(-1.0, 1.0, 0.6, mean, std)
    np.testing.assert_allclose(left, left[::-1], rtol=1e-12)


@pytest.mark.parametrize("reach", [0.0, -0.5])
def test_there_is_nothing_to_improve_on_a_label_between_the_bounds(reach: float) -> None:
    assert expected_improvement_within(0.0, 1.0, reach, np.array([0.5]), np.array([1.0]))[0] == 0.0
