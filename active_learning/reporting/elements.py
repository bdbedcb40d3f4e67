"""Which elements were tried, and in which of them the best materials lie. Light: no matplotlib."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from active_learning.api.record import CampaignRecord
from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.domain.formulas import parse_formula
from active_learning.domain.seeds import rng_for
from active_learning.reporting.best import BestMaterial, distinct_best
from active_learning.reporting.links import formulas_of_labels

__all__ = ["ElementRow", "Elements", "elements_in", "elements_of"]

_BEST_SHARE = 0.1
_FEWEST_BEST = 5
_POOL_ROWS = 20_000
"""Of a larger pool so many formulas, drawn at random, tell which elements it holds."""


@dataclass(frozen=True)
class ElementRow:
    """One element of the labeled candidates.

    Parameters
    ----------
    n_labels : labeled candidates that hold it
    best : the best material that holds it; None for a goal without a best
    n_best : how many of the campaign's best materials hold it
    """

    symbol: str
    n_labels: int
    best: BestMaterial | None = None
    n_best: int = 0


@dataclass(frozen=True)
class Elements:
    """What a report says of elements.

    Parameters
    ----------
    rows : elements that were tried, those in most candidates first
    untried : elements of the pool (of a sample, if it is large) that no labeled candidate holds
    n_labels : labeled candidates whose formula could be read
    n_unread : those whose formula could not
    n_best : so many distinct materials are called the best: a tenth of all, and five at least
    """

    rows: tuple[ElementRow, ...] = ()
    untried: tuple[str, ...] = ()
    n_labels: int = 0
    n_unread: int = 0
    n_best: int = 0


def elements_in(formula: str | None) -> frozenset[str]:
    """The elements of a formula; none if it is no formula.

    >>> sorted(elements_in("Al2O3")), elements_in("<b>")
    (['Al', 'O'], frozenset())
    """
    try:
        return frozenset(parse_formula(formula or ""))
    except ValueError:
        # A label may be told of a candidate under any name.
        return frozenset()


def elements_of(record: CampaignRecord) -> Elements:
    """How many labeled candidates hold each element, and what the best of them is."""
    formulas = {x.candidate_id: f for x, f in zip(record.target_labels, formulas_of_labels(record), strict=True)}
    held = {candidate: elements_in(formula) for candidate, formula in formulas.items()}
    counts = Counter(symbol for symbols in held.values() for symbol in symbols)
    distinct = distinct_best(record)
    n_best = min(len(distinct), max(_FEWEST_BEST, math.ceil(_BEST_SHARE * len(distinct))))
    of_best = [elements_in(material.formula) for material in distinct]
    best: dict[str, BestMaterial] = {}
    for material, symbols in zip(distinct, of_best, strict=True):
        for symbol in symbols:
            best.setdefault(symbol, material)
    among_best = Counter(symbol for symbols in of_best[:n_best] for symbol in symbols)
    ordered = sorted(counts, key=lambda symbol: (-counts[symbol], ATOMIC_NUMBERS[symbol]))
    n_read = sum(bool(symbols) for symbols in held.values())
    return Elements(
        rows=tuple(ElementRow(symbol, counts[symbol], best.get(symbol), among_best[symbol]) for symbol in ordered),
        untried=tuple(sorted(_pool_elements(record) - set(counts), key=ATOMIC_NUMBERS.__getitem__)),
        n_labels=n_read,
        n_unread=len(held) - n_read,
        n_best=n_best,
    )


def _pool_elements(record: CampaignRecord) -> frozenset[str]:
    n = len(record.formulas)
    rows: Iterable[int] = range(n)
    if n > _POOL_ROWS:
        rows = np.sort(rng_for(record.seed, 0, "elements").choice(n, _POOL_ROWS, replace=False)).tolist()
    return frozenset().union(*(elements_in(formula) for formula in {record.formulas[row] for row in rows}))
