"""Novelty tells interpolation from extrapolation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from active_learning.learning import applicability
from active_learning.learning.applicability import NEIGHBORS, novelty


def _labeled(n: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3))


def test_it_is_the_mean_distance_to_the_nearest_over_that_of_95_percent_of_the_labeled() -> None:
    labeled, X = _labeled(), _labeled(20, seed=1) * 2
    both = np.concatenate([labeled, X])
    Z, Z_labeled = ((rows - both.mean(axis=0)) / both.std(axis=0) for rows in (X, labeled))
    search = NearestNeighbors(n_neighbors=NEIGHBORS).fit(Z_labeled)
    between, _ = search.kneighbors()  # without arguments: of each row to the others
    expected = search.kneighbors(Z)[0].mean(axis=1) / np.percentile(between.mean(axis=1), 95)
    np.testing.assert_allclose(novelty(labeled, X), expected, rtol=1e-12)


def test_what_lies_among_the_labeled_is_inside_and_what_lies_far_off_is_outside() -> None:
    labeled = _labeled(300)
    inside = novelty(labeled, _labeled(200, seed=2))
    assert np.mean(inside < 1) == pytest.approx(0.95, abs=0.05)
    far = novelty(labeled, np.full((1, 3), 30.0))
    assert far[0] > 3


def test_units_and_offsets_of_the_features_do_not_matter() -> None:
    labeled, X = _labeled(), _labeled(10, seed=1)
    unit, offset = np.array([1e-6, 1.0, 1e6]), np.array([0.0, -5.0, 1e7])
    np.testing.assert_allclose(novelty(labeled * unit + offset, X * unit + offset), novelty(labeled, X), rtol=1e-5)


def test_a_feature_that_is_constant_plays_no_part() -> None:
    labeled, X = _labeled(), _labeled(10, seed=1)
    with_constant = [np.column_stack([rows, np.full(len(rows), 0.1)]) for rows in (labeled, X)]
    np.testing.assert_allclose(novelty(*with_constant), novelty(labeled, X), rtol=1e-9)


def test_where_all_labeled_are_one_point_everything_else_is_outside() -> None:
    X = np.array([[1.0, 2.0], [1.0, 2.5], [1.0, 2.0]])
    np.testing.assert_array_equal(novelty(np.tile([1.0, 2.0], (7, 1)), X), [0.0, 2.0, 0.0])


@pytest.mark.parametrize("n", [2, 3, 5, 6])
def test_few_labels_are_enough(n: int) -> None:
    found = novelty(_labeled(n), np.concatenate([_labeled(n), [[40.0, 40.0, 40.0]]]))
    assert np.isfinite(found).all()
    assert found[-1] == found.max() > 1


def test_no_candidates_have_no_novelty() -> None:
    assert novelty(_labeled(), np.empty((0, 3))).shape == (0,)


@given(st.integers(2, 12), st.integers(0, 6), st.integers(0, 99))
def test_it_is_finite_and_never_negative_also_where_rows_are_alike(n_labels: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labeled, X = (rng.integers(2, size=(size, 2)).astype(np.float64) for size in (n_labels, n))
    found = novelty(labeled, X)
    assert found.shape == (n,)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_with_many_labels_a_sample_of_them_says_how_far_they_lie_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of known labels may hold a hundred thousand: all their distances at once would be 80 GB."""
    labeled, X = _labeled(900), _labeled(40, seed=1) * 3
    exact = novelty(labeled, X)
    held = []
    cdist = applicability.cdist

    def noted(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        held.append(len(rows) * len(others))
        return np.asarray(cdist(rows, others))

    monkeypatch.setattr(applicability, "cdist", noted)
    monkeypatch.setattr(applicability, "_BLOCK", 10_000)
    np.testing.assert_array_equal(novelty(labeled, X), exact)
    assert max(held) <= 10_000
    held.clear()
    monkeypatch.setattr(applicability, "SAMPLE", 200)
    np.testing.assert_allclose(novelty(labeled, X), exact, rtol=0.15)
    assert sum(held) == (200 + 40) * 900
