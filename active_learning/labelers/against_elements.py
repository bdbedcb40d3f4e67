"""Formation energies: what the labelers that measure against the elements have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from active_learning.domain.candidate import Candidate
from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.domain.label import Measurement
from active_learning.errors import ContractError

__all__ = ["ENERGY", "FORMATION", "UNIT", "Element", "energies_for", "energies_from"]

ENERGY = "energy_per_atom"
FORMATION = "formation_energy_per_atom"
UNIT = "eV/atom"


def _element(symbol: str) -> str:
    if symbol not in ATOMIC_NUMBERS:
        raise ValueError(f"{symbol!r} is not a chemical symbol")
    return symbol


Element = Annotated[str, AfterValidator(_element)]
"""A chemical symbol in a campaign file."""


def energies_from(measured: Mapping[str, Measurement], fidelity: str) -> dict[str, float]:
    """Energy per atom (eV) of each element, from what was measured of its crystal.

    Raises
    ------
    ContractError
        If a measurement holds no energy per atom, or is of another fidelity.
    """
    for element, measurement in measured.items():
        if measurement.values.get(ENERGY, (0.0, ""))[1] != UNIT:
            raise ContractError(f"the reference of {element} holds no {ENERGY} in {UNIT}")
        if measurement.fidelity != fidelity:
            raise ContractError(f"the reference of {element} is {measurement.fidelity!r}, not {fidelity!r}")
    return {element: measurement.values[ENERGY][0] for element, measurement in measured.items()}


def energies_for(candidate: Candidate, known: Mapping[str, float]) -> dict[str, float]:
    """The energies of a candidate's elements.

    Raises
    ------
    ContractError
        If one is not known.
    """
    missing = [element for element in candidate.elements if element not in known]
    if missing:
        raise ContractError(f"a formation energy needs the elements' energies first: {', '.join(missing)}")
    return {element: known[element] for element in candidate.elements}
