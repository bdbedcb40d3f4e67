"""What tells that a file changed since something was made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from active_learning.domain.candidate import content_hash

__all__ = ["files_of", "fingerprint", "own_modules"]


def own_modules(folder: Path, *tables: Mapping[str, Any]) -> tuple[Path, ...]:
    """The user's own modules in a campaign file's folder that some tables name."""
    said = json.dumps(tables, default=str)
    return tuple(path.resolve() for path in sorted(folder.glob("*.py")) if f'"{path.stem}:' in said)


def fingerprint(modules: Sequence[Path]) -> str:
    """Another one as soon as one of them says something else; empty without modules."""
    return content_hash([[path.name, sha256(path.read_bytes()).hexdigest()] for path in modules]) if modules else ""


def files_of(pool: Mapping[str, Any]) -> list[list[Any]]:
    """Name, size and time of last change of each file that a table of [pool] reads: a file's, a folder's or a
    pattern's; none for a pool that reads no file."""
    path = pool.get("path")
    if path is None:
        return []
    root = Path(path)
    found = root.rglob("*") if root.is_dir() else Path(root.anchor).glob(str(root.relative_to(root.anchor)))
    states = [(one.as_posix(), one.stat()) for one in sorted(found) if one.is_file()]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]
