"""A campaign file as others may see it: with its store and workdir in the bundle, and without secrets.

The file is copied letter by letter, but for the values that are replaced. In the store's copies of it the same values
are replaced, so that the two still agree.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from active_learning.config.reading import line_of
from active_learning.domain.secrets import without_secrets
from active_learning.errors import UserError

__all__ = ["REMOVED", "public_row", "public_tables", "public_text", "secrets_of"]

REMOVED = "removed"
"""Stands where a secret stood."""
_LONG_ENOUGH = 6
"""A shorter secret may stand anywhere by chance."""
_ELSEWHERE = re.compile(r"^(/|~|[A-Za-z]:|.*\\)")


def public_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables as others may see them.

    A store that is no SQLite file becomes one; a workdir outside of the campaign file's folder becomes the usual one
    beside it. What a key calls a secret, a password in an address, and a value that a line of shell gives to a name
    that says so are replaced by `REMOVED`.
    """
    found: dict[str, Any] = without_secrets(tables, REMOVED)
    if "store" in found:
        found["store"] = "sqlite"
    if found.get("workdir") is not None and _is_elsewhere(str(found["workdir"])):
        found["workdir"] = f"{found.get('name')}.campaign"
    return found


def secrets_of(tables: Mapping[str, Any]) -> tuple[str, ...]:
    """What is replaced in tables, as far as it is long enough to be looked for elsewhere."""
    taken: list[str] = []
    without_secrets(tables, REMOVED, taken)
    return tuple(sorted({secret for secret in taken if len(secret) >= _LONG_ENOUGH}))


def public_row(row: Mapping[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
    """A row of a store as others may see it: its campaign file, and nothing secret elsewhere, in a label's provenance,
    say. A campaign file is the column `spec`, or stands as `spec` in an event's data."""
    shown = dict(row)
    if isinstance(shown.get("spec"), Mapping):
        shown["spec"] = public_tables(shown["spec"])
    if isinstance(shown.get("data"), Mapping) and isinstance(shown["data"].get("spec"), Mapping):
        shown["data"] = {**shown["data"], "spec": public_tables(shown["data"]["spec"])}
    return {key: _without(value, secrets) for key, value in shown.items()}


def _without(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, secrets) for inner in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REMOVED)
    return value


def _is_elsewhere(workdir: str) -> bool:
    parts = PurePosixPath(workdir).parts
    return bool(_ELSEWHERE.match(workdir)) or ".." in parts or not parts


def public_text(text: str) -> tuple[str, tuple[str, ...]]:
    """The text of a campaign file as others may see it, and the keys whose values were replaced.

    Raises
    ------
    UserError
        If a value to be replaced is written in a way that it cannot be found by: over several lines, say.
    """
    before = tomllib.loads(text)
    after, changed = public_tables(before), []
    for place, old, new in _changes(before, after):
        changed.append(".".join(place))
        text = _replaced(text, place, old, new)
    if tomllib.loads(text) != after:
        raise UserError(
            f"{', '.join(changed)} must not be published as it stands, and cannot be replaced where it stands: write"
            " each of these values as a plain text on one line of the campaign file."
        )
    return text, tuple(changed)


def _changes(before: Any, after: Any, place: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str, str]]:
    if isinstance(before, Mapping):
        return [change for key in before for change in _changes(before[key], after[key], (*place, str(key)))]
    if isinstance(before, list):
        pairs = enumerate(zip(before, after, strict=True))
        return [change for n, pair in pairs for change in _changes(*pair, (*place, str(n)))]
    return [] if before == after else [(place, before, after)]


def _replaced(text: str, place: tuple[str, ...], old: str, new: str) -> str:
    """With one value replaced: the first that is written so from the line on where its key, or its table, stands."""
    lines = text.splitlines(keepends=True)
    first = (line_of(text, place) or 1) - 1
    for number in range(first, len(lines)):
        for written in (json.dumps(old, ensure_ascii=False), json.dumps(old), f"'{old}'"):
            if written in lines[number]:
                lines[number] = lines[number].replace(written, json.dumps(new, ensure_ascii=False), 1)
                return "".join(lines)
    return text
