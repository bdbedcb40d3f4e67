"""The namelists of pw.x that a user may add to ours: what may stand in them, and what the labeler sets itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.domain.hints import did_you_mean

__all__ = ["Namelists", "for_species", "merged"]

_NAMELISTS = ("control", "system", "electrons", "ions", "cell")
_KEY = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE)
_TEXT = re.compile(r"[ !#-&(-\[\]-~]{1,200}")
"""Printable ASCII but quotes and the backslash: what stands between a namelist's quotes is then one value."""
_FILES = "the job has its own directories"
_CRYSTAL = "the candidate's crystal says it"
_UNREAD = "the labeler cannot read such results"
_OURS: Mapping[str, str] = {
    "calculation": "say `relax`",
    "restart_mode": "a job starts once and from nothing",
    "outdir": _FILES,
    "wfcdir": _FILES,
    "prefix": _FILES,
    "pseudo_dir": "say `pseudo_dir` in [labeler]",
    "forc_conv_thr": "say `fmax`",
    "nstep": "say `max_steps`",
    "ibrav": _CRYSTAL,
    "nat": _CRYSTAL,
    "ntyp": _CRYSTAL,
    "celldm": _CRYSTAL,
    **dict.fromkeys(("a", "b", "c", "cosab", "cosac", "cosbc", "space_group"), _CRYSTAL),
    "ecutwfc": "say `ecutwfc` in [labeler]",
    "ecutrho": "say `ecutrho` in [labeler]",
    "occupations": "say `smearing`",
    "smearing": "say `smearing` in [labeler]",
    "degauss": "say `degauss` in [labeler]",
    "nspin": "say `spin`",
    "starting_magnetization": "say `starting_magnetization` in [labeler]",
    "noncolin": _UNREAD,
    "lspinorb": _UNREAD,
    "ion_dynamics": _UNREAD,
    "cell_dynamics": _UNREAD,
}


def _checked(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("it is a table of namelists, such as {electrons = {mixing_beta = 0.3}}")
    for name, table in value.items():
        if name not in _NAMELISTS:
            raise ValueError(
                f"pw.x has no namelist {name!r} that may be set here.{did_you_mean(str(name), _NAMELISTS)} "
                f"These may: {', '.join(_NAMELISTS)}"
            )
        if not isinstance(table, Mapping):
            raise ValueError(f"namelist {name} is a table, such as {name} = {{...}}")
        for key, entry in table.items():
            _check_entry(f"{name}.{key}", str(key), entry)
    return {name: {str(key).lower(): entry for key, entry in table.items()} for name, table in value.items()}


def _check_entry(where: str, key: str, value: Any) -> None:
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"{where!r} is no name of a namelist's variable. What pw.x numbers by species is given by element, as in "
            "hubbard_u = {Fe = 4.0}"
        )
    if reason := _OURS.get(key.lower()):
        raise ValueError(f"{where} is not set here: {reason}")
    if not isinstance(value, Mapping):
        _check_value(where, value)
        return
    for element, number in value.items():
        if element not in ATOMIC_NUMBERS:
            raise ValueError(f"{where} is given by element, and {element!r} is not a chemical symbol")
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{where}.{element} is a number, got {number!r}")
        _check_value(f"{where}.{element}", number)


def _check_value(where: str, value: Any) -> None:
    if isinstance(value, str) and not _TEXT.fullmatch(value):
        raise ValueError(f"{where} is at most 200 printable characters without quotes and backslashes, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, not a finite number")
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"{where} is text, true, false or a number, got {value!r}")


Namelists = Annotated[dict[str, dict[str, Any]], BeforeValidator(_checked)]
"""Namelists of pw.x: name -> variable -> text, bool, number, or a number for each element."""


def merged(ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Our namelists with the user's variables over them.

    >>> merged({"electrons": {"conv_thr": 1e-8}}, {"electrons": {"mixing_beta": 0.3}})
    {'electrons': {'conv_thr': 1e-08, 'mixing_beta': 0.3}}
    """
    return {name: {**ours.get(name, {}), **theirs.get(name, {})} for name in {**ours, **theirs}}


def for_species(tables: Mapping[str, Mapping[str, Any]], species: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The namelists with values by element turned into variables by species; elements without a value get none.

    >>> for_species({"system": {"hubbard_u": {"Fe": 4.0, "Co": 3.0}}}, ["O", "Fe"])
    {'system': {'hubbard_u(2)': 4.0}}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        found[name] = {}
        for key, value in table.items():
            if not isinstance(value, Mapping):
                found[name][key] = value
                continue
            numbered = {f"{key}({n})": value[symbol] for n, symbol in enumerate(species, start=1) if symbol in value}
            found[name] |= numbered
    return found
