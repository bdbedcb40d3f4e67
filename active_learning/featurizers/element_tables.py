"""Properties of the elements as matminer's data classes have them, as one array."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from active_learning.errors import UserError
from active_learning.featurizers.composition_blocks import ALPHABETICAL

__all__ = ["ElementTable", "element_table"]

Floats = NDArray[np.float64]


class _ElementData(Protocol):
    """What we use of matminer's `AbstractData`."""

    def get_elemental_property(self, elem: Element, property_name: str) -> Any: ...


@dataclass(frozen=True, eq=False)
class ElementTable:
    """Properties of the elements, in the order of `ALPHABETICAL`.

    Parameters
    ----------
    values : (118, n_properties)
        In the data source's own units; NaN where it has no value.
    is_known : (118,)
        False for an element that the data source refuses to look up: matminer then has no value of any property for a
        composition with this element.
    """

    values: Floats
    is_known: NDArray[np.bool_]


def element_table(data: _ElementData, properties: Sequence[str]) -> ElementTable:
    """Look every property of every element up once.

    Raises
    ------
    UserError
        If the data source knows a property of no element at all, or has something for it that is not a number.
    """
    values = np.full((len(ALPHABETICAL), len(properties)), np.nan)
    is_known = np.ones(values.shape, dtype=np.bool_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of each value it does not have: that is the NaN here
        for (row, symbol), (column, name) in product(enumerate(ALPHABETICAL), enumerate(properties)):
            try:
                values[row, column] = data.get_elemental_property(Element(symbol), name)
            except (KeyError, AttributeError):  # what matminer's data classes raise for an element, or a property
                is_known[row, column] = False
            except (TypeError, ValueError) as error:
                raise UserError(_message(data, name, f"one that is a number: its value for {symbol} is not")) from error
    for column, name in enumerate(properties):
        if not is_known[:, column].any():
            raise UserError(_message(data, name, "one that it has"))
    return ElementTable(values, np.logical_and.reduce(is_known, axis=1))


def _message(data: _ElementData, name: str, needed: str) -> str:
    return f"the elements' property {name!r} of matminer's {type(data).__name__} cannot be a feature; name {needed}"
