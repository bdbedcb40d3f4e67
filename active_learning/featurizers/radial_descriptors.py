"""Radial distribution functions of a crystal, by matminer, with a fixed number of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from matminer.featurizers.site import GeneralizedRadialDistributionFunction
from matminer.featurizers.structure import SiteStatsFingerprint
from matminer.featurizers.structure.rdf import (
    ElectronicRadialDistributionFunction,
    PartialRadialDistributionFunction,
    RadialDistributionFunction,
)
from pydantic import Field
from pymatgen.core.structure import Structure

from active_learning.featurizers.descriptor import Calculator, ElementSymbol, MatminerDescriptor, Statistics

__all__ = ["ElectronicRadial", "GeneralizedRadial", "PartialRadial", "Radial"]


class Radial(MatminerDescriptor):
    """Radial distribution function in shells up to a cutoff."""

    theirs: ClassVar[Any] = RadialDistributionFunction
    # The first few shells in steps of a quarter Angstrom; matminer's own 20 Angstrom hold far more neighbors.
    cutoff: float = Field(default=6.0, gt=0, le=30, description="Largest distance, Angstrom")
    bin_size: float = Field(default=0.25, ge=0.01, description="Width of a shell, Angstrom")

    def calculator(self) -> Calculator:
        return _OfBins(RadialDistributionFunction(**self.arguments()))


class _OfBins:
    """Rounding may give matminer one shell beyond the cutoff, for which it has no name; what is in it is left out."""

    def __init__(self, theirs: RadialDistributionFunction) -> None:
        self._theirs = theirs
        self._labels: list[str] = theirs.feature_labels()

    def feature_labels(self) -> Sequence[str]:
        return self._labels

    def featurize(self, structure: Structure) -> Sequence[float]:
        values: Sequence[float] = self._theirs.featurize(structure)
        return values[: len(self._labels)]


class ElectronicRadial(MatminerDescriptor):
    """Radial distribution function of the products of charges, from guessed oxidation states."""

    theirs: ClassVar[Any] = ElectronicRadialDistributionFunction
    reference: ClassVar[str] = "Willighagen et al. 2005, doi:10.1107/S0108768104028344"
    # Matminer's own 20 Angstrom in steps of 0.05 cost eight times as much and give 401 features.
    cutoff: float = Field(default=10.0, gt=0, le=30, description="Largest distance, Angstrom")
    dr: float = Field(default=0.1, ge=0.01, description="Width of a shell, Angstrom")

    @property
    def is_decorated(self) -> bool:
        return True


class PartialRadial(MatminerDescriptor):
    """Radial distribution function of each pair of elements."""

    theirs: ClassVar[Any] = PartialRadialDistributionFunction
    reference: ClassVar[str] = "Schutt et al. 2014, doi:10.1103/PhysRevB.89.205118"
    elements: tuple[ElementSymbol, ...] = Field(
        min_length=1, description="Elements of the pool; pairs with others are left out"
    )
    cutoff: float = Field(default=6.0, gt=0, le=30, description="Largest distance, Angstrom")
    bin_size: float = Field(default=0.5, ge=0.01, description="Width of a shell, Angstrom")

    def calculator(self) -> Calculator:
        theirs = PartialRadialDistributionFunction(self.cutoff, self.bin_size, include_elems=sorted(set(self.elements)))
        # It learns the elements from the crystals it is fitted to; of none, it takes those that it must include.
        fitted: Calculator = theirs.fit([])
        return fitted


class GeneralizedRadial(MatminerDescriptor):
    """Smooth radial distribution function around each site; statistics over the sites."""

    theirs: ClassVar[Any] = GeneralizedRadialDistributionFunction
    reference: ClassVar[str] = "Seko et al. 2017, doi:10.1103/PhysRevB.95.144110"
    preset: Literal["gaussian", "histogram"] = Field(default="gaussian", description="Shape of a bin")
    width: float = Field(default=1.0, gt=0, description="Width of a bin, Angstrom")
    spacing: float = Field(default=1.0, ge=0.05, description="Distance between bins, Angstrom")
    cutoff: float = Field(default=10.0, gt=0, le=30, description="Largest distance, Angstrom")
    stats: Statistics = Field(
        default=("mean", "std_dev"), min_length=1, description="Statistics over the sites of the cell"
    )

    def calculator(self) -> Calculator:
        site = GeneralizedRadialDistributionFunction.from_preset(
            self.preset, width=self.width, spacing=self.spacing, cutoff=self.cutoff
        )
        built: Calculator = SiteStatsFingerprint(site, stats=self.stats)
        return built
