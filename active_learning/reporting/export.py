"""Tables and structures of a campaign, for other programs. The file's ending says the format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from active_learning.api.record import CampaignRecord
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.errors import UserError
from active_learning.reporting.best import best_table

__all__ = ["WHAT", "export"]

TABLES = ("csv", "parquet", "json")
STRUCTURES = ("extxyz", "cif")


def _labels(record: CampaignRecord) -> pd.DataFrame:
    row_of = record.rows_of(label.candidate_id for label in record.labels)
    requests = {request.id: request for request in record.requests}
    rows = []
    for label in record.labels:
        request = requests.get(label.request_id or "")
        rows.append(
            {
                "candidate": label.candidate_id,
                "formula": record.formulas[row_of[label.candidate_id]] if label.candidate_id in row_of else None,
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
            }
        )
    columns = ["candidate", "formula", "property", "value", "unit", "std", "fidelity", "time", "round", "request"]
    return pd.DataFrame(rows, columns=[*columns, "predicted_mean", "predicted_std"])


def _pending(record: CampaignRecord) -> pd.DataFrame:
    columns = ["candidate", "formula", "request", "state", "round", "score", "mean", "std", "reason"]
    rows = [
        (r.candidate_id, r.formula, r.id, r.state.value, r.round, r.score, r.mean, r.std, r.reason)
        for r in record.requests
        if r.is_open
    ]
    return pd.DataFrame(rows, columns=columns)


def _best(record: CampaignRecord) -> pd.DataFrame:
    return pd.DataFrame(best_table(record, len(record.target_labels)))


def _predictions(record: CampaignRecord) -> pd.DataFrame:
    if record.prediction is None:
        raise UserError(f"Campaign '{record.name}' has no model yet, so it predicts nothing.")
    columns = {"candidate": record.candidate_ids, "formula": record.formulas}
    mean, std = record.prediction.mean[:, 0], record.prediction.std[:, 0]
    known = {label.candidate_id: label.value for label in record.target_labels}
    label = [known.get(candidate, np.nan) for candidate in record.candidate_ids]
    return pd.DataFrame(columns | {"mean": mean, "std": std, "unit": record.target.unit, "label": label})


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
            table.to_csv(path, index=False)
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
) -> None:
    from ase.io import write

    from active_learning.crystals.ase import to_atoms

    frames = []
    for row in table.drop_duplicates("candidate").to_dict("records"):
        crystal = _crystal(row["candidate"], record, candidate)
        if crystal is None:
            raise UserError(
                f"{row['formula']} ({row['candidate']}) is a bare composition: it has no structure to write."
            )
        atoms = to_atoms(crystal)
        atoms.info = {key: row[key] for key in ("candidate", "formula", "value", "unit") if _is_there(row.get(key))}
        frames.append(atoms)
    if not frames:
        raise UserError("There is nothing to write yet.")
    write(path, frames, format="extxyz" if path.suffix == ".extxyz" else "cif")


def _is_there(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and np.isnan(value))


def export(record: CampaignRecord, what: str, path: Path, candidate: Callable[[str], Candidate]) -> int:
    """Write a table or structures; returns how many rows.

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
            _write_structures(table, path, record, candidate)
        else:
            _write_table(table, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    return len(table)
