"""When to stop, and why: each rule answers with one sentence and the numbers behind it."""

from __future__ import annotations

from pydantic import Field

from active_learning.domain.campaign import Progress, Verdict
from active_learning.domain.options import Options as BaseOptions
from active_learning.domain.target import Target
from active_learning.stopping.wording import counted, with_unit

__all__ = ["Labels", "NoImprovement", "PoolExhausted", "UncertaintyBelow"]


class Labels:
    """Stop at a number of labels; nothing is requested beyond it."""

    class Options(BaseOptions):
        """Keys of a ``[[stopping]]`` table of kind `labels`."""

        max: int = Field(..., ge=1, description="Labels to pay for; what the first design takes counts too.")

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, progress: Progress) -> Verdict | None:
        """Stop once `max` candidates are labeled."""
        if progress.n_labels < self.options.max:
            return None
        return Verdict(
            "labels",
            f"The budget of {counted(self.options.max, 'label')} is used up: {progress.n_labels} "
            f"{'is' if progress.n_labels == 1 else 'are'} there.",
            {"n_labels": progress.n_labels, "max": self.options.max},
        )

    def remaining(self, progress: Progress) -> int:
        """`max` less the labels there and those on their way; never below 0."""
        return max(self.options.max - progress.n_labels - progress.n_pending, 0)


class NoImprovement:
    """Stop after so many settled rounds that did not better the best label."""

    class Options(BaseOptions):
        """Keys of a ``[[stopping]]`` table of kind `no_improvement`."""

        rounds: int = Field(..., ge=1, description="Settled rounds without an improvement.")
        min_delta: float = Field(
            0.0, ge=0, allow_inf_nan=False, description="An improvement is more than this, in the target's unit."
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def refusal(self, target: Target) -> str | None:
        """Why this rule cannot serve a target; None if it can."""
        if target.goal.has_best:
            return None
        return (
            f"the stopping rule 'no_improvement' needs a best label to improve on, and the goal '{target.goal}' has "
            "none; take 'error_plateau', 'error_below' or 'stabilized'"
        )

    def check(self, progress: Progress) -> Verdict | None:
        """Stop if the last `rounds` rounds bettered nothing. The first design, round 0, is the base they must beat."""
        merits = progress.merit_by_round
        if not merits:
            return None
        improved = 0
        for number, merit in enumerate(merits):
            if merit > merits[improved] + self.options.min_delta:
                improved = number
        waited = len(merits) - 1 - improved
        return self._verdict(progress, improved, waited) if waited >= self.options.rounds else None

    def _verdict(self, progress: Progress, improved: int, waited: int) -> Verdict:
        unit, min_delta = progress.target.unit, self.options.min_delta
        best_round = max(range(len(progress.merit_by_round)), key=progress.merit_by_round.__getitem__)
        best = progress.best_by_round[best_round]
        more = f" of more than {with_unit(min_delta, unit)}" if min_delta else ""
        return Verdict(
            "no_improvement",
            f"No improvement{more} in {counted(waited, 'round')}: "
            f"the best, {with_unit(best, unit)}, was found in round {best_round}.",
            {
                "best": best,
                "best_round": best_round,
                "improved_round": improved,
                "rounds": waited,
                "min_delta": min_delta,
                "unit": unit,
            },
        )


class UncertaintyBelow:
    """Stop once the model is sure enough of every candidate that could still be chosen."""

    class Options(BaseOptions):
        """Keys of a ``[[stopping]]`` table of kind `uncertainty_below`."""

        std: float = Field(
            ..., gt=0, allow_inf_nan=False, description="Largest predicted standard deviation, in the target's unit."
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, progress: Progress) -> Verdict | None:
        """Stop if the largest predicted std is below `std`; go on as long as there is no model."""
        if progress.max_std is None or progress.max_std >= self.options.std:
            return None
        unit = progress.target.unit
        return Verdict(
            "uncertainty_below",
            f"The largest predicted standard deviation, {with_unit(progress.max_std, unit)}, "
            f"is below {with_unit(self.options.std, unit)}.",
            {"max_std": progress.max_std, "std": self.options.std, "unit": unit},
        )


class PoolExhausted:
    """Stop when no candidate is left and none is on its way."""

    class Options(BaseOptions):
        """Keys of a ``[[stopping]]`` table of kind `pool_exhausted`: none."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, progress: Progress) -> Verdict | None:
        """Stop if nothing can be requested any more and nothing is being labeled."""
        if progress.n_available or progress.n_pending:
            return None
        return Verdict(
            "pool_exhausted",
            f"The pool is exhausted: of {counted(progress.n_candidates, 'candidate')} {progress.n_labels} are "
            "labeled and none is left to ask for.",
            {"n_candidates": progress.n_candidates, "n_labels": progress.n_labels},
        )
