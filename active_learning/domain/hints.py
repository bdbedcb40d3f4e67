"""Hints for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name, with a blank before it; empty if nothing is close.

    >>> did_you_mean("volume", ["volume_per_atom"])
    " Did you mean 'volume_per_atom'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
