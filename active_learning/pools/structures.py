"""The pool `structures`: crystals from the user's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.options import FilePath
from active_learning.errors import UserError
from active_learning.pools.filters import Elements, FilterOptions, Sieve
from active_learning.pools.readers import READABLE, Reader, reader_of

__all__ = ["Structures"]

_WILDCARDS = frozenset("*?[")


class Structures:
    """Candidates from CIF, POSCAR, (ext)xyz and pymatgen JSON files; the cell is taken as it is written.

    Files are read in the order of their paths. In a folder, hidden files and files of other kinds are left alone.
    """

    class Options(FilterOptions):
        """Keys of the table `[pool]` with ``kind = "structures"``."""

        path: FilePath = Field(description='A folder, one file, or a pattern such as "cifs/*.cif".')
        recursive: bool = Field(default=True, description="Whether to look into folders inside the folder.")
        elements: Elements | None = Field(
            default=None, description="Take crystals of these elements only; without it, of any."
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
        for name, path, reader in self._files():
            for source, found in _crystals(name, path, reader):
                yield sieve.sift(Candidate.of(found, source)) if isinstance(found, Crystal) else Dropped(source, found)

    def _files(self) -> list[tuple[str, Path, Reader]]:
        """Name, path and reader of each file, in order."""
        path = self.options.path
        root, paths = self._matches(path)
        files = [
            (file.relative_to(root).as_posix(), file, reader)
            for file in sorted(paths)
            if (reader := reader_of(file)) and not file.is_dir() and not _is_hidden(file.relative_to(root))
        ]
        if not files:
            what = "is not a file of a known kind" if path.is_file() else "holds no file of a known kind"
            raise UserError(f"{path} {what}; crystals are read from {READABLE}")
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


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _crystals(name: str, path: Path, reader: Reader) -> Iterator[tuple[str, Crystal | str]]:
    """What a file holds, each with its source: the file's name, and the place in it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        yield name, f"cannot be read: {error.strerror}"
        return
    for place, found in reader(text):
        yield f"{name}, {place}" if place else name, found
