"""modAL's learners as surrogates."""

from __future__ import annotations

from typing import Any

import modAL.models
import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline

from active_learning.errors import ContractError, UserError
from active_learning.surrogates.estimators import StdExtraTreesRegressor
from active_learning.surrogates.modal import FittedLearner, ModalLearner

FOREST = "sklearn.ensemble:RandomForestRegressor"
OUR_TREES = "active_learning.surrogates.estimators:StdExtraTreesRegressor"
COMMITTEE = "modAL.models:CommitteeRegressor"


def _data() -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(50, 4))
    return X, X[:, 0] - X[:, 1]


def _fit(seed: int = 1, **options: Any) -> FittedLearner:
    X, y = _data()
    return ModalLearner(ModalLearner.Options(**options)).fit(X[:40], y[:40], rng=np.random.default_rng(seed))


@pytest.mark.parametrize("learner", ["modAL.models:ActiveLearner", "modAL.models:BayesianOptimizer"])
def test_a_learner_predicts_what_its_estimator_predicts(learner: str) -> None:
    X, y = _data()
    seed = int(np.random.default_rng(1).integers(2**31))
    reference = StdExtraTreesRegressor(n_estimators=10, random_state=seed).fit(X[:40], y[:40])
    mean, std = reference.predict(X, return_std=True)
    fitted = _fit(learner=learner, estimator=OUR_TREES, estimator_options={"n_estimators": 10}, standardize=False)
    prediction = fitted.predict(X)
    assert type(fitted.learner).__name__ == learner.split(":")[1]
    np.testing.assert_array_equal(prediction.mean[:, 0], mean)
    np.testing.assert_array_equal(prediction.std[:, 0], std)


def test_a_learner_holds_all_labels() -> None:
    X, y = _data()
    fitted = _fit(estimator=OUR_TREES, estimator_options={"n_estimators": 5})
    np.testing.assert_array_equal(fitted.learner.X_training, X[:40])
    np.testing.assert_array_equal(fitted.learner.y_training, y[:40])


def test_a_committee_is_as_unsure_as_its_members_disagree() -> None:
    X, y = _data()
    trees = [{"n_estimators": 3}, {"n_estimators": 5}, {"n_estimators": 7}]
    fitted = _fit(learner=COMMITTEE, estimator=[FOREST] * 3, estimator_options=trees, standardize=False)
    rng = np.random.default_rng(1)
    votes = np.stack(
        [
            RandomForestRegressor(random_state=int(rng.integers(2**31)), **table).fit(X[:40], y[:40]).predict(X)
            for table in trees
        ]
    )
    prediction = fitted.predict(X)
    np.testing.assert_allclose(prediction.mean[:, 0], votes.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(prediction.std[:, 0], votes.std(axis=0), rtol=1e-9, atol=1e-14)


def test_bootstrap_makes_equal_members_disagree() -> None:
    X, _y = _data()
    equal = {"learner": COMMITTEE, "estimator": ["sklearn.linear_model:LinearRegression"] * 4}
    neighbors = {"learner": COMMITTEE, "estimator": ["sklearn.neighbors:KNeighborsRegressor"] * 4}
    assert _fit(**equal).predict(X).std.max() < 1e-12
    assert _fit(**neighbors, bootstrap=True).predict(X).std.max() > 0.01


def test_one_table_of_options_serves_all_members() -> None:
    fitted = _fit(learner=COMMITTEE, estimator=[FOREST, OUR_TREES], estimator_options={"n_estimators": 4})
    assert [len(member.estimator[-1].estimators_) for member in fitted.learner] == [4, 4]


def test_standardizing_makes_a_gaussian_process_blind_to_units() -> None:
    X, y = _data()
    # A fixed kernel: fitting one would differ in the last digits.
    options = ModalLearner.Options(
        estimator="sklearn.gaussian_process:GaussianProcessRegressor", estimator_options={"optimizer": None}
    )
    means = [
        ModalLearner(options).fit(X[:40] * unit, y[:40], rng=np.random.default_rng(1)).predict(X * unit).mean
        for unit in (1.0, 1e4)
    ]
    np.testing.assert_allclose(means[0], means[1], rtol=1e-6)
    assert np.abs(means[0][40:, 0] - y[40:]).mean() < 0.5


def test_a_bare_random_forest_alone_is_refused_with_what_to_use() -> None:
    with pytest.raises(ValidationError, match=r"no return_std. Use .*StdRandomForestRegressor.*CommitteeRegressor"):
        ModalLearner.Options(estimator=FOREST)


def test_the_default_is_a_forest_that_can_say_how_sure_it_is() -> None:
    assert ModalLearner.Options().estimator == "active_learning.surrogates.estimators:StdRandomForestRegressor"


def _no_spread_pipeline() -> Any:
    return make_pipeline(RandomForestRegressor(n_estimators=3))


def test_an_estimator_that_only_seems_to_take_return_std_is_refused_when_it_predicts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modAL.models, "no_spread", _no_spread_pipeline, raising=False)
    with pytest.raises(ContractError, match="cannot say how sure it is"):
        _fit(estimator="modAL.models:no_spread").predict(_data()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learner": "modAL.models:NoSuchLearner"}, "cannot import 'modAL.models:NoSuchLearner'"),
        ({"learner": "modAL.models.ActiveLearner"}, "write it as 'module:name'"),
        ({"learner": "modAL.models:Committee"}, "is not a modAL regression learner"),
        ({"estimator": "nowhere:Forest"}, "cannot import 'nowhere:Forest'"),
        ({"estimator": "sklearn:__version__"}, "is not a class"),
        ({"estimator": "sklearn.ensemble:RandomForestClassifier"}, "is not a scikit-learn regressor"),
        ({"estimator": "builtins:dict"}, "cannot build 'builtins:dict'"),
        ({"estimator": OUR_TREES, "estimator_options": {"n_tree": 3}}, "Invalid parameter 'n_tree'"),
        ({"estimator": OUR_TREES, "estimator_options": {"random_state": 3}}, "the campaign's seed"),
        ({"estimator": [OUR_TREES, OUR_TREES]}, "go with learner 'modAL.models:CommitteeRegressor'"),
        ({"estimator": OUR_TREES, "bootstrap": True}, "go with learner 'modAL.models:CommitteeRegressor'"),
        ({"learner": COMMITTEE, "estimator": FOREST}, "at least two estimators"),
        ({"learner": COMMITTEE, "estimator": [FOREST] * 2, "estimator_options": [{}]}, "1 tables .* for 2 estimators"),
    ],
)
def test_what_cannot_work_is_refused_while_the_file_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModalLearner.Options(**options)


def test_a_bad_value_of_an_option_is_the_users_error() -> None:
    with pytest.raises(UserError, match=r"cannot be trained on 40 labels.*n_estimators"):
        _fit(estimator=OUR_TREES, estimator_options={"n_estimators": -1})
