"""The base of every plug-in's options: what may stand in its table of the campaign file."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationInfo

__all__ = ["Duration", "FilePath", "Megabytes", "Options", "parse_duration", "parse_megabytes", "tables_with_kind"]


class Options(BaseModel):
    """Frozen; an unknown key is an error. Subclass it and declare the keys as fields with a description each."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _beside_the_campaign_file(value: Any, info: ValidationInfo) -> Any:
    """Paths in a campaign file are relative to the file, not to where the command was typed."""
    base = (info.context or {}).get("base")
    return Path(base, value) if base is not None and isinstance(value, str | Path) else value


FilePath = Annotated[Path, BeforeValidator(_beside_the_campaign_file)]
"""A path in a campaign file, relative to the file."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(s|secs?|m|mins?|h|d|days?)\s*", re.IGNORECASE)


def parse_duration(value: Any) -> float:
    """Seconds, from a number of seconds or a text such as "10 min", "1.5 h", "2 days".

    >>> parse_duration("10 min")
    600.0
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        unit = _UNITS.get(match[2][0].lower()) if match else None
        if not match or unit is None:
            raise ValueError(f"{value!r} is not a duration; write it as '30 s', '10 min', '2 h' or '1 day'")
        value = float(match[1]) * unit
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} is not a duration; write it as '30 s', '10 min', '2 h' or '1 day'")
    return float(value)


Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(float)]
"""Seconds; in the file also '30 s', '10 min', '2 h', '1 day'."""


_BYTES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?i?)b\s*", re.IGNORECASE)


def parse_megabytes(value: Any) -> int:
    """Units of 10^6 bytes, rounded up, from a text such as "500 MB", "4 GB" or "4 GiB".

    >>> parse_megabytes("4 GB"), parse_megabytes("1 GiB")
    (4000, 1074)
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    factor = _BYTES.get(match[2].lower()) if match else None
    if match is None or factor is None or (size := float(match[1]) * factor / 1e6) <= 0:
        raise ValueError(f"{value!r} is not an amount of memory; write it as '500 MB', '4 GB' or '4 GiB'")
    return math.ceil(size)


Megabytes = Annotated[int, BeforeValidator(parse_megabytes)]
"""10^6 bytes; in the file also '500 MB', '4 GB', '4 GiB'."""


def tables_with_kind(tables: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """The tables of the plug-ins that a plug-in is made of, each with its `kind`.

    >>> tables_with_kind(({"kind": "top"}, {"n": 3}))
    Traceback (most recent call last):
    ...
    ValueError: table 2 of 2 has no 'kind', which names a plug-in; it has: n
    """
    for number, table in enumerate(tables, start=1):
        if not isinstance(table.get("kind"), str):
            keys = ", ".join(table) or "nothing"
            raise ValueError(f"table {number} of {len(tables)} has no 'kind', which names a plug-in; it has: {keys}")
    return tables
