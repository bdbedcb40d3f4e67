"""Where text comes from: files, packed files (.gz), and the members of archives (.zip), none of them ever unpacked to
disk, and none that swells to an absurd size."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TextIO, cast

from active_learning.domain.candidate import Dropped

__all__ = ["READ_ERRORS", "Part", "SwellsTooMuch", "file_part", "is_hidden", "members", "why_not"]

_LARGEST = 1 << 30
"""Most bytes in a member of an archive."""
_HARMLESS = 100 << 20
"""Bytes below which nothing is too much."""
_MOST_PACKED = 200
"""Times; crystals and tables shrink ten times when packed, a thousand is the most that the method can do."""


class SwellsTooMuch(Exception):
    """A packed file is far larger than what it was packed from could be."""


READ_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,
    UnicodeDecodeError,
    SwellsTooMuch,
)
"""What opening and reading a part may raise: it is missing, forbidden, cut off, broken or packed in an unknown way."""


def why_not(error: BaseException) -> str:
    """One of `READ_ERRORS` in a few words."""
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    return " ".join(text.split()) or type(error).__name__


@dataclass(frozen=True)
class Part:
    """Something to read.

    Parameters
    ----------
    name : what reports call it; its ending says what it holds
    size : bytes as it is stored
    open : opens it, as it is stored
    path : of a file on disk; None for a member of an archive
    """

    name: str
    size: int
    open: Callable[[], AbstractContextManager[BinaryIO]]
    path: Path | None = None

    @property
    def kind(self) -> str:
        """Its name in small letters, without ``.gz``."""
        return self.name.lower().removesuffix(".gz")

    @property
    def is_packed(self) -> bool:
        """Whether it is a gzip file."""
        return self.name.lower().endswith(".gz")

    @contextmanager
    def text(self, newline: str | None = None) -> Iterator[TextIO]:
        """Its text, unpacked as it is read; bytes that are not UTF-8 become U+FFFD.

        Raises
        ------
        Any of `READ_ERRORS`, here or while the text is read.
        """
        with self.open() as stored:
            stream: io.IOBase = cast(io.IOBase, stored)
            if self.is_packed:
                stream = io.BufferedReader(_Watched(gzip.GzipFile(fileobj=stored), self.size))
            with io.TextIOWrapper(cast(BinaryIO, stream), "utf-8-sig", errors="replace", newline=newline) as text:
                yield text


class _Watched(io.RawIOBase):
    """A stream that ends with an error when it becomes absurdly larger than what it is unpacked from."""

    def __init__(self, stream: gzip.GzipFile, packed: int) -> None:
        self._stream = stream
        self._packed = packed
        self._n_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def] # any writable buffer
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._n_read += len(data)
        if _is_absurd(self._n_read, self._packed):
            raise SwellsTooMuch(f"more than {_MOST_PACKED} times as large unpacked")
        return len(data)


def _is_absurd(size: int, packed: int) -> bool:
    return size > _HARMLESS and size > _MOST_PACKED * packed


def file_part(path: Path, name: str) -> Part:
    """A file on disk.

    Raises
    ------
    OSError
        If it cannot be looked at.
    """
    return Part(name, path.stat().st_size, lambda: path.open("rb"), path)


def is_hidden(path: PurePosixPath | Path) -> bool:
    """Whether a file or a folder on the way to it has a name that starts with a dot."""
    return any(part.startswith(".") for part in path.parts)


def members(path: Path, name: str, *, recursive: bool) -> Iterator[Part | Dropped]:
    """The files in a zip archive, by name, hidden ones left alone; those that must not be read as `Dropped`."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = sorted((i for i in archive.infolist() if not i.is_dir()), key=lambda info: info.filename)
            if _is_absurd(sum(info.file_size for info in infos), path.stat().st_size):
                yield Dropped(name, f"archive too large: more than {_MOST_PACKED} times as large unpacked")
                return
            for info in infos:
                inner = PurePosixPath(info.filename.replace("\\", "/"))
                source = f"{name}/{_printable(info.filename)}"
                fault = _fault(info, inner)
                if fault is not None:
                    yield Dropped(source, fault)
                elif not is_hidden(inner) and (recursive or len(inner.parts) == 1):
                    yield Part(source, info.compress_size, _opener(archive, info))
    except READ_ERRORS as error:
        yield Dropped(name, f"cannot be read: {why_not(error)}")


def _opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], AbstractContextManager[BinaryIO]]:
    return lambda: cast(AbstractContextManager[BinaryIO], archive.open(info))


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)[:200]


def _fault(info: zipfile.ZipInfo, inner: PurePosixPath) -> str | None:
    """Why a member must not be read."""
    if not inner.parts or inner.is_absolute() or ".." in inner.parts or ":" in inner.parts[0]:
        return "unsafe path: it leads out of the archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a symbolic link inside an archive"
    if info.flag_bits & 1:
        return "encrypted"
    if info.file_size > _LARGEST:
        return f"too large: {info.file_size / 2**30:.1f} GiB unpacked, more than {_LARGEST / 2**30:.0f}"
    if _is_absurd(info.file_size, info.compress_size):
        return f"too large: more than {_MOST_PACKED} times as large unpacked"
    if inner.suffix.lower() == ".zip":
        return "an archive inside an archive"
    return None
