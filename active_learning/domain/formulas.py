"""Chemical formulas as people write them in tables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from active_learning.domain.elements import ATOMIC_NUMBERS, fractions_of

__all__ = ["composition_key", "parse_formula"]

_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)?"
_TOKEN = re.compile(rf"(?:([A-Z][a-z]?){_NUMBER})|([(\[])|(?:([)\]]){_NUMBER})|\s+")


def parse_formula(text: str) -> dict[str, float]:
    """Amount of each element in a formula; brackets and fractional amounts are understood.

    >>> parse_formula("Ca(OH)2")
    {'Ca': 1.0, 'O': 2.0, 'H': 2.0}

    Raises
    ------
    ValueError
        If it is not a formula, or holds no atoms.
    """
    groups: list[dict[str, float]] = [{}]
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"{text!r} is not a formula: cannot read {text[position:]!r}")
        position = token.end()
        symbol, n_atoms, opening, closing, n_groups = token.groups()
        if symbol:
            if symbol not in ATOMIC_NUMBERS:
                raise ValueError(f"{text!r} is not a formula: no element {symbol}")
            _add(groups[-1], {symbol: 1.0}, n_atoms)
        elif opening:
            groups.append({})
        elif closing:
            if len(groups) == 1:
                raise ValueError(f"{text!r} is not a formula: a bracket is closed and was not opened")
            _add(groups[-2], groups.pop(), n_groups)
    if len(groups) > 1:
        raise ValueError(f"{text!r} is not a formula: a bracket stays open")
    amounts = {symbol: amount for symbol, amount in groups[0].items() if amount > 0}
    if not amounts:
        raise ValueError(f"{text!r} is not a formula: no atoms")
    return amounts


def _add(group: dict[str, float], part: Mapping[str, float], times: str | None) -> None:
    for symbol, amount in part.items():
        group[symbol] = group.get(symbol, 0.0) + amount * float(times or 1)


def composition_key(amounts: Mapping[str, float]) -> str:
    """Equal for equal compositions, however they are written: atomic fractions to four digits.

    >>> composition_key(parse_formula("Al2O3")) == composition_key({"O": 0.6, "Al": 0.4})
    True
    """
    return " ".join(f"{symbol}{fraction:.4f}" for symbol, fraction in fractions_of(amounts).items())
