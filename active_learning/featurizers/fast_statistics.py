"""Matminer's `PropertyStats` of the elements' properties, for a whole block of compositions at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from active_learning.featurizers.composition_blocks import Block
from active_learning.featurizers.element_tables import ElementTable

__all__ = ["STATISTICS", "mean_of", "statistics_of", "summed"]

Floats = NDArray[np.float64]

STATISTICS = frozenset({"minimum", "maximum", "range", "mean", "avg_dev", "std_dev", "mode"})
"""Matminer's statistics that are here; the presets of `ElementProperty` use no others."""


def statistics_of(block: Block, table: ElementTable, statistics: Sequence[str]) -> Floats:
    """Statistics of each property over the elements of each composition, weighted by atomic fraction.

    With fractions w and a property x: `mean` = sum(w x) / sum(w); `avg_dev` = sum(w abs(x - mean)) / sum(w);
    `std_dev` = sqrt(sum(w (x - mean)^2) sum(w) / (sum(w)^2 - sum(w^2))), and 0 for a single element, even where its x
    is NaN; `mode` is the smallest x among the elements whose fraction is the largest or close to it as `numpy.isclose`
    says. NaN where an x that enters is NaN; a composition with an element that the table does not know is all NaN.

    Parameters
    ----------
    statistics : of `STATISTICS`

    Returns
    -------
    (n_rows, n_properties * n_statistics); the statistics of the first property come first.

    References
    ----------
    matminer 0.10.1, `matminer.featurizers.utils.stats.PropertyStats`.
    """
    found = _Statistics(block, table.values)
    values = np.empty((len(block.rows), table.values.shape[1], len(statistics)))
    for place, name in enumerate(statistics):
        values[:, :, place] = getattr(found, name)
    values[~table.is_known[block.elements].all(axis=1)] = np.nan
    return values.reshape(len(block.rows), -1)


def mean_of(block: Block, table: ElementTable) -> Floats:
    """Only the `mean` of `statistics_of`, (n_rows, n_properties)."""
    return statistics_of(block, table, ("mean",))


def summed(arrays: Iterable[Floats]) -> Floats:
    """The sum of arrays, one after another.

    Numpy's own reductions may choose their order by the shape of the block, and a row must not depend on its neighbors.
    """
    total: Floats = reduce(add, arrays)
    return total


class _Statistics:
    """Each statistic, (n_rows, n_properties) or broadcasting to it, computed when it is first asked for.

    A list holds one array for each element of the block's compositions.
    """

    def __init__(self, block: Block, table: Floats) -> None:
        self._w = [fractions[:, None] for fractions in np.ascontiguousarray(block.fractions.T)]
        self._x = [table[elements] for elements in block.elements.T]

    @cached_property
    def minimum(self) -> Floats:
        return reduce(np.minimum, self._x)

    @cached_property
    def maximum(self) -> Floats:
        return reduce(np.maximum, self._x)

    @property
    def range(self) -> Floats:
        return self.maximum - self.minimum

    @cached_property
    def mean(self) -> Floats:
        return self._weighted(self._x) / self._total

    @property
    def avg_dev(self) -> Floats:
        return self._weighted(np.abs(x - self.mean) for x in self._x) / self._total

    @property
    def std_dev(self) -> Floats:
        if len(self._w) == 1:
            return np.zeros_like(self._x[0])
        unbiased = self._total / (self._total**2 - summed(w**2 for w in self._w))
        return np.sqrt(unbiased * self._weighted((x - self.mean) ** 2 for x in self._x))

    @property
    def mode(self) -> Floats:
        largest = reduce(np.maximum, self._w)
        ties = [np.isclose(w, largest) for w in self._w]
        return reduce(np.minimum, [np.where(tie, x, np.inf) for tie, x in zip(ties, self._x, strict=True)])

    @cached_property
    def _total(self) -> Floats:
        return summed(self._w)

    def _weighted(self, values: Iterable[Floats]) -> Floats:
        return summed(w * value for w, value in zip(self._w, values, strict=True))
