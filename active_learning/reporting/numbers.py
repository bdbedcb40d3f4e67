"""Numbers, times and formulas as people write them."""

from __future__ import annotations

import math
import re

from active_learning.domain.secrets import without_secrets_in

__all__ = [
    "brief",
    "duration",
    "formula_parts",
    "one_line",
    "percent",
    "plain",
    "property_title",
    "short_name",
    "shortened",
    "unit_text",
    "with_error",
    "z_text",
]

_FORMULA = re.compile(r"(?:[A-Z][a-z]?(?:\d+(?:\.\d+)?)?)+")
_FORMULA_PART = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")


def plain(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits; a dash for None.

    >>> plain(-0.0123456), plain(1234.5678), plain(None)
    ('-0.01235', '1235', '–')
    """
    if value is None:
        return "–"
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(decimals, 0)}f}"


def with_error(value: float | None, std: float | None) -> str:
    """A value and its std to two digits of the std; the value alone if the std is None or zero.

    >>> with_error(-0.31234, 0.0456), with_error(1.5, None)
    ('-0.312 ± 0.046', '1.500')
    """
    if value is None or not std or not 1e-6 <= std < 1e6:
        return plain(value)
    decimals = max(0, 1 - math.floor(math.log10(std)))
    return f"{value:.{decimals}f} ± {std:.{decimals}f}"


def z_text(z: float | None) -> str:
    """A standardized error to one decimal; a dash for None.

    >>> z_text(-1.26), z_text(-0.01), z_text(None)
    ('-1.3', '0.0', '–')
    """
    return "–" if z is None else f"{round(z, 1) + 0.0:.1f}"


def duration(seconds: float | None) -> str:
    """A stretch of time in its natural unit.

    >>> duration(0.34), duration(75.2), duration(7322), duration(200_000)
    ('0.3 s', '1 min 15 s', '2 h 2 min', '2 d 7 h')
    """
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def formula_parts(formula: str) -> list[tuple[str, str]]:
    """Pairs of text and subscript, to set a formula; what is not a formula is one text.

    >>> formula_parts("Al2Cu")
    [('Al', '2'), ('Cu', '')]
    >>> formula_parts("<b>")
    [('<b>', '')]
    """
    if not _FORMULA.fullmatch(formula):
        return [(formula, "")]
    return [(symbol, amount or "") for symbol, amount in _FORMULA_PART.findall(formula)]


def property_title(name: str, unit: str) -> str:
    """The name of a property for an axis, with its unit; both cut to a length that leaves room for the plot.

    >>> property_title("band_gap", "eV")
    'band gap (eV)'
    """
    name, unit = one_line(name.replace("_", " ")), unit_text(unit)
    return f"{shortened(name, 28)} ({unit})" if unit else shortened(name, 44)


def one_line(text: str) -> str:
    """Any white space as one blank.

    >>> one_line(" a\\n b")
    'a b'
    """
    return " ".join(text.split())


def unit_text(unit: str) -> str:
    """A unit on one line, cut to a length that leaves room for the plot."""
    return shortened(one_line(unit), 14)


def shortened(text: str, length: int) -> str:
    """Each line of a text cut to `length` signs.

    >>> shortened("a long name", 6)
    'a lon…'
    """
    return "\n".join(line if len(line) <= length else f"{line[: length - 1]}…" for line in text.split("\n"))


def brief(text: str, length: int = 300) -> str:
    """A text of the user with room for all that is meant to be read, and for no book; without passwords.

    >>> brief("a" * 400)[-3:], brief("a b")
    ('aa…', 'a b')
    """
    # Before it is cut: half of an address would not be known for one.
    text = without_secrets_in(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def percent(share: float) -> str:
    """A share of one in whole percent.

    >>> percent(0.254)
    '25 %'
    """
    return f"{100 * share:.0f} %"


def short_name(name: str, length: int) -> str:
    """A feature's name that has room; of a product the ends of the factors, which differ where their beginnings do not.

    >>> short_name("MagpieData mean CovalentRadius * MagpieData range Column", 42)
    'mean CovalentRadius * range Column'
    """
    name = one_line(name)
    if len(name) <= length:
        return name
    # Matminer's own word, the same in all its names.
    factors = name.replace("MagpieData ", "").split(" * ")
    if len(factors) == 1:
        return shortened(factors[0], length)
    each = max(6, (length - 3 * (len(factors) - 1)) // len(factors))
    if sum(map(len, factors)) + 3 * (len(factors) - 1) <= length:
        return " * ".join(factors)
    return " * ".join(factor if len(factor) <= each else f"…{factor[1 - each :].lstrip()}" for factor in factors)
