"""The table of what people are asked for: rows come and go, and what people wrote into it stays."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from active_learning.errors import BackendError

__all__ = ["COLUMNS", "PeopleTable"]

COLUMNS = ("candidate", "formula", "structure", "value", "unit", "std")
_NAME = "to_label.csv"


@dataclass(frozen=True)
class _Content:
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class PeopleTable:
    """`to_label.csv` in a folder. Columns that people add, the order of their rows and their values are kept.

    Every change is whole or not at all (a new file takes the place of the old), and processes change it one after the
    other. Methods raise BackendError if the table is not as it was, in a way that only people can repair.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder / _NAME

    def add(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Append the rows whose candidates are not there. Where none is missing, the file is not touched.

        A row that is there and has no value yet learns where its structure is now.
        """
        with self._alone():
            old = self._read()
            new = {row["candidate"]: row for row in rows}
            kept = [_placed(row, new.get(row["candidate"])) for row in old.rows]
            known = {row["candidate"] for row in kept}
            self._write(old, [*kept, *(dict(row) for name, row in new.items() if name not in known)])

    def remove(self, candidates: Set[str]) -> None:
        """Drop the rows of these candidates."""
        with self._alone():
            old = self._read()
            self._write(old, [row for row in old.rows if row["candidate"] not in candidates])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            handle = os.open(self.folder / f".{_NAME}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise BackendError(f"nothing can be written in {self.folder}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise BackendError(f"{self.path} cannot be read or written: {error.strerror}") from error
        finally:
            os.close(handle)

    def _read(self) -> _Content:
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            return _Content(COLUMNS, ())
        except UnicodeDecodeError as error:
            raise BackendError(f"{self.path} is not UTF-8 text any more ({error}); {_REMEDY}") from error
        try:
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            rows = [row for row in reader if any(row.values())]
            columns = tuple(reader.fieldnames or COLUMNS)
        except csv.Error as error:
            raise BackendError(f"{self.path} is not a table any more: {error}; {_REMEDY}") from error
        if missing := [name for name in COLUMNS if name not in columns]:
            raise BackendError(f"{self.path} has lost its columns {', '.join(missing)}; {_REMEDY}")
        if long := next((row for row in rows if None in row), None):
            raise BackendError(f"{self.path} has more cells than columns in the row of {long['candidate']}; {_REMEDY}")
        return _Content(columns, tuple({name: row[name] or "" for name in columns} for row in rows))

    def _write(self, old: _Content, rows: Sequence[Mapping[str, str]]) -> None:
        if list(rows) == list(old.rows) and self.path.exists():
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, old.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o600
        temporary = self.folder / f".{_NAME}.new"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


_REMEDY = "repair it, or move it away: a new one is written, without the values that you have not told"


def _placed(row: dict[str, str], asked: Mapping[str, str] | None) -> dict[str, str]:
    if asked is None or row["value"]:
        return row
    return row | {"structure": asked["structure"]}
