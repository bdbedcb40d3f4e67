"""The Gaussian process as a surrogate."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import approx_fprime
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel
from threadpoolctl import threadpool_info, threadpool_limits

from active_learning.domain.protocols import (
    HasDraws,
    HasHeldOut,
    HasImportances,
    HasSettings,
    KnowsCovariance,
    Portable,
)
from active_learning.errors import ContractError
from active_learning.surrogates.gaussian_kernel import KERNELS, correlation, random_frequencies, slope
from active_learning.surrogates.gaussian_likelihood import Priors, most_probable, negative_log_posterior
from active_learning.surrogates.gaussian_posterior import FittedGaussianProcess
from active_learning.surrogates.gaussian_process import GaussianProcess

EACH_KERNEL = pytest.mark.parametrize("kernel", KERNELS)


def _data(n: int = 60, noise: float = 0.2) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)) * [1.0, 10.0, 0.1, 3.0] + 5.0
    return X, 7.0 + np.sin(2.0 * X[:, 0]) + 0.1 * X[:, 1] + noise * rng.normal(size=n)


def _fit(X: Any, y: Any, **options: Any) -> FittedGaussianProcess:
    return GaussianProcess(GaussianProcess.Options(**options)).fit(X, y, rng=np.random.default_rng(1))


def _peer(model: FittedGaussianProcess, leave_out: int | None = None) -> Any:
    """scikit-learn's process with the same length scales and noise, on the standardized data."""
    scales = model.length_scales
    kernels = {"rbf": RBF(scales), "matern_32": Matern(scales, nu=1.5), "matern_52": Matern(scales, nu=2.5)}
    peer = GaussianProcessRegressor(kernels[model.kernel] + WhiteKernel(model.noise), alpha=0.0, optimizer=None)
    keep = np.arange(len(model.t)) != leave_out
    return peer.fit(model.Z[keep], model.t[keep])


@EACH_KERNEL
@pytest.mark.parametrize("scales", ["common", "near_common", "free"])
def test_it_predicts_what_scikit_learn_predicts(kernel: Any, scales: Any) -> None:
    X, y = _data()
    model = _fit(X[:40], y[:40], kernel=kernel, length_scales=scales)
    mean, std = _peer(model).predict((X - X[:40].mean(axis=0)) / X[:40].std(axis=0), return_std=True)
    prediction = model.predict(X)
    np.testing.assert_allclose(prediction.mean[:, 0], y[:40].mean() + y[:40].std() * mean, rtol=1e-8)
    np.testing.assert_allclose(prediction.std[:, 0], y[:40].std() * std, rtol=1e-8)
    assert (np.ptp(model.length_scales) == 0) == (scales == "common")


@EACH_KERNEL
def test_each_label_held_out_is_predicted_by_a_process_that_was_trained_without_its_fold(kernel: Any) -> None:
    X, y = _data(23)
    held_out = _fit(X, y, kernel=kernel).held_out
    assert held_out is not None
    for fold in range(5):
        is_out = np.arange(len(y)) % 5 == fold
        prediction = _fit(X[~is_out], y[~is_out], kernel=kernel).predict(X[is_out])
        np.testing.assert_allclose(held_out.mean[is_out], prediction.mean, rtol=1e-4)
        np.testing.assert_allclose(held_out.std[is_out], prediction.std, rtol=1e-3)


def test_errors_of_labels_held_out_are_not_smaller_than_those_of_new_ones() -> None:
    # Leave-one-out with length scales that have seen all labels fails this: with many features they fit the noise.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60))
    y = X[:, 0] + 0.5 * rng.normal(size=300)
    ratios = []
    for first in range(0, 150, 50):
        known = np.arange(first, first + 50)
        model = _fit(X[known], y[known])
        held_out = model.held_out
        assert held_out is not None
        new = model.predict(X[150:]).mean[:, 0] - y[150:]
        ratios.append(np.square(held_out.mean[:, 0] - y[known]).mean() / np.square(new).mean())
    assert np.mean(ratios) > 0.9


