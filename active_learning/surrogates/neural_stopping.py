"""When to stop training networks that are trained side by side, and which of their weights to take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.surrogates.neural_functions import Layer

__all__ = ["EarlyStopping", "copied"]

Floats = NDArray[np.float64]
Tensor = Any


def copied(layers: list[tuple[Tensor, Tensor]]) -> tuple[Layer, ...]:
    """The weights and biases of PyTorch as arrays of their own."""
    return tuple((weights.detach().numpy().copy(), biases.detach().numpy().copy()) for weights, biases in layers)


class EarlyStopping:
    """Judges network by network: one that has stopped keeps its best weights, whatever the others do.

    Parameters
    ----------
    patience : looks without a lower loss after which a network has stopped
    """

    def __init__(self, patience: int, n_networks: int) -> None:
        self._patience = patience
        self._losses = np.full(n_networks, np.inf)
        self._since = np.zeros(n_networks, dtype=int)
        self.layers: tuple[Layer, ...] = ()
        """The best weights and biases of each network so far; empty before the first look."""

    @property
    def is_over(self) -> bool:
        """Whether all networks have stopped."""
        return bool((self._since >= self._patience).all())

    def look(self, losses: Floats, layers: list[tuple[Tensor, Tensor]]) -> None:
        """Show the loss of each network on what is kept back, (n_networks,), and the weights that it has now."""
        is_better = (losses < self._losses) & (self._since < self._patience)
        self.layers = self.layers or copied(layers)
        for best, now in zip(self.layers, layers, strict=True):
            for array, tensor in zip(best, now, strict=True):
                array[is_better] = tensor.detach().numpy()[is_better]
        self._losses = np.where(is_better, losses, self._losses)
        self._since = np.where(is_better, 0, self._since + 1)
