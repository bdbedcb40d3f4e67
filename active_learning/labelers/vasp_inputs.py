"""The files of a VASP run: pymatgen's input sets, and the pseudopotentials of the user's licensed library."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from monty.io import zopen
from monty.os.path import zpath
from pymatgen.core import SETTINGS
from pymatgen.io.vasp import sets
from pymatgen.io.vasp.inputs import Incar, PotcarSingle

from active_learning.crystals.pymatgen import to_structure
from active_learning.domain.candidate import Crystal
from active_learning.errors import UserError

__all__ = ["INCAR_TAGS", "INPUT_SETS", "VaspFiles", "vasp_files"]

INPUT_SETS = tuple(
    name
    for name in (
        *("MPRelaxSet", "MPStaticSet", "MPMetalRelaxSet", "MPScanRelaxSet", "MPScanStaticSet", "MP24RelaxSet"),
        *("MP24StaticSet", "MatPESStaticSet", "MatPESRelaxSet", "MPHSERelaxSet", "MITRelaxSet", "MVLScanRelaxSet"),
    )
    if hasattr(sets, name)
)
"""Input sets that need a crystal and no earlier run. Older versions of pymatgen lack some."""

INCAR_TAGS = frozenset(Incar.INCAR_PARAMS) | {"EDIFF_PER_ATOM"}
"""What may stand in INCAR, and what pymatgen turns into EDIFF."""

_SMALL: Mapping[str, Any] = {"LWAVE": False, "LCHARG": False}
"""Wavefunctions and densities are of no use here and fill the disk; who wants them says so in `incar`."""

_ELEMENT = re.compile(r"VRHFIN\s*=\s*([A-Z][a-z]?)")
_TITLE = re.compile(r"TITEL\s*=\s*(\S.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class VaspFiles:
    """What VASP reads, by file name, and the settings in it as a JSON object."""

    texts: Mapping[str, str]
    settings: Mapping[str, Any]


def vasp_files(
    crystal: Crystal,
    input_set: str,
    *,
    incar: Mapping[str, Any],
    kpoints: Mapping[str, Any],
    potcar: Mapping[str, str],
    functional: str | None,
    library: Path | None,
) -> VaspFiles:
    """INCAR, POSCAR, KPOINTS (unless the spacing stands in INCAR) and POTCAR of a crystal.

    Parameters
    ----------
    input_set : one of `INPUT_SETS`
    incar, kpoints : what replaces the set's own settings
    potcar : element -> name of the pseudopotential, where it is not the set's
    functional : of the pseudopotentials; None: the set's
    library : folder of the pseudopotentials; None: pymatgen's PMG_VASP_PSP_DIR

    Raises
    ------
    UserError
        If the input set refuses the crystal or the settings, or a pseudopotential is not there.
    """
    try:
        with warnings.catch_warnings():
            # It warns of every setting that is not its own; the user wrote them into the campaign file.
            warnings.simplefilter("ignore", sets.BadInputSetWarning)
            # Between pymatgen and spglib; nothing that anybody here could change.
            warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
            made = getattr(sets, input_set)(
                to_structure(crystal),
                user_incar_settings=dict(_SMALL) | dict(incar),
                user_kpoints_settings=dict(kpoints),
                user_potcar_settings=dict(potcar),
                user_potcar_functional=functional,
            )
            settings, mesh, poscar, symbols = made.incar, made.kpoints, made.poscar, made.potcar_symbols
            texts = {"INCAR": str(settings), "POSCAR": poscar.get_str(significant_figures=12)}
    except Exception as error:
        # Input sets raise whatever comes to them.
        raise UserError(f"pymatgen's {input_set} makes no inputs for {_formula(crystal)}: {_words(error)}") from error
    if mesh is not None:
        texts["KPOINTS"] = str(mesh)
    potentials = [
        _potcar(element, symbol, made.potcar_functional, library)
        for element, symbol in zip(poscar.site_symbols, symbols, strict=True)
    ]
    texts["POTCAR"] = "".join(text for text, _ in potentials)
    about = {
        "input_set": input_set,
        "incar": json.loads(json.dumps(dict(settings), default=str)),
        "kpoints": texts.get("KPOINTS"),
        "potcar": {
            "functional": made.potcar_functional,
            "titles": [title for _, title in potentials],
            "sha256": hashlib.sha256(texts["POTCAR"].encode()).hexdigest(),
        },
    }
    return VaspFiles(texts, about)


def _formula(crystal: Crystal) -> str:
    return "".join(f"{symbol}{n:g}" for symbol, n in crystal.amounts.items())


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _potcar(element: str, symbol: str, functional: str, library: Path | None) -> tuple[str, str]:
    """Text and title of a pseudopotential; it is checked to be the element's."""
    path = _find(symbol, functional, library)
    state = path.stat()
    text = _text(path, state.st_mtime_ns, state.st_size)
    found, title = _ELEMENT.search(text), _TITLE.search(text)
    # The files of xenon call it X.
    if found is None or title is None or (found[1] != element and (found[1], element) != ("X", "Xe")):
        what = f"is of {found[1]}" if found else "is no POTCAR: it names no element"
        raise UserError(f"the pseudopotential {path} should be of {element}, and {what}")
    return text if text.endswith("\n") else f"{text}\n", title[1]


@lru_cache(maxsize=128)
def _text(path: Path, _mtime_ns: int, _size: int) -> str:
    try:
        with zopen(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError(f"the pseudopotential {path} cannot be read: {error}") from error
    assert isinstance(data, bytes)
    # Some comments in them are not ASCII; in this encoding every byte is a character.
    return data.decode("latin-1")


def _find(symbol: str, functional: str, library: Path | None) -> Path:
    named = library or SETTINGS.get("PMG_VASP_PSP_DIR")
    if named is None:
        raise UserError(
            "VASP needs its pseudopotentials, which come with your license. Say where they are: `potcar_dir` in"
            " [labeler], or the environment variable PMG_VASP_PSP_DIR; the folder holds, for instance,"
            f" {PotcarSingle.functional_dir[functional]}/POTCAR.{symbol}.gz (see pymatgen's `pmg config -p`)"
        )
    folder = Path(named).expanduser()
    inside = SETTINGS.get("PMG_VASP_PSP_SUB_DIRS", {}).get(functional, PotcarSingle.functional_dir[functional])
    tried = _places(folder / inside, symbol)
    for place in tried:
        path = Path(zpath(place))
        if path.is_file():
            return path
    raise UserError(
        f"no pseudopotential {symbol!r} of {functional} in {folder}; looked for {' and '.join(map(str, tried))}, packed"
        " or not. Another one can be named in [labeler.potcar], another library with `potcar_dir`"
    )


def _places(folder: Path, symbol: str) -> Sequence[Path]:
    return (folder / f"POTCAR.{symbol}", folder / symbol / "POTCAR")
