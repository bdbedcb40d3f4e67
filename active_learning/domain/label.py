"""Labels, what a labeler measured, and how a labeling failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from active_learning.errors import ContractError

__all__ = ["LARGEST_VALUE", "Failure", "FailureKind", "Label", "Measurement", "Retraction"]

LARGEST_VALUE = 1e100
"""No property has so large a value in any unit: it is what a calculation leaves that went astray. Squares of all that
is smaller are numbers, and so are their sums and ratios."""


class FailureKind(StrEnum):
    """Why a label could not be had.

    NODE says nothing of the candidate: the machine died under the job. CANCELLED: somebody ended the job by the
    backend's own means, not by the campaign's.
    """

    CRASHED = "crashed"
    UNCONVERGED = "unconverged"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    REJECTED = "rejected"
    UNPARSABLE = "unparsable"
    NODE = "node"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Failure:
    """A labeling that gave no label: its kind, and one line that says what happened."""

    kind: FailureKind
    detail: str


def _check_number(name: str, value: float, std: float | None) -> None:
    if not math.isfinite(value):
        raise ContractError(f"{name} must be finite, got {value}")
    if abs(value) > LARGEST_VALUE:
        raise ContractError(f"{name} is no larger than {LARGEST_VALUE:g}, got {value:g}")
    if std is not None and not (math.isfinite(std) and std >= 0):
        raise ContractError(f"the std of {name} must be finite and >= 0, got {std}")


@dataclass(frozen=True)
class Measurement:
    """What a labeler read from one job: values of one or more properties, and how they came about.

    Parameters
    ----------
    values : property -> (value, unit); finite, at most `LARGEST_VALUE`
    std : property -> standard deviation, where the labeler knows it
    fidelity : the level of theory, in a word ("emt", "pbe", "experiment")
    provenance : a JSON value: code, version, settings, final structure, seconds
    """

    values: Mapping[str, tuple[float, str]]
    fidelity: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    std: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values:
            raise ContractError("a measurement has at least one value")
        for name, (value, _unit) in self.values.items():
            _check_number(name, value, self.std.get(name))


@dataclass(frozen=True)
class Label:
    """One computed or measured value of one property of one candidate.

    `request_id` names the request whose job gave it; None for a label that a person told.
    """

    candidate_id: str
    property: str
    value: float
    unit: str
    time: datetime
    fidelity: str
    std: float | None = None
    request_id: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_number(f"label {self.property} of {self.candidate_id}", self.value, self.std)
        if self.time.utcoffset() != timedelta(0):
            raise ContractError(f"a label's time is UTC, got {self.time.isoformat()}")


@dataclass(frozen=True)
class Retraction:
    """A label that was taken back, and why.

    `may_ask_again` is whether its candidate may be chosen again; otherwise only a person can bring a label of it.
    `n_rounds` is how many rounds there were: a model of the newest of them may have been trained on the label.
    """

    candidate_id: str
    property: str
    value: float
    unit: str
    fidelity: str
    request_id: str | None
    reason: str
    may_ask_again: bool
    n_rounds: int
    time: datetime
