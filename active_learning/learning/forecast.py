"""What the next round is worth, told when its batch is chosen: numbers for the stopping rules, a sentence for people.

A forecast has these keys, each only where it is known:

- ``expected_gain``: mean improvement of the best label by the batch, in the target's unit, >= 0
- ``probability_of_improvement``: that any of the batch is better than the best label
- ``stability``: Spearman's rank correlation of the model's predictions with those of the model before, over the pool
- ``run_s``: seconds that the jobs of the batch will run, all together
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError

__all__ = ["DRAWS", "SAMPLE", "expected_gain", "forecast", "forecast_sentence", "stability"]

Floats = NDArray[np.float64]

DRAWS = 1 << 14
"""Draws of the batch's labels: they give the expected gain to about one percent."""

SAMPLE = 100_000
"""Candidates at most that a rank correlation is taken of: it is then right to about 0.003, and better near 1."""

_BLOCK = 1 << 22
"""Numbers drawn at a time."""


def forecast(
    target: Target,
    *,
    rng: np.random.Generator,
    batch: Prediction | None = None,
    best: float | None = None,
    factor: Floats | None = None,
    run_times: Sequence[float] = (),
    means: Floats | None = None,
    last_means: Floats | None = None,
) -> dict[str, float]:
    """What a batch that was chosen is worth.

    Parameters
    ----------
    rng : give one in the same state each round: gains of different rounds then differ by what is believed, and not by
        the luck of the draws
    batch : what is believed of the candidates chosen, (n_picks, 1); None if none was chosen
    best : value of the best label so far; needed if the goal has a best and there is a batch. What other candidates in
        flight may yet bring is not counted.
    factor : (n_picks, rank) of the batch, see `active_learning.domain.models.KnowsCovariance`; None if nobody knows how
        the picks hang together: they are then taken to be independent, which expects more of a batch of like ones
    run_times : seconds that each job ran so far
    means, last_means : (n_candidates,) predicted by this model and by the one before, for the same candidates; they may
        be memory-mapped, since few rows are read. None if there is none

    Returns
    -------
    The keys of this module, as far as they are known: the first two for a batch and a goal that has a best, `run_s`
    for a batch and some run times (their median times the size of the batch), `stability` for two models. All finite.

    Raises
    ------
    ContractError
        As `expected_gain` and `stability`; or if a run time is negative or not finite.
    """
    known: dict[str, float] = {}
    n_picks = 0 if batch is None else len(batch)
    if batch is not None and n_picks and target.goal.has_best:
        gain, probability = expected_gain(target, batch, best, factor=factor, rng=rng)
        known |= {"expected_gain": gain, "probability_of_improvement": probability}
    if means is not None and last_means is not None:
        known["stability"] = stability(means, last_means, rng=rng)
    times = np.array(run_times, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(times) & (times >= 0)))
    if bad.size:
        raise ContractError(f"run time {bad[0]} is {times[bad[0]]}; seconds that are 0 or more are needed")
    if n_picks and times.size:
        known["run_s"] = float(np.median(times)) * n_picks
    return known


