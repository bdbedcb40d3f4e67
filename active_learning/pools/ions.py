"""The ions of a crystal: which they are, which others may take their places, and how large a crystal of those is."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, reduce
from operator import mul
from typing import Any, Literal

from pymatgen.analysis.bond_valence import BVAnalyzer
from pymatgen.analysis.structure_prediction.substitution_probability import SubstitutionProbability
from pymatgen.core.periodic_table import Species

from active_learning.crystals.geometry import volume_of
from active_learning.crystals.pymatgen import to_structure
from active_learning.domain.candidate import Crystal
from active_learning.errors import ContractError

__all__ = ["Ion", "States", "ions_of", "likely_substitutions", "volume_by_radii"]

Ion = Any
"""A pymatgen Species: an element and its oxidation state."""
States = Literal["bonds_or_formula", "bonds", "formula"]


_SPGLIB_SWITCH = "SPGLIB_WARNING"


@cache
def _probabilities() -> Any:
    return SubstitutionProbability()  # type: ignore[no-untyped-call]


@cache
def _replacements(ion: Ion) -> tuple[tuple[float, Ion], ...]:
    """Every ion that may take the place of this one, the likeliest first: (conditional probability, ion)."""
    table = _probabilities()
    found = [(float(table.cond_prob(other, ion)), other) for other in table.species]
    return tuple(sorted(found, key=lambda item: (-item[0], str(item[1]))))


def likely_substitutions(
    amounts: Mapping[Ion, int], threshold: float, elements: Collection[str] | None = None
) -> list[tuple[float, dict[Ion, Ion]]]:
    """All replacements of a compound's ions that keep it neutral and are likelier than `threshold`.

    The probability is that of the new ions given the old ones, the product over the ions: what pymatgen's `Substitutor`
    gives. No two ions are replaced by the same one.

    Parameters
    ----------
    amounts : ion -> how many of it
    elements : of the new ions; None for any

    Returns
    -------
    (probability, old ion -> new ion), the likeliest first, ties in the order of the new ions' names. The one in which
    all ions stay is not among them.

    Raises
    ------
    ContractError
        If nothing is known of an ion.

    References
    ----------
    Hautier, Fischer, Ehrlacher, Jain & Ceder (2011), doi:10.1021/ic102031h, eqs. 1 to 5.
    """
    unknown = sorted(str(ion) for ion in amounts if ion not in _probabilities().species)
    if unknown:
        raise ContractError(f"no substitutions known: none of {', '.join(unknown)}")
    old = list(amounts)
    choices = [[(p, new) for p, new in _replacements(ion) if elements is None or new.symbol in elements] for ion in old]
    found = [
        (probability, dict(zip(old, new, strict=True)))
        for probability, new in _products(choices, threshold)
        if sum(ion.oxi_state * n for ion, n in zip(new, amounts.values(), strict=True)) == 0 and list(new) != old
    ]
    return sorted(found, key=lambda item: (-item[0], [str(ion) for ion in item[1].values()]))


def _products(
    choices: Sequence[Sequence[tuple[float, Ion]]], threshold: float, taken: tuple[tuple[float, Ion], ...] = ()
) -> Iterator[tuple[float, tuple[Ion, ...]]]:
    """Branch and bound: one choice for each place, none twice, whose probabilities' product exceeds the threshold."""
    if len(taken) == len(choices):
        yield reduce(mul, (p for p, _ in taken)), tuple(ion for _, ion in taken)
        return
    later = [options[0][0] for options in choices[len(taken) + 1 :] if options]
    for p, ion in choices[len(taken)]:
        if reduce(mul, (*(q for q, _ in taken), p, *later)) <= threshold:
            return
        if all(ion != other for _, other in taken):
            yield from _products(choices, threshold, (*taken, (p, ion)))


def ions_of(crystal: Crystal, states: States = "bonds_or_formula") -> tuple[Ion, ...]:
    """The ion on each site, its oxidation state found by pymatgen.

    By "bonds": from bond lengths (`BVAnalyzer`), which tells sites of one element apart (Fe2+ and Fe3+ in
    magnetite). By "formula": the likeliest states that sum to zero (`Composition.oxi_state_guesses`), one for each
    element. By "bonds_or_formula": from the formula where the bonds do not tell.

    Raises
    ------
    ContractError
        If no whole oxidation states are found.
    """
    if states != "formula":
        by_bonds = _by_bonds(crystal)
        if by_bonds is not None:
            return by_bonds
    by_formula = _by_formula(crystal) if states != "bonds" else None
    if by_formula is None:
        how = {"bonds": "bond lengths", "formula": "formula"}.get(states, "bond lengths and formula")
        raise ContractError(f"no oxidation states: its {how} fit no known ones")
    return by_formula


@contextmanager
def _mute_spglib() -> Iterator[None]:
    """Without the lines that spglib itself writes to stderr where a symmetry is unclear, dozens for one crystal."""
    before = os.environ.get(_SPGLIB_SWITCH)
    os.environ[_SPGLIB_SWITCH] = "OFF"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SPGLIB_SWITCH]
        else:
            os.environ[_SPGLIB_SWITCH] = before


def _by_bonds(crystal: Crystal) -> tuple[Ion, ...] | None:
    with warnings.catch_warnings(), _mute_spglib():
        warnings.simplefilter("ignore")
        try:
            analyzer = BVAnalyzer()  # type: ignore[no-untyped-call]
            valences = analyzer.get_valences(to_structure(crystal))
        except (ValueError, KeyError, AttributeError, TypeError):
            # What it raises where an element is not in its tables, or nothing balances.
            return None
    return tuple(Species(symbol, int(v)) for symbol, v in zip(crystal.species, valences, strict=True))


def _by_formula(crystal: Crystal) -> tuple[Ion, ...] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guesses = to_structure(crystal).composition.oxi_state_guesses(max_sites=-1)
    if not guesses or not all(float(state).is_integer() for state in guesses[0].values()):
        return None
    return tuple(Species(symbol, int(guesses[0][symbol])) for symbol in crystal.species)


def volume_by_radii(crystal: Crystal, old: Sequence[Ion], new: Sequence[Ion]) -> float | None:
    """Volume of a crystal whose ions were replaced, cubic Angstrom; None if the radius of an ion is not known.

    In proportion to the cube of the sum of the ions' radii, each weighted with the cube root of how many there are.

    Parameters
    ----------
    crystal : the crystal before, at its volume
    old, new : ion on each site, before and after

    References
    ----------
    Chu, Roychowdhury, Han, Jain & Ong (2018), doi:10.1016/j.commatsci.2018.01.040: reference lattice scaling.
    """
    lengths = []
    for ions in (old, new):
        parts = [(radius, n) for ion, n in Counter(ions).items() if (radius := _radius(ion)) is not None]
        if len(parts) < len(set(ions)):
            return None
        lengths.append(sum(radius * n ** (1 / 3) for radius, n in parts))
    return volume_of(crystal) * float((lengths[1] / lengths[0]) ** 3)


@cache
def _radius(ion: Ion) -> float | None:
    """Shannon's radius, Angstrom: pymatgen's default, else that of its low-spin or high-spin ion."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        radius = ion.ionic_radius
    return None if radius is None else float(radius)
