"""What is stored beside what was computed again: equal, equal but for the last digits, or different."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import datetime
from typing import Any

__all__ = ["CLOSE", "Comparison", "Difference", "plain"]

CLOSE = 1e-6
"""Numbers nearer than this part of themselves count as the same: another machine's libraries add in another order."""
_ZERO = 1e-12
"""Of numbers that should be zero: rounding leaves no more, in any unit near one."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it is stored; the values are JSON values, None where there is nothing."""

    what: str
    stored: Any
    computed: Any

    def __str__(self) -> str:
        return f"{self.what}: stored {_short(self.stored)}, computed {_short(self.computed)}"


_LONGEST = 160


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def plain(value: Any) -> Any:
    """A value of the domain as a JSON value."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return str(value)  # of an enumeration, its value
    return value


@dataclass
class Comparison:
    """Differences, as they are found.

    Parameters
    ----------
    is_exact : every digit counts: what is compared was copied, not computed
    rounding : the largest difference that was taken for rounding, as a part of the number
    """

    is_exact: bool = False
    differences: list[Difference] = field(default_factory=list)
    rounding: float = 0.0

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def add(self, what: str, stored: Any, computed: Any) -> None:
        """Compare two values. Of a nested value the first place that differs is named, and how many more there are."""
        places = list(self._places("", plain(stored), plain(computed)))
        if not places:
            return
        where, one, other = places[0]
        more = f" (and {len(places) - 1} more places)" if len(places) > 1 else ""
        self.differences.append(Difference(f"{what}{where}{more}", one, other))

    def _places(self, where: str, stored: Any, computed: Any) -> list[tuple[str, Any, Any]]:
        if isinstance(stored, dict) and isinstance(computed, dict):
            keys = [*stored, *(key for key in computed if key not in stored)]
            pairs = [(f"{where}.{key}", stored.get(key), computed.get(key)) for key in keys]
        elif isinstance(stored, list) and isinstance(computed, list) and len(stored) == len(computed):
            pairs = [(f"{where}[{n}]", *pair) for n, pair in enumerate(zip(stored, computed, strict=True))]
        else:
            return [] if self._is_same(stored, computed) else [(where, stored, computed)]
        return [place for name, one, other in pairs for place in self._places(name, one, other)]

    def _is_same(self, stored: Any, computed: Any) -> bool:
        if stored == computed:
            return True
        if self.is_exact or not (_is_number(stored) and _is_number(computed)):
            return False
        if math.isnan(stored) and math.isnan(computed):
            return True
        if not math.isclose(stored, computed, rel_tol=CLOSE, abs_tol=_ZERO):
            return False
        self.rounding = max(self.rounding, abs(stored - computed) / max(abs(stored), abs(computed)))
        return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
