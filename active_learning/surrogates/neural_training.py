"""Training of networks side by side, with PyTorch: differentiation only.

Everything random is drawn from the caller's generator, by numpy. Networks are trained together, as slices of the same
arrays, and know nothing of each other: a step on five costs little more than one on one.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import UserError
from active_learning.surrogates.neural_functions import Layer
from active_learning.surrogates.neural_losses import Loss
from active_learning.surrogates.neural_optimizer import AdamW
from active_learning.surrogates.neural_options import NeuralNetworkOptions
from active_learning.surrogates.neural_stopping import EarlyStopping, copied

__all__ = ["FEWEST_TO_VALIDATE", "require_torch", "train"]

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Tensor = Any

FEWEST_TO_VALIDATE = 20
"""With fewer labels none are kept back: two labels cannot say when to stop, and the others need them."""

_ONE_AT_A_TIME = threading.Lock()
"""How many threads PyTorch takes is a matter of the whole process, so two trainings in it wait for each other."""

_MISSING = (
    "The surrogate 'neural_network' needs PyTorch, which is not installed."
    " Install it with: pip install 'motherlode[nn]'."
)


def require_torch() -> None:
    """Look whether PyTorch is there; it is not imported, which takes seconds.

    Raises
    ------
    UserError
        If it is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise UserError(_MISSING)


@contextmanager
def _torch_on_one_thread() -> Iterator[Any]:
    """PyTorch on one thread: sums over more than one depend on their number. Afterwards it has as many as before."""
    require_torch()
    torch: Any = importlib.import_module("torch")
    with _ONE_AT_A_TIME:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield torch
        finally:
            torch.set_num_threads(before)


def train(
    X: Floats,
    y: Floats,
    *,
    loss: Loss,
    n_outputs: int,
    n_networks: int,
    options: NeuralNetworkOptions,
    rng: np.random.Generator,
    strata: Integers | None = None,
) -> tuple[Layer, ...]:
    """The layers of trained networks.

    Each network has its own initial weights, order of the labels, and labels kept back for validation. Training ends
    after `options.epochs`, or when no network got better for `options.patience` epochs; each then takes the weights
    with which it was best. What is kept back is judged with all units in place.

    Parameters
    ----------
    X : (n_labels, n_features), standardized
    y : (n_labels,), standardized; or the places of the classes
    strata : (n_labels,), of each of which at least one label is trained on; by default they do not matter

    Raises
    ------
    UserError
        If PyTorch is not installed, or the loss becomes infinite or NaN.
    """
    widths = (X.shape[1], *options.hidden, n_outputs)
    fitted, kept_back = _split(len(X), n_networks, options.validation, strata, rng)
    with _torch_on_one_thread() as torch:
        layers = [_initial(torch, n_networks, n_in, n_out, rng) for n_in, n_out in pairwise(widths)]
        inputs, targets = torch.from_numpy(X), torch.from_numpy(y)
        optimizer = AdamW(layers, options.learning_rate, options.weight_decay)
        best = EarlyStopping(options.patience, n_networks)

        def loss_of(rows: Integers, masks: list[Tensor]) -> Tensor:
            return loss(_forward(inputs[rows], layers, masks), targets[rows]).mean(dim=1)

        for epoch in range(options.epochs):
            total = 0.0
            for rows in _batches(fitted, options.batch_size, rng):
                value = loss_of(rows, _dropped(torch, rows.shape, options, rng)).sum()
                optimizer.step(value)
                total += value.item()
            _check_finite(total, epoch, options)
            if kept_back.size:
                best.look(loss_of(kept_back, []).detach().numpy(), layers)
                if best.is_over:
                    break
        return best.layers if kept_back.size else copied(layers)


def _split(
    n_labels: int, n_networks: int, share: float, strata: Integers | None, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """For each network the rows to train on and the rows to keep back, (n_networks, n_rows) each."""
    n_back = round(share * n_labels) if n_labels >= FEWEST_TO_VALIDATE else 0
    orders = [rng.permutation(n_labels) for _ in range(n_networks)]
    if strata is not None:
        firsts = [np.unique(strata[order], return_index=True)[1] for order in orders]
        orders = [np.concatenate([o[first], np.delete(o, first)]) for o, first in zip(orders, firsts, strict=True)]
        n_back = min(n_back, n_labels - len(firsts[0]))
    order = np.stack(orders)
    return order[:, : n_labels - n_back], order[:, n_labels - n_back :]


def _initial(torch: Any, n_networks: int, n_in: int, n_out: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Weights of variance 2 / n_in, which keep the size of what passes rectified units (He et al. 2015,
    arXiv:1502.01852, eq. 10), and small biases, so that the units' kinks lie apart."""
    weights = rng.normal(scale=math.sqrt(2.0 / max(n_in, 1)), size=(n_networks, n_in, n_out))
    biases = rng.uniform(-1.0, 1.0, size=(n_networks, 1, n_out)) / math.sqrt(max(n_in, 1))
    return torch.from_numpy(weights).requires_grad_(), torch.from_numpy(biases).requires_grad_()


def _batches(rows: Integers, size: int, rng: np.random.Generator) -> list[Integers]:
    """The rows of each network in a new order, in batches of about the same size, (n_networks, n_batch) each."""
    return np.array_split(rng.permuted(rows, axis=1), math.ceil(rows.shape[1] / size), axis=1)


def _dropped(
    torch: Any, shape: tuple[int, ...], options: NeuralNetworkOptions, rng: np.random.Generator
) -> list[Tensor]:
    """For each hidden layer 0 for the units that a row does without, 1 / keep for the others; empty without dropout."""
    if not options.dropout:
        return []
    keep = 1.0 - options.dropout
    masks = [rng.random((*shape, width), dtype=np.float32) < keep for width in options.hidden]
    return [torch.from_numpy(mask / keep) for mask in masks]


def _forward(units: Tensor, layers: list[tuple[Tensor, Tensor]], masks: list[Tensor]) -> Tensor:
    """The outputs of each network for its rows, (n_networks, n_rows, n_outputs)."""
    for number, (weights, biases) in enumerate(layers):
        units = units @ weights + biases
        if number + 1 < len(layers):
            units = units.relu()
            if masks:
                units = units * masks[number]
    return units


def _check_finite(total: float, epoch: int, options: NeuralNetworkOptions) -> None:
    if not math.isfinite(total):
        raise UserError(
            f"the training of the neural network went astray: its loss was {total} in epoch {epoch + 1}; choose a "
            f"learning_rate below {options.learning_rate:g}"
        )
