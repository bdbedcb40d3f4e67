"""What the next round is worth: against closed forms, quadrature, plain Monte Carlo and scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, spearmanr

from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.learning import forecast as module
from active_learning.learning.forecast import expected_gain, forecast, forecast_sentence, stability

MAXIMIZE, MINIMIZE = (Target("band_gap", goal, "eV") for goal in (Goal.MAXIMIZE, Goal.MINIMIZE))
WITHIN = Target("band_gap", Goal.WITHIN, "eV", 1.0, 1.5)
LEARN = Target("band_gap", Goal.LEARN, "eV")


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _batch(mean: Any, std: Any) -> Prediction:
    return Prediction(np.array(mean, dtype=float)[:, None], np.array(std, dtype=float)[:, None])


# One pick


@pytest.mark.parametrize("z", [-30.0, -6.0, -1.0, 0.0, 0.7, 5.0])
@pytest.mark.parametrize("target", [MAXIMIZE, MINIMIZE])
def test_one_pick_gains_what_jones_formula_says(target: Target, z: float) -> None:
    std, best = 0.3, 2.0
    sign = 1.0 if target is MAXIMIZE else -1.0
    gain, probability = expected_gain(target, _batch([best + sign * z * std], [std]), best, rng=_rng())
    jones = std * (z * norm.cdf(z) + norm.pdf(z)) if z > -10 else 0.0
    assert gain == pytest.approx(jones, rel=1e-6, abs=1e-15)
    assert probability == pytest.approx(norm.cdf(z), rel=1e-12)


@pytest.mark.parametrize("mean", [0.2, 0.9, 1.2, 1.9])
@pytest.mark.parametrize("best", [0.6, 1.9])
def test_one_pick_within_bounds_gains_what_quadrature_says(mean: float, best: float) -> None:
    std, merit = 0.25, float(WITHIN.merit(np.array(best)))
    edges = (1.0 + merit, 1.0, 1.5, 1.5 - merit)

    def integrand(value: float) -> float:
        return max(float(WITHIN.merit(np.array(value))) - merit, 0.0) * float(norm.pdf(value, mean, std))

    gain, probability = expected_gain(WITHIN, _batch([mean], [std]), best, rng=_rng())
    assert gain == pytest.approx(quad(integrand, edges[0], edges[3], points=edges[1:3])[0], rel=1e-6)
    assert probability == pytest.approx(norm.cdf(edges[3], mean, std) - norm.cdf(edges[0], mean, std), rel=1e-9)


def test_who_is_within_bounds_has_nothing_left_to_gain() -> None:
    assert expected_gain(WITHIN, _batch([1.2, 1.4], [0.1, 0.2]), 1.3, rng=_rng()) == (0.0, 0.0)


def test_a_pick_without_doubt_gains_its_mean_or_nothing() -> None:
    assert expected_gain(MAXIMIZE, _batch([2.5], [0.0]), 2.0, rng=_rng()) == (0.5, 1.0)
    assert expected_gain(MAXIMIZE, _batch([2.0], [0.0]), 2.0, rng=_rng()) == (0.0, 0.0)
    assert expected_gain(MINIMIZE, _batch([2.5], [1e-160]), 2.0, rng=_rng()) == (0.0, 0.0)


# A batch


def test_independent_picks_gain_what_quadrature_says() -> None:
    mean, std, best = np.array([1.0, 0.8, 0.2, 1.1]), np.array([0.3, 0.5, 1.0, 0.05]), 1.2

    def none_above(gain: float) -> float:
        return float(np.prod(norm.cdf(best + gain, mean, std)))

    gain, probability = expected_gain(MAXIMIZE, _batch(mean, std), best, rng=_rng())
    assert gain == pytest.approx(quad(lambda t: 1 - none_above(t), 0, 10, limit=200)[0], rel=0.02)
    assert probability == pytest.approx(1 - none_above(0.0), abs=0.01)


@pytest.mark.parametrize(("target", "best"), [(MAXIMIZE, 2.0), (MINIMIZE, 1.2), (WITHIN, 1.8)])
@pytest.mark.parametrize("rank", [1, 2, 9])
def test_correlated_picks_gain_what_plain_monte_carlo_says(target: Target, best: float, rank: int) -> None:
    rng = _rng(3)
    factor = rng.normal(size=(4, rank)) * 0.4 / math.sqrt(rank)
    noise = np.array([0.0, 0.1, 0.2, 0.3])
    covariance = factor @ factor.T + np.diag(noise**2)
    mean = rng.normal(1.6, 0.2, size=4)
    labels = rng.multivariate_normal(mean, covariance, size=400_000)
    gains = np.maximum(target.merit(labels).max(axis=1) - float(target.merit(np.array(best))), 0.0)
    batch = _batch(mean, np.sqrt(np.diag(covariance)))
    gain, probability = expected_gain(target, batch, best, factor=factor, rng=_rng())
    assert gain == pytest.approx(gains.mean(), rel=0.03)
    assert probability == pytest.approx((gains > 0).mean(), abs=0.015)


def test_twins_gain_no_more_than_one_of_them() -> None:
    factor = np.full((5, 1), 0.3)
    one = expected_gain(MAXIMIZE, _batch([1.0], [0.3]), 1.1, rng=_rng())
    twins = expected_gain(MAXIMIZE, _batch([1.0] * 5, [0.3] * 5), 1.1, factor=factor, rng=_rng())
    strangers = expected_gain(MAXIMIZE, _batch([1.0] * 5, [0.3] * 5), 1.1, rng=_rng())
    assert twins == pytest.approx(one, rel=0.03)
    assert strangers[0] > 2 * one[0]


def test_a_factor_that_says_more_than_the_std_is_scaled_down_to_it() -> None:
    batch = _batch([1.0, 0.9], [0.3, 0.2])
    factor = np.array([[0.3, 0.0], [0.1, 0.1]])
    wide = factor * np.array([[4.0], [1.0]])
    assert expected_gain(MAXIMIZE, batch, 1.1, factor=wide, rng=_rng()) == pytest.approx(
        expected_gain(MAXIMIZE, batch, 1.1, factor=factor, rng=_rng()), rel=1e-12
    )


def test_a_batch_without_any_doubt_gains_its_best() -> None:
    batch = _batch([1.0, 3.0, 2.0], [0.0, 0.0, 0.0])
    assert expected_gain(MAXIMIZE, batch, 1.5, factor=np.zeros((3, 2)), rng=_rng()) == (1.5, 1.0)


def test_a_gain_too_rare_for_the_draws_is_not_lost() -> None:
    gain, probability = expected_gain(MAXIMIZE, _batch([0.0, 0.0], [0.1, 0.1]), 0.8, rng=_rng())
    alone = float(norm.sf(8.0))
    assert alone <= probability <= 2 * alone
    assert 0 < gain < 1e-15


@given(
    mean=st.lists(st.floats(-3, 3), min_size=1, max_size=5),
    std=st.floats(0, 2),
    best=st.floats(-2, 2),
    rise=st.floats(0, 1),
    target=st.sampled_from([MAXIMIZE, MINIMIZE]),
)
def test_a_better_best_leaves_less_to_gain(
    mean: list[float], std: float, best: float, rise: float, target: Target
) -> None:
    batch = _batch(mean, [std] * len(mean))
    better = best + rise if target is MAXIMIZE else best - rise
    gain, probability = expected_gain(target, batch, best, rng=_rng())
    less, less_probable = expected_gain(target, batch, better, rng=_rng())
    assert 0 <= less <= gain + 1e-12
    assert 0 <= less_probable <= probability <= 1
    assert gain <= less + rise + 1e-9


def test_many_picks_are_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = _batch(np.linspace(0, 1, 7), np.full(7, 0.3))
    factor = np.linspace(-0.2, 0.2, 14).reshape(7, 2)
    whole = expected_gain(MAXIMIZE, batch, 1.0, factor=factor, rng=_rng())
    monkeypatch.setattr(module, "_BLOCK", 7 * 1000)
    assert expected_gain(MAXIMIZE, batch, 1.0, factor=factor, rng=_rng()) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("target", "batch", "best", "factor", "message"),
    [
        (MAXIMIZE, _batch([1.0], [0.1]), None, None, "no best label to improve on"),
        (LEARN, _batch([1.0], [0.1]), 1.0, None, "goal 'learn' has no better and worse"),
        (MAXIMIZE, _batch([], []), 1.0, None, r"n_picks >= 1, got \(0, 1\)"),
        (MAXIMIZE, Prediction(np.zeros((2, 2)), np.ones((2, 2))), 1.0, None, r"got \(2, 2\)"),
        (MAXIMIZE, _batch([1.0], [0.1]), 1.0, np.ones((2, 1)), r"shape \(1, rank\), got \(2, 1\)"),
        (MAXIMIZE, _batch([1.0], [0.1]), 1.0, np.ones(1), r"shape \(1, rank\), got \(1,\)"),
        (MAXIMIZE, _batch([1.0], [0.1]), 1.0, np.full((1, 1), np.nan), "is finite"),
    ],
)
def test_a_wrong_call_for_a_gain_is_refused(target: Any, batch: Any, best: Any, factor: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        expected_gain(target, batch, best, factor=factor, rng=_rng())


# Stability


@pytest.mark.parametrize("decimals", [9, 1])
def test_stability_is_spearmans_correlation_ties_included(decimals: int) -> None:
    means = _rng().normal(size=500).round(decimals)
    last = (means + _rng(1).normal(size=500)).round(decimals)
    expected = spearmanr(means, last).statistic
    assert stability(means, last, rng=_rng()) == pytest.approx(expected, rel=1e-12)


def test_the_same_order_is_one_the_reverse_minus_one_and_no_order_nothing() -> None:
    means = _rng().normal(size=1001)
    assert stability(means, np.exp(means), rng=_rng()) == 1.0
    assert stability(means, -means, rng=_rng()) == -1.0
    assert stability(means, np.zeros(1001), rng=_rng()) == 0.0
    assert stability(np.ones(1), np.ones(1), rng=_rng()) == 0.0


def test_a_large_pool_is_sampled_from_its_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 2000)
    beliefs = _rng().normal(size=(20_000, 2))
    np.save(tmp_path / "beliefs.npy", beliefs)
    stored = np.load(tmp_path / "beliefs.npy", mmap_mode="r")[:, 0]
    last = beliefs[:, 0] + 0.3 * _rng(1).normal(size=20_000)
    sampled = stability(stored, last, rng=_rng())
    expected = spearmanr(beliefs[:, 0], last).statistic
    assert sampled == pytest.approx(expected, abs=0.02)
    assert sampled != pytest.approx(expected, abs=1e-9)
    assert sampled == stability(stored, last, rng=_rng())


@pytest.mark.parametrize(
    ("means", "last", "message"),
    [
        (np.zeros(3), np.zeros(4), r"got \(3,\) and \(4,\)"),
        (np.zeros((3, 1)), np.zeros((3, 1)), r"got \(3, 1\)"),
        (np.array([0.0, np.nan]), np.zeros(2), "means is not finite in 1 rows"),
        (np.zeros(2), np.array([np.inf, np.nan]), "last_means is not finite in 2 rows"),
    ],
)
def test_predictions_that_cannot_be_compared_are_refused(means: Any, last: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        stability(means, last, rng=_rng())


# The forecast


def test_a_forecast_says_what_is_known_and_nothing_else() -> None:
    batch, means = _batch([1.0, 2.0], [0.1, 0.2]), np.arange(5.0)
    assert forecast(MAXIMIZE, rng=_rng()) == {}
    assert forecast(LEARN, rng=_rng(), batch=batch) == {}
    assert forecast(LEARN, rng=_rng(), means=means) == {}
    assert forecast(MAXIMIZE, rng=_rng(), batch=_batch([], []), best=1.0, run_times=[3.0]) == {}
    assert forecast(LEARN, rng=_rng(), means=means, last_means=means**3) == {"stability": 1.0}
    everything = forecast(
        MAXIMIZE, rng=_rng(), batch=batch, best=2.0, run_times=[10.0, 500.0, 30.0], means=means, last_means=-means
    )
    gain, probability = expected_gain(MAXIMIZE, batch, 2.0, rng=_rng())
    assert everything == {
        "expected_gain": gain,
        "probability_of_improvement": probability,
        "stability": -1.0,
        "run_s": 60.0,
    }
    assert all(type(value) is float for value in everything.values())


def test_the_gain_is_drawn_alike_whatever_else_is_asked_for() -> None:
    batch, means = _batch([1.0, 2.0], [0.4, 0.2]), np.arange(5.0)
    alone = forecast(MAXIMIZE, rng=_rng(), batch=batch, best=2.0)
    more = forecast(MAXIMIZE, rng=_rng(), batch=batch, best=2.0, means=means, last_means=means)
    assert more["expected_gain"] == alone["expected_gain"]


@pytest.mark.parametrize("time", [-1.0, math.nan, math.inf])
def test_a_run_time_that_cannot_be_is_refused(time: float) -> None:
    with pytest.raises(ContractError, match=r"run time 1 is .*; seconds that are 0 or more"):
        forecast(MAXIMIZE, rng=_rng(), run_times=[1.0, time])


def test_a_batch_without_a_best_label_is_refused() -> None:
    with pytest.raises(ContractError, match="no best label"):
        forecast(MAXIMIZE, rng=_rng(), batch=_batch([1.0], [0.1]))


@pytest.mark.parametrize(
    ("known", "n", "said"),
    [
        (
            {"expected_gain": 0.0123, "probability_of_improvement": 0.312, "run_s": 7560.0, "stability": 0.9},
            8,
            (
                "the next 8 labels are expected to improve the best by 0.012 eV (chance of any improvement 31 %), "
                "and to take about 2.1 h of run time"
            ),
        ),
        ({"run_s": 30.2}, 1, "the next label is expected to take about 30 s of run time"),
        ({"run_s": 400_000.0}, 2, "the next 2 labels are expected to take about 4.6 d of run time"),
        ({"run_s": 0.0}, 2, "the next 2 labels are expected to take about 0 s of run time"),
        ({"stability": 0.9}, 3, "nothing is known yet of what the next 3 labels are worth"),
        (
            {"expected_gain": 3e-7, "probability_of_improvement": 0.0004},
            3,
            "the next 3 labels are expected to improve the best by 3.0e-07 eV (chance of any improvement below 1 %)",
        ),
        (
            {"expected_gain": 1234.5, "probability_of_improvement": 0.9999},
            3,
            "the next 3 labels are expected to improve the best by 1200 eV (chance of any improvement above 99 %)",
        ),
    ],
)
def test_the_sentence_says_gain_chance_and_cost(known: dict[str, float], n: int, said: str) -> None:
    assert forecast_sentence(known, MAXIMIZE, n) == said
