"""The compiled walk through trees, against scikit-learn's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba.core import config
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from active_learning.errors import ContractError
from active_learning.surrogates import forest_kernel
from active_learning.surrogates.forest_kernel import LANES, _blocks, compiled
from active_learning.surrogates.trees import Trees, _rounded_down

TINY = float(np.float32(1e-45))
HUGE = float(np.finfo(np.float32).max)
EDGES = (0.0, -0.0, TINY, -TINY, 1.1754944e-38, -1e-40, 1.0, 1.0 + 2.0**-23, 1.0 + 2.0**-24, HUGE, -HUGE, 0.1, 1e-300)


def _data(n_rows: int = 200, n_features: int = 6, n_labels: int = 60) -> tuple[Any, Any, Any]:
    X = np.random.default_rng(0).normal(size=(n_rows, n_features))
    return X, X[:n_labels], (X[:n_labels, 0] - X[:n_labels, 1] * X[:n_labels, 2])


def _by_tree(forest: Any, X: Any) -> Any:
    """(n_trees, n_rows), by scikit-learn."""
    return np.stack([tree.predict(X) for tree in forest.estimators_])


def _agrees(forest: Any, X: Any) -> None:
    trees, expected = Trees.of(forest), _by_tree(forest, X)
    mean, std = (values[:, 0] for values in trees.moments(X))
    scale = np.abs(expected).max()
    np.testing.assert_array_equal(trees.draws(X)[:, :, 0], expected)
    np.testing.assert_allclose(mean, expected.mean(axis=0), rtol=1e-13, atol=1e-14 * scale)
    np.testing.assert_allclose(std, expected.std(axis=0), rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize(
    "forest",
    [
        RandomForestRegressor(30, random_state=0),
        RandomForestRegressor(30, random_state=0, min_samples_leaf=4, max_features="sqrt"),
        RandomForestRegressor(30, random_state=0, max_depth=3, bootstrap=False),
        RandomForestRegressor(30, random_state=0, max_leaf_nodes=7, ccp_alpha=1e-3),
        RandomForestRegressor(30, random_state=0, criterion="absolute_error"),
        RandomForestRegressor(1, random_state=0),
        ExtraTreesRegressor(30, random_state=0),
        ExtraTreesRegressor(30, random_state=0, max_features=1, min_samples_leaf=2),
    ],
    ids=str,
)
def test_each_tree_says_what_scikit_learns_tree_says(forest: Any) -> None:
    X, X_labeled, y = _data()
    _agrees(forest.fit(X_labeled, y), X)


@pytest.mark.parametrize("n_labels", [1, 2, 3])
def test_trees_of_one_leaf_or_two_are_walked(n_labels: int) -> None:
    X, X_labeled, y = _data(n_labels=n_labels)
    _agrees(RandomForestRegressor(10, random_state=0).fit(X_labeled, y), X)


def test_a_tree_that_is_a_chain_is_walked_to_its_end() -> None:
    X = np.arange(300.0)[:, None]
    forest = RandomForestRegressor(3, bootstrap=False, random_state=0).fit(X, 4.0 ** np.arange(300))
    assert min(tree.get_depth() for tree in forest.estimators_) > 100
    _agrees(forest, X)


def test_trees_of_different_sizes_stand_one_after_another() -> None:
    X, X_labeled, y = _data()
    forest = RandomForestRegressor(2, random_state=0).fit(X_labeled, y)
    stump = RandomForestRegressor(1, random_state=0).fit(X_labeled[:1], y[:1])
    forest.estimators_ = [*stump.estimators_, *forest.estimators_, *stump.estimators_]
    _agrees(forest, X)


@pytest.mark.parametrize("n_rows", [1, LANES - 1, LANES, LANES + 1, 200])
def test_any_number_of_rows_fills_the_lanes(n_rows: int) -> None:
    X, X_labeled, y = _data()
    _agrees(RandomForestRegressor(10, random_state=0).fit(X_labeled, y), X[:n_rows])


def test_no_rows_are_no_work() -> None:
    X, X_labeled, y = _data()
    trees = Trees.of(RandomForestRegressor(10, random_state=0).fit(X_labeled, y))
    assert [values.shape for values in trees.moments(X[:0])] == [(0, 1), (0, 1)]
    assert trees.draws(X[:0]).shape == (10, 0, 1)


def test_a_feature_that_equals_the_threshold_goes_left() -> None:
    X = np.arange(64.0)[:, None]
    forest = RandomForestRegressor(5, random_state=0, bootstrap=False).fit(X[::2], X[::2, 0] % 7)
    thresholds = forest.estimators_[0].tree_.threshold
    assert np.isin(thresholds, X).sum() > 10
    _agrees(forest, X)


@given(
    X=arrays(np.float64, (24, 2), elements=st.one_of(st.sampled_from(EDGES), st.floats(-HUGE, HUGE))),
    seed=st.integers(0, 1000),
)
def test_numbers_at_the_edges_of_32_bits_go_the_same_way(X: Any, seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=len(X))
    # scikit-learn adds all features up to see whether one is not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        for kind in (RandomForestRegressor, ExtraTreesRegressor):
            _agrees(kind(4, random_state=seed).fit(X[:12], y[:12]), X)


@given(threshold=st.one_of(st.sampled_from(EDGES), st.floats(-HUGE, HUGE)), steps=st.integers(-3, 3))
def test_a_rounded_threshold_divides_float32_numbers_as_the_threshold_does(threshold: float, steps: int) -> None:
    rounded = _rounded_down(np.array([threshold]))[0]
    x = np.float32(threshold)
    for _ in range(abs(steps)):
        x = np.nextafter(x, np.float32(np.copysign(HUGE, steps)))  # toward the largest, and not beyond
    assert (x <= rounded) == (float(x) <= threshold)


def _read_only(X: Any) -> Any:
    return np.frombuffer(X.tobytes()).reshape(X.shape)


def _every_second_row(X: Any) -> Any:
    return np.repeat(X, 2, axis=0)[::2]


@pytest.mark.parametrize("laid_out", [np.asfortranarray, np.float32, _read_only, _every_second_row])
def test_the_layout_and_the_precision_of_the_features_do_not_matter(laid_out: Any) -> None:
    X, X_labeled, y = _data()
    trees = Trees.of(RandomForestRegressor(10, random_state=0).fit(X_labeled, y))
    for found, expected in zip(trees.moments(laid_out(X)), trees.moments(X), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
@pytest.mark.parametrize("block_values", [1, 200, 1 << 17])
def test_no_digit_depends_on_threads_or_blocks(
    monkeypatch: pytest.MonkeyPatch, n_threads: int, block_values: int
) -> None:
    X, X_labeled, y = _data(1000)
    trees = Trees.of(ExtraTreesRegressor(20, random_state=0).fit(X_labeled, y))
    alone = [trees.moments(X[row : row + 1], 1) for row in range(0, 1000, 97)]
    monkeypatch.setattr(forest_kernel, "_BLOCK_VALUES", block_values)
    monkeypatch.setattr(forest_kernel, "_FEWEST_ROWS", LANES)
    mean, std = trees.moments(X, n_threads)
    np.testing.assert_array_equal(mean[::97], np.concatenate([m for m, _ in alone]))
    np.testing.assert_array_equal(std[::97], np.concatenate([s for _, s in alone]))
    np.testing.assert_array_equal(trees.draws(X, n_threads), trees.draws(X, 1))


@given(n_rows=st.integers(0, 100_000), n_features=st.integers(1, 5_000), n_threads=st.integers(1, 64))
def test_blocks_are_all_rows_once(n_rows: int, n_features: int, n_threads: int) -> None:
    blocks = _blocks(n_rows, n_features, n_threads)
    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks[:-1])][: len(blocks)]
    assert (blocks[-1].stop if blocks else 0) == n_rows
    assert all(block.stop > block.start for block in blocks)


@pytest.mark.parametrize("value", [0.1, -1.7e300, 5e-324])
def test_the_std_is_exactly_zero_where_all_trees_agree(value: float) -> None:
    X, X_labeled, y = _data()
    forest = ExtraTreesRegressor(7, random_state=0).fit(X_labeled, np.full_like(y, value))
    mean, std = (values[:, 0] for values in Trees.of(forest).moments(X))
    np.testing.assert_array_equal(mean, _by_tree(forest, X)[0])
    np.testing.assert_array_equal(std, 0.0)


def _stumps(values: Any) -> Trees:
    """Trees of one leaf each."""
    n = len(values)
    nothing = np.zeros(n, dtype=np.uint32)
    return Trees(nothing, np.full(n, np.inf, np.float32), nothing, np.array(values), np.arange(n + 1))


@pytest.mark.parametrize("outlier", [0, 250])
@pytest.mark.parametrize("spread", [1.0, 1e-6, 1e-12])
def test_the_std_keeps_its_digits_however_far_off_a_tree_is(outlier: int, spread: float) -> None:
    values = 1.0 + spread * np.random.default_rng(0).normal(size=500)
    values[outlier] += 1000.0 * spread
    exact = np.array(values, dtype=np.longdouble)
    _mean, std = _stumps(values).moments(np.zeros((1, 1)))
    assert std[0, 0] == pytest.approx(float(exact.std()), rel=1e-11)


@given(arrays(np.float64, 50, elements=st.one_of(st.floats(-1e100, 1e100), st.sampled_from([1.0, 2.63e-162, 5e-324]))))
def test_the_std_is_right_for_any_values_and_never_nan(values: Any) -> None:
    _mean, std = _stumps(values).moments(np.zeros((1, 1)))
    # Squares of what is below 1e-154 lose digits.
    assert std[0, 0] == pytest.approx(float(np.array(values, dtype=np.longdouble).std()), rel=1e-11, abs=1e-154)


def _arrays() -> dict[str, Any]:
    _X, X_labeled, y = _data()
    trees = Trees.of(RandomForestRegressor(3, random_state=0).fit(X_labeled, y))
    return {name: array.copy() for name, array in trees.to_arrays().items()}


def _with(**changes: Any) -> Mapping[str, Any]:
    """The arrays, one of them replaced, or changed in one place: (place, value)."""
    found = _arrays()
    for name, change in changes.items():
        if isinstance(change, tuple):
            found[name][change[0]] = change[1]
        else:
            found[name] = change
    return found


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        (_with(left=(0, 0)), "a threshold is not finite, or a leaf has one"),
        (_with(left=(5, 1)), "not behind its parent"),
        (_with(left=(0, 2**32 - 1)), "not behind its parent"),
        (_with(left=(0, 10_000)), "not behind its parent"),
        (_with(threshold=(0, np.nan)), "a threshold is not finite"),
        (_with(threshold=(-1, 0.0)), "a leaf has one"),
        (_with(threshold=(-1, -np.inf)), "a leaf has one"),
        (_with(value=(-1, np.nan)), "a leaf predicts no finite value"),
        (_with(value=np.zeros((3, 1, 1))), r"of two dimensions; got float64, \(3, 1, 1\)"),
        (_with(value=np.zeros((len(_arrays()["left"]), 0))), "a leaf says nothing"),
        (_with(value=np.zeros(3)), "one feature, threshold, left child and value each"),
        (_with(starts=np.array([0, 1])), "'starts' does not divide the nodes"),
        (_with(starts=np.array([0])), "'starts' does not divide the nodes"),
        (_with(starts=np.array([], dtype=np.int64)), "'starts' does not divide the nodes"),
        (
            _with(feature=np.zeros((2, 2), np.uint32)),
            r"feature of trees is uint32, of one dimension; got uint32, \(2, 2\)",
        ),
        (_with(threshold=np.zeros(3)), "threshold of trees is float32, of one dimension; got float64"),
        (_with(value=np.array(["a"], dtype=object)), "value of trees is float64, of two dimensions; got object"),
    ],
)
def test_damaged_arrays_are_refused_before_the_compiled_code_sees_them(arrays: Any, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        Trees.from_arrays(arrays)


def test_a_missing_array_is_named() -> None:
    found = _arrays()
    del found["left"], found["value"]
    with pytest.raises(ContractError, match="lack left, value; there are feature, starts, threshold"):
        Trees.from_arrays(found)


def test_arrays_of_another_byte_order_are_the_same_trees() -> None:
    found = _arrays()
    swapped = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in found.items()}
    X = _data()[0]
    np.testing.assert_array_equal(Trees.from_arrays(swapped).draws(X), Trees.from_arrays(found).draws(X))


def test_the_arrays_given_can_change_without_changing_the_trees() -> None:
    found = _arrays()
    trees = Trees.from_arrays(found)
    before = trees.draws(_data()[0])
    found["value"][:] = 0.0
    np.testing.assert_array_equal(trees.draws(_data()[0]), before)
    with pytest.raises(ValueError, match="read-only"):
        trees.value[0] = 0.0


def _python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_where_no_compiled_code_can_be_kept_it_is_made_anew(tmp_path: Path) -> None:
    code = """
