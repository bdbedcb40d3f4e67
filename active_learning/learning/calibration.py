"""Recalibration: a linear map of a model's std, fitted on errors of predictions for labels it was not trained on.

A forest's spread is too wide or too narrow by a factor that depends on the data and on how much of it there is; a
process fitted to few labels is far too sure. What the errors on held-out labels say repairs most of it.

The map is fitted by Huber's likelihood rather than the normal one. Errors of models of materials have heavy tails: a
plain fit widens every std for the sake of a few labels, until the intervals of all others are too wide. Measured on
tables of materials the normal likelihood leaves a larger miscalibration area on other data; Huber's has a mean z^2
somewhat above its 1. Where the tails are extreme (a few labels a hundred times the others) no normal interval can have
both right: the intervals of most labels are then right, and mean z^2 stays above 1.

References
----------
Palmer et al., npj Comput. Mater. 8, 115 (2022), doi:10.1038/s41524-022-00794-8: the linear map, by maximum likelihood.
Huber, Ann. Math. Statist. 35, 73 (1964), doi:10.1214/aoms/1177703732: the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from active_learning.domain.metrics import calibration_metrics
from active_learning.errors import ContractError
from active_learning.learning.calibration_record import CalibrationRecord, Source

__all__ = ["MIN_LINEAR", "MIN_SCALE", "CalibrationOutcome", "Recalibration", "fit_recalibration", "recalibrate"]

Floats = NDArray[np.float64]
Folds = NDArray[np.integer]

MIN_SCALE = 10
"""Fewest held-out errors to fit a map on: its slope only."""

MIN_LINEAR = 20
"""Fewest held-out errors to fit slope and offset on."""

_HUBER = 2.5
_NORMAL_SHARE = math.erf(_HUBER / math.sqrt(2.0))
# Of the mean absolute error: nobody is surer than this. It also keeps rows without std or error from ruling the fit.
_FLOOR = 0.02
# Expected advantage, in the loss summed over the labels, of a map that was fitted to them over one that was not: half
# for each of two parameters on either side (Akaike's correction).
_OPTIMISM = 2.0
# As (slope, offset), in units of the mean absolute error and the mean std.
_STARTS = ((1.0, 0.1), (0.5, 0.5), (0.1, 1.0))


@dataclass(frozen=True)
class Recalibration:
    """The map ``std -> slope * std + offset``, both in the target's unit.

    Parameters
    ----------
    slope : at least 0; without unit
    offset : at least 0; in the target's unit

    Raises
    ------
    ContractError
        If one is negative or not finite.
    """

    slope: float
    offset: float

    none: ClassVar[Recalibration]
    """The map that changes nothing."""

    def __post_init__(self) -> None:
        if not (0 <= self.slope < math.inf and 0 <= self.offset < math.inf):
            raise ContractError(f"slope and offset are finite and at least 0, got {self.slope} and {self.offset}")

    def __call__(self, std: Floats) -> Floats:
        """The recalibrated std, in the shape of `std`.

        >>> Recalibration(2.0, 0.5)(np.array([0.0, 1.0])).tolist()
        [0.5, 2.5]
        """
        return self.slope * np.asarray(std, dtype=np.float64) + self.offset


Recalibration.none = Recalibration(1.0, 0.0)


@dataclass(frozen=True, eq=False)
class CalibrationOutcome:
    """The map to use, and what is known of it.

    Parameters
    ----------
    std : (n_labels,), in the target's unit: that of each held-out label under the map, or, if the map was fitted to
        these labels, under one that was fitted without its fold. The record's `after` is of these
    """

    recalibration: Recalibration
    record: CalibrationRecord
    std: Floats


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Absolute errors and stds of predictions for labels that the model was not trained on, (n,) each."""

    error: Floats
    std: Floats

    def __len__(self) -> int:
        return len(self.error)

    def rows(self, which: NDArray[np.bool_]) -> Self:
        return type(self)(self.error[which], self.std[which])


