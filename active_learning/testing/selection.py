"""The laws of a selection, as tests: subclass `SelectionContract` and override its fixture `selection`."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.domain.protocols import Batch, Selection

__all__ = ["SelectionContract"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def _chosen(selection: Selection, scores: Floats, X: Floats, n: int, n_pending: int = 0, seed: int = 1) -> Indices:
    pending = np.random.default_rng(5).normal(size=(n_pending, X.shape[1]))
    return selection.choose(Batch(n, scores, X, pending, np.random.default_rng(seed)))


def _pool(n_rows: int = 60) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(2)
    return rng.normal(size=n_rows), rng.normal(size=(n_rows, 3))


class SelectionContract:
    """What every selection promises."""

    @pytest.fixture
    def selection(self) -> Selection:
        """The selection under test."""
        raise NotImplementedError("override the fixture `selection`")

    @pytest.mark.parametrize("n", [0, 1, 7, 59, 60, 100])
    @pytest.mark.parametrize("n_pending", [0, 1, 9])
    def test_it_takes_as_many_distinct_rows_as_wanted_or_all(
        self, selection: Selection, n: int, n_pending: int
    ) -> None:
        rows = _chosen(selection, *_pool(), n, n_pending)
        assert rows.shape == (min(n, 60),)
        assert len(set(rows.tolist())) == len(rows)
        assert set(rows.tolist()) <= set(range(60))

    def test_the_best_comes_first(self, selection: Selection) -> None:
        scores, X = _pool()
        taken = scores[_chosen(selection, scores, X, 8)]
        assert (np.diff(taken) <= 0).all()

    def test_the_best_candidate_of_all_is_taken(self, selection: Selection) -> None:
        scores, X = _pool()
        assert _chosen(selection, scores, X, 3)[0] == np.argmax(scores)

    def test_one_candidate_of_an_empty_pool_is_none(self, selection: Selection) -> None:
        assert _chosen(selection, np.empty(0), np.empty((0, 3)), 1).shape == (0,)

    def test_the_same_generator_gives_the_same_rows(self, selection: Selection) -> None:
        first, second = (_chosen(selection, *_pool(), 9, 4) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_numpys_global_random_state_plays_no_part(self, selection: Selection) -> None:
        before = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
        _chosen(selection, *_pool(), 9)
        np.testing.assert_array_equal(before, np.random.get_state(legacy=False)["state"]["key"])  # noqa: NPY002

    def test_candidates_that_are_all_alike_can_be_chosen(self, selection: Selection) -> None:
        rows = _chosen(selection, np.ones(20), np.ones((20, 3)), 5, n_pending=2)
        np.testing.assert_array_equal(np.sort(rows), np.arange(5))

    def test_its_arguments_are_left_as_they_were(self, selection: Selection) -> None:
        scores, X = _pool()
        _chosen(selection, scores, X, 5)
        np.testing.assert_array_equal(scores, _pool()[0])
        np.testing.assert_array_equal(X, _pool()[1])
