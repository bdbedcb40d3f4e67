"""Labels that are known already: looked up in a table. For backtests, for measured values, and to try a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import Field

from active_learning.domain import options
from active_learning.domain.candidate import Candidate
from active_learning.domain.formulas import composition_key
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, Measurement
from active_learning.errors import UserError
from active_learning.labelers.label_tables import LabelTable, Row, read_table
from active_learning.labelers.results import measurement_from, read_result

__all__ = ["Table"]


class Table:
    """Label candidates from a CSV, JSON or Parquet file.

    Parameters
    ----------
    options
    wanted : the property whose value the table holds; without it, the name of the column `value`
    """

    class Options(options.Options):
        """Keys of ``[labeler]`` with ``kind = "table"``."""

        path: options.FilePath = Field(
            description="The table: .csv, .json (a list of records), each also as .gz; .parquet or .pq."
        )
        value: str | None = Field(
            None, min_length=1, description="Column of the values; without it, the column named as the property."
        )
        key: Literal["formula", "id", "origin"] = Field(
            "formula", description="What of a candidate is looked up: composition, id, or where it came from."
        )
        key_column: str | None = Field(
            None, min_length=1, description="Column to look it up in; without it, the column named as the key."
        )
        duplicates: Literal["refuse", "median"] = Field(
            "refuse", description="Different values for one key: refuse the candidate, or take their median."
        )
        unit: str = Field("", description="Unit of the values.")
        fidelity: str = Field("table", min_length=1, description="Name of the level of theory, or 'experiment'.")

    def __init__(self, options: Options, *, wanted: str | None = None) -> None:
        self.options = options
        self.wanted = wanted or options.value

    @property
    def units(self) -> Mapping[str, str]:
        """The one property that the table gives, with its unit; empty until it is known which."""
        return {self.wanted: self.options.unit} if self.wanted else {}

    def for_property(self, name: str) -> Table:
        """The same table as the source of the property `name`.

        Raises
        ------
        UserError
            If the table cannot be read, or has no column for it.
        """
        table = Table(self.options, wanted=name)
        table._table()
        return table

    def prepare(self, candidate: Candidate) -> JobSpec:
        """The job that hands on the candidate's value.

        Raises
        ------
        UserError
            If the table cannot be read, does not hold the candidate, or holds different values for it.
        """
        if not self.wanted:
            raise UserError("labeler 'table' does not know which property it gives: name the column with `value`")
        table = self._table()
        rows = table.rows.get(self._key(candidate), ())
        if not rows:
            raise UserError(self._not_there(candidate, table))
        inputs = {
            "property": self.wanted,
            "value": self._value(candidate, rows),
            "table": self.options.path.name,
            "sha256": table.sha256,
            "column": self._value_column,
            "rows": [row.number for row in rows],
        }
        return JobSpec("active_learning.labelers.table_job:run", inputs)

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """The value that the job handed on, or why there is none."""
        result = read_result(job_dir)
        if isinstance(result, Failure):
            return result
        return measurement_from(result, self.wanted or "property", self.units, self.options.fidelity)

    @property
    def _key_column(self) -> str:
        return self.options.key_column or self.options.key

    @property
    def _value_column(self) -> str:
        return self.options.value or self.wanted or ""

    def _table(self) -> LabelTable:
        is_formula = self.options.key == "formula"
        return read_table(self.options.path, self._key_column, self._value_column, by_formula=is_formula)

    def _key(self, candidate: Candidate) -> str:
        if self.options.key == "formula":
            return composition_key(candidate.amounts)
        return candidate.id if self.options.key == "id" else candidate.origin.strip()

    def _value(self, candidate: Candidate, rows: tuple[Row, ...]) -> float:
        values = [row.value for row in rows]
        if len(set(values)) > 1 and self.options.duplicates == "refuse":
            raise UserError(
                f"{self.options.path.name} has {len(set(values))} different values for {candidate.formula} (rows "
                f'{", ".join(str(row.number) for row in rows)}); to take their median, say duplicates = "median"'
            )
        return median(values)

    def _not_there(self, candidate: Candidate, table: LabelTable) -> str:
        text = (
            f"{candidate.formula} is not in {self.options.path.name}: no row of {table.n_rows} has its "
            f"{self.options.key} in column {self._key_column!r} and a value in {self._value_column!r}"
        )
        if table.unreadable:
            text += f"; {len(table.unreadable)} rows cannot be read, the first: {table.unreadable[0]}"
        return text
