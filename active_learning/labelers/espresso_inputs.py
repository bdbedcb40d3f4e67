"""From the options of the labeler `espresso` to what its job needs: pseudopotentials, cut-offs, namelists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ase.units import Bohr, Ry

from active_learning.labelers.espresso_options import CutOffs, EspressoOptions
from active_learning.labelers.namelists import merged
from active_learning.labelers.pseudopotentials import choose, needs_more_density, of_one_functional, refusal

__all__ = ["known_pseudopotentials", "namelists", "trouble_with"]

_CONV_THR = 1e-8
"""Ry in the cell: a hundredth of pw.x's own, for the differences of energies behind bulk moduli."""


def trouble_with(elements: Sequence[str], options: EspressoOptions) -> dict[str, str]:
    """Why elements cannot be calculated; empty if they can.

    Pseudopotentials are looked at only if their folder is on this machine; else they must all be named, and the job
    looks at them.
    """
    found = {element: reason for element in elements if (reason := _without(element, options))}
    if found or not options.pseudo_dir.is_dir():
        return found
    chosen = choose(elements, options.pseudo_dir, options.pseudopotentials)
    mixed = None if "input_dft" in options.input.get("system", {}) else of_one_functional(chosen)
    coarse = None if options.ecutrho is not None else needs_more_density(chosen)
    reason = mixed or coarse
    return dict.fromkeys(elements, reason) if reason else {}


def _without(element: str, options: EspressoOptions) -> str | None:
    for name, table in (("ecutwfc", options.ecutwfc), ("ecutrho", options.ecutrho)):
        if isinstance(table, dict) and element not in table:
            return f"[labeler.{name}] has no cut-off for {element}"
    if options.pseudo_dir.is_dir():
        return refusal(element, options.pseudo_dir, options.pseudopotentials)
    if element not in options.pseudopotentials:
        return (
            f"the folder {options.pseudo_dir} is not on this machine, so [labeler.pseudopotentials] must name the file "
            f"of {element}"
        )
    return None


def known_pseudopotentials(elements: Sequence[str], options: EspressoOptions) -> dict[str, dict[str, str | None]]:
    """File of each element, and its MD5 sum where the file is on this machine."""
    if not options.pseudo_dir.is_dir():
        return {element: {"file": options.pseudopotentials[element], "md5": None} for element in elements}
    chosen = choose(elements, options.pseudo_dir, options.pseudopotentials)
    return {element: {"file": upf.file, "md5": upf.md5} for element, upf in chosen.items()}


def _cutoff(table: CutOffs, elements: Sequence[str], *, for_all: bool) -> float:
    if not isinstance(table, dict):
        return table
    return max(table.values() if for_all else (table[element] for element in elements))


def namelists(elements: Sequence[str], options: EspressoOptions, *, adds_up: bool) -> dict[str, dict[str, Any]]:
    """The namelists of a crystal of these elements: ours, and the user's over them.

    With `adds_up` all crystals have the same cut-offs, so that their energies can be subtracted.
    """
    control: dict[str, Any] = {}
    system: dict[str, Any] = {"ecutwfc": _cutoff(options.ecutwfc, elements, for_all=adds_up)}
    if options.ecutrho is not None:
        system["ecutrho"] = _cutoff(options.ecutrho, elements, for_all=adds_up)
    if options.smearing == "none":
        system["occupations"] = "fixed"
    else:
        system |= {"occupations": "smearing", "smearing": options.smearing, "degauss": options.degauss}
    if options.spin:
        system["nspin"] = 2
    if options.relax != "none":
        control |= {"nstep": options.max_steps, "forc_conv_thr": options.fmax / (Ry / Bohr)}
    ours: Mapping[str, Mapping[str, Any]] = {
        "control": control,
        "system": system,
        "electrons": {"conv_thr": _CONV_THR},
    }
    return merged(ours, options.input)
