"""Trained multi-layer perceptrons as functions: numpy alone, so that whoever predicts need not load PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = ["Layer", "Perceptrons", "center_and_scale"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]
Layer = tuple[Floats, Floats]
"""Weights (n_networks, n_in, n_out) and biases (n_networks, 1, n_out)."""

_TILE_ROWS = 128
"""Rows that are multiplied at once. Always as many (the last tile is filled up with zeros): the library that multiplies
matrices chooses its way by their shapes, and with it the last digit."""

_CUT = 10.0
"""A standardized feature beyond is cut off, so that one odd descriptor cannot drown the others."""

_CONSTANT = 1e-12
"""A feature whose values differ by less than this share of the largest differs by rounding only."""


def center_and_scale(X: Floats, *, constant: float = _CONSTANT) -> tuple[Floats, Floats]:
    """Mean and standard deviation (divided by n_rows) of each column, (n_columns,) each.

    The standard deviation of a constant column is 0. Spreads of 1e-160 do not vanish when they are squared, since they
    are measured in units of the range.

    >>> center_and_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 0.]))
    """
    low, span = X.min(axis=0), np.ptp(X, axis=0)
    varies = span > constant * np.abs(X).max(axis=0)
    shares = (X - low) / np.where(varies, span, 1.0)
    return low + np.where(varies, span * shares.mean(axis=0), 0.0), np.where(varies, span * shares.std(axis=0), 0.0)


@dataclass(frozen=True, eq=False)
class Perceptrons:
    """Functions of standardized features: rectified linear units, one or more networks side by side.

    Without masks each network is a function. With masks there is one network, and each function is what is left of it
    when some hidden units are dropped: always the same units, whatever the rows, so that it is a function.

    The arrays are copied and cannot be written to.

    Parameters
    ----------
    center, scale : (n_features,)
        Of the labels' features; a feature whose scale is 0 is left out, since it was never seen to vary.
    layers : weights (n_networks, n_in, n_out) and biases (n_networks, 1, n_out), first layer first
    masks : for each hidden layer (n_functions, n_units), true for the units that stay; or none at all
    keep : probability with which a unit stays; what stays is divided by it, so that the expectation does not change

    Raises
    ------
    ContractError
        If the arrays do not fit together, or hold what is not finite.
    """

    center: Floats
    scale: Floats
    layers: tuple[Layer, ...]
    masks: tuple[Bools, ...] = ()
    keep: float = 1.0

    def __post_init__(self) -> None:
        for name, dtype in (("center", np.float64), ("scale", np.float64)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        layers = tuple((_frozen(weights, np.float64), _frozen(biases, np.float64)) for weights, biases in self.layers)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "masks", tuple(_frozen(mask, np.bool_) for mask in self.masks))
        fault = self._fault()
        if fault:
            raise ContractError(f"these arrays are no neural network: {fault}")

    def _fault(self) -> str | None:
        if self.center.ndim != 1 or self.center.shape != self.scale.shape:
            return f"center {self.center.shape} and scale {self.scale.shape} are (n_features,)"
        if not self.layers:
            return "there is no layer"
        n_in, n_networks = len(self.center), len(self.layers[0][0])
        for number, (weights, biases) in enumerate(self.layers):
            if weights.ndim != 3 or weights.shape[:2] != (n_networks, n_in) or min(weights.shape) < 1:
                return f"weights of layer {number} are ({n_networks}, {n_in}, n_units), got {weights.shape}"
            n_in = weights.shape[2]
            if biases.shape != (n_networks, 1, n_in):
                return f"biases of layer {number} are ({n_networks}, 1, {n_in}), got {biases.shape}"
        if not all(np.isfinite(a).all() for a in (self.center, self.scale, *(a for pair in self.layers for a in pair))):
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
        later = zip(self.masks, self.layers[1:], strict=True)
        return self.layers[0], *((mask[:, :, None] * (weights / self.keep), biases) for mask, (weights, biases) in later)

    def tiles(self, X: Floats, functions: Indices | None = None) -> Iterator[tuple[slice, Floats]]:
        """What each function says, some rows at a time: the rows, and (n_functions, n_rows, n_outputs).

        To the last digit but one a row's outputs do not depend on the rows that are asked for with it; to the last
        digit neither, if it keeps its place.

        Parameters
        ----------
        X : (n_candidates, n_features), finite
        functions : which of them, (n_functions,), one of them also more than once; all without it
        """
        layers = [tuple(_some(array, functions) for array in layer) for layer in self._layers]
        for start in range(0, len(X), _TILE_ROWS):
            rows = X[start : start + _TILE_ROWS]
            units = np.zeros((1, _TILE_ROWS, len(self.center)))
            units[0, : len(rows)] = self.standardized(rows)
            for number, (weights, biases) in enumerate(layers):
                units = units @ weights
                units += biases
                if number + 1 < len(layers):
                    np.maximum(units, 0.0, out=units)
            yield slice(start, start + len(rows)), units[:, : len(rows)]

    def standardized(self, X: Floats) -> Floats:
        """`X` as the first layer gets it, (n_rows, n_features): centered, scaled, cut off at 10 standard deviations."""
        with np.errstate(over="ignore"):
            values = (X - self.center) / np.where(self.scale > 0, self.scale, np.inf)
        return np.clip(values, -_CUT, _CUT)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters of this class; layers and masks are numbered."""
        arrays: dict[str, NDArray[Any]] = {"center": self.center, "scale": self.scale, "keep": np.array(self.keep)}
        arrays["n_layers"] = np.array(len(self.layers))
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
        try:
            n_layers = int(arrays["n_layers"])
            layers = tuple((arrays[f"weights{number}"], arrays[f"biases{number}"]) for number in range(n_layers))
            masks = tuple(arrays[f"mask{number}"] for number in range(n_layers - 1) if "mask0" in arrays)
            return cls(arrays["center"], arrays["scale"], layers, masks, float(arrays["keep"]))
        except KeyError as error:
            raise ContractError(
                f"the arrays of a neural network lack {error}; there are {', '.join(sorted(arrays)) or 'none'}"
            ) from error


def _some(array: Floats, functions: Indices | None) -> Floats:
    """Those of some functions; what all functions have in common stands there once."""
    return array if functions is None or len(array) == 1 else array[functions]


def _frozen(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    array = np.array(array, dtype=dtype, order="C")
    array.flags.writeable = False
    return array