def expected_gain(
    target: Target, batch: Prediction, best: float | None, *, rng: np.random.Generator, factor: Floats | None = None
) -> tuple[float, float]:
    """Mean of ``max(0, max_i merit(y_i) - merit(best))`` over the labels y of a batch, and how often it is not 0.

    The labels are jointly normal: each with the mean and std of the prediction, and what the std holds beyond `factor`
    (noise, a correction) is each one's own. By `DRAWS` draws, then held to what is known in closed form: the gain of a
    batch is at least that of its best pick and at most the sum over its picks, and so is the probability. One pick
    gives Jones' expected improvement exactly, and a gain too small for the draws is not lost.

    Parameters
    ----------
    factor : (n_picks, rank), or None for independent labels; a row that says more than the std is scaled down to it

    Returns
    -------
    gain in the target's unit, >= 0; probability of improvement

    Raises
    ------
    ContractError
        If there is no best label, the goal has no better and worse, the batch is empty or of several targets, or the
        factor does not belong to the batch.

    References
    ----------
    Ginsbourger, Le Riche & Carraro (2010), doi:10.1007/978-3-642-10701-6_6: the multi-points expected improvement.
    Jones, Schonlau & Welch (1998), doi:10.1023/A:1008306431147, eq. 15: that of one point.
    """
    if best is None:
        raise ContractError(f"there is no best label to improve on (goal '{target.goal}')")
    if batch.mean.shape[1] != 1 or not len(batch):
        raise ContractError(f"the prediction of a batch has shape (n_picks, 1), n_picks >= 1, got {batch.mean.shape}")
    mean, std = batch.mean[:, 0], batch.std[:, 0]
    best_merit = float(target.merit(np.array(best)))
    gains, chances = _of_each(target, mean, std, best_merit)
    shared, own = _shared_and_own(std, factor)
    total, n_better = 0.0, 0
    size = max(1, _BLOCK // len(mean))
    for start in range(0, DRAWS, size):
        n = min(size, DRAWS - start)
        normals = rng.standard_normal((n, shared.shape[1] + len(mean)))
        values = mean + normals[:, : shared.shape[1]] @ shared.T + normals[:, shared.shape[1] :] * own
        gain = target.merit(values).max(axis=1) - best_merit
        total += float(gain[gain > 0].sum())
        n_better += int((gain > 0).sum())
    return (
        float(np.clip(total / DRAWS, gains.max(), gains.sum())),
        float(np.clip(n_better / DRAWS, chances.max(), min(chances.sum(), 1.0))),
    )


def _shared_and_own(std: Floats, factor: Floats | None) -> tuple[Floats, Floats]:
    """The part of the labels' spread that hangs together, (n_picks, rank), and what is each one's own, (n_picks,)."""
    if factor is None:
        return np.empty((len(std), 0)), std
    factor = np.asarray(factor, dtype=np.float64)
    if factor.ndim != 2 or len(factor) != len(std) or not np.isfinite(factor).all():
        raise ContractError(
            f"the covariance factor of a batch is finite and has shape ({len(std)}, rank), got {factor.shape}"
        )
    said = np.sqrt(np.square(factor).sum(axis=1))
    scale = np.divide(std, said, out=np.ones_like(std), where=said > std)
    factor = factor * scale[:, None]
    if factor.shape[1] > len(std):
        # The same covariance with as many columns as picks: fewer numbers to draw.
        factor = np.linalg.qr(factor.T)[1].T
    return factor, np.sqrt(np.maximum(np.square(std) - np.square(said * scale), 0.0))


def _of_each(target: Target, mean: Floats, std: Floats, best_merit: float) -> tuple[Floats, Floats]:
    """Expected gain, and its probability, of each candidate alone, in closed form; (n_picks,) each."""
    if target.goal is not Goal.WITHIN:
        gain = target.merit(mean) - best_merit
        return _positive_part(gain, std), _chance(gain, std)
    if best_merit == 0:
        return np.zeros_like(mean), np.zeros_like(mean)
    assert target.low is not None
    assert target.high is not None
    # The gain is a trapezoid over the value: it rises from `outer` to `low`, is flat, and falls from `high` on.
    outer = (target.low + best_merit, target.high - best_merit)
    parts = [_positive_part(mean - edge, std) for edge in (outer[0], target.low, target.high, outer[1])]
    gain = np.maximum(parts[0] - parts[1] - parts[2] + parts[3], 0.0)
    return gain, np.maximum(_chance(mean - outer[0], std) - _chance(mean - outer[1], std), 0.0)


def _z(gain: Floats, std: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.divide(gain, std, out=np.where(gain > 0, np.inf, -np.inf), where=std > 0)


def _positive_part(gain: Floats, std: Floats) -> Floats:
    """Mean of ``max(0, G)`` for normal G: ``gain * Phi(z) + std * phi(z)``, right to about 1e-16 of the std."""
    with np.errstate(over="ignore"):
        density = np.exp(-0.5 * np.square(_z(gain, std))) / math.sqrt(2 * math.pi)
    return np.maximum(gain * _chance(gain, std) + std * density, 0.0)


def _chance(gain: Floats, std: Floats) -> Floats:
    """Probability that a normal is above 0."""
    return np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in _z(gain, std)])