@EACH_KERNEL
def test_the_covariance_is_that_of_the_function_without_noise(kernel: Any) -> None:
    X, y = _data()
    model = _fit(X[:40], y[:40], kernel=kernel)
    _mean, covariance = _peer(model).predict(model.features.standard(X), return_cov=True)
    covariance = y[:40].var() * (covariance - model.noise * np.eye(len(X)))
    factor = model.covariance_factor(X)
    np.testing.assert_allclose(factor @ factor.T, covariance, atol=1e-9 * y.var())
    noise = model.predict(X).std[:, 0] ** 2 - np.square(factor).sum(axis=1)
    np.testing.assert_allclose(noise, y[:40].var() * model.noise, rtol=1e-5)


def test_equal_rows_cost_the_covariance_no_rank() -> None:
    X, y = _data()
    model = _fit(X, y)
    factor = model.covariance_factor(np.repeat(X[:5], 4, axis=0))
    assert factor.shape == (20, 5)
    np.testing.assert_allclose(factor[::4], factor[3::4], atol=1e-5 * y.std())
    assert model.covariance_factor(X[:0]).shape == (0, 0)


@EACH_KERNEL
@pytest.mark.parametrize("n_scales", [1, 4])
def test_the_posterior_of_its_settings_is_that_of_the_textbook(kernel: Any, n_scales: int) -> None:
    X, y = _data(20)
    model = _fit(X, y, kernel=kernel)
    theta = np.append(np.array([0.3, 1.0, -0.2, 0.7])[:n_scales], -2.0)
    priors = Priors.of_lengths(1.5, 0.8, n_scales)
    scales = np.broadcast_to(np.exp(theta[:-1]), 4)
    peer = _peer(dataclasses.replace(model, length_scales=scales, noise=float(np.exp(theta[-1]))))
    prior = norm.logpdf(theta, priors.middle, priors.spread) - norm.logpdf(0.0, 0.0, priors.spread)
    expected = -peer.log_marginal_likelihood_value_ - prior.sum() - 10 * np.log(2 * np.pi)
    value, gradient = negative_log_posterior(theta, model.Z, model.t, kernel, priors)
    assert value == pytest.approx(expected, rel=1e-10)
    numerical = approx_fprime(theta, lambda at: negative_log_posterior(at, model.Z, model.t, kernel, priors)[0], 1e-6)
    np.testing.assert_allclose(gradient, numerical, rtol=1e-3, atol=1e-4)


def test_its_settings_cannot_be_bettered_nearby() -> None:
    X, y = _data()
    model = _fit(X, y, length_scales="common")
    lengths, noise = most_probable(model.Z, model.t, "matern_52", length_scales="common", max_iterations=500)
    theta = np.log([lengths[0], noise])
    priors = Priors.of_lengths(np.sqrt(2) + np.log(4) / 2 + np.log(12) / 2, np.sqrt(3), 1)
    best, gradient = negative_log_posterior(theta, model.Z, model.t, "matern_52", priors)
    assert np.abs(gradient).max() < 0.05
    for step in np.vstack([np.eye(2), -np.eye(2)]) * 0.3:
        assert negative_log_posterior(theta + step, model.Z, model.t, "matern_52", priors)[0] > best


def test_own_length_scales_stay_around_the_common_one() -> None:
    X, y = _data()
    model = _fit(X, y, length_scales="near_common")
    common, _noise = most_probable(model.Z, model.t, "matern_52", length_scales="common", max_iterations=500)
    theta = np.log(np.append(model.length_scales, model.noise))
    priors = Priors.of_lengths(np.log(common[0]), 0.5, 4)
    _value, gradient = negative_log_posterior(theta, model.Z, model.t, "matern_52", priors)
    assert np.abs(gradient).max() < 0.05


