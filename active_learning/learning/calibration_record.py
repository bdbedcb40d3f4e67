"""What a round knows of its uncertainty: how honest it is, before and after recalibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from active_learning.errors import ContractError

__all__ = ["CalibrationRecord", "Source"]

Source = Literal["fitted", "kept", "none"]
"""Where a round's map comes from: fitted to this round's errors, kept from an earlier round, or no map is better."""


@dataclass(frozen=True)
class CalibrationRecord:
    """How right the std is on labels that the model was not trained on.

    Parameters
    ----------
    n : labels it was measured on
    source : where the map comes from
    slope, offset : of the map; the offset is in the target's unit. Without a map 1, and 0 or a small offset
    before, after : what `active_learning.domain.metrics.calibration_metrics` says without and with the map
        ``mean_z2, mean_z2_low, mean_z2_high, miscalibration_area, ence, nll, coverage_50, coverage_90, coverage_95,
        sharpness``; what is undefined is absent. After a fitted map, of each label under a map that was fitted without
        its fold; after a kept one, under the map itself, most of whose labels these are.

    Raises
    ------
    ContractError
        If a number is not finite, or the source is none of the three.
    """

    n: int
    source: Source
    slope: float
    offset: float
    before: Mapping[str, float]
    after: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise ContractError(f"a calibration's source is one of {', '.join(get_args(Source))}, got {self.source!r}")
        numbers = {"slope": self.slope, "offset": self.offset}
        numbers |= {f"{name} {when}": v for when in ("before", "after") for name, v in getattr(self, when).items()}
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise ContractError(f"{name} of a calibration is {value}; what is undefined is left out")

    def to_json(self) -> dict[str, Any]:
        """A JSON object without NaN; ``CalibrationRecord.from_json`` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` wrote.

        Raises
        ------
        ContractError
            If a key is unknown or missing, or a number is not finite.
        """
        names = {f.name for f in fields(cls)}
        unknown, missing = sorted(set(value) - names), sorted(names - set(value))
        if unknown or missing:
            raise ContractError(f"no record of a calibration: unknown keys {unknown}, missing keys {missing}")
        return cls(**value)
