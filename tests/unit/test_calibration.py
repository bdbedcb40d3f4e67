"""Recalibration and its record against known maps, brute force, closed forms and Monte Carlo."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from active_learning.domain import metrics
from active_learning.errors import ContractError
from active_learning.learning.calibration import (
    MIN_LINEAR,
    MIN_SCALE,
    CalibrationOutcome,
    Recalibration,
    fit_recalibration,
    recalibrate,
)
from active_learning.learning.calibration_record import CalibrationRecord


def _sample(n: int, seed: int, *, slope: float = 1.0, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, means and stds whose errors are normal with the std that the map gives."""
    rng = np.random.default_rng(seed)
    std, mean = rng.gamma(3.0, 0.5, n), rng.normal(2.0, 3.0, n)
    return mean + (slope * std + offset) * rng.normal(size=n), mean, std


def _folds(n: int) -> np.ndarray:
    return np.arange(n) % 5


def _outcome(y: np.ndarray, mean: np.ndarray, std: np.ndarray, previous: Recalibration | None) -> CalibrationOutcome:
    return recalibrate(y, mean, std, folds=_folds(len(y)), previous=previous)


@pytest.mark.parametrize(("slope", "offset"), [(0.4, 0.3), (2.5, 0.2), (1.0, 1.0)])
def test_the_map_that_the_errors_were_made_with_is_found(slope, offset):
    found = fit_recalibration(*_sample(20_000, 1, slope=slope, offset=offset))
    assert found.slope == pytest.approx(slope, rel=0.08)
    assert found.offset == pytest.approx(offset, abs=0.06)


def test_the_map_has_the_least_loss_of_all_on_a_grid():
    y, mean, std = _sample(60, 2, slope=1.5, offset=0.3)
    error, c = np.abs(y - mean), 2.5
    a, b = np.meshgrid(np.linspace(0.01, 3, 150), np.linspace(0.03, 2, 150), indexing="ij")
    s = a[..., None] * std + b[..., None]
    z = error / s
    rho = np.where(z <= c, z**2 / 2, c * z - c**2 / 2)
    losses = (np.log(s) + rho / (stats.norm.cdf(c) - stats.norm.cdf(-c))).mean(axis=-1)
    row, column = np.unravel_index(losses.argmin(), losses.shape)
    found = fit_recalibration(y, mean, std)
    assert found.slope == pytest.approx(a[row, column], abs=0.04)
    assert found.offset == pytest.approx(b[row, column], abs=0.04)


def test_a_model_that_is_right_is_left_nearly_alone():
    y, mean, std = _sample(5000, 3)
    again = fit_recalibration(y, mean, std)(std)
    assert np.abs(again / std - 1)[std > 0.3].max() < 0.1


def test_one_absurd_label_moves_the_map_little():
    y, mean, std = _sample(200, 4)
    clean = fit_recalibration(y, mean, std)(std).mean()
    y[7] += 100 * std[7]
    normal = math.sqrt(metrics.mean_z2(y, mean, std)) * std.mean()
    assert normal > 4 * clean
    assert fit_recalibration(y, mean, std)(std).mean() < 1.35 * clean


def test_heavy_tails_leave_both_criteria_within_their_bounds_on_data_held_out():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        std = rng.gamma(3.0, 0.5, 4200)
        error = 0.3 * std * rng.standard_t(4, 4200)
        learned = fit_recalibration(error[:200], np.zeros(200), std[:200])
        after = learned(std[200:])
        zero = np.zeros(4000)
        found.append([f(error[200:], zero, after) for f in (metrics.mean_z2, metrics.miscalibration_area)])
    z2, area = np.mean(found, axis=0)
    assert 0.8 < z2 < 1.25
    assert area < 0.05


@pytest.mark.parametrize("n", [0, 1, MIN_SCALE - 1])
def test_too_few_labels_teach_nothing(n):
    y, mean, std = _sample(n, 5, slope=3.0)
    outcome = _outcome(y, mean, std, None)
    assert outcome.recalibration == Recalibration.none == Recalibration(1.0, 0.0)
    assert (outcome.record.n, outcome.record.source) == (n, "none")
    assert outcome.record.after == outcome.record.before
    assert fit_recalibration(y, mean, std) == Recalibration.none


def test_too_few_labels_keep_the_previous_map():
    outcome = _outcome(*_sample(5, 5), Recalibration(2.0, 0.1))
    assert (outcome.recalibration, outcome.record.source) == (Recalibration(2.0, 0.1), "kept")


def test_few_labels_teach_the_slope_only_and_more_the_offset_too():
    y, mean, std = _sample(MIN_LINEAR, 6, slope=0.2, offset=2.0)
    few = [v[:-1] for v in (y, mean, std)]
    assert fit_recalibration(*few).offset == pytest.approx(0.02 * np.abs(few[0] - few[1]).mean())
    assert fit_recalibration(y, mean, std).offset > 0.5


