"""Figures as files, each with its numbers beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from active_learning.api.record import CampaignRecord
from active_learning.domain.secrets import without_secrets_in
from active_learning.reporting import style
from active_learning.reporting.decisions import decisions_table
from active_learning.reporting.drawings import Drawing

__all__ = ["encoded", "figure_files"]

_DPI = 200


def encoded(text: str) -> bytes:
    """A text as UTF-8; a sign that has none (of a file name that is no UTF-8) becomes a question mark."""
    return text.encode("utf-8", "replace")


def figure_files(record: CampaignRecord, drawings: Mapping[str, Drawing]) -> Iterator[tuple[str, bytes]]:
    """File name and content: of every figure ``NAME.svg``, ``NAME.png`` and its numbers, ``NAME.csv``; and the log of
    decisions, ``decisions.csv``.

    A figure of several tables has more of them, such as ``calibration_z.csv``.
    """
    for name, drawing in drawings.items():
        yield f"{name}.svg", encoded(style.svg_text(drawing.figure))
        yield f"{name}.png", style.png_bytes(drawing.figure, dpi=_DPI)
        for rest, table in drawing.data().items():
            yield f"{name}_{rest}.csv" if rest else f"{name}.csv", encoded(without_secrets_in(table.to_csv()))
    yield "decisions.csv", encoded(without_secrets_in(decisions_table(record).to_csv()))
