"""Descriptors of compositions are matminer's, computed by it or many at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from matminer.featurizers import composition as of_composition
from matminer.featurizers.composition import ElementProperty

from active_learning.featurizers.registry import DESCRIPTORS


def case(item: Any, theirs: Callable[[], Any], takes: str, **options: Any) -> Any:
    words = [item] if isinstance(item, str) else map(str, item.values())
    return pytest.param({"item": item, "theirs": theirs, "takes": takes, **options}, id=" ".join(words)[:60])


def preset(name: str, impute_nan: bool = False) -> Callable[[], Any]:
    return lambda: ElementProperty.from_preset(name, impute_nan=impute_nan)


CASES = [
    case("magpie", preset("magpie"), "composition"),
    case({"name": "magpie", "impute_nan": True}, preset("magpie", True), "composition"),
    case("deml", preset("deml"), "composition"),
    case("matminer", preset("matminer"), "composition"),
    case({"name": "matminer", "impute_nan": True}, preset("matminer", True), "composition"),
    case("matscholar_el", preset("matscholar_el"), "composition"),
    case("megnet_el", preset("megnet_el"), "composition"),
    case("optical", preset("optical"), "composition"),
    case({"name": "element_property", "preset": "deml"}, preset("deml"), "composition"),
    case(
        {
            "name": "element_property",
            "features": ["Number", "CovalentRadius"],
            "stats": ["mean", "std_dev", "holder_mean::2"],
        },
        lambda: ElementProperty("magpie", ["Number", "CovalentRadius"], ["mean", "std_dev", "holder_mean::2"], False),
        "composition",
    ),
    case("meredig", lambda: of_composition.Meredig(impute_nan=False), "composition", n=30),
    case("stoichiometry", of_composition.Stoichiometry, "composition"),
    case(
        {"name": "stoichiometry", "p_list": [0, 2, 4], "num_atoms": True},
        lambda: of_composition.Stoichiometry(p_list=(0, 2, 4), num_atoms=True),
        "composition",
    ),
    case("element_fraction", of_composition.ElementFraction, "composition"),
    case("transition_metal_fraction", of_composition.TMetalFraction, "composition"),
    case("valence_orbital", lambda: of_composition.ValenceOrbital(impute_nan=False), "composition"),
    case(
        {"name": "valence_orbital", "orbitals": ["s", "d"], "props": ["frac"]},
        lambda: of_composition.ValenceOrbital(("s", "d"), ("frac",), impute_nan=False),
        "composition",
    ),
    case("atomic_orbitals", of_composition.AtomicOrbitals, "composition", columns=[2, 5, 6]),
    case("band_center", lambda: of_composition.BandCenter(impute_nan=False), "composition"),
    case("ion_property", lambda: of_composition.IonProperty(impute_nan=False), "reduced composition"),
    case(
        {"name": "ion_property", "fast": True},
        lambda: of_composition.IonProperty(None, False, True),
        "reduced composition",
    ),
    case(
        {"name": "ion_property", "oxidation_states": True},
        lambda: of_composition.IonProperty(impute_nan=False),
        "composition of charged crystal",
    ),
    case("oxidation_states", of_composition.OxidationStates, "charged composition"),
    case("electron_affinity", lambda: of_composition.ElectronAffinity(impute_nan=False), "charged composition"),
    case("electronegativity_difference", of_composition.ElectronegativityDiff, "charged composition"),
    case(
        "cation_property",
        lambda: of_composition.CationProperty.from_preset("deml", impute_nan=False),
        "charged composition",
    ),
    case("miedema", lambda: of_composition.Miedema(impute_nan=False), "composition"),
    case(
        {"name": "miedema", "struct_types": ["ss"], "ss_types": ["fcc", "bcc"]},
        lambda: of_composition.Miedema(["ss"], ["fcc", "bcc"], impute_nan=False),
        "composition",
    ),
    case("yang_solid_solution", lambda: of_composition.YangSolidSolution(impute_nan=False), "composition"),
    case(
        "wen_alloys",
        lambda: of_composition.WenAlloys(impute_nan=False),
        "reduced composition",  # its total weight is that of the formula
        columns=slice(2, None),
    ),
    case(
        "atomic_packing_efficiency",
        lambda: of_composition.AtomicPackingEfficiency(impute_nan=False),
        "reduced composition",
    ),
]
SLOW = [
    case("mp_transport", preset("mp_transport"), "composition"),
]
FAST = {
    *("magpie", "deml", "matminer", "matscholar_el", "megnet_el", "optical", "element_property", "meredig"),
    *("stoichiometry", "element_fraction", "transition_metal_fraction", "valence_orbital", "band_center"),
}


@pytest.mark.parametrize("each", CASES)
def test_values_and_names_are_matminers(each: dict[str, Any], compare: Callable[..., None]) -> None:
    compare(**each)


@pytest.mark.slow
@pytest.mark.parametrize("each", SLOW)
def test_values_and_names_of_slow_ones_are_matminers(each: dict[str, Any], compare: Callable[..., None]) -> None:
    compare(**each)


@pytest.mark.parametrize("each", [each for each in CASES if each.id.split()[0] in FAST])
def test_so_they_are_without_the_fast_way(each: dict[str, Any], compare: Callable[..., None]) -> None:
    compare(**each, fast=False)


def test_every_descriptor_of_compositions_is_compared() -> None:
    compared = {each.id.split()[0] for each in (*CASES, *SLOW)}
    modules = ("composition_descriptors", "ion_descriptors")
    assert compared == {name for name, model in DESCRIPTORS.items() if model.__module__.endswith(modules)}
