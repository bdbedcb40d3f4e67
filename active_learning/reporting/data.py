"""Tables of numbers that lie beside figures, as comma-separated values."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """Columns and rows; a cell is a number, a text, a truth value or None."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_csv(self) -> str:
        """Comma-separated values after RFC 4180, lines ended by a line feed; None is an empty cell.

        Numbers are written so that they are read back as they were.

        >>> Table(("a", "b"), ((1.5, None), ("x,y", True))).to_csv()
        'a,b\\n1.5,\\n"x,y",True\\n'
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()