def fit_recalibration(y: Floats, mean: Floats, std: Floats) -> Recalibration:
    """The map under which errors on held-out labels are likeliest.

    Minimizes ``mean(log s + rho(|y - mean| / s) / erf(c / sqrt(2)))`` over slope and offset of
    ``s = slope * std + offset``, with Huber's ``rho(z) = z^2 / 2`` up to ``c = 2.5`` and ``c z - c^2 / 2`` beyond
    (1964); the factor makes the map right for normal errors, and for c to infinity this is the normal likelihood of
    Palmer et al. (2022). The offset is at least a fiftieth of the mean absolute error, so that nobody stays quite sure.

    From 10 to 19 labels only the slope is fitted, on this least offset; of fewer, or of no error at all, nothing is
    learned, and the map changes nothing. If no std is above zero (to the resolution of a float beside the errors) the
    slope is 1 and the offset fitted.

    Parameters
    ----------
    y, mean, std : (n_labels,), in the target's unit
        Values, and what models that were not trained on them predicted.

    Raises
    ------
    ContractError
        If shapes differ, a number is not finite (its row is named) or an std is negative.
    """
    held_out = _held_out(y, mean, std)
    return _fit(held_out, is_linear=len(held_out) >= MIN_LINEAR) if _can_fit(held_out) else Recalibration.none


def recalibrate(
    y: Floats, mean: Floats, std: Floats, *, folds: Folds, previous: Recalibration | None
) -> CalibrationOutcome:
    """Fit a map to held-out predictions; keep the last good one, or none, where it would be better.

    The fitted map is judged on errors that it was not fitted to: those of each fold under the map of the other folds.
    The previous map has seen most of these labels; it would win most rounds by that alone, and grow old. It is
    therefore kept (as no map at all is) only if its mean loss is lower by more than a standard error of the difference
    and the advantage that fitting two parameters gives, 2 / n_labels. The loss is that of `fit_recalibration`. With too
    few labels to fit on, the previous map stays.

    Parameters
    ----------
    y, mean, std : (n_labels,), in the target's unit
        Values, and what models that were not trained on them predicted.
    folds : (n_labels,), integers
        Which labels were held out together; at least two different ones if there are 10 labels or more.
    previous : the last map that was fitted; None if there was none

    Returns
    -------
    The map, a record whose `after` is honest (cross-fitted if the map is fitted), and the stds that it is of. If the
    map is "none", and there are labels enough to fit on, it still adds the least offset of `fit_recalibration`.

    Raises
    ------
    ContractError
        If shapes differ, a number is not finite (its row is named), an std is negative, or all labels are one fold.
    """
    held_out, folds = _held_out(y, mean, std), np.asarray(folds)
    if folds.shape != held_out.error.shape:
        raise ContractError(f"folds have shape {folds.shape}; one for each of the {len(held_out)} labels is needed")
    maps: dict[Source, Recalibration] = {"none": _barely(held_out)}
    if previous is not None:
        maps["kept"] = previous
    stds = {source: chosen(held_out.std) for source, chosen in maps.items()}
    if _can_fit(held_out):
        if (folds == folds[0]).all():
            raise ContractError(f"all {len(folds)} labels are one fold; a map is not judged on what it was fitted to")
        maps["fitted"] = _fit(held_out, is_linear=len(held_out) >= MIN_LINEAR)
        stds["fitted"] = _cross_fitted(held_out, folds)
        source = _best(held_out.error, stds)
    else:
        source = "none" if previous is None else "kept"
    found = maps[source]
    record = CalibrationRecord(
        n=len(held_out),
        source=source,
        slope=found.slope,
        offset=found.offset,
        before=calibration_metrics(y, mean, std),
        after=calibration_metrics(y, mean, stds[source]),
    )
    return CalibrationOutcome(found, record, stds[source])


