"""What the training of a network makes small; of each label, from the outputs of each network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LOSSES", "Loss", "cross_entropy", "noise_variance"]

Floats = NDArray[np.float64]
Tensor = Any
Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs (n_networks, n_rows, n_outputs) and targets (n_networks, n_rows) to (n_networks, n_rows)."""

_FLOOR = 1e-6
"""The least variance of the noise, in units of the variance of the labels: keeps its logarithm finite."""


def _squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs[..., 0] - y).square()


def _absolute_error(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs[..., 0] - y).abs()


def _gaussian_nll(outputs: Tensor, y: Tensor) -> Tensor:
    """Negative log likelihood without its constant, eq. 1 of Lakshminarayanan et al."""
    raw = outputs[..., 1]
    variance = raw.clamp(min=0.0) + (-raw.abs()).exp().log1p() + _FLOOR
    return 0.5 * (variance.log() + (outputs[..., 0] - y).square() / variance)


LOSSES: Mapping[str, Loss] = {"mse": _squared_error, "mae": _absolute_error, "gaussian_nll": _gaussian_nll}
"""The losses for numbers, by name."""


def noise_variance(raw: Floats) -> Floats:
    """The variance that the second output of a network trained with 'gaussian_nll' stands for: softplus, and a floor.

    References
    ----------
    Lakshminarayanan, Pritzel & Blundell (2017), arXiv:1612.01474, section 2.2.1.

    >>> noise_variance(np.array([0.0, -800.0, 800.0])).round(6).tolist()
    [0.693148, 1e-06, 800.000001]
    """
    variance: Floats = np.logaddexp(0.0, raw) + _FLOOR
    return variance


def cross_entropy(outputs: Tensor, classes: Tensor) -> Tensor:
    """Minus the log of the probability of each label's class; `classes` are places among the outputs."""
    chosen: Tensor = outputs.log_softmax(dim=-1).gather(-1, classes[..., None])
    return -chosen[..., 0]
