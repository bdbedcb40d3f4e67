"""One after the other, as if those before were labeled already: the kriging believer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.domain.choosing import Batch
from active_learning.domain.options import Options
from active_learning.selection.joint import beliefs, joint_belief, rescored

__all__ = ["Fantasies"]

Indices = NDArray[np.intp]

_KIND = "fantasies"


class Fantasies:
    """The best score is taken, its mean believed to be its label, and the rest scored again; and so on.

    Candidates that are being labeled are believed first. A label that equals its mean changes no mean; it lowers the
    std of whatever hangs together with it, and so the score of a candidate whose doubt is being settled already. The
    best label so far stays the best that was measured: what is only believed does not count as reached.

    Noise (what the square of a std exceeds the variance of the function by) is never lowered by the label of another.
    Where candidates hang together with nothing, this is `top`. With an acquisition that does not look at the std it is
    `top`, too. Ties go to the higher score of `Batch.scores`, then by row.

    References
    ----------
    Ginsbourger, Le Riche & Carraro (2010), doi:10.1007/978-3-642-10701-6_6, algorithm 1 (kriging believer).
    """

    class Options(Options):
        """Keys of ``[selection]``."""

        pool_limit: int = Field(
            1000,
            ge=1,
            description="Candidates considered at most, those with the highest scores; never fewer than chosen.",
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def choose(self, batch: Batch) -> Indices:
        """Rows to take, in the order of taking, (min(n, n_candidates),).

        Raises
        ------
        ContractError
            If the batch does not tell what is believed, how it hangs together or how it would be scored, or tells so
            in numbers that are not finite or of another shape.
        """
        n = min(batch.n, len(batch.X))
        mean, std = beliefs(batch, _KIND)
        if n == 0 or n == len(batch.X):
            return batch.ranked[:n]
        rows = batch.ranked[: max(n, self.options.pool_limit)]
        belief = joint_belief(batch, rows, std, _KIND)
        for pending in range(len(rows), len(belief.unit)):
            belief = belief.given_label(pending)
        belief = belief.first(len(rows))
        free = np.arange(len(rows))
        chosen: list[int] = []
        scores = batch.scores[rows]
        while len(chosen) < n:
            if chosen or len(batch.X_pending):
                scores = rescored(batch, mean[rows[free]], belief.std[free], rows[free], _KIND)
            best = int(free[np.argmax(scores)])
            chosen.append(best)
            free = free[free != best]
            belief = belief.given_label(best)
        return rows[np.array(chosen, dtype=np.intp)]
