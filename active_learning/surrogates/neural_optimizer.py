"""Adam with decoupled weight decay.

PyTorch's own takes two seconds for its first step of a process (it imports PyTorch's compiler), longer than most
trainings here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["AdamW"]

Tensor = Any

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


class AdamW:
    """Moves weights and biases against the gradient of a loss; weights decay, biases do not.

    Parameters
    ----------
    layers : (weights, biases) of each layer, with gradients; changed in place
    learning_rate : size of a step
    weight_decay : a step takes ``learning_rate * weight_decay`` of each weight away

    References
    ----------
    Kingma & Ba (2015), arXiv:1412.6980, algorithm 1; Loshchilov & Hutter (2019), arXiv:1711.05101, algorithm 2.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], learning_rate: float, weight_decay: float) -> None:
        self._learning_rate = learning_rate
        shrink = 1.0 - learning_rate * weight_decay
        self._decays = [(tensor, shrink if place == 0 else 1.0) for pair in layers for place, tensor in enumerate(pair)]
        self._first = [tensor.detach() * 0.0 for tensor, _ in self._decays]
        self._second = [tensor.detach() * 0.0 for tensor, _ in self._decays]
        self._n_steps = 0

    def step(self, loss: Tensor) -> None:
        """One step downhill."""
        loss.backward()
        self._n_steps += 1
        size = self._learning_rate / (1.0 - _FIRST**self._n_steps)
        correction = (1.0 - _SECOND**self._n_steps) ** 0.5
        for (tensor, shrink), first, second in zip(self._decays, self._first, self._second, strict=True):
            gradient = tensor.grad
            first.mul_(_FIRST).add_(gradient, alpha=1.0 - _FIRST)
            second.mul_(_SECOND).addcmul_(gradient, gradient, value=1.0 - _SECOND)
            values = tensor.detach()  # the same numbers, outside of what is differentiated
            values.mul_(shrink).addcdiv_(first, second.sqrt().div_(correction).add_(_TINY), value=-size)
            tensor.grad = None
