"""The best materials of a campaign, each counted once. Light: the command line uses it without matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from active_learning.api.record import CampaignRecord
from active_learning.domain.label import Label
from active_learning.domain.metrics import z_scores
from active_learning.domain.request import Arm, Request
from active_learning.domain.target import Target

__all__ = [
    "BestMaterial",
    "best_table",
    "distinct_best",
    "formula_of",
    "is_told",
    "material_key",
    "prediction_z",
    "running_best",
]

_ARMS = {Arm.DESIGN: "first design", Arm.CONTROL: "control", Arm.TEST: "test set"}


def prediction_z(label: Label, request: Request) -> float | None:
    """Standardized error of what was predicted when the candidate was chosen; None without a prediction."""
    if request.mean is None or request.std is None:
        return None
    y, mean, std = (np.array([v]) for v in (label.value, request.mean, request.std))
    return float(z_scores(y, mean, std)[0])


@dataclass(frozen=True)
class BestMaterial:
    """A distinct material: its best label, and the candidates that turned out to be it.

    Parameters
    ----------
    origin : where the candidate came from: its file, row or prototype; empty if that is not known
    request : the one whose job gave the label; None if a person told it, or the pool knew it
    candidates : ids of all labeled candidates that are this material, in the order they were labeled
    """

    label: Label
    formula: str
    origin: str
    request: Request | None
    candidates: tuple[str, ...]

    @property
    def chosen_by(self) -> str:
        """Who wanted the value: the first design, the model, chance, the test set, or a person; or that the pool
        brought it along."""
        if self.request is None:
            return "told" if is_told(self.label) else "known before"
        if self.request.arm is Arm.CHOSEN:
            # Stores that are older than the arms call the first design chosen, too.
            return "first design" if self.request.mean is None else "model"
        return _ARMS[self.request.arm]

    @property
    def z(self) -> float | None:
        """Standardized error of the prediction at choice; None without a prediction."""
        return None if self.request is None else prediction_z(self.label, self.request)


def material_key(label: Label) -> str:
    """What material a label is of: its relaxed crystal if the labeler named it, else the candidate itself."""
    key = label.provenance.get("crystal_key")
    return label.candidate_id if key is None else f"crystal {key}"


def is_told(label: Label) -> bool:
    """Whether a person or another program brought the label in; otherwise, without a request, the pool did."""
    return "source" in label.provenance


def formula_of(label: Label, request: Request | None) -> str | None:
    """Formula of a label whose candidate is not among the features' rows; None if nobody noted it."""
    return request.formula if request else label.provenance.get("formula")


def distinct_best(record: CampaignRecord) -> tuple[BestMaterial, ...]:
    """Every labeled material once, best first; ties by candidate id. Empty if the goal has no best.

    Labels whose provenance has one and the same `crystal_key` are one material: the best of them stands for it.
    """
    labels = record.target_labels
    if not record.target.goal.has_best or not labels:
        return ()
    merits = record.target.merit(np.array([label.value for label in labels]))
    groups: dict[str, list[str]] = {}
    for label in labels:
        members = groups.setdefault(material_key(label), [])
        if label.candidate_id not in members:
            members.append(label.candidate_id)
    requests = {request.id: request for request in record.requests}
    rows = record.rows_of(label.candidate_id for label in labels)
    best: dict[str, BestMaterial] = {}
    for i in sorted(range(len(labels)), key=lambda i: (-merits[i], labels[i].candidate_id)):
        label = labels[i]
        request = requests.get(label.request_id) if label.request_id else None
        # A label may be told for a candidate that is not among the features' rows.
        row = rows.get(label.candidate_id)
        noted = formula_of(label, request) or label.candidate_id
        formula = noted if row is None else record.formulas[row]
        origin = "" if row is None else record.origins[row]
        key = material_key(label)
        best.setdefault(key, BestMaterial(label, formula, origin, request, tuple(groups[key])))
    return tuple(best.values())


def running_best(target: Target, values: Sequence[float]) -> list[float | None]:
    """The best of the values up to each, itself among them; None for a goal without a best."""
    if not target.goal.has_best or not len(values):
        return [None] * len(values)
    known = np.array(values, dtype=np.float64)
    merits = target.merit(known)
    # The one that holds the best: the first to reach the merit.
    is_better = np.r_[True, merits[1:] > np.maximum.accumulate(merits)[:-1]]
    holder = np.maximum.accumulate(np.where(is_better, np.arange(len(known)), 0))
    return [float(value) for value in known[holder]]


def best_table(record: CampaignRecord, n: int) -> list[dict[str, Any]]:
    """The best `n` distinct materials as JSON objects, best first.

    Keys: ``rank, candidate, formula, value, std, unit, fidelity, origin, chosen_by, round, predicted_mean,
    predicted_std, z, n_candidates, candidates``; `std`, `round` and the three of the prediction are None where there
    is none.
    """
    rows = []
    for rank, best in enumerate(distinct_best(record)[:n], start=1):
        label, request = best.label, best.request
        rows.append(
            {
                "rank": rank,
                "candidate": label.candidate_id,
                "formula": best.formula,
                "value": label.value,
                "std": label.std,
                "unit": label.unit,
                "fidelity": label.fidelity,
                "origin": best.origin,
                "chosen_by": best.chosen_by,
                "round": None if request is None else request.round,
                "predicted_mean": None if request is None else request.mean,
                "predicted_std": None if request is None else request.std,
                "z": best.z,
                "n_candidates": len(best.candidates),
                "candidates": list(best.candidates),
            }
        )
    return rows
