"""Batches whose members know of each other and of what is in flight, against exact Gaussian formulas."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import erfc
from threadpoolctl import threadpool_limits

from active_learning.domain.choosing import Batch
from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError
from active_learning.selection.determinant import MaxDeterminant
from active_learning.selection.fantasies import Fantasies
from active_learning.selection.joint import JointBelief
from active_learning.selection.penalization import LocalPenalization, lipschitz, log_penalties
from active_learning.selection.top import Top

JOINT = [Fantasies, MaxDeterminant, LocalPenalization]


def _rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def _optimism(prediction: Prediction) -> Any:
    return prediction.mean[:, 0] + prediction.std[:, 0]


def _batch(
    n: int,
    mean: Any,
    factor: Any,
    *,
    noise: Any = 0.0,
    n_pending: int = 0,
    X: Any = None,
    score: Callable[[Prediction], Any] = _optimism,
) -> Batch:
    """A batch from a Gaussian: the last rows are pending. `noise` is a variance. Scores are mean + std."""
    mean, factor = np.asarray(mean, dtype=float), np.asarray(factor, dtype=float)
    std = np.sqrt((factor**2).sum(axis=1) + noise)
    n_rows = len(mean) - n_pending
    all_X = np.arange(len(mean), dtype=float)[:, None] if X is None else np.asarray(X, dtype=float)
    prediction = Prediction(mean[:n_rows, None], std[:n_rows, None])
    return Batch(
        n,
        score(prediction),
        all_X[:n_rows],
        all_X[n_rows:],
        _rng(),
        prediction,
        Prediction(mean[n_rows:, None], std[n_rows:, None]),
        lambda rows: np.concatenate([factor[rows], factor[n_rows:]]),
        lambda believed, _rows: score(believed),
    )


def _choose(kind: Any, batch: Batch, **options: Any) -> list[int]:
    return list(kind(kind.Options(**options)).choose(batch).tolist())


def _conditioned(covariance: Any, noise: Any, known: list[int]) -> Any:
    """Variance of every label given exact Gaussian conditioning on the labels of some rows."""
    S = covariance[np.ix_(known, known)] + np.diag(noise[known])
    told = covariance[:, known] @ np.linalg.solve(S, covariance[known])
    return np.diag(covariance - told) + noise


# The joint belief


@pytest.mark.parametrize("rank", [3, 30])
@pytest.mark.parametrize("noise", [0.0, 0.05, "varied"])
def test_the_std_after_some_labels_is_that_of_exact_gaussian_conditioning(rank: int, noise: Any) -> None:
    factor = _rng(3).normal(size=(25, rank)) * _rng(4).uniform(0.1, 3.0, size=(25, 1))
    variances = _rng(5).uniform(0.01, 2.0, 25) if noise == "varied" else np.full(25, noise)
    belief = JointBelief.of(factor, np.sqrt((factor**2).sum(axis=1) + variances))
    known: list[int] = []
    for row in [7, 24, 0] if noise == 0.0 else [7, 24, 0, 3, 12, 19, 8]:
        belief = belief.given_label(row)
        known.append(row)
        others = np.setdiff1d(np.arange(25), known)
        exact = _conditioned(factor @ factor.T, variances, known)[others]
        np.testing.assert_allclose(belief.std[others] ** 2, exact, rtol=1e-8, atol=1e-8)


def test_stds_of_very_different_sizes_are_each_conditioned_to_the_last_digit() -> None:
    factor, unit = _rng(3).normal(size=(12, 20)), np.logspace(-160, 150, 12)
    plain = JointBelief.of(factor, np.linalg.norm(factor, axis=1))
    spread = JointBelief.of(factor * unit[:, None], np.linalg.norm(factor, axis=1) * unit)
    for row in (0, 11, 5):
        plain, spread = plain.given_label(row), spread.given_label(row)
    rest = np.setdiff1d(np.arange(12), [0, 11, 5])
    np.testing.assert_allclose(spread.std[rest] / unit[rest], plain.std[rest], rtol=1e-12)


def test_what_hangs_together_with_nothing_keeps_its_std_exactly() -> None:
    std = _rng(0).uniform(0.1, 7.0, 50)
    belief = JointBelief.of(np.diag(std * 0.7), std).given_label(3)
    np.testing.assert_array_equal(belief.std[4:], std[4:])
    assert belief.std[3] < std[3]


def test_a_label_that_is_known_already_teaches_nothing_more() -> None:
    factor = np.concatenate([np.repeat(_rng(3).normal(size=(1, 9)), 2, axis=0), _rng(4).normal(size=(5, 9))])
    once = JointBelief.of(factor, np.linalg.norm(factor, axis=1)).given_label(0)
    assert once.is_known.tolist() == [True, True] + [False] * 5
    np.testing.assert_array_equal(once.given_label(1).std, once.std)


def test_a_factor_that_claims_more_than_the_std_is_shortened_to_it() -> None:
    factor = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    belief = JointBelief.of(factor, np.array([1.0, 4.0, 0.0]))
    np.testing.assert_allclose(belief.loadings, [[0.6, 0.8], [0.0, 0.5], [0.0, 0.0]], rtol=1e-15)
    np.testing.assert_allclose(belief.noise, [0.0, 0.75, 1.0], atol=1e-15)


# Fantasies


def test_fantasies_take_what_a_loop_with_exact_conditioning_takes() -> None:
    factor, mean = _rng(6).normal(size=(43, 8)), _rng(7).normal(size=43)
    noise = _rng(8).uniform(0.05, 0.5, 43)
    batch = _batch(10, mean, factor, noise=noise, n_pending=3)
    known, expected = [40, 41, 42], []
    for _ in range(10):
        score = mean + np.sqrt(_conditioned(factor @ factor.T, noise, known))
        score[[*known, 40, 41, 42]] = -np.inf
        expected.append(int(np.argmax(score)))
        known.append(expected[-1])
    assert _choose(Fantasies, batch) == expected
    assert expected != _choose(Top, batch)


def test_of_two_best_candidates_that_are_perfectly_correlated_fantasies_take_one() -> None:
    factor = [[2.0, 0, 0], [2.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    batch = _batch(3, [0.0, 0.0, 0.0, -0.5], factor)
    assert _choose(Top, batch) == [0, 1, 2]
    assert _choose(Fantasies, batch) == [0, 2, 3]


@pytest.mark.parametrize("kind", [Fantasies, MaxDeterminant])
def test_a_pending_twin_keeps_its_twin_from_being_chosen(kind: Any) -> None:
    factor = [[2.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [2.0, 0, 0]]
    mean = [0.5, 0.0, 0.0, 0.5]
    assert _choose(kind, _batch(2, mean, factor, n_pending=1)) == [1, 2]
    alone = _batch(2, mean[:3], factor[:3])
    assert _choose(kind, alone)[0] == 0


def test_noise_keeps_some_doubt_about_a_pending_twin() -> None:
    factor = [[2.0, 0], [0, 1.0], [2.0, 0]]
    noisy = _batch(1, np.zeros(3), factor, noise=np.array([1.5, 0.0, 1.5]), n_pending=1)
    assert _choose(Fantasies, noisy) == [0]


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_where_candidates_hang_together_with_nothing_fantasies_are_top(noise: float) -> None:
    std = _rng(1).choice([0.5, 1.0, 2.0], 40)
    mean = _rng(2).choice([0.0, 0.5, 1.0], 40)  # many ties
    batch = _batch(12, mean, np.diag(std), noise=noise, n_pending=5)
    assert _choose(Fantasies, batch) == _choose(Top, batch)


def test_fantasies_leave_the_means_as_they_are_and_name_the_rows_they_ask_for() -> None:
    factor, mean = _rng(6).normal(size=(20, 4)), _rng(7).normal(size=20)
    batch = _batch(4, mean, factor, n_pending=2)
    asked: list[Any] = []

    def rescore(believed: Prediction, rows: Any) -> Any:
        asked.append(rows)
        np.testing.assert_array_equal(believed.mean[:, 0], mean[rows])
        assert (believed.std[:, 0] <= np.linalg.norm(factor, axis=1)[rows] * (1 + 1e-12)).all()
        return _optimism(believed)

    rows = _choose(Fantasies, replace(batch, rescore=rescore))
    assert [len(x) for x in asked] == [18, 17, 16, 15]
    for step, left in enumerate(asked):
        assert not set(left.tolist()) & set(rows[:step])


# The determinant


def _greedy_by_brute_force(L: Any, pending: list[int], n: int) -> list[int]:
    known, chosen = list(pending), []
    for _ in range(n):
        free = [i for i in range(len(L)) if i not in known]
        gains = [np.linalg.slogdet(L[np.ix_([*known, i], [*known, i])])[1] for i in free]
        chosen.append(free[int(np.argmax(gains))])
        known.append(chosen[-1])
    return chosen


@pytest.mark.parametrize("theta", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("n_pending", [0, 3])
def test_the_greedy_determinant_is_that_of_brute_force(theta: float, n_pending: int) -> None:
    factor = _rng(6).normal(size=(30, 30)) * _rng(5).uniform(0.3, 2.0, size=(30, 1))
    batch = _batch(7, _rng(7).normal(size=30), factor, noise=0.2, n_pending=n_pending)
    r = np.zeros(30)
    r[: 30 - n_pending] = (batch.scores - batch.scores.min()) / np.ptp(batch.scores)
    q = np.exp(r * theta / (2 * (1 - theta)))
    L = q[:, None] * (factor @ factor.T) * q
    expected = _greedy_by_brute_force(L, list(range(30 - n_pending, 30)), 7)
    assert _choose(MaxDeterminant, batch, quality=theta) == expected


def test_the_greedy_determinant_comes_near_the_best_of_all_subsets() -> None:
    # With I + A A^T every variance is at least 1, so that log det grows with each candidate and is submodular: greedy
    # reaches 1 - 1/e of the best (Nemhauser, Wolsey & Fisher 1978).
    for seed in range(8):
        factor = np.concatenate([np.eye(11), 2 * _rng(seed).normal(size=(11, 3))], axis=1)
        batch = _batch(4, _rng(7).normal(size=11), factor)
        C = factor @ factor.T

        def log_det(rows: Any, C: Any = C) -> float:
            return float(np.linalg.slogdet(C[np.ix_(rows, rows)])[1])

        best = max(log_det(list(rows)) for rows in itertools.combinations(range(11), 4))
        reached = log_det(_choose(MaxDeterminant, batch, quality=0.0))
        assert (1 - 1 / np.e) * best <= reached <= best + 1e-9


def test_with_all_weight_on_the_scores_the_determinant_is_nearly_top() -> None:
    batch = _batch(8, _rng(7).normal(size=30), _rng(6).normal(size=(30, 30)))
    assert _choose(MaxDeterminant, batch, quality=1 - 1e-9) == _choose(Top, batch)


def test_once_the_rank_is_used_up_the_highest_scores_follow() -> None:
    factor = _rng(6).normal(size=(20, 2))
    batch = _batch(6, _rng(7).normal(size=20), factor)
    rows = _choose(MaxDeterminant, batch, quality=0.0)
    rest = [row for row in batch.ranked.tolist() if row not in rows[:2]]
    assert rows[2:] == rest[:4]


def test_pending_candidates_alone_can_tell_all() -> None:
    factor = np.concatenate([_rng(6).normal(size=(15, 3)), 2 * np.eye(3)])
    batch = _batch(5, _rng(7).normal(size=18), factor, n_pending=3)
    assert _choose(MaxDeterminant, batch) == _choose(Top, batch)
    by_mean = np.argsort(-batch.prediction.mean[:, 0])  # type: ignore[union-attr]
    assert _choose(Fantasies, batch) == by_mean[:5].tolist()


# Local penalization


def test_the_penalty_is_that_of_the_paper() -> None:
    # By hand: L = 2, M = 3, the center has mean 2.5 and std 0.5: the ball has radius 0.25.
    Z = np.array([[0.0], [0.25], [1.0], [-0.1]])
    log = log_penalties(Z, 0, np.array([2.5, 0, 0, 0]), np.array([0.5, 9, 9, 9]), best=3.0, steepest=2.0)
    z = (2.0 * np.array([0.0, 0.25, 1.0, 0.1]) - 3.0 + 2.5) / np.sqrt(2 * 0.5**2)
    np.testing.assert_allclose(np.exp(log), erfc(-z) / 2, rtol=1e-12)
    np.testing.assert_allclose(np.exp(log), [0.158655, 0.5, 0.998650, 0.274253], rtol=1e-5)


def test_without_doubt_a_row_counts_nothing_in_the_ball_half_on_its_edge_and_all_outside() -> None:
    Z = np.array([[0.0], [0.25], [1.0], [-0.1]])
    log = log_penalties(Z, 0, np.array([2.5, 0, 0, 0]), np.zeros(4), best=3.0, steepest=2.0)
    np.testing.assert_allclose(np.exp(log), [0.0, 0.5, 1.0, 0.0])
    tiny = log_penalties(Z, 0, np.array([2.5, 0, 0, 0]), np.full(4, 1e-160), best=3.0, steepest=2.0)
    np.testing.assert_allclose(np.exp(tiny), [0.0, 0.5, 1.0, 0.0])


def test_the_steepest_slope_does_not_count_steps_between_near_twins() -> None:
    Z = np.array([[0.0], [1e-9], [1.0], [2.0], [3.0], [4.0]])
    mean = np.array([0.0, 0.1, 1.0, 4.0, 5.0, 6.0])
    assert lipschitz(Z, mean, np.zeros(6)) == 3.0


def test_a_flat_mean_gets_the_slope_of_its_doubt() -> None:
    assert lipschitz(np.array([[0.0], [1.0], [4.0]]), np.zeros(3), np.array([0.5, 2.0, 1.0])) == 0.5
    assert lipschitz(np.zeros((3, 2)), np.arange(3.0), np.ones(3)) == 0.0


@pytest.mark.parametrize("sense", [1.0, -1.0])
def test_local_penalization_maximizes_the_product_of_the_paper(sense: float) -> None:
    X, mean = _rng(1).uniform(size=(30, 2)), _rng(2).normal(size=30)
    factor = np.diag(_rng(3).uniform(0.2, 1.0, 30))

    def optimism(prediction: Prediction) -> Any:
        return sense * prediction.mean[:, 0] + prediction.std[:, 0]

    batch = _batch(6, mean, factor, n_pending=2, X=X, score=optimism)
    std = np.diag(factor)
    Z = (X - X[:28].mean(axis=0)) / X[:28].std(axis=0)
    distance = np.linalg.norm(Z[:, None] - Z, axis=2)
    nearest = np.median(np.where(distance > 0, distance, np.inf).min(axis=1))
    pairs = [(i, j) for i in range(30) for j in range(i) if distance[i, j] >= nearest]
    L = max(abs(mean[i] - mean[j]) / distance[i, j] for i, j in pairs)
    M = sense * (sense * mean[:28]).max()
    worth = np.log1p(np.exp((batch.scores - batch.scores.mean()) / batch.scores.std()))
    expected: list[int] = []
    for j in [28, 29, None, None, None, None, None, None]:
        if j is None:
            left = np.where(np.isin(np.arange(28), expected), -1.0, worth)
            j = int(np.argmax(left))
            expected.append(j)
        toward_the_best = sense * (M - mean[j])
        assert toward_the_best >= 0 or j >= 28
        worth = worth * erfc(-(L * distance[j, :28] - abs(M - mean[j])) / np.sqrt(2 * std[j] ** 2)) / 2
    assert _choose(LocalPenalization, batch) == expected


def test_local_penalization_leaves_an_island_where_something_is_in_flight() -> None:
    X = np.concatenate([_rng(1).normal(scale=0.01, size=(10, 1)), 5 + _rng(2).normal(scale=0.01, size=(10, 1))])
    mean, std = np.ones(20), np.tile(np.linspace(0.2, 0.3, 10), 2) + np.repeat([0.001, 0.0], 10)
    alone = _batch(1, mean, np.diag(std), X=X)
    assert _choose(LocalPenalization, alone)[0] < 10
    with_pending = _batch(
        1, np.append(mean, 1.0), np.diag(np.append(std, 0.3)), X=np.append(X, [[0.0]], axis=0), n_pending=1
    )
    assert _choose(LocalPenalization, with_pending)[0] >= 10


@pytest.mark.parametrize("unit", [1e-3, 1e6])
def test_neither_unit_nor_zero_of_target_and_scores_matters_to_local_penalization(unit: float) -> None:
    X, mean, std = _rng(1).uniform(size=(40, 2)), _rng(2).normal(size=40), _rng(3).uniform(0.2, 1.0, 40)
    plain = _choose(LocalPenalization, _batch(8, mean, np.diag(std), X=X))
    assert _choose(LocalPenalization, _batch(8, unit * (mean - 3), unit * np.diag(std), X=X * 7)) == plain


# What all of them share


@pytest.mark.parametrize("kind", JOINT)
def test_only_as_many_as_the_limit_are_considered_but_never_fewer_than_wanted(kind: Any) -> None:
    batch = _batch(4, _rng(2).normal(size=50), _rng(3).normal(size=(50, 20)), X=_rng(4).normal(size=(50, 3)))
    assert sorted(_choose(kind, batch, pool_limit=1)) == sorted(_choose(Top, batch))
    assert set(_choose(kind, batch, pool_limit=9)) <= set(batch.ranked[:9].tolist())


@pytest.mark.parametrize("kind", JOINT)
def test_one_blas_thread_and_two_choose_the_same(kind: Any) -> None:
    factor = _rng(3).normal(size=(1204, 150))
    batch = _batch(15, _rng(2).normal(size=1204), factor, noise=0.1, X=_rng(4).normal(size=(1204, 30)), n_pending=4)
    chosen = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            chosen.append(_choose(kind, batch))
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("kind", JOINT)
def test_among_candidates_that_are_equal_the_first_row_is_taken_first(kind: Any) -> None:
    # Each candidate three times, far apart in the table, so that sums over rows could be rounded differently.
    factor, mean, X = _rng(3).normal(size=(31, 17)), _rng(2).normal(size=31), _rng(4).normal(size=(31, 3))
    batch = _batch(20, np.tile(mean, 3), np.tile(factor, (3, 1)), noise=0.5, X=np.tile(X, (3, 1)))
    rows = _choose(kind, batch)
    for candidate in range(31):
        copies = [row for row in rows if row % 31 == candidate]
        assert copies == sorted(copies)
        assert copies == [candidate, candidate + 31, candidate + 62][: len(copies)]


@pytest.mark.parametrize("kind", JOINT)
def test_a_selection_says_what_it_needs_and_what_does_without(kind: Any) -> None:
    batch = _batch(2, np.arange(6.0), np.eye(6), n_pending=1)
    with pytest.raises(ContractError, match=r"needs what is believed of the candidates.*'diverse' does without"):
        _choose(kind, replace(batch, prediction=None))
    with pytest.raises(ContractError, match="needs what is believed of the pending candidates"):
        _choose(kind, replace(batch, pending=None))
    classes = Prediction.of_classes(np.arange(2.0), np.full((5, 2), 0.5))
    with pytest.raises(ContractError, match=r"works on numbers.*of classes; 'diverse' works on both"):
        _choose(kind, replace(batch, prediction=classes))
    two = Prediction(np.ones((5, 2)), np.ones((5, 2)))
    with pytest.raises(ContractError, match=r"shape \(5, 2\); \(5, 1\) is needed: one target"):
        _choose(kind, replace(batch, prediction=two))


@pytest.mark.parametrize("kind", JOINT)
def test_without_pending_candidates_nothing_need_be_believed_of_them(kind: Any) -> None:
    batch = _batch(2, np.arange(6.0), np.eye(6))
    nothing = Prediction(np.empty((0, 1)), np.empty((0, 1)))
    assert _choose(kind, replace(batch, pending=None)) == _choose(kind, replace(batch, pending=nothing))


@pytest.mark.parametrize("kind", [Fantasies, MaxDeterminant])
def test_a_surrogate_that_knows_no_covariance_is_refused_with_a_remedy(kind: Any) -> None:
    batch = replace(_batch(2, np.arange(6.0), np.eye(6)), factor=None)
    with pytest.raises(ContractError, match=r"such as random_forest.*gaussian_process.*'diverse' does without"):
        _choose(kind, batch)


@pytest.mark.parametrize("kind", [Fantasies, MaxDeterminant])
def test_a_factor_of_another_shape_or_that_is_not_finite_is_refused(kind: Any) -> None:
    batch = _batch(2, np.arange(6.0), np.eye(6), n_pending=1)
    with pytest.raises(ContractError, match=r"shape \(5, 6\); \(6, rank\) is needed, 5 candidates and 1 pending"):
        _choose(kind, replace(batch, factor=lambda rows: np.ones((5, 6))))
    bad = np.ones((6, 3))
    bad[4, 1] = np.inf
    with pytest.raises(ContractError, match=r"factor is not finite in row 4 \(1 rows"):
        _choose(kind, replace(batch, factor=lambda rows: bad))


@pytest.mark.parametrize("kind", [Fantasies, LocalPenalization])
def test_an_acquisition_that_cannot_score_again_is_refused_with_a_remedy(kind: Any) -> None:
    batch = _batch(2, np.arange(6.0), np.eye(6), n_pending=1)
    with pytest.raises(ContractError, match=r"needs an acquisition that can score again.*upper_confidence_bound"):
        _choose(kind, replace(batch, rescore=None))
    with pytest.raises(ContractError, match=r"scored again, 5 candidates have scores of shape \(2,\)"):
        _choose(kind, replace(batch, rescore=lambda believed, rows: np.ones(2)))
    with pytest.raises(ContractError, match="scored again, the score of row 4 is nan"):
        _choose(kind, replace(batch, rescore=lambda believed, rows: np.where(rows == 4, np.nan, 1.0)))


def test_the_determinant_need_not_score_again_and_local_penalization_needs_no_covariance() -> None:
    batch = _batch(2, np.arange(6.0), np.eye(6), n_pending=1)
    assert len(_choose(MaxDeterminant, replace(batch, rescore=None))) == 2
    assert len(_choose(LocalPenalization, replace(batch, factor=None))) == 2


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [(Fantasies, "pool_limit", 0), (MaxDeterminant, "pool_limit", 0), (LocalPenalization, "pool_limit", 0)]
    + [(MaxDeterminant, "quality", value) for value in (-0.1, 1.0, np.nan)],
)
def test_options_out_of_range_are_refused(kind: Any, key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=key):
        kind.Options(**{key: value})
