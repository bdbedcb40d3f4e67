"""The true values of a backtest: a table, read as the labeler `table` reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal

from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.formulas import composition_key
from active_learning.domain.protocols import Pool
from active_learning.errors import UserError
from active_learning.labelers.label_tables import LabelTable, read_table

__all__ = ["KnownPool", "ValueTable"]

Key = Literal["formula", "id", "origin"]


@dataclass(frozen=True)
class ValueTable:
    """A table of values. The options are those of the labeler `table`.

    Parameters
    ----------
    value : column of the values
    key : what of a candidate is looked up
    key_column : the column to look it up in; without it, the column named as the key
    duplicates : whether a candidate with different values is left out, or has their median
    """

    path: Path
    value: str
    key: Key = "formula"
    key_column: str | None = None
    duplicates: Literal["refuse", "median"] = "refuse"

    @cached_property
    def table(self) -> LabelTable:
        """The table.

        Raises
        ------
        UserError
            If it cannot be read, lacks a column, or a value is no finite number.
        """
        column = self.key_column or self.key
        table = read_table(self.path, column, self.value, by_formula=self.key == "formula")
        for row in (row for rows in table.rows.values() for row in rows):
            try:
                row.value  # noqa: B018 - raises
            except UserError as error:
                raise UserError(f"{self.path}, column {self.value!r}: {error}") from error
        return table

    def key_of(self, candidate: Candidate) -> str:
        """What is looked up."""
        if self.key == "formula":
            return composition_key(candidate.amounts)
        return candidate.id if self.key == "id" else candidate.origin.strip()

    def values_of(self, candidate: Candidate) -> tuple[float, ...]:
        """The distinct values of a candidate, ascending."""
        return tuple(sorted({row.value for row in self.table.rows.get(self.key_of(candidate), ())}))

    def value_of(self, candidate: Candidate) -> float | None:
        """The value of a candidate; None if there is none, or none of several is taken."""
        rows = self.table.rows.get(self.key_of(candidate), ())
        values = [row.value for row in rows]
        if not values or (len(set(values)) > 1 and self.duplicates == "refuse"):
            return None
        return float(median(values))

    def to_json(self) -> dict[str, Any]:
        """What the values depend on, as a JSON value."""
        return {
            "sha256": self.table.sha256,
            "value": self.value,
            "key": self.key,
            "key_column": self.key_column or self.key,
            "duplicates": self.duplicates,
        }


@dataclass
class KnownPool:
    """A pool of which only candidates with a known value are taken. The labels that it brings along are not."""

    pool: Pool
    table: ValueTable
    left_out: Counter[str] = field(default_factory=Counter)

    def read(self) -> Iterator[Candidate | Dropped]:
        """The candidates with a value.

        Raises
        ------
        UserError
            If no candidate has one.
        """
        example, n_taken = None, 0
        for item in self.pool.read():
            if isinstance(item, Dropped):
                yield item
            elif self.table.value_of(item) is not None:
                n_taken += 1
                yield item
            else:
                example = example or item
                reason = "different values" if self.table.values_of(item) else "no value"
                self.left_out[reason] += 1
                yield Dropped(item.origin, f"{reason} in the table")
        if not n_taken:
            raise UserError(self._no_overlap(example))

    def _no_overlap(self, example: Candidate | None) -> str:
        table = self.table.table
        if example is None:
            return "The pool is empty."
        mine = {"formula": example.formula, "id": example.id, "origin": example.origin}[self.table.key]
        theirs = next(iter(table.rows), None)
        column = self.table.key_column or self.table.key
        text = (
            f"No candidate of the pool ({self.left_out.total():,}) has one value in {self.table.path}. They are looked"
            f" up by their {self.table.key}, for example {mine!r}, in column {column!r}"
        )
        text += f", where for example {theirs!r} stands" if theirs else ", where no row has a value beside it"
        if self.left_out["different values"]:
            text += f"; {self.left_out['different values']:,} have different values"
        return text + "."
