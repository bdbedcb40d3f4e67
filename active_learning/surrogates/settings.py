"""Options of a surrogate that can be searched for: one place that refuses the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from active_learning.domain.options import Options
from active_learning.errors import ContractError

__all__ = ["changed"]

OptionsT = TypeVar("OptionsT", bound=Options)


def changed(options: OptionsT, settings: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]]) -> OptionsT:
    """`options` with some values of `known` in them.

    Raises
    ------
    ContractError
        If one of `settings` is not in `known`, or not with one of its values.
    """
    for name, value in settings.items():
        if value not in known.get(name, ()):
            raise ContractError(
                f"{name} = {value!r} is not among the settings: "
                + "; ".join(f"{name} = {', '.join(map(repr, values))}" for name, values in known.items())
            )
    return options.model_copy(update=dict(settings))
