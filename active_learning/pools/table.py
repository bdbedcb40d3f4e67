"""The pool `table`: candidates from the user's table, with descriptors and labels that it holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.cells import is_missing, number_in, text_of
from active_learning.domain.elements import reduced_formula
from active_learning.domain.formulas import composition_key, parse_formula
from active_learning.domain.label import Measurement
from active_learning.domain.options import FilePath
from active_learning.errors import ContractError, UserError
from active_learning.pools.filters import Elements, FilterOptions, Judgment, Sieve
from active_learning.pools.json_crystals import is_structure, structure_crystal
from active_learning.pools.readers import attempt, cif_crystals, poscar_crystal
from active_learning.pools.table_files import TableFile

__all__ = ["Table"]

_OF_CRYSTALS = ("min_atoms", "max_atoms", "min_distance")


class _Reading(NamedTuple):
    """What became of one row: the candidate's id (of the first, if it is a duplicate) and the label in the row."""

    number: int
    item: Candidate | Dropped
    candidate_id: str | None = None
    label: float | None = None


class _BadRow(Exception):
    """Why a row holds no candidate."""


class Table:
    """Candidates from a CSV, Parquet or JSON table: a formula or a structure a row.

    Columns may hold descriptors of the candidates, and labels that are known already.
    """

    class Options(FilterOptions):
        """Keys of the table `[pool]` with ``kind = "table"``."""

        path: FilePath = Field(
            description="The table: .csv, .json (a list of records), each also as .gz; .parquet or .pq."
        )
        formula: str | None = Field(
            default=None,
            min_length=1,
            description="Column of formulas; without it, and without `structure`, the column named formula.",
        )
        structure: str | None = Field(
            default=None,
            min_length=1,
            description="Column of crystals: the text of a CIF or POSCAR file, or a pymatgen Structure as JSON.",
        )
        name: str | None = Field(
            default=None,
            min_length=1,
            description="Column of what the candidates are called (their origin); without it, 'row 1' and so on.",
        )
        elements: Elements | None = Field(
            default=None, description="Take candidates of these elements only; without it, of any."
        )
        descriptors: tuple[str, ...] = Field(
            default=(), description="Columns of numbers that describe the candidates; empty cells are missing values."
        )
        label: str | None = Field(
            default=None,
            min_length=1,
            description="Column of known values of the target's property; they become the campaign's first labels.",
        )
        unit: str = Field(default="", description="Unit of the labels.")
        fidelity: str = Field(
            default="table", min_length=1, description="Level of theory of the labels, or 'experiment'."
        )
        duplicates: Literal["refuse", "median"] = Field(
            default="refuse",
            description="Different labels for one candidate: refuse the table, or take their median.",
        )

        @model_validator(mode="after")
        def _fit_together(self) -> Self:
            twice = sorted({name for name in self.descriptors if self.descriptors.count(name) > 1})
            asked = [name for name in _OF_CRYSTALS if getattr(self, name) != type(self).model_fields[name].default]
            useless = asked if self.structure is None else []
            faults = [
                f"descriptors named more than once: {', '.join(twice)}" if twice else "",
                f"the label {self.label!r} cannot be a descriptor too" if self.label in self.descriptors else "",
                f"{', '.join(useless)} needs a column of crystals: name it with `structure`" if useless else "",
            ]
            if any(faults):
                raise ValueError("; ".join(fault for fault in faults if fault))
            return self

    def __init__(self, options: Options) -> None:
        self.options = options

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every row's candidate; what is broken, unwanted or was there before as `Dropped`.

        Raises
        ------
        UserError
            If the table cannot be read, holds no rows, or lacks a column; or if a column of descriptors or labels
            holds no number at all.
        """
        return (reading.item for reading in self._readings())

    def known_labels(self, property_name: str) -> Iterator[tuple[str, Measurement]]:
        """The label of each candidate that has one, in the order of the rows; none without the option `label`.

        A row that was dropped as a duplicate counts for the candidate that it repeats; other rows that were dropped
        do not count. The table is read (and its crystals are compared) once more.

        Raises
        ------
        UserError
            As `read`; or if a candidate has different labels and ``duplicates = "refuse"``.
        """
        if self.options.label is None:
            return
        known: dict[str, list[tuple[int, float]]] = {}
        for reading in self._readings():
            if reading.candidate_id is not None and reading.label is not None:
                known.setdefault(reading.candidate_id, []).append((reading.number, reading.label))
        self._refuse_contradictions(known)
        source = {"table": self.options.path.name, "sha256": self._file.sha256, "column": self.options.label}
        for candidate_id, labels in known.items():
            value = median(value for _, value in labels)
            provenance = source | {"rows": [number for number, _ in labels]}
            yield (
                candidate_id,
                Measurement({property_name: (value, self.options.unit)}, self.options.fidelity, provenance),
            )

    def _refuse_contradictions(self, known: Mapping[str, list[tuple[int, float]]]) -> None:
        unclear = [labels for labels in known.values() if len({value for _, value in labels}) > 1]
        if unclear and self.options.duplicates == "refuse":
            rows = ", ".join([str(number) for number, _ in unclear[0]][:5])
            raise UserError(
                f"{self.options.path.name} has different values of {self.options.label!r} for {len(unclear)} "
                f"candidate{'s' if len(unclear) > 1 else ''}, first in rows {rows}; to take the median of each, say "
                'duplicates = "median"'
            )

    @property
    def _file(self) -> TableFile:
        return TableFile(self.options.path)

    def _columns(self) -> dict[str, str | None]:
        """Columns by what they are for."""
        options = self.options
        formula = options.formula or ("formula" if options.structure is None else None)
        return {"formula": formula, "structure": options.structure, "name": options.name, "label": options.label}

    def _readings(self) -> Iterator[_Reading]:
        """What becomes of each row, in order."""
        by_role = {role: column for role, column in self._columns().items() if column is not None}
        self._check(by_role)
        sieve = Sieve(self.options, self.options.elements, needs_crystal=self.options.structure is not None)
        columns = [*by_role.values(), *self.options.descriptors]
        for number, cells in self._file.rows(columns):
            if isinstance(cells, str):
                yield _Reading(number, Dropped(f"row {number}", cells))
                continue
            given = dict(zip(self.options.descriptors, cells[len(by_role) :], strict=True))
            yield self._reading(number, dict(zip(by_role, cells, strict=False)), given, sieve)

    def _reading(self, number: int, cells: Mapping[str, Any], given: Mapping[str, Any], sieve: Sieve) -> _Reading:
        name = " ".join(text_of(cells.get("name")).split())
        source = f"row {number} ({name})" if name else f"row {number}"
        try:
            candidate = self._candidate(cells, given, name or source)
            label = _number(cells.get("label"), "label", self.options.label)
        except (_BadRow, ContractError) as error:
            return _Reading(number, Dropped(source, " ".join(str(error).split())[:300]))
        judgment: Judgment = sieve.judge(candidate)
        if judgment.reason is None:
            return _Reading(number, candidate, candidate.id, label)
        return _Reading(number, Dropped(source, judgment.reason), judgment.same_as, label)

    def _candidate(self, cells: Mapping[str, Any], given: Mapping[str, Any], origin: str) -> Candidate:
        numbers = {column: _number(cell, "descriptor", column) for column, cell in given.items()}
        values = {column: math.nan if number is None else number for column, number in numbers.items()}
        amounts = _amounts(cells["formula"]) if "formula" in cells else None
        if "structure" not in cells:
            return Candidate(amounts or {}, None, origin, values)
        crystal = _crystal(cells["structure"])
        if amounts is not None and composition_key(amounts) != composition_key(crystal.amounts):
            formulas = f"{text_of(cells['formula'])} is not {reduced_formula(crystal.amounts)}"
            raise _BadRow(f"formula contradicts the structure: {formulas}")
        return Candidate(crystal.amounts, crystal, origin, values)

    def _check(self, by_role: Mapping[str, str]) -> None:
        """Refuse a table that lacks a column or has no rows, and columns of numbers that hold none."""
        options = self.options
        if not options.formula and not options.structure:
            self._file.check_columns(
                ["formula"], " Name the column of formulas with `formula`, or of crystals with `structure`."
            )
        self._file.check_columns([*by_role.values(), *options.descriptors])
        numeric = [*options.descriptors, *([options.label] if options.label else [])]
        unseen, odd, n_rows = dict.fromkeys(numeric), dict[str, str](), 0
        for n_rows, cells in self._file.rows(numeric or list(by_role.values())):
            for column, cell in zip(numeric, cells, strict=False) if not isinstance(cells, str) else ():
                try:
                    if not is_missing(cell) and math.isfinite(number_in(cell)):
                        unseen.pop(column, None)
                except ValueError as error:
                    odd.setdefault(column, f"row {n_rows}: {error}")
            if not unseen:
                return
        if not n_rows:
            raise UserError(f"{options.path} holds no rows")
        column = next(iter(unseen))
        raise UserError(f"{options.path}: column {column!r} holds no number; {odd.get(column, 'all cells are empty')}")


def _number(cell: Any, what: str, column: str | None) -> float | None:
    if is_missing(cell):
        return None
    try:
        return number_in(cell)
    except ValueError as error:
        raise _BadRow(f"{what} is not a number: column {column!r}: {error}") from error


def _amounts(cell: Any) -> dict[str, float]:
    text = text_of(cell)
    if not text:
        raise _BadRow("no formula")
    try:
        return parse_formula(text)
    except ValueError as error:
        raise _BadRow(f"not a formula: {error}") from error


def _crystal(cell: Any) -> Crystal:
    """The crystal in a cell: a Structure, its JSON, or the text of a CIF or POSCAR file."""
    text = text_of(cell) if not isinstance(cell, dict) else ""
    if not text and not isinstance(cell, dict):
        raise _BadRow("no structure")
    if isinstance(cell, dict) or text.startswith("{"):
        found: Crystal | str = attempt(_json_crystal, cell if isinstance(cell, dict) else text)
    elif "_atom_site_" in text or text.startswith("data_"):
        blocks = list(cif_crystals(text))
        found = blocks[0].crystal if len(blocks) == 1 else f"{len(blocks)} structures in one cell"
    else:
        found = attempt(poscar_crystal, str(cell))
    if isinstance(found, str):
        raise _BadRow(found)
    return found


def _json_crystal(cell: Any) -> Crystal:
    value = json.loads(cell) if isinstance(cell, str) else cell
    if not is_structure(value):
        raise ContractError("holds no structure")
    return structure_crystal(value)