def test_a_model_without_any_std_gets_one():
    rng = np.random.default_rng(7)
    found = fit_recalibration(2 * rng.normal(size=2000), np.zeros(2000), np.zeros(2000))
    assert found.slope == 1.0
    assert found.offset == pytest.approx(2.0, rel=0.06)


def test_rows_known_exactly_do_not_make_the_model_sure_of_others():
    y, mean, std = _sample(100, 8)
    y[:40], std[:40] = mean[:40], 0.0
    outcome = _outcome(y, mean, std, None)
    assert outcome.recalibration(np.zeros(1))[0] >= 0.02 * np.abs(y - mean).mean() > 0


def test_a_constant_target_that_is_predicted_teaches_nothing():
    outcome = _outcome(np.ones(30), np.ones(30), np.zeros(30), None)
    assert (outcome.recalibration, outcome.record.source) == (Recalibration.none, "none")
    assert outcome.record.before["mean_z2"] == 0.0


def test_a_model_that_is_too_sure_is_fitted_and_the_record_shows_both():
    y, mean, std = _sample(300, 9, slope=3.0)
    outcome = _outcome(y, mean, std, None)
    record = outcome.record
    assert record.source == "fitted"
    assert (record.slope, record.offset) == (outcome.recalibration.slope, outcome.recalibration.offset)
    assert record.before == metrics.calibration_metrics(y, mean, std)
    assert record.before["mean_z2_low"] > 4
    assert record.after["mean_z2_low"] < 1 < record.after["mean_z2_high"]
    assert record.after["nll"] < record.before["nll"]
    assert record.after["miscalibration_area"] < 0.06 < record.before["miscalibration_area"]


def test_each_fold_is_judged_under_the_map_of_the_others():
    y, mean, std = _sample(100, 10, slope=3.0)
    folds = _folds(100)
    expected = np.empty(100)
    for fold in range(5):
        out = folds != fold
        expected[~out] = fit_recalibration(y[out], mean[out], std[out])(std[~out])
    record = recalibrate(y, mean, std, folds=folds, previous=None).record
    assert record.source == "fitted"
    assert record.after == metrics.calibration_metrics(y, mean, expected)


