"""What every peer is: a rule that names the rows to label next."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Choice", "Floats", "Goal", "Peer", "Rows", "choose_checked", "scaled", "seed_of", "unlabeled_rows"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Goal = Literal["maximize", "learn"]


class Peer(Protocol):
    """A rule of another library. Made with the goal: `maximize` seeks the highest merits, `learn` the smallest error.

    Laws: the rows returned are distinct and unlabeled; nothing is kept between calls but what follows from `X` alone,
    so that what is chosen depends on the arguments only; all randomness comes from `rng`; exceptions and warnings of
    the library are not caught.
    """

    def choose(self, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Rows:
        """Choose what to label next.

        Parameters
        ----------
        X : (n_candidates, n_features)
            All candidates, labeled or not. Columns may be constant and rows may repeat.
        labeled : (n_labeled,)
            Rows of X with a label, in the order of labeling.
        merits : (n_labeled,)
            Their labels, higher is better.
        n : how many, at most the number of unlabeled rows

        Returns
        -------
        (n,) rows of X, best first where the library ranks them.
        """
        ...


@dataclass(frozen=True, eq=False)
class Choice:
    """What a peer chose and what its library complained of.

    Parameters
    ----------
    rows : (n,)
    warnings : "Category: first line of the message" to how often
    """

    rows: Rows
    warnings: Counter[str]


def choose_checked(peer: Peer, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Choice:
    """Let a peer choose, keep its warnings, and hold it to the laws.

    Raises
    ------
    ValueError
        If n rows cannot be chosen, or the peer named a row twice, a labeled one, or one that is not there.
    """
    n_unlabeled = len(X) - len(labeled)
    if not 1 <= n <= n_unlabeled:
        raise ValueError(f"Cannot choose {n} of {n_unlabeled} unlabeled rows.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = np.asarray(peer.choose(X, labeled, merits, n, rng))
    if rows.shape != (n,) or len(np.unique(rows)) != n or not np.isin(rows, unlabeled_rows(len(X), labeled)).all():
        raise ValueError(f"{type(peer).__name__} was asked for {n} distinct unlabeled rows and chose {rows.tolist()}.")
    complaints = (f"{w.category.__name__}: {str(w.message).strip().splitlines()[0]}" for w in caught)
    return Choice(rows=rows.astype(np.int64), warnings=Counter(complaints))


def unlabeled_rows(n_candidates: int, labeled: Rows) -> Rows:
    """(n_unlabeled,) ascending."""
    return np.setdiff1d(np.arange(n_candidates, dtype=np.int64), labeled)


def scaled(values: Floats) -> Floats:
    """Columns (or the one vector) at mean 0 and variance 1 over the rows given; a constant column becomes zero."""
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0), dtype=np.float64)


def seed_of(rng: np.random.Generator) -> int:
    """A seed for libraries that take an integer."""
    return int(rng.integers(2**31 - 1))
