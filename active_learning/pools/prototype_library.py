"""pymatgen's library of structure types: what they are called, in which families they are, and how to find them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY  # type: ignore[attr-defined] # it declares no __all__

from active_learning.crystals.pymatgen import from_structure
from active_learning.domain.candidate import Crystal
from active_learning.domain.elements import reduced_formula
from active_learning.domain.hints import did_you_mean

__all__ = ["FAMILIES", "StructureType", "in_families", "named", "structure_types"]

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fcc": ("A1", "L1_0", "L1_1", "L1_2", "L1_3", "L6_0", "D0_22", "D0_23", "D1_a", "MoPt2", "Pt8Ti"),
        "bcc": ("A2", "B2", "B32", "D0_3", "L2_1"),
        "hcp": ("A3", "B19", "D0_19", "D0_a"),
        "laves": ("C14", "C15", "C36"),
        "frank_kasper": ("A12", "A15", "C14", "C15", "C36", "D8_5", "D8_b"),
        "heusler": ("L2_1", "C1_b"),
        "max_phase": ("CMo", "AlN3Ti4", "AlCCr2"),
        "perovskite": ("E2_1", "CaO3Ti", "O3PbZr"),
        "spinel": ("H1_1", "Mn3O4"),
    }
)
"""Families of structure types with a name of their own, as Strukturbericht symbols or the types' own compounds: an
element and the ordered alloys on its lattice (fcc, bcc, hcp), and types that are built alike."""

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "A1": ("fcc", "face-centered cubic"),
    "A2": ("bcc", "body-centered cubic"),
    "A3": ("hcp", "hexagonal close-packed"),
    "A_h": ("simple cubic",),
    "B1": ("rocksalt",),
    "B2": ("CsCl", "cesium chloride", "caesium chloride"),
    "B8_1": ("NiAs", "nickel arsenide"),
    "C1_b": ("half Heusler",),
    "C6": ("cadmium iodide",),
    "L2_1": ("full Heusler",),
}
_NOT_NAMES = frozenset({"", "none", "alpha", "beta", "gamma", "high", "low", "phase", "structure", "pressure"})
"""What says nothing by itself."""


@dataclass(frozen=True)
class StructureType:
    """A structure type: how it is called, and its own compound in the primitive cell."""

    aflow: str
    strukturbericht: str
    mineral: str
    crystal: Crystal

    @property
    def compound(self) -> str:
        """Reduced formula of the compound that gave the type its place in the library."""
        return reduced_formula(self.crystal.amounts)

    @property
    def name(self) -> str:
        """AFLOW label and compound; no other type has the same."""
        return f"{self.aflow} ({self.compound})"

    @property
    def elements(self) -> tuple[str, ...]:
        """Of its own compound, in alphabetical order."""
        return tuple(self.crystal.amounts)

    @property
    def anonymous(self) -> str:
        """Formula without elements, smallest amount first: AB2, ABC3."""
        return _anonymous(self.compound)

    @property
    def names(self) -> tuple[str, ...]:
        """All that it can be asked for by."""
        return (
            self.name,
            self.aflow,
            self.strukturbericht,
            self.mineral,
            *self.mineral.split(","),
            *_ALIASES.get(self.strukturbericht, ()),
        )


def _anonymous(formula: str) -> str:
    """The formula with its letters in the order of their amounts, as pymatgen writes it: A2B is AB2."""
    amounts = sorted(int(n or 1) for n in re.findall(r"[A-Z][a-z]?([0-9]*)", formula))
    return "".join(f"{chr(ord('A') + i)}{'' if n == 1 else n}" for i, n in enumerate(amounts))


@cache
def structure_types() -> tuple[StructureType, ...]:
    """The whole library, in its order."""
    found = []
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        tags = entry["tags"]
        crystal = from_structure(entry["snl"].structure)
        found.append(StructureType(tags["aflow"], tags["strukturbericht"], tags["mineral"], crystal))
    return tuple(found)


def _plain(name: str) -> str:
    # The prime stays: A3 is magnesium's type, A3' lanthanum's.
    return "".join(c for c in name.casefold() if c.isalnum() or c == "'")


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", name.casefold()))


@cache
def _by_name() -> Mapping[str, tuple[StructureType, ...]]:
    found: dict[str, list[StructureType]] = {}
    for kind in structure_types():
        for name in dict.fromkeys(map(_plain, kind.names)):
            if name not in _NOT_NAMES:
                found.setdefault(name, []).append(kind)
    return MappingProxyType({name: tuple(kinds) for name, kinds in found.items()})


def named(names: Iterable[str]) -> list[StructureType]:
    """The types that these names mean, in the order of the library.

    A name is an AFLOW label ("A_cF4_225_a"), one with its compound ("A_tI2_139_a (In)"), a Strukturbericht symbol
    ("B1"), or a mineral or common name ("halite", "rocksalt"). Case, spaces and punctuation do not matter. If no type
    has just this name, all types whose mineral name holds its words are meant: "perovskite" is the cubic and the
    orthorhombic one.

    Raises
    ------
    ValueError
        If a name means none.
    """
    return _in_order(names, _meant_by, _unknown_type)


def _meant_by(name: str) -> tuple[StructureType, ...]:
    exact = _by_name().get(_plain(name), ())
    words = _words(name)
    return exact or tuple(k for k in structure_types() if words - _NOT_NAMES and words <= _words(k.mineral))


def _unknown_type(name: str) -> str:
    known = [n.strip() for kind in structure_types() for n in (*kind.names, *_words(kind.mineral))]
    hint = did_you_mean(name, dict.fromkeys(n for n in known if _plain(n) not in _NOT_NAMES))
    return f"no structure type is called {name!r}.{hint}"


def in_families(families: Iterable[str]) -> list[StructureType]:
    """The types of these families, in the order of the library: one of `FAMILIES`, or an anonymous formula ("AB2").

    Raises
    ------
    ValueError
        If there is no such family.
    """
    return _in_order(families, _members, _unknown_family)


def _members(family: str) -> tuple[StructureType, ...]:
    marks = FAMILIES.get(family)
    if marks is None:
        formula = _anonymous(family) if re.fullmatch(r"([A-Z][0-9]*)+", family) else ""
        return tuple(kind for kind in structure_types() if kind.anonymous == formula)
    return tuple(kind for kind in structure_types() if kind.strukturbericht in marks or kind.compound in marks)


def _unknown_family(family: str) -> str:
    formulas = [formula for formula, _ in Counter(kind.anonymous for kind in structure_types()).most_common()]
    if _plain(family) in _by_name():
        return f"{family!r} is no family but a structure type: name it in `prototypes`"
    hint = did_you_mean(family, [*FAMILIES, *formulas])
    return f"no family is called {family!r}.{hint} There are {', '.join(FAMILIES)}; {', '.join(formulas[:11])} and more"


def _in_order(
    names: Iterable[str], meant: Callable[[str], tuple[StructureType, ...]], fault: Callable[[str], str]
) -> list[StructureType]:
    found = {name: meant(name) for name in names}
    unknown = [fault(name) for name, kinds in found.items() if not kinds]
    if unknown:
        raise ValueError("; ".join(unknown))
    wanted = {kind.name for kinds in found.values() for kind in kinds}
    return [kind for kind in structure_types() if kind.name in wanted]
