"""Descriptors of a composition, by matminer: statistics of the elements' properties, stoichiometry, ions, alloys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from matminer.featurizers.composition import (
    AtomicOrbitals,
    AtomicPackingEfficiency,
    BandCenter,
    ElementFraction,
    ElementProperty,
    Meredig,
    Miedema,
    Stoichiometry,
    TMetalFraction,
    ValenceOrbital,
    WenAlloys,
    YangSolidSolution,
)
from matminer.utils.data import AbstractData
from pydantic import Field, NonNegativeInt
from pymatgen.core.periodic_table import Element

from active_learning.domain.hints import did_you_mean
from active_learning.domain.options import Options
from active_learning.errors import UserError
from active_learning.featurizers.descriptor import Calculator, CompositionDescriptor, Statistics
from active_learning.featurizers.selected import Selected

__all__ = [
    "AtomicPacking",
    "BandCenters",
    "Deml",
    "ElementFractions",
    "ElementProperties",
    "ElementStatistics",
    "FrontierOrbitals",
    "Imputes",
    "Magpie",
    "MatminerElements",
    "MatscholarElements",
    "MegnetElements",
    "MeredigFeatures",
    "MiedemaEnthalpies",
    "OpticalElements",
    "StoichiometryNorms",
    "TransitionMetals",
    "TransportElements",
    "ValenceOrbitals",
    "Wen",
    "Yang",
]

_WARD = "Ward et al. 2016, doi:10.1038/npjcompumats.2016.28"
_DEML = "Deml et al. 2016, doi:10.1103/PhysRevB.93.085142"
_WEN = "Wen et al. 2019, doi:10.1016/j.actamat.2019.03.010"


class Imputes(Options):
    """What to do where an element's table has a gap."""

    impute_nan: bool = Field(
        default=False, description="Put the mean over all elements where an element's property is not known"
    )


class ElementStatistics(CompositionDescriptor, Imputes):
    """Statistics of the elements' properties, weighted by amount, from one of matminer's tables."""

    theirs: ClassVar[Any] = ElementProperty
    table: ClassVar[str] = ""
    features: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Properties to take; all those of the preset without it"
    )
    stats: Statistics | None = Field(
        default=None, min_length=1, description="Statistics to take; those of the preset without it"
    )

    def calculator(self) -> ElementProperty:
        preset = ElementProperty.from_preset(self._table, impute_nan=self.impute_nan)
        for feature in self.features or ():
            _check_property(preset.data_source, feature, preset.features)
        preset.features = list(self.features or preset.features)
        preset.stats = list(self.stats or preset.stats)
        return preset

    def fast_arguments(self) -> Mapping[str, Any]:
        if self.features is None and self.stats is None:
            return {"preset": self._table, "impute_nan": self.impute_nan}
        theirs = self.calculator()
        source = _SOURCES.get(self._table, self._table)
        own = {"features": theirs.features, "stats": theirs.stats, "impute_nan": self.impute_nan}
        return {"data_source": source, **own}

    @property
    def _table(self) -> str:
        return self.table


_SOURCES = {"matminer": "pymatgen"}
"""Presets whose table has another name."""


def _check_property(table: AbstractData, name: str, known: Sequence[str]) -> None:
    try:
        table.get_elemental_property(Element("Fe"), name)
    except Exception as error:  # the tables raise various things for a property they do not have
        raise UserError(
            f"{type(table).__name__} has no property {name!r}.{did_you_mean(name, known)}"
            f" It has at least: {', '.join(known)}."
        ) from error


class ElementProperties(ElementStatistics):
    """Statistics of the elements' properties, from the table that `preset` names."""

    reference: ClassVar[str] = _WARD
    preset: Literal["magpie", "deml", "matminer", "matscholar_el", "megnet_el", "optical", "mp_transport"] = Field(
        default="magpie", description="Which table of properties, with its statistics"
    )

    @property
    def _table(self) -> str:
        return self.preset


class Magpie(ElementStatistics):
    """Statistics of 22 properties of the elements (Magpie)."""

    reference: ClassVar[str] = _WARD
    table: ClassVar[str] = "magpie"


class Deml(ElementStatistics):
    """Statistics of 16 properties of the elements (Deml)."""

    reference: ClassVar[str] = _DEML
    table: ClassVar[str] = "deml"


class MatminerElements(ElementStatistics):
    """Statistics of 13 properties of the elements (pymatgen); many elements lack some of them: see impute_nan."""

    reference: ClassVar[str] = "Ong et al. 2013, doi:10.1016/j.commatsci.2012.10.028"
    table: ClassVar[str] = "matminer"


class MatscholarElements(ElementStatistics):
    """Statistics of the elements' 200 word-embedding coordinates (Matscholar)."""

    reference: ClassVar[str] = "Tshitoyan et al. 2019, doi:10.1038/s41586-019-1335-8"
    table: ClassVar[str] = "matscholar_el"


class MegnetElements(ElementStatistics):
    """Statistics of the elements' 16 embedding coordinates in MEGNet."""

    reference: ClassVar[str] = "Chen et al. 2018, arXiv:1812.05055"
    table: ClassVar[str] = "megnet_el"


class OpticalElements(ElementStatistics):
    """Statistics of the elements' optical constants (refractiveindex.info)."""

    reference: ClassVar[str] = "refractiveindex.info"
    table: ClassVar[str] = "optical"


