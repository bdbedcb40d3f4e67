"""Text, tables and code in Markdown, escaped: what comes from a user shows as itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from active_learning.domain.secrets import without_secrets_in

__all__ = ["code_block", "escape_markdown", "markdown_table"]

_SPECIAL = re.compile(r"[&<>\"'`*_{}\[\]#|~\\@$!^=]|:(?=/)|(?<=www)\.", re.IGNORECASE)

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def escape_markdown(text: str) -> str:
    """Text that shows as itself anywhere in Markdown, in a table's cell too: no markup, no HTML, no link.

    Signs that may mean something get a backslash (CommonMark 0.31, section 2.4); what HTML could read becomes a named
    entity, the only kind that Prefect's UI shows as its sign; any white space becomes one blank. Passwords of addresses
    are blotted out: once it is escaped, nobody would know an address for one.

    >>> escape_markdown("a|b <i>")
    'a\\\\|b &lt;i&gt;'
    """
    return _SPECIAL.sub(
        lambda match: _ENTITIES.get(match[0], "\\" + match[0]), " ".join(without_secrets_in(text).split())
    )


def markdown_table(head: Sequence[str], alignment: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its texts escaped; `alignment` holds ":--" or "--:" for each column."""
    lines = [f"| {' | '.join(map(escape_markdown, head))} |", f"|{'|'.join(alignment)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(escape_markdown, row))} |" for row in rows)])


def code_block(text: str, language: str = "") -> str:
    """A text as it stands, between fences longer than any run of backticks in it.

    >>> code_block("a ``` b").splitlines()[0]
    '````'
    """
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
