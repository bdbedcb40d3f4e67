"""What each tree of a forest says of many rows, compiled.

Walking a tree is a chain of loads, each of which waits for the one before. So `LANES` rows walk at once, without a
branch: the right child follows the left one, and a leaf is its own left child under a threshold that nothing exceeds,
so that a step is ``left + (x > threshold)`` for every lane, arrived or not. Leaves lie at very different depths, and a
few long ways would keep all lanes busy; so after as many steps as a leaf is deep on average, those that still walk are
gathered and walk on together. A block of rows that fits in the cache of a core passes through one tree before the next
tree is looked at.

Every row is computed alone, tree after tree, so that no result depends on the threads, the blocks or the other rows.
The kernels release the GIL and are called by Python's own threads; Numba's threading layers, which do not survive a
fork, play no part.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "LANES",
    "Nodes",
    "compiled",
    "deviations_of",
    "each_block",
    "leaves_of",
    "mean_depths",
    "moments_of",
    "single",
]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Indices = NDArray[np.intp]
Integers = NDArray[np.int64]
Places = NDArray[np.uint32]
Rows = NDArray[np.uint64]
Nodes = tuple[Places, Singles, Places, Floats, Integers, Integers]
"""feature, threshold, left, value and starts as in `active_learning.surrogates.trees.Trees`, and `mean_depths`."""

Function = TypeVar("Function", bound=Callable[..., Any])

LANES = 16
"""Rows that walk at once: with 8 the core still waits; with 32 it gains nothing."""

_MORE_STEPS = 4
"""Steps of the rows that did not arrive, before they are gathered again."""

_BLOCK_VALUES = 1 << 17
"""Features of the rows that pass through a tree before the next one: half a megabyte, which a core's cache holds."""
_FEWEST_ROWS = 8 * LANES
"""Rows of a block, however many features there are: fewer would fetch the trees too often."""


def compiled(function: Function) -> Function:
    """The function in machine code, made when it is first called and kept on disk where that is possible."""
    try:
        compiled: Function = njit(nogil=True, cache=True)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        # Neither the folder of this file nor the user's cache can be written: each process compiles for itself.
        compiled = njit(nogil=True)(function)
    return compiled


# Numba tests every signed index for being negative, so what is an index is unsigned here.


@compiled
def _walk(
    x: Singles,
    begins: Rows,
    nodes: Rows,
    feature: Places,
    threshold: Singles,
    left: Places,
    n_steps: int,
) -> None:
    """Some steps of all lanes: `nodes` is where they are, and the features of a lane begin at `begins` in `x`."""
    for _ in range(n_steps):
        for lane in range(np.uint64(LANES)):
            node = nodes[lane]
            goes_right = x[begins[lane] + np.uint64(feature[node])] > threshold[node]
            nodes[lane] = np.uint64(left[node]) + np.uint64(goes_right)


@compiled
def _find_leaves(X: Singles, nodes: Nodes, tree: int, leaves: Rows, walking: Rows) -> None:
    """Leave in `leaves` the leaf of each row, counted from the first node of the tree.

    `walking` (n_rows + LANES) is for the rows that have not arrived.
    """
    here = slice(nodes[4][tree], nodes[4][tree + 1])
    feature, threshold, left = nodes[0][here], nodes[1][here], nodes[2][here]
    x, begins, places = X.ravel(), np.empty(LANES, np.uint64), np.empty(LANES, np.uint64)
    n_walking, n_steps = np.uint64(len(X)), nodes[5][tree]
    for row in range(n_walking):
        leaves[row] = 0
        walking[row] = row
    while n_walking > np.uint64(0):
        for lane in range(np.uint64(LANES)):
            walking[n_walking + lane] = walking[n_walking - np.uint64(1)]  # so that the last lanes have work
        n_left = np.uint64(0)
        for first in range(np.uint64(0), n_walking, np.uint64(LANES)):
            for lane in range(np.uint64(LANES)):
                row = walking[first + lane]
                begins[lane] = row * np.uint64(X.shape[1])
                places[lane] = leaves[row]
            _walk(x, begins, places, feature, threshold, left, n_steps)
            for lane in range(np.uint64(LANES)):
                row, place = walking[first + lane], places[lane]
                leaves[row] = place
                walking[n_left] = row
                n_left += np.uint64((np.uint64(left[place]) != place) & (first + lane < n_walking))
        n_walking, n_steps = n_left, _MORE_STEPS


@compiled
def _accumulate(X: Singles, nodes: Nodes, first: Floats, excess: Floats, squares: Floats) -> None:
    """What the first tree says, and the sums over the trees of what they say beyond it and of its square.

    The last three are (n_values, n_rows).
    """
    leaves, walking = np.empty(len(X), np.uint64), np.empty(len(X) + LANES, np.uint64)
    for tree in range(len(nodes[5])):
        _find_leaves(X, nodes, tree, leaves, walking)
        value = nodes[3][nodes[4][tree] :]
        for column in range(np.uint64(value.shape[1])):
            for row in range(np.uint64(len(X))):
                said = value[leaves[row], column]
                if tree == 0:
                    first[column, row] = said
                excess[column, row] += said - first[column, row]
                squares[column, row] += (said - first[column, row]) ** 2


@compiled
def _find_each(X: Singles, nodes: Nodes, chosen: Indices, found: Indices) -> None:
    """The leaf of each row in each chosen tree, counted from the first node of the first tree, (n_chosen, n_rows)."""
    leaves, walking = np.empty(len(X), np.uint64), np.empty(len(X) + LANES, np.uint64)
    for place in range(len(chosen)):
        _find_leaves(X, nodes, chosen[place], leaves, walking)
        for row in range(len(X)):
            found[place, row] = nodes[4][chosen[place]] + np.int64(leaves[row])


