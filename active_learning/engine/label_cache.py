"""Labels shared across campaigns and users: what a job returned, under the hash of everything that it depends on.

The key is the job itself, without its name: the function it calls, its inputs (the very crystal, the settings, the
references' energies), its files, and the versions of the codes that its labeler names. Two polymorphs have two
crystals, and so two keys. An entry is one JSON file, written under another name and renamed, so that a reader sees all
or nothing.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from active_learning.domain.candidate import content_hash
from active_learning.domain.job import JobSpec
from active_learning.errors import StoreError

__all__ = ["CachedResult", "LabelCache", "cache_key"]


def cache_key(spec: JobSpec, protocol: Mapping[str, Any]) -> str:
    """The hash of all that a job's result depends on."""
    inputs = {name: value for name, value in spec.inputs.items() if name not in spec.of_machine}
    body = {"entry": spec.entry, "inputs": inputs, "files": dict(spec.files), "protocol": dict(protocol)}
    return content_hash(body)


@dataclass(frozen=True)
class CachedResult:
    """What a job returned, and which one it was: campaign, request, host, time."""

    result: Mapping[str, Any]
    origin: Mapping[str, Any]


@dataclass(frozen=True)
class LabelCache:
    """A folder of results. Whoever may write in it is believed: give it to those whose calculations you would use."""

    folder: Path

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> CachedResult | None:
        """The result under a key; None if there is none.

        Raises
        ------
        StoreError
            If there is an entry that cannot be read, or is not one.
        """
        path = self._file(key)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if entry["key"] != key:
                raise ValueError("it is another's")
            return CachedResult(dict(entry["result"]), dict(entry["origin"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"the cached label {path} cannot be used: {error}; delete it") from error

    def put(self, key: str, result: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        """Keep a result. What stands there already stays.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        path = self._file(key)
        if path.exists():
            return
        try:
            # Others are to read it: the rights are what the user's umask leaves.
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{key}.{os.getpid()}.{secrets.token_hex(4)}")
            with temporary.open("x", encoding="utf-8") as file:
                json.dump({"key": key, "result": dict(result), "origin": dict(origin)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise StoreError(f"the label cannot be kept in the cache {self.folder}: {error.strerror}") from error
