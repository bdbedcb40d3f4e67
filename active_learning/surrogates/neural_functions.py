"""Trained multi-layer perceptrons as functions: numpy alone, so that whoever predicts need not load PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.last_digits import blocks, one_thread
from active_learning.errors import ContractError
from active_learning.surrogates.standardized import StandardFeatures, taken

__all__ = ["Layer", "Perceptrons", "inputs_of"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]
Layer = tuple[Floats, Floats]
"""Weights (n_networks, n_in, n_out) and biases (n_networks, 1, n_out)."""

_CUT = 10.0
"""A standardized feature beyond is cut off, so that one odd descriptor cannot drown the others."""


def inputs_of(features: StandardFeatures, X: Floats) -> Floats:
    """`X` as networks get it, (n_rows, n_varying): standardized, and cut off at 10 standard deviations."""
    return np.clip(features.standard(X), -_CUT, _CUT)


@dataclass(frozen=True, eq=False)
class Perceptrons:
    """Functions of standardized features: rectified linear units, one or more networks side by side.

    Without masks each network is a function. With masks there is one network, and each function is what is left of it
    when some hidden units are dropped: always the same units, whatever the rows, so that it is a function.

    The arrays are copied and cannot be written to.

    Parameters
    ----------
    features : of the labels; one that never varied is left out
    layers : weights (n_networks, n_in, n_out) and biases (n_networks, 1, n_out), first layer first
    masks : for each hidden layer (n_functions, n_units), true for the units that stay; or none at all
    keep : probability with which a unit stays; what stays is divided by it, so that the expectation does not change

    Raises
    ------
    ContractError
        If the arrays do not fit together, or hold what is not finite.
    """

    features: StandardFeatures
    layers: tuple[Layer, ...]
    masks: tuple[Bools, ...] = ()
    keep: float = 1.0

    def __post_init__(self) -> None:
        layers = tuple((_frozen(weights, np.float64), _frozen(biases, np.float64)) for weights, biases in self.layers)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "masks", tuple(_frozen(mask, np.bool_) for mask in self.masks))
        fault = self._fault()
        if fault:
            raise ContractError(f"these arrays are no neural network: {fault}")

    def _fault(self) -> str | None:
        if not self.layers:
            return "there is no layer"
        n_in, n_networks = len(self.features.columns), len(self.layers[0][0])
        for number, (weights, biases) in enumerate(self.layers):
            if weights.ndim != 3 or weights.shape[:2] != (n_networks, n_in) or not weights.shape[0] * weights.shape[2]:
                return f"weights of layer {number} are ({n_networks}, {n_in}, n_units), got {weights.shape}"
            n_in = weights.shape[2]
            if biases.shape != (n_networks, 1, n_in):
                return f"biases of layer {number} are ({n_networks}, 1, {n_in}), got {biases.shape}"
        if not all(np.isfinite(array).all() for layer in self.layers for array in layer):
            return "a number is not finite"
        return self._fault_of_masks(n_networks)

    def _fault_of_masks(self, n_networks: int) -> str | None:
        if not 0 < self.keep <= 1:
            return f"keep is {self.keep}, not in (0, 1]"
        if not self.masks:
            return None
        wanted = [(len(self.masks[0]), weights.shape[2]) for weights, _ in self.layers[:-1]]
        if n_networks != 1 or [mask.shape for mask in self.masks] != wanted or not wanted[0][0]:
            return f"masks are {wanted} and of one network, got {[m.shape for m in self.masks]} and {n_networks}"
        return None

    @property
    def n_functions(self) -> int:
        """How many functions there are."""
        return len(self.masks[0]) if self.masks else len(self.layers[0][0])

    @cached_property
    def _layers(self) -> tuple[Layer, ...]:
        """With the masks of a layer's units multiplied into the weights of the next one."""
        if not self.masks:
            return self.layers
        first, *later = self.layers
        stay = [mask[:, :, None] / self.keep for mask in self.masks]
        return first, *((share * weights, biases) for share, (weights, biases) in zip(stay, later, strict=True))

    def tiles(self, X: Floats, functions: Indices | None = None) -> Iterator[tuple[slice, Floats]]:
        """What each function says, some rows at a time: the rows, and (n_functions, n_rows, n_outputs).

        To the last digit but one a row's outputs do not depend on the rows that are asked for with it; to the last
        digit neither, if it keeps its place.

        Parameters
        ----------
        X : (n_candidates, n_features), finite
        functions : which of them, (n_functions,), one of them also more than once; all without it
        """
        layers = [(_some(weights, functions), _some(biases, functions)) for weights, biases in self._layers]
        n_functions = self.n_functions if functions is None else len(functions)
        for rows, block in blocks(inputs_of(self.features, X)):
            units = _passed(block[None], layers)
            units = np.broadcast_to(units, (n_functions, *units.shape[1:]))
            yield rows, units[:, : rows.stop - rows.start]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters of this class; layers and masks are numbered."""
        numbers = {"keep": np.array(self.keep), "n_layers": np.array(len(self.layers))}
        arrays: dict[str, NDArray[Any]] = self.features.to_arrays() | numbers
        for number, (weights, biases) in enumerate(self.layers):
            arrays |= {f"weights{number}": weights, f"biases{number}": biases}
        return arrays | {f"mask{number}": mask for number, mask in enumerate(self.masks)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The networks that `to_arrays` wrote; other arrays may lie beside them.

        Raises
        ------
        ContractError
            If an array is missing, or as this class.
        """
        n_layers, keep = (array.item() for array in taken(arrays, "n_layers", "keep"))
        pairs = [taken(arrays, f"weights{number}", f"biases{number}") for number in range(n_layers)]
        names = [f"mask{number}" for number in range(n_layers - 1)] if "mask0" in arrays else []
        layers = tuple((weights, biases) for weights, biases in pairs)
        return cls(StandardFeatures.from_arrays(arrays), layers, tuple(taken(arrays, *names)), keep)


def _passed(units: Floats, layers: list[Layer]) -> Floats:
    """What comes out of the last layer, (n_networks, n_rows, n_outputs); it alone is not rectified."""
    with one_thread():
        for number, (weights, biases) in enumerate(layers):
            units = units @ weights
            units += biases
            if number + 1 < len(layers):
                np.maximum(units, 0.0, out=units)
    return units


def _some(array: Floats, functions: Indices | None) -> Floats:
    """Those of some functions; what all functions have in common stands there once."""
    return array if functions is None or len(array) == 1 else array[functions]


def _frozen(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    array = np.array(array, dtype=dtype, order="C")
    array.flags.writeable = False
    return array
