"""What each tree of a forest says of many rows, compiled.

Walking a tree is a chain of dependent loads: most of the time passes in waiting for the next node. So `LANES` rows walk
through one tree at once, without a branch: the right child follows the left one, and a leaf is its own left child under
a threshold that nothing exceeds, so that a step is ``left + (x > threshold)`` for every lane, arrived or not. The
features of the lanes lie side by side, and a block of rows that fits in the cache of a core passes through one tree
before the next tree is looked at.

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

__all__ = ["LANES", "draws_of", "moments_of"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Places = NDArray[np.uint32]
Nodes = tuple[Places, Singles, Places, Floats, NDArray[np.int64]]
"""feature, threshold, left, value, starts: as `active_learning.surrogates.trees.Trees`."""

Function = TypeVar("Function", bound=Callable[..., Any])

LANES = 16
"""Rows that walk at once: with 8 the core still waits; with 32 it gains nothing."""

_BLOCK_VALUES = 1 << 17
"""Features of the rows that pass through a tree before the next one: half a megabyte, which a core's cache holds."""
_FEWEST_ROWS = 8 * LANES
"""Rows of a block, however many features there are: fewer would fetch the trees too often."""

_STEPS = 4
"""Steps between two looks at whether all lanes have arrived."""


def _compiled(function: Function) -> Function:
    """The function in machine code, made when it is first called and kept on disk where that is possible."""
    try:
        compiled: Function = njit(nogil=True, cache=True)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        # Neither the folder of this file nor the user's cache can be written: each process compiles for itself.
        compiled = njit(nogil=True)(function)
    return compiled


@_compiled
def _step(node: Any, lane: Any, tile: Singles, offset: Places, threshold: Singles, left: Places) -> Any:
    # Unsigned throughout: Numba tests every signed index for being negative.
    return np.uint64(left[node]) + np.uint64(tile[np.uint64(offset[node]) + lane] > threshold[node])


@_compiled
def _walk(tile: Singles, offset: Places, threshold: Singles, left: Places, nodes: NDArray[np.uint64]) -> None:
    """Leave in `nodes` the leaf of each lane. Children come after their parents: who still walks adds to the sum."""
    nodes[:] = 0
    before, after = np.uint64(1), np.uint64(0)
    while before != after:
        for _ in range(_STEPS - 1):
            for lane in range(np.uint64(LANES)):
                nodes[lane] = _step(nodes[lane], lane, tile, offset, threshold, left)
        before, after = np.uint64(0), np.uint64(0)
        for lane in range(np.uint64(LANES)):
            node = _step(nodes[lane], lane, tile, offset, threshold, left)
            before += nodes[lane]
            after += node
            nodes[lane] = node


@_compiled
def _accumulate(tiles: Singles, nodes: Nodes, first: Floats, excess: Floats, squares: Floats) -> None:
    """What the first tree predicts, and the sums over the trees of what they predict beyond it and of its square."""
    offset, threshold, left, value, starts = nodes
    leaves = np.zeros(LANES, np.uint64)
    for tree in range(len(starts) - 1):
        here = slice(starts[tree], starts[tree + 1])
        values = value[here]
        for group in range(len(tiles)):
            _walk(tiles[group], offset[here], threshold[here], left[here], leaves)
            for lane in range(LANES):
                row = group * LANES + lane
                predicted = values[leaves[lane]]
                if tree == 0:
                    first[row] = predicted
                excess[row] += predicted - first[row]
                squares[row] += (predicted - first[row]) ** 2


@_compiled
def _predict_each(tiles: Singles, nodes: Nodes, draws: Floats) -> None:
    """What each tree predicts, (n_trees, n_rows)."""
    offset, threshold, left, value, starts = nodes
    leaves = np.zeros(LANES, np.uint64)
    for tree in range(len(starts) - 1):
        here = slice(starts[tree], starts[tree + 1])
        values = value[here]
        for group in range(len(tiles)):
            _walk(tiles[group], offset[here], threshold[here], left[here], leaves)
            for lane in range(LANES):
                draws[tree, group * LANES + lane] = values[leaves[lane]]


def moments_of(nodes: Nodes, X: Floats, n_threads: int) -> tuple[Floats, Floats]:
    """Mean and population standard deviation over the trees, (n_rows,) each.

    Parameters
    ----------
    X : (n_rows, n_features), finite and within the range of float32
    """
    mean, std = np.empty(len(X)), np.empty(len(X))
    n_trees = len(nodes[-1]) - 1
    scaled = _with_offsets(nodes)

    def work(rows: slice) -> None:
        tiles = _tiles(X[rows])
        first, excess, squares = np.zeros((3, len(tiles) * LANES))
        _accumulate(tiles, scaled, first, excess, squares)
        # Measured from the first tree, so that the std is exactly 0 where all trees agree: ties must be ties, not
        # rounding. As the first tree is one of them, squares * n_trees is at least excess**2 * n_trees / (n_trees - 1):
        # what cancels costs at most log10(n_trees) digits, and the variance is never negative.
        variance = (squares - excess * excess / n_trees) / n_trees
        n_rows = len(mean[rows])
        mean[rows] = (first + excess / n_trees)[:n_rows]
        std[rows] = np.sqrt(variance)[:n_rows]

    _each_block(work, X.shape, n_threads)
    return mean, std


def draws_of(nodes: Nodes, X: Floats, n_threads: int) -> Floats:
    """What each tree predicts, (n_trees, n_rows).

    Parameters
    ----------
    X : as `moments_of`
    """
    draws = np.empty((len(nodes[-1]) - 1, len(X)))
    scaled = _with_offsets(nodes)

    def work(rows: slice) -> None:
        tiles = _tiles(X[rows])
        block = np.empty((len(draws), len(tiles) * LANES))
        _predict_each(tiles, scaled, block)
        draws[:, rows] = block[:, : draws[:, rows].shape[1]]

    _each_block(work, X.shape, n_threads)
    return draws


def _with_offsets(nodes: Nodes) -> Nodes:
    """For each node the place of its feature's first lane in a tile, instead of the feature."""
    return (nodes[0] * np.uint32(LANES), *nodes[1:])


def _tiles(X: Floats) -> Singles:
    """`LANES` rows each, feature by feature, (n_tiles, n_features * LANES); the last one is filled up with zeros.

    Cast to float32 as scikit-learn does.
    """
    n_tiles, n_features = -(-len(X) // LANES), X.shape[1]
    rows = np.zeros((n_tiles * LANES, n_features), dtype=np.float32)
    rows[: len(X)] = X
    by_feature = rows.reshape(n_tiles, LANES, n_features).transpose(0, 2, 1)
    return by_feature.reshape(n_tiles, n_features * LANES)


def _blocks(n_rows: int, n_features: int, n_threads: int) -> list[slice]:
    """Blocks of rows, of equal size but for the last: as many for each thread."""
    share = -(-n_rows // n_threads)
    fit = max(_FEWEST_ROWS, _BLOCK_VALUES // n_features)
    size = -(-n_rows // (n_threads * -(-share // fit) * LANES)) * LANES if n_rows else 1
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def _each_block(work: Callable[[slice], None], shape: tuple[int, int], n_threads: int) -> None:
    """Call `work` for each block of the rows of an array of this shape."""
    blocks = _blocks(*shape, n_threads)
    if n_threads == 1 or len(blocks) <= 1:
        for block in blocks:
            work(block)
        return
    with ThreadPoolExecutor(min(n_threads, len(blocks)), thread_name_prefix="forest") as threads:
        for _ in threads.map(work, blocks):
            pass
