"""Stop by the error of the model: it is small enough, or it falls no more."""

from __future__ import annotations

from statistics import median

from pydantic import Field

from active_learning.domain.campaign import Progress, Verdict
from active_learning.domain.options import Options
from active_learning.stopping.wording import error_unit, in_percent, last_rounds, with_unit

__all__ = ["ErrorBelow", "ErrorPlateau"]

_WINDOW = 3
"""Rounds a running median looks at: the fewest among which one that is out of line has no say."""


class ErrorBelow:
    """Stop once the model is as accurate as it needs to be: what the goal `learn` is after."""

    class Options(Options):
        """Keys of a ``[[stopping]]`` table of kind `error_below`."""

        max: float = Field(
            ...,
            gt=0,
            allow_inf_nan=False,
            description="Mean absolute error that is good enough, in the target's unit; of classes, the share of "
            "wrong ones. On the test set where there is one, otherwise by cross-validation.",
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, progress: Progress) -> Verdict | None:
        """Stop if the newest model's error is at most `max`; go on as long as there is no model."""
        if not progress.errors or progress.errors[-1] > self.options.max:
            return None
        unit, error = error_unit(progress.target), progress.errors[-1]
        return Verdict(
            "error_below",
            f"The model's error, {with_unit(error, unit)}, is no larger than {with_unit(self.options.max, unit)}.",
            {"error": error, "max": self.options.max, "unit": unit},
        )


class ErrorPlateau:
    """Stop once more labels make the model no better.

    The error of a round is noisy, and one lucky round must neither end a campaign (as the best that is never met again)
    nor keep it alive. So the errors are smoothed by a running median over three rounds, in which a single round out of
    line does not show; the lowest median of the last `rounds` rounds is compared with the lowest before them.

    Few rounds still end a campaign by chance. Of simulated errors that fall for 18 rounds and then no more, and scatter
    by 30 %, 5 rounds stop one in ten before that, and 8 none; with a scatter of 15 % 3 rounds stop one in five, and 5
    hardly any.
    """

    class Options(Options):
        """Keys of a ``[[stopping]]`` table of kind `error_plateau`."""

        rounds: int = Field(..., ge=1, description="Rounds, each with a trained model, in which the error must fall.")
        min_improvement: float = Field(
            0.05, ge=0, lt=1, description="It falls if it falls by more than this part of what it was."
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, progress: Progress) -> Verdict | None:
        """Stop if ``max(before - last, 0) / before <= min_improvement``, of the lowest running medians.

        Go on as long as there are fewer than `rounds` + 3 errors: there is no median before the last rounds. An error
        of 0 cannot fall.
        """
        rounds = self.options.rounds
        errors = progress.errors
        if len(errors) < rounds + _WINDOW:
            return None
        medians = [median(errors[end - _WINDOW : end]) for end in range(_WINDOW, len(errors) + 1)]
        before, last = min(medians[:-rounds]), min(medians[-rounds:])
        fall = max(before - last, 0.0) / before if before > 0 else 0.0
        return self._verdict(progress, before, last, fall) if fall <= self.options.min_improvement else None

    def _verdict(self, progress: Progress, before: float, last: float, fall: float) -> Verdict:
        unit, rounds, least = error_unit(progress.target), self.options.rounds, self.options.min_improvement
        fell = f"fell by {in_percent(fall)}" if fall > 0 else "did not fall"
        asked = f", and more than {in_percent(least)} is asked for" if fall > 0 else ""
        return Verdict(
            "error_plateau",
            f"In {last_rounds(rounds)} the model's error {fell}{asked}: the lowest running median was "
            f"{with_unit(before, unit)} before and {with_unit(last, unit)} since.",
            {"before": before, "last": last, "fall": fall, "min_improvement": least, "rounds": rounds, "unit": unit},
        )
