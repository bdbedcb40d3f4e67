"""Job directories as one stream of bytes, on their way to another machine and back."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from active_learning.errors import BackendError
from active_learning.submitters.batch.script import SCRIPT

__all__ = ["KEPT_HERE", "pack", "unpack"]

KEPT_HERE = frozenset({"submitting", "batch_handle", "lock"})
"""Files of a job directory that are about this machine."""
_OURS = KEPT_HERE | {"job.json", "run.sh", SCRIPT}
_ARRIVING = ".arriving"


def pack(directory: Path, into: IO[bytes]) -> None:
    """Write a job's files into an archive, the batch script last: where it arrived, all else did."""
    paths = [path for path in sorted(directory.iterdir()) if path.name not in KEPT_HERE and path.name[0] != "."]
    paths.sort(key=lambda path: path.name == SCRIPT)
    with tarfile.open(fileobj=into, mode="w") as archive:
        for path in paths:
            archive.add(path, arcname=path.name, filter=_for_the_owner)


def _for_the_owner(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (member.isreg() or member.isdir()):
        return None
    member.mode &= 0o700
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def unpack(archive: IO[bytes], directory: Path) -> None:
    """Put what came back from a job into its directory, its exit code last, so that it is never half there.

    What was here before the job ran stays as it is, and so does everything once there is an exit code. Links and
    devices, which no job of ours leaves, are not taken; nor is a name that points elsewhere.

    Raises
    ------
    BackendError
        If the archive is cut off, or the files cannot be written.
    """
    if (directory / "exit_code").exists():
        return
    arriving = directory / _ARRIVING
    try:
        shutil.rmtree(arriving, ignore_errors=True)
        arriving.mkdir(mode=0o700)
        with tarfile.open(fileobj=archive, mode="r:") as opened:
            for member in opened:
                _take(opened, member, arriving)
        for path in sorted(arriving.iterdir(), key=lambda path: path.name == "exit_code"):
            _move(path, directory)
        arriving.rmdir()
    except (OSError, tarfile.TarError) as error:
        raise BackendError(f"what the job left did not arrive whole in {directory}: {error}") from error


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, arriving: Path) -> None:
    name = PurePosixPath(member.name)
    parts = [part for part in name.parts if part != "."]
    if name.is_absolute() or ".." in parts or not parts or (parts[0] in _OURS):
        return
    path = arriving.joinpath(*parts)
    if member.isdir():
        path.mkdir(mode=0o700, exist_ok=True)
    elif member.isreg() and (content := archive.extractfile(member)) is not None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with content, os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        # When the job began is the time of its file `started`.
        os.utime(path, (member.mtime, member.mtime))


def _move(path: Path, directory: Path) -> None:
    target = directory / path.name
    if path.is_dir() and target.is_dir():
        shutil.rmtree(target)
    path.replace(target)
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
