"""Descriptors of each site's surroundings, by matminer, as statistics over the sites of the cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from matminer.featurizers.site import (
    AGNIFingerprints,
    AverageBondAngle,
    AverageBondLength,
    BondOrientationalParameter,
    CoordinationNumber,
    CrystalNNFingerprint,
    GaussianSymmFunc,
    LocalPropertyDifference,
    OPSiteFingerprint,
    VoronoiFingerprint,
)
from matminer.featurizers.structure import SiteStatsFingerprint
from pydantic import Field, NonNegativeInt, PositiveInt
from pymatgen.analysis.local_env import CrystalNN, VoronoiNN

from active_learning.featurizers.descriptor import Calculator, Decorable, MatminerDescriptor, Statistics

__all__ = [
    "Agni",
    "BondAngles",
    "BondLengths",
    "Coordination",
    "CrystalNeighbors",
    "LocalDifferences",
    "OrderParameters",
    "Orientation",
    "SiteDescriptor",
    "SymmetryFunctions",
    "VoronoiCells",
]

_WARD = "Ward et al. 2017, doi:10.1103/PhysRevB.96.024104"
_DE_JONG = "de Jong et al. 2016, doi:10.1038/srep34256"
_NEIGHBORS: Mapping[str, Any] = {"voronoi": VoronoiNN, "crystal_nn": CrystalNN}

Neighbors = Literal["voronoi", "crystal_nn"]


def _finder(name: Neighbors, **options: Any) -> Any:
    return _NEIGHBORS[name](**options)


class SiteDescriptor(MatminerDescriptor):
    """Statistics over the sites of a site featurizer's features."""

    stats: Statistics = Field(
        default=("mean", "std_dev"), min_length=1, description="Statistics over the sites of the cell"
    )

    def arguments(self) -> dict[str, Any]:
        return {key: value for key, value in super().arguments().items() if key != "stats"}

    def site(self) -> Any:
        """Matminer's site featurizer."""
        return self.theirs(**self.arguments())

    def calculator(self) -> Calculator:
        built: Calculator = SiteStatsFingerprint(self.site(), stats=self.stats)
        return built


class CrystalNeighbors(Decorable, SiteDescriptor):
    """Likelihood of each coordination number by CrystalNN, with order parameters of its usual shapes."""

    theirs: ClassVar[Any] = CrystalNNFingerprint
    reference: ClassVar[str] = "Zimmermann & Jain 2020, doi:10.1039/C9RA07755C"
    preset: Literal["ops", "cn"] = Field(default="ops", description="ops: with order parameters; cn: without")
    cation_anion: bool = Field(default=False, description="Only ions of opposite charge are neighbors")
    distance_cutoffs: tuple[float, float] | Literal[False] = Field(
        default=(0.5, 1.0), description="Distances beyond the bond length at which a neighbor weighs less, and nothing"
    )
    x_diff_weight: float = Field(default=3.0, ge=0, description="Weight of a difference in electronegativity")
    porous_adjustment: bool = Field(default=True, description="Correct the weights in porous crystals")
    search_cutoff: float = Field(default=7.0, gt=0, le=30, description="Where neighbors are looked for, Angstrom")

    @property
    def is_decorated(self) -> bool:
        return self.oxidation_states or self.cation_anion

    def site(self) -> CrystalNNFingerprint:
        arguments = self.arguments() | {"distance_cutoffs": self.distance_cutoffs or None}
        return CrystalNNFingerprint.from_preset(arguments.pop("preset"), **arguments)


class OrderParameters(SiteDescriptor):
    """Order parameters of the usual shapes of coordination: tetrahedron, octahedron, ..."""

    theirs: ClassVar[Any] = OPSiteFingerprint
    reference: ClassVar[str] = "Zimmermann et al. 2017, doi:10.3389/fmats.2017.00034"
    dr: float = Field(default=0.1, gt=0, description="Width of a bin of relative distances")
    ddr: float = Field(default=0.01, gt=0, description="By how much that width is varied")
    ndr: NonNegativeInt = Field(default=1, le=5, description="How often it is varied, up and down")
    dop: float = Field(default=0.001, gt=0, description="Width of a bin of order parameters")
    dist_exp: NonNegativeInt = Field(default=2, description="Exponent of the penalty on unequal distances; 0 for none")
    zero_ops: bool = Field(default=True, description="Zero where no shell has the expected number of neighbors")


class VoronoiCells(SiteDescriptor):
    """Faces, volumes, areas and distances of the Voronoi cell of each site."""

    theirs: ClassVar[Any] = VoronoiFingerprint
    reference: ClassVar[str] = "Peng et al. 2011, doi:10.1103/PhysRevLett.106.135503"
    cutoff: float = Field(default=6.5, gt=0, le=30, description="Where neighbors are looked for, Angstrom")
    use_symm_weights: bool = Field(default=False, description="Also symmetry indices weighted by faces")
    symm_weights: Literal["solid_angle", "area", "volume", "face_dist"] = Field(
        default="solid_angle", description="What weighs a face"
    )


