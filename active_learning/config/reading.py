"""From a file to a `CampaignSpec`, with every fault and the line it stands on."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from active_learning.config.spec import CampaignSpec
from active_learning.errors import Fault, SpecError, UserError

__all__ = ["CampaignFile", "faults_of", "line_of", "read_campaign_file", "read_header"]

_LISTS = frozenset({"list_type", "tuple_type"})
_TABLES = frozenset({"dict_type", "model_type"})
_KIND = re.compile(r"[\[(]|^constrained-|^(int|float|str|bool|none)$")
"""What pydantic puts into a place for each kind of thing that a key may be."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-\s\"']+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-\"'.]+)\s*=")


@dataclass(frozen=True)
class CampaignFile:
    """A campaign file as read: its place, its text and its tables. `spec` is None if it has `faults`."""

    path: Path
    text: str
    tables: Mapping[str, Any]
    spec: CampaignSpec | None
    faults: tuple[Fault, ...]

    def workdir(self) -> Path:
        """Absolute; beside the file unless the file says otherwise."""
        name = self.tables.get("workdir") or f"{self.tables.get('name')}.campaign"
        return (self.path.parent / str(name)).resolve()


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line, from 1, on which a key or (failing that) its nearest enclosing table stands; None for the file."""
    wanted = [str(part) for part in path]
    places: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = tuple(part.strip().strip("\"'") for part in header[2].split("."))
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                places.setdefault(table, number)
                table = (*table, str(counts[table]))
            places.setdefault(table, number)
        elif key := _KEY.match(line):
            places.setdefault((*table, *(part.strip("\"'") for part in key[1].split("."))), number)
    for length in range(len(wanted), 0, -1):
        if (found := places.get(tuple(wanted[:length]))) is not None:
            return found
    return None


def _message(error: Mapping[str, Any], known: Sequence[str]) -> str:
    kind, key = error["type"], str(error["loc"][-1]) if error["loc"] else ""
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(key, known, n=1)
        others = f" Known: {', '.join(sorted(known))}." if known else " There are none here but 'kind'."
        hint = f" Did you mean '{close[0]}'?" if close else others
        return f"unknown key.{hint}"
    if kind == "missing":
        return "missing."
    message = _worded(error)
    given = error.get("input")
    shown = f", got {given!r}" if isinstance(given, str | int | float | bool | list) and kind != "value_error" else ""
    return f"{message}{shown}" if message.endswith("?") and not shown else f"{message}{shown}."


def _worded(error: Mapping[str, Any]) -> str:
    """What pydantic says, as of a file; what it words as of Python in other words."""
    kind, given = error["type"], error.get("input")
    if kind in _LISTS and isinstance(given, Mapping):
        return "Input should be a list of tables, each with its heading in two brackets: [[...]]"
    if kind in _LISTS:
        return "Input should be a list"
    if kind in _TABLES:
        return "Input should be a table"
    if kind == "too_short":
        return f"Input should have {error['ctx']['min_length']} or more items"
    return str(error["msg"]).removeprefix("Value error, ").rstrip(".")


def _is_follow_up(error: Mapping[str, Any]) -> bool:
    """Whether pydantic finds a list too short only because it left out the items that are at fault."""
    return bool(error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"])


def _by_place(error: ValidationError) -> dict[tuple[Any, ...], list[Any]]:
    """The errors at each key. Of one that may be several kinds of thing, pydantic says what speaks against each."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for detail in error.errors(include_url=False):
        if not _is_follow_up(detail):
            first, *rest = detail["loc"] or ("",)
            place = (first, *(part for part in rest if not (isinstance(part, str) and _KIND.search(part))))
            found.setdefault(place if detail["loc"] else (), []).append(detail)
    return found


def _messages(details: Sequence[Any], known: Sequence[str]) -> str:
    """All that is said of one key."""
    own = [detail for detail in details if detail["type"] == "value_error"]
    said = [_message(detail, known) for detail in own or details]
    got = said[-1].rfind(", got ")
    shown = said[-1][got:] if got >= 0 else "."
    return "; or ".join([*(text.removesuffix(shown) for text in said[:-1]), said[-1]])


def _known_keys(model: type[BaseModel], place: Sequence[Any]) -> list[str]:
    """The keys allowed where a fault stands, as far as the models say."""
    for part in place:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return list(model.model_fields)


def faults_of(
    error: ValidationError,
    model: type[BaseModel],
    text: str,
    prefix: tuple[str, ...] = (),
    more_keys: frozenset[str] = frozenset(),
) -> list[Fault]:
    """The faults in a validation error, each with its key path and line; `prefix` is where the table stands, and
    `more_keys` are allowed in it beside the model's."""
    faults = []
    for loc, details in _by_place(error).items():
        place = (*prefix, *(str(part) for part in loc))
        known = _known_keys(model, loc[:-1])
        message = _messages(details, [*known, *more_keys] if len(loc) == 1 else known)
        faults.append(Fault(".".join(place), message, line_of(text, place)))
    return faults


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.toml")], n=1)
        hint = f" Did you mean {near[0]}?" if near else " 'motherlode init DIR' writes one to start from."
        raise UserError(f"No campaign file at {path}.{hint}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; name the campaign file in it.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error


def _tables(path: Path) -> tuple[str, dict[str, Any]]:
    text = _read_text(path)
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(str(path), (Fault("", f"not valid TOML: {error}."),)) from error


def read_campaign_file(path: Path) -> CampaignFile:
    """Read a campaign file; faults in it are returned, not raised, so that those of plug-ins can be added.

    Raises
    ------
    UserError
        If there is no such file or it is not TOML.
    """
    text, tables = _tables(path)
    try:
        spec, faults = CampaignSpec.model_validate(tables, context={"base": path.resolve().parent}), []
    except ValidationError as error:
        spec, faults = None, faults_of(error, CampaignSpec, text)
    return CampaignFile(path.resolve(), text, tables, spec, tuple(faults))


def read_header(path: Path) -> tuple[str, Path, str]:
    """Name, workdir and store of a campaign file, without judging the rest of it.

    Raises
    ------
    UserError
        If there is no such file, it is not TOML, or it has no name.
    """
    text, tables = _tables(path)
    name = tables.get("name")
    if not isinstance(name, str) or not name:
        raise SpecError(str(path), (Fault("name", "missing.", line_of(text, ("name",))),))
    return name, CampaignFile(path.resolve(), text, tables, None, ()).workdir(), str(tables.get("store", "sqlite"))
