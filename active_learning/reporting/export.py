"""Tables and structures of a campaign, for other programs. The file's ending says the format."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from active_learning.api.record import CampaignRecord
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.prediction import Prediction
from active_learning.errors import UserError
from active_learning.reporting.best import best_table, formula_of
from active_learning.reporting.classes import class_names
from active_learning.reporting.links import arm_of, design_rounds, request_of_label

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["WHAT", "export"]

TABLES = ("csv", "parquet", "json")
STRUCTURES = ("extxyz", "cif")
_OF_STRUCTURE = ("candidate", "formula", "origin", "property", "value", "unit")


def _labels(record: CampaignRecord) -> pd.DataFrame:
    row_of = record.rows_of(label.candidate_id for label in record.labels)
    rows, designs = [], design_rounds(record)
    for label, request in zip(record.labels, request_of_label(record), strict=True):
        row = row_of.get(label.candidate_id)
        rows.append(
            {
                "candidate": label.candidate_id,
                "formula": formula_of(label, request) if row is None else record.formulas[row],
                "origin": None if row is None else record.origins[row],
                "property": label.property,
                "value": label.value,
                "unit": label.unit,
                "std": label.std,
                "fidelity": label.fidelity,
                "time": label.time.isoformat(),
                "round": None if request is None else request.round,
                "request": label.request_id,
                "predicted_mean": None if request is None else request.mean,
                "predicted_std": None if request is None else request.std,
                "arm": None if request is None else arm_of(request, designs).value,
                "rule": None if request is None else request.rule or None,
                "novelty": None if request is None else request.novelty,
            }
        )
    columns = ["candidate", "formula", "origin", "property", "value", "unit", "std", "fidelity", "time", "round"]
    return pd.DataFrame(
        rows, columns=[*columns, "request", "predicted_mean", "predicted_std", "arm", "rule", "novelty"]
    )


def _pending(record: CampaignRecord) -> pd.DataFrame:
    pending = [request for request in record.requests if request.is_open]
    row_of = record.rows_of(request.candidate_id for request in pending)
    origins = [record.origins[row_of[r.candidate_id]] if r.candidate_id in row_of else None for r in pending]
    columns = ["candidate", "formula", "request", "state", "round", "score", "mean", "std", "reason"]
    rows = [
        (r.candidate_id, r.formula, r.id, r.state.value, r.round, r.score, r.mean, r.std, r.reason) for r in pending
    ]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(2, "origin", origins)
    return table


def _best(record: CampaignRecord) -> pd.DataFrame:
    return pd.DataFrame(best_table(record, len(record.target_labels)))


def _predictions(record: CampaignRecord) -> pd.DataFrame:
    if record.prediction is None:
        raise UserError(f"Campaign '{record.name}' has no model yet, so it predicts nothing.")
    columns = {"candidate": record.candidate_ids, "formula": record.formulas, "origin": record.origins}
    mean, std = record.prediction.mean[:, 0], record.prediction.std[:, 0]
    known = {label.candidate_id: label.value for label in record.target_labels}
    label = [known.get(candidate, np.nan) for candidate in record.candidate_ids]
    table = columns | {"mean": mean, "std": std, "unit": record.target.unit, "label": label}
    return pd.DataFrame(table | _class_columns(record.prediction))


def _class_columns(prediction: Prediction) -> dict[str, Any]:
    """A column of probabilities for each class, named by it; none of a number."""
    if prediction.classes is None or prediction.probabilities is None:
        return {}
    names = [f"probability_{name}" for name in class_names(tuple(prediction.classes))]
    return dict(zip(names, prediction.probabilities.T, strict=True))


def _features(record: CampaignRecord) -> pd.DataFrame:
    if not record.candidate_ids:
        raise UserError(f"Campaign '{record.name}' has no features yet.")
    table = pd.DataFrame(np.asarray(record.X), columns=list(record.feature_names))
    table.insert(0, "formula", record.formulas)
    table.insert(0, "candidate", record.candidate_ids)
    return table


WHAT: Mapping[str, Callable[[CampaignRecord], pd.DataFrame]] = {
    "labels": _labels,
    "pending": _pending,
    "best": _best,
    "predictions": _predictions,
    "features": _features,
}
"""What can be exported -> its table."""


def _write_table(table: pd.DataFrame, path: Path) -> None:
    match path.suffix:
        case ".csv":
            # A list in a cell would be Python's.
            table.map(lambda cell: " ".join(cell) if isinstance(cell, list) else cell).to_csv(path, index=False)
        case ".parquet":
            table.to_parquet(path, index=False)
        case _:
            table.to_json(path, orient="records", indent=1, double_precision=15)


def _crystal(candidate_id: str, record: CampaignRecord, candidate: Callable[[str], Candidate]) -> Crystal | None:
    """The crystal as the labeler left it (relaxed), or as the pool had it."""
    for label in record.labels:
        if label.candidate_id == candidate_id and isinstance(label.provenance.get("crystal"), Mapping):
            return Crystal.from_json(label.provenance["crystal"])
    return candidate(candidate_id).crystal


def _write_structures(
    table: pd.DataFrame, path: Path, record: CampaignRecord, candidate: Callable[[str], Candidate]
) -> int:
    """One structure a candidate, with what is known of it; returns how many."""
    from ase.io import write

    from active_learning.crystals.ase import to_atoms

    # A job may label several properties; the structure bears the one that is sought.
    sought = table[table["property"] == record.target.property] if "property" in table else table
    frames = []
    for row in sought.drop_duplicates("candidate").to_dict("records"):
        crystal = _crystal(row["candidate"], record, candidate)
        if crystal is None:
            raise UserError(
                f"{row['formula']} ({row['candidate']}) is a bare composition: it has no structure to write."
            )
        atoms = to_atoms(crystal)
        known = row | {"property": record.target.property} if "value" in row else row
        atoms.info = {key: known[key] for key in _OF_STRUCTURE if _is_there(known.get(key))}
        frames.append(atoms)
    if not frames:
        raise UserError("There is nothing to write yet.")
    if path.suffix == ".extxyz":
        write(path, frames, format="extxyz")
    else:
        path.write_text("".join(map(_cif, frames)), encoding="latin-1")
    return len(frames)


def _cif(atoms: Atoms) -> str:
    """A block that bears the candidate's name; ASE would number them."""
    from ase.io import write

    block = io.BytesIO()
    write(block, atoms, format="cif")
    name = f"data_{atoms.info['formula']}_{atoms.info['candidate']}"
    return block.getvalue().decode("latin-1").replace("data_image0", name, 1)


def _is_there(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and np.isnan(value))


def export(record: CampaignRecord, what: str, path: Path, candidate: Callable[[str], Candidate]) -> int:
    """Write a table or structures; returns how many rows, or structures.

    Parameters
    ----------
    what : a key of `WHAT`
    path : its ending is one of csv, parquet, json; for labels, pending and best also extxyz and cif
    candidate : looks a candidate of the pool up by its id

    Raises
    ------
    UserError
        If there is no such thing or format, or nothing to write.
    """
    if what not in WHAT:
        raise UserError(f"There is no '{what}' to export. There are: {', '.join(WHAT)}.")
    ending = path.suffix.removeprefix(".")
    structured = what in ("labels", "pending", "best")
    allowed = TABLES + (STRUCTURES if structured else ())
    if ending not in allowed:
        raise UserError(
            f"{what} cannot be written as '{path.name}'; end the name with {', '.join('.' + a for a in allowed)}."
        )
    table = WHAT[what](record)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if ending in STRUCTURES:
            return _write_structures(table, path, record, candidate)
        _write_table(table, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    return len(table)
