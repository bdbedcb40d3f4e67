"""Thompson sampling: each place of the batch goes to the favourite of one function drawn from the belief."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from active_learning.acquisition.beliefs import belief, merits
from active_learning.domain.choosing import Scoring
from active_learning.domain.models import HasDraws
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal
from active_learning.errors import ContractError

__all__ = ["Thompson"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_BLOCK = 32_768
"""Candidates whose draws are held in memory at once."""

_LEAST = float(np.finfo(np.float64).min)


class Thompson:
    """The favourites of as many functions as there are places: what may be the best, as often as it may be the best.

    Of `n` functions drawn from the model each takes, in turn, the candidate that is best under it and not taken yet;
    where a function likes several equally, as a tree does its leaves, the one with the better mean, and then by row.
    Those score n, n - 1, ..., 1, so that the selection `top` takes just them. All others score 0 or less: by how much
    they fall short of the best under the function that comes nearest to liking them.

    The draws do not know a correction of the std.

    References
    ----------
    Thompson (1933), doi:10.1093/biomet/25.3-4.285; as batches Kandasamy et al. (2018), Proc. AISTATS, PMLR 84:133.
    """

    class Options(Options):
        """Keys of ``[acquisition]``: none."""

    goals = frozenset({Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN})

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,): n to 1 for the favourites, at most 0 in the target's unit for all others.

        Raises
        ------
        ContractError
            If the model cannot draw functions, draws something else than finite (n, n_candidates) numbers (the row is
            named), or the prediction is not one of `scoring`'s candidates.
        """
        mean, _std = belief(prediction, scoring)
        n = max(1, min(scoring.n, len(mean)))
        drawn = _drawn(scoring, n)
        merit = merits(scoring.target, mean)
        liked, highest = _liked(drawn, merit, n)
        nearest = np.empty(len(mean))
        with np.errstate(over="ignore"):
            for start in range(0, len(mean), _BLOCK):
                block = slice(start, start + _BLOCK)
                nearest[block] = (drawn(start) - highest[:, None]).max(axis=0)
        scores: Floats = np.maximum(nearest, _LEAST)
        taken = _deal(liked)[: scoring.n]
        scores[taken] = np.arange(len(taken), 0, -1)
        return scores


def _drawn(scoring: Scoring, n: int) -> Callable[[int], Floats]:
    """What `n` functions say of the block that starts at a row, as merit, (n, n_rows): the same functions each time."""
    model = scoring.model
    if not isinstance(model, HasDraws):
        raise ContractError(
            f"thompson draws functions from the model, and {type(model).__name__} cannot draw any: take a surrogate "
            "that can, such as random_forest, extra_trees or gaussian_process, or another acquisition"
        )
    seed = int(scoring.rng.integers(2**63))

    # Each block is looked at twice; a small pool is one block.
    @lru_cache(maxsize=1)
    def drawn(start: int) -> Floats:
        X = scoring.X[start : start + _BLOCK]
        values = np.asarray(model.draws(X, n, rng=np.random.default_rng(seed)), dtype=np.float64)
        if values.shape != (n, len(X)):
            raise ContractError(f"{type(model).__name__} draws {values.shape}; ({n}, {len(X)}) is needed")
        bad = np.flatnonzero(~np.isfinite(values).all(axis=0))
        if bad.size:
            raise ContractError(f"a draw of row {start + bad[0]} is not finite ({bad.size} rows in all)")
        merit: Floats = np.maximum(merits(scoring.target, values), _LEAST)
        return merit

    return drawn


def _liked(drawn: Callable[[int], Floats], merit: Floats, n: int) -> tuple[list[Indices], Floats]:
    """For each function the `n` rows it likes best, best first, and how much it likes the first of them, (n,)."""
    rows: list[Indices] = [np.empty(0, dtype=np.intp)] * n
    values: list[Floats] = [np.empty(0)] * n
    for start in range(0, len(merit), _BLOCK):
        for function, block in enumerate(drawn(start)):
            k = min(n, len(block))
            new = np.flatnonzero(block >= np.partition(block, len(block) - k)[len(block) - k])
            candidates = np.concatenate([rows[function], start + new])
            liking = np.concatenate([values[function], block[new]])
            order = np.lexsort((candidates, -merit[candidates], -liking))[:n]
            rows[function], values[function] = candidates[order], liking[order]
    return rows, np.array([liking[0] if len(liking) else 0.0 for liking in values])


def _deal(liked: list[Indices]) -> Indices:
    """One row for each function in turn, the first of those it likes that no other has."""
    taken: list[int] = []
    for rows in liked:
        free = rows[~np.isin(rows, taken)]
        taken.extend(free[:1].tolist())
    return np.array(taken, dtype=np.intp)
