"""Gains and probabilities of a normal belief, right to many digits however small the std and however far the tail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

__all__ = [
    "expected_improvement",
    "expected_improvement_within",
    "log_expected_improvement",
    "probability_between",
    "probability_of_improvement",
]

Floats = NDArray[np.float64]

_FAR = 40.0
"""Standard deviations beyond which the normal density is 0 in double precision (it is from 38.6 on), and from which
the series of Mills' ratio is better than 1 minus a number near 1."""

_NODES, _WEIGHTS = (np.asarray(part) for part in np.polynomial.legendre.leggauss(8))


def _standardized(gain: Floats, std: Floats) -> tuple[Floats, Floats, Floats]:
    """`gain` and `std` as arrays, and ``|gain| / std``, infinite where std is 0 or next to it."""
    gain, std = np.asarray(gain, dtype=np.float64), np.asarray(std, dtype=np.float64)
    a = np.full(np.shape(gain), np.inf)
    with np.errstate(over="ignore"):
        np.divide(np.abs(gain), std, out=a, where=std > 0)
    return gain, std, a


def _rest(a: Floats) -> Floats:
    """``1 - a Phi(-a) / phi(a)`` for finite a >= 0: 1 at 0, ``1/a^2`` far out.

    Mills' ratio Phi(-a) / phi(a) is sqrt(pi/2) erfcx(a / sqrt(2)); far out, the asymptotic series (Abramowitz &
    Stegun 26.2.12) does not cancel.
    """
    near = np.minimum(a, _FAR)
    q = np.square(1.0 / np.maximum(a, _FAR))
    series = q * (1.0 - q * (3.0 - q * (15.0 - q * (105.0 - 945.0 * q))))
    rest: Floats = np.where(a < _FAR, 1.0 - near * np.sqrt(np.pi / 2) * erfcx(near / np.sqrt(2)), series)
    return rest


def expected_improvement(gain: Floats, std: Floats) -> Floats:
    r"""Mean of ``max(0, G)`` for a normal ``G`` with mean `gain` and standard deviation `std`.

    ``gain * Phi(z) + std * phi(z)`` with ``z = gain / std``, and ``max(gain, 0)`` in the limit ``std -> 0``. Computed
    as ``max(gain, 0) + std * h(|z|)``, ``h(a) = phi(a) - a Phi(-a)``: the sum above cancels for ``z << 0`` and can
    even turn out negative, while every term here is non-negative and right to about 1e-12, relative.

    Parameters
    ----------
    gain, std : (n,), in one unit; std >= 0

    Returns
    -------
    (n,), >= 0, in the same unit; infinite if it exceeds the largest number

    References
    ----------
    Jones, Schonlau & Welch (1998), doi:10.1023/A:1008306431147, eq. 15.

    >>> expected_improvement(np.array([0.0, 2.0, -2.0]), np.array([1.0, 0.0, 0.0])).round(4).tolist()
    [0.3989, 2.0, 0.0]
    """
    with np.errstate(over="ignore"):
        improvement: Floats = np.maximum(gain, 0.0) + _luck(gain, std)
    return improvement


def _luck(gain: Floats, std: Floats) -> Floats:
    """What doubt adds to ``max(gain, 0)``: ``std * h(|gain| / std)``, (n,), >= 0."""
    gain, std, a = _standardized(gain, std)
    a = np.minimum(a, _FAR)
    density = np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi)
    luck: Floats = std * (density * _rest(a))
    return luck


def log_expected_improvement(gain: Floats, std: Floats) -> Floats:
    r"""Natural logarithm of `expected_improvement`, which tells candidates apart where that one is 0 for all of them.

    ``log(std) - z^2 / 2 - log(sqrt(2 pi)) + log(1 - |z| Phi(z) / phi(z))`` for ``z = gain / std < -1``. What lies
    below the least finite number, such as the logarithm of 0 where std is 0 and nothing is gained, is given as that.

    Parameters
    ----------
    gain, std : (n,), in one unit; std >= 0

    Returns
    -------
    (n,), higher is better; infinite only if the improvement exceeds the largest number

    References
    ----------
    Ament et al. (2023), arXiv:2310.20708, section 4.1.

    >>> log_expected_improvement(np.array([1.0, -40.0]), np.array([0.0, 1.0])).round(3).tolist()
    [0.0, -808.299]
    """
    gain, std, a = _standardized(gain, std)
    in_tail = (gain < 0) & (a > 1.0)
    with np.errstate(divide="ignore", over="ignore"):
        direct = np.log(expected_improvement(np.where(in_tail, 0.0, gain), std))
        # Beyond 1e154 the square overflows: -infinity, which is the limit.
        tail = np.log(std) - 0.5 * np.square(a) - 0.5 * np.log(2 * np.pi) + np.log(_rest(np.where(in_tail, a, 1.0)))
    logs: Floats = np.maximum(np.where(in_tail, tail, direct), np.finfo(np.float64).min)
    return logs


