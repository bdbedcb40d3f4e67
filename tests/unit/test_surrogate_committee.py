"""A committee believes the even mixture of its members, and can do what all of them can."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from modAL.models import ActiveLearner, CommitteeRegressor
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.stats import norm
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor

from active_learning.acquisition.classes import MembersClassify
from active_learning.config import read_campaign_file
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import (
    Classifies,
    HasDraws,
    HasHeldOut,
    HasImportances,
    HasMembers,
    KnowsCovariance,
    Portable,
)
from active_learning.engine.assembly import assemble
from active_learning.errors import ContractError, SpecError
from active_learning.surrogates.committee import Committee, FittedCommittee, PortableCommittee, total_variance
from active_learning.surrogates.forest import ExtraTrees, RandomForest
from active_learning.surrogates.gaussian_process import GaussianProcess
from active_learning.testing.fakes import NearestLabel, tiny_campaign

Floats = NDArray[np.float64]

RANDOM_FOREST = RandomForest(RandomForest.Options(n_trees=40, n_jobs=1))
EXTRA_TREES = ExtraTrees(ExtraTrees.Options(n_trees=10, n_jobs=1))
PROCESS = GaussianProcess(GaussianProcess.Options())
NEAREST = NearestLabel(NearestLabel.Options())
ABILITIES = (HasDraws, HasHeldOut, HasImportances, KnowsCovariance, Portable)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _data(n: int = 30) -> tuple[Floats, Floats]:
    X = _rng(3).normal(size=(n, 3))
    return X, 2.0 + X[:, 0] - X[:, 1] ** 2


def _committee(*members: Any, **options: Any) -> Committee:
    return Committee(Committee.Options(**options)).with_members(members)


def _fitted(*members: Any, **options: Any) -> Any:
    return _committee(*members, **options).fit(*_data(), rng=_rng(1))


def _alone(*members: Any) -> list[Any]:
    """The members as the committee trains them: one after another with the same generator."""
    rng = _rng(1)
    return [member.fit(*_data(), rng=rng) for member in members]


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 3)), min_size=1, max_size=4),
)
def test_mean_and_std_are_those_of_the_mixtures_density(beliefs: list[tuple[float, float]]) -> None:
    means, stds = np.array(beliefs).T
    x = np.linspace(-35, 35, 40_001)
    density = np.mean([norm.pdf(x, m, s) for m, s in beliefs], axis=0)
    mean = trapezoid(x * density, x)
    std = np.sqrt(trapezoid((x - mean) ** 2 * density, x))
    found = total_variance(means[:, None], stds[:, None])
    assert found[0][0] == pytest.approx(mean, abs=1e-6)
    assert found[1][0] == pytest.approx(std, rel=1e-6)


def test_its_belief_is_the_mixture_of_its_members() -> None:
    X, _y = _data()
    members = _alone(RANDOM_FOREST, PROCESS)
    found = _fitted(RANDOM_FOREST, PROCESS).predict(X)
    means = np.stack([m.predict(X).mean[:, 0] for m in members])
    stds = np.stack([m.predict(X).std[:, 0] for m in members])
    np.testing.assert_allclose(found.mean[:, 0], means.mean(axis=0))
    np.testing.assert_allclose(found.std[:, 0] ** 2, (stds**2).mean(axis=0) + means.var(axis=0))


def test_a_committee_of_one_is_its_member() -> None:
    X, _y = _data()
    (alone,), committee = _alone(RANDOM_FOREST), _fitted(RANDOM_FOREST)
    np.testing.assert_allclose(committee.predict(X).mean, alone.predict(X).mean)
    np.testing.assert_allclose(committee.predict(X).std, alone.predict(X).std)
    np.testing.assert_allclose(committee.held_out.std, alone.held_out.std)
    np.testing.assert_allclose(committee.draws(X, 7, rng=_rng()).mean(), alone.draws(X, 7, rng=_rng()).mean(), rtol=0.2)


@dataclass
class _Plain:
    """A regressor of scikit-learn as a surrogate that has no doubt of its own."""

    estimator: Any

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> _Plain:
        self.estimator.fit(X, y)
        return self

    def predict(self, X: Floats) -> Prediction:
        mean = self.estimator.predict(X)[:, None]
        return Prediction(mean, np.full_like(mean, 0.7))


def _estimators() -> list[Any]:
    return [
        KNeighborsRegressor(1),
        KNeighborsRegressor(4),
        RandomForestRegressor(n_estimators=5, random_state=0),
    ]


def test_by_disagreement_it_is_modals_committee() -> None:
    X, y = _data()
    theirs = CommitteeRegressor([ActiveLearner(e, X_training=X, y_training=y) for e in _estimators()])
    mean, std = theirs.predict(X + 0.1, return_std=True)
    found = _fitted(*map(_Plain, _estimators()), doubt="disagreement").predict(X + 0.1)
    np.testing.assert_allclose(found.mean[:, 0], mean)
    np.testing.assert_allclose(found.std[:, 0], std, atol=1e-12)
    total = _fitted(*map(_Plain, _estimators())).predict(X + 0.1)
    np.testing.assert_allclose(total.std[:, 0] ** 2, std**2 + 0.49)


@pytest.mark.parametrize(
    ("members", "abilities"),
    [
        ((RANDOM_FOREST, PROCESS), {HasDraws, HasHeldOut, KnowsCovariance, Portable}),
        ((RANDOM_FOREST, EXTRA_TREES), {*ABILITIES}),
        ((RANDOM_FOREST, NEAREST), set()),
        ((NEAREST,), set()),
    ],
    ids=["forest and process", "forests", "with one that can nothing", "one that can nothing"],
)
def test_it_can_do_what_all_of_its_members_can(members: tuple[Any, ...], abilities: set[Any]) -> None:
    fitted = _fitted(*members)
    together = {a for a in ABILITIES if all(isinstance(m, a) for m in _alone(*members))}
    assert {ability for ability in ABILITIES if isinstance(fitted, ability)} == together
    assert together >= abilities
    # Newer Pythons look for an ability at the class, not at the object.
    for ability in ABILITIES:
        names = ability.__protocol_attrs__ if hasattr(ability, "__protocol_attrs__") else _names(ability)
        assert all(hasattr(type(fitted), name) for name in names) == (ability in together)


def _names(protocol: Any) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def test_committees_with_the_same_abilities_are_of_one_class() -> None:
    assert type(_fitted(RANDOM_FOREST)) is type(_fitted(RANDOM_FOREST, EXTRA_TREES))
    assert type(_fitted(RANDOM_FOREST)) is not type(_fitted(NEAREST))


def test_what_it_says_of_labels_without_them_is_the_mixture_of_what_its_members_say() -> None:
    members = _alone(RANDOM_FOREST, PROCESS)
    held_out = _fitted(RANDOM_FOREST, PROCESS).held_out
    mean, std = total_variance(
        np.stack([m.held_out.mean[:, 0] for m in members]), np.stack([m.held_out.std[:, 0] for m in members])
    )
    np.testing.assert_allclose(held_out.mean[:, 0], mean)
    np.testing.assert_allclose(held_out.std[:, 0], std)


def test_it_knows_nothing_of_labels_without_them_if_one_member_does_not() -> None:
    assert _alone(EXTRA_TREES)[0].held_out is None
    assert _fitted(RANDOM_FOREST, EXTRA_TREES).held_out is None


@pytest.mark.parametrize("doubt", ["total", "disagreement"])
def test_draws_have_the_mean_of_the_belief_and_the_spread_of_not_knowing_the_function(doubt: str) -> None:
    X, _y = _data()
    fitted = _fitted(RANDOM_FOREST, PROCESS, doubt=doubt)
    drawn = fitted.draws(X[:6] + 0.3, 4000, rng=_rng(5))
    factor = fitted.covariance_factor(X[:6] + 0.3)
    assert drawn.shape == (4000, 6)
    expected = fitted.predict(X[:6] + 0.3)
    np.testing.assert_allclose(drawn.mean(axis=0), expected.mean[:, 0], atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T, ddof=0), factor @ factor.T, atol=0.12)
    assert (np.sqrt(np.square(factor).sum(axis=1)) <= expected.std[:, 0] + 1e-9).all()


def test_by_disagreement_the_factor_is_that_of_the_members_means() -> None:
    X, _y = _data()
    fitted = _fitted(RANDOM_FOREST, PROCESS, doubt="disagreement")
    factor = fitted.covariance_factor(X + 0.3)
    means = np.stack([m.predict(X + 0.3).mean[:, 0] for m in fitted.members])
    np.testing.assert_allclose(factor @ factor.T, np.cov(means, ddof=0, rowvar=False), atol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(factor @ factor.T)), fitted.predict(X + 0.3).std[:, 0])


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_members_take_turns_in_drawing(n: int) -> None:
    X, _y = _data()
    fitted = _fitted(RANDOM_FOREST, PROCESS, doubt="disagreement")
    said = [m.predict(X).mean[:, 0] for m in fitted.members]
    drawn = fitted.draws(X, n, rng=_rng(2))
    turns = [sum(bool(np.allclose(d, s)) for d in drawn) for s in said]
    assert sorted(turns) == [n // 2, n - n // 2]


@pytest.mark.parametrize("doubt", ["total", "disagreement"])
def test_the_same_functions_are_drawn_whichever_rows_are_asked_for(doubt: str) -> None:
    X, _y = _data()
    fitted = _fitted(RANDOM_FOREST, PROCESS, doubt=doubt)
    whole = fitted.draws(X, 5, rng=_rng(8))
    np.testing.assert_allclose(fitted.draws(X[4:9], 5, rng=_rng(8)), whole[:, 4:9], atol=1e-6)


def test_importances_are_the_mean_of_the_members_and_a_share() -> None:
    fitted = _fitted(RANDOM_FOREST, EXTRA_TREES)
    members = _alone(RANDOM_FOREST, EXTRA_TREES)
    np.testing.assert_allclose(fitted.importances, np.mean([m.importances for m in members], axis=0))
    constant = _committee(RANDOM_FOREST, EXTRA_TREES).fit(np.ones((4, 2)), np.ones(4), rng=_rng())
    np.testing.assert_array_equal(constant.importances, 0.0)


@pytest.mark.parametrize("classifies", [False, True])
def test_it_travels_and_the_class_that_is_written_down_is_found_again(classifies: bool, tmp_path: Path) -> None:
    X, y = _data()
    committee = _committee(RANDOM_FOREST, EXTRA_TREES, doubt="disagreement")
    fitted: Any = (
        committee.classifier().fit(X, np.sign(y), rng=_rng()) if classifies else committee.fit(X, y, rng=_rng())
    )
    assert isinstance(fitted, PortableCommittee)
    np.savez(tmp_path / "model.npz", **fitted.to_arrays())
    assert type(fitted).__qualname__ == "PortableCommittee", "as whoever predicts elsewhere looks it up"
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        again: Any = PortableCommittee.from_arrays({name: file[name] for name in file.files})
    assert type(again) is type(fitted)
    np.testing.assert_array_equal(again.predict(X).std, fitted.predict(X).std)
    if classifies:
        np.testing.assert_array_equal(again.member_probabilities(X), fitted.member_probabilities(X))
    else:
        np.testing.assert_array_equal(again.draws(X, 5, rng=_rng()), fitted.draws(X, 5, rng=_rng()))
    assert again.held_out is None


@pytest.mark.parametrize(
    "name", ["nowhere:Model", "active_learning.surrogates.committee:Committee", "builtins:str", "no path"]
)
def test_arrays_of_an_unknown_member_are_refused(name: str) -> None:
    arrays = dict(_fitted(RANDOM_FOREST).to_arrays()) | {"0/class": np.array(name)}
    with pytest.raises(ContractError, match=r"cannot be imported here|is not the class of a trained model"):
        PortableCommittee.from_arrays(arrays)


def test_classes_have_the_mean_of_the_members_probabilities() -> None:
    X, y = _data()
    classes = np.where(y > 2, 5.0, -1.0)
    fitted: Any = _committee(RANDOM_FOREST, EXTRA_TREES).classifier().fit(X, classes, rng=_rng(1))
    prediction = fitted.predict(X)
    rng = _rng(1)
    alone = [m.classifier().fit(X, classes, rng=rng).predict(X).probabilities for m in (RANDOM_FOREST, EXTRA_TREES)]
    np.testing.assert_allclose(prediction.probabilities, np.mean(alone, axis=0))
    np.testing.assert_array_equal(prediction.classes, [-1.0, 5.0])
    np.testing.assert_allclose(fitted.member_probabilities(X), alone)
    assert isinstance(fitted, MembersClassify)
    assert not isinstance(_fitted(RANDOM_FOREST), MembersClassify)


def test_one_class_alone_is_certain() -> None:
    X, _y = _data()
    fitted = _committee(RANDOM_FOREST, EXTRA_TREES).classifier().fit(X, np.ones(30), rng=_rng())
    np.testing.assert_array_equal(fitted.predict(X).probabilities, np.ones((30, 1)))
    np.testing.assert_array_equal(fitted.predict(X).std, 0.0)


def test_members_that_were_not_trained_on_classes_have_no_probabilities() -> None:
    fitted: Any = _committee(RANDOM_FOREST, EXTRA_TREES)
    fitted = Committee(fitted.options, fitted.members, classifies=True).fit(*_data(), rng=_rng())
    with pytest.raises(ContractError, match="not trained on classes"):
        fitted.member_probabilities(_data()[0])


def test_a_member_that_cannot_tell_classes_apart_is_named() -> None:
    assert isinstance(_committee(RANDOM_FOREST), Classifies)
    with pytest.raises(ContractError, match="GaussianProcess cannot tell classes apart"):
        _committee(RANDOM_FOREST, PROCESS).classifier()


def test_without_members_it_cannot_be_trained() -> None:
    with pytest.raises(ContractError, match="needs its members"):
        Committee(Committee.Options()).fit(*_data(), rng=_rng())


def test_the_number_of_threads_does_not_matter() -> None:
    X, _y = _data()
    first, second = (
        _fitted(*(kind(kind.Options(n_trees=10, n_jobs=n)) for kind in (RandomForest, ExtraTrees))).predict(X)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.std, second.std)


def test_a_committee_of_no_members_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 item"):
        Committee.Options(members=())


def _assembled(folder: Path, **changes: Any) -> Any:
    return assemble(read_campaign_file(tiny_campaign(folder, **changes)))


def test_a_campaign_file_names_its_members(tmp_path: Path) -> None:
    members = [{"kind": "random_forest", "n_trees": 7}, {"kind": "committee", "members": [{"kind": "extra_trees"}]}]
    built = _assembled(tmp_path, surrogate={"kind": "committee", "members": members}).surrogate
    assert isinstance(built, HasMembers)
    assert built.members[0].options.n_trees == 7
    assert [type(member).__name__ for member in built.members] == ["RandomForest", "Committee"]
    assert [type(member).__name__ for member in built.members[1].members] == ["ExtraTrees"]


@pytest.mark.parametrize(
    ("goal", "members"),
    [("minimize", ["RandomForest", "ExtraTrees", "GaussianProcess"]), ("classify", ["RandomForest", "ExtraTrees"])],
)
def test_without_a_word_it_has_members_that_can_serve_the_goal(tmp_path: Path, goal: str, members: list[str]) -> None:
    acquisition = {"kind": "random"} if goal == "classify" else {"kind": "expected_improvement"}
    kit = _assembled(
        tmp_path,
        surrogate={"kind": "committee"},
        target={"property": "energy", "goal": goal},
        acquisition=acquisition,
    )
    assert [type(member).__name__ for member in kit.surrogate.members] == members


def test_a_fault_of_a_member_is_reported_with_its_place(tmp_path: Path) -> None:
    surrogate = {"kind": "committee", "members": [{"kind": "random_forest"}, {"kind": "random_forest", "trees": 3}]}
    with pytest.raises(SpecError, match=r"surrogate\.members\.1"):
        _assembled(tmp_path, surrogate=surrogate)


def test_a_committee_that_cannot_tell_classes_apart_is_refused_for_that_goal(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="GaussianProcess cannot tell classes apart"):
        _assembled(
            tmp_path,
            surrogate={"kind": "committee", "members": [{"kind": "gaussian_process"}]},
            target={"property": "energy", "goal": "classify"},
            acquisition={"kind": "random"},
        )


def test_a_fitted_committee_is_a_value() -> None:
    fitted = _fitted(NEAREST)
    assert isinstance(fitted, FittedCommittee)
    with pytest.raises(AttributeError, match="cannot assign"):
        fitted.doubt = "total"
