"""Composition descriptors of many compositions at once, equal to matminer's and some thousand times faster.

Matminer looks every property of every element of a composition up and calls numpy on a list of two or three numbers.
Here the data classes of matminer are read into an array once, and a block of compositions goes through numpy together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from matminer.featurizers.composition import (
    BandCenter,
    ElementFraction,
    ElementProperty,
    Meredig,
    Stoichiometry,
    TMetalFraction,
    ValenceOrbital,
)
from numpy.typing import NDArray

from active_learning.domain.elements import SYMBOLS
from active_learning.featurizers.composition_blocks import ALPHABETICAL, Block, blocks_of
from active_learning.featurizers.element_tables import ElementTable, element_table
from active_learning.featurizers.fast_statistics import STATISTICS, mean_of, statistics_of, summed

__all__ = ["FastComposition", "fast"]

Floats = NDArray[np.float64]
Kernel = Callable[[Block], Floats]

_BLOCK_VALUES = 2**17  # 1 MB of features: what is computed together stays in the processor's caches
_COLUMNS = np.array([SYMBOLS.index(symbol) for symbol in ALPHABETICAL])


class FastComposition(Protocol):
    """A featurizer of matminer for many compositions at once."""

    @property
    def names(self) -> tuple[str, ...]:
        """Matminer's labels, in matminer's order."""

    def values(self, amounts: Sequence[Mapping[str, float]]) -> Floats:
        """Features of each composition, (n_compositions, n_features).

        They are what matminer's `featurize` gives for a pymatgen `Composition` of the atomic fractions, within 1e-9
        relative to the larger of 1 and the value, NaN for NaN; a row is all NaN where matminer raises because it does
        not know an element. A row depends on its own composition only, bit for bit.

        Parameters
        ----------
        amounts : a mapping from chemical symbol to a positive amount for each composition

        Raises
        ------
        ContractError
            As `active_learning.featurizers.composition_blocks.blocks_of`.
        """


@dataclass(frozen=True, eq=False)
class _Fast:
    names: tuple[str, ...]
    kernel: Kernel

    def values(self, amounts: Sequence[Mapping[str, float]]) -> Floats:
        values = np.empty((len(amounts), len(self.names)))
        # Elements without valence electrons divide 0 by 0, in matminer too: NaN.
        with np.errstate(divide="ignore", invalid="ignore"):
            for block in blocks_of(amounts, max_rows=max(1, _BLOCK_VALUES // len(self.names))):
                values[block.rows] = self.kernel(block)
        return values


def fast(name: str, options: Mapping[str, Any]) -> FastComposition | None:
    """The fast version of one of matminer's composition featurizers, or None where there is none.

    Parameters
    ----------
    name : the name of matminer's class, such as "ElementProperty"
    options : arguments of its constructor
        For `ElementProperty` either `preset`, or `data_source` (a name), `features` and `stats`. `impute_nan` is False
        unless it is given, where matminer's own default is True: a value that nobody measured is NaN here.

    Returns
    -------
    None for another featurizer, and for an option or a statistic that only matminer has; matminer computes it then.

    Raises
    ------
    UserError
        If one of `features` is not a property that matminer's data source has, as a number.
    """
    build = _BUILDERS.get(name)
    return None if build is None else build(dict(options))


def _element_property(options: dict[str, Any]) -> FastComposition | None:
    impute_nan = options.pop("impute_nan", False)
    if set(options) == {"preset"}:
        theirs = ElementProperty.from_preset(options["preset"], impute_nan=impute_nan)
    elif set(options) == {"data_source", "features", "stats"} and isinstance(options["data_source"], str):
        theirs = ElementProperty(**options, impute_nan=impute_nan)
    else:
        return None
    if not STATISTICS.issuperset(theirs.stats):
        return None
    table = element_table(theirs.data_source, theirs.features)
    return _Fast(tuple(theirs.feature_labels()), partial(statistics_of, table=table, statistics=tuple(theirs.stats)))


def _stoichiometry(options: dict[str, Any]) -> FastComposition | None:
    # The number of atoms is that of a formula unit, which fractions do not tell; without norms there is only that.
    powers = options.pop("p_list", Stoichiometry().p_list)
    if options.pop("num_atoms", False) or options or powers is None or any(power < 0 for power in powers):
        return None
    return _Fast(tuple(Stoichiometry(p_list=powers).feature_labels()), partial(_norms, powers=tuple(powers)))


def _valence_orbital(options: dict[str, Any]) -> FastComposition | None:
    options = {"impute_nan": False, **options}
    if not set(options) <= {"orbitals", "props", "impute_nan"} or not set(options.get("props", ())) <= {"avg", "frac"}:
        return None
    theirs = ValenceOrbital(**options)
    return _Fast(tuple(theirs.feature_labels()), _valence_kernel(theirs))


def _valence_kernel(theirs: ValenceOrbital) -> Kernel:
    orbitals = [f"N{orbital}Valence" for orbital in theirs.orbitals]
    table = element_table(theirs.data_source, [*orbitals, "NValence"])
    return partial(_valence, table=table, props=tuple(theirs.props))


def _element_fraction(options: dict[str, Any]) -> FastComposition | None:
    return None if options else _Fast(tuple(ElementFraction().feature_labels()), _fractions)


def _metal_fraction(options: dict[str, Any]) -> FastComposition | None:
    theirs = TMetalFraction()
    is_metal = np.isin(ALPHABETICAL, theirs.magn_elem).astype(np.float64)
    table = ElementTable(is_metal[:, None], np.ones(len(ALPHABETICAL), dtype=np.bool_))
    return None if options else _Fast(tuple(theirs.feature_labels()), partial(mean_of, table=table))


def _band_center(options: dict[str, Any]) -> FastComposition | None:
    options = {"impute_nan": False, **options}
    if set(options) != {"impute_nan"}:
        return None
    theirs = BandCenter(**options)
    ionization = element_table(theirs.deml_data, ["first_ioniz"])
    affinity = element_table(theirs.magpie_data, ["ElectronAffinity"])
    levels = 0.5 * (ionization.values / 1000 + affinity.values) / 96.48
    table = ElementTable(np.log(levels), ionization.is_known & affinity.is_known)
    return _Fast(tuple(theirs.feature_labels()), lambda block: np.exp(mean_of(block, table)))


def _meredig(options: dict[str, Any]) -> FastComposition | None:
    options = {"impute_nan": False, **options}
    if set(options) != {"impute_nan"}:
        return None
    theirs, orbitals = Meredig(**options), ValenceOrbital(**options)
    labels = theirs.feature_labels()
    pairs = [label.split(" ", 1) for label in labels[len(ALPHABETICAL) : -len(orbitals.feature_labels())]]
    tables = [(element_table(theirs.data_source, [name]), [statistic]) for statistic, name in pairs]
    valence = _valence_kernel(orbitals)

    def kernel(block: Block) -> Floats:
        statistics = [statistics_of(block, table, statistic) for table, statistic in tables]
        return np.hstack([_fractions(block), *statistics, valence(block)])

    return _Fast(tuple(labels), kernel)


def _norms(block: Block, powers: tuple[float, ...]) -> Floats:
    """L_p norms of the atomic fractions; the number of elements for p = 0. (n_rows, n_powers)."""
    fractions = block.fractions.T / summed(block.fractions.T)
    counts = np.full(len(block.rows), float(len(fractions)))
    return np.column_stack([summed(fractions**p) ** (1.0 / p) if p else counts for p in powers])


def _valence(block: Block, table: ElementTable, props: tuple[str, ...]) -> Floats:
    """Mean number of valence electrons in each orbital, and their share of all; `table` has those of all last."""
    means = mean_of(block, table)
    found = {"avg": means[:, :-1], "frac": means[:, :-1] / means[:, -1:]}
    return np.hstack([found[prop] for prop in props])


def _fractions(block: Block) -> Floats:
    """Atomic fraction of each element, in the order of atomic numbers, (n_rows, 118)."""
    values = np.zeros((len(block.rows), len(ALPHABETICAL)))
    total = summed(block.fractions.T)[:, None]
    values[np.arange(len(values))[:, None], _COLUMNS[block.elements]] = block.fractions / total
    return values


_BUILDERS: Mapping[str, Callable[[dict[str, Any]], FastComposition | None]] = {
    "BandCenter": _band_center,
    "ElementFraction": _element_fraction,
    "ElementProperty": _element_property,
    "Meredig": _meredig,
    "Stoichiometry": _stoichiometry,
    "TMetalFraction": _metal_fraction,
    "ValenceOrbital": _valence_orbital,
}
