"""Which labels each tree was grown on, and what the trees that were not grown on a label say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.surrogates.forest_jackknife import jackknife_variances
from active_learning.surrogates.forest_noise import LeafNoise
from active_learning.surrogates.trees import Trees

__all__ = ["Bags"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Bags:
    """The labels a bootstrapped forest was trained on, and who had which of them.

    Parameters
    ----------
    counts : (n_trees, n_labels), how often each label is in the bag of each tree
    X : (n_labels, n_features)
    y : (n_labels,), in the unit that the trees predict in
    """

    counts: Counts
    X: Floats
    y: Floats

    @classmethod
    def of(cls, forest: Any, X: Floats, y: Floats) -> Self | None:
        """Of a scikit-learn forest that was trained on these; None if all its trees were grown on all labels."""
        if not forest.bootstrap:
            return None
        counts = [np.bincount(indices, minlength=len(X)) for indices in forest.estimators_samples_]
        return cls(np.array(counts, dtype=np.int32), X.copy(), y.copy())

    def held_out_moments(self, trees: Trees, *, jackknife: bool) -> tuple[Floats, Floats] | None:
        """Mean and std for each label by the trees that do not have it in their bags, (n_labels,) each.

        The std is of the kind that `predict` gives: with `jackknife`, that of the forest of these trees, a negative
        variance being 0; if the trees know of noise, a label's own residual is taken out of its leaf's. A share of
        ``(1 - 1/n_labels) ** n_labels`` of all trees, a little above a third, is asked about each label.

        Returns
        -------
        None if a label is in every bag, or in all but one: one tree tells no std.
        """
        is_out = self.counts == 0
        n_used = is_out.sum(axis=0).astype(np.float64)
        if (n_used < 2).any():
            return None
        leaves = trees.leaves(self.X, 1)
        said = trees.value[leaves, 0]
        # Measured from one of the trees asked, as in the kernel: what they agree on has no variance at all.
        first = said[is_out.argmax(axis=0), np.arange(said.shape[1])]
        excess = np.where(is_out, said - first, 0.0)
        beyond = excess.sum(axis=0) / n_used
        deviations: Floats = np.where(is_out, excess - beyond, 0.0).astype(np.float64)
        if jackknife:
            # These trees are a forest for the other labels: their n is one less, and their own label has no influence.
            variance = jackknife_variances(deviations, self.counts.astype(np.float64) - 1.0, n_used, len(self.y) - 1)
        else:
            variance = np.square(deviations).sum(axis=0) / n_used
        if trees.value.shape[1] == 3:
            variance = variance + LeafNoise.of(leaves, self.y, len(trees.value)).held_out(is_out)
        return first + beyond, np.sqrt(np.maximum(variance, 0.0))

    def held_out_shares(self, trees: Trees) -> Floats | None:
        """The mean share of each class by the trees that do not have a label in their bags, (n_labels, n_classes).

        None if a label is in every bag.
        """
        is_out = self.counts == 0
        if not is_out.any(axis=0).all():
            return None
        said = trees.draws(self.X, 1)
        shares: Floats = np.einsum("tl,tlc->lc", is_out.astype(np.float64), said) / is_out.sum(axis=0)[:, None]
        return shares
