"""Labels at the edge: larger than any property, too small to be squared, and numbers where classes should be."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.acquisition.classes import Disagreement, MembersClassify
from active_learning.api.campaign import Campaign
from active_learning.domain.cells import number_in
from active_learning.domain.choosing import Scoring
from active_learning.domain.label import LARGEST_VALUE, Failure, FailureKind, Label, Measurement
from active_learning.domain.metrics import r2
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError, UserError
from active_learning.labelers.results import measurement_from
from active_learning.surrogates.checks import checked_classes
from active_learning.surrogates.forest import ExtraTrees, RandomForest
from active_learning.testing.fakes import PROPERTY, FakeClock, tiny_campaign, without_workers


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)


# Too large.


def test_a_value_larger_than_any_property_is_no_label() -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    for value in (1e101, -1e160):
        with pytest.raises(ContractError, match=r"no larger than 1e\+100"):
            Label("a", "y", value, "", now, "x")
        with pytest.raises(ContractError, match=r"no larger than 1e\+100"):
            Measurement({"y": (value, "")}, "x")
        with pytest.raises(ValueError, match=r"larger than any property: at most 1e\+100"):
            number_in(str(value))
    assert Label("a", "y", LARGEST_VALUE, "", now, "x").value == number_in("1e100")


def test_a_calculation_that_went_astray_has_failed() -> None:
    result = measurement_from({"properties": {"y": 1e160}}, "y", {"y": "eV"}, "x")
    assert result == Failure(FailureKind.UNPARSABLE, "y is 1e+160, larger than any property")


# Too small or nearly too large to be squared.


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e100])
def test_the_unit_does_not_change_the_coefficient_of_determination(scale: float) -> None:
    y, mean = np.array([1.0, 2.0, 3.0, 7.0]), np.array([1.5, 2.0, 4.0, 5.0])
    assert r2(scale * y, scale * mean) == pytest.approx(1 - 5.25 / 20.75, rel=1e-9)


def test_the_coefficient_of_determination_is_never_infinite() -> None:
    y = np.array([0.0, 1e-200, 0.0])
    assert r2(y, y + 1e200) == np.finfo(np.float64).min


# Numbers where classes should be.


def test_values_of_a_number_are_not_taken_for_classes() -> None:
    with pytest.raises(UserError, match=r"10 of 10 labels differ, and some are like .*take the goal 'learn'"):
        checked_classes(_rng().normal(size=10))


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(30.0),  # space groups, say: each was met once
        np.array([0.5, 1.5] * 10),
        np.array([0.1, 0.2, 0.3]),  # too few to tell
    ],
)
def test_whatever_may_be_classes_is(labels: Any) -> None:
    classes, places = checked_classes(labels)
    np.testing.assert_array_equal(classes[places], labels)


@pytest.mark.parametrize("kind", [RandomForest, ExtraTrees])
def test_a_forest_is_silent_about_many_classes_and_refuses_numbers(kind: Any) -> None:
    forest = kind(kind.Options(n_trees=5, n_jobs=1)).classifier()
    X = _rng().normal(size=(12, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert forest.fit(X, np.arange(12.0), rng=_rng()).predict(X).probabilities.shape == (12, 12)
    with pytest.raises(UserError, match="these are no classes"):
        forest.fit(X, X[:, 0], rng=_rng())


def test_a_campaign_that_was_to_classify_a_number_says_so(tmp_path: Path) -> None:
    path = tiny_campaign(
        tmp_path,
        target={"property": PROPERTY, "goal": "classify"},
        surrogate={"kind": "random_forest", "n_trees": 5, "n_jobs": 1},
        rounds={"initial": 10},
        submitter={"kind": "inline"},
    )
    campaign = without_workers(Campaign.create(path, clock=FakeClock()))
    with campaign, pytest.raises(UserError, match="these are no classes"):
        campaign.run()


# Networks as members.


def test_networks_can_be_asked_one_by_one_so_that_their_disagreement_counts() -> None:
    pytest.importorskip("torch")
    from active_learning.surrogates.neural_network import NeuralNetwork

    X = _rng().normal(size=(40, 2))
    y = (X[:, 0] > 0).astype(float)
    networks = NeuralNetwork(NeuralNetwork.Options(hidden=(6,), n_members=4, epochs=15)).classifier()
    model: Any = networks.fit(X[:25], y[:25], rng=_rng())
    asked: Any = model
    assert isinstance(asked, MembersClassify)
    members = model.member_probabilities(X)
    assert members.shape == (4, 40, 2)
    np.testing.assert_allclose(members.sum(axis=2), 1.0)
    prediction = model.predict(X)
    np.testing.assert_allclose(members.mean(axis=0), prediction.probabilities, atol=1e-12)
    target = Target("metal", Goal.CLASSIFY)
    scoring = Scoring(target, None, 3, len(X), lambda: X, X[:25], y[:25], model, _rng())
    scores = Disagreement(Disagreement.Options(measure="divergence")).score(prediction, scoring)
    assert (scores > 0).all()
