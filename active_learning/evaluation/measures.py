"""What replays are measured by: curves against the number of labels, and one row a round for a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.target import Goal, Target
from active_learning.errors import UserError
from active_learning.evaluation.comparing import Curves
from active_learning.evaluation.replayed import Replayed

__all__ = ["COLUMNS", "Measures", "n_best_of"]

Floats = NDArray[np.float64]

COLUMNS = (
    *("strategy", "seed", "round", "n_labels", "best_value", "fraction_found"),
    *("mae", "rmse", "r2", "accuracy", "mean_z2", "miscalibration_area", "time_s", "n_failed"),
)
"""Of the table with a row for each round."""


def n_best_of(best: str, n_candidates: int) -> int:
    """How many candidates are the best: a number, or a share such as "1%", rounded, at least one.

    >>> n_best_of("1%", 2517), n_best_of("10", 2517), n_best_of("1%", 20)
    (25, 10, 1)

    Raises
    ------
    UserError
        If it is neither, or not between 1 and all.
    """
    text = best.strip()
    try:
        n = int(text) if not text.endswith("%") else _of_share(float(text[:-1]) / 100, n_candidates)
    except (ValueError, OverflowError):
        n = 0
    if not 1 <= n <= n_candidates:
        raise UserError(f"The best are a number or a share of {n_candidates:,} candidates, as 10 or 1%; got {best!r}.")
    return n


def _of_share(share: float, n_candidates: int) -> int:
    return max(1, round(share * n_candidates)) if 0 < share <= 1 else 0


@dataclass(frozen=True, eq=False)
class Measures:
    """How replays are measured.

    Parameters
    ----------
    values : (n_candidates,), true
    n_best : how many are the best; of the goal `within` all candidates within the bounds are, whatever it says
    """

    target: Target
    values: Floats
    n_best: int

    @cached_property
    def is_best(self) -> NDArray[np.bool_]:
        """(n_candidates,), with all that tie with the last of the best.

        Raises
        ------
        UserError
            If no candidate is within the bounds of the goal `within`.
        """
        merits = self.target.merit(self.values)
        if self.target.goal is Goal.WITHIN:
            if not (merits >= 0).any():
                raise UserError(
                    f"No candidate has its {self.target.property} within {self.target.low:g} to {self.target.high:g}"
                    f" {self.target.unit}: there is nothing to find."
                )
            return np.asarray(merits >= 0)
        return np.asarray(merits >= np.sort(merits)[-self.n_best])

    @property
    def n_to_find(self) -> int:
        """How many make the fraction found 1."""
        return int(self.is_best.sum()) if self.target.goal is Goal.WITHIN else self.n_best

    @property
    def error_name(self) -> str:
        """What the error of a model is called."""
        return "error rate" if self.target.goal is Goal.CLASSIFY else "MAE"

    def error_of(self, errors: dict[str, float] | Any) -> float | None:
        """The error of a round's model: mean absolute, or the share of wrong classes; None if it trained none."""
        if self.target.goal is Goal.CLASSIFY:
            return 1.0 - errors["accuracy"] if "accuracy" in errors else None
        found: float | None = errors.get("mae")
        return found

    def found(self, replay: Replayed) -> Floats:
        """Fraction of the best that are found after each label, (n_labels + 1,); 0 without a label."""
        counts = np.minimum(np.cumsum(self.is_best[replay.rows]), self.n_to_find)
        return np.concatenate([[0.0], counts / self.n_to_find])

    def best_values(self, replay: Replayed) -> Floats:
        """The best value so far, after each label, (n_labels,)."""
        values = self.values[replay.rows]
        merits = self.target.merit(values)
        running = np.maximum.accumulate(merits)
        holder = np.maximum.accumulate(np.where(np.r_[True, running[1:] > running[:-1]], np.arange(len(values)), 0))
        return values[holder]

    def discovery(self, replays: Sequence[Replayed], n_labels: int) -> Curves:
        """Fraction found against the number of labels, from 0 to `n_labels`; who stopped earlier finds nothing more."""
        table = [_prolonged(self.found(replay), n_labels + 1) for replay in replays]
        return Curves(np.arange(n_labels + 1), np.stack(table))

    def errors(self, replay: Replayed, n_labels: NDArray[np.intp]) -> Floats:
        """The error of the newest model at each number of labels, (n_steps,); NaN before the first model."""
        known = [(seen.n_labels, self.error_of(seen.errors)) for seen in replay.rounds]
        steps = [(n, error) for n, error in known if error is not None]
        if not steps:
            return np.full(len(n_labels), np.nan)
        at = np.array([n for n, _ in steps])
        place = np.searchsorted(at, n_labels, side="right") - 1
        return np.where(place >= 0, np.array([error for _, error in steps])[place], np.nan)

    def learning(self, replays: Sequence[Replayed], n_first: int, n_labels: int) -> Curves | None:
        """Minus the error against the number of labels, from the one at which every replay has a model; None if one
        never has."""
        steps = np.arange(n_first, n_labels + 1)
        if not len(steps):
            return None
        table = np.stack([self.errors(replay, steps) for replay in replays])
        return Curves(steps, -table) if np.isfinite(table).all() else None

    def first_model(self, replay: Replayed) -> float:
        """At how many labels the first model was trained; infinite if never."""
        known = [seen.n_labels for seen in replay.rounds if self.error_of(seen.errors) is not None]
        return min(known, default=math.inf)

    def rows(self, replay: Replayed) -> Iterator[tuple[Any, ...]]:
        """The lines of the table for one replay, a round each, as `COLUMNS` says; None where there is no value."""
        has_best = self.target.goal.has_best
        found = self.found(replay) if has_best else None
        best = self.best_values(replay) if has_best and len(replay.rows) else None
        for seen in replay.rounds:
            n = seen.n_labels
            errors = [seen.errors.get(name) for name in COLUMNS[6:12]]
            yield (
                replay.strategy,
                replay.seed,
                seen.number,
                n,
                None if best is None or not n else float(best[n - 1]),
                None if found is None else float(found[n]),
                *errors,
                seen.time_s,
                seen.n_failed,
            )


def _prolonged(curve: Floats, length: int) -> Floats:
    return np.concatenate([curve[:length], np.full(max(length - len(curve), 0), curve[-1])])