def _misled() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two folds, in one of which errors grow with the std and in the other fall; errors are about 3 in the middle."""
    rng = np.random.default_rng(11)
    std, folds = np.tile([1.0, 1.0, 10.0, 10.0], 60), np.arange(240) % 2
    scale = np.where(folds == 0, std, 10.0 / std)
    return scale * rng.normal(size=240), np.zeros(240), std, folds


def test_a_previous_map_that_is_clearly_better_is_kept():
    y, mean, std, folds = _misled()
    previous = Recalibration(0.0, 5.0)
    outcome = recalibrate(y, mean, std, folds=folds, previous=previous)
    assert (outcome.recalibration, outcome.record.source) == (previous, "kept")
    assert outcome.record.after == metrics.calibration_metrics(y, mean, np.full(240, 5.0))


def test_no_map_is_taken_where_it_is_clearly_better_than_both():
    # One fold is far too cautious, the other far too sure: what one teaches is wrong for the other.
    rng = np.random.default_rng(12)
    folds = (np.arange(200) >= 100).astype(int)
    std = rng.gamma(3.0, 0.5, 200)
    y = np.where(folds == 0, 0.4, 2.5) * std * rng.normal(size=200)
    outcome = recalibrate(y, np.zeros(200), std, folds=folds, previous=Recalibration(9.0, 50.0))
    assert outcome.record.source == "none"
    # The std stays as it is but for the least offset.
    assert outcome.recalibration.slope == 1.0
    assert outcome.recalibration.offset == pytest.approx(0.02 * np.abs(y).mean())


def test_a_bad_previous_map_is_replaced():
    assert _outcome(*_sample(200, 12, slope=2.0), Recalibration(20.0, 1.0)).record.source == "fitted"


def test_a_previous_map_does_not_stay_by_chance():
    """Of maps fitted to most of the same labels the new one must mostly be taken."""
    sources = []
    for seed in range(30):
        y, mean, std = _sample(60, seed, slope=2.0, offset=0.5)
        previous = fit_recalibration(y[:55], mean[:55], std[:55])
        sources.append(_outcome(y, mean, std, previous).record.source)
    assert sources.count("fitted") >= 25


def test_a_record_survives_json_and_holds_no_nan():
    for y, mean, std in (_sample(100, 13), _sample(3, 13), (np.ones(30), np.zeros(30), np.zeros(30))):
        record = _outcome(y, mean, std, None).record
        text = json.dumps(record.to_json(), allow_nan=False)
        assert CalibrationRecord.from_json(json.loads(text)) == record


def test_a_record_refuses_what_it_cannot_mean():
    good = _outcome(*_sample(30, 14), None).record.to_json()
    with pytest.raises(ContractError, match=r"unknown keys \['color'\], missing keys \['n'\]"):
        CalibrationRecord.from_json({k: v for k, v in good.items() if k != "n"} | {"color": 1})
    with pytest.raises(ContractError, match="one of fitted, kept, none, got 'guessed'"):
        CalibrationRecord.from_json(good | {"source": "guessed"})
    with pytest.raises(ContractError, match="ence after of a calibration is nan"):
        CalibrationRecord.from_json(good | {"after": {"ence": math.nan}})


@pytest.mark.parametrize(("slope", "offset"), [(-1.0, 0.0), (1.0, -0.1), (math.nan, 0.0), (1.0, math.inf)])
def test_maps_that_could_give_a_negative_std_are_refused(slope, offset):
    with pytest.raises(ContractError, match="finite and at least 0"):
        Recalibration(slope, offset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": np.ones(3)}, r"one shape \(n_labels,\)"),
        ({"mean": np.full(20, np.inf)}, "mean is not finite in row 0"),
        ({"std": -np.ones(20)}, "std is negative in row 0"),
        ({"folds": np.zeros(3)}, "one for each of the 20 labels"),
        ({"folds": np.zeros(20)}, "all 20 labels are one fold"),
    ],
)
def test_recalibration_refuses_what_breaks_its_law(change, message):
    y, mean, std = _sample(20, 15)
    given = {"y": y, "mean": mean, "std": std, "folds": _folds(20)} | change
    with pytest.raises(ContractError, match=message):
        recalibrate(given["y"], given["mean"], given["std"], folds=given["folds"], previous=None)


def test_sharpness_is_the_root_mean_variance():
    std = np.array([1.0, 2.0, 5.0])
    assert metrics.sharpness(std) == pytest.approx(math.sqrt(10.0), rel=1e-12)
    assert metrics.sharpness(1e-170 * std) == pytest.approx(1e-170 * math.sqrt(10.0), rel=1e-12)
    assert metrics.sharpness(np.zeros(2)) == 0.0


def test_the_interval_of_mean_z2_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(16)
    zero, one = np.zeros(100), np.ones(100)
    bounds = np.array([metrics.mean_z2_interval(rng.normal(size=100), zero, one) for _ in range(1500)])
    assert ((bounds[:, 0] < 1) & (bounds[:, 1] > 1)).mean() == pytest.approx(0.945, abs=0.02)
    y, mean, std = _sample(100, 17)
    low, high = metrics.mean_z2_interval(y, mean, std)
    assert math.sqrt(low * high) == pytest.approx(metrics.mean_z2(y, mean, std))
    # Near the asymptotic width of a chi squared: 1.96 sqrt(2 / n) to either side, in the logarithm.
    wide = metrics.mean_z2_interval(*_sample(100_000, 18))
    assert math.log(wide[1] / wide[0]) == pytest.approx(2 * 1.96 * math.sqrt(2 / 100_000), rel=0.03)


def test_the_interval_of_mean_z2_without_errors_is_a_point_and_of_one_value_refused():
    assert metrics.mean_z2_interval(np.ones(3), np.ones(3), np.ones(3)) == (0.0, 0.0)
    with pytest.raises(ContractError, match="two values at least"):
        metrics.mean_z2_interval(np.ones(1), np.ones(1), np.ones(1))


def test_calibration_metrics_are_those_of_the_single_functions():
    y, mean, std = _sample(57, 19)
    low, high = metrics.mean_z2_interval(y, mean, std)
    half, most, nearly = metrics.coverage(y, mean, std, [0.5, 0.9, 0.95])
    assert metrics.calibration_metrics(y, mean, std) == {
        "mean_z2": metrics.mean_z2(y, mean, std),
        "mean_z2_low": low,
        "mean_z2_high": high,
        "ence": metrics.ence(y, mean, std, n_bins=5),
        "miscalibration_area": metrics.miscalibration_area(y, mean, std),
        "nll": metrics.nll(y, mean, std),
        "coverage_50": half,
        "coverage_90": most,
        "coverage_95": nearly,
        "sharpness": metrics.sharpness(std),
    }


def test_calibration_metrics_leave_out_what_is_undefined():
    assert metrics.calibration_metrics(np.array([]), np.array([]), np.array([])) == {}
    sure = metrics.calibration_metrics(np.ones(30), np.zeros(30), np.zeros(30))
    assert {"nll", "ence"}.isdisjoint(sure)
    assert sure["mean_z2"] == metrics.Z_MAX**2
    assert "mean_z2_low" not in metrics.calibration_metrics(np.ones(1), np.zeros(1), np.ones(1))
