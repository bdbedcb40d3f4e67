"""What holds for selections and first designs whatever the pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from active_learning.domain.choosing import Batch
from active_learning.selection.design import representatives
from active_learning.selection.diverse import Diverse
from active_learning.selection.top import Top

SELECTIONS = [Top(Top.Options()), Diverse(Diverse.Options(promising=3))]
# Few values, so that rows repeat and features are constant.
coarse = st.sampled_from([-1e6, -1.0, 0.0, 1e-12, 1.0, 2.5, 1e6])


@st.composite
def pools(draw: Any) -> tuple[Any, Any, Any]:
    n_rows, n_features, n_pending = draw(st.integers(1, 25)), draw(st.integers(1, 3)), draw(st.integers(0, 4))
    elements = draw(st.sampled_from([coarse, st.floats(-1e6, 1e6)]))
    X = draw(arrays(np.float64, (n_rows, n_features), elements=elements))
    pending = draw(arrays(np.float64, (n_pending, n_features), elements=elements))
    return draw(arrays(np.float64, n_rows, elements=elements)), X, pending


@pytest.mark.parametrize("selection", SELECTIONS)
@settings(max_examples=40, deadline=None)
@given(pool=pools(), n=st.integers(0, 30), seed=st.integers(0, 100))
def test_rows_are_distinct_in_range_best_first_and_reproducible(selection: Any, pool: Any, n: int, seed: int) -> None:
    scores, X, pending = pool
    rows, again = (selection.choose(Batch(n, scores, X, pending, np.random.default_rng(seed))) for _ in range(2))
    assert rows.shape == (min(n, len(X)),)
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(range(len(X)))
    assert (np.diff(scores[rows]) <= 0).all()
    np.testing.assert_array_equal(rows, again)


@settings(max_examples=40, deadline=None)
@given(pool=pools(), n=st.integers(0, 30), seed=st.integers(0, 100))
def test_a_first_design_is_distinct_in_range_and_reproducible(pool: Any, n: int, seed: int) -> None:
    _scores, X, _pending = pool
    rows, again = (representatives(X, n, rng=np.random.default_rng(seed)) for _ in range(2))
    assert rows.shape == (min(n, len(X)),)
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(range(len(X)))
    np.testing.assert_array_equal(rows, again)


@settings(max_examples=40, deadline=None)
@given(pool=pools(), n=st.integers(1, 30))
def test_a_diverse_batch_repeats_nothing_while_promising_candidates_differ(pool: Any, n: int) -> None:
    scores, X, _pending = pool
    distinct = np.unique(X, axis=0, return_index=True)[1]
    scores, X = scores[distinct], X[distinct]
    assume(len(_standardized(X)) == len(X))
    repeated_scores, repeated = np.concatenate([scores, scores]), np.concatenate([X, X])
    rows = Diverse(Diverse.Options(promising=1000)).choose(
        Batch(n, repeated_scores, repeated, X[:0], np.random.default_rng(0))
    )
    chosen = {tuple(row) for row in repeated[rows]}
    assert len(chosen) == min(n, len(X))


def _standardized(X: Any) -> set[Any]:
    """Rows that differ after scaling: 1e-12 beside 1e6 does not. k-means sees about eight digits."""
    with np.errstate(invalid="ignore", divide="ignore"):
        Z = np.nan_to_num((X - X.mean(axis=0)) / X.std(axis=0))
    return {tuple(row) for row in Z.round(6)}
