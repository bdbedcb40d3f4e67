"""The noise of the labels, told from labels that share a leaf.

The law of total variance has two parts: the variance over the trees of what they say, and the mean over the trees of
the variance within the leaf (Hutter et al. 2014, sec. 4.3.2). A tree that is grown to the end has one label of its bag
in each leaf, and no variance. But about a third of all labels are not in its bag, and they fall into leaves too: so
*all* labels that fall into a leaf are counted, each once, as for quantile forests (Meinshausen 2006). A tree has never
seen the labels that were not in its bag, so they tell its noise honestly.

A leaf may still have one label, which tells nothing, or few. Hutter et al. give such leaves a fixed smallest variance,
in the unit of their target. Here each leaf counts by what it knows: for a row in a leaf of tree b that has m_b labels::

    noise = sum_b (sum of squares about the mean of the leaf) / sum_b (m_b - 1)

the mean over the trees of the unbiased variances in their leaves, weighted by degrees of freedom. It is local: where
labels agree there is none, whatever the noise elsewhere. What the function itself varies within a leaf is noise too.

Limits: labels that agree within every leaf of a row give exactly 0; one leaf of all labels gives their variance
(divided by n - 1); leaves of one label each in all trees give 0, since then nothing is known of the noise
(`ForestOptions` refuses what can only grow such trees).

References
----------
Hutter, Xu, Hoos & Leyton-Brown (2014), doi:10.1016/j.artint.2013.10.003; Meinshausen (2006), J. Mach. Learn. Res. 7,
983.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["LeafNoise", "ratio"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class LeafNoise:
    """What the labels in each leaf tell of the noise.

    Parameters
    ----------
    leaves : (n_trees, n_labels), the leaf of each label in each tree, as a place among all nodes
    residual : (n_trees, n_labels), the label less the mean of the labels in its leaf
    n_labels : (n_nodes,), labels in each leaf; 0 in other nodes
    squares : (n_nodes,), the sum of the squares of their residuals
    """

    leaves: Indices
    residual: Floats
    n_labels: Floats
    squares: Floats

    @classmethod
    def of(cls, leaves: Indices, y: Floats, n_nodes: int) -> Self:
        """From the leaf of each label in each tree, (n_trees, n_labels), and the labels, (n_labels,)."""
        flat, labels = leaves.ravel(), np.tile(y, len(leaves))
        n_labels = np.bincount(flat, minlength=n_nodes).astype(np.float64)
        # Measured from the least of a leaf: labels that agree have no variance at all, and not that of rounding.
        least = np.full(n_nodes, np.inf)
        np.minimum.at(least, flat, labels)
        excess = labels - least[flat]
        mean = np.bincount(flat, excess, n_nodes) / np.maximum(n_labels, 1.0)
        residual = excess - mean[flat]
        squares: Floats = np.bincount(flat, np.square(residual), n_nodes).astype(np.float64)
        return cls(leaves, residual.reshape(leaves.shape), n_labels, squares)

    @property
    def by_node(self) -> Floats:
        """Sum of squares and degrees of freedom of each leaf, (n_nodes, 2); 0 in other nodes."""
        return np.column_stack([self.squares, np.maximum(self.n_labels - 1.0, 0.0)])

    def held_out(self, is_out: Flags) -> Floats:
        """The noise for each label from the trees that do not have it in their bags, (n_labels,).

        Its own residual is taken out of the leaf: otherwise a label far off would excuse itself.

        Parameters
        ----------
        is_out : (n_trees, n_labels), whether the label is not in the bag of the tree; its leaf then has another one
        """
        m = np.where(is_out, self.n_labels[self.leaves], 2.0)
        rest = self.squares[self.leaves] - np.square(self.residual) * m / (m - 1.0)
        # Of two labels one is left, without variance; rounding must not say otherwise.
        squares = np.where(is_out & (m > 2), np.maximum(rest, 0.0), 0.0)
        return ratio(squares.sum(axis=0), (m - 2.0).sum(axis=0))


def ratio(squares: Floats, freedom: Floats) -> Floats:
    """The mean square; 0 where there are no degrees of freedom, since nothing is known there."""
    return np.divide(squares, freedom, out=np.zeros_like(squares), where=freedom > 0)
