"""What a control drawn at random says of a campaign while it runs: how wrong its model is, how much it beats chance.

Labels that the model chose are no fair sample: it looked for extremes, and where it erred it looked again. Labels drawn
at random are, and each was predicted before it was known.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Acceleration", "ControlError", "Drawn", "acceleration", "control_error"]

Floats = NDArray[np.float64]

LEVEL = 0.95
_RESAMPLES = 2_000
_HALVINGS = 60


@dataclass(frozen=True)
class ControlError:
    """The mean absolute error on candidates drawn at random, in the target's unit, with its 95 % interval."""

    n: int
    mae: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the parameters."""
        return asdict(self)


def control_error(y: Floats, mean: Floats) -> ControlError | None:
    """The error of predictions that were made before the labels were known; None for fewer than two.

    The interval is a percentile bootstrap over the labels: with few of them (below about ten) it is too narrow.

    Parameters
    ----------
    y, mean : (n,), labels of the control and what was predicted for them
    """
    if len(y) < 2:
        return None
    errors = np.abs(np.asarray(y) - np.asarray(mean))
    rng = np.random.default_rng(len(errors))
    resampled = errors[rng.integers(len(errors), size=(_RESAMPLES, len(errors)))].mean(axis=1)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return ControlError(len(errors), float(errors.mean()), float(low), float(high))


@dataclass(frozen=True)
class Acceleration:
    """How many times fewer labels the model needed than chance does, to reach the best of the control.

    Parameters
    ----------
    factor : labels that chance needs at the median of what is known of it, for each that the model needed
    low, high : its 95 % interval; `low` is 0 if the model has not got there yet
    n_control, n_chosen : labels drawn at random, and labels that the model chose until it got there (or so far)
    has_reached : whether the model has a label as good as the best of the control
    """

    factor: float
    low: float
    high: float
    n_control: int
    n_chosen: int
    has_reached: bool

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the parameters."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a control was drawn from: a pool that shrinks, since the model takes the best of it.

    Parameters
    ----------
    n_candidates : of the whole pool
    taken : (n_taken,), merits of all labels but those of the control, in the order they were asked for
    n_before : (n_control,), how many of these were gone when each of the control was drawn
    """

    n_candidates: int
    taken: Floats
    n_before: NDArray[np.intp]

    def n_as_good(self, control: Floats, q: float) -> float:
        """The quantile `q` of how many candidates of the pool are as good as the best of the control.

        With m of them, a draw from the n_left that are there reaches it with probability ``p = (m - n_gone) / n_left``,
        where n_gone are those that were taken before. That none of the draws comes higher has the probability
        ``prod(1 - p)``, which is uniform: where it is ``1 - q`` lies the quantile. What has a label is known.
        """
        level = float(np.max(control))
        gone = np.concatenate([[0], np.cumsum(self.taken >= level)])[self.n_before]
        left = self.n_candidates - self.n_before - np.arange(len(self.n_before))

        def excess(m: float) -> float:
            missed = 1 - np.clip((m - gone) / left, 0, 1)
            return float(np.log(np.maximum(missed, np.finfo(np.float64).tiny)).sum() - np.log1p(-q))

        known = np.concatenate([self.taken, control])
        least, most = float((known >= level).sum()), float(self.n_candidates - (known < level).sum())
        if excess(least) <= 0:
            return least
        for _ in range(_HALVINGS):  # no more is needed, and status loads nothing heavy for it
            middle = (least + most) / 2
            least, most = (middle, most) if excess(middle) > 0 else (least, middle)
        return least


def acceleration(control: Floats, chosen: Floats, drawn: Drawn | None = None) -> Acceleration | None:
    r"""The acceleration factor of a campaign that runs beside its control; None without labels of either.

    The level is the best of the n control labels. Whatever the distribution of the pool, the probability p that a
    random candidate reaches that level is Beta(1, n) distributed, so that the ``1 / p`` labels that chance needs on
    average have an exact interval. The model needed t of its own choices; the factor is ``1 / (p t)``. The interval is
    that of chance: of the model there is one run only.

    So it is for a pool without end. Of a real one the model takes the best first, and the control is drawn from what
    is left: its level is then lower than that of a draw from the whole pool, and the factor would be too high (five
    times, where an ideal model has taken a third of a pool of 500). With `drawn` that is reckoned in: chance, which
    draws from the whole pool of N without putting back, needs ``(N + 1) / (m + 1)`` labels to meet one of the m that
    reach the level.

    Parameters
    ----------
    control : (n_control,), merits of the labels drawn at random, in the order they were drawn
    chosen : (n_chosen,), merits of the labels that the model chose, in the order they were asked for
    drawn : what the control was drawn from; None for a pool without end

    References
    ----------
    David & Nagaraja, Order Statistics (2003), section 2.1: the coverage of an order statistic is Beta distributed.
    Rohr et al., Chem. Sci. 11, 2696 (2020), doi:10.1039/c9sc05999g: the acceleration factor.

    >>> found = acceleration(np.array([0.1, 0.7, 0.3]), np.array([0.2, 0.9]))
    >>> found.n_chosen, found.low < found.factor < found.high
    (2, True)
    """
    if not len(control) or not len(chosen):
        return None
    there = np.flatnonzero(np.asarray(chosen) >= np.max(control))
    t = int(there[0]) + 1 if len(there) else len(chosen)
    # The more candidates reach the level, the fewer labels chance needs: the upper end of the one is the lower of the
    # other.
    most, middle, least = (
        _needed_by_chance(np.asarray(control), q, drawn) / t for q in ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2)
    )
    return Acceleration(
        factor=middle,
        low=least if len(there) else 0.0,
        high=most,
        n_control=len(control),
        n_chosen=t,
        has_reached=bool(len(there)),
    )


def _needed_by_chance(control: Floats, q: float, drawn: Drawn | None) -> float:
    """Labels that chance needs to be as good as the control, at a quantile of how easy that is."""
    if drawn is None:
        return float(-1 / np.expm1(np.log1p(-q) / len(control)))
    return (drawn.n_candidates + 1) / (drawn.n_as_good(control, q) + 1)
