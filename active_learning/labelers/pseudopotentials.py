"""Pseudopotential files of Quantum ESPRESSO (UPF): what their headers say, and which file is an element's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from active_learning.errors import UserError

__all__ = [
    "Pseudopotential",
    "choose",
    "functional_name",
    "needs_more_density",
    "of_one_functional",
    "read_upf",
    "refusal",
]

_ATTRIBUTE = r"""\s+([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')"""
_HEADER_2 = re.compile(rf"<PP_HEADER((?:{_ATTRIBUTE})+)\s*/?>")
_HEADER_1 = re.compile(r"<PP_HEADER>\s*\n(.*?)</PP_HEADER>", re.DOTALL)
_LONGEST_PREAMBLE = 2_000_000
"""Bytes; the header stands after the notes of who made the file."""
_NO_NORM = frozenset({"US", "USPP", "PAW"})

_NAMES: Mapping[tuple[str, ...], str] = {
    ("LDA",): "PZ",
    ("SLA", "PZ", "NOGX", "NOGC"): "PZ",
    ("SLA", "PW", "NOGX", "NOGC"): "PW",
    ("SLA", "PW", "PBX", "PBC"): "PBE",
    ("SLA", "PW", "PBE", "PBE"): "PBE",
    ("SLA", "PW", "PSX", "PSC"): "PBESOL",
    ("SLA", "PW", "GGX", "GGC"): "PW91",
    ("SLA", "LYP", "B88", "BLYP"): "BLYP",
    ("SLA", "PW", "TPSS", "TPSS"): "TPSS",
}


@dataclass(frozen=True)
class Pseudopotential:
    """One file, as its header describes it.

    Parameters
    ----------
    functional : one name for each functional, however the file spells it ("PBE")
    z_valence : electrons that it leaves to the calculation
    conserves_norm : False for ultrasoft and PAW, whose density needs a higher cut-off than four times that of the waves
    md5 : of the whole file, as pw.x prints it
    """

    file: str
    element: str
    functional: str
    z_valence: float
    conserves_norm: bool
    md5: str


def functional_name(words: str) -> str:
    """The functional that a header names, in one spelling.

    >>> functional_name(" SLA  PW   PBE  PBE"), functional_name("LDA"), functional_name("sla+pw+rge2+rge2")
    ('PBE', 'PZ', 'SLA PW RGE2 RGE2')
    """
    parts = tuple(words.upper().replace("-", " ").replace("+", " ").split())
    return _NAMES.get(parts, " ".join(parts))


def read_upf(path: Path) -> Pseudopotential:
    """Read a file in the UPF format, version 1 or 2.

    Raises
    ------
    ValueError
        If it cannot be read, or has no header that names an element, a functional and its electrons.
    """
    try:
        found = path.stat()
        return _read(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=1024)
def _read(path: Path, _changed: int, _size: int) -> Pseudopotential:
    content = path.read_bytes()
    text = content[:_LONGEST_PREAMBLE].decode(errors="replace")
    if match := _HEADER_2.search(text):
        told = {name: (double or single).strip() for name, double, single in re.findall(_ATTRIBUTE, match[1])}
    elif match := _HEADER_1.search(text):
        told = _first_version(match[1])
    else:
        raise ValueError(f"{path} has no header of the UPF format")
    try:
        return Pseudopotential(
            file=path.name,
            element=told["element"].capitalize(),
            functional=functional_name(told["functional"]),
            z_valence=float(told["z_valence"].replace("D", "E")),
            conserves_norm=told["pseudo_type"].upper() not in _NO_NORM,
            md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"the header of {path} has no usable {error}") from error


def _first_version(header: str) -> dict[str, str]:
    """Of version 1, whose header has one value a line with its meaning behind it."""
    told: dict[str, str] = {}
    for line in header.splitlines():
        words = line.split()
        if line.rstrip().endswith("Element"):
            told["element"] = words[0]
        elif "Exchange-Correlation" in line:
            told["functional"] = " ".join(words[:4])
        elif line.rstrip().endswith("Z valence"):
            told["z_valence"] = words[0]
        elif "pseudopotential" in line.lower() or words[:1] == ["PAW"]:
            told["pseudo_type"] = words[0]
    return told


def choose(elements: Iterable[str], folder: Path, named: Mapping[str, str]) -> dict[str, Pseudopotential]:
    """The pseudopotential of each element: the file named for it, else the only one in the folder.

    Raises
    ------
    UserError
        If a named file is not one of that element, or if an element has no file or more than one to choose from.
    """
    found: dict[str, Pseudopotential] = {}
    for element in elements:
        reason, chosen = _find(element, folder, named.get(element))
        if chosen is None:
            raise UserError(reason)
        found[element] = chosen
    return found


def refusal(element: str, folder: Path, named: Mapping[str, str]) -> str | None:
    """Why an element has no pseudopotential; None if it has one."""
    reason, chosen = _find(element, folder, named.get(element))
    return reason if chosen is None else None


def _find(element: str, folder: Path, name: str | None) -> tuple[str, Pseudopotential | None]:
    if name is not None:
        try:
            found = read_upf(folder / name)
        except ValueError as error:
            return f"the pseudopotential of {element}: {error}", None
        if found.element != element:
            return f"the pseudopotential of {element}, {name}, is one of {found.element}", None
        return "", found
    choices = [upf for upf in _catalog(folder) if upf.element == element]
    if len(choices) == 1:
        return "", choices[0]
    if not choices:
        return f"{folder} has no pseudopotential (.UPF) of {element}", None
    listed = ", ".join(f"{upf.file} ({upf.functional})" for upf in choices)
    return (
        f"{folder} has {len(choices)} pseudopotentials of {element}: {listed}. "
        f'Choose one: [labeler.pseudopotentials] {element} = "{choices[0].file}"'
    ), None


def _catalog(folder: Path) -> list[Pseudopotential]:
    """All of a folder that can be read, by name."""
    found = []
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() != ".upf":
            continue
        try:
            found.append(read_upf(path))
        except ValueError:
            # Not a pseudopotential, whatever its name says; a file that the user names is not looked for here.
            continue
    return found


def of_one_functional(chosen: Mapping[str, Pseudopotential]) -> str | None:
    """What is wrong with pseudopotentials of different functionals; None if they have one."""
    if len({upf.functional for upf in chosen.values()}) < 2:
        return None
    listed = ", ".join(f"{element} {upf.functional} ({upf.file})" for element, upf in chosen.items())
    return f"the pseudopotentials are of different functionals, so their energies do not add up: {listed}"


def needs_more_density(chosen: Mapping[str, Pseudopotential]) -> str | None:
    """Why the density needs a cut-off of its own; None if four times that of the waves is exact."""
    soft = [upf.file for upf in chosen.values() if not upf.conserves_norm]
    if not soft:
        return None
    return f"{', '.join(soft)} (ultrasoft or PAW) needs `ecutrho`, mostly 8 to 12 times `ecutwfc`"
