"""Stop when what a campaign may cost is spent: core time of jobs, or time on the wall's clock.

Both are looked at between the steps of a campaign, and what is in flight is awaited: the end lies beyond the limit by
what was under way when it was reached. `labels` is the rule that is never overdrawn.
"""

from __future__ import annotations

from pydantic import Field

from active_learning.domain.campaign import Progress, Verdict
from active_learning.domain.options import Duration, Options
from active_learning.stopping.wording import in_time

__all__ = ["Cost", "WallTime"]


class Cost:
    """Stop once the jobs have held so much core time, all of them together.

    Every settled job counts, a failed one too: for the seconds that it ran, times the cores that it held. Waiting in a
    queue costs nothing.
    """

    class Options(Options):
        """Keys of a ``[[stopping]]`` table of kind `cost`."""

        max: Duration = Field(
            ..., description='Core time of all jobs together, such as "200 h": one core for 200 hours, or 100 for two.'
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, progress: Progress) -> Verdict | None:
        """Stop once the settled jobs have held `max`."""
        if progress.core_s < self.options.max:
            return None
        return Verdict(
            "cost",
            f"The budget of {in_time(self.options.max)} of core time is used up: "
            f"the jobs held {in_time(progress.core_s)}.",
            {"core_s": progress.core_s, "max_core_s": self.options.max},
        )


class WallTime:
    """Stop so long after the campaign was created; the time it lay idle counts too."""

    class Options(Options):
        """Keys of a ``[[stopping]]`` table of kind `wall_time`."""

        max: Duration = Field(..., description='Time since the campaign was created, such as "7 days".')

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, progress: Progress) -> Verdict | None:
        """Stop once the campaign is as old as `max`."""
        if progress.elapsed_s < self.options.max:
            return None
        return Verdict(
            "wall_time",
            f"The time of {in_time(self.options.max)} is used up: "
            f"the campaign was created {in_time(progress.elapsed_s)} ago.",
            {"elapsed_s": progress.elapsed_s, "max_s": self.options.max},
        )
