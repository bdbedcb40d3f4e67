"""What the tables of the pages in docs/ are made with."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["result", "sentences", "table"]

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def result(name: str) -> Any:
    """What the benchmark of this name measured."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], n_words: int = 1) -> Iterator[str]:
    """A Markdown table; columns after the first `n_words` hold numbers."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * n_words}{'---:|' * (len(head) - n_words)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def sentences(text: str) -> str:
    """A paragraph."""
    return "\n" + textwrap.fill(text, 120, break_on_hyphens=False)
