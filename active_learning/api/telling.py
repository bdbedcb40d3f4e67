"""Labels that a person or another program brings in."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from active_learning.domain.elements import reduced_formula
from active_learning.domain.formulas import parse_formula
from active_learning.domain.label import Label
from active_learning.domain.request import RequestState
from active_learning.domain.target import Target
from active_learning.engine.pool_file import PoolFile
from active_learning.errors import ContractError, LabelConflict, UserError
from active_learning.store import CampaignStore, Writer

__all__ = ["Told", "candidate_of", "read_labels", "tell"]


@dataclass(frozen=True)
class Told:
    """One told label of the target property. `candidate` is an id, or a formula that only one candidate has."""

    candidate: str
    value: float
    unit: str = ""
    std: float | None = None
    fidelity: str = "told"
    source: str = ""


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _row(row: Mapping[str, str | None], source: str) -> Told:
    candidate = (row.get("candidate") or row.get("formula") or "").strip()
    if not candidate:
        raise ValueError("names no candidate")
    std = (row.get("std") or "").strip()
    return Told(
        candidate,
        _number((row.get("value") or "").strip()),
        (row.get("unit") or "").strip(),
        _number(std) if std else None,
        (row.get("fidelity") or "told").strip(),
        source,
    )


def read_labels(path: Path) -> tuple[list[Told], int]:
    """Read a CSV file with the columns candidate (or formula) and value, and perhaps unit, std and fidelity.

    Returns the labels, and how many rows have no value yet: a list of what is to be measured is filled in bit by bit.

    Raises
    ------
    UserError
        With every row that cannot be used.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            if "value" not in columns or not columns & {"candidate", "formula"}:
                found = ", ".join(sorted(columns)) or "none"
                raise UserError(f"{path} needs the columns 'candidate' (or 'formula') and 'value'; it has: {found}.")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read: {reason}.") from error
    told, faults = [], []
    n_unanswered = 0
    for number, row in enumerate(rows, start=2):
        if not (row.get("value") or "").strip():
            n_unanswered += 1
            continue
        try:
            told.append(_row(row, f"{path.name}:{number}"))
        except ValueError as error:
            faults.append(f"  line {number}: {error}")
    if faults:
        raise UserError("\n".join([f"{path}: {len(faults)} rows cannot be used; nothing was told.", *faults]))
    return told, n_unanswered


def _reduced(text: str) -> str:
    """A formula as the pool writes it, however it was written; any other text as it is."""
    try:
        return reduced_formula(parse_formula(text))
    except ValueError:
        return text


def candidate_of(name: str, pool: PoolFile) -> str:
    """The id of a candidate that is named by its id, or by a formula that only one has.

    Raises
    ------
    ValueError
        If there is none, or more than one.
    """
    return _resolve(Told(name, 0.0), pool, {} if name in pool else pool.named({_reduced(name)}))


def _resolve(told: Told, pool: PoolFile, by_formula: Mapping[str, list[str]]) -> str:
    if told.candidate in pool:
        return told.candidate
    found = by_formula.get(_reduced(told.candidate), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{len(found)} candidates have the formula {told.candidate}; give the candidate's id")
    raise ValueError(f"no candidate '{told.candidate}' in the pool (ids and formulas are understood)")


def tell(
    store: CampaignStore, target: Target, pool: PoolFile, now: datetime, labels: Iterable[Told]
) -> tuple[int, int, tuple[str, ...]]:
    """Store labels: the same one twice is a no-op, another value for a known one is refused and noted.

    Returns how many were new, how many were known, and the conflicts.

    Raises
    ------
    UserError
        If a row names no candidate of the pool, another unit than the target's, or no finite number; then nothing is
        stored.
    """
    labels = list(labels)
    named = list(dict.fromkeys(told.candidate for told in labels if told.candidate in pool))
    formula_of = dict(zip(named, pool.formulas(named), strict=True))
    by_formula = pool.named({_reduced(told.candidate) for told in labels if told.candidate not in formula_of})
    checked, faults = [], []
    for told in labels:
        try:
            if told.unit and target.unit and told.unit != target.unit:
                raise ValueError(f"unit '{told.unit}', but {target.property} is in '{target.unit}'")
            candidate = _resolve(told, pool, by_formula)
            checked.append(_label(told, candidate, formula_of.get(candidate, _reduced(told.candidate)), target, now))
        except (ValueError, ContractError) as error:
            faults.append(f"  {told.source or told.candidate}: {error}")
    if faults:
        raise UserError("\n".join([f"{len(faults)} labels cannot be used; nothing was told.", *faults]))
    with store.write(now) as writer:
        return _store(writer, store, checked)


def _label(told: Told, candidate: str, formula: str, target: Target, now: datetime) -> Label:
    provenance = {"formula": formula, "source": told.source or "told"}
    return Label(
        candidate, target.property, told.value, target.unit or told.unit, now, told.fidelity, told.std, None, provenance
    )


def _store(writer: Writer, store: CampaignStore, labels: list[Label]) -> tuple[int, int, tuple[str, ...]]:
    planned = {r.candidate_id: r for r in store.read().requests if r.state is RequestState.PLANNED}
    new, conflicts = 0, []
    for label in labels:
        try:
            is_new = writer.add_label(label)
        except LabelConflict as conflict:
            writer.event("conflict", candidate=label.candidate_id, value=label.value, unit=label.unit)
            conflicts.append(str(conflict))
            continue
        new += is_new
        if is_new and label.candidate_id in planned:
            writer.move(planned[label.candidate_id].id, RequestState.PLANNED, RequestState.CANCELLED)
    writer.event("told", new=new, known=len(labels) - new - len(conflicts), refused=len(conflicts))
    return new, len(labels) - new - len(conflicts), tuple(conflicts)