import numpy as np
from active_learning.surrogates.forest_kernel import moments_of
left = np.zeros(1, np.uint32)
nodes = (left, np.full(1, np.inf, np.float32), left, np.full((1, 1), 7.0), np.arange(2), np.arange(1))
print(moments_of(nodes, np.ones((1, 1)), 1)[0][0, 0])
"""
    # Of numba's places for compiled code this one is for notebooks only.
    assert _python(code, NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator") == "7.0"


def test_a_fault_of_the_compiler_is_not_taken_for_a_full_cache() -> None:
    with pytest.raises(RuntimeError, match=r"Failed to import 'no\.such\.Locator'"):
        _compiled_with_locator("no.such.Locator")


def _compiled_with_locator(locator: str) -> None:
    before = config.CACHE_LOCATOR_CLASSES
    config.CACHE_LOCATOR_CLASSES = locator
    try:
        compiled(lambda x: x)
    finally:
        config.CACHE_LOCATOR_CLASSES = before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_predicts_after_its_parent_has_on_several_threads() -> None:
    code = """
import os
import numpy as np
from active_learning.surrogates.forest_kernel import moments_of
left = np.zeros(1, np.uint32)
nodes = (left, np.full(1, np.inf, np.float32), left, np.ones((1, 1)), np.arange(2), np.arange(1))
X = np.ones((4096, 1))
moments_of(nodes, X, 4)
child = os.fork()
if child == 0:
    os._exit(0 if moments_of(nodes, X, 4)[0].sum() == 4096 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert _python(code) == "0"
