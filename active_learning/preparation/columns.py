"""The columns that a model gets, and how each is made of the given features: themselves, or products of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, combinations_with_replacement
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.preparation.checks import LARGEST, checked_features

__all__ = [
    "NO_FACTOR",
    "Columns",
    "column_names",
    "combined_terms",
    "most_sources",
    "n_combinations",
    "plain_terms",
    "term_name",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

NO_FACTOR = -1
_MOST_EXPONENT = 1000


def n_combinations(n_features: int, degree: int, *, interactions_only: bool = False) -> int:
    """How many products of 2 to `degree` factors `n_features` features have.

    >>> n_combinations(3, 2), n_combinations(3, 2, interactions_only=True), n_combinations(132, 2)
    (6, 3, 8778)
    """
    sizes = range(2, degree + 1)
    return sum(math.comb(n_features if interactions_only else n_features + k - 1, k) for k in sizes)


def most_sources(limit: int, degree: int, *, interactions_only: bool = False) -> int:
    """The largest number of features that have at most `limit` combinations.

    >>> most_sources(10_000, 2), most_sources(10_000, 3)
    (140, 37)
    """
    n = 0
    while n_combinations(n + 1, degree, interactions_only=interactions_only) <= limit:
        n += 1
    return n


def plain_terms(features: Sequence[int] | Indices, degree: int) -> Indices:
    """The terms of features as they are: (n, degree), the feature and no further factor."""
    terms = np.full((len(features), degree), NO_FACTOR, dtype=np.intp)
    terms[:, 0] = features
    return terms


def combined_terms(features: Sequence[int] | Indices, degree: int, *, interactions_only: bool = False) -> Indices:
    """The terms of all products of 2 to `degree` factors: (n, degree), in the order of scikit-learn's polynomials."""
    choose = combinations if interactions_only else combinations_with_replacement
    ascending = sorted(int(feature) for feature in features)

    def padded() -> Iterator[Iterable[int]]:
        for size in range(2, degree + 1):
            for factors in choose(ascending, size):
                yield (*factors, *[NO_FACTOR] * (degree - size))

    flat = np.fromiter(chain.from_iterable(padded()), dtype=np.intp)
    return flat.reshape(-1, degree)


def term_name(term: Indices, names: Sequence[str]) -> str:
    """What a column is called.

    >>> term_name(np.array([0, 0, 1]), ("a", "b")), term_name(np.array([1, -1, -1]), ("a", "b"))
    ('a^2 * b', 'b')
    """
    factors = [int(feature) for feature in term if feature != NO_FACTOR]
    powers = {feature: factors.count(feature) for feature in factors}
    return " * ".join(names[feature] + (f"^{power}" if power > 1 else "") for feature, power in powers.items())


def column_names(terms: Indices, names: Sequence[str]) -> tuple[str, ...]:
    """What each column is called; a combination whose name a given feature bears is put in brackets."""
    taken = set(names)
    called = []
    for term in terms:
        name = term_name(term, names)
        while name in taken and term[1:].max(initial=NO_FACTOR) != NO_FACTOR:
            name = f"({name})"
        called.append(name)
    return tuple(called)


@dataclass(frozen=True, eq=False)
class Columns:
    """How to make the columns of the model from the given features.

    A feature alone is given as it is. For products each factor is first divided by the power of two next to its largest
    size among the labels: a change of its unit that costs no digit and that no ranking sees, after which a product
    neither overflows nor falls below what a forest can tell apart (differences of 1e-7). Factors are not centered:
    (a - 3) * (b - 5) is another descriptor than a * b. What still grows beyond 32 bits, far outside the labels, is held
    at the largest such number.

    Parameters
    ----------
    medians : (n_given,), what stands in for a missing value, NaN for a feature that is in no term; None to refuse those
    units : (n_given,), powers of two by which the factors of products are multiplied
    terms : (n_columns, degree), the factors of each column, `NO_FACTOR` where there are fewer
    """

    medians: Floats | None
    units: Floats
    terms: Indices

    @classmethod
    def of(cls, X: Floats, medians: Floats | None, terms: Indices) -> Self:
        """Units by the labels' features `X`, (n_labels, n_given), which lack nothing where a term needs it."""
        with np.errstate(invalid="ignore"):
            largest = np.max(np.abs(np.nan_to_num(X)), axis=0)
        exponent = np.clip(np.frexp(largest)[1], -_MOST_EXPONENT, _MOST_EXPONENT)
        return cls(medians, np.ldexp(1.0, -exponent), terms)

    def only(self, columns: Indices) -> Columns:
        """These columns of them."""
        return Columns(self.medians, self.units, self.terms[columns])

    def transform(self, X: Floats, *, first_row: int = 0) -> Floats:
        """The columns, (n, n_columns). Only the features that a column needs are looked at, once they are checked.

        Raises
        ------
        ContractError
            If `X` has another number of features; or, unless missing values are filled in, a row that is not finite (it
            is named, counted from `first_row`).
        """
        checked = checked_features(
            X, n_features=len(self.units), may_lack=self.medians is not None, first_row=first_row
        )
        needed, factors = np.unique(self.terms, return_inverse=True)
        factors = factors.reshape(self.terms.shape) - int(bool(needed.size) and needed[0] == NO_FACTOR)
        needed = needed[needed != NO_FACTOR]
        values = checked[:, needed]
        if self.medians is not None:
            values = np.where(np.isnan(values), self.medians[needed], values)
        out: Floats = values[:, factors[:, 0]]
        n_factors = (self.terms != NO_FACTOR).sum(axis=1)
        for size in range(2, self.terms.shape[1] + 1):
            columns = np.flatnonzero(n_factors == size)
            if columns.size:
                with np.errstate(over="ignore"):
                    scaled = np.clip(values * self.units[needed], -LARGEST, LARGEST)
                out[:, columns] = _products(scaled, factors[columns, :size])
        return out

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """As `Portable`."""
        medians = np.empty(0) if self.medians is None else self.medians
        return {"medians": medians, "units": self.units, "terms": self.terms.astype(np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """As `Portable`."""
        medians = np.asarray(arrays["medians"], dtype=np.float64)
        units = np.asarray(arrays["units"], dtype=np.float64)
        return cls(medians if medians.size else None, units, np.asarray(arrays["terms"], dtype=np.intp))


def _products(scaled: Floats, factors: Indices) -> Floats:
    """(n, n_columns): for each row of `factors`, (n_columns, size), the product of these columns."""
    product: Floats = scaled[:, factors[:, 0]]
    for factor in factors.T[1:]:
        product *= scaled[:, factor]
    return np.clip(product, -LARGEST, LARGEST, out=product)
