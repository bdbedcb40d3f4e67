"""Descriptors of sites are matminer's, as statistics over the sites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from matminer.featurizers import site as of_site
from matminer.featurizers.structure import SiteStatsFingerprint
from pymatgen.analysis.local_env import VoronoiNN

from active_learning.featurizers.registry import DESCRIPTORS


def case(item: Any, theirs: Callable[[], Any], takes: str, **options: Any) -> Any:
    words = [item] if isinstance(item, str) else map(str, item.values())
    return pytest.param({"item": item, "theirs": theirs, "takes": takes, **options}, id=" ".join(words)[:60])


def sites(build: Callable[[], Any], stats: Sequence[str] = ("mean", "std_dev")) -> Callable[[], Any]:
    return lambda: SiteStatsFingerprint(build(), stats=stats)


WARD = ("minimum", "maximum", "range", "mean", "avg_dev")
CASES = [
    case({"name": "agni"}, sites(lambda: of_site.AGNIFingerprints(directions=(None,))), "crystal"),
    case("gaussian_symmetry_functions", sites(of_site.GaussianSymmFunc), "crystal", n=30),
    case("voronoi", sites(of_site.VoronoiFingerprint), "crystal", n=30),
    case(
        "coordination_number",
        sites(lambda: of_site.CoordinationNumber(VoronoiNN(weight="area"), "effective"), WARD),
        "crystal",
        n=30,
    ),
    case(
        {"name": "coordination_number", "neighbors": "crystal_nn", "use_weights": "none", "stats": ["mean"]},
        sites(lambda: of_site.CoordinationNumber.from_preset("CrystalNN"), ["mean"]),
        "crystal",
        n=30,
    ),
    case("crystal_nn", sites(lambda: of_site.CrystalNNFingerprint.from_preset("ops")), "crystal", n=30),
    case(
        {"name": "crystal_nn", "preset": "cn", "distance_cutoffs": False, "x_diff_weight": 0.0},
        sites(lambda: of_site.CrystalNNFingerprint.from_preset("cn", distance_cutoffs=None, x_diff_weight=0)),
        "crystal",
        n=30,
    ),
    case(
        {"name": "crystal_nn", "cation_anion": True},
        sites(lambda: of_site.CrystalNNFingerprint.from_preset("ops", cation_anion=True)),
        "charged crystal",
        n=30,
    ),
]
SLOW = [
    case("bond_angle", lambda: SiteStatsFingerprint.from_preset("BondAngle-dejong2016"), "crystal", n=30),
    case("bond_length", lambda: SiteStatsFingerprint.from_preset("BondLength-dejong2016"), "crystal", n=30),
    case(
        "local_property_difference",
        lambda: SiteStatsFingerprint(
            of_site.LocalPropertyDifference(
                properties=of_site.LocalPropertyDifference.from_preset("ward-prb-2017").properties, impute_nan=False
            ),
            stats=WARD,
        ),
        "crystal",
        n=30,
    ),
    case("bond_orientational", sites(of_site.BondOrientationalParameter), "crystal", n=30),
    case("op_site", sites(of_site.OPSiteFingerprint), "crystal", n=30),
]


@pytest.mark.parametrize("each", CASES)
def test_values_and_names_are_matminers(each: dict[str, Any], compare: Callable[..., None]) -> None:
    compare(**each)


@pytest.mark.slow
@pytest.mark.parametrize("each", SLOW)
def test_values_and_names_of_slow_ones_are_matminers(each: dict[str, Any], compare: Callable[..., None]) -> None:
    compare(**each)


def test_every_descriptor_of_sites_is_compared() -> None:
    compared = {each.id.split()[0] for each in (*CASES, *SLOW)}
    assert compared == {name for name, model in DESCRIPTORS.items() if model.__module__.endswith("site_descriptors")}
