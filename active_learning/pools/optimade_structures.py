"""Crystals from the `structures` entries of an OPTIMADE API."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from active_learning.crystals.geometry import volume_of
from active_learning.domain.candidate import Crystal
from active_learning.domain.elements import ATOMIC_NUMBERS, reduced_formula
from active_learning.errors import ContractError

__all__ = ["FIELDS", "crystal_of"]

FIELDS = (
    "lattice_vectors",
    "cartesian_site_positions",
    "species",
    "species_at_sites",
    "nsites",
    "dimension_types",
    "structure_features",
    "chemical_formula_reduced",
)
"""Properties of an entry that `crystal_of` reads."""

_Vector = tuple[float, float, float]


class _Species(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    name: str
    chemical_symbols: list[str]
    concentration: list[float]
    attached: list[str] | None = None


class _Attributes(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    lattice_vectors: tuple[_Vector, _Vector, _Vector]
    cartesian_site_positions: list[_Vector]
    species: list[_Species]
    species_at_sites: list[str]
    nsites: int | None = None
    chemical_formula_reduced: str | None = None


def crystal_of(attributes: Mapping[str, Any]) -> Crystal:
    """The crystal of an entry.

    Parameters
    ----------
    attributes : the entry's `attributes`, with `FIELDS`; lengths in Angstrom

    Raises
    ------
    ContractError
        If it is disordered, not periodic in three directions, or broken; the text begins with the kind of fault.

    References
    ----------
    OPTIMADE 1.2, section "Structures Entries".
    """
    _must_be_periodic(attributes.get("dimension_types"))
    _must_be_plain(attributes.get("structure_features"))
    try:
        read = _Attributes.model_validate(attributes)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ContractError(f"cannot be read: {place}: {first['msg']}") from error
    symbols = {one.name: _symbol(one) for one in read.species}
    crystal = _crystal(read, symbols)
    _must_have_formula(crystal, read.chemical_formula_reduced)
    return crystal


def _must_be_periodic(dimensions: Any) -> None:
    if dimensions is None:
        raise ContractError("not periodic in all three directions: dimension_types is not given")
    if dimensions != [1, 1, 1]:
        raise ContractError(f"not periodic in all three directions: dimension_types is {str(dimensions)[:40]}")


def _must_be_plain(features: Any) -> None:
    if not features:
        return
    named = ", ".join(map(str, features)) if isinstance(features, list) else str(features)
    if "disorder" in named or "assemblies" in named:
        raise ContractError(f"disordered: structure_features names {named[:100]}")
    raise ContractError(f"not all atoms are given: structure_features names {named[:100]}")


def _symbol(species: _Species) -> str:
    """The one element of a species. Isotopes are their element."""
    symbols, parts = species.chemical_symbols, species.concentration
    if len(symbols) != 1 or len(parts) != 1 or not math.isclose(parts[0], 1.0, abs_tol=1e-6) or symbols[0] == "vacancy":
        mix = ", ".join(f"{symbol} {part:g}" for symbol, part in zip(symbols, parts, strict=False))
        raise ContractError(f"disordered: a site is occupied by {mix or 'nothing'}")
    if symbols[0] not in ATOMIC_NUMBERS:
        raise ContractError(f"not a chemical element: {symbols[0]}")
    if species.attached:
        raise ContractError(f"not all atoms are given: {', '.join(species.attached)} is attached to {symbols[0]}")
    return symbols[0]


def _crystal(read: _Attributes, symbols: Mapping[str, str]) -> Crystal:
    n_named, n_placed = len(read.species_at_sites), len(read.cartesian_site_positions)
    if n_named != n_placed or read.nsites not in (None, n_placed):
        raise ContractError(f"cannot be read: {n_placed} positions, {n_named} species, nsites {read.nsites}")
    if not n_placed:
        raise ContractError("cannot be read: it has no sites")
    unknown = next((name for name in read.species_at_sites if name not in symbols), None)
    if unknown is not None:
        raise ContractError(f"cannot be read: a site holds {unknown!r}, which is not among its species")
    species = tuple(symbols[name] for name in read.species_at_sites)
    volume_of(Crystal(read.lattice_vectors, species, ((0.0, 0.0, 0.0),) * n_placed))
    fractions = np.linalg.solve(np.array(read.lattice_vectors).T, np.array(read.cartesian_site_positions).T).T
    sites: Sequence[_Vector] = [(float(x), float(y), float(z)) for x, y, z in fractions]
    return Crystal(read.lattice_vectors, species, tuple(sites))


def _must_have_formula(crystal: Crystal, stated: str | None) -> None:
    amounts: Counter[str] = Counter()
    for symbol, count in re.findall(r"([A-Z][a-z]?)([0-9]*)", stated or ""):
        amounts[symbol] += int(count or 1)
    if amounts and reduced_formula(amounts) != reduced_formula(crystal.amounts):
        found = reduced_formula(crystal.amounts)
        raise ContractError(f"its sites do not give its stated formula: {found}, not {stated}")
