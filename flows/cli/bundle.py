"""`motherlode export FILE bundle`: a campaign in one zip file, with what people read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ase import Atoms
from ase.io import write

from active_learning.api.campaign import Campaign
from active_learning.api.provenance.bundling import Bundled, bundle
from active_learning.api.record import CampaignRecord
from active_learning.crystals.ase import to_atoms
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.errors import UserError
from active_learning.reporting.export import export
from active_learning.reporting.writing import write_report

__all__ = ["write_bundle"]


def write_bundle(campaign: Campaign, output: Path | None, *, jobs: bool) -> Bundled:
    """Pack a campaign into `output`, or NAME.zip here.

    Raises
    ------
    UserError
        If `output` is no name of a zip file, or cannot be written.
    """
    path = output or Path(f"{campaign.name}.zip")
    if path.suffix != ".zip":
        raise UserError(f"A bundle is a zip file, and '{path.name}' does not end with .zip.")

    def views(record: CampaignRecord, folder: Path) -> None:
        _write_views(record, folder, lambda candidate: campaign.pool().candidate(candidate))

    return bundle(campaign, path, views, jobs=jobs)


def _write_views(record: CampaignRecord, folder: Path, candidate: Callable[[str], Candidate]) -> None:
    """The report, tables, and the labeled crystals, as far as there are any yet."""
    write_report(record, folder / "report.html")
    for name in ("labels.csv", "labels.json", "best.csv"):
        export(record, name.partition(".")[0], folder / "tables" / name, candidate)
    if record.prediction is not None:
        export(record, "predictions", folder / "tables" / "predictions.csv", candidate)
    asked = {label.candidate_id: candidate(label.candidate_id).crystal for label in record.labels}
    _write_crystals(folder / "structures" / "candidates.extxyz", record, asked)
    relaxed = {
        label.candidate_id: Crystal.from_json(label.provenance["crystal"])
        for label in record.labels
        if isinstance(label.provenance.get("crystal"), dict)
    }
    _write_crystals(folder / "structures" / "relaxed.extxyz", record, relaxed)


def _write_crystals(path: Path, record: CampaignRecord, crystals: Mapping[str, Crystal | None]) -> None:
    values = {label.candidate_id: label for label in record.target_labels}
    frames: list[Atoms] = []
    for candidate, crystal in crystals.items():
        if crystal is None:
            continue
        atoms = to_atoms(crystal)
        atoms.info["candidate"] = candidate
        if (label := values.get(candidate)) is not None:
            atoms.info |= {"property": label.property, "value": label.value, "unit": label.unit}
        frames.append(atoms)
    if frames:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, frames, format="extxyz")