@EACH_KERNEL
def test_the_slope_is_the_derivative_of_the_kernel(kernel: Any) -> None:
    D2 = np.linspace(0.01, 9.0, 50)
    numerical = (correlation(kernel, D2 + 1e-6) - correlation(kernel, D2 - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope(kernel, D2), -2 * numerical, rtol=1e-6)
    assert correlation(kernel, np.zeros(1))[0] == 1.0


@EACH_KERNEL
def test_random_waves_have_the_kernel_for_their_mean(kernel: Any) -> None:
    frequencies = random_frequencies(kernel, 3, 200_000, np.random.default_rng(0))
    for gap in ([0.3, 0.0, 0.0], [0.5, -0.5, 0.2], [1.0, 1.0, -1.0]):
        waves = np.cos(np.array(gap) @ frequencies)
        assert waves.mean() == pytest.approx(correlation(kernel, np.array([np.dot(gap, gap)]))[0], abs=0.008)


@EACH_KERNEL
def test_many_draws_have_the_mean_and_the_covariance_of_the_posterior(kernel: Any) -> None:
    X, y = _data(25)
    model = _fit(X[:15], y[:15], kernel=kernel)
    rows = X[13:]
    # Several generators: the waves of one are shared by its draws, and good to 2 % only.
    draws = np.concatenate([model.draws(rows, 200, rng=np.random.default_rng(seed)) for seed in range(40)])
    factor = model.covariance_factor(rows)
    covariance = factor @ factor.T
    std = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((draws.mean(axis=0) - model.predict(rows).mean[:, 0]) / std, 0.0, atol=0.06)
    found = np.cov(draws, rowvar=False)
    np.testing.assert_allclose((found - covariance) / np.outer(std, std), 0.0, atol=0.07)


def test_the_same_generator_draws_the_same_functions_whichever_rows_are_asked_for() -> None:
    X, y = _data(600)
    model = _fit(X[:30], y[:30])
    whole = model.draws(X, 3, rng=np.random.default_rng(5))
    assert whole.shape == (3, 600)
    np.testing.assert_array_equal(
        model.draws(X[400:500][::-1], 3, rng=np.random.default_rng(5)), whole[:, 400:500][:, ::-1]
    )
    np.testing.assert_allclose(model.draws(X, 1, rng=np.random.default_rng(5)), whole[:1], rtol=1e-10)
    assert not np.allclose(model.draws(X, 3, rng=np.random.default_rng(6)), whole)
    assert model.draws(X[:0], 2, rng=np.random.default_rng(5)).shape == (2, 0)


def test_no_function_cannot_be_drawn() -> None:
    X, y = _data()
    with pytest.raises(ContractError, match="at least one function must be drawn, got 0"):
        _fit(X, y).draws(X, 0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("scales", ["common", "near_common", "free"])
def test_importances_are_shares_in_the_squared_slope_of_the_mean(scales: Any) -> None:
    X, y = _data()
    model = _fit(X, y, length_scales=scales)
    step = 1e-5 * X.std(axis=0)
    slopes = [(model.predict(X + unit).mean - model.predict(X - unit).mean)[:, 0] / 2e-5 for unit in np.diag(step)]
    squares = np.square(slopes).mean(axis=1)
    np.testing.assert_allclose(model.importances, squares / squares.sum(), rtol=1e-4, atol=1e-8)
    assert model.importances[:2].sum() > 0.9


def test_a_feature_that_tells_nothing_gets_a_longer_length_scale() -> None:
    X, y = _data(120)
    lengths = _fit(X, y).length_scales
    assert lengths[[0, 1]].max() < lengths[[2, 3]].min()


def test_a_smooth_function_is_never_taken_for_noise() -> None:
    # A search from one start alone ends there for some of these.
    errors = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(150, 3))
        y = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1]
        errors += [np.abs(_fit(X[:n], y[:n]).predict(X[n:]).mean[:, 0] - y[n:]).mean() for n in (18, 22, 26)]
    assert max(errors) < 0.45


def test_the_noise_of_the_labels_is_found() -> None:
    X, y = _data(300, noise=0.5)
    model = _fit(X, y)
    assert np.sqrt(model.noise) * y.std() == pytest.approx(0.5, rel=0.2)
    held_out = model.held_out
    assert held_out is not None
    z = (held_out.mean[:, 0] - y) / held_out.std[:, 0]
    assert np.square(z).mean() == pytest.approx(1.0, abs=0.2)


def test_few_labels_of_many_features_are_not_taken_for_noise() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(20, 3)) @ rng.normal(size=(3, 120))
    y = X[:, 0]
    model = _fit(X, y)
    assert model.held_out is not None
    errors = model.held_out.mean[:, 0] - y
    assert model.noise < 0.1
    assert np.square(errors).mean() < 0.1 * y.var()


