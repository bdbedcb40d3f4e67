"""Descriptors of a whole crystal, by matminer: density, symmetry, order, matrices and patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from matminer.featurizers.structure import (
    BondFractions,
    ChemicalOrdering,
    DensityFeatures,
    Dimensionality,
    EwaldEnergy,
    GlobalSymmetryFeatures,
    JarvisCFID,
    MaximumPackingEfficiency,
    OrbitalFieldMatrix,
    SineCoulombMatrix,
    StructuralComplexity,
    StructuralHeterogeneity,
    XRDPowderPattern,
)
from pydantic import Field, PositiveInt
from pymatgen.core.structure import Structure

from active_learning.errors import ContractError
from active_learning.featurizers.descriptor import Calculator, Decorable, ElementSymbol, MatminerDescriptor, Statistics

__all__ = [
    "Bonds",
    "Complexity",
    "Density",
    "Ewald",
    "Heterogeneity",
    "Jarvis",
    "Layers",
    "OrbitalField",
    "Ordering",
    "PackingEfficiency",
    "PowderPattern",
    "SineMatrix",
    "Symmetry",
]

_WARD = "Ward et al. 2017, doi:10.1103/PhysRevB.96.024104"


class _Densities(DensityFeatures):  # type: ignore[misc]
    """Matminer's, which computes with None where no atomic radius is known (noble gases), and here says so."""

    def featurize(self, s: Structure) -> list[float]:
        unknown = sorted(element.symbol for element in s.composition.elements if element.atomic_radius is None)
        if unknown:
            raise ContractError(f"no atomic radius is known for {', '.join(unknown)}, which the packing fraction needs")
        return list(super().featurize(s))


class Density(MatminerDescriptor):
    """Density, volume per atom and packing fraction."""

    is_quick: ClassVar[bool] = True
    theirs: ClassVar[Any] = DensityFeatures

    def calculator(self) -> Calculator:
        built: Calculator = _Densities()
        return built


class Symmetry(MatminerDescriptor):
    """Space group number, crystal system, inversion symmetry and number of symmetry operations."""

    theirs: ClassVar[Any] = GlobalSymmetryFeatures
    desired_features: tuple[
        Literal["spacegroup_num", "crystal_system_int", "is_centrosymmetric", "n_symmetry_ops"], ...
    ] = Field(
        # Without matminer's fifth, the name of the crystal system, which is no number.
        default=("spacegroup_num", "crystal_system_int", "is_centrosymmetric", "n_symmetry_ops"),
        min_length=1,
        description="Which of them to take",
    )


class Ordering(MatminerDescriptor):
    """How far the species of neighbors in the first shells are from random (Warren-Cowley)."""

    theirs: ClassVar[Any] = ChemicalOrdering
    reference: ClassVar[str] = _WARD
    shells: tuple[PositiveInt, ...] = Field(default=(1, 2, 3), min_length=1, description="Shells of neighbors")
    weight: Literal["area", "solid_angle", "volume", "face_dist"] = Field(
        default="area", description="Property of a Voronoi face that weighs a neighbor"
    )


class Heterogeneity(MatminerDescriptor):
    """Variation of bond lengths and of the volumes of the atoms' Voronoi cells."""

    theirs: ClassVar[Any] = StructuralHeterogeneity
    reference: ClassVar[str] = _WARD
    weight: Literal["area", "solid_angle", "volume", "face_dist"] = Field(
        default="area", description="Property of a Voronoi face that weighs a neighbor"
    )
    stats: Statistics = Field(
        default=("minimum", "maximum", "range", "mean", "avg_dev"),
        min_length=1,
        description="Statistics of the variation of each atom's bond lengths",
    )


class PackingEfficiency(MatminerDescriptor):
    """Largest packing efficiency that the atoms' Voronoi cells allow."""

    theirs: ClassVar[Any] = MaximumPackingEfficiency
    reference: ClassVar[str] = _WARD


class Complexity(MatminerDescriptor):
    """Shannon information of the crystal, per atom and per cell."""

    theirs: ClassVar[Any] = StructuralComplexity
    reference: ClassVar[str] = "Krivovichev 2013, doi:10.1180/minmag.2013.077.3.05"
    symprec: float = Field(default=0.1, gt=0, le=1, description="Tolerance of symmetry, Angstrom")


class Layers(MatminerDescriptor):
    """Dimensionality of the bonded network: 0 for molecules to 3."""

    theirs: ClassVar[Any] = Dimensionality
    reference: ClassVar[str] = "Larsen et al. 2019, doi:10.1103/PhysRevMaterials.3.034003"


