"""Where chunks of work are done: the seam between the engine, which cuts, and whoever carries the pieces out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Piece", "Spread"]

Piece = Mapping[str, Any]
"""One piece of work as a JSON object: paths and row numbers, never the data itself."""


class Spread(Protocol):
    """Carries out pieces of work on threads, processes or machines that see the same files."""

    @property
    def n_workers(self) -> int:
        """How many pieces can be in hand at once, as far as is known; >= 1."""

    def run(
        self, work: Callable[[Piece], int], pieces: Sequence[Piece], what: str, done: Callable[[int], None]
    ) -> None:
        """Do `work` for each piece, in any order, and return when all is done.

        Laws: `work` is a function of a module, so that another machine finds it; it may be run twice for a piece (a
        machine died), so it must not mind. If a piece raises, the error is raised here and pieces that wait are
        dropped.

        Parameters
        ----------
        what : what is done, in a word or two, for people
        done : told what `work` returned for a piece, as they come
        """
