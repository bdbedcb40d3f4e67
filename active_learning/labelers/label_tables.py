"""Tables of known values: read once, and looked up by formula, candidate id or origin."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from active_learning.domain.cells import is_missing, number_in, text_of
from active_learning.domain.formulas import composition_key, parse_formula
from active_learning.domain.hints import did_you_mean
from active_learning.domain.json_items import items_of
from active_learning.errors import UserError

__all__ = ["LabelTable", "Row", "read_table"]


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
            return number_in(self.text)
        except ValueError as error:
            raise UserError(f"row {self.number}: {error}") from error


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
    """The table in a CSV, JSON (a list of records; each also as .gz) or Parquet (.parquet, .pq) file.

    It is kept while the file does not change.

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
    frame = _frame(path, (key_column, value_column))
    for column, key in ((key_column, "key_column"), (value_column, "value")):
        if column not in frame.columns:
            hint = did_you_mean(column, frame.columns)
            raise UserError(
                f"{path} has no column {column!r}.{hint} It has: {', '.join(frame.columns)}."
                f" Name the right one: `{key}`."
            )
    rows: dict[str, list[Row]] = {}
    unreadable = []
    pairs = zip(frame[key_column].tolist(), frame[value_column].tolist(), strict=True)
    for number, (key, text) in enumerate(pairs, start=1):
        if is_missing(text):
            continue
        try:
            found = composition_key(parse_formula(key)) if by_formula else key.strip()
        except ValueError as error:
            unreadable.append(f"row {number}: {error}")
            continue
        rows.setdefault(found, []).append(Row(number, text))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LabelTable({key: tuple(found) for key, found in rows.items()}, len(frame), tuple(unreadable), digest)


def _frame(path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    """At least the wanted columns, all cells as text, so that sodium nitride (NaN) stays a formula."""
    name = path.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        if name.endswith((".parquet", ".pq")):
            names = pq.read_schema(path).names
            if not set(wanted) <= set(names):
                return pd.DataFrame(columns=names)
            frame = pd.read_parquet(path, columns=list(dict.fromkeys(wanted)))
            return frame.astype(object).where(frame.notna(), "").astype(str)
        if name.endswith((".json", ".json.gz")):
            with (
                gzip.open(path, "rt", encoding="utf-8") if name.endswith(".gz") else path.open(encoding="utf-8") as file
            ):
                return _records(file.read(), wanted)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError, pd.errors.ParserError) as error:
        raise UserError(f"cannot read the table {path}: {error}") from error
    raise UserError(
        f"a table of labels ends in .csv, .csv.gz, .parquet or .pq, or in .json or .json.gz; got {path.name!r}"
    )


def _records(text: str, wanted: Sequence[str]) -> pd.DataFrame:
    """The wanted columns of a JSON list of records; the names of all others, so that a hint can be given."""
    columns, kept, rows = dict[str, None](), list(dict.fromkeys(wanted)), []
    for number, record in items_of(text):
        if number == 0 or not isinstance(record, dict):
            raise ValueError('it is not a list of records, such as [{"formula": "AlCu", "hardness": 2.5}]')
        columns.update(dict.fromkeys(record))
        rows.append([text_of(record.get(column)) for column in kept])
    frame = pd.DataFrame(rows, columns=kept, dtype=object)
    return frame if columns.keys() >= set(wanted) else pd.DataFrame(columns=list(columns))
