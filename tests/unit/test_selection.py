"""Which batch is taken from the scores, and which candidates make the first design."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits

from active_learning.domain.choosing import Batch
from active_learning.errors import ContractError
from active_learning.selection import design, scaling
from active_learning.selection.design import representatives
from active_learning.selection.diverse import Diverse
from active_learning.selection.top import Top

NONE_PENDING = np.empty((0, 2))


def _rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def _diverse(**options: Any) -> Diverse:
    return Diverse(Diverse.Options(**options))


def _islands(n_islands: int = 5, n_each: int = 20) -> tuple[Any, Any]:
    """Points around well separated centers, and the island of each."""
    centers = np.column_stack([np.arange(n_islands) * 10.0, (np.arange(n_islands) % 2) * 10.0])
    island = np.repeat(np.arange(n_islands), n_each)
    return centers[island] + _rng(0).normal(scale=0.1, size=(len(island), 2)), island


def test_top_takes_the_highest_scores_and_breaks_ties_by_row() -> None:
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 2.0])
    rows = Top(Top.Options()).choose(Batch(4, scores, np.zeros((6, 2)), NONE_PENDING, _rng()))
    np.testing.assert_array_equal(rows, [1, 3, 2, 4])


@pytest.mark.parametrize("selection", [Top(Top.Options()), _diverse()])
def test_a_negative_number_of_candidates_is_refused(selection: Any) -> None:
    with pytest.raises(ContractError, match="cannot choose -1 candidates"):
        selection.choose(Batch(-1, np.ones(3), np.ones((3, 2)), NONE_PENDING, _rng()))


def test_a_diverse_batch_takes_the_best_of_each_island() -> None:
    X, island = _islands()
    scores = _rng(2).random(100) + island  # the last island scores best everywhere: top would take it alone
    rows = _diverse(promising=20).choose(Batch(5, scores, X, NONE_PENDING, _rng()))
    assert sorted(island[rows]) == [0, 1, 2, 3, 4]
    for row in rows:
        assert scores[row] == scores[island == island[row]].max()
    top = Top(Top.Options()).choose(Batch(5, scores, X, NONE_PENDING, _rng()))
    assert set(island[top]) == {4}


def test_an_island_where_a_candidate_is_being_labeled_is_taken_already() -> None:
    X, island = _islands()
    pending = X[[85, 65]]  # of islands 4 and 3
    keep = np.setdiff1d(np.arange(100), [85, 65])
    rows = _diverse(promising=20).choose(Batch(3, island[keep] * 1.0, X[keep], pending, _rng()))
    assert sorted(island[keep][rows]) == [0, 1, 2]


def test_only_promising_candidates_are_considered() -> None:
    X, island = _islands()
    rows = _diverse(promising=4).choose(Batch(5, island * 1.0, X, NONE_PENDING, _rng()))
    assert set(island[rows]) == {4}
    limited = _diverse(promising=20, pool_limit=5).choose(Batch(5, -np.arange(100.0), X, NONE_PENDING, _rng()))
    np.testing.assert_array_equal(limited, [0, 1, 2, 3, 4])


def test_repetitions_of_pending_or_chosen_candidates_come_last() -> None:
    X = np.array([[0.0, 0.0]] * 4 + [[1.0, 0.0]] * 4 + [[0.0, 1.0], [5.0, 5.0]])
    scores = np.arange(10.0)[::-1]
    rows = _diverse().choose(Batch(3, scores, X, X[:1], _rng()))
    np.testing.assert_array_equal(rows, [4, 8, 9])
    with_one_repetition = _diverse().choose(Batch(4, scores, X, X[:1], _rng()))
    np.testing.assert_array_equal(with_one_repetition, [0, 4, 8, 9])


def test_the_unit_of_a_feature_does_not_matter() -> None:
    X, _island = _islands()
    scores = _rng(2).random(100)
    plain = _diverse(promising=20).choose(Batch(5, scores, X, NONE_PENDING, _rng()))
    scaled = _diverse(promising=20).choose(Batch(5, scores, X * [1e6, 1e-3], NONE_PENDING, _rng()))
    np.testing.assert_array_equal(plain, scaled)


def test_rounding_in_a_constant_feature_is_not_blown_up() -> None:
    noise = 0.3 + np.array([0.0, 5e-17, 1e-16, 2e-16])
    mean, std = scaling.standard_scale(np.column_stack([noise, [1.0, 2.0, 3.0, 4.0], np.zeros(4), np.full(4, 0.1)]))
    np.testing.assert_allclose(std, [1.0, np.std([1, 2, 3, 4]), 1.0, 1.0])
    np.testing.assert_allclose(mean, [0.3, 2.5, 0.0, 0.1])


@pytest.mark.parametrize("n_rows", [1500, 2500])
def test_one_thread_and_two_choose_the_same(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "_MANY_ROWS", 2000)
    X, scores = _rng(0).normal(size=(n_rows, 20)), _rng(1).random(n_rows)
    pending = _rng(2).normal(size=(4, 20))

    def chosen(threads: int) -> list[Any]:
        with threadpool_limits(limits=threads):
            batch = _diverse(promising=100).choose(Batch(12, scores, X, pending, _rng()))
            return [*batch, *representatives(X, 12, rng=_rng())]

    assert chosen(1) == chosen(2)


def test_clusters_are_made_by_one_thread_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[set[int]] = []

    class Recording(KMeans):  # type: ignore[misc]
        def fit(self, X: Any) -> Any:
            threads.append({library["num_threads"] for library in threadpool_info()})
            return super().fit(X)

    monkeypatch.setattr(scaling, "KMeans", Recording)
    with threadpool_limits(limits=2):
        representatives(_islands()[0], 5, rng=_rng())
        assert {library["num_threads"] for library in threadpool_info()} == {2}
    assert threads == [{1}]


def test_pending_candidates_with_other_features_are_refused() -> None:
    with pytest.raises(ContractError, match="X_pending has 3 features, X has 2"):
        _diverse().choose(Batch(2, np.ones(4), np.ones((4, 2)), np.ones((1, 3)), _rng()))


@pytest.mark.parametrize("where", ["X", "X_pending"])
def test_a_feature_that_is_not_finite_is_refused_and_its_row_named(where: str) -> None:
    matrices = {"X": np.ones((4, 2)), "X_pending": np.ones((3, 2))}
    matrices[where][2, 0] = np.nan
    with pytest.raises(ContractError, match=f"{where} is not finite in row 2"):
        _diverse().choose(Batch(2, np.ones(4), matrices["X"], matrices["X_pending"], _rng()))


@pytest.mark.parametrize("key", ["promising", "pool_limit"])
def test_options_out_of_range_are_refused(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        Diverse.Options(**{key: 0})


# The first design


def test_the_first_design_has_one_candidate_of_each_island() -> None:
    X, island = _islands()
    rows = representatives(X, 5, rng=_rng())
    assert sorted(island[rows]) == [0, 1, 2, 3, 4]


def test_a_representative_is_the_nearest_to_the_center_of_its_cluster() -> None:
    X, island = _islands()
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    reference = KMeans(5, n_init=10, random_state=0).fit(Z)
    distance = np.linalg.norm(Z - reference.cluster_centers_[reference.labels_], axis=1)
    expected = {int(np.flatnonzero(island == i)[np.argmin(distance[island == i])]) for i in range(5)}
    assert set(representatives(X, 5, rng=_rng()).tolist()) == expected


def test_the_largest_groups_come_first() -> None:
    sizes = [5, 40, 20]
    X = np.repeat(np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]), sizes, axis=0)
    X = X + _rng(3).normal(scale=0.1, size=X.shape)
    group = np.repeat([0, 1, 2], sizes)
    np.testing.assert_array_equal(group[representatives(X, 3, rng=_rng())], [1, 2, 0])


def test_constant_features_are_harmless() -> None:
    X, _island = _islands()
    padded = np.column_stack([X, np.full((100, 3), 0.1)])
    np.testing.assert_array_equal(representatives(padded, 7, rng=_rng()), representatives(X, 7, rng=_rng()))


def test_every_distinct_candidate_comes_before_a_repeated_one() -> None:
    X = np.repeat(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 6, axis=0)
    rows = representatives(X, 5, rng=_rng())
    assert len(set(rows.tolist())) == 5
    assert {tuple(row) for row in X[rows[:3]]} == {(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)}


def test_empty_groups_are_made_up_for_by_the_farthest_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_group(Z: Any, n_clusters: int, rng: Any) -> Any:
        return np.zeros(len(Z), dtype=np.intp), np.tile(Z.mean(axis=0), (n_clusters, 1))

    monkeypatch.setattr(design, "clusters", one_group)
    X = np.array([-5.0, -4.0, -2.4, 0.0, 1.0, 5.5])[:, None]
    np.testing.assert_array_equal(representatives(X, 4, rng=_rng()), [3, 5, 0, 2])


@pytest.mark.parametrize(("n", "expected"), [(0, 0), (1, 1), (4, 4), (9, 4)])
def test_as_many_as_wanted_or_all(n: int, expected: int) -> None:
    rows = representatives(np.arange(8.0).reshape(4, 2), n, rng=_rng())
    assert sorted(set(rows.tolist())) == sorted(rows.tolist())
    assert len(rows) == expected


def test_many_candidates_are_clustered_in_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "_MANY_ROWS", 50)
    X, island = _islands()
    rows = representatives(X, 5, rng=_rng())
    assert sorted(island[rows]) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(rows, representatives(X, 5, rng=_rng()))


def test_a_first_design_of_less_than_none_is_refused() -> None:
    with pytest.raises(ContractError, match="cannot choose -2 candidates"):
        representatives(np.ones((3, 2)), -2, rng=_rng())


def test_a_score_that_is_not_finite_is_refused_and_its_row_named() -> None:
    scores = np.arange(20.0)
    scores[11] = np.nan
    with pytest.raises(ContractError, match="score of row 11 is nan"):
        Batch(3, scores, np.ones((20, 2)), NONE_PENDING, _rng())


def test_a_score_short_is_refused() -> None:
    with pytest.raises(ContractError, match="each of the 20 candidates"):
        Batch(3, np.ones(19), np.ones((20, 2)), NONE_PENDING, _rng())