class TransportElements(ElementStatistics):
    """Statistics of the elements' transport properties; reading matminer's table takes half a minute."""

    reference: ClassVar[str] = "Ricci et al. 2017, doi:10.1038/sdata.2017.85"
    table: ClassVar[str] = "mp_transport"


class StoichiometryNorms(CompositionDescriptor):
    """Norms of the vector of atomic fractions; the 0-norm is the number of elements."""

    theirs: ClassVar[Any] = Stoichiometry
    reference: ClassVar[str] = _WARD
    p_list: tuple[NonNegativeInt, ...] = Field(
        default=(0, 2, 3, 5, 7, 10), min_length=1, description="Orders of the norms"
    )
    num_atoms: bool = Field(default=False, description="Also the number of atoms in the formula unit")


class ValenceOrbitals(CompositionDescriptor, Imputes):
    """Mean number of s, p, d and f valence electrons, and their shares."""

    theirs: ClassVar[Any] = ValenceOrbital
    reference: ClassVar[str] = _WARD
    orbitals: tuple[Literal["s", "p", "d", "f"], ...] = Field(
        default=("s", "p", "d", "f"), min_length=1, description="Orbitals to count"
    )
    props: tuple[Literal["avg", "frac"], ...] = Field(
        default=("avg", "frac"), min_length=1, description="avg: mean number of electrons; frac: share of all"
    )


class ElementFractions(CompositionDescriptor):
    """Atomic fraction of each of the 118 elements."""

    theirs: ClassVar[Any] = ElementFraction


class TransitionMetals(CompositionDescriptor):
    """Fraction of atoms that are magnetic transition metals."""

    theirs: ClassVar[Any] = TMetalFraction
    reference: ClassVar[str] = _DEML


class BandCenters(CompositionDescriptor, Imputes):
    """Position of the band center, estimated from the elements' electronegativity."""

    theirs: ClassVar[Any] = BandCenter
    reference: ClassVar[str] = "Butler & Ginley 1978, doi:10.1149/1.2131419"


class MeredigFeatures(CompositionDescriptor, Imputes):
    """Atomic fractions and 17 statistics of the elements' properties."""

    theirs: ClassVar[Any] = Meredig
    reference: ClassVar[str] = "Meredig et al. 2014, doi:10.1103/PhysRevB.89.094104"


class FrontierOrbitals(CompositionDescriptor):
    """Energies of the highest occupied and lowest unoccupied atomic orbital, and their gap."""

    theirs: ClassVar[Any] = AtomicOrbitals
    reference: ClassVar[str] = "Kotochigova et al. 1997, doi:10.1103/PhysRevA.55.191"

    def calculator(self) -> Calculator:
        return Selected(AtomicOrbitals(), ("HOMO_energy", "LUMO_energy", "gap_AO"))

    def fast_arguments(self) -> None:
        return None


class MiedemaEnthalpies(CompositionDescriptor, Imputes):
    """Formation enthalpies by Miedema's model of the intermetallic, the amorphous phase and the solid solution."""

    theirs: ClassVar[Any] = Miedema
    reference: ClassVar[str] = "Zhang et al. 2016, doi:10.1016/j.cpc.2016.08.013"
    struct_types: tuple[Literal["inter", "amor", "ss"], ...] = Field(
        default=("inter", "amor", "ss"), min_length=1, description="Phases: intermetallic, amorphous, solid solution"
    )
    ss_types: tuple[Literal["fcc", "bcc", "hcp", "no_latt", "min"], ...] = Field(
        default=("min",), min_length=1, description="Lattices of the solid solution; min: the best of them"
    )

    def arguments(self) -> dict[str, Any]:
        # A tuple would be taken for the name of one type.
        lists = {"struct_types": list(self.struct_types), "ss_types": list(self.ss_types)}
        return {**lists, "impute_nan": self.impute_nan}


class Yang(CompositionDescriptor, Imputes):
    """Omega and delta, which tell whether a solid solution forms."""

    theirs: ClassVar[Any] = YangSolidSolution
    reference: ClassVar[str] = "Yang & Zhang 2012, doi:10.1016/j.matchemphys.2011.11.021"


class Wen(CompositionDescriptor, Imputes):
    """23 properties of alloys: mismatches of radius and electronegativity, entropies, moduli."""

    theirs: ClassVar[Any] = WenAlloys
    reference: ClassVar[str] = _WEN

    def calculator(self) -> Calculator:
        theirs = WenAlloys(impute_nan=self.impute_nan)
        # The first two are the formula, as text.
        return Selected(theirs, tuple(theirs.feature_labels()[2:]))


class AtomicPacking(CompositionDescriptor, Imputes):
    """How efficiently the atoms pack into clusters, as in metallic glasses."""

    is_quick: ClassVar[bool] = False
    theirs: ClassVar[Any] = AtomicPackingEfficiency
    reference: ClassVar[str] = "Laws et al. 2015, doi:10.1038/ncomms9123"
    threshold: float = Field(default=0.01, gt=0, description="Packing efficiency within this of 1 is efficient")
    n_nearest: tuple[int, ...] = Field(default=(1, 3, 5), min_length=1, description="Numbers of nearest clusters")
    max_types: int = Field(default=6, ge=1, le=8, description="Most elements considered in a cluster")
