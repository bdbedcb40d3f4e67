"""The page of a backtest: one self-contained HTML file, made of its summary alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from active_learning.errors import UserError
from active_learning.reporting import numbers, style
from active_learning.reporting.backtest_figures import (
    discovery_figure,
    error_figure,
    factors_figure,
    utilization_figure,
)

__all__ = ["render_backtest", "write_backtest_page"]


@dataclass(frozen=True)
class _Picture:
    light: str
    dark: str
    alt: str
    width: int


def _picture(figure: Figure | None, alt: str) -> _Picture | None:
    if figure is None:
        return None
    light, dark = style.svg_data_uris(figure)
    return _Picture(light, dark, alt, round(figure.get_figwidth() * 96))


def _number(estimate: Mapping[str, Any] | None) -> str:
    """A number, without its interval."""
    return "–" if not estimate else numbers.plain(estimate.get("value"), 3)


def _percent(estimate: Mapping[str, Any] | None) -> str:
    return "–" if not estimate else f"{estimate['value']:.0%}"


def _between(estimate: Mapping[str, Any] | None, is_percent: bool = False) -> str:
    """The interval of a number; nothing if there is none."""
    if not estimate or estimate.get("low") is None:
        return ""
    low, high = estimate["low"], estimate["high"]
    if is_percent:
        return f"{low:.0%} to {high:.0%}"
    return f"{numbers.plain(low, 3)} to {numbers.plain(high, 3)}"


def _goal(target: Mapping[str, Any]) -> str:
    if target["goal"] == "within":
        return f"within {target['low']:g} to {target['high']:g} {target['unit']}".strip()
    return "learn everywhere" if target["goal"] == "learn" else str(target["goal"])


def _labeling(labeling: Mapping[str, float]) -> str:
    """How labels were imagined, in a sentence."""
    said = f"A label takes {numbers.duration(labeling['median_s'])}"
    if labeling["spread"]:
        said += f" in the median, log-normal with a spread of {labeling['spread']:g}"
    said += f"; {labeling['failure_rate']:.0%} of the attempts fail" if labeling["failure_rate"] else ""
    said += f"; a decision takes {numbers.duration(labeling['decision_s'])}" if labeling["decision_s"] else ""
    return f"{said}. This is virtual time."


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("active_learning.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, percent=_percent, between=_between, labeling=_labeling)
    environment.filters.update(duration=numbers.duration, plain=numbers.plain)
    return environment


def render_backtest(summary: Mapping[str, Any]) -> str:
    """The page as a text; the same summary gives the same text. All text of the summary is escaped.

    Parameters
    ----------
    summary : as ``summary.json`` holds it, with at least one strategy
    """
    drawn: dict[str, tuple[Callable[[Mapping[str, Any]], Figure | None], str]] = {
        "discovery": (discovery_figure, "fraction of the best found against labels"),
        "factors": (factors_figure, "acceleration and enhancement against the baseline"),
        "error": (error_figure, "error of the model against labels"),
        "utilization": (utilization_figure, "share of the time that workers are busy"),
    }
    return (
        _environment()
        .get_template("backtest.html.j2")
        .render(
            summary=summary,
            goal=_goal(summary["target"]),
            title=summary["target"]["property"].replace("_", " "),
            pictures={name: _picture(draw(summary), alt) for name, (draw, alt) in drawn.items()},
            has_best=summary["n_best"] is not None,
            left_out=", ".join(f"{count:,} with {reason}" for reason, count in summary["left_out"].items()),
        )
    )


def write_backtest_page(summary: Mapping[str, Any], path: Path) -> Path:
    """Write the page, whole or not at all; returns its absolute path.

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    text, path = render_backtest(summary), path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"The page {path} cannot be written: {error.strerror}.") from error
    return path
