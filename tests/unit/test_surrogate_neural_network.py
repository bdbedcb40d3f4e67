"""Neural networks as surrogates."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from active_learning.domain.protocols import Classifies, HasDraws, HasSettings, KnowsCovariance, Portable
from active_learning.errors import ContractError, UserError
from active_learning.surrogates.neural_functions import Perceptrons, inputs_of
from active_learning.surrogates.neural_losses import LOSSES, cross_entropy, noise_variance
from active_learning.surrogates.neural_models import FittedNeuralClassifier, FittedNeuralNetwork
from active_learning.surrogates.neural_network import NeuralNetwork
from active_learning.surrogates.neural_optimizer import AdamW
from active_learning.surrogates.neural_stopping import EarlyStopping
from active_learning.surrogates.neural_training import FEWEST_TO_VALIDATE
from active_learning.surrogates.standardized import StandardFeatures, StandardTarget

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'motherlode[nn]'")

MODES = pytest.mark.parametrize("uncertainty", ["deep_ensemble", "mc_dropout"])


def _network(**options: Any) -> NeuralNetwork:
    few = {"hidden": (16, 16), "n_members": 4, "n_draws": 30, "epochs": 100, "learning_rate": 0.01}
    return NeuralNetwork(NeuralNetwork.Options(**few | options))


def _fit(X: Any, y: Any, seed: int = 1, **options: Any) -> Any:
    return _network(**options).fit(X, y, rng=np.random.default_rng(seed))


def _data(n: int = 80) -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(n, 6))
    return X, 5.0 + X[:, 0] - X[:, 1] * X[:, 2]


def _all_features(n: int) -> StandardFeatures:
    return StandardFeatures(n, np.arange(n), np.zeros(n), np.ones(n))


@contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# What the losses find.


def _skewed() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, size=(500, 1))
    return X, 2.0 * X[:, 0] + rng.exponential(size=500)


@pytest.mark.parametrize(("loss", "center"), [("mse", 1.0), ("mae", np.log(2.0))])
def test_mse_finds_the_mean_and_mae_the_median_of_skewed_noise(loss: str, center: float) -> None:
    X, y = _skewed()
    at = np.linspace(-0.9, 0.9, 50)[:, None]
    found = _fit(X, y, loss=loss).predict(at).mean[:, 0] - 2.0 * at[:, 0]
    assert np.mean(found) == pytest.approx(center, abs=0.1)
    assert np.abs(found - center).mean() < 0.15


def test_gaussian_nll_finds_the_noise_where_it_is() -> None:
    rng = np.random.default_rng(4)
    X = rng.uniform(-1, 1, size=(800, 1))
    y = 10.0 + np.sin(3 * X[:, 0]) + rng.normal(size=800) * (0.3 + 0.25 * X[:, 0])
    model = _fit(X, y, loss="gaussian_nll", hidden=(24, 24), batch_size=64, weight_decay=0.01)
    at = np.linspace(-0.8, 0.8, 9)[:, None]
    prediction = model.predict(at)
    assert model.knows_noise
    np.testing.assert_allclose(prediction.std[:, 0], 0.3 + 0.25 * at[:, 0], rtol=0.35)
    np.testing.assert_allclose(prediction.mean[:, 0], 10.0 + np.sin(3 * at[:, 0]), atol=0.15)


def test_only_gaussian_nll_learns_noise() -> None:
    assert not _fit(*_data(), epochs=2).knows_noise


def test_losses_are_those_of_pytorch() -> None:
    rng = np.random.default_rng(0)
    outputs = torch.from_numpy(rng.normal(size=(3, 7, 2), scale=3.0))
    y = torch.from_numpy(rng.normal(size=(3, 7)))
    functional = torch.nn.functional
    mean, variance = outputs[..., 0], functional.softplus(outputs[..., 1]) + 1e-6
    references = {
        "mse": functional.mse_loss(mean, y, reduction="none"),
        "mae": functional.l1_loss(mean, y, reduction="none"),
        "gaussian_nll": functional.gaussian_nll_loss(mean, y, variance, reduction="none"),
    }
    assert references.keys() == LOSSES.keys()
    for name, reference in references.items():
        np.testing.assert_allclose(LOSSES[name](outputs, y), reference, rtol=1e-9)
    np.testing.assert_allclose(noise_variance(outputs[..., 1].numpy()), variance, rtol=1e-9)
    classes = torch.from_numpy(rng.integers(2, size=(3, 7)))
    reference = functional.cross_entropy(outputs.reshape(-1, 2), classes.reshape(-1), reduction="none").reshape(3, 7)
    np.testing.assert_allclose(cross_entropy(outputs, classes), reference, rtol=1e-9)


def test_the_optimizer_takes_the_steps_of_pytorchs() -> None:
    rng = np.random.default_rng(1)
    start = [rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 1, 4))]
    factor = torch.from_numpy(rng.normal(size=(2, 5, 3)))

    def loss_of(weights: Any, biases: Any) -> Any:
        return (factor @ weights + biases).square().sum()

    ours, theirs = ([torch.from_numpy(a.copy()).requires_grad_() for a in start] for _ in range(2))
    mine = AdamW([(ours[0], ours[1])], 0.05, 0.3)
    groups = [{"params": [theirs[0]], "weight_decay": 0.3}, {"params": [theirs[1]], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.05)
    for _ in range(20):
        mine.step(loss_of(*ours))
        reference.zero_grad()
        loss_of(*theirs).backward()
        reference.step()
    for one, other, first in zip(ours, theirs, start, strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=1e-9)
        assert np.abs(one.detach().numpy() - first).max() > 0.1


# The doubt.


def test_dropout_at_prediction_really_varies() -> None:
    X, y = _data()
    model = _fit(X, y, uncertainty="mc_dropout", dropout=0.2, hidden=(64, 64))
    assert model.functions.n_functions == 30
    kept = np.mean([mask.mean() for mask in model.functions.masks])
    assert kept == pytest.approx(0.8, abs=0.04)
    assert (model.predict(X).std > 0).all()


def test_one_network_without_dropout_would_have_no_doubt_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="dropout = 0 leaves none"):
        NeuralNetwork.Options(uncertainty="mc_dropout", dropout=0.0)


def test_an_ensemble_doubts_more_the_farther_it_is_from_the_labels() -> None:
    X = np.random.default_rng(2).uniform(-1, 1, size=(80, 1))
    model = _fit(X, np.sin(3 * X[:, 0]), n_members=8)
    inside, near, far = (model.predict(np.array([[x], [-x]])).std.mean() for x in (0.5, 2.0, 4.0))
    assert 2 * inside < near
    assert near < far


def test_members_differ_because_they_began_differently() -> None:
    model = _fit(*_data(), epochs=1)
    weights = model.functions.layers[0][0]
    assert len(weights) == 4
    assert all(not np.allclose(weights[0], other) for other in weights[1:])


def test_networks_are_what_pytorch_says_of_their_weights() -> None:
    X, y = _data()
    model = _fit(X, y, epochs=5)
    rng = np.random.default_rng(0)
    draws = model.draws(X, 4, rng=rng)
    inputs = torch.from_numpy((X - X.mean(axis=0)) / X.std(axis=0))
    for row, member in zip(draws, np.random.default_rng(0).permutation(4), strict=True):
        units = inputs
        for number, (weights, biases) in enumerate(model.functions.layers):
            layer = [torch.from_numpy(array[member].copy()) for array in (weights, biases)]
            units = torch.nn.functional.linear(torch.relu(units) if number else units, layer[0].T, layer[1][0])
        np.testing.assert_allclose(row, y.mean() + y.std() * units[:, 0].numpy(), rtol=1e-9)


def test_masks_drop_units_and_the_others_stand_in_for_them() -> None:
    ones = (np.ones((1, 1, 2)), np.zeros((1, 1, 2))), (np.array([[[1.0], [10.0]]]), np.zeros((1, 1, 1)))
    masks = (np.array([[True, True], [True, False], [False, True], [False, False]]),)
    functions = Perceptrons(_all_features(1), ones, masks, keep=0.5)
    ((_rows, outputs),) = functions.tiles(np.array([[3.0], [-3.0]]))
    np.testing.assert_allclose(outputs[:, :, 0], [[66.0, 0.0], [6.0, 0.0], [60.0, 0.0], [0.0, 0.0]])


def test_noise_and_spread_add_up_as_in_a_mixture_of_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    biases = rng.normal(size=(5, 1, 2), scale=2.0)
    functions = Perceptrons(_all_features(1), ((np.zeros((5, 1, 2)), biases),))
    prediction = FittedNeuralNetwork(functions, StandardTarget(7.0, 3.0)).predict(np.zeros((1, 1)))
    std = np.sqrt(np.log1p(np.exp(biases[:, 0, 1])))
    sample = 7.0 + 3.0 * rng.normal(biases[:, 0, 0], std, size=(200_000, 5)).ravel()
    assert prediction.mean[0, 0] == pytest.approx(sample.mean(), abs=0.03)
    assert prediction.std[0, 0] == pytest.approx(sample.std(), rel=0.01)


@MODES
def test_draws_have_the_mean_and_the_spread_of_the_prediction(uncertainty: str) -> None:
    X, y = _data()
    model = _fit(X, y, uncertainty=uncertainty, hidden=(64, 64), epochs=20)
    n = model.functions.n_functions
    draws, prediction = model.draws(X, 2 * n, rng=np.random.default_rng(0)), model.predict(X)
    np.testing.assert_allclose(draws.mean(axis=0), prediction.mean[:, 0], rtol=1e-9)
    np.testing.assert_allclose(draws.std(axis=0), prediction.std[:, 0], rtol=1e-9)
    assert len(np.unique(draws[:n].round(9), axis=0)) == n, "none comes twice before all have come"


@MODES
def test_draws_are_functions_whichever_rows_are_asked_for(uncertainty: str) -> None:
    X, y = _data()
    model = _fit(X, y, uncertainty=uncertainty, epochs=5)
    whole = model.draws(X, 7, rng=np.random.default_rng(5))
    some = model.draws(X[60:], 7, rng=np.random.default_rng(5))
    np.testing.assert_allclose(some, whole[:, 60:], rtol=1e-9)
    with pytest.raises(ContractError, match="cannot draw 0 functions"):
        model.draws(X, 0, rng=np.random.default_rng(5))


@pytest.mark.parametrize("loss", ["mse", "gaussian_nll"])
@MODES
def test_the_covariance_is_that_of_the_functions_and_no_noise_is_in_it(uncertainty: str, loss: str) -> None:
    X, y = _data()
    model = _fit(X, y, uncertainty=uncertainty, loss=loss, epochs=20)
    n, factor, std = model.functions.n_functions, model.covariance_factor(X), model.predict(X).std[:, 0]
    assert factor.shape == (80, n)
    draws = model.draws(X, n, rng=np.random.default_rng(0))
    np.testing.assert_allclose(factor @ factor.T, np.cov(draws, rowvar=False, bias=True), rtol=1e-7, atol=1e-12)
    own = np.square(factor).sum(axis=1)
    assert (own <= np.square(std) * (1 + 1e-9)).all()
    assert (own < 0.999 * np.square(std)).all() == (loss == "gaussian_nll")


# Training.


def test_training_stops_and_takes_the_best_weights_of_each_network() -> None:
    stopping = EarlyStopping(2, 2)
    course = [(5.0, 5.0), (3.0, 6.0), (4.0, 7.0), (1.0, 1.0), (2.0, 0.0), (2.0, 0.0)]
    seen = []
    for epoch, losses in enumerate(course):
        assert not stopping.is_over
        layer = (torch.full((2, 1, 1), float(epoch)), torch.full((2, 1, 1), -float(epoch)))
        stopping.look(np.array(losses), [layer])
        seen.append(stopping.layers[0][0].ravel().tolist())
    assert stopping.is_over
    assert seen == [[0, 0], [1, 0], [1, 0], [3, 0], [3, 0], [3, 0]], "the second had stopped before its loss was 1"
    np.testing.assert_array_equal(stopping.layers[0][1], -stopping.layers[0][0])


def test_a_training_that_has_stopped_does_not_care_for_how_long_it_might_have_gone_on() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 10)), rng.normal(size=60)
    options = {"patience": 3, "validation": 0.3, "n_members": 2}
    short, long, shorter = (_fit(X, y, **options, epochs=epochs).functions.layers[0][0] for epochs in (60, 600, 1))
    np.testing.assert_array_equal(short, long)
    assert (short != shorter).any()


def test_early_stopping_keeps_networks_from_learning_noise_by_heart() -> None:
    rng = np.random.default_rng(1)
    X, y, X_new = rng.normal(size=(100, 20)), rng.normal(size=100), rng.normal(size=(300, 20))
    stopped, to_the_end = (_fit(X, y, validation=share, epochs=200).predict(X_new).mean for share in (0.3, 0.0))
    assert 1.5 * np.square(stopped).mean() < np.square(to_the_end).mean()


@pytest.mark.parametrize(("n_labels", "is_kept_back"), [(FEWEST_TO_VALIDATE - 1, False), (FEWEST_TO_VALIDATE, True)])
def test_few_labels_are_all_trained_on(n_labels: int, is_kept_back: bool) -> None:
    X, y = _data(n_labels)
    with_share, without = (_fit(X, y, validation=share, epochs=3).predict(X).mean for share in (0.3, 0.0))
    assert (with_share != without).any() == is_kept_back


def test_a_training_that_goes_astray_is_an_error() -> None:
    with pytest.raises(UserError, match=r"went astray: .* choose a learning_rate below 1"):
        _fit(*_data(), learning_rate=1.0, weight_decay=10.0, epochs=1000)


@MODES
def test_the_same_seed_gives_the_same_network_on_one_and_two_threads(uncertainty: str) -> None:
    X, y = _data(300)
    predictions = []
    for n in (1, 2):
        with _torch_threads(n), threadpool_limits(limits=n, user_api="blas"):
            model = _fit(X, y, uncertainty=uncertainty, hidden=(64, 64), epochs=3, batch_size=128)
            predictions.append(model.predict(X))
            assert torch.get_num_threads() == n, "what was set before is set again"
    np.testing.assert_array_equal(predictions[0].mean, predictions[1].mean)
    np.testing.assert_array_equal(predictions[0].std, predictions[1].std)


def test_pytorchs_global_random_state_plays_no_part() -> None:
    X, y = _data()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _fit(X, y, uncertainty="mc_dropout", epochs=3).predict(X)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    np.testing.assert_array_equal(_fit(X, y, uncertainty="mc_dropout", epochs=3).predict(X).std, first.std)


def test_another_seed_gives_other_networks() -> None:
    X, y = _data()
    assert (_fit(X, y, 1, epochs=3).predict(X).mean != _fit(X, y, 2, epochs=3).predict(X).mean).all()


def test_a_row_predicts_the_same_to_the_last_digit_alone_and_in_company() -> None:
    X, y = _data(600)
    model = _fit(X, y, uncertainty="mc_dropout", epochs=2)
    np.testing.assert_array_equal(model.predict(X[:1]).mean, model.predict(X).mean[:1])
    np.testing.assert_array_equal(model.predict(X[:300]).std, model.predict(X).std[:300])


# Odd data.


@pytest.mark.parametrize("unit", [2.0**-500, 2.0**40])
def test_the_unit_of_the_target_does_not_matter(unit: float) -> None:
    X, y = _data()
    plain, scaled = (_fit(X, y * factor, loss="gaussian_nll", epochs=5).predict(X) for factor in (1.0, unit))
    np.testing.assert_allclose(scaled.mean, plain.mean * unit, rtol=1e-9)
    np.testing.assert_allclose(scaled.std, plain.std * unit, rtol=1e-9)


@MODES
def test_a_constant_target_is_met_exactly_and_with_certainty(uncertainty: str) -> None:
    X, _y = _data(30)
    model = _fit(X, np.full(30, 0.1), uncertainty=uncertainty, loss="gaussian_nll", epochs=3)
    np.testing.assert_array_equal(model.predict(X).mean, 0.1)
    np.testing.assert_array_equal(model.predict(X).std, 0.0)


def test_a_feature_that_never_varied_says_nothing() -> None:
    X, y = _data()
    X[:, 3] = 7.0
    model = _fit(X, y, epochs=3)
    other = X.copy()
    other[:, 3] = 1e6
    np.testing.assert_array_equal(model.predict(other).mean, model.predict(X).mean)


def test_a_feature_ten_standard_deviations_off_is_as_odd_as_can_be() -> None:
    X, y = _data()
    features = StandardFeatures.of(X)
    ten, far = X[:1] + 20 * X.std(axis=0), X[:1] + 1e30
    np.testing.assert_array_equal(inputs_of(features, far), 10.0)
    model = _fit(X, y, epochs=3)
    np.testing.assert_array_equal(model.predict(far).mean, model.predict(ten).mean)


_numbers = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 1e-9, 1e-160]))


@st.composite
def _labels(draw: Any) -> tuple[Any, Any]:
    n_rows, n_features = draw(st.integers(1, 25)), draw(st.integers(1, 3))
    X = draw(arrays(np.float64, (n_rows, n_features), elements=_numbers))
    return X, draw(arrays(np.float64, n_rows, elements=_numbers))


@MODES
@settings(max_examples=15, deadline=None)
@given(data=_labels(), loss=st.sampled_from(sorted(LOSSES)))
def test_whatever_the_labels_beliefs_are_finite_and_consistent(uncertainty: str, data: Any, loss: str) -> None:
    X, y = data
    model = _fit(X, y, uncertainty=uncertainty, loss=loss, hidden=(5,), n_draws=4, epochs=2)
    prediction, factor = model.predict(X), model.covariance_factor(X)
    draws = model.draws(X, 4, rng=np.random.default_rng(0))
    size = np.abs(y).max()
    np.testing.assert_allclose(draws.mean(axis=0), prediction.mean[:, 0], rtol=1e-9, atol=1e-9 * size)
    np.testing.assert_allclose(np.sqrt((factor**2).sum(axis=1)), draws.std(axis=0), rtol=1e-6, atol=1e-9 * size)
    assert (draws.std(axis=0) <= prediction.std[:, 0] + 1e-9 * size).all()


# Classes.


def _classes(X: Any, y: Any, seed: int = 1, **options: Any) -> Any:
    return _network(**options).classifier().fit(X, y, rng=np.random.default_rng(seed))


@MODES
def test_probabilities_are_those_of_two_normal_distributions(uncertainty: str) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=600)
    X = rng.normal(size=(600, 1)) + np.where(y, 1.0, -1.0)[:, None]
    at = np.linspace(-2, 2, 21)[:, None]
    probabilities = _classes(X, y, uncertainty=uncertainty).predict(at).probabilities
    assert probabilities is not None
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    # Bayes: log odds of N(1, 1) against N(-1, 1) are 2 x.
    assert np.abs(probabilities[:, 1] - 1 / (1 + np.exp(-2 * at[:, 0]))).mean() < 0.05


@MODES
def test_classes_that_are_apart_are_told_apart(uncertainty: str) -> None:
    rng = np.random.default_rng(1)
    classes = np.array([-1.0, 2.0, 5.0])
    places = rng.integers(3, size=200)
    X = rng.normal(size=(200, 2), scale=0.3) + np.array([[0, 0], [3, 0], [0, 3]])[places]
    prediction = _classes(X[:120], classes[places[:120]], uncertainty=uncertainty).predict(X[120:])
    assert prediction.probabilities is not None
    np.testing.assert_array_equal(prediction.classes, classes)
    right = prediction.probabilities[np.arange(80), places[120:]]
    assert (right > 0.5).all()
    assert right.mean() > 0.9
    np.testing.assert_allclose(prediction.mean[:, 0], prediction.probabilities @ classes, rtol=1e-12)


@pytest.mark.parametrize("n_labels", [1, 30])
def test_one_class_alone_is_certain(n_labels: int) -> None:
    X, _y = _data(n_labels)
    prediction = _classes(X, np.full(n_labels, 3.0), epochs=3).predict(X)
    np.testing.assert_array_equal(prediction.probabilities, np.ones((n_labels, 1)))
    np.testing.assert_array_equal(prediction.mean, 3.0)
    np.testing.assert_array_equal(prediction.std, 0.0)


def test_the_only_label_of_a_class_is_trained_on_by_every_network() -> None:
    X = np.random.default_rng(0).normal(size=(30, 2))
    X[4] = [6.0, 6.0]
    model = _classes(X, np.arange(30) == 4, validation=0.5, n_members=8, epochs=150)
    probabilities = model.predict(X[4:5]).probabilities
    assert probabilities is not None
    assert probabilities[0, 1] > 0.8


def test_a_classifier_travels() -> None:
    X, y = _data(30)
    model = _classes(X, y > 5, uncertainty="mc_dropout", epochs=3)
    assert isinstance(model, Portable)
    again = FittedNeuralClassifier.from_arrays(model.to_arrays())
    np.testing.assert_array_equal(again.predict(X).probabilities, model.predict(X).probabilities)


# Where it stands among the protocols, and what it refuses.


def test_it_can_do_what_it_says() -> None:
    surrogate = _network(epochs=1)
    model = surrogate.fit(*_data(), rng=np.random.default_rng(0))
    assert isinstance(surrogate, Classifies)
    assert isinstance(surrogate, HasSettings)
    assert isinstance(surrogate.classifier(), HasSettings)
    for protocol in (HasDraws, KnowsCovariance, Portable):
        assert isinstance(model, protocol)
    with pytest.raises(dataclasses.FrozenInstanceError, match="target"):
        model.target = StandardTarget(0.0, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        model.functions.layers[0][0][:] = 0.0


@MODES
def test_every_setting_can_be_tried_and_the_default_is_one_of_them(uncertainty: str) -> None:
    surrogate = NeuralNetwork(NeuralNetwork.Options(uncertainty=uncertainty))
    assert list(surrogate.settings) == ["hidden", "dropout", "learning_rate", "weight_decay"]
    for name, values in surrogate.settings.items():
        assert getattr(surrogate.options, name) in values
        for value in values:
            changed = surrogate.with_settings({name: value}).options
            assert changed == surrogate.options.model_copy(update={name: value})
            assert changed == NeuralNetwork.Options.model_validate(changed.model_dump()), "it is within the ranges"
    assert surrogate.with_settings({"hidden": [32, 32]}).options.hidden == (32, 32)


@pytest.mark.parametrize("wrong", [{"dropout": 0.123}, {"n_members": 5}])
def test_other_settings_are_refused(wrong: Any) -> None:
    with pytest.raises(ContractError, match="is not among the settings: hidden = "):
        _network().with_settings(wrong)


def test_dropout_is_on_where_the_doubt_comes_of_it() -> None:
    options = NeuralNetwork.Options
    assert options().dropout == 0.0
    assert options(uncertainty="mc_dropout").dropout == 0.1
    assert options(uncertainty="mc_dropout", dropout=0.3).dropout == 0.3


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden", ()), ("hidden", (0,)), ("dropout", 1.0), ("n_members", 1), ("loss", "rmse"), ("validation", 0.6)],
)
def test_options_out_of_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=key):
        NeuralNetwork.Options(**{key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights1": None}, "lack weights1"),
        ({"target_center": None}, "lack target_center"),
        ({"weights1": np.zeros((1, 3, 1))}, r"weights of layer 1 are \(1, 16, n_units\), got \(1, 3, 1\)"),
        ({"biases0": np.zeros(16)}, r"biases of layer 0 are \(1, 1, 16\), got \(16,\)"),
        ({"biases0": np.full((1, 1, 16), np.nan)}, "a number is not finite"),
        ({"mask0": np.ones((4, 3), dtype=bool)}, "masks are"),
        ({"keep": np.array(0.0)}, r"keep is 0.0, not in \(0, 1\]"),
        ({"n_layers": np.array(0)}, "there is no layer"),
    ],
)
def test_damaged_arrays_are_refused(change: dict[str, Any], message: str) -> None:
    arrays_ = dict(_fit(*_data(), uncertainty="mc_dropout", hidden=(16,), epochs=1).to_arrays()) | change
    kept = {name: array for name, array in arrays_.items() if array is not None}
    with pytest.raises(ContractError, match=message):
        FittedNeuralNetwork.from_arrays(kept)


def test_a_number_has_one_or_two_outputs_and_classes_one_each() -> None:
    functions = Perceptrons(_all_features(1), ((np.zeros((1, 1, 3)), np.zeros((1, 1, 3))),))
    with pytest.raises(ContractError, match="one output, or two with its noise; got 3"):
        FittedNeuralNetwork(functions, StandardTarget(0.0, 1.0))
    with pytest.raises(ContractError, match=r"3 classes are needed, finite and ascending; got \[1.0, 0.0, 2.0\]"):
        FittedNeuralClassifier(functions, np.array([1.0, 0.0, 2.0]))


def test_a_missing_pytorch_is_said_before_anything_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    options = NeuralNetwork.Options()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'motherlode\[nn\]'"):
        NeuralNetwork(options)


@MODES
def test_a_network_predicts_in_a_process_without_pytorch(uncertainty: str, tmp_path: Path) -> None:
    X, y = _data()
    model = _fit(X, y, uncertainty=uncertainty, epochs=3)
    np.savez(tmp_path / "model.npz", X=X, **model.to_arrays())
    code = (
        "import sys\nimport numpy as np\nimport active_learning.surrogates.neural_network\n"
        "from active_learning.surrogates.neural_models import FittedNeuralNetwork\n"
        "with np.load(sys.argv[1], allow_pickle=False) as file:\n"
        "    arrays = {name: file[name] for name in file.files}\n"
        "prediction = FittedNeuralNetwork.from_arrays(arrays).predict(arrays['X'])\n"
        "assert 'torch' not in sys.modules\n"
        "np.save(sys.argv[2], np.hstack([prediction.mean, prediction.std]))\n"
    )
    files = [str(tmp_path / name) for name in ("model.npz", "said.npy")]
    subprocess.run([sys.executable, "-c", code, *files], check=True, cwd=Path(__file__).parents[2])
    here = model.predict(X)
    np.testing.assert_array_equal(np.load(files[1], allow_pickle=False), np.hstack([here.mean, here.std]))