@pytest.mark.parametrize(("factor", "shift"), [(1e-160, 0.0), (1e9, 0.0), (-3.0, 2.0), (1.0, 1e6), (1e150, -1e150)])
def test_the_unit_of_the_target_does_not_matter(factor: float, shift: float) -> None:
    X, y = _data()
    base, other = _fit(X[:40], y[:40]).predict(X), _fit(X[:40], factor * y[:40] + shift).predict(X)
    slack = 1e-3 * abs(factor) * y.std()
    np.testing.assert_allclose(other.mean, factor * base.mean + shift, rtol=0, atol=slack)
    np.testing.assert_allclose(other.std, abs(factor) * base.std, rtol=0, atol=slack)


@pytest.mark.parametrize("factor", [1e-200, 1e-3, 1e30])
def test_the_units_of_the_features_do_not_matter(factor: float) -> None:
    X, y = _data()
    base, other = _fit(X[:40], y[:40]).predict(X), _fit(X[:40] * factor, y[:40]).predict(X * factor)
    np.testing.assert_allclose(other.mean, base.mean, rtol=1e-4)
    np.testing.assert_allclose(other.std, base.std, rtol=1e-3)


def test_features_that_do_not_vary_play_no_part() -> None:
    X, y = _data()
    wide = np.insert(X, [0, 2], [[3.7, 0.0]], axis=1)
    model = _fit(wide, y)
    np.testing.assert_array_equal(model.features.columns, [1, 2, 4, 5])
    np.testing.assert_array_equal(model.importances[[0, 3]], 0.0)
    np.testing.assert_array_equal(model.predict(wide).mean, _fit(X, y).predict(X).mean)
    wide[:, 0] = -1e30
    np.testing.assert_array_equal(model.predict(wide).mean, _fit(X, y).predict(X).mean)


def test_far_from_all_labels_it_knows_their_mean_and_spread_only() -> None:
    X, y = _data()
    model = _fit(X * 1e-290, y)
    prediction = model.predict(np.full((2, 4), 3e38))
    np.testing.assert_allclose(prediction.mean, y.mean(), rtol=1e-12)
    np.testing.assert_allclose(prediction.std, y.std() * np.sqrt(1 + model.noise), rtol=1e-12)
    assert np.isfinite(model.draws(np.full((2, 4), 3e38), 4, rng=np.random.default_rng(0))).all()
    assert np.isfinite(model.covariance_factor(np.full((2, 4), 3e38))).all()


def test_a_constant_target_is_certain() -> None:
    X, _y = _data()
    model = _fit(X, np.full(len(X), -1.7))
    np.testing.assert_array_equal(model.predict(X).mean, -1.7)
    np.testing.assert_array_equal(model.predict(X).std, 0.0)
    assert model.held_out is not None
    np.testing.assert_array_equal(model.held_out.mean, -1.7)
    np.testing.assert_array_equal(model.importances, 0.0)
    np.testing.assert_array_equal(model.draws(X, 2, rng=np.random.default_rng(0)), -1.7)


def test_one_label_is_predicted_everywhere() -> None:
    X, y = _data()
    model = _fit(X[:1], y[:1])
    np.testing.assert_array_equal(model.predict(X).mean, y[0])
    assert model.importances.shape == (4,)


def test_a_row_has_the_same_prediction_to_the_last_digit_in_any_company() -> None:
    X, y = _data(1000)
    model = _fit(X[:100], y[:100])
    whole = model.predict(X)
    for rows in ([0], [517], [999], list(range(300, 700)), list(range(999, -1, -1))):
        some = model.predict(X[rows])
        np.testing.assert_array_equal(some.mean, whole.mean[rows])
        np.testing.assert_array_equal(some.std, whole.std[rows])


def test_the_number_of_threads_changes_neither_training_nor_prediction() -> None:
    # From some hundred labels on, linear algebra on two threads gives other last digits.
    X, y = _data(400)
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(limits=n_threads, user_api="blas"):
            model = _fit(X, y, max_iterations=5)
            prediction = model.predict(X)
            factor = model.covariance_factor(X[:50])
            draws = model.draws(X, 2, rng=np.random.default_rng(0))
            assert model.held_out is not None
            found.append((model.length_scales, prediction.mean, prediction.std, model.held_out.mean, factor, draws))
            limits = {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}
            assert limits == {n_threads}
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


