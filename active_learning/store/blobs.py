"""Immutable files named by the hash of what is in them: the pool, the features, the predictions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from active_learning.errors import StoreError

__all__ = ["Blobs"]


@dataclass(frozen=True)
class Blobs:
    """A folder of immutable files, ``<stem>-<hash><suffix>``."""

    root: Path

    def put(self, stem: str, suffix: str, write: Callable[[BinaryIO], None]) -> str:
        """Store what `write` writes and return its name. The same content gives the same name and one file.

        Written under a temporary name, synced and renamed: a name that exists is whole.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = self.root / f".{stem}.{os.getpid()}.part"
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            with temporary.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
            name = f"{stem}-{digest}{suffix}"
            temporary.replace(self.root / name)
        finally:
            temporary.unlink(missing_ok=True)
        return name

    def path(self, name: str) -> Path:
        """Where a stored file lies.

        Raises
        ------
        StoreError
            If it is not there.
        """
        path = self.root / name
        if not path.is_file():
            raise StoreError(f"{path} is missing. It belongs to the campaign: restore it, or start a new campaign.")
        return path