class Coordination(SiteDescriptor):
    """Coordination number of the sites."""

    theirs: ClassVar[Any] = CoordinationNumber
    reference: ClassVar[str] = _WARD
    neighbors: Neighbors = Field(default="voronoi", description="How neighbors are found")
    use_weights: Literal["none", "sum", "effective"] = Field(
        default="effective", description="How the weights of neighbors count"
    )
    stats: Statistics = Field(
        default=("minimum", "maximum", "range", "mean", "avg_dev"),
        min_length=1,
        description="Statistics over the sites of the cell",
    )

    def site(self) -> CoordinationNumber:
        # Ward's effective coordination number weighs Voronoi faces by their area.
        options = {"weight": "area"} if self.neighbors == "voronoi" else {}
        return CoordinationNumber(nn=_finder(self.neighbors, **options), use_weights=self.use_weights)


class LocalDifferences(SiteDescriptor):
    """Differences in the elements' properties between a site and its Voronoi neighbors, weighted by faces."""

    theirs: ClassVar[Any] = LocalPropertyDifference
    reference: ClassVar[str] = _WARD
    properties: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Magpie's properties; the 22 of Ward et al. 2017 without it"
    )
    signed: bool = Field(default=False, description="Signed differences")
    weight: Literal["area", "solid_angle", "volume", "face_dist"] = Field(
        default="area", description="Property of a Voronoi face that weighs a neighbor"
    )
    impute_nan: bool = Field(
        default=False, description="Put the mean over all elements where an element's property is not known"
    )
    stats: Statistics = Field(
        default=("minimum", "maximum", "range", "mean", "avg_dev"),
        min_length=1,
        description="Statistics over the sites of the cell",
    )

    def site(self) -> LocalPropertyDifference:
        properties = self.properties or LocalPropertyDifference.from_preset("ward-prb-2017").properties
        return LocalPropertyDifference(**self.arguments() | {"properties": list(properties)})


class BondLengths(SiteDescriptor):
    """Mean bond length of the sites."""

    theirs: ClassVar[Any] = AverageBondLength
    reference: ClassVar[str] = _DE_JONG
    neighbors: Neighbors = Field(default="voronoi", description="How neighbors are found")
    stats: Statistics = Field(
        default=(*(f"holder_mean::{power}" for power in range(-4, 5)), "std_dev", "geom_std_dev"),
        min_length=1,
        description="Statistics over the sites of the cell",
    )

    def site(self) -> AverageBondLength:
        return AverageBondLength(_finder(self.neighbors))


class BondAngles(SiteDescriptor):
    """Mean bond angle of the sites."""

    theirs: ClassVar[Any] = AverageBondAngle
    reference: ClassVar[str] = _DE_JONG
    neighbors: Neighbors = Field(default="voronoi", description="How neighbors are found")
    stats: Statistics = Field(
        default=(*(f"holder_mean::{power}" for power in range(-4, 5)), "std_dev", "geom_std_dev"),
        min_length=1,
        description="Statistics over the sites of the cell",
    )

    def site(self) -> AverageBondAngle:
        return AverageBondAngle(_finder(self.neighbors))


class Orientation(SiteDescriptor):
    """Steinhardt's bond-orientational order parameters."""

    theirs: ClassVar[Any] = BondOrientationalParameter
    reference: ClassVar[str] = "Steinhardt et al. 1983, doi:10.1103/PhysRevB.28.784"
    max_l: PositiveInt = Field(default=10, le=20, description="Highest spherical harmonic")
    compute_w: bool = Field(default=False, description="Also W")
    compute_w_hat: bool = Field(default=False, description="Also normalized W")


class Agni(SiteDescriptor):
    """Radial fingerprints of force fields (AGNI)."""

    theirs: ClassVar[Any] = AGNIFingerprints
    reference: ClassVar[str] = "Botu & Ramprasad 2015, doi:10.1002/qua.24836"
    etas: tuple[float, ...] | None = Field(
        default=None, min_length=1, description="Widths, Angstrom; eight from 0.8 to 16 without it"
    )
    cutoff: float = Field(default=8.0, gt=0, le=30, description="Largest distance, Angstrom")

    def arguments(self) -> dict[str, Any]:
        # Along x, y and z they would change with the choice of axes.
        return super().arguments() | {"directions": (None,)}


class SymmetryFunctions(SiteDescriptor):
    """Behler and Parrinello's Gaussian symmetry functions."""

    theirs: ClassVar[Any] = GaussianSymmFunc
    reference: ClassVar[str] = "Behler 2011, doi:10.1063/1.3553717"
    etas_g2: tuple[float, ...] = Field(default=(0.05, 4.0, 20.0, 80.0), min_length=1, description="Radial exponents")
    etas_g4: tuple[float, ...] = Field(default=(0.005,), min_length=1, description="Angular exponents")
    zetas_g4: tuple[float, ...] = Field(default=(1.0, 4.0), min_length=1, description="Angular resolutions")
    gammas_g4: tuple[float, ...] = Field(default=(1.0, -1.0), min_length=1, description="Signs, 1 and -1")
    cutoff: float = Field(default=6.5, gt=0, le=30, description="Largest distance, Angstrom")