def probability_of_improvement(gain: Floats, std: Floats) -> Floats:
    """Probability that a normal ``G`` with mean `gain` and standard deviation `std` is above 0.

    ``Phi(gain / std)``; without doubt, std = 0, it is 1 for a gain above 0 and else 0.

    Parameters
    ----------
    gain, std : (n,), in one unit; std >= 0

    Returns
    -------
    (n,), 0 to 1

    References
    ----------
    Kushner (1964), doi:10.1115/1.3653121.

    >>> probability_of_improvement(np.array([0.0, 1e-9, 0.0]), np.array([1.0, 0.0, 0.0])).tolist()
    [0.5, 1.0, 0.0]
    """
    gain, std, a = _standardized(gain, std)
    probability: Floats = np.where(std > 0, ndtr(np.copysign(a, gain)), gain > 0)
    return probability


def probability_between(low: float, high: float, mean: Floats, std: Floats) -> Floats:
    """Probability that a normal value lies from `low` to `high`; without doubt, std = 0, it is 1 or 0.

    Parameters
    ----------
    mean, std : (n,), in the unit of `low` and `high`; std >= 0

    >>> probability_between(-1.0, 1.0, np.array([0.0, 5.0, 1.0]), np.array([1.0, 0.0, 0.0])).round(4).tolist()
    [0.6827, 0.0, 1.0]
    """
    with np.errstate(over="ignore"):
        over_low, over_high = np.asarray(mean - low), np.asarray(mean - high)
        # The mirror image about the middle, if need be, so that the tail is on the side where Phi has its digits.
        is_above = over_low > -over_high
    over_low, over_high = np.where(is_above, -over_high, over_low), np.where(is_above, -over_low, over_high)
    a, b = (np.copysign(_standardized(part, std)[2], part) for part in (over_high, over_low))
    probability: Floats = np.where(std > 0, ndtr(b) - ndtr(a), (over_low >= 0) & (over_high <= 0))
    return probability


def expected_improvement_within(low: float, high: float, reach: float, mean: Floats, std: Floats) -> Floats:
    r"""Mean of ``max(0, reach - D)``, where ``D`` is the distance of a normal value from the interval [low, high].

    This is a trapezoid: four ramps, each of them an expected improvement over a corner. With
    ``e(t) = E[max(0, Y - t)]`` it is ``e(low - reach) - e(low) - e(high) + e(high + reach)``, and
    ``max(0, reach - D)`` of the mean in the limit ``std -> 0``. Where `reach` is small against the std these cancel,
    and the same number is the integral of ``P(low - s < Y < high + s)`` over s from 0 to `reach`, by 8 Gauss-Legendre
    nodes; right to about 1e-10, relative, of either.

    Parameters
    ----------
    reach : distance from the interval that there is to improve on; nothing can improve on 0 or less
    mean, std : (n,), all in one unit; std >= 0

    Returns
    -------
    (n,), 0 to `reach`

    >>> expected_improvement_within(0.0, 1.0, 2.0, np.array([0.5, 1.5, 9.0]), np.zeros(3)).tolist()
    [2.0, 1.5, 0.0]
    """
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if reach <= 0:
        return np.zeros(mean.shape)
    with np.errstate(over="ignore"):
        over_low, over_high = mean - low, mean - high
        is_above = over_low > -over_high
        over_low, over_high = np.where(is_above, -over_high, over_low), np.where(is_above, -over_low, over_high)
        # The corners at the upper bound are above the mean; of the lower ones, what is certain adds up to this.
        certain = np.clip(over_low + reach, 0.0, reach)
        rise = _luck(over_low + reach, std) - _luck(over_low, std)
        fall = _luck(over_high, std) - _luck(over_high - reach, std)
    improvement: Floats = np.clip(certain + (rise - fall), 0.0, reach)
    flat = reach < 0.1 * std
    if flat.any():
        total = np.zeros(int(flat.sum()))
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            s = 0.5 * reach * (1.0 + node)
            total += weight * probability_between(low - s, high + s, mean[flat], std[flat])
        improvement[flat] = 0.5 * reach * total
    return improvement