@compiled
def _deviate(X: Singles, nodes: Nodes, mean: Floats, deviations: Floats) -> None:
    """The mean over the trees of their first value, (n_rows,), and how far each is from it, (n_trees, n_rows)."""
    leaves, walking = np.empty(len(X), np.uint64), np.empty(len(X) + LANES, np.uint64)
    first, excess, n_trees = np.zeros(len(X)), np.zeros(len(X)), len(nodes[5])
    for tree in range(n_trees):
        _find_leaves(X, nodes, tree, leaves, walking)
        value = nodes[3][nodes[4][tree] :]
        for row in range(np.uint64(len(X))):
            said = value[leaves[row], np.uint64(0)]
            if tree == 0:
                first[row] = said
            deviations[tree, row] = said - first[row]
            excess[row] += said - first[row]
    for row in range(len(X)):
        excess[row] /= n_trees
        mean[row] = first[row] + excess[row]
    for tree in range(n_trees):
        for row in range(len(X)):
            deviations[tree, row] -= excess[row]


@compiled
def _sum_depths(left: Places, starts: Integers, depths: Integers, n_leaves: Integers) -> None:
    """The sum of the depths of the leaves of each tree, and their number."""
    for tree in range(len(starts) - 1):
        children = left[starts[tree] : starts[tree + 1]]
        depth = np.zeros(len(children), np.int64)
        for node in range(len(children)):
            if children[node] == node:
                depths[tree] += depth[node]
                n_leaves[tree] += 1
            else:
                depth[children[node]] = depth[children[node] + 1] = depth[node] + 1


def mean_depths(left: Places, starts: Integers) -> Integers:
    """How deep the leaves of each tree are on average, rounded, (n_trees,); only the speed depends on it."""
    depths, n_leaves = np.zeros((2, len(starts) - 1), dtype=np.int64)
    _sum_depths(left, starts, depths, n_leaves)
    return np.rint(depths / n_leaves).astype(np.int64)


def moments_of(nodes: Nodes, X: Floats, n_threads: int) -> tuple[Floats, Floats]:
    """Mean and population standard deviation over the trees of each of their values, (n_rows, n_values) each.

    Parameters
    ----------
    X : (n_rows, n_features), finite and within the range of float32
    """
    mean, std = np.empty((2, len(X), nodes[3].shape[1]))
    n_trees = len(nodes[-1])

    def work(rows: slice) -> None:
        first, excess, squares = np.zeros((3, *mean[rows].T.shape))
        _accumulate(single(X[rows]), nodes, first, excess, squares)
        # Measured from the first tree, so that the std is exactly 0 where all trees agree: ties must be ties, not
        # rounding. As the first tree is one of them, squares * n_trees is at least excess**2 * n_trees / (n_trees - 1):
        # what cancels costs at most log10(n_trees) digits, and the variance is never negative.
        variance = (squares - excess * excess / n_trees) / n_trees
        mean[rows] = (first + excess / n_trees).T
        std[rows] = np.sqrt(variance).T

    each_block(work, X.shape, n_threads)
    return mean, std


def leaves_of(nodes: Nodes, X: Floats, chosen: Indices, n_threads: int) -> Indices:
    """The leaf of each row in each chosen tree, counted from the first node of the first tree, (n_chosen, n_rows).

    Parameters
    ----------
    X : as `moments_of`
    chosen : which trees, any of them more than once
    """
    leaves = np.empty((len(chosen), len(X)), dtype=np.intp)

    def work(rows: slice) -> None:
        block = np.empty_like(leaves[:, rows], order="C")
        _find_each(single(X[rows]), nodes, chosen, block)
        leaves[:, rows] = block

    each_block(work, X.shape, n_threads)
    return leaves


def deviations_of(nodes: Nodes, X: Floats) -> tuple[Floats, Floats]:
    """The mean over the trees of their first value, (n_rows,), and how far each tree is from it, (n_trees, n_rows).

    One thread, one block: for rows of which there are few. The mean is that of `moments_of` to the last digit, and
    the deviations are exactly 0 where all trees agree.

    Parameters
    ----------
    X : as `moments_of`
    """
    mean, deviations = np.empty(len(X)), np.empty((len(nodes[-1]), len(X)))
    _deviate(single(X), nodes, mean, deviations)
    return mean, deviations


def single(X: Floats) -> Singles:
    """Cast as scikit-learn does; always copied, since to the compiler a read-only array is of another type."""
    return np.array(X, dtype=np.float32, order="C")


def _blocks(n_rows: int, n_features: int, n_threads: int) -> list[slice]:
    """Blocks of rows, of equal size but for the last: as many for each thread."""
    share = -(-n_rows // n_threads)
    fit = max(_FEWEST_ROWS, _BLOCK_VALUES // n_features)
    size = -(-share // -(-share // fit)) if n_rows else 1
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def each_block(work: Callable[[slice], None], shape: tuple[int, int], n_threads: int) -> None:
    """Call `work` for each block of the rows of an array of this shape."""
    blocks = _blocks(*shape, n_threads)
    if n_threads == 1 or len(blocks) <= 1:
        for block in blocks:
            work(block)
        return
    with ThreadPoolExecutor(min(n_threads, len(blocks)), thread_name_prefix="forest") as threads:
        for _ in threads.map(work, blocks):
            pass
