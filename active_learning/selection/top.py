"""The highest scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.choosing import Batch
from active_learning.domain.options import Options

__all__ = ["Top"]

Indices = NDArray[np.intp]


class Top:
    """The candidates with the highest scores, whatever they look like."""

    class Options(Options):
        """Keys of ``[selection]``: none."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def choose(self, batch: Batch) -> Indices:
        """Rows of the `n` highest scores, best first; ties by row."""
        return batch.ranked[: batch.n]
