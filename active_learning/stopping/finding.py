"""Stop when what was sought is found."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from active_learning.domain.campaign import Progress, Verdict
from active_learning.domain.options import Options
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.stopping.wording import counted, with_unit

__all__ = ["Found"]


class Found:
    """Stop once enough labels are as good as asked: `value` or better, or inside the bounds of the goal `within`.

    Every label of the target counts as soon as it is there, those known before the campaign began too.
    """

    class Options(Options):
        """Keys of a ``[[stopping]]`` table of kind `found`."""

        value: float | None = Field(
            None,
            allow_inf_nan=False,
            description="The value sought, in the target's unit: at least this to maximize, at most this to minimize. "
            "Not for the goal `within`, whose bounds say it.",
        )
        count: int = Field(1, ge=1, description="Labels as good as that.")

    def __init__(self, options: Options) -> None:
        self.options = options

    def refusal(self, target: Target) -> str | None:
        """Why this rule cannot serve a target; None if it can."""
        value = self.options.value
        if not target.goal.has_best:
            return (
                f"the stopping rule 'found' needs a goal that seeks a value, and the goal '{target.goal}' seeks none; "
                "take 'error_below' or 'labels'"
            )
        if target.goal is Goal.WITHIN and value is not None:
            return (
                f"the stopping rule 'found' takes no value with the goal 'within', got {value:g}: low = {target.low:g} "
                f"and high = {target.high:g} of the target say what is sought"
            )
        if target.goal is not Goal.WITHIN and value is None:
            return f"the stopping rule 'found' needs a value with the goal '{target.goal}', in the target's unit"
        return None

    def check(self, progress: Progress) -> Verdict | None:
        """Stop once `count` labels are as good as asked.

        Raises
        ------
        ContractError
            If the goal seeks no value, or `value` does not go with the goal: see `refusal`.
        """
        refusal = self.refusal(progress.target)
        if refusal is not None:
            raise ContractError(refusal)
        target, values = progress.target, np.array(progress.values, dtype=np.float64)
        merits = target.merit(values)
        # Inside the bounds of `within` the merit is 0, the highest there is.
        asked = 0.0 if self.options.value is None else float(target.merit(np.array(self.options.value)))
        n_found = int((merits >= asked).sum())
        if n_found < self.options.count:
            return None
        return self._verdict(target, n_found, float(values[np.argmax(merits)]))

    def _verdict(self, target: Target, n_found: int, best: float) -> Verdict:
        sought, evidence = self._sought(target)
        found = f"{counted(n_found, 'label')} {'is' if n_found == 1 else 'are'} {sought}"
        asked = "" if self.options.count == 1 else f", and {self.options.count} were sought"
        return Verdict(
            "found",
            f"Found: {found}{asked}; the best is {with_unit(best, target.unit)}.",
            {**evidence, "n_found": n_found, "count": self.options.count, "best": best, "unit": target.unit},
        )

    def _sought(self, target: Target) -> tuple[str, dict[str, Any]]:
        if self.options.value is None:
            assert target.low is not None
            assert target.high is not None
            bounds = f"between {target.low:.6g} and {with_unit(target.high, target.unit)}"
            return bounds, {"low": target.low, "high": target.high}
        side = "at least" if target.goal is Goal.MAXIMIZE else "at most"
        return f"{side} {with_unit(self.options.value, target.unit)}", {"value": self.options.value}
