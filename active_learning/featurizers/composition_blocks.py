"""Many compositions as a few dense arrays: one block holds compositions of the same number of elements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import methodcaller

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.elements import ATOMIC_NUMBERS, SYMBOLS
from active_learning.errors import ContractError

__all__ = ["ALPHABETICAL", "Block", "blocks_of"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

ALPHABETICAL: tuple[str, ...] = tuple(sorted(SYMBOLS))
"""Chemical symbols in the order of their names, which is the order of elements in a candidate: an element's index."""

_INDEX: Mapping[str, int] = {symbol: index for index, symbol in enumerate(ALPHABETICAL)}
_SMALLEST_FRACTION = 1e-8  # `pymatgen.core.Composition.amount_tolerance`: below it there is no such element


@dataclass(frozen=True, eq=False)
class Block:
    """Compositions of the same number of elements.

    Parameters
    ----------
    rows : (n_rows,)
        Which of the compositions that were asked for these are.
    elements : (n_rows, n_elements) indices into `ALPHABETICAL`, increasing along a row
    fractions : (n_rows, n_elements) atomic fractions, positive
    """

    rows: Indices
    elements: Indices
    fractions: Floats


def blocks_of(amounts: Sequence[Mapping[str, float]], max_rows: int) -> Iterator[Block]:
    """Atomic fractions of compositions, in blocks of at most `max_rows`; each composition is in one of them.

    They are the floats of `active_learning.domain.elements.fractions_of`, whatever the order of a mapping's keys.
    Elements below a fraction of 1e-8 are left out, as they are in a pymatgen `Composition` of the fractions.

    Parameters
    ----------
    amounts : a mapping from chemical symbol to a positive amount for each composition, in any unit of amount

    Raises
    ------
    ContractError
        If a composition is empty, names something that is no element, or has an amount that is not positive and finite.
    """
    sizes, elements, fractions = _flat(amounts)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        for first in range(0, len(rows), max_rows):
            part = rows[first : first + max_rows]
            entries = starts[part][:, None] + np.arange(size)
            yield Block(part, elements[entries], fractions[entries])


def _flat(amounts: Sequence[Mapping[str, float]]) -> tuple[Indices, Indices, Floats]:
    """Number of elements of each composition; elements and atomic fractions of all compositions in a row."""
    n = len(amounts)
    sizes = np.fromiter(map(len, amounts), np.intp, count=n)
    n_entries = int(sizes.sum())
    try:
        elements = np.fromiter(map(_INDEX.__getitem__, chain.from_iterable(amounts)), np.intp, count=n_entries)
    except KeyError as error:
        raise ContractError(_unknown(amounts)) from error
    values = np.fromiter(chain.from_iterable(map(methodcaller("values"), amounts)), np.float64, count=n_entries)
    _check(amounts, sizes, values)
    rows = np.repeat(np.arange(n), sizes)
    if ((elements[1:] <= elements[:-1]) & (rows[1:] == rows[:-1])).any():
        order = np.lexsort((elements, rows))
        elements, values = elements[order], values[order]
    fractions = values / np.bincount(rows, weights=values, minlength=n)[rows]
    there = fractions >= _SMALLEST_FRACTION
    if there.all():
        return sizes, elements, fractions
    return np.bincount(rows[there], minlength=n), elements[there], fractions[there]


def _check(amounts: Sequence[Mapping[str, float]], sizes: Indices, values: Floats) -> None:
    good = (values > 0.0) & (values < np.inf)
    if not sizes.all():
        row = int(np.flatnonzero(sizes == 0)[0])
        raise ContractError(f"composition {row} is empty; it needs at least one element with a positive amount")
    if not good.all():
        row = int(np.searchsorted(np.cumsum(sizes), np.flatnonzero(~good)[0], side="right"))
        raise ContractError(
            f"a composition needs positive, finite amounts, got {dict(amounts[row])} (composition {row})"
        )


def _unknown(amounts: Sequence[Mapping[str, float]]) -> str:
    row, symbol = next((row, s) for row, one in enumerate(amounts) for s in one if s not in ATOMIC_NUMBERS)
    return f"no such element: {symbol!r} (composition {row})"
