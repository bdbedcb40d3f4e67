"""What holds for selections and first designs whatever the pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from active_learning.domain.choosing import Batch
from active_learning.domain.prediction import Prediction
from active_learning.selection.design import representatives
from active_learning.selection.determinant import MaxDeterminant
from active_learning.selection.diverse import Diverse
from active_learning.selection.fantasies import Fantasies
from active_learning.selection.joint import JointBelief
from active_learning.selection.penalization import LocalPenalization
from active_learning.selection.top import Top

SELECTIONS = [Top(Top.Options()), Diverse(Diverse.Options(promising=3))]
JOINT = [
    Fantasies(Fantasies.Options()),
    Fantasies(Fantasies.Options(pool_limit=2)),
    MaxDeterminant(MaxDeterminant.Options()),
    MaxDeterminant(MaxDeterminant.Options(quality=0.0)),
    LocalPenalization(LocalPenalization.Options()),
]
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


# Nothing, hardly anything and a lot, so that stds are zero, tiny and of very different sizes.
sizes = st.sampled_from([0.0, 1e-300, 1e-160, 1e-12, 0.5, 1.0, 1e6, 1e150])


@st.composite
def known_pools(draw: Any) -> Any:
    """A pool with a Gaussian belief of which rows may repeat, be known exactly or claim more than their std."""
    scores, X, pending = draw(pools())
    n, rank = len(X) + len(pending), draw(st.integers(0, 4))
    factor = draw(arrays(np.float64, (n, rank), elements=coarse)) * draw(arrays(np.float64, (n, 1), elements=sizes))
    factor = factor[draw(arrays(np.intp, n, elements=st.integers(0, n - 1)))]
    std = draw(arrays(np.float64, n, elements=sizes))
    mean = draw(arrays(np.float64, n, elements=st.sampled_from([-1e6, -1.0, 0.0, 1e-300, 1.0])))

    def batch(n_chosen: int) -> Batch:
        n_rows = len(X)
        return Batch(
            n_chosen,
            scores,
            X,
            pending,
            np.random.default_rng(0),
            Prediction(mean[:n_rows, None], std[:n_rows, None]),
            Prediction(mean[n_rows:, None], std[n_rows:, None]),
            lambda rows: np.concatenate([factor[rows], factor[n_rows:]]),
            lambda believed, _rows: believed.mean[:, 0] + believed.std[:, 0],
        )

    return batch


@pytest.mark.parametrize("selection", JOINT)
@settings(max_examples=60, deadline=None)
@given(pool=known_pools(), n=st.integers(0, 30))
def test_a_joint_batch_is_distinct_in_range_and_reproducible_whatever_is_believed(
    selection: Any, pool: Any, n: int
) -> None:
    rows, again = (selection.choose(pool(n)) for _ in range(2))
    n_rows = len(pool(n).X)
    assert rows.shape == (min(n, n_rows),)
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(range(n_rows))
    np.testing.assert_array_equal(rows, again)


@settings(max_examples=100, deadline=None)
@given(
    factor=arrays(np.float64, (6, 3), elements=st.floats(-10, 10)),
    noise=arrays(np.float64, 6, elements=st.sampled_from([0.0, 1e-12, 0.5, 3.0])),
    known=st.lists(st.integers(0, 5), max_size=6),
    unit=st.sampled_from([1e-160, 1.0, 1e150]),
)
def test_no_label_ever_raises_a_std_and_noise_is_never_lowered(
    factor: Any, noise: Any, known: Any, unit: float
) -> None:
    total = np.sqrt(np.square(factor).sum(axis=1) + noise)
    belief = JointBelief.of(factor * unit, total * unit)
    before = belief.std
    for row in known:
        belief = belief.given_label(row)
        assert (belief.std <= before * (1 + 1e-12)).all()
        # Noise is a difference of squares, known to the last digit of the larger.
        assert (np.square(belief.std / unit) >= noise - 1e-14 * np.square(total)).all()
        before = belief.std


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