def test_it_has_everything_that_a_model_may_have() -> None:
    X, y = _data()
    model = _fit(X, y)
    for capability in (HasDraws, HasHeldOut, HasImportances, KnowsCovariance, Portable):
        assert isinstance(model, capability)
    assert isinstance(GaussianProcess(GaussianProcess.Options()), HasSettings)


def test_what_traveled_is_the_same_in_everything() -> None:
    X, y = _data()
    model = _fit(X, y, kernel="matern_32")
    again = FittedGaussianProcess.from_arrays(model.to_arrays())
    assert again.kernel == "matern_32"
    assert model.held_out is not None
    assert again.held_out is not None
    np.testing.assert_array_equal(again.held_out.std, model.held_out.std)
    np.testing.assert_array_equal(again.covariance_factor(X), model.covariance_factor(X))
    np.testing.assert_array_equal(
        again.draws(X, 2, rng=np.random.default_rng(0)), model.draws(X, 2, rng=np.random.default_rng(0))
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kernel", np.array("cubic"), "no kernel 'cubic'"),
        ("noise", np.array(0.0), "finite and positive"),
        ("noise", np.ones(2), "noise is one number"),
        ("length_scales", np.ones(3), "do not fit together"),
        ("length_scales", -np.ones(4), "finite and positive"),
        ("t", np.full(60, np.nan), "must be finite"),
        ("Z", np.zeros((60, 3)), "do not fit together"),
        ("columns", np.array([0, 1, 2, 9]), "no ascending ones of 4"),
        ("feature_spread", np.zeros(4), "finite and positive"),
        ("feature_center", np.zeros(3), "one number a varying feature each"),
        ("target_spread", np.array(np.inf), "are finite"),
        ("target_center", np.array("far"), "target_center is one number"),
    ],
)
def test_arrays_that_are_no_process_are_refused(name: str, value: Any, message: str) -> None:
    arrays_of_model = _fit(*_data()).to_arrays()
    with pytest.raises(ContractError, match=message):
        FittedGaussianProcess.from_arrays({**arrays_of_model, name: value})
    with pytest.raises(ContractError, match=f"lack {name}"):
        FittedGaussianProcess.from_arrays({key: array for key, array in arrays_of_model.items() if key != name})


def test_settings_are_options_with_values_worth_trying() -> None:
    plug_in = GaussianProcess(GaussianProcess.Options(max_iterations=7))
    for name, values in plug_in.settings.items():
        assert getattr(GaussianProcess.Options(), name) in values
    changed = plug_in.with_settings({"kernel": "rbf", "length_scales": "common"})
    assert changed.options == GaussianProcess.Options(kernel="rbf", length_scales="common", max_iterations=7)
    assert plug_in.options.kernel == "matern_52"


@pytest.mark.parametrize("wrong", [{"kernel": "cubic"}, {"max_iterations": 3}])
def test_other_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="not among the settings: kernel = 'matern_32', 'matern_52', 'rbf'"):
        GaussianProcess(GaussianProcess.Options()).with_settings(wrong)


numbers = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 1e-9, 1e-160]))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n_rows=st.integers(1, 10), n_features=st.integers(1, 3))
def test_whatever_the_labels_beliefs_are_finite_and_nothing_is_surer_than_the_noise(
    data: Any, n_rows: int, n_features: int
) -> None:
    X = data.draw(arrays(np.float64, (n_rows, n_features), elements=numbers))
    y = data.draw(arrays(np.float64, n_rows, elements=numbers))
    model = _fit(X, y, max_iterations=20)
    prediction, held_out = model.predict(X), model.held_out
    largest = np.sqrt(1 + model.noise) * model.target.spread
    assert (prediction.std <= largest * (1 + 1e-9)).all()
    assert (held_out is None) == (n_rows == 1)
    assert (prediction.std >= np.sqrt(model.noise) * model.target.spread * (1 - 1e-9)).all()
    assert held_out is None or (np.isfinite(held_out.mean).all() and np.isfinite(held_out.std).all())
    factor = model.covariance_factor(X)
    assert (np.square(factor).sum(axis=1) <= prediction.std[:, 0] ** 2 * (1 + 1e-9)).all()
    assert np.isfinite(model.draws(X, 2, rng=np.random.default_rng(0))).all()
