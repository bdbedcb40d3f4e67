"""Bagged support vector machines as a surrogate."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits

from active_learning.domain.protocols import HasDraws, HasHeldOut, HasSettings, KnowsCovariance, Portable
from active_learning.errors import ContractError
from active_learning.surrogates.support_vector import FittedSupportVector, SupportVector


def _data(n: int = 60) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)) * [1.0, 10.0, 0.1, 3.0] + 5.0
    return X, 7.0 + np.sin(2.0 * X[:, 0]) + 0.1 * X[:, 1] + 0.2 * rng.normal(size=n)


def _fit(X: Any, y: Any, seed: int = 1, **options: Any) -> FittedSupportVector:
    plug_in = SupportVector(SupportVector.Options(**{"n_members": 20, **options}))
    return plug_in.fit(X, y, rng=np.random.default_rng(seed))


def _each(model: FittedSupportVector, X: Any) -> Any:
    """What each machine says, in the target's unit, (n_members, n_candidates)."""
    n_members = len(model.intercepts)
    order = np.random.default_rng(0).permutation(n_members)
    values = np.empty((n_members, len(X)))
    values[order] = model.draws(X, n_members, rng=np.random.default_rng(0))
    return values


@pytest.mark.parametrize("options", [{"C": 1.0, "gamma": 1.0}, {"C": 30.0, "epsilon": 0.02}])
def test_each_machine_is_that_of_scikit_learn_trained_on_repeated_rows(options: Any) -> None:
    X, y = _data()
    model = _fit(X[:40], y[:40], **options)
    settings = {"C": 10.0, "epsilon": 0.1, "gamma": 0.3} | options
    mean, std = X[:40].mean(axis=0), X[:40].std(axis=0)
    Z, t = (X - mean) / std, (y - y[:40].mean()) / y[:40].std()
    rng = np.random.default_rng(1)
    # "scale" of scikit-learn is 1 / number of features here.
    settings["gamma"] /= 4
    members = []
    for _ in range(20):
        rows = rng.integers(40, size=40)
        machine = SVR(tol=1e-3, **settings).fit(Z[rows], t[rows])
        members.append(y[:40].mean() + y[:40].std() * machine.predict(Z))
    np.testing.assert_allclose(_each(model, X), members, atol=0.02 * y.std())
    prediction = model.predict(X)
    np.testing.assert_allclose(prediction.mean[:, 0], np.mean(members, axis=0), atol=0.005 * y.std())
    np.testing.assert_allclose(prediction.std[:, 0], np.std(members, axis=0), atol=0.005 * y.std())


def test_its_settings_make_a_difference() -> None:
    X, y = _data()
    base = _fit(X, y).predict(X).mean
    for change in ({"C": 0.3}, {"gamma": 3.0}, {"epsilon": 0.3}):
        assert np.abs(_fit(X, y, **change).predict(X).mean - base).max() > 0.02 * y.std()


def test_draws_are_machines_and_none_comes_again_before_all_have_come() -> None:
    X, y = _data()
    model, prediction = _fit(X[:40], y[:40]), _fit(X[:40], y[:40]).predict(X)
    draws = model.draws(X, 40, rng=np.random.default_rng(3))
    assert draws.shape == (40, 60)
    np.testing.assert_allclose(draws.mean(axis=0), prediction.mean[:, 0], rtol=1e-12)
    np.testing.assert_allclose(draws.std(axis=0), prediction.std[:, 0], rtol=1e-9)
    assert len(np.unique(draws[:20, 0])) == 20
    np.testing.assert_array_equal(np.unique(draws[:20, 0]), np.unique(draws[20:, 0]))