class Ewald(MatminerDescriptor):
    """Electrostatic energy of the guessed oxidation states (Ewald sum)."""

    theirs: ClassVar[Any] = EwaldEnergy
    reference: ClassVar[str] = "Ewald 1921, doi:10.1002/andp.19213690304"
    accuracy: PositiveInt = Field(default=4, le=16, description="Decimal places")
    per_atom: bool = Field(default=True, description="Energy per atom, or of the cell")

    @property
    def is_decorated(self) -> bool:
        return True


class PowderPattern(MatminerDescriptor):
    """Powder diffraction pattern, smoothed, one value a degree."""

    theirs: ClassVar[Any] = XRDPowderPattern
    reference: ClassVar[str] = "Ong et al. 2013, doi:10.1016/j.commatsci.2012.10.028"
    two_theta_range: tuple[int, int] = Field(default=(0, 127), description="First and last angle, degrees")
    bw_method: float = Field(default=0.05, gt=0, description="Width of the kernel that smooths")
    wavelength: float | str = Field(default="CuKa", description="Wavelength in Angstrom, or a source such as CuKa")


class OrbitalField(MatminerDescriptor):
    """Products of the valence orbitals of neighbors, weighted by Voronoi faces, mean over the sites."""

    theirs: ClassVar[Any] = OrbitalFieldMatrix
    reference: ClassVar[str] = "Pham et al. 2017, doi:10.1080/14686996.2017.1378060"
    period_tag: bool = Field(default=False, description="Also the row of the periodic table: 1521 features, not 1024")


class Jarvis(MatminerDescriptor):
    """Classical force-field inspired descriptors (JARVIS-CFID); slow."""

    theirs: ClassVar[Any] = JarvisCFID
    reference: ClassVar[str] = "Choudhary et al. 2018, doi:10.1103/PhysRevMaterials.2.083801"
    use_cell: bool = Field(default=True, description="Cell descriptors")
    use_chem: bool = Field(default=True, description="Chemical descriptors")
    use_chg: bool = Field(default=True, description="Core charge descriptors")
    use_rdf: bool = Field(default=True, description="Radial distribution")
    use_adf: bool = Field(default=True, description="Distribution of angles")
    use_ddf: bool = Field(default=True, description="Distribution of dihedral angles")
    use_nn: bool = Field(default=True, description="Numbers of neighbors")


class Bonds(Decorable, MatminerDescriptor):
    """Share of each pair of elements among all bonds (CrystalNN)."""

    theirs: ClassVar[Any] = BondFractions
    reference: ClassVar[str] = "Hansen et al. 2015, doi:10.1021/acs.jpclett.5b00831"
    elements: tuple[ElementSymbol, ...] = Field(
        min_length=1, description="Elements of the pool; bonds with others count in the total only"
    )

    def arguments(self) -> dict[str, Any]:
        elements = sorted(set(self.elements))
        pairs = [f"{a} - {b}" for place, a in enumerate(elements) for b in elements[place:]]
        # Pairs are of elements, whatever their oxidation states.
        return {"allowed_bonds": pairs, "no_oxi": True}


class SineMatrix(MatminerDescriptor):
    """Eigenvalues of the sine Coulomb matrix, filled up with zeros to `max_atoms`.

    In matminer's order, which depends on the order of the sites, unless they are sorted.
    """

    theirs: ClassVar[Any] = SineCoulombMatrix
    reference: ClassVar[str] = "Faber et al. 2015, doi:10.1002/qua.24917"
    max_atoms: PositiveInt = Field(
        default=20, le=1000, description="Most atoms in a cell; a larger crystal cannot be described"
    )
    diag_elems: bool = Field(default=True, description="Diagonal 0.5 Z^2.4; zero without it")
    sort: bool = Field(default=False, description="Largest magnitude first, whatever the order of the sites")

    def calculator(self) -> Calculator:
        return _Padded(self)


class _Padded:
    def __init__(self, options: SineMatrix) -> None:
        self._options = options
        self._theirs = SineCoulombMatrix(diag_elems=options.diag_elems)
        self._theirs._max_eigs = options.max_atoms  # what its `fit` sets, to the size of the largest crystal it saw

    def feature_labels(self) -> Sequence[str]:
        labels: list[str] = self._theirs.feature_labels()
        return labels

    def featurize(self, structure: Structure) -> Sequence[float]:
        if len(structure) > self._options.max_atoms:
            raise ContractError(f"{len(structure)} atoms in the cell, more than max_atoms = {self._options.max_atoms}")
        values = np.asarray(self._theirs.featurize(structure))
        if self._options.sort:
            values = values[np.argsort(-np.abs(values), kind="stable")]
        return list(values)
