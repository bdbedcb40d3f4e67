"""The featurizer `matminer`: descriptors by matminer's featurizers, in named sets."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from matminer.featurizers.composition import ElementProperty
from matminer.featurizers.structure import DensityFeatures
from matminer.featurizers.structure.rdf import RadialDistributionFunction
from numpy.typing import NDArray
from pydantic import Field, field_validator
from pymatgen.core.composition import Composition

from active_learning.crystals.pymatgen import to_structure
from active_learning.domain.candidate import Candidate
from active_learning.domain.elements import fractions_of
from active_learning.domain.options import Options as BaseOptions
from active_learning.domain.protocols import FeatureBlock
from active_learning.errors import ContractError

__all__ = ["Matminer"]

Floats = NDArray[np.float64]


class _MatminerFeaturizer(Protocol):
    """What we use of matminer's featurizers."""

    def feature_labels(self) -> list[str]: ...

    def featurize(self, value: Any) -> Sequence[float]: ...


@dataclass(frozen=True)
class _FeatureSet:
    """How to build a matminer featurizer, and whether it looks at the structure or at the composition alone."""

    build: Callable[[], _MatminerFeaturizer]
    needs_structure: bool


_SETS: Mapping[str, _FeatureSet] = {
    # Without imputation an element that Magpie's tables do not know gives NaN, which we report, not an average.
    "magpie": _FeatureSet(lambda: ElementProperty.from_preset("magpie", impute_nan=False), needs_structure=False),
    "density": _FeatureSet(DensityFeatures, needs_structure=True),
    # The first few shells in steps of a quarter Angstrom; matminer's own 20 Angstrom hold far more neighbors.
    "radial_distribution": _FeatureSet(
        lambda: RadialDistributionFunction(cutoff=6.0, bin_size=0.25), needs_structure=True
    ),
}
"""Feature sets by name; a new one is one line."""


class Matminer:
    """Features of compositions and crystals, by matminer, under matminer's own names.

    Sets: `magpie` (132 statistics of the elements' properties: Ward et al. 2016, doi:10.1038/npjcompumats.2016.28),
    `density` (density, volume per atom, packing fraction; needs a crystal) and `radial_distribution` (the radial
    distribution function up to 6 Angstrom in steps of 0.25; needs a crystal). A candidate that a set cannot describe,
    or for which a feature is not a finite number, is a failure that says so; nothing is imputed.
    """

    class Options(BaseOptions):
        """Keys of the table `[features]` with ``kind = "matminer"``."""

        sets: tuple[str, ...] = Field(
            default=("magpie", "density"),
            min_length=1,
            description=f"Feature sets, in the order of the columns: {', '.join(_SETS)}.",
        )

        @field_validator("sets")
        @classmethod
        def _known_and_unique(cls, names: tuple[str, ...]) -> tuple[str, ...]:
            faults = [_unknown(name) for name in dict.fromkeys(names) if name not in _SETS]
            faults += [f"{name!r} is named more than once" for name in dict.fromkeys(names) if names.count(name) > 1]
            if faults:
                raise ValueError("; ".join(faults))
            return names

    def __init__(self, options: Options) -> None:
        self.options = options

    @cached_property
    def _featurizers(self) -> tuple[tuple[str, _MatminerFeaturizer], ...]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tuple((name, _SETS[name].build()) for name in self.options.sets)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Matminer's labels of all sets, in the order of the columns.

        Raises
        ------
        ContractError
            If two sets give a feature of the same name.
        """
        names = tuple(label for _, featurizer in self._featurizers for label in featurizer.feature_labels())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ContractError(f"two of the sets {', '.join(self.options.sets)} give {', '.join(twice)}")
        return names

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """Features of each candidate, (n_candidates, n_features); NaN in the rows of failures."""
        values = np.full((len(candidates), len(self.names)), np.nan)
        failures: dict[int, str] = {}
        known: dict[object, Floats | str] = {}
        # Matminer and pymatgen warn where they have no value for an element: that is a NaN, and a failure, here.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for row, candidate in enumerate(candidates):
                parts = [self._part(name, featurizer, candidate, known) for name, featurizer in self._featurizers]
                reasons = [part for part in parts if isinstance(part, str)]
                if reasons:
                    failures[row] = "; ".join(reasons)
                else:
                    values[row] = np.concatenate(parts)
        return FeatureBlock(values, failures)

    @staticmethod
    def _part(
        name: str, featurizer: _MatminerFeaturizer, candidate: Candidate, known: dict[object, Floats | str]
    ) -> Floats | str:
        """One set's features of a candidate, or the reason why there are none.

        What depends on the composition alone is computed once for each and kept in `known`. It is computed from atomic
        fractions, which are the same floats for Al2Cu2 as for AlCu, so a row does not depend on who came first.
        """
        if _SETS[name].needs_structure:
            if candidate.crystal is None:
                return f"{name} needs a crystal, and this is a bare composition"
            return _features(name, featurizer, to_structure(candidate.crystal))
        fractions = fractions_of(candidate.amounts)
        key = (name, *fractions.items())
        if key not in known:
            known[key] = _features(name, featurizer, Composition(fractions))
        return known[key]


def _features(name: str, featurizer: _MatminerFeaturizer, value: Any) -> Floats | str:
    try:
        features = np.asarray(featurizer.featurize(value), dtype=np.float64)
    except Exception as error:  # noqa: BLE001 - a featurizer may raise anything, and costs this candidate only
        return f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"[:300]
    bad = np.flatnonzero(~np.isfinite(features))
    if bad.size:
        more = f" (nor are {bad.size - 1} more)" if bad.size > 1 else ""
        return f"{name}: {featurizer.feature_labels()[bad[0]]!r} is not a finite number{more}"
    return features


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _SETS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"no feature set named {name!r}.{hint} There are: {', '.join(_SETS)}"
