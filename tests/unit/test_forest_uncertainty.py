"""What forests doubt, against plain loops, scikit-learn and cases with known answers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from active_learning.domain.protocols import HasDraws, HasHeldOut, HasSettings, KnowsCovariance, Portable
from active_learning.errors import ContractError
from active_learning.surrogates import forest_kernel
from active_learning.surrogates.forest import ExtraTrees, FittedForest, RandomForest
from active_learning.surrogates.forest_jackknife import jackknife_variances
from active_learning.surrogates.forest_noise import LeafNoise
from active_learning.surrogates.trees import Trees

KINDS = ("spread", "total_variance", "jackknife")
ALL_KINDS = pytest.mark.parametrize("uncertainty", KINDS)
N_TREES = 30
N_LABELS = 50


def _data(n_rows: int = 80) -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(n_rows, 5))
    return X, 5.0 + 3.0 * X[:, 0] - X[:, 1] * X[:, 2]


def _fit(plug_in: Any, X: Any, y: Any, seed: int = 1, **options: Any) -> Any:
    options = {"n_trees": N_TREES, "n_jobs": 1} | options
    return plug_in(plug_in.Options(**options)).fit(X, y, rng=np.random.default_rng(seed))


def _reference(peer: Any, X: Any, y: Any, seed: int = 1, **options: Any) -> Any:
    """scikit-learn's forest of the same trees, in the target's unit."""
    state = int(np.random.default_rng(seed).integers(2**31))
    options = {"n_estimators": N_TREES, "bootstrap": True} | options
    return peer(random_state=state, **options).fit(X, (y - y.min()) / np.ptp(y))


def _said(forest: Any, X: Any) -> Any:
    return np.stack([tree.predict(X) for tree in forest.estimators_])


# The infinitesimal jackknife


def _by_loops(said: Any, counts: Any) -> float:
    """Wager et al. (2014), eqs. 5 and 7, for what each tree says of one row, (n_trees,)."""
    n_trees, n_labels = counts.shape
    mean = sum(said) / n_trees
    biased = 0.0
    for label in range(n_labels):
        covariance = 0.0
        for tree in range(n_trees):
            covariance += (counts[tree, label] - 1) * (said[tree] - mean) / n_trees
        biased += covariance**2
    found: float = biased - n_labels / n_trees**2 * sum((value - mean) ** 2 for value in said)
    return found


@pytest.mark.parametrize(
    ("plug_in", "peer"), [(RandomForest, RandomForestRegressor), (ExtraTrees, ExtraTreesRegressor)]
)
def test_the_jackknife_is_that_of_plain_loops_over_the_formula(plug_in: Any, peer: Any) -> None:
    X, y = _data()
    forest = _reference(peer, X[:N_LABELS], y[:N_LABELS])
    said = _said(forest, X)
    counts = np.array([np.bincount(indices, minlength=N_LABELS) for indices in forest.estimators_samples_])
    expected = np.array([_by_loops(said[:, row], counts) for row in range(80)])
    model = _fit(plug_in, X[:N_LABELS], y[:N_LABELS], uncertainty="jackknife", bootstrap=True)
    assert 0.0 < (expected < 0).mean() < 1.0  # both of what the formula can give
    span = np.ptp(y[:N_LABELS])
    std = model.predict(X).std[:, 0]
    np.testing.assert_allclose(std, span * np.sqrt(np.maximum(expected, 0.0)), rtol=1e-9, atol=1e-12)
    assert model.share_clipped(X) == (expected < 0).mean()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_over_all_bootstrap_samples_the_biased_jackknife_of_a_mean_is_its_variance(n: int) -> None:
    y = np.array([0.3, 1.0, -2.0, 7.0])[:n]
    bags = np.array(list(itertools.product(range(n), repeat=n)))
    counts = np.stack([np.bincount(bag, minlength=n) for bag in bags])
    means = y[bags].mean(axis=1)
    bias = n * means.var() / len(bags)
    deviations = (means - means.mean())[:, None]
    found = jackknife_variances(deviations, (counts - 1.0).astype(np.float64), np.array([float(len(bags))]), n)
    assert found[0] + bias == pytest.approx(y.var() / n, rel=1e-12)


def test_the_jackknife_of_a_bagged_mean_is_the_variance_of_a_mean() -> None:
    # Features that are all equal: no tree can split, and each says the mean of its bag.
    n, y = 20, np.random.default_rng(4).normal(size=20)
    model = _fit(RandomForest, np.ones((n, 1)), y, uncertainty="jackknife", n_trees=4000)
    variance = model.predict(np.ones((1, 1))).std[0, 0] ** 2
    assert variance == pytest.approx(y.var() / n, rel=0.1)
    # Without the correction of eq. 7 few trees make it several times too large, on average; with it they do not.
    found = []
    for seed in range(40):
        few = _fit(RandomForest, np.ones((n, 1)), y, seed, uncertainty="jackknife", n_trees=20)
        found.append(few.span**2 * few._jackknife(np.ones((1, 1)))[1][0])
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - y.var() / n) < 4 * error
    assert error < 0.25 * y.var() / n


@settings(deadline=None, max_examples=40)
@given(data=st.data(), n_trees=st.integers(2, 11), n_labels=st.integers(1, 9), n_rows=st.integers(1, 130))
def test_the_compiled_jackknife_is_right_for_any_sizes(data: Any, n_trees: int, n_labels: int, n_rows: int) -> None:
    said = data.draw(arrays(np.float64, (n_trees, n_rows), elements=st.floats(-1e3, 1e3), fill=st.floats(0, 1)))
    bags = data.draw(arrays(np.int64, (n_trees, n_labels), elements=st.integers(0, n_labels - 1)))
    counts = np.stack([np.bincount(bag, minlength=n_labels) for bag in bags])
    deviations = said - said.mean(axis=0)
    n_used = np.full(n_rows, float(n_trees))
    found = jackknife_variances(deviations, (counts - 1.0).astype(np.float64), n_used, n_labels)
    row = n_rows - 1
    assert found[row] == pytest.approx(_by_loops(said[:, row], counts), rel=1e-9, abs=1e-9 * (1 + np.ptp(said) ** 2))


# The law of total variance


@pytest.mark.parametrize("options", [{"min_samples_leaf": 1}, {"min_samples_leaf": 4}])
def test_the_total_variance_is_that_of_numpy_over_scikit_learns_trees(options: Any) -> None:
    X, y = _data()
    X_labeled, labels = X[:N_LABELS], y[:N_LABELS]
    forest = _reference(RandomForestRegressor, X_labeled, labels, **options)
    shares = (labels - labels.min()) / np.ptp(labels)
    groups = [
        {leaf: shares[home == leaf] for leaf in np.unique(home)}
        for home in (tree.apply(X_labeled.astype(np.float32)) for tree in forest.estimators_)
    ]
    squares, freedom = np.zeros((2, 80))
    for number, tree in enumerate(forest.estimators_):
        for row, leaf in enumerate(tree.apply(X.astype(np.float32))):
            group = groups[number][leaf]
            squares[row] += ((group - group.mean()) ** 2).sum()
            freedom[row] += len(group) - 1
    expected = np.ptp(labels) * np.sqrt(_said(forest, X).var(axis=0) + squares / freedom)
    model = _fit(RandomForest, X_labeled, labels, uncertainty="total_variance", **options)
    np.testing.assert_allclose(model.predict(X).std[:, 0], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("plug_in", "options"),
    [
        (RandomForest, {"min_samples_leaf": 1}),
        (RandomForest, {"min_samples_leaf": 20}),
        (ExtraTrees, {"min_samples_leaf": 5}),
        (ExtraTrees, {"min_samples_leaf": 1, "bootstrap": True}),
    ],
)
def test_the_noise_on_a_step_is_found(plug_in: Any, options: Any) -> None:
    rng = np.random.default_rng(2)
    # One feature six times: of six random splits one leaves enough labels on either side, so that leaves stay small.
    X, sigma = np.repeat(rng.uniform(size=(600, 1)), 6, axis=1), 0.5
    y = np.where(X[:, 0] < 0.5, 0.0, 10.0) + sigma * rng.normal(size=600)
    model = _fit(plug_in, X, y, uncertainty="total_variance", **options)
    away = np.concatenate([np.linspace(0.05, 0.4, 40), np.linspace(0.6, 0.95, 40)])[:, None] * np.ones(6)
    _said, squares, freedom = model.trees.moments(away)[0].T
    noise = model.span**2 * squares / freedom
    assert np.sqrt(noise.mean()) == pytest.approx(sigma, rel=0.15)
    factor = model.covariance_factor(away)
    total = np.square(factor).sum(axis=1) + noise
    np.testing.assert_allclose(model.predict(away).std[:, 0] ** 2, total, rtol=1e-9)


def test_a_step_without_noise_has_none() -> None:
    X = np.repeat(np.arange(6.0), 20)[:, None]  # so often each, that every bag has all of them
    model = _fit(RandomForest, X, np.where(X[:, 0] < 3, 0.1, 1.7), uncertainty="total_variance")
    np.testing.assert_array_equal(model.predict(X).std, 0.0)
    np.testing.assert_array_equal(model.held_out.std, 0.0)


@given(y=arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e3, 1e3)), seed=st.integers(0, 1000))
def test_what_leaves_know_of_the_noise_is_what_numpy_says_of_their_labels(y: Any, seed: int) -> None:
    leaves = np.random.default_rng(seed).integers(4, size=(3, len(y))) + 4 * np.arange(3)[:, None]
    known = LeafNoise.of(leaves, y, 12).by_node
    for node in range(12):
        group = y[leaves[node // 4] == node]
        if not len(group) or not np.ptp(group):
            assert known[node].tolist() == [0.0, max(len(group) - 1, 0)]
        else:
            assert known[node, 0] == pytest.approx(len(group) * group.var(), rel=1e-9, abs=1e-12)
            assert known[node, 1] == len(group) - 1


def test_the_noise_held_out_is_that_of_the_other_labels() -> None:
    y = np.array([1.0, 4.0, 9.0, 2.0])
    noise = LeafNoise.of(np.array([[0, 0, 0, 0], [1, 1, 2, 2], [3, 3, 3, 4]]), y, 5)
    is_out = np.array([[True, False, True, False], [True, False, False, False], [True, True, False, False]])
    expected = [
        (y[1:].var() * 3 + y[1:3].var() * 2) / (2 + 0 + 1),
        y[[0, 2]].var(ddof=1),
        y[[0, 1, 3]].var(ddof=1),
        0.0,  # in every bag: not asked
    ]
    np.testing.assert_allclose(noise.held_out(is_out), expected, rtol=1e-12, atol=1e-15)


# What all have in common


@ALL_KINDS
def test_no_digit_depends_on_company_threads_or_blocks(uncertainty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _data(700)
    model = _fit(RandomForest, X[:N_LABELS], y[:N_LABELS], uncertainty=uncertainty)
    assert model.uncertainty == uncertainty
    alone = [model.predict(X[row : row + 1]) for row in range(0, 700, 53)]
    monkeypatch.setattr(forest_kernel, "_BLOCK_VALUES", 700)
    monkeypatch.setattr(forest_kernel, "_FEWEST_ROWS", 16)
    for n_jobs in (1, 3):
        object.__setattr__(model, "n_jobs", n_jobs)
        whole = model.predict(X)
        for name in ("mean", "std"):
            expected = np.concatenate([getattr(prediction, name) for prediction in alone])
            np.testing.assert_array_equal(getattr(whole, name)[::53], expected)


@ALL_KINDS
def test_the_mean_is_the_same_to_the_last_digit_whatever_the_std_is(uncertainty: str) -> None:
    X, y = _data()
    plain, other = (_fit(RandomForest, X[:40], y[:40], uncertainty=kind) for kind in ("spread", uncertainty))
    np.testing.assert_array_equal(plain.predict(X).mean, other.predict(X).mean)


@ALL_KINDS
def test_a_constant_target_leaves_no_doubt(uncertainty: str) -> None:
    X, _y = _data()
    model = _fit(RandomForest, X, np.full(80, 0.1), uncertainty=uncertainty)
    np.testing.assert_array_equal(model.predict(X).std, 0.0)
    np.testing.assert_array_equal(model.covariance_factor(X), 0.0)
    np.testing.assert_array_equal(model.held_out.std, 0.0)
    np.testing.assert_array_equal(model.held_out.mean, 0.1)


@ALL_KINDS
@pytest.mark.parametrize("n_labels", [1, 2])
def test_one_label_or_two_are_enough(uncertainty: str, n_labels: int) -> None:
    X, y = _data()
    model = _fit(RandomForest, X[:n_labels], y[:n_labels], uncertainty=uncertainty)
    prediction = model.predict(X)
    assert np.isfinite(prediction.std).all()
    if n_labels == 1:
        np.testing.assert_array_equal(prediction.mean, y[0])
        np.testing.assert_array_equal(prediction.std, 0.0)
        assert model.held_out is None


@ALL_KINDS
def test_equal_rows_with_different_labels_are_doubted_alike(uncertainty: str) -> None:
    X, y = np.ones((40, 3)), np.random.default_rng(0).normal(size=40)
    std = _fit(RandomForest, X, y, uncertainty=uncertainty, n_trees=400).predict(np.ones((5, 3))).std[:, 0]
    assert np.ptp(std) == 0.0
    wanted = y.std() / np.sqrt(40)
    if uncertainty == "total_variance":
        wanted = np.sqrt(wanted**2 + y.var(ddof=1))
    assert std[0] == pytest.approx(wanted, rel=0.25 if uncertainty == "jackknife" else 0.12)


@ALL_KINDS
@pytest.mark.parametrize("ask", ["predict", "tree_values", "covariance_factor", "share_clipped"])
def test_a_row_with_nan_is_refused_by_name(uncertainty: str, ask: str) -> None:
    X, y = _data()
    model = _fit(RandomForest, X, y, uncertainty=uncertainty)
    wrong = X.copy()
    wrong[7, 2] = np.nan
    with pytest.raises(ContractError, match="row 7"):
        getattr(model, ask)(wrong)


@ALL_KINDS
def test_no_rows_are_no_doubt(uncertainty: str) -> None:
    X, y = _data()
    model = _fit(RandomForest, X, y, uncertainty=uncertainty)
    assert model.predict(X[:0]).std.shape == (0, 1)
    assert model.covariance_factor(X[:0]).shape[0] == 0
    assert model.share_clipped(X[:0]) == 0.0


@ALL_KINDS
def test_a_forest_that_has_traveled_doubts_as_before_and_has_forgotten_its_labels(uncertainty: str) -> None:
    X, y = _data()
    model = _fit(RandomForest, X[:40], y[:40], uncertainty=uncertainty)
    again = FittedForest.from_arrays(model.to_arrays())
    assert again.uncertainty == uncertainty
    np.testing.assert_array_equal(again.predict(X).std, model.predict(X).std)
    np.testing.assert_array_equal(again.covariance_factor(X), model.covariance_factor(X))
    assert model.held_out is not None
    assert again.held_out is None


def test_a_forest_written_before_leaves_said_several_values_is_read() -> None:
    X, y = _data()
    model = _fit(RandomForest, X, y)
    written = {**model.to_arrays(), "value": model.trees.value[:, 0]}
    np.testing.assert_array_equal(FittedForest.from_arrays(written).predict(X).std, model.predict(X).std)


@pytest.mark.parametrize(
    ("uncertainty", "changes", "fault"),
    [
        ("jackknife", {"counts": lambda _: np.zeros((3, 80), np.int32)}, "counts are integers"),
        ("jackknife", {"counts": lambda _: np.ones((N_TREES, 80))}, "counts are integers"),
        ("jackknife", {"counts": lambda _: np.full((N_TREES, 80), 2)}, "as many as labels"),
        ("total_variance", {"counts": lambda _: np.ones((N_TREES, 80), np.int32)}, "whose leaves say one number"),
        ("total_variance", {"value": lambda found: found["value"] * [1.0, -1.0, 1.0]}, "not negative"),
        ("total_variance", {"value": lambda found: found["value"][:, :2]}, "one number, and perhaps a sum of squares"),
    ],
)
def test_a_damaged_file_is_refused(uncertainty: str, changes: dict[str, Any], fault: str) -> None:
    found = dict(_fit(RandomForest, *_data(), uncertainty=uncertainty).to_arrays())
    with pytest.raises(ContractError, match=fault):
        FittedForest.from_arrays(found | {name: change(found) for name, change in changes.items()})


# Out of bag


def test_held_out_is_what_scikit_learn_has_out_of_bag() -> None:
    X, y = _data()
    for plug_in, peer in ((RandomForest, RandomForestRegressor), (ExtraTrees, ExtraTreesRegressor)):
        forest = _reference(peer, X, y, oob_score=True)
        model = _fit(plug_in, X, y, bootstrap=True)
        expected = y.min() + np.ptp(y) * forest.oob_prediction_
        np.testing.assert_allclose(model.held_out.mean[:, 0], expected, rtol=1e-12)


@ALL_KINDS
def test_held_out_stds_are_those_of_the_trees_that_have_not_seen_the_label(uncertainty: str) -> None:
    X, y = _data()
    forest = _reference(RandomForestRegressor, X, y)
    shares = (y - y.min()) / np.ptp(y)
    counts = np.array([np.bincount(indices, minlength=80) for indices in forest.estimators_samples_])
    homes = [tree.apply(X.astype(np.float32)) for tree in forest.estimators_]
    expected = np.empty(80)
    for row, own in enumerate(_said(forest, X).T):
        out = np.flatnonzero(counts[:, row] == 0)
        variance = own[out].var()
        if uncertainty == "jackknife":
            others = np.delete(np.arange(80), row)
            variance = max(_by_loops(own[out], counts[np.ix_(out, others)]), 0.0)
        if uncertainty == "total_variance":
            leaves = [shares[(homes[tree] == homes[tree][row]) & (np.arange(80) != row)] for tree in out]
            variance += sum(leaf.var() * len(leaf) for leaf in leaves) / sum(len(leaf) - 1 for leaf in leaves)
        expected[row] = np.ptp(y) * np.sqrt(variance)
    held_out = _fit(RandomForest, X, y, uncertainty=uncertainty).held_out
    np.testing.assert_allclose(held_out.std[:, 0], expected, rtol=1e-8, atol=1e-12)


def test_a_label_that_all_trees_have_seen_leaves_nothing_held_out() -> None:
    X, y = _data()
    assert _fit(RandomForest, X, y, n_trees=3).held_out is None
    assert _fit(RandomForest, X, y, bootstrap=False, max_features=0.5).held_out is None
    assert _fit(ExtraTrees, X, y).held_out is None


# Covariance, settings, options


@ALL_KINDS
def test_the_diagonal_of_the_covariance_is_the_variance_that_is_not_noise(uncertainty: str) -> None:
    X, y = _data()
    model, plain = (_fit(RandomForest, X[:40], y[:40], uncertainty=kind) for kind in (uncertainty, "spread"))
    factor = model.covariance_factor(X)
    assert factor.shape == (80, 40 if uncertainty == "jackknife" else N_TREES)
    like = model if uncertainty == "jackknife" else plain
    expected = like.predict(X).std[:, 0] ** 2
    np.testing.assert_allclose(np.square(factor).sum(axis=1), expected, rtol=1e-9, atol=1e-14)
    assert (np.square(factor).sum(axis=1) <= model.predict(X).std[:, 0] ** 2 * (1 + 1e-9)).all()


def test_the_covariance_of_the_spread_is_numpys_over_the_trees() -> None:
    X, y = _data()
    model = _fit(ExtraTrees, X[:40], y[:40])
    factor = model.covariance_factor(X)
    np.testing.assert_allclose(factor @ factor.T, np.cov(model.tree_values(X).T, bias=True), rtol=1e-9, atol=1e-12)


def test_a_row_of_the_covariance_factor_is_the_same_in_any_company() -> None:
    X, y = _data()
    for uncertainty in KINDS:
        model = _fit(RandomForest, X[:40], y[:40], uncertainty=uncertainty)
        whole = model.covariance_factor(X)
        for row in (0, 41, 79):
            np.testing.assert_array_equal(model.covariance_factor(X[row : row + 1])[0], whole[row])


@pytest.mark.parametrize(
    ("plug_in", "options", "fault"),
    [
        (ExtraTrees, {"uncertainty": "jackknife"}, "needs bootstrap = true"),
        (RandomForest, {"uncertainty": "jackknife", "bootstrap": False}, "needs bootstrap = true"),
        (ExtraTrees, {"uncertainty": "total_variance"}, "Set min_samples_leaf to 2 or more, or bootstrap = true"),
        (RandomForest, {"uncertainty": "confidence"}, "'spread', 'total_variance' or 'jackknife'"),
    ],
)
def test_an_uncertainty_that_does_not_exist_is_refused(plug_in: Any, options: Any, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        plug_in.Options(**options)


@pytest.mark.parametrize("share", [1.0, 0.25, "sqrt", None])
def test_settings_have_the_present_values_and_others(share: Any) -> None:
    forest = RandomForest(RandomForest.Options(max_features=share, min_samples_leaf=4, n_trees=7, n_jobs=1))
    assert isinstance(forest, HasSettings)
    assert share in forest.settings["max_features"]
    assert 4 in forest.settings["min_samples_leaf"]
    for name, values in forest.settings.items():
        assert len(values) > 2
        for value in values:
            other = forest.with_settings({name: value})
            assert isinstance(other, RandomForest)
            assert other.options == forest.options.model_copy(update={name: value})
    assert forest.with_settings({}).options == forest.options


def test_settings_that_the_options_refuse_are_not_offered() -> None:
    extra = ExtraTrees(ExtraTrees.Options(uncertainty="total_variance", min_samples_leaf=2))
    assert extra.settings["min_samples_leaf"] == (2, 3, 5, 10)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"n_trees": 5}, "no setting 'n_trees'; there are max_features"),
        ({"min_samples_leaf": 4}, "one of 1, 2, 3, 5, 10"),
    ],
)
def test_other_settings_are_refused(settings: Any, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        RandomForest(RandomForest.Options()).with_settings(settings)


def test_a_trained_forest_has_all_that_it_promises() -> None:
    model = _fit(RandomForest, *_data())
    assert all(isinstance(model, able) for able in (HasDraws, HasHeldOut, KnowsCovariance, Portable))
    assert isinstance(model.trees, Trees)
