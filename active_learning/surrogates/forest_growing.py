"""How a forest is grown: its options, and scikit-learn's work."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from active_learning.domain.options import Options

__all__ = ["JACKKNIFE_TREES", "ExtraTreesOptions", "ForestOptions", "Uncertainty", "grown"]

Floats = NDArray[np.float64]
Fraction = Annotated[float, Field(gt=0, le=1)]
Uncertainty = Literal["spread", "total_variance", "jackknife"]

JACKKNIFE_TREES = 20
"""With fewer the infinitesimal jackknife is next to nothing but its bias correction."""

_WORTH_THREADS = 4_000
"""Numbers in X from which several threads grow trees sooner. With fewer, most of the time of a tree is spent in Python,
under its lock: threads cost a tenth to a sixth more work, and save nothing."""


class ForestOptions(Options):
    """Keys of ``[surrogate]`` for a forest."""

    n_trees: int = Field(300, ge=2, le=10_000, description="Number of trees.")
    max_features: Fraction | Literal["sqrt"] | None = Field(
        1.0,
        description="Features looked at for each split: a fraction of them, or 'sqrt'. Fewer is faster; with few "
        "labels it is also less accurate.",
    )
    min_samples_leaf: int = Field(1, ge=1, description="Fewest labels in a leaf.")
    bootstrap: bool = Field(
        True,
        description="Whether each tree is grown on labels drawn with replacement, as many as there are; or on all.",
    )
    uncertainty: Uncertainty = Field(
        "spread",
        description="What the std is: 'spread' of the trees; 'total_variance', the spread and the noise of the labels "
        "within leaves; or 'jackknife', how much the forest would change with other labels, which needs many trees (at "
        "least as many as labels). Classes have probabilities whatever this is.",
    )
    n_jobs: int | None = Field(None, ge=1, description="Threads; all cores without it. Does not change any result.")

    splits_at_random: ClassVar[bool] = False

    @model_validator(mode="after")
    def _uncertainty_exists(self) -> Self:
        if self.uncertainty == "jackknife" and not self.bootstrap:
            raise ValueError(
                "uncertainty = 'jackknife' looks at which labels are in the bag of which tree: it needs "
                "bootstrap = true (without it every tree has all labels)"
            )
        if not (self.bootstrap or self.splits_at_random) and self.max_features in (1.0, None):
            raise ValueError(
                "trees grown on all labels, that look at all features for each split, are all the same: there is "
                "no spread. Set bootstrap = true or max_features below 1, or take kind = 'extra_trees'"
            )
        if self.uncertainty == "jackknife" and self.n_trees < JACKKNIFE_TREES:
            raise ValueError(
                f"uncertainty = 'jackknife' tells labels apart by which of many trees hold them: {self.n_trees} trees "
                f"tell nothing. Set n_trees to {JACKKNIFE_TREES} or more, best to several times the labels, or take "
                "uncertainty = 'spread'"
            )
        if self.uncertainty == "total_variance" and not self.bootstrap and self.min_samples_leaf == 1:
            raise ValueError(
                "uncertainty = 'total_variance' tells noise from labels that share a leaf; trees grown on all labels "
                "until each has its own leaf tell none. Set min_samples_leaf to 2 or more, or bootstrap = true"
            )
        return self


class ExtraTreesOptions(ForestOptions):
    """Keys of ``[surrogate]`` for extra trees."""

    splits_at_random = True

    bootstrap: bool = Field(False, description=str(ForestOptions.model_fields["bootstrap"].description))


def grown(kind: Any, options: ForestOptions, X: Floats, y: NDArray[Any], rng: np.random.Generator) -> Any:
    """A forest of scikit-learn's class `kind`, trained."""
    forest = kind(
        n_estimators=options.n_trees,
        max_features=options.max_features,
        min_samples_leaf=options.min_samples_leaf,
        bootstrap=options.bootstrap,
        n_jobs=(options.n_jobs or -1) if X.size >= _WORTH_THREADS else 1,
        random_state=int(rng.integers(2**31)),
    )
    # scikit-learn's threads change the process's warning filters without a lock, and may leave none of them behind.
    with warnings.catch_warnings():
        # Of 7 crystal systems most may be met once among the first labels: that is no regression.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than", category=UserWarning)
        return forest.fit(X, y)