def _held_out(y: Floats, mean: Floats, std: Floats) -> _HeldOut:
    columns = {name: np.asarray(v, dtype=np.float64) for name, v in (("y", y), ("mean", mean), ("std", std))}
    if len({v.shape for v in columns.values()}) > 1 or columns["y"].ndim != 1:
        shapes = ", ".join(str(v.shape) for v in columns.values())
        raise ContractError(f"y, mean and std have one shape (n_labels,), got {shapes}")
    for name, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ContractError(f"{name} is not finite in row {bad[0]} ({bad.size} rows in all)")
    if (columns["std"] < 0).any():
        raise ContractError(f"std is negative in row {np.flatnonzero(columns['std'] < 0)[0]}")
    return _HeldOut(np.abs(columns["y"] - columns["mean"]), columns["std"])


def _can_fit(held_out: _HeldOut) -> bool:
    return len(held_out) >= MIN_SCALE and bool(held_out.error.any())


def _barely(held_out: _HeldOut) -> Recalibration:
    """No map but for the least offset, so that nobody stays quite sure; with too few labels, no map at all."""
    return Recalibration(1.0, _FLOOR * _mean_of(held_out.error)) if _can_fit(held_out) else Recalibration.none


def _losses(error: Floats, std: Floats) -> Floats:
    """Huber's negative log likelihood of each absolute error, up to a constant; stds are above zero."""
    z = error / std
    rho = np.where(z <= _HUBER, np.square(z) / 2, _HUBER * z - _HUBER**2 / 2)
    return np.asarray(np.log(std) + rho / _NORMAL_SHARE)


def _fit(held_out: _HeldOut, *, is_linear: bool) -> Recalibration:
    """The likeliest map; the one that changes nothing if there is no error."""
    error_unit, std_unit = _mean_of(held_out.error), _mean_of(held_out.std)
    if error_unit == 0:
        return Recalibration.none
    error = held_out.error / error_unit
    has_std = std_unit > np.finfo(np.float64).eps * error_unit
    std = held_out.std / std_unit if has_std else np.zeros_like(error)

    def value_and_slope(point: Floats) -> tuple[float, Floats]:
        s = point[0] * std + point[1]
        z = error / s
        # The derivative of the loss by s: (1 - psi(z) z / erf) / s.
        by_s = (1 - z * np.minimum(z, _HUBER) / _NORMAL_SHARE) / s
        return float(_losses(error, s).mean()), np.array([(by_s * std).mean(), by_s.mean()])

    free = (_FLOOR, None)
    slopes, offsets = ((0.0, None), free if is_linear else (_FLOOR, _FLOOR)) if has_std else ((1.0, 1.0), free)
    tries = [
        minimize(value_and_slope, start, jac=True, bounds=[slopes, offsets], method="L-BFGS-B") for start in _STARTS
    ]
    slope, offset = min(tries, key=lambda found: float(found.fun)).x
    return Recalibration(float(slope) * error_unit / std_unit if has_std else 1.0, float(offset) * error_unit)


def _mean_of(values: Floats) -> float:
    """Their mean; the sum may be larger than a float can be."""
    largest = float(values.max())
    return largest * float((values / largest).mean()) if largest > 0 else 0.0


def _cross_fitted(held_out: _HeldOut, folds: Folds) -> Floats:
    """The std of each label under the map of the other folds, (n_labels,)."""
    std = np.empty_like(held_out.std)
    for fold in np.unique(folds):
        inside = folds == fold
        std[inside] = _fit(held_out.rows(~inside), is_linear=len(held_out) >= MIN_LINEAR)(held_out.std[inside])
    return std


def _best(error: Floats, stds: dict[Source, Floats]) -> Source:
    """The map to use: the fitted one, unless another is better by more than chance."""
    # A kept map may have had a lower floor.
    least = _FLOOR * _mean_of(error)
    losses = {source: _losses(error, np.maximum(std, least)) for source, std in stds.items()}
    gains = {source: losses["fitted"] - loss for source, loss in losses.items()}
    clear: dict[Source, float] = {"fitted": 0.0}
    for source, gain in gains.items():
        if gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)) + _OPTIMISM / len(gain):
            clear[source] = float(gain.mean())
    return max(clear, key=lambda source: clear[source])
