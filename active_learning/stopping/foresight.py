"""Stop by what the rounds foretold of their next: that it gains little, or that it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from active_learning.domain.campaign import Progress, Verdict
from active_learning.domain.options import Options
from active_learning.domain.target import Target
from active_learning.errors import ContractError
from active_learning.stopping.wording import counted, hours, in_time, last_rounds, with_unit

__all__ = ["ExpectedGainBelow", "Stabilized"]


class ExpectedGainBelow:
    """Stop once the next batch is not expected to gain enough, or not enough for what it costs.

    The gain is what the model expects: the mean improvement of the best label by the whole batch (`expected_gain` of
    `active_learning.learning.forecast`). A model that is too sure of itself stops too early: read it with the
    calibration. The cost is the expected run time of the batch (`run_s`).
    """

    class Options(Options):
        """Keys of a ``[[stopping]]`` table of kind `expected_gain_below`: one of the first two."""

        min_gain: float | None = Field(
            None, gt=0, allow_inf_nan=False, description="Gain of a batch that is worth it, in the target's unit."
        )
        min_gain_per_hour: float | None = Field(
            None,
            gt=0,
            allow_inf_nan=False,
            description="Gain that an hour of run time is worth, in the target's unit.",
        )
        rounds: int = Field(2, ge=1, description="Rounds in a row that must expect so little.")

        @model_validator(mode="after")
        def _one_of_two(self) -> Self:
            if (self.min_gain is None) == (self.min_gain_per_hour is None):
                given = "neither is" if self.min_gain is None else "both are"
                raise ValueError(f"give either min_gain or min_gain_per_hour; {given} given")
            return self

    def __init__(self, options: Options) -> None:
        self.options = options
        self._is_per_hour = options.min_gain is None
        [self._least] = (x for x in (options.min_gain, options.min_gain_per_hour) if x is not None)

    def refusal(self, target: Target) -> str | None:
        """Why this rule cannot serve a target; None if it can."""
        if target.goal.has_best:
            return None
        return (
            f"the stopping rule 'expected_gain_below' needs a best label to gain on, and the goal '{target.goal}' has "
            "none; take 'error_plateau', 'error_below' or 'stabilized'"
        )

    def check(self, progress: Progress) -> Verdict | None:
        """Stop if each of the last `rounds` rounds that foretold a gain (and a run time, if that counts) foretold too
        little. A round that chose no batch foretells none; go on as long as there are too few that do.

        Raises
        ------
        ContractError
            If the goal has no better and worse: see `refusal`.
        """
        refusal = self.refusal(progress.target)
        if refusal is not None:
            raise ContractError(refusal)
        keys = ("expected_gain", "run_s") if self._is_per_hour else ("expected_gain",)
        foretold = [forecast for forecast in progress.forecasts if all(key in forecast for key in keys)]
        newest = foretold[-self.options.rounds :]
        if len(newest) < self.options.rounds or not all(self._is_low(forecast) for forecast in newest):
            return None
        return self._verdict(progress.target.unit, newest[-1])

    def _is_low(self, forecast: Mapping[str, float]) -> bool:
        # Multiplied, not divided: a batch that costs nothing is always worth it.
        cost = hours(forecast["run_s"]) if self._is_per_hour else 1.0
        return forecast["expected_gain"] < self._least * cost

    def _verdict(self, unit: str, newest: Mapping[str, float]) -> Verdict:
        gain, rounds, least = newest["expected_gain"], self.options.rounds, with_unit(self._least, unit)
        evidence = {"expected_gain": gain, "rounds": rounds, "unit": unit}
        time = ""
        if self._is_per_hour:
            least, time = f"{least} per hour of run time", f" in {in_time(newest['run_s'])}"
            per_hour = gain / hours(newest["run_s"])
            evidence |= {"run_s": newest["run_s"], "gain_per_hour": per_hour, "min_gain_per_hour": self._least}
        else:
            evidence |= {"min_gain": self._least}
        those = "The last round" if rounds == 1 else f"Each of the last {counted(rounds, 'round')}"
        return Verdict(
            "expected_gain_below",
            f"{those} expected its batch to improve the best by less than {least}: "
            f"the newest by {with_unit(gain, unit)}{time}.",
            evidence,
        )


class Stabilized:
    """Stop once new labels no longer change what the model says of the pool.

    As Bloodgood & Vijay-Shanker stop when successive models agree on a set of candidates that need no labels. They
    measure the agreement of classes (Cohen's kappa, its mean over three rounds above 0.99); here it is that of the
    order in which the models put the pool, by Spearman's rank correlation (`stability` of
    `active_learning.learning.forecast`), and each of the rounds must reach it. Small batches change a model little:
    what is stable from round to round may still drift over many.

    References
    ----------
    Bloodgood & Vijay-Shanker, A Method for Stopping Active Learning Based on Stabilizing Predictions and the Need for
    User-Adjustable Stopping, CoNLL 2009, 39-47, arXiv:1409.5165.
    """

    class Options(Options):
        """Keys of a ``[[stopping]]`` table of kind `stabilized`."""

        correlation: float = Field(
            0.99, gt=0, le=1, description="Rank correlation with the predictions of the model before that is enough."
        )
        rounds: int = Field(3, ge=1, description="Rounds in a row that must reach it.")

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, progress: Progress) -> Verdict | None:
        """Stop if each of the last `rounds` rounds reached `correlation`. The first model has none before it."""
        known = [forecast["stability"] for forecast in progress.forecasts if "stability" in forecast]
        newest = known[-self.options.rounds :]
        if len(newest) < self.options.rounds or min(newest) < self.options.correlation:
            return None
        return Verdict(
            "stabilized",
            f"The predictions have settled: in {last_rounds(len(newest))} their rank correlation with "
            f"those of the model before was {min(newest):.6g} or more, and {self.options.correlation:.6g} is enough.",
            {"stability": list(newest), "correlation": self.options.correlation, "rounds": self.options.rounds},
        )
