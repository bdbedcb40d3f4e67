"""The laws of a selection, as tests: subclass `SelectionContract` and override its fixture `selection`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.domain.choosing import Batch, Selection
from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError

__all__ = ["SelectionContract", "bare_batch", "known_batch"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def bare_batch(n: int, *, n_rows: int = 60, n_pending: int = 0, seed: int = 1) -> Batch:
    """Scores and three features for each candidate, and nothing else."""
    rng = np.random.default_rng(2)
    scores, X = rng.normal(size=n_rows), rng.normal(size=(n_rows, 3))
    pending = np.random.default_rng(5).normal(size=(n_pending, 3))
    return Batch(n, scores, X, pending, np.random.default_rng(seed))


def known_batch(bare: Batch, *, unit: float = 1.0) -> Batch:
    """The same candidates, of which everything is known that a batch can tell.

    The function is a sum of 50 bumps around fixed places, with independent normal weights, plus the sum of the
    features; a label has noise of 0.1 beside. A score is the mean plus one std.

    Parameters
    ----------
    unit : what the factor and the stds are multiplied by; 0 for a belief without doubt
    """
    prediction, pending = (_belief(X, unit) for X in (bare.X, bare.X_pending))

    def factor(rows: Indices) -> Floats:
        return _factor(np.concatenate([bare.X[rows], bare.X_pending]), unit)

    def rescore(believed: Prediction, rows: Indices) -> Floats:
        assert len(believed) == len(rows)
        return _score(believed)

    return replace(
        bare, scores=_score(prediction), prediction=prediction, pending=pending, factor=factor, rescore=rescore
    )


def _factor(X: Floats, unit: float) -> Floats:
    places = np.random.default_rng(8).normal(size=(50, 3))
    factor: Floats = unit * np.exp(-0.5 * np.square(X[:, None] - places).sum(axis=2))
    return factor


def _belief(X: Floats, unit: float) -> Prediction:
    variance = np.square(_factor(X, 1.0)).sum(axis=1, keepdims=True) + 0.01
    return Prediction(X.sum(axis=1, keepdims=True), unit * np.sqrt(variance))


def _score(prediction: Prediction) -> Floats:
    score: Floats = prediction.mean[:, 0] + prediction.std[:, 0]
    return score


class SelectionContract:
    """What every selection promises.

    Attributes
    ----------
    ranks_by_score : False if it scores again while it chooses, so that the batch need not be in the order of the scores
    needs_beliefs : True if it cannot choose by scores and features alone
    """

    ranks_by_score = True
    needs_beliefs = False

    @pytest.fixture
    def selection(self) -> Selection:
        """The selection under test."""
        raise NotImplementedError("override the fixture `selection`")

    def batches(self, n: int, *, n_rows: int = 60, n_pending: int = 0) -> list[Batch]:
        """Batches from which it can choose, each with a generator of its own."""
        bare, known = (bare_batch(n, n_rows=n_rows, n_pending=n_pending) for _ in range(2))
        return [known_batch(known)] if self.needs_beliefs else [bare, known_batch(known)]

    @pytest.mark.parametrize("n", [0, 1, 7, 59, 60, 100])
    @pytest.mark.parametrize("n_pending", [0, 1, 9])
    def test_it_takes_as_many_distinct_rows_as_wanted_or_all(
        self, selection: Selection, n: int, n_pending: int
    ) -> None:
        for batch in self.batches(n, n_pending=n_pending):
            rows = selection.choose(batch)
            assert rows.shape == (min(n, 60),)
            assert rows.dtype.kind == "i"
            assert len(set(rows.tolist())) == len(rows)
            assert set(rows.tolist()) <= set(range(60))

    def test_the_best_comes_first(self, selection: Selection) -> None:
        if not self.ranks_by_score:
            pytest.skip("a selection that scores again need not keep the order of the scores")
        for batch in self.batches(8):
            assert (np.diff(batch.scores[selection.choose(batch)]) <= 0).all()

    def test_the_best_candidate_of_all_is_taken(self, selection: Selection) -> None:
        if not self.ranks_by_score:
            pytest.skip("a selection that scores again need not take the best score")
        for batch in self.batches(3):
            assert selection.choose(batch)[0] == np.argmax(batch.scores)

    def test_one_candidate_of_an_empty_pool_is_none(self, selection: Selection) -> None:
        for batch in self.batches(1, n_rows=0):
            assert selection.choose(batch).shape == (0,)

    def test_the_only_candidate_is_taken(self, selection: Selection) -> None:
        for batch in self.batches(2, n_rows=1, n_pending=3):
            np.testing.assert_array_equal(selection.choose(batch), [0])

    def test_the_same_generator_gives_the_same_rows(self, selection: Selection) -> None:
        first, second = ([selection.choose(x) for x in self.batches(9, n_pending=4)] for _ in range(2))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_numpys_global_random_state_plays_no_part(self, selection: Selection) -> None:
        before = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
        for batch in self.batches(9, n_pending=4):
            selection.choose(batch)
        np.testing.assert_array_equal(before, np.random.get_state(legacy=False)["state"]["key"])  # noqa: NPY002

    def test_candidates_that_are_all_alike_can_be_chosen(self, selection: Selection) -> None:
        for batch in self.batches(5):
            alike = Batch(5, np.ones(20), np.ones((20, 3)), np.ones((2, 3)), batch.rng)
            rows = selection.choose(alike if batch.prediction is None else known_batch(alike))
            np.testing.assert_array_equal(np.sort(rows), np.arange(5))

    @pytest.mark.parametrize("unit", [0.0, 1e-160, 1e160])
    def test_the_size_of_the_doubt_does_not_matter(self, selection: Selection, unit: float) -> None:
        rows = selection.choose(known_batch(bare_batch(7, n_pending=2), unit=unit))
        assert len(set(rows.tolist())) == 7

    def test_a_batch_that_does_not_tell_what_is_believed_is_refused_by_a_selection_that_needs_it(
        self, selection: Selection
    ) -> None:
        if not self.needs_beliefs:
            pytest.skip("scores and features are enough for it")
        with pytest.raises(ContractError, match="needs what is believed"):
            selection.choose(bare_batch(3))

    def test_its_arguments_are_left_as_they_were(self, selection: Selection) -> None:
        for batch, before in zip(self.batches(5, n_pending=2), self.batches(5, n_pending=2), strict=True):
            selection.choose(batch)
            for name in ("scores", "X", "X_pending"):
                np.testing.assert_array_equal(getattr(batch, name), getattr(before, name))
            for name in ("prediction", "pending"):
                after, intact = getattr(batch, name), getattr(before, name)
                if intact is not None:
                    np.testing.assert_array_equal(after.mean, intact.mean)
                    np.testing.assert_array_equal(after.std, intact.std)
