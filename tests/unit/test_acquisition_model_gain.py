"""The expected gain of a model, against a Gaussian process that is really given the label, and against draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from active_learning.acquisition import model_gain
from active_learning.acquisition.model_gain import ExpectedModelGain
from active_learning.domain.choosing import Scoring
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.testing.acquisition import scoring_for

NOISE = 0.3
LEARN = Target("property", Goal.LEARN, "eV")


@dataclass(frozen=True)
class Process:
    """A Gaussian process with given length scale and noise."""

    X: Any
    y: Any

    def _fitted(self, X: Any, y: Any) -> Any:
        return GaussianProcessRegressor(RBF(0.8), alpha=NOISE**2, optimizer=None).fit(X, y)

    def predict(self, X: Any) -> Prediction:
        mean, std = self._fitted(self.X, self.y).predict(X, return_std=True)
        return Prediction(mean[:, None], np.sqrt(std**2 + NOISE**2)[:, None])

    def covariance_factor(self, X: Any) -> Any:
        _mean, covariance = self._fitted(self.X, self.y).predict(X, return_cov=True)
        values, vectors = np.linalg.eigh(covariance)
        return vectors * np.sqrt(np.maximum(values, 0.0))

    def variance_after(self, X: Any, x: Any) -> Any:
        """Variance of the function at `X` if a label at `x` were known; its value plays no part."""
        model = self._fitted(np.vstack([self.X, x]), np.append(self.y, 0.0))
        return model.predict(X, return_std=True)[1] ** 2


def _scoring(model: Any, X: Any, seed: int = 0) -> tuple[Prediction, Scoring]:
    scoring = Scoring(
        LEARN, None, 1, len(X), lambda: X, np.zeros((1, X.shape[1])), np.zeros(1), model, np.random.default_rng(seed)
    )
    return model.predict(X), scoring


def _process() -> tuple[Process, Any]:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40, 2))
    return Process(X[:6], X[:6].sum(axis=1)), X[6:]


def test_the_gain_is_what_a_gaussian_process_gains_that_is_given_the_label() -> None:
    model, X = _process()
    scores = ExpectedModelGain(ExpectedModelGain.Options()).score(*_scoring(model, X))
    before = model._fitted(model.X, model.y).predict(X, return_std=True)[1] ** 2
    expected = [1 - model.variance_after(X, x).sum() / before.sum() for x in X]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert max(expected) > 3 * min(expected)


def test_a_sample_is_averaged_over_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model, X = _process()
    rule = ExpectedModelGain(ExpectedModelGain.Options(sample=10))
    whole = rule.score(*_scoring(model, X, seed=4))
    sample = X[np.sort(np.random.default_rng(4).choice(len(X), size=10, replace=False))]
    before = model._fitted(model.X, model.y).predict(sample, return_std=True)[1] ** 2
    expected = [1 - model.variance_after(sample, x).sum() / before.sum() for x in X]
    np.testing.assert_allclose(whole, expected, rtol=1e-6)
    monkeypatch.setattr(model_gain, "_BLOCK", 5)
    np.testing.assert_allclose(rule.score(*_scoring(model, X, seed=4)), whole, rtol=1e-6)


def test_the_gain_is_the_variance_that_a_regression_on_drawn_labels_explains() -> None:
    prediction, scoring = scoring_for(Goal.LEARN)
    noisy = Prediction(prediction.mean, prediction.std * 1.2)
    scores = ExpectedModelGain(ExpectedModelGain.Options()).score(noisy, scoring)
    rng = np.random.default_rng(6)
    functions = scoring.model.draws(scoring.X, 20_000, rng=rng)  # type: ignore[attr-defined]
    labels = functions + rng.normal(size=functions.shape) * prediction.std[:, 0] * np.sqrt(1.2**2 - 1)
    centered, labels = functions - functions.mean(axis=0), labels - labels.mean(axis=0)
    covariance = labels.T @ centered / len(labels)
    explained = (covariance**2).sum(axis=1) / labels.var(axis=0) / functions.var(axis=0).sum()
    np.testing.assert_allclose(scores, explained, atol=0.015)


def test_a_candidate_unlike_all_others_teaches_little() -> None:
    model, X = _process()
    X = np.vstack([X, [[50.0, 50.0]]])
    prediction, scoring = _scoring(model, X)
    scores = ExpectedModelGain(ExpectedModelGain.Options()).score(prediction, scoring)
    assert prediction.std.argmax() == 34
    assert scores[34] < scores.max() / 2


@dataclass(frozen=True)
class Given:
    """A model with a given factor."""

    factor: Any
    std: Any = None

    def predict(self, X: Any) -> Prediction:
        std = np.sqrt(np.square(self.factor).sum(axis=1)) if self.std is None else self.std
        return Prediction(np.zeros((len(X), 1)), std[:, None])

    def covariance_factor(self, X: Any) -> Any:
        return self.factor[X[:, 0].astype(int)]


def _given(factor: Any, std: Any = None) -> Any:
    X = np.arange(float(len(factor)))[:, None]
    return ExpectedModelGain(ExpectedModelGain.Options()).score(*_scoring(Given(factor, std), X))


@pytest.mark.parametrize("scale", [1e-160, 1e-3, 1e150])
def test_the_unit_does_not_matter(scale: float) -> None:
    factor = np.random.default_rng(3).normal(size=(20, 4))
    np.testing.assert_allclose(_given(scale * factor, scale * np.full(20, 5.0)), _given(factor, np.full(20, 5.0)))


def test_more_candidates_than_members_give_the_same_as_the_plain_sum() -> None:
    factor = np.random.default_rng(3).normal(size=(60, 4))
    covariance = factor @ factor.T
    expected = (covariance**2).sum(axis=1) / np.diag(covariance) / np.trace(covariance)
    np.testing.assert_allclose(_given(factor), expected, rtol=1e-12)


def test_one_label_that_tells_all_gains_all() -> None:
    np.testing.assert_allclose(_given(np.outer([1.0, 2.0, -0.5], [0.3, 0.4])), np.ones(3))


def test_where_nothing_is_in_doubt_nothing_is_gained() -> None:
    np.testing.assert_array_equal(_given(np.zeros((5, 3))), np.zeros(5))
    np.testing.assert_array_equal(_given(np.zeros((5, 3)), np.ones(5)), np.zeros(5))
    np.testing.assert_array_equal(_given(np.array([[0.0], [1.0]]))[:1], [0.0])


def test_a_sigma_of_nearly_nothing_beside_a_large_one_is_no_division_by_zero() -> None:
    scores = _given(np.array([[1e-300, 0.0], [0.0, 1.0], [1e-170, 1e-170]]))
    np.testing.assert_allclose(scores, [0.0, 1.0, 0.5], atol=1e-12)


class OnlyPredicts:
    def predict(self, X: Any) -> Prediction:
        return Prediction(np.zeros((len(X), 1)), np.ones((len(X), 1)))


def test_a_model_without_covariance_is_refused_with_what_to_do() -> None:
    with pytest.raises(ContractError, match="OnlyPredicts knows none: take a surrogate that does, such as random_for"):
        ExpectedModelGain(ExpectedModelGain.Options()).score(*_scoring(OnlyPredicts(), np.zeros((3, 1))))


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (np.zeros(6), r"has shape \(6,\); \(6, rank\) is needed"),
        (np.zeros((2, 2)), r"has shape \(2, 2\); \(6, rank\) is needed"),
        (np.array([[0.0], [np.inf], [0.0]] * 2), r"of row 1 is not finite \(2 rows in all\)"),
    ],
)
def test_a_factor_that_is_none_is_refused(factor: Any, message: str) -> None:
    class Wrong(OnlyPredicts):
        def covariance_factor(self, X: Any) -> Any:
            return factor

    with pytest.raises(ContractError, match=message):
        ExpectedModelGain(ExpectedModelGain.Options()).score(*_scoring(Wrong(), np.zeros((3, 1))))


def test_the_sample_is_drawn_from_the_generator_alone() -> None:
    prediction, scoring = scoring_for(Goal.LEARN, n_rows=100)
    rule = ExpectedModelGain(ExpectedModelGain.Options(sample=5))
    first, again, other = (
        rule.score(prediction, replace(scoring, rng=np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
