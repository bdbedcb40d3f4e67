"""What came of looking at one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from active_learning.api.provenance.comparing import Comparison, Difference

__all__ = ["Outcome", "Step"]


class Outcome(StrEnum):
    """UNKNOWN: it cannot be computed again, and `said` says why."""

    SAME = "same"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Step:
    """One thing that was looked at.

    Parameters
    ----------
    name : file, files, history, a round, or an end
    said : one line
    n_labels : labels that were known when it was decided; None where nothing was decided
    in_flight : requests that were in flight then
    rounding : the largest difference that was taken for rounding, as a part of the number; 0 if every digit is the same
    """

    name: str
    outcome: Outcome
    said: str
    differences: tuple[Difference, ...] = ()
    n_labels: int | None = None
    in_flight: tuple[str, ...] = ()
    rounding: float = 0.0

    @classmethod
    def of(cls, name: str, said: str, found: Comparison, **more: Any) -> Step:
        """The step of a comparison; `said` is what is said if nothing differs."""
        if found.is_same:
            return cls(name, Outcome.SAME, said, rounding=found.rounding, **more)
        differences = tuple(found.differences)
        return cls(name, Outcome.DIFFERS, said_of(differences), differences, rounding=found.rounding, **more)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "step": self.name,
            "outcome": self.outcome.value,
            "said": self.said,
            "differences": [{"what": d.what, "stored": d.stored, "computed": d.computed} for d in self.differences],
            "n_labels": self.n_labels,
            "in_flight": list(self.in_flight),
            "rounding": self.rounding,
        }


def said_of(differences: tuple[Difference, ...]) -> str:
    """How many things differ; which, is said one by one."""
    return f"{len(differences)} {'thing differs' if len(differences) == 1 else 'things differ'}"
