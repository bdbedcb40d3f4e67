"""Tables of known values: read once, and looked up by formula, candidate id or origin."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from active_learning.errors import UserError
from active_learning.labelers.formulas import composition_key, parse_formula
from active_learning.labelers.results import did_you_mean

__all__ = ["LabelTable", "Row", "read_table"]

_MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "-"})


@dataclass(frozen=True)
class Row:
    """One value: the row's number (from 1, without the header) and the text that stands there."""

    number: int
    text: str

    @property
    def value(self) -> float:
        """The number.

        Raises
        ------
        UserError
            If the text is not a finite number.
        """
        try:
            value = float(self.text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"row {self.number}: {self.text!r} is not a finite number")
        return value


@dataclass(frozen=True)
class LabelTable:
    """A table's values by key.

    Parameters
    ----------
    rows : key -> the rows that hold a value for it, in the table's order
    n_rows : all rows
    unreadable : what was wrong with each row whose formula cannot be read
    sha256 : of the file
    """

    rows: Mapping[str, tuple[Row, ...]]
    n_rows: int
    unreadable: tuple[str, ...]
    sha256: str


def read_table(path: Path, key_column: str, value_column: str, *, by_formula: bool) -> LabelTable:
    """The table in a CSV (.csv, .csv.gz) or Parquet (.parquet, .pq) file; kept while the file does not change.

    Raises
    ------
    UserError
        If the file cannot be read or lacks a column.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise UserError(f"cannot read the table {path}: {error.strerror}") from error
    return _read(path, key_column, value_column, by_formula, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, key_column: str, value_column: str, by_formula: bool, _mtime_ns: int, _size: int) -> LabelTable:
    frame = _frame(path)
    for column in (key_column, value_column):
        if column not in frame.columns:
            hint = did_you_mean(column, frame.columns)
            raise UserError(f"{path} has no column {column!r}.{hint} It has: {', '.join(frame.columns)}.")
    rows: dict[str, list[Row]] = {}
    unreadable = []
    pairs = zip(frame[key_column].tolist(), frame[value_column].tolist(), strict=True)
    for number, (key, text) in enumerate(pairs, start=1):
        if text.strip().lower() in _MISSING:
            continue
        try:
            found = composition_key(parse_formula(key)) if by_formula else key.strip()
        except ValueError as error:
            unreadable.append(f"row {number}: {error}")
            continue
        rows.setdefault(found, []).append(Row(number, text))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LabelTable({key: tuple(found) for key, found in rows.items()}, len(frame), tuple(unreadable), digest)


def _frame(path: Path) -> pd.DataFrame:
    """All cells as text, so that sodium nitride (NaN) stays a formula."""
    name = path.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        if name.endswith((".parquet", ".pq")):
            frame = pd.read_parquet(path)
            return frame.astype(object).where(frame.notna(), "").astype(str)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"cannot read the table {path}: {error}") from error
    raise UserError(f"a table of labels ends in .csv, .csv.gz, .parquet or .pq, got {path.name!r}")
