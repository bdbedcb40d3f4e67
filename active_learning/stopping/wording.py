"""Numbers as the sentences of the stopping rules say them."""

from __future__ import annotations

from active_learning.domain.target import Goal, Target

__all__ = ["counted", "error_unit", "hours", "in_percent", "in_time", "last_rounds", "with_unit"]

_HOUR = 3600.0


def with_unit(value: float, unit: str) -> str:
    """A number with its unit, if it has one.

    >>> with_unit(-1.25, "eV/atom"), with_unit(0.5, "")
    ('-1.25 eV/atom', '0.5')
    """
    return f"{value:.6g} {unit}".rstrip()


def counted(n: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "round"), counted(3, "round")
    ('1 round', '3 rounds')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def last_rounds(n: int) -> str:
    """The newest rounds.

    >>> last_rounds(1), last_rounds(3)
    ('the last round', 'the last 3 rounds')
    """
    return "the last round" if n == 1 else f"the last {n} rounds"


def in_time(seconds: float) -> str:
    """A stretch of time in seconds, minutes or hours, with four digits.

    >>> in_time(34), in_time(90), in_time(720_000), in_time(4_500_000)
    ('34 s', '1.5 min', '200 h', '1,250 h')
    """
    unit, size = ("s", 1.0) if seconds < 60 else ("min", 60.0) if seconds < _HOUR else ("h", _HOUR)
    number = seconds / size
    return f"{number:.4g} {unit}" if number < 1000 else f"{number:,.0f} {unit}"


def hours(seconds: float) -> float:
    """Hours.

    >>> hours(5400)
    1.5
    """
    return seconds / _HOUR


def in_percent(share: float) -> str:
    """A share, with two digits.

    >>> in_percent(0.0512), in_percent(0.0)
    ('5.1 %', '0 %')
    """
    return f"{100 * share:.2g} %"


def error_unit(target: Target) -> str:
    """The unit of the errors in a `Progress`: the target's, and none for a share of wrong classes."""
    return "" if target.goal is Goal.CLASSIFY else target.unit
