"""A user's command: a list of arguments with placeholders, filled in one by one and never put before a shell."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from string import Formatter

__all__ = ["check_template", "fill", "placeholders"]


def placeholders(template: Sequence[str]) -> set[str]:
    """The names of all placeholders.

    Raises
    ------
    ValueError
        If an argument has a brace that belongs to no placeholder, or a placeholder that is more than a name.
    """
    found = set()
    for argument in template:
        try:
            parts = list(Formatter().parse(argument))
        except ValueError as error:
            raise ValueError(f"{argument!r}: {error}; a brace that is meant as such is written twice") from error
        for _, name, form, conversion in parts:
            if name is None:
                continue
            if form or conversion:
                raise ValueError(f"{argument!r}: write {{{name}}}, without a format")
            found.add(name)
    return found


def check_template(template: Sequence[str], allowed: Collection[str], one_of: Collection[str] = ()) -> None:
    """Refuse a command that cannot be filled in.

    Parameters
    ----------
    allowed : names of placeholders
    one_of : of these at least one must be there, if any are given

    Raises
    ------
    ValueError
        If the command is empty, or has other placeholders, or none of those that it needs.
    """
    if not template or not template[0]:
        raise ValueError("a command is a list of arguments, of which the first is the program")
    found = placeholders(template)
    if unknown := sorted(found - set(allowed)):
        known = ", ".join(f"{{{name}}}" for name in sorted(allowed))
        raise ValueError(f"no placeholder {{{unknown[0]}}} here; known: {known}")
    if one_of and not found & set(one_of):
        raise ValueError(
            f"it must have {' or '.join(f'{{{name}}}' for name in one_of)}, or it is the same for all jobs"
        )


def fill(template: Sequence[str], values: Mapping[str, str], handles: Sequence[str] = ()) -> list[str]:
    """The command, filled in.

    ``{handles}`` becomes one argument for each handle where it stands alone, and else the handles with commas between.

    >>> fill(["list", "--of={handles}", "{handles}", "{name}; rm -r /"], {"name": "$(ls)"}, ["7", "8"])
    ['list', '--of=7,8', '7', '8', '$(ls); rm -r /']
    """
    filled: list[str] = []
    for argument in template:
        if argument == "{handles}":
            filled += handles
        else:
            filled.append(argument.format_map({**values, "handles": ",".join(handles)}))
    return filled
