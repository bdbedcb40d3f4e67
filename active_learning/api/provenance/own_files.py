"""Files beside a campaign file that it names: the user's own modules, and data that its tables point to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["named_files", "own_modules", "values_of"]

_IMPORT_PATH = re.compile(r"([A-Za-z_]\w*)(?:\.\w+)*[.:][A-Za-z_]\w*")
_LONGEST = 1000
_NOT_FOR_OTHERS = re.compile(r"identity|ssh|key|password|secret|token|credential", re.IGNORECASE)
_SKIPPED = frozenset({"__pycache__"})


def values_of(tables: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in the tables of a campaign file, with its place."""
    if isinstance(tables, Mapping):
        for key, value in tables.items():
            yield from values_of(value, (*path, str(key)))
    elif isinstance(tables, list | tuple):
        for number, value in enumerate(tables):
            yield from values_of(value, (*path, str(number)))
    elif isinstance(tables, str):
        yield path, tables


def own_modules(tables: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """Files of the modules and packages beside the campaign file that it names, and of those that they import."""
    waiting = [match[1] for _, value in values_of(tables) if (match := _IMPORT_PATH.fullmatch(value[:_LONGEST]))]
    found: dict[str, tuple[Path, ...]] = {}
    while waiting:
        name = waiting.pop()
        if name not in found and (files := _files_of(name, folder)):
            found[name] = files
            waiting += [other for file in files if file.suffix == ".py" for other in _imported(file)]
    return tuple(sorted({file for files in found.values() for file in files}))


def _files_of(module: str, folder: Path) -> tuple[Path, ...]:
    """A package as a whole: what else lies in it, its code may read."""
    if (folder / module / "__init__.py").is_file():
        inside = (file for file in sorted((folder / module).rglob("*")) if file.is_file())
        return tuple(file for file in inside if not _SKIPPED & set(file.parts) and not file.name.startswith("."))
    return (folder / f"{module}.py",) if (folder / f"{module}.py").is_file() else ()


def _imported(file: Path) -> Iterator[str]:
    """First names of what a module imports; nothing of one that is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def named_files(tables: Mapping[str, Any], folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Files in the campaign file's folder that its tables name, and what they name that is not for others: files
    elsewhere, folders, keys.
    """
    inside, left_out = set(), []
    for place, value in values_of(tables):
        path = _existing(value, folder)
        if path is None:
            continue
        where = ".".join(place)
        if not path.is_relative_to(folder):
            left_out.append(f"{where}: it lies elsewhere")
        elif path.is_dir():
            left_out.append(f"{where}: a folder")
        elif _NOT_FOR_OTHERS.search(where):
            left_out.append(f"{where}: its key says that it is not for others")
        else:
            inside.add(path)
    return tuple(sorted(inside)), tuple(left_out)


def _existing(value: str, folder: Path) -> Path | None:
    """The file or folder that a text names; most texts name none. A bare word, without dot or slash, names none."""
    if len(value) > _LONGEST or "\0" in value or not ("/" in value or Path(value).suffix):
        return None
    try:
        path = (folder / value).resolve()
        is_there = path.exists()
    except (OSError, RuntimeError):  # too long a name; a loop of links; a ~ of nobody
        return None
    return path if is_there else None
