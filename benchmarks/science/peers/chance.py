"""The control: draws, and looks at nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peers.base import Floats, Goal, Rows, unlabeled_rows

__all__ = ["Chance"]


@dataclass(frozen=True)
class Chance:
    """Uniform without replacement, whatever the goal."""

    goal: Goal

    def choose(self, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Rows:  # noqa: ARG002
        """Choose n of the unlabeled rows, all equally likely."""
        return rng.choice(unlabeled_rows(len(X), labeled), size=n, replace=False)
