"""The property sought, its unit and its goal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = ["Goal", "Target"]


class Goal(StrEnum):
    """What is wanted of the property."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"
    WITHIN = "within"
    LEARN = "learn"
    CLASSIFY = "classify"

    @property
    def has_best(self) -> bool:
        """Whether one label can be better than another."""
        return self in (Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN)


@dataclass(frozen=True)
class Target:
    """A property with a goal; `low` and `high` bound the goal `within`."""

    property: str
    goal: Goal
    unit: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        bounds = (self.low, self.high)
        if self.goal is Goal.WITHIN:
            if None in bounds or not float(self.low or 0) < float(self.high or 0):
                raise ContractError(f"goal 'within' needs low < high, got low = {self.low}, high = {self.high}")
        elif bounds != (None, None):
            raise ContractError(f"low and high go with goal 'within', not with '{self.goal}'")

    def merit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How good values are, in the property's unit; higher is better.

        ``v`` to maximize, ``-v`` to minimize, minus the distance to [low, high] for `within`.

        Raises
        ------
        ContractError
            If the goal has no better and worse (`learn`, `classify`).
        """
        values = np.asarray(values, dtype=np.float64)
        if self.goal is Goal.MAXIMIZE:
            return values
        if self.goal is Goal.MINIMIZE:
            return -values
        if self.goal is Goal.WITHIN:
            assert self.low is not None
            assert self.high is not None
            return -np.maximum(np.maximum(self.low - values, values - self.high), 0.0)
        raise ContractError(f"goal '{self.goal}' has no better and worse")
