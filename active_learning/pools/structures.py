"""The pool `structures`: crystals from the user's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.options import FilePath
from active_learning.errors import UserError
from active_learning.pools.ase_database import read_ase_database
from active_learning.pools.filters import Elements, FilterOptions, Sieve
from active_learning.pools.json_crystals import read_json
from active_learning.pools.parts import READ_ERRORS, Part, file_part, is_hidden, members, why_not
from active_learning.pools.readers import Found, read_cif, read_poscar, read_xyz

__all__ = ["Structures"]

Reader = Callable[[Part], Iterator[Found]]

_READABLE = (
    "*.cif, POSCAR*, CONTCAR*, *.vasp, *.poscar, *.xyz, *.extxyz, *.json (pymatgen, Materials Project, ASE), "
    "each also as .gz; *.db (ASE); *.zip of these"
)
_READERS: dict[str, Reader] = {
    ".cif": read_cif,
    ".vasp": read_poscar,
    ".poscar": read_poscar,
    ".xyz": read_xyz,
    ".extxyz": read_xyz,
    ".json": read_json,
}
_WILDCARDS = frozenset("*?[")


def _reader_of(name: str) -> Reader | None:
    """The reader for a file of this name; None if the name says nothing of crystals."""
    plain = Path(name.removesuffix(".gz") if name.endswith(".gz") else name)
    if plain.suffix == ".db":
        return read_ase_database if name.endswith(".db") else None
    by_suffix = _READERS.get(plain.suffix)
    if by_suffix is None and plain.name.startswith(("poscar", "contcar")):
        return read_poscar
    return by_suffix


class Structures:
    """Candidates from files of crystals; the cell is taken as it is written.

    CIF, POSCAR, (extended) xyz, JSON of pymatgen, of the Materials Project and of ASE, each also packed (.gz); ASE
    databases (.db); archives (.zip), which are read like folders and never unpacked to disk. Files are read in the
    order of their paths. In a folder, hidden files and files of other kinds are left alone.
    """

    class Options(FilterOptions):
        """Keys of the table `[pool]` with ``kind = "structures"``."""

        path: FilePath = Field(description='A folder, one file, or a pattern such as "cifs/*.cif".')
        recursive: bool = Field(default=True, description="Whether to look into folders inside the folder.")
        elements: Elements | None = Field(
            default=None, description="Take crystals of these elements only; without it, of any."
        )
        name_from: Literal["file", "id"] = Field(
            default="file",
            description=(
                'What a candidate\'s origin says: "file" and the place in it, or only the "id" that the file gives the '
                "crystal (material_id, mp_id, task_id, id, mat_id; the number of an ASE row), so that a table can be "
                "looked up by it; the file where there is none."
            ),
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every crystal; what is broken, disordered, unwanted or was there before as `Dropped`.

        Raises
        ------
        UserError
            If there is no such file or folder, or nothing in it that can be read.
        """
        sieve = Sieve(self.options, self.options.elements)
        named: dict[str, str] = {}
        for part in self._parts():
            if isinstance(part, Dropped):
                yield part
                continue
            for source, found in _crystals(part):
                yield self._taken(source, found, sieve, named)

    def _taken(self, source: str, found: Found, sieve: Sieve, named: dict[str, str]) -> Candidate | Dropped:
        if isinstance(found.crystal, str):
            return Dropped(source, found.crystal)
        if self.options.name_from == "file" or not found.id:
            return sieve.sift(Candidate.of(found.crystal, source))
        first = named.setdefault(found.id, source)
        if first != source:
            return Dropped(source, f"the same id: {found.id} is the crystal in {first}")
        judgment = sieve.judge(candidate := Candidate.of(found.crystal, found.id))
        return candidate if judgment.reason is None else Dropped(source, judgment.reason)

    def _parts(self) -> Iterator[Part | Dropped]:
        """Each file, and each member of an archive, that may hold crystals, in order."""
        for name, path in self._files():
            if path.suffix.lower() == ".zip":
                inside = members(path, name, recursive=self.options.recursive)
                yield from (m for m in inside if isinstance(m, Dropped) or _reader_of(Path(m.name).name.lower()))
                continue
            try:
                yield file_part(path, name)
            except OSError as error:
                yield Dropped(name, f"cannot be read: {why_not(error)}")

    def _files(self) -> list[tuple[str, Path]]:
        """Name and path of each file, in order."""
        path = self.options.path
        root, paths = self._matches(path)
        files = [
            (file.relative_to(root).as_posix(), file)
            for file in sorted(paths)
            if _is_readable(file.name.lower()) and not file.is_dir() and not is_hidden(file.relative_to(root))
        ]
        if not files:
            what = "is not a file of a known kind" if path.is_file() else "holds no file of a known kind"
            raise UserError(f"{path} {what}; crystals are read from {_READABLE}")
        return files

    def _matches(self, path: Path) -> tuple[Path, list[Path]]:
        """The folder that file names are relative to, and what lies there."""
        if path.is_file():
            return path.parent, [path]
        if path.is_dir():
            return path, list(path.rglob("*") if self.options.recursive else path.glob("*"))
        first = next((i for i, part in enumerate(path.parts) if _WILDCARDS & set(part)), None)
        if first is None:
            raise UserError(f"no such file or folder: {path}")
        root = Path(*path.parts[:first])
        return root, list(root.glob(str(Path(*path.parts[first:]))))


def _is_readable(name: str) -> bool:
    return name.endswith(".zip") or _reader_of(name) is not None


def _crystals(part: Part) -> Iterator[tuple[str, Found]]:
    """What a file holds, each with its source: the file's name, and the place in it."""
    reader = _reader_of(Path(part.name).name.lower())
    if reader is None:
        return
    n_found = 0
    try:
        for found in reader(part):
            n_found += 1
            yield f"{part.name}, {found.place}" if found.place else part.name, found
    except READ_ERRORS as error:
        where = " from here on" if n_found else ""
        yield part.name, Found("", f"cannot be read{where}: {why_not(error)}")
