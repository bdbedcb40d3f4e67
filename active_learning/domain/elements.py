"""Chemical symbols by atomic number, and formulas written one way."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd

__all__ = ["ATOMIC_NUMBERS", "SYMBOLS", "fractions_of", "reduced_formula"]

# fmt: off
SYMBOLS: tuple[str, ...] = (
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca",
    "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",
    "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce",
    "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir",
    "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm",
    "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc",
    "Lv", "Ts", "Og",
)
# fmt: on
ATOMIC_NUMBERS: Mapping[str, int] = {symbol: z for z, symbol in enumerate(SYMBOLS, start=1)}


def fractions_of(amounts: Mapping[str, float]) -> dict[str, float]:
    """Atomic fractions, in the order of the symbols' names; they sum to 1."""
    total = sum(amounts.values())
    return {symbol: amounts[symbol] / total for symbol in sorted(amounts)}


def reduced_formula(amounts: Mapping[str, float]) -> str:
    """Formula with elements in alphabetical order and, where amounts are whole, reduced by their common divisor.

    >>> reduced_formula({"Cu": 6.0, "Al": 2.0})
    'AlCu3'
    >>> reduced_formula({"Fe": 0.5, "Al": 0.5})
    'Al0.5Fe0.5'
    """
    if all(float(amount).is_integer() for amount in amounts.values()):
        divisor = gcd(*(int(amount) for amount in amounts.values()))
        amounts = {symbol: amount / divisor for symbol, amount in amounts.items()}
    return "".join(f"{s}{'' if amounts[s] == 1 else format(amounts[s], '.6g')}" for s in sorted(amounts))
