"""How figures look, and how they become pictures. No pyplot: safe in threads and without a display."""

from __future__ import annotations

import base64
import io
import re
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from PIL import Image

from active_learning.reporting.numbers import shortened

__all__ = [
    "ACCENT",
    "BEST",
    "CONTROL",
    "FAILED",
    "GOOD",
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "ROUND_COLORS",
    "TEST",
    "drawable",
    "label_axes",
    "legend",
    "new_figure",
    "new_grid",
    "no_data",
    "png_bytes",
    "png_data_uri",
    "svg_data_uris",
    "svg_text",
]

# Okabe and Ito's colors, which color-blind readers can tell apart, beside grays. `_DARK` gives each color that would
# not read on a dark page its stand-in there; no other color may be used twice for two meanings.
PAPER = "#ffffff"
INK = "#1c2430"
MUTED = "#68717f"
GRID = "#e3e7ec"
ACCENT = "#0b63a8"
BEST = "#d95f02"
GOOD = "#0d8a6a"
FAILED = "#b3384f"
CONTROL = "#8a4fa8"
TEST = "#8a6d00"
_DARK = {
    PAPER: "#171c24",
    INK: "#e8ecf1",
    MUTED: "#9aa5b4",
    GRID: "#2f3844",
    ACCENT: "#5aaef0",
    BEST: "#ff9a4d",
    GOOD: "#35c79e",
    FAILED: "#f2778c",
    CONTROL: "#cf9bea",
    TEST: "#e0bf45",
}
ROUND_COLORS = "viridis"

_FONT_SIZE = 9.5
# Of a line beside an axis: a longer one would take the plot's room.
_LONGEST_LABEL = 60
_RANDOM_ID = re.compile(r'id="(\w+[0-9a-f]{10})"')
_HEX_COLOR = re.compile("|".join(map(re.escape, _DARK)), re.IGNORECASE)


@cache
def _signs() -> frozenset[int]:
    """What the font of the figures can draw; it comes with matplotlib."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def drawable(text: str) -> str:
    """A text of the user for a figure: signs that the font lacks, and control characters, become boxes.

    >>> drawable("a\\x07b 能")
    'a□b □'
    """
    return "".join(sign if sign == "\n" or (ord(sign) in _signs() and sign.isprintable()) else "□" for sign in text)


def new_figure(width: float = 5.2, height: float = 3.7, n_columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with its own canvas and one row of axes; sizes in inches."""
    return new_grid(width, height, n_columns, n_columns)


def new_grid(width: float, height: float, n: int, n_columns: int) -> tuple[Figure, list[Axes]]:
    """A figure with its own canvas and `n` axes in rows of `n_columns`; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(-(-n // n_columns), n_columns, i + 1) for i in range(n)]
    for ax in axes:
        ax.set_facecolor(PAPER)
        ax.grid(True, color=GRID, linewidth=0.7)
        ax.set_axisbelow(True)
        ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=_FONT_SIZE - 1, length=3)
        for side, spine in ax.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(MUTED)
    return figure, axes


def _plain(text: Text, *, size: float, color: str = INK) -> None:
    # A "$" in a property's or a feature's name is a dollar, not mathematics.
    text.set_parse_math(False)
    text.set_fontsize(size)
    text.set_color(color)


def label_axes(ax: Axes, x: str, y: str, title: str = "") -> None:
    """Name both axes, and say in the title what is shown."""
    _plain(ax.xaxis.label, size=_FONT_SIZE)
    _plain(ax.yaxis.label, size=_FONT_SIZE)
    ax.set_xlabel(drawable(shortened(x, _LONGEST_LABEL)))
    ax.set_ylabel(drawable(shortened(y, _LONGEST_LABEL)))
    if title:
        _plain(ax.set_title(drawable(title), loc="left"), size=_FONT_SIZE)


def legend(ax: Axes, **options: Any) -> None:
    """A legend in the figure's colors, without a frame that hides data."""
    box = ax.legend(
        fontsize=_FONT_SIZE - 1.5,
        labelcolor=INK,
        framealpha=0.8,
        facecolor=PAPER,
        edgecolor="none",
        **{"handletextpad": 0.5, "borderpad": 0.3, **options},
    )
    box.set_zorder(10)
    for text in box.get_texts():
        text.set_text(drawable(text.get_text()))


def no_data(ax: Axes, text: str) -> None:
    """Say in an empty plot why it is empty."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=MUTED, fontsize=_FONT_SIZE)


def png_bytes(figure: Figure, *, dpi: int = 110, n_colors: int | None = None) -> bytes:
    """The figure as a PNG; with `n_colors` (at most 256) from a palette, which makes it several times smaller."""
    buffer = io.BytesIO()
    # No "Software" entry: the same figure gives the same bytes with every matplotlib that draws it alike.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    if n_colors is None:
        return buffer.getvalue()
    small = io.BytesIO()
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(n_colors, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def png_data_uri(figure: Figure, *, dpi: int = 110, n_colors: int | None = None) -> str:
    """The figure as a PNG in a data URI, for Markdown and for `<img>`; see `png_bytes`."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(figure, dpi=dpi, n_colors=n_colors)).decode()}"


def svg_text(figure: Figure) -> str:
    """The figure as SVG, for a light page; the same figure gives the same text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    # Matplotlib names clip paths and markers at random unless a global setting is changed.
    names = {name: f"i{i}" for i, name in enumerate(dict.fromkeys(_RANDOM_ID.findall(text)))}
    if not names:
        return text
    return re.sub("|".join(map(re.escape, names)), lambda match: names[match[0]], text)


def svg_data_uris(figure: Figure) -> tuple[str, str]:
    """The figure as SVG in two data URIs: for a light page, and in the colors of a dark one. Drawn once."""
    light = svg_text(figure)
    dark = _HEX_COLOR.sub(lambda match: _DARK[match[0].lower()], light)
    uris = [f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}" for svg in (light, dark)]
    return uris[0], uris[1]
