"""A trained forest for a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError
from active_learning.surrogates.checks import checked_features
from active_learning.surrogates.forest_bags import Bags
from active_learning.surrogates.forest_growing import Uncertainty
from active_learning.surrogates.forest_jackknife import influences_of, jackknife_of
from active_learning.surrogates.forest_noise import ratio
from active_learning.surrogates.trees import Trees, n_threads

__all__ = ["FittedForest"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class FittedForest:
    """A trained forest, which can travel as arrays. Its trees predict ``(y - low) / span``; its methods answer in the
    target's unit.

    Everything goes through the compiled kernel, ten rows as well as a million: a row then has the same prediction to
    the last digit, in whatever company and in whichever process. The first prediction of a process waits for the
    machine code to be loaded, and once on a machine for it to be made.

    The std, see `uncertainty`:

    - ``spread``: over the trees.
    - ``total_variance``: the root of the variance over the trees and the noise within their leaves, see
      `active_learning.surrogates.forest_noise`. At least the spread: the doubt about a label, not about the function.
      Trees that are grown to the end meet the noise of their labels, so that their spread holds some of it already:
      the total is then too wide, by as much as a factor of 1.4, until it is recalibrated.
    - ``jackknife``: see `active_learning.surrogates.forest_jackknife`. The doubt about the mean of the
      forest that comes of these labels and no others: neither their noise nor what no forest can learn is in it, and
      residuals are several times larger. Where the variance is negative, the std is 0; `share_clipped` tells how often.

    Parameters
    ----------
    trees
        A leaf says what it predicts; for the total variance also what it knows of the noise: the sum of squares of its
        labels about their mean, and the degrees of freedom.
    importances : (n_features,)
        The normalized mean decrease in impurity; all 0 if no tree has a split.
    n_jobs : threads; all cores without it. Does not change any result.
    counts : (n_trees, n_labels) or None
        For the jackknife: how often each label is in the bag of each tree.
    bags
        What `held_out` takes; does not travel.

    Raises
    ------
    ContractError
        If the numbers are not finite, the trees look at features that there are not, or the leaves or bags cannot be
        those of a forest.
    """

    trees: Trees
    low: float
    span: float
    importances: Floats
    n_jobs: int | None = None
    counts: Counts | None = None
    bags: Bags | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if np.ndim(self.importances) != 1 or not np.isfinite([self.low, self.span, *self.importances]).all():
            raise ContractError("low, span and the (n_features,) importances of a trained forest must be finite")
        if self.trees.feature.max() >= len(self.importances):
            raise ContractError(
                f"a tree looks at feature {self.trees.feature.max()}; there are {len(self.importances)}, counted from 0"
            )
        n_values = self.trees.value.shape[1]
        if n_values not in (1, 3) or (self.trees.value[:, 1:] < 0).any():
            raise ContractError(
                "a leaf of a forest says one number, and perhaps a sum of squares and its degrees of freedom, which "
                "are not negative"
            )
        if self.counts is not None and (
            n_values != 1
            or self.counts.ndim != 2
            or len(self.counts) != len(self.trees)
            or not np.issubdtype(self.counts.dtype, np.integer)
            or (self.counts.sum(axis=1) != self.counts.shape[1]).any()
            or (self.counts < 0).any()
        ):
            raise ContractError(
                f"counts are integers, (n_trees, n_labels), and as many as labels for each of the {len(self.trees)} "
                f"trees, whose leaves say one number; got {self.counts.dtype}, {self.counts.shape}"
            )

    @property
    def uncertainty(self) -> Uncertainty:
        """What the std is: as `ForestOptions.uncertainty`."""
        if self.counts is not None:
            return "jackknife"
        return "total_variance" if self.trees.value.shape[1] == 3 else "spread"

    def predict(self, X: Floats) -> Prediction:
        """Mean over the trees and standard deviation, in the target's unit.

        Parameters
        ----------
        X : (n_candidates, n_features)

        Raises
        ------
        ContractError
            If `X` has another number of features, or a row that is not finite (it is named).
        """
        X = self._checked(X)
        if self.counts is not None:
            mean, variance = self._jackknife(X)
            std = np.sqrt(np.maximum(variance, 0.0))
        else:
            means, spreads = self.trees.moments(X, self.n_jobs)
            mean, std = means[:, 0], spreads[:, 0]
            if self.trees.value.shape[1] == 3:
                std = np.sqrt(np.square(std) + ratio(means[:, 1], means[:, 2]))
        return Prediction((self.low + self.span * mean)[:, None], (self.span * std)[:, None])

    def share_clipped(self, X: Floats) -> float:
        """Which share of the rows has a negative variance, which `predict` takes for 0. Only the jackknife has any.

        The more labels for the trees, the larger it is: `n_trees` is then too small. Parameters as `predict`.
        """
        X = self._checked(X)
        if self.counts is None or not len(X):
            return 0.0
        return float((self._jackknife(X)[1] < 0).mean())

    @cached_property
    def held_out(self) -> Prediction | None:
        """What the trees without a label in their bags say of it, (n_labels, 1); the std is of the kind of `predict`.

        None without bootstrap; if a label is in all bags but one or none; and for a forest that has traveled.
        """
        if self.bags is None:
            return None
        moments = self.bags.held_out_moments(self.trees, jackknife=self.counts is not None)
        if moments is None:
            return None
        mean, std = moments
        return Prediction((self.low + self.span * mean)[:, None], (self.span * std)[:, None])

    def draws(self, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
        """What `n` trees say, chosen at random, (n, n_candidates): none twice before all have been chosen.

        Their spread is that of the trees, whatever the std of `predict` is. Parameters of `X` as `predict`.

        Raises
        ------
        ContractError
            If `n` is below 1, or as `predict`.
        """
        if n < 1:
            raise ContractError(f"cannot draw {n} functions; it takes 1 or more")
        rounds = [rng.permutation(len(self.trees)) for _ in range(-(-n // len(self.trees)))]
        return self._said(X, np.concatenate(rounds)[:n])

    def tree_values(self, X: Floats) -> Floats:
        """What each tree says, (n_trees, n_candidates). Held in memory as a whole. Parameters as `predict`."""
        return self._said(X, np.arange(len(self.trees)))

    def covariance_factor(self, X: Floats) -> Floats:
        """``factor @ factor.T`` is the covariance of the beliefs about the rows, in the square of the target's unit.

        For the spread and the total variance, (n_candidates, n_trees), what each tree says beyond the mean, over the
        root of n_trees; noise is no part of it. For the jackknife, (n_candidates, n_labels), how much each label moves
        each row, scaled so that the diagonal is the variance without the bias of few trees. Parameters as `predict`.
        """
        X = self._checked(X)
        if self.counts is None:
            _mean, deviations = self.trees.deviations(X)
            spread: Floats = self.span * deviations.T / np.sqrt(len(self.trees))
            return spread
        influences, variance = influences_of(self.trees.nodes, self._excess, X)
        biased = np.square(influences).sum(axis=1)
        kept = np.divide(np.maximum(variance, 0.0), biased, out=np.zeros_like(biased), where=biased > 0)
        factor: Floats = self.span * influences * np.sqrt(kept)[:, None]
        return factor

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays of `Trees`, and those of this class; 0 is the `n_jobs` of all cores."""
        numbers = {"low": self.low, "span": self.span, "n_jobs": self.n_jobs or 0, "importances": self.importances}
        bags = {} if self.counts is None else {"counts": self.counts}
        return self.trees.to_arrays() | {name: np.array(number) for name, number in numbers.items()} | bags

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The forest that `to_arrays` wrote; scikit-learn plays no part.

        Raises
        ------
        ContractError
            If an array is missing, or they are no forest.
        """
        missing = sorted({"low", "span", "importances", "n_jobs"} - arrays.keys())
        if missing or any(np.size(arrays[name]) != 1 for name in ("low", "span", "n_jobs")):
            raise ContractError(
                "the arrays of a forest hold importances and one number each of low, span and n_jobs; there are "
                + ", ".join(f"{name} {np.shape(array)}" for name, array in sorted(arrays.items()))
            )
        low, span, n_jobs = (np.asarray(arrays[name]).item() for name in ("low", "span", "n_jobs"))
        importances = np.array(arrays["importances"], dtype=np.float64)
        counts = np.array(arrays["counts"]) if "counts" in arrays else None
        return cls(Trees.from_arrays(arrays), float(low), float(span), importances, int(n_jobs) or None, counts)

    @cached_property
    def _excess(self) -> Floats:
        return np.asarray(self.counts, dtype=np.float64) - 1.0

    def _jackknife(self, X: Floats) -> tuple[Floats, Floats]:
        return jackknife_of(self.trees.nodes, self._excess, X, n_threads(self.n_jobs))

    def _said(self, X: Floats, chosen: NDArray[np.intp]) -> Floats:
        said = self.trees.draws(self._checked(X), self.n_jobs, chosen)[:, :, 0]
        values: Floats = self.low + self.span * said
        return values

    def _checked(self, X: Floats) -> Floats:
        return checked_features(X, n_features=len(self.importances))
