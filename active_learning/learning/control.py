"""What a control drawn at random says of a campaign while it runs: how wrong its model is, how much it beats chance.

Labels that the model chose are no fair sample: it looked for extremes, and where it erred it looked again. Labels drawn
at random are, and each was predicted before it was known.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Acceleration", "ControlError", "acceleration", "control_error"]

Floats = NDArray[np.float64]

LEVEL = 0.95
_RESAMPLES = 2_000


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


def acceleration(control: Floats, chosen: Floats) -> Acceleration | None:
    r"""The acceleration factor of a campaign that runs beside its control; None without labels of either.

    The level is the best of the n control labels. Whatever the distribution of the pool, the probability p that a
    random candidate reaches that level is Beta(1, n) distributed, so that the ``1 / p`` labels that chance needs on
    average have an exact interval. The model needed t of its own choices; the factor is ``1 / (p t)``. The interval is
    that of chance: of the model there is one run only.

    Parameters
    ----------
    control : (n_control,), merits of the labels drawn at random
    chosen : (n_chosen,), merits of the labels that the model chose, in the order they were asked for

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
    n = len(control)
    there = np.flatnonzero(np.asarray(chosen) >= np.max(control))
    t = int(there[0]) + 1 if len(there) else len(chosen)
    # The more probable the level, the fewer labels chance needs: the upper end of p is the lower end of the factor.
    p_low, p_middle, p_high = (-np.expm1(np.log1p(-q) / n) for q in ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2))
    return Acceleration(
        factor=float(1 / (p_middle * t)),
        low=float(1 / (p_high * t)) if len(there) else 0.0,
        high=float(1 / (p_low * t)),
        n_control=n,
        n_chosen=t,
        has_reached=bool(len(there)),
    )