def stability(means: Floats, last_means: Floats, *, rng: np.random.Generator) -> float:
    """Spearman's rank correlation of two models' predictions for the same candidates, in [-1, 1].

    Of a random sample of `SAMPLE` candidates where there are more. 0 if one of the models says the same of all of
    them: it puts them in no order.

    Parameters
    ----------
    means, last_means : (n_candidates,)

    Raises
    ------
    ContractError
        If the shapes differ, or a number is not finite.
    """
    if np.ndim(means) != 1 or np.shape(means) != np.shape(last_means):
        raise ContractError(
            f"predictions to compare have one shape (n,), got {np.shape(means)} and {np.shape(last_means)}"
        )
    if len(means) > SAMPLE:
        rows = np.sort(rng.choice(len(means), SAMPLE, replace=False))
        means, last_means = means[rows], last_means[rows]
    ranks = np.stack([_centered_ranks("means", means), _centered_ranks("last_means", last_means)])
    # Sums of squares of halves, exact in double precision: a product of equals gives 1, not nearly 1.
    squares = np.square(ranks).sum(axis=1)
    if not squares.all():
        return 0.0
    return float(np.clip(ranks[0] @ ranks[1] / math.sqrt(squares[0] * squares[1]), -1.0, 1.0))


def _centered_ranks(name: str, values: Floats) -> Floats:
    """Ranks less their mean, ties sharing theirs."""
    values = np.asarray(values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ContractError(f"{name} is not finite in {bad.size} rows")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    centered: Floats = ranks[inverse] - (len(values) + 1) / 2
    return centered


def forecast_sentence(forecast: Mapping[str, float], target: Target, n: int) -> str:
    """One line on what the next `n` labels are worth and cost, as far as the forecast says.

    >>> target = Target("formation_energy_per_atom", Goal.MINIMIZE, "eV/atom")
    >>> forecast_sentence({"expected_gain": 0.0123, "probability_of_improvement": 0.312}, target, 8)
    'the next 8 labels are expected to improve the best by 0.012 eV/atom (chance of any improvement 31 %)'
    >>> forecast_sentence({"run_s": 7560.0}, target, 1)
    'the next label is expected to take about 2.1 h of run time'
    """
    labels, are = ("label", "is") if n == 1 else (f"{n} labels", "are")
    parts = []
    if "expected_gain" in forecast:
        gain = f"{_about(forecast['expected_gain'])} {target.unit}".rstrip()
        chance = _chance_text(forecast["probability_of_improvement"])
        parts.append(f"to improve the best by {gain} (chance of any improvement {chance})")
    if "run_s" in forecast:
        parts.append(f"to take about {_time(forecast['run_s'])} of run time")
    if not parts:
        return f"nothing is known yet of what the next {labels} {are} worth"
    return f"the next {labels} {are} expected {', and '.join(parts)}"


def _about(value: float) -> str:
    """A number of 0 or more, to two digits."""
    if value and not 1e-4 <= value < 1e6:
        return f"{value:.1e}"
    decimals = 1 - math.floor(math.log10(value)) if value else 0
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def _chance_text(probability: float) -> str:
    if 0 < probability < 0.01:
        return "below 1 %"
    if 0.99 < probability < 1:
        return "above 99 %"
    return f"{100 * probability:.0f} %"


def _time(seconds: float) -> str:
    sizes = ((172_800.0, 86_400.0, "d"), (3600.0, 3600.0, "h"), (60.0, 60.0, "min"), (0.0, 1.0, "s"))
    return next(f"{_about(seconds / size)} {unit}" for least, size, unit in sizes if seconds >= least)