def test_the_same_generator_draws_the_same_functions_whichever_rows_are_asked_for() -> None:
    X, y = _data(600)
    model = _fit(X[:40], y[:40])
    whole = model.draws(X, 3, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(model.draws(X[300:], 3, rng=np.random.default_rng(5)), whole[:, 300:])
    assert not np.array_equal(model.draws(X, 3, rng=np.random.default_rng(6)), whole)


def test_no_function_cannot_be_drawn() -> None:
    X, y = _data()
    with pytest.raises(ContractError, match="at least one function must be drawn, got 0"):
        _fit(X, y).draws(X, 0, rng=np.random.default_rng(0))


def test_the_covariance_is_that_of_the_machines() -> None:
    X, y = _data()
    model = _fit(X[:40], y[:40])
    factor = model.covariance_factor(X)
    assert factor.shape == (60, 20)
    np.testing.assert_allclose(factor @ factor.T, np.cov(_each(model, X), rowvar=False, ddof=0), atol=1e-12)
    np.testing.assert_allclose(np.square(factor).sum(axis=1), model.predict(X).std[:, 0] ** 2, rtol=1e-9)


def test_a_label_held_out_is_predicted_by_the_machines_that_have_not_seen_it() -> None:
    X, y = _data(30)
    model = _fit(X, y, n_members=40)
    rng = np.random.default_rng(1)
    is_seen = np.array([np.isin(np.arange(30), rng.integers(30, size=30)) for _ in range(40)])
    members, held_out = _each(model, X), model.held_out
    assert held_out is not None
    for row in range(30):
        others = members[~is_seen[:, row], row]
        np.testing.assert_allclose(held_out.mean[row], others.mean(), rtol=1e-10)
        np.testing.assert_allclose(held_out.std[row], others.std(ddof=1) * np.sqrt(39 / 40), rtol=1e-8)
    seen = np.abs(model.predict(X).mean[:, 0] - y).mean()
    assert np.abs(held_out.mean[:, 0] - y).mean() > 1.2 * seen


def test_nothing_is_held_out_if_too_few_machines_have_not_seen_a_label() -> None:
    X, y = _data()
    assert _fit(X, y, n_members=2).held_out is None


@pytest.mark.parametrize(("factor", "shift"), [(1e-160, 0.0), (1e9, 0.0), (4.0, 1e4), (1e150, 0.0)])
def test_the_unit_of_the_target_does_not_matter(factor: float, shift: float) -> None:
    X, y = _data()
    base, other = _fit(X[:40], y[:40]).predict(X), _fit(X[:40], factor * y[:40] + shift).predict(X)
    slack = 0.01 * factor * y.std()
    np.testing.assert_allclose(other.mean, factor * base.mean + shift, rtol=0, atol=slack)
    np.testing.assert_allclose(other.std, factor * base.std, rtol=0, atol=slack)


def test_features_that_do_not_vary_play_no_part() -> None:
    X, y = _data()
    wide = np.insert(X, [0, 2], [[3.7, 0.0]], axis=1)
    prediction = _fit(wide, y).predict(np.where(np.arange(6) == 0, 1e30, wide))
    np.testing.assert_array_equal(prediction.mean, _fit(X, y).predict(X).mean)


def test_far_from_all_labels_only_the_intercepts_are_left() -> None:
    X, y = _data()
    model = _fit(X, y)
    far = model.predict(np.full((1, 4), 3e38))
    np.testing.assert_allclose(far.mean[0, 0], y.mean() + y.std() * model.intercepts.mean(), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 20])
def test_a_constant_target_is_certain(n: int) -> None:
    X, _y = _data()
    model = _fit(X[:n], np.full(n, -1.7))
    np.testing.assert_array_equal(model.predict(X).mean, -1.7)
    np.testing.assert_array_equal(model.predict(X).std, 0.0)


def test_the_number_of_threads_changes_nothing() -> None:
    X, y = _data(400)
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(limits=n_threads, user_api="blas"):
            prediction = _fit(X, y, n_members=3).predict(X)
            found.append((prediction.mean, prediction.std))
    np.testing.assert_array_equal(found[0], found[1])


def test_it_has_what_a_bag_of_machines_may_have() -> None:
    model = _fit(*_data())
    for capability in (HasDraws, HasHeldOut, KnowsCovariance, Portable):
        assert isinstance(model, capability)
    assert isinstance(SupportVector(SupportVector.Options()), HasSettings)


def test_what_traveled_is_the_same_in_everything() -> None:
    X, y = _data()
    model = _fit(X, y, n_members=30)
    again = FittedSupportVector.from_arrays(model.to_arrays())
    assert model.held_out is not None
    assert again.held_out is not None
    np.testing.assert_array_equal(again.held_out.std, model.held_out.std)
    np.testing.assert_array_equal(again.covariance_factor(X), model.covariance_factor(X))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("Z", np.zeros((60, 3)), "4 varying features"),
        ("coefficients", np.zeros((60, 3)), r"coefficients \(60, 3\)"),
        ("coefficients", np.full((60, 20), np.inf), "must be finite"),
        ("is_seen", np.zeros((60, 20)), "array of bool"),
        ("length_scale", np.array(0.0), "length scale is finite and positive"),
        ("length_scale", np.ones(2), "length_scale is one number"),
        ("target_spread", np.array(-1.0), "are finite"),
    ],
)
def test_arrays_that_are_no_machines_are_refused(name: str, value: Any, message: str) -> None:
    arrays = _fit(*_data()).to_arrays()
    with pytest.raises(ContractError, match=message):
        FittedSupportVector.from_arrays({**arrays, name: value})
    with pytest.raises(ContractError, match=f"lack {name}"):
        FittedSupportVector.from_arrays({key: array for key, array in arrays.items() if key != name})


def test_a_trained_model_is_frozen() -> None:
    model: Any = _fit(*_data())
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'length_scale'"):
        model.length_scale = 2.0


def test_settings_are_options_with_values_worth_trying() -> None:
    plug_in = SupportVector(SupportVector.Options(n_members=7))
    for name, values in plug_in.settings.items():
        assert getattr(SupportVector.Options(), name) in values
        assert list(values) == sorted(values)
    assert plug_in.with_settings({"C": 3.0}).options == SupportVector.Options(n_members=7, C=3.0)


@pytest.mark.parametrize("wrong", [{"C": 4.0}, {"n_members": 30}])
def test_other_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"not among the settings: C = 0\.3, 1\.0"):
        SupportVector(SupportVector.Options()).with_settings(wrong)
