"""The descriptors by name, and from an item of `sets` to a descriptor."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from active_learning.domain.hints import did_you_mean
from active_learning.featurizers import composition_descriptors as of_composition
from active_learning.featurizers import crystal_descriptors as of_crystal
from active_learning.featurizers import ion_descriptors as of_ions
from active_learning.featurizers import radial_descriptors as radial
from active_learning.featurizers import site_descriptors as of_sites
from active_learning.featurizers.descriptor import Descriptor
from active_learning.featurizers.given import Given
from active_learning.featurizers.imported import Imported
from active_learning.featurizers.soap import Soap

__all__ = ["DESCRIPTORS", "descriptor_of", "name_of"]

DESCRIPTORS: Mapping[str, type[Descriptor]] = {
    "magpie": of_composition.Magpie,
    "deml": of_composition.Deml,
    "matminer": of_composition.MatminerElements,
    "matscholar_el": of_composition.MatscholarElements,
    "megnet_el": of_composition.MegnetElements,
    "optical": of_composition.OpticalElements,
    "mp_transport": of_composition.TransportElements,
    "element_property": of_composition.ElementProperties,
    "meredig": of_composition.MeredigFeatures,
    "stoichiometry": of_composition.StoichiometryNorms,
    "element_fraction": of_composition.ElementFractions,
    "transition_metal_fraction": of_composition.TransitionMetals,
    "valence_orbital": of_composition.ValenceOrbitals,
    "atomic_orbitals": of_composition.FrontierOrbitals,
    "band_center": of_composition.BandCenters,
    "ion_property": of_ions.Ions,
    "oxidation_states": of_ions.OxidationStatistics,
    "electron_affinity": of_ions.AnionAffinity,
    "electronegativity_difference": of_ions.ElectronegativityDifference,
    "cation_property": of_ions.CationProperties,
    "miedema": of_composition.MiedemaEnthalpies,
    "yang_solid_solution": of_composition.Yang,
    "wen_alloys": of_composition.Wen,
    "atomic_packing_efficiency": of_composition.AtomicPacking,
    "density": of_crystal.Density,
    "global_symmetry": of_crystal.Symmetry,
    "dimensionality": of_crystal.Layers,
    "structural_complexity": of_crystal.Complexity,
    "structural_heterogeneity": of_crystal.Heterogeneity,
    "chemical_ordering": of_crystal.Ordering,
    "maximum_packing_efficiency": of_crystal.PackingEfficiency,
    "radial_distribution": radial.Radial,
    "partial_radial_distribution": radial.PartialRadial,
    "electronic_radial_distribution": radial.ElectronicRadial,
    "generalized_radial_distribution": radial.GeneralizedRadial,
    "xrd_powder_pattern": of_crystal.PowderPattern,
    "sine_coulomb_matrix": of_crystal.SineMatrix,
    "orbital_field_matrix": of_crystal.OrbitalField,
    "ewald_energy": of_crystal.Ewald,
    "bond_fractions": of_crystal.Bonds,
    "jarvis_cfid": of_crystal.Jarvis,
    "crystal_nn": of_sites.CrystalNeighbors,
    "op_site": of_sites.OrderParameters,
    "voronoi": of_sites.VoronoiCells,
    "coordination_number": of_sites.Coordination,
    "local_property_difference": of_sites.LocalDifferences,
    "bond_length": of_sites.BondLengths,
    "bond_angle": of_sites.BondAngles,
    "bond_orientational": of_sites.Orientation,
    "agni": of_sites.Agni,
    "gaussian_symmetry_functions": of_sites.SymmetryFunctions,
    "soap": Soap,
    "given": Given,
}
"""Descriptors by the names they have in a campaign file."""


def name_of(item: str | Mapping[str, Any]) -> str:
    """The name in an item of `sets`.

    Raises
    ------
    ValueError
        If there is none.
    """
    name = item if isinstance(item, str) else item.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError("a descriptor is a name, or a table with a name: { name = 'radial_distribution', cutoff = 8 }")
    return name


def descriptor_of(item: str | Mapping[str, Any]) -> Descriptor:
    """The descriptor that an item of `sets` asks for.

    Raises
    ------
    ValueError
        With everything that is wrong with it: no such name (and which may have been meant), an unknown option, a value
        out of range; for an import path, that there is no such module or class, or that it is no featurizer.
    """
    name = name_of(item)
    options = {} if isinstance(item, str) else {key: value for key, value in item.items() if key != "name"}
    model: type[Descriptor]
    if name in DESCRIPTORS:
        model = DESCRIPTORS[name]
    elif ":" in name or "." in name:
        model, options = Imported, {"path": name, **options}
    else:
        raise ValueError(_unknown(name))
    try:
        return model.model_validate(options)
    except ValidationError as error:
        raise ValueError("; ".join(_faults(name, model, error))) from error


def _faults(name: str, model: type[Descriptor], error: ValidationError) -> list[str]:
    """What is wrong, option by option. A value that fits no member of a union is said once."""
    known = [key for key in model.model_fields if key != "path"]
    said: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        key = str(detail["loc"][0]) if detail["loc"] else ""
        if detail["type"] == "extra_forbidden":
            hint = did_you_mean(key, known) or f" It has: {', '.join(known)}."
            said.setdefault(key, f"{name} has no option {key!r}.{hint}")
        elif detail["type"] == "missing":
            described = model.model_fields[key].description
            example = f"{{ name = {name!r}, {key} = ... }}"
            said.setdefault(key, f"{name} needs the option {key!r}: {described}; write {example}")
        else:
            message = str(detail["msg"]).removeprefix("Value error, ")
            shown = "" if detail["type"] == "value_error" else f", got {detail['input']!r}"
            # An import path says its name itself.
            message = message.removeprefix(f"{name}: ")
            said.setdefault(key, f"{name}: {f'{key}: ' if key else ''}{message}{shown}")
    return list(said.values())


def _unknown(name: str) -> str:
    """Matminer's class names are understood too, as questions."""
    theirs = {model.theirs.__name__: key for key, model in DESCRIPTORS.items() if model.theirs is not None}
    theirs["ElementProperty"] = "element_property"
    close = difflib.get_close_matches(name, [*DESCRIPTORS, *theirs], n=3, cutoff=0.7)
    if close:
        meant = dict.fromkeys(repr(theirs.get(match, match)) for match in close)
        return f"no descriptor named {name!r}. Did you mean {' or '.join(meant)}?"
    return (
        f"no descriptor named {name!r}. There are: {', '.join(DESCRIPTORS)};"
        " any other of matminer's kind goes in by its import path, 'module:Class'"
    )
