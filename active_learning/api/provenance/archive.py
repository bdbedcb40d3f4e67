"""A zip file that is the same whenever the same is packed: sorted names, one date, plain modes, a list of hashes."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from active_learning.errors import ContractError, UserError

__all__ = ["HASHES", "write_archive"]

HASHES = "SHA256SUMS"
"""The last file of an archive: the SHA-256 of all others, as `sha256sum --check` reads it."""
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = (stat.S_IFREG | 0o644) << 16
_PART = 1 << 20
_UNIX = 3


def write_archive(path: Path, root: str, members: Mapping[str, Path]) -> int:
    """Pack files into a folder `root` of a zip file, whole or not at all; returns how many.

    Parameters
    ----------
    members : name in the archive, with slashes -> the file

    Raises
    ------
    UserError
        If it cannot be written there, or a name would not be safe to unpack.
    """
    for name in members:
        _check(name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            hashes = {name: _add(archive, f"{root}/{name}", members[name]) for name in sorted(members)}
            listed = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
            archive.writestr(_info(f"{root}/{HASHES}"), listed)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"The bundle {path} cannot be written: {error.strerror} ({error.filename}).") from error
    finally:
        with suppress(OSError):  # it was never there, or its folder is none
            temporary.unlink()
    return len(members) + 1


def _check(name: str) -> None:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or not parts or name == HASHES:
        raise ContractError(f"{name!r} is no name for a file of an archive")
    if "\\" in name or not name.isprintable():
        raise UserError(
            f"{name!r} cannot be packed: a name with a backslash or a control character is not the same"
            " everywhere. Rename it."
        )


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = _MODE
    info.create_system = _UNIX
    return info


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    """Pack one file; its hash is that of what was packed, whatever becomes of the file meanwhile."""
    digest = hashlib.sha256()
    with (
        path.open("rb") as source,
        archive.open(_info(name), "w", force_zip64=path.stat().st_size >= 1 << 31) as packed,
    ):
        while part := source.read(_PART):
            digest.update(part)
            packed.write(part)
    return digest.hexdigest()
