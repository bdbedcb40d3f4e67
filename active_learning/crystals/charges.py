"""Which compositions can be charge neutral: known oxidation states that sum to zero, by smact's tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from smact import Element
from smact.screening import MIXED_VALENCE_ELEMENTS
from smact.utils.oxidation import ICSD24OxStatesFilter

from active_learning.crystals.sizes import METALS
from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.errors import ContractError

__all__ = ["MIXED_VALENCE", "is_charge_neutral", "oxidation_states_of", "whole_amounts"]

MIXED_VALENCE: frozenset[str] = frozenset(MIXED_VALENCE_ELEMENTS) | {"Pb", "Pr", "Tb"}
"""Elements whose atoms may have different states in one compound: smact's list, and lead, praseodymium and terbium
(Pb3O4, Pr6O11, Tb4O7 are common oxides that it leaves out)."""

_ALLOYING = METALS | {"Ge", "Sb", "Po"}
"""smact's metals: germanides and antimonides count as alloys."""
_MOST_ATOMS = 1000
"""Most atoms in a formula that fractional amounts are read as."""
_SLACK = 0.002
"""How far an amount in such a formula may be from a whole number, atoms: 0.333 and 0.667 are one and two thirds."""


@cache
def _table() -> Mapping[str, tuple[int, ...]]:
    rows = ICSD24OxStatesFilter().filter(consensus=3, include_zero=False, commonality="low")
    states = zip(rows["element"], rows["oxidation_state"], strict=True)
    return MappingProxyType({str(symbol): tuple(int(s) for s in str(text).split()) for symbol, text in states})


def oxidation_states_of(symbol: str) -> tuple[int, ...]:
    """Oxidation states an element is known in, ascending, without zero; empty if in none.

    Those that were reported at least three times in the Inorganic Crystal Structure Database of 2024 (smact's own
    default): common ones and rare ones, ``(-1, 1)`` for hydrogen and ``(-4, 1, 2, 3, 4, 5, 6)`` for iron.
    """
    return _table().get(symbol, ())


def whole_amounts(amounts: Mapping[str, float]) -> dict[str, int] | None:
    """The same composition in whole atoms without a common divisor, or None if there is no such formula.

    Whole amounts are divided by their common divisor. Fractional ones are read as the smallest formula of at most
    1,000 atoms in which no amount is more than 0.002 from a whole number: Al0.25Fe0.75 is AlFe3, La0.67Sr0.33MnO3 is
    La67Sr33Mn100O300.

    >>> whole_amounts({"Al": 0.25, "Fe": 0.75})
    {'Al': 1, 'Fe': 3}
    >>> whole_amounts({"Al": 0.9999, "Fe": 0.0001}) is None
    True

    Raises
    ------
    ContractError
        If an amount is not positive and finite, or a symbol is no element.
    """
    _check(amounts)
    values = np.array(list(amounts.values()), dtype=float)
    rounded = np.rint(values)
    if np.any(rounded != values):
        fractions = values / values.sum()
        formulas = np.arange(1, _MOST_ATOMS + 1)[:, None] * fractions
        rounded_formulas = np.rint(formulas)
        near = (np.abs(formulas - rounded_formulas) <= _SLACK).all(axis=1) & (rounded_formulas >= 1).all(axis=1)
        if not near.any():
            return None
        rounded = rounded_formulas[int(np.argmax(near))]
    counts = [int(n) for n in rounded]
    divisor = math.gcd(*counts)
    return {symbol: n // divisor for symbol, n in zip(amounts, counts, strict=True)}


def _check(amounts: Mapping[str, float]) -> None:
    unknown = sorted(symbol for symbol in amounts if symbol not in ATOMIC_NUMBERS)
    if unknown:
        raise ContractError(f"no such element: {', '.join(unknown)}")
    if not amounts or not all(0.0 < amount < math.inf for amount in amounts.values()):
        raise ContractError(f"a composition needs positive, finite amounts, got {dict(amounts)}")


def is_charge_neutral(amounts: Mapping[str, float], *, alloys: bool = True) -> bool:
    """Whether oxidation states that the elements are known in can sum to zero.

    As smact's validity: each element takes one of its states (`oxidation_states_of`), and all cations are less
    electronegative (Pauling) than all anions. Atoms of an element of `MIXED_VALENCE` may take different states of one
    sign (Fe3O4). Elements by themselves and alloys (of metals, Ge, Sb and Po) have no charges to balance: they are
    neutral if `alloys` is true.

    The tables hold what was reported, rare states too, so this is a coarse net: of 2,135 compounds with a measured
    formation enthalpy it takes 97 %, of the 1,131 among them with a nonmetal 94 %. What it loses are
    silicides and borides of metals (NiSi, Y5Si3, UB12), and superoxides (KO2).

    Parameters
    ----------
    amounts : element -> positive amount
        Whole, or fractional amounts that a formula of at most 1,000 atoms has (`whole_amounts`); others are not
        neutral.
    alloys : whether elements and alloys pass
        Without it they need states that sum to zero, like everything else: elements never have them, Mg2Sn does.

    Raises
    ------
    ContractError
        If an amount is not positive and finite, or a symbol is no element.

    References
    ----------
    Davies et al. (2016), doi:10.1016/j.chempr.2016.09.010: charge neutrality and electronegativity balance.
    Davies et al. (2019), doi:10.21105/joss.01361: smact.
    """
    if alloys and (len(amounts) == 1 or _ALLOYING.issuperset(amounts)):
        _check(amounts)
        return True
    whole = whole_amounts(amounts)
    return whole is not None and _balances(tuple(sorted(whole.items())))


@lru_cache(maxsize=65_536)
def _balances(formula: tuple[tuple[str, int], ...]) -> bool:
    if not all(oxidation_states_of(symbol) for symbol, _ in formula):
        return False
    ordered = sorted((_electronegativity(symbol), symbol, n) for symbol, n in formula)
    splits = [i for i, (low, high) in enumerate(pairwise(ordered), start=1) if low[0] < high[0]]
    return any(
        _sums((symbol, n, +1) for _, symbol, n in ordered[:i]) & _sums((symbol, n, -1) for _, symbol, n in ordered[i:])
        for i in splits
    )


@cache
def _electronegativity(symbol: str) -> float:
    """On Pauling's scale. Promethium's, which smact lacks, is pymatgen's."""
    return 1.13 if symbol == "Pm" else float(Element(symbol).pauling_eneg)


def _sums(ions: Iterable[tuple[str, int, int]]) -> int:
    """Charges, without their sign, that these ions can have together: bit k of the result is set if k can be."""
    total = 1
    for symbol, n, sign in ions:
        sizes = [sign * state for state in oxidation_states_of(symbol) if sign * state > 0]
        if symbol in MIXED_VALENCE:
            for _ in range(n):
                total = _shifted(total, sizes)
        else:
            total = _shifted(total, [n * size for size in sizes])
    return total


def _shifted(bits: int, sizes: list[int]) -> int:
    result = 0
    for size in sizes:
        result |= bits << size
    return result
