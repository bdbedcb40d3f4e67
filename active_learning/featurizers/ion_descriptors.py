"""Descriptors of a composition's ions, by matminer; most need oxidation states, which are guessed."""

from __future__ import annotations

from typing import Any, ClassVar

from matminer.featurizers.composition import (
    CationProperty,
    ElectronAffinity,
    ElectronegativityDiff,
    IonProperty,
    OxidationStates,
)
from pydantic import Field

from active_learning.featurizers.composition_descriptors import Imputes
from active_learning.featurizers.descriptor import CompositionDescriptor, Decorable, Statistics

__all__ = ["AnionAffinity", "CationProperties", "ElectronegativityDifference", "Ions", "OxidationStatistics"]

_DEML = "Deml et al. 2016, doi:10.1103/PhysRevB.93.085142"


class Ions(Decorable, CompositionDescriptor, Imputes):
    """Whether a neutral ionic compound is possible, and the largest and mean ionic character of a bond.

    Without `oxidation_states`, the common ones of each element are tried for neutrality.
    """

    is_quick: ClassVar[bool] = False
    # Matminer takes the n-th species for the n-th element: there must be one for each.
    averages_ions: ClassVar[bool] = True
    theirs: ClassVar[Any] = IonProperty
    reference: ClassVar[str] = "Ward et al. 2016, doi:10.1038/npjcompumats.2016.28"
    fast: bool = Field(default=False, description="One oxidation state for all atoms of an element (misses Fe3O4)")


class _OfIons(CompositionDescriptor):
    is_quick: ClassVar[bool] = False
    reference: ClassVar[str] = _DEML

    @property
    def is_decorated(self) -> bool:
        return True


class OxidationStatistics(_OfIons):
    """Statistics of the guessed oxidation states."""

    theirs: ClassVar[Any] = OxidationStates
    stats: Statistics = Field(
        default=("minimum", "maximum", "range", "std_dev"), min_length=1, description="Statistics to take"
    )


class AnionAffinity(_OfIons, Imputes):
    """Mean electron affinity of the anions times their charge."""

    theirs: ClassVar[Any] = ElectronAffinity


class ElectronegativityDifference(_OfIons):
    """Statistics of the difference in electronegativity between the anions and each cation."""

    theirs: ClassVar[Any] = ElectronegativityDiff
    stats: Statistics = Field(
        default=("minimum", "maximum", "range", "mean", "std_dev"), min_length=1, description="Statistics to take"
    )


class CationProperties(_OfIons, Imputes):
    """Statistics of the cations' ionization energies, crystal-field splitting and magnetism."""

    theirs: ClassVar[Any] = CationProperty

    def calculator(self) -> CationProperty:
        return CationProperty.from_preset("deml", impute_nan=self.impute_nan)
