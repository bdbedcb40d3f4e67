"""What holds for forests whatever the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from active_learning.surrogates.forest import ExtraTrees, RandomForest

FORESTS = [plug_in(plug_in.Options(n_trees=5, n_jobs=1)) for plug_in in (RandomForest, ExtraTrees)]
numbers = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 1e-9]))


@st.composite
def labels(draw: Any) -> tuple[Any, Any]:
    n_rows, n_features = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    X = draw(arrays(np.float64, (n_rows, n_features), elements=numbers))
    return X, draw(arrays(np.float64, n_rows, elements=numbers))


@pytest.mark.parametrize("forest", FORESTS)
@settings(max_examples=30, deadline=None)
@given(data=labels(), seed=st.integers(0, 1000))
def test_a_forest_never_leaves_the_range_of_its_labels(forest: Any, data: Any, seed: int) -> None:
    X, y = data
    prediction = forest.fit(X, y, rng=np.random.default_rng(seed)).predict(X)
    slack = 1e-9 * max(np.abs(y).max(), 1e-300)
    assert (prediction.mean >= y.min() - slack).all()
    assert (prediction.mean <= y.max() + slack).all()
    assert (prediction.std <= np.ptp(y) / 2 + slack).all()


@pytest.mark.parametrize("forest", FORESTS)
@settings(max_examples=20, deadline=None)
@given(data=labels(), seed=st.integers(0, 1000))
def test_the_same_generator_gives_the_same_forest(forest: Any, data: Any, seed: int) -> None:
    X, y = data
    first, second = (forest.fit(X, y, rng=np.random.default_rng(seed)).predict(X) for _ in range(2))
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.std, second.std)


@pytest.mark.parametrize("forest", FORESTS)
@settings(max_examples=20, deadline=None)
@given(data=labels(), constant=numbers)
def test_a_constant_target_is_met_exactly(forest: Any, data: Any, constant: float) -> None:
    X, y = data
    prediction = forest.fit(X, np.full(len(y), constant), rng=np.random.default_rng(0)).predict(X)
    np.testing.assert_array_equal(prediction.mean, constant)
    np.testing.assert_array_equal(prediction.std, 0.0)


@pytest.mark.parametrize("forest", FORESTS)
@settings(max_examples=20, deadline=None)
@given(data=labels(), copies=st.integers(2, 3))
def test_candidates_with_equal_features_are_equal(forest: Any, data: Any, copies: int) -> None:
    X, y = data
    model = forest.fit(X, y, rng=np.random.default_rng(0))
    whole, repeated = model.predict(X), model.predict(np.tile(X, (copies, 1)))
    np.testing.assert_array_equal(repeated.mean, np.tile(whole.mean, (copies, 1)))
    np.testing.assert_array_equal(repeated.std, np.tile(whole.std, (copies, 1)))
