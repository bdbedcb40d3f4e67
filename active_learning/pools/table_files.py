"""Rows of CSV, Parquet and JSON tables, a few at a time, of the columns that are asked for only."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from active_learning.domain.hints import did_you_mean
from active_learning.domain.json_items import items_of
from active_learning.errors import UserError
from active_learning.pools.parts import READ_ERRORS, file_part, why_not

__all__ = ["TableFile"]

Cells = tuple[Any, ...]
Rows = Iterator[tuple[int, Cells | str]]

_LARGEST_CELL = 1 << 27
"""Characters; a crystal of thousands of atoms as text is far above Python's limit for a cell of a CSV file."""
_BATCH = 2_048


class TableFile:
    """A table on disk: CSV (.csv), JSON (.json: a list of records), each also packed (.gz), or Parquet (.parquet, .pq).

    Raises
    ------
    UserError
        By all methods, if the file is missing, of another kind, or broken as a whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def sha256(self) -> str:
        """Of the file as it is stored."""
        with self._whole(), self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def check_columns(self, wanted: Sequence[str], advice: str = "") -> None:
        """Raise UserError, which ends with the advice, if the table lacks one of these columns, or has it twice."""
        there = self._columns(wanted)
        if not there:
            raise UserError(f"{self.path} is empty")
        for column in wanted:
            if column not in there:
                hint = did_you_mean(column, there)
                raise UserError(f"{self.path} has no column {column!r}.{hint} It has: {', '.join(there)}.{advice}")
            if there.count(column) > 1:
                raise UserError(f"{self.path} has {there.count(column)} columns named {column!r}; rename all but one")

    def rows(self, columns: Sequence[str]) -> Rows:
        """Number of each row (from 1, without the header), and its cells in these columns, or why it has none.

        Cells of a CSV are text; those of JSON and Parquet have their types, and None where there is nothing.
        """
        read = self._by_kind(_csv_rows, _parquet_rows, _json_rows)
        with self._whole():
            yield from read(self.path, columns)

    def _columns(self, wanted: Sequence[str]) -> list[str]:
        with self._whole():
            found: list[str] = self._by_kind(_csv_columns, _parquet_columns, _json_columns)(self.path, wanted)
            return found

    def _by_kind(self, of_csv: Callable[..., Any], of_parquet: Callable[..., Any], of_json: Callable[..., Any]) -> Any:
        name = self.path.name.lower()
        if name.endswith((".parquet", ".pq")):
            return of_parquet
        match name.removesuffix(".gz").rpartition(".")[2]:
            case "csv":
                return of_csv
            case "json":
                return of_json
        raise UserError(f"a table ends in .csv, .csv.gz, .json, .json.gz, .parquet or .pq; got {self.path.name!r}")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Faults that cost the whole file, as the user's."""
        try:
            yield
        except (*READ_ERRORS, pa.ArrowException) as error:
            raise UserError(f"cannot read the table {self.path}: {why_not(error)}") from error


def _csv_columns(path: Path, _wanted: Sequence[str]) -> list[str]:
    with file_part(path, path.name).text(newline="") as file:
        try:
            return next(csv.reader(file, strict=True), [])
        except csv.Error as error:
            raise UserError(f"cannot read the table {path}: its first line is broken: {error}") from error


def _csv_rows(path: Path, columns: Sequence[str]) -> Rows:
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_CELL))
    with file_part(path, path.name).text(newline="") as file:
        lines = csv.reader(file, strict=True)
        header = next(lines)
        places = [header.index(column) for column in columns]
        number = 0
        while True:
            try:
                row = next(lines, None)
            except csv.Error as error:
                number += 1
                yield number, f"broken row: {error}"
                continue
            if row is None:
                return
            # Blank lines are no rows, as everywhere else.
            if row:
                number += 1
                yield number, _picked(row, places, len(header))


def _picked(row: list[str], places: Sequence[int], n_columns: int) -> Cells | str:
    if len(row) != n_columns:
        return f"broken row: {len(row)} cells, and the table has {n_columns} columns"
    return tuple([row[place] for place in places])


def _parquet_columns(path: Path, _wanted: Sequence[str]) -> list[str]:
    with path.open("rb") as file:
        return list(pq.read_schema(file).names)


def _parquet_rows(path: Path, columns: Sequence[str]) -> Rows:
    number = 0
    with path.open("rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(_BATCH, columns=list(dict.fromkeys(columns))):
            for cells in zip(*(batch.column(column).to_pylist() for column in columns), strict=True):
                number += 1
                yield number, cells


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    with file_part(path, path.name).text() as file:
        text = file.read()
    try:
        for number, record in items_of(text):
            if number == 0:
                raise UserError(f'{path} holds no list of records, such as [{{"formula": "AlCu"}}]')
            yield number, record
    except (ValueError, RecursionError) as error:
        raise UserError(f"cannot read the table {path}: {error}") from error


def _json_columns(path: Path, wanted: Sequence[str]) -> list[str]:
    """Keys of the records, until all that are wanted were seen."""
    seen: dict[str, None] = {}
    for _, record in _records(path):
        if isinstance(record, dict):
            seen.update(dict.fromkeys(record))
        if seen.keys() >= set(wanted):
            break
    return list(seen)


def _json_rows(path: Path, columns: Sequence[str]) -> Rows:
    for number, record in _records(path):
        if isinstance(record, dict):
            yield number, tuple([record.get(column) for column in columns])
        else:
            yield number, "broken row: not a record of keys and values"
