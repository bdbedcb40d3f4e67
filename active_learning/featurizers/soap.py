"""The descriptor `soap`: smooth overlap of atomic positions, by dscribe, averaged over a crystal's sites."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from ase import Atoms
from pydantic import Field, PositiveInt, model_validator
from pymatgen.core.structure import Structure

from active_learning.domain.elements import SYMBOLS
from active_learning.errors import ContractError, UserError
from active_learning.featurizers.descriptor import Calculator, Descriptor, ElementSymbol

__all__ = ["Soap"]


class Soap(Descriptor):
    """Smooth overlap of atomic positions (SOAP), averaged over the sites; needs the extra `soap`."""

    reference: ClassVar[str] = "Bartok et al. 2013, doi:10.1103/PhysRevB.87.184115"
    species: tuple[ElementSymbol, ...] | None = Field(
        default=None, min_length=1, description="Elements of the pool; may be left out with compression = 'mu2'"
    )
    r_cut: float = Field(default=5.0, gt=1.0, le=20.0, description="Largest distance, Angstrom")
    n_max: PositiveInt = Field(default=6, le=20, description="Radial basis functions")
    l_max: int = Field(default=4, ge=0, le=20, description="Highest spherical harmonic")
    sigma: float = Field(default=0.5, gt=0.0, description="Width of the Gaussian on each atom, Angstrom")
    rbf: Literal["gto", "polynomial"] = Field(default="gto", description="Radial basis")
    average: Literal["inner", "outer"] = Field(
        default="inner", description="inner: mean of the sites' densities; outer: mean of their power spectra"
    )
    compression: Literal["off", "mu2", "mu1nu1", "crossover"] = Field(
        default="off", description="How elements are folded together (Darby et al. 2022); mu2 forgets which they are"
    )

    @model_validator(mode="after")
    def _species_are_named(self) -> Self:
        if self.species is None and self.compression != "mu2":
            raise ValueError(
                "the elements must be known in advance: write species = ['Al', 'Cu', ...], or compression = 'mu2'"
            )
        return self

    def calculator(self) -> Calculator:
        return _SoapOfCrystal(self)


def _dscribe() -> Any:
    try:
        return importlib.import_module("dscribe.descriptors")
    except ModuleNotFoundError as error:
        raise UserError(
            "The descriptor 'soap' needs dscribe, which is not installed."
            " Install it with: pip install 'motherlode[soap]'."
        ) from error


class _SoapOfCrystal:
    def __init__(self, options: Soap) -> None:
        self._species = frozenset(options.species or SYMBOLS)
        self._theirs = _dscribe().SOAP(
            # Alphabetical, so that the order in which they were written does not matter.
            species=sorted(self._species),
            **options.model_dump(include={"r_cut", "n_max", "l_max", "sigma", "rbf", "average"}),
            compression={"mode": options.compression, "species_weighting": None},
            periodic=True,
        )
        self._labels = _labels(self._theirs, sorted(self._species), options.compression)

    def feature_labels(self) -> Sequence[str]:
        return self._labels

    def featurize(self, structure: Structure) -> Sequence[float]:
        symbols = [site.specie.symbol for site in structure]
        foreign = sorted(set(symbols) - self._species)
        if foreign:
            raise ContractError(f"{', '.join(foreign)} not among its species")
        atoms = Atoms(symbols, cell=structure.lattice.matrix, scaled_positions=structure.frac_coords, pbc=True)
        features: Sequence[float] = self._theirs.create(atoms)
        return features


def _labels(theirs: Any, species: Sequence[str], compression: str) -> list[str]:
    """ "SOAP Al-Cu 0", ...: numbered within each pair of elements, where dscribe says which features are a pair's."""
    n_features = int(theirs.get_number_of_features())
    if compression != "off":
        return [f"SOAP {compression} {number}" for number in range(n_features)]
    labels = [""] * n_features
    for place, first in enumerate(species):
        for second in species[place:]:
            part = range(n_features)[theirs.get_location((first, second))]
            for number, column in enumerate(part):
                labels[column] = f"SOAP {first}-{second} {number}"
    return labels
