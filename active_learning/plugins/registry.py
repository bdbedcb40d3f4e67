"""From the word after ``kind =`` to a class.

A name is looked up among the entry points of its group; built-ins are registered the same way as anybody's.
``module:Class`` is imported as it stands and needs no packaging.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from active_learning.domain.options import Options
from active_learning.errors import UserError

__all__ = ["GROUPS", "PluginInfo", "installed", "load"]

GROUPS: Mapping[str, str] = {
    "pools": "pool",
    "featurizers": "featurizer",
    "surrogates": "surrogate",
    "acquisition": "acquisition",
    "selection": "selection",
    "labelers": "labeler",
    "submitters": "submitter",
    "stopping": "stopping rule",
}
"""Plug-in group (and folder) -> what one of its plug-ins is called."""


@dataclass(frozen=True)
class PluginInfo:
    """One installed plug-in."""

    group: str
    kind: str
    target: str
    distribution: str


def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"motherlode.{group}")}


def installed(group: str) -> tuple[PluginInfo, ...]:
    """The plug-ins of a group, by name; nothing is imported."""
    found = sorted(_entry_points(group).items())
    return tuple(
        PluginInfo(group, kind, point.value, f"{point.dist.name} {point.dist.version}" if point.dist else "unknown")
        for kind, point in found
    )


def _unknown(group: str, kind: str, names: list[str]) -> UserError:
    close = difflib.get_close_matches(kind, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return UserError(
        f"No {GROUPS[group]} named '{kind}'.{hint} Installed: {', '.join(names)}."
        " Your own class goes in as 'module:Class'."
    )


def _imported(group: str, kind: str, path: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"The {GROUPS[group]} '{kind}' cannot be imported: {error}.") from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        raise UserError(f"The {GROUPS[group]} '{kind}': module {module} has no '{attribute}'.") from error


def load(group: str, kind: str) -> Any:
    """The class (or, for a modAL strategy, the function) behind a kind.

    Raises
    ------
    UserError
        If nothing of that name is installed (with the nearest name), if it cannot be imported, or if it is a class
        without options.
    """
    points = _entry_points(group)
    if kind in points:
        found = _imported(group, kind, points[kind].value)
    elif ":" in kind:
        found = _imported(group, kind, kind)
    else:
        raise _unknown(group, kind, sorted(points))
    options = getattr(found, "Options", None)
    if isinstance(found, type) and not (isinstance(options, type) and issubclass(options, Options)):
        raise UserError(
            f"The {GROUPS[group]} '{kind}' has no options model: give the class an attribute 'Options',"
            " a subclass of active_learning.domain.options.Options."
        )
    return found
