"""The trees of a forest as arrays: all that predicting takes, without the library that grew them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import joblib
import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError
from active_learning.surrogates.forest_kernel import Nodes, deviations_of, leaves_of, mean_depths, moments_of

__all__ = ["Trees", "n_threads"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Integers = NDArray[np.int64]

_TYPES: dict[str, np.dtype[Any]] = {
    "feature": np.dtype(np.uint32),
    "threshold": np.dtype(np.float32),
    "left": np.dtype(np.uint32),
    "value": np.dtype(np.float64),
    "starts": np.dtype(np.int64),
}


@dataclass(frozen=True, eq=False)
class Trees:
    """Binary trees, one after another; parents come before their children, and siblings are neighbors.

    The arrays are copied and cannot be written to. They are checked, since the compiled code trusts them: a file that
    was damaged on its way is refused.

    Parameters
    ----------
    feature : (n_nodes,) uint32, the column that a node looks at
    threshold : (n_nodes,) float32
        A row goes left if its feature, as float32, is not above this. In a leaf it is infinity.
    left : (n_nodes,) uint32
        The left child, counted from the first node of its tree; the right child is the next one. A leaf is its own.
    value : (n_nodes, n_values) float64
        What a leaf says: one number, or the share of each class. (n_nodes,) is taken for one number.
    starts : (n_trees + 1,) int64, the first node of each tree, and the number of nodes

    Raises
    ------
    ContractError
        If an array has another type or shape, or the nodes are no trees.
    """

    feature: NDArray[np.uint32]
    threshold: NDArray[np.float32]
    left: NDArray[np.uint32]
    value: Floats
    starts: Integers

    def __post_init__(self) -> None:
        for name, wanted in _TYPES.items():
            array = np.asarray(getattr(self, name))
            if name == "value" and array.ndim == 1:
                array = array[:, None]
            n_dimensions = 2 if name == "value" else 1
            if array.ndim != n_dimensions or not np.can_cast(array.dtype, wanted, "equiv"):
                raise ContractError(
                    f"{name} of trees is {wanted}, of {('one dimension', 'two dimensions')[n_dimensions - 1]}; "
                    f"got {array.dtype}, {array.shape}"
                )
            array = np.array(array, dtype=wanted, order="C")
            # Always: to the compiler an array that can be written to is of another type.
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        fault = self._fault()
        if fault:
            raise ContractError(f"these arrays are no trees: {fault}")

    def _fault(self) -> str | None:
        n_nodes, sizes = len(self.feature), np.diff(self.starts)
        if any(len(array) != n_nodes for array in (self.threshold, self.left, self.value)):
            return "a node needs one feature, threshold, left child and value each"
        if not self.value.shape[1]:
            return "a leaf says nothing"
        if len(sizes) < 1 or self.starts[0] != 0 or (sizes < 1).any() or self.starts[-1] != n_nodes:
            return "'starts' does not divide the nodes"
        place = np.arange(n_nodes) - np.repeat(self.starts[:-1], sizes)
        is_leaf = self.left == place
        if not (is_leaf | ((self.left > place) & (self.left + np.int64(1) < np.repeat(sizes, sizes)))).all():
            return "a child is not behind its parent in the same tree"
        if not (np.isfinite(self.threshold) != is_leaf).all() or not (self.threshold[is_leaf] == np.inf).all():
            return "a threshold is not finite, or a leaf has one"
        if not np.isfinite(self.value[is_leaf]).all():
            return "a leaf predicts no finite value"
        return None

    @classmethod
    def of(cls, forest: Any) -> Self:
        """The trees of a fitted scikit-learn forest for one output, trained without missing values.

        Those of a regression say one number, those of a classification the share of each class.
        """
        grown = [estimator.tree_ for estimator in forest.estimators_]
        sizes = np.array([tree.node_count for tree in grown], dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        shift = np.repeat(starts[:-1], sizes)
        left, right, feature, threshold, value = (
            np.concatenate([getattr(tree, name) for tree in grown])
            for name in ("children_left", "children_right", "feature", "threshold", "value")
        )
        is_leaf = left < 0
        order = _breadth_first(np.where(is_leaf, -1, left + shift), right + shift, starts)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        leaf, child = is_leaf[order], place[(left + shift)[order]]
        return cls(
            feature=np.where(leaf, 0, feature[order]).astype(np.uint32),
            threshold=np.where(leaf, np.float32(np.inf), _rounded_down(threshold[order])),
            left=(np.where(leaf, np.arange(len(order)), child) - shift).astype(np.uint32),
            value=value[order, 0],
            starts=starts,
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The trees that `to_arrays` wrote.

        Raises
        ------
        ContractError
            If an array is missing, or as this class.
        """
        missing = sorted(_TYPES.keys() - arrays.keys())
        if missing:
            raise ContractError(
                f"the arrays of a forest lack {', '.join(missing)}; there are {', '.join(sorted(arrays))}"
            )
        return cls(**{name: arrays[name] for name in _TYPES})

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters of this class by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def nodes(self) -> Nodes:
        """As the compiled code wants them."""
        depths = mean_depths(self.left, self.starts)
        return self.feature, self.threshold, self.left, self.value, self.starts, depths

    def __len__(self) -> int:
        return len(self.starts) - 1

    def with_value(self, value: Floats) -> Self:
        """The same trees, the leaves of which say this, (n_nodes, n_values)."""
        return replace(self, value=value)

    def moments(self, X: Floats, n_jobs: int | None = None) -> tuple[Floats, Floats]:
        """Mean and standard deviation (divided by n_trees) over the trees of each value, (n_rows, n_values) each.

        Parameters
        ----------
        X : (n_rows, n_features), finite and within the range of float32
        n_jobs : threads; all cores without it. Does not change any result.
        """
        return moments_of(self.nodes, X, n_threads(n_jobs))

    def deviations(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean over the trees of their first value, (n_rows,), and how far each is from it, (n_trees, n_rows).

        On one thread. Where all trees agree the deviations are exactly 0. `X` as in `moments`.
        """
        return deviations_of(self.nodes, X)

    def leaves(self, X: Floats, n_jobs: int | None = None) -> Indices:
        """The leaf of each row in each tree, as a place in `value`, (n_trees, n_rows). Parameters as `moments`."""
        return leaves_of(self.nodes, X, np.arange(len(self)), n_threads(n_jobs))

    def draws(self, X: Floats, n_jobs: int | None = None, chosen: Indices | None = None) -> Floats:
        """What each tree says, (n_trees, n_rows, n_values); or each chosen one, any of them more than once.

        Other parameters as `moments`.
        """
        chosen = np.arange(len(self)) if chosen is None else chosen
        said: Floats = self.value[leaves_of(self.nodes, X, chosen, n_threads(n_jobs))]
        return said


def n_threads(n_jobs: int | None) -> int:
    """That many; all cores that this process may use for None."""
    found: int = joblib.effective_n_jobs(n_jobs or -1)
    return found


def _breadth_first(left: Integers, right: Integers, starts: Integers) -> Integers:
    """The nodes tree by tree, each level after the one above, siblings side by side, (n_nodes,).

    Neighbors in memory are then neighbors in the tree, and the top of a tree, which every row passes, is in few lines
    of the cache.
    """
    level = starts[:-1]
    levels = []
    while len(level):
        levels.append(level)
        parents = level[left[level] >= 0]
        level = np.column_stack([left[parents], right[parents]]).ravel()
    order = np.concatenate(levels)
    tree = np.searchsorted(starts, order, side="right")
    return order[np.argsort(tree, kind="stable")]


def _rounded_down(thresholds: Floats) -> NDArray[np.float32]:
    """The largest float32 not above each: for a float32 `x`, ``x <= threshold`` then means the same as in float64."""
    nearest = thresholds.astype(np.float32)
    np.nextafter(nearest, np.float32(-np.inf), out=nearest, where=nearest > thresholds)
    return nearest
