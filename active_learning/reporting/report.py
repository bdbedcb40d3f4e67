"""The report: one self-contained HTML page of a campaign, pictures inside, no script and nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from active_learning.api.record import CampaignRecord
from active_learning.domain.target import Goal
from active_learning.reporting import numbers, style, tables
from active_learning.reporting.best import BestMaterial, best_table, distinct_best
from active_learning.reporting.classes import MOST_CLASSES, confusions
from active_learning.reporting.descriptor_figures import correlation_figure
from active_learning.reporting.descriptor_tables import Descriptors, descriptors
from active_learning.reporting.learned import acceleration_text, calibration_of, control_sentences, found_settings
from active_learning.reporting.learning_figures import errors_figure, honesty_figure
from active_learning.reporting.links import candidate_requests, design_rounds, given_up
from active_learning.reporting.maps import MapMethod, map_figure
from active_learning.reporting.model_figures import calibration_figure, importances_figure, parity_figure
from active_learning.reporting.picks import log_columns
from active_learning.reporting.progress_figures import discovery_figure

__all__ = ["N_BEST", "render_html"]

N_BEST = 15
"""Rows of the table of the best materials."""

_GOALS = {
    Goal.MINIMIZE: "minimize",
    Goal.MAXIMIZE: "maximize",
    Goal.LEARN: "learn everywhere",
    Goal.CLASSIFY: "classify",
}


@dataclass(frozen=True)
class _Picture:
    light: str
    dark: str
    alt: str
    width: int


@dataclass(frozen=True)
class _Card:
    name: str
    value: str
    note: str = ""


def _picture(figure: Figure | None, alt: str) -> _Picture | None:
    if figure is None:
        return None
    light, dark = style.svg_data_uris(figure)
    return _Picture(light, dark, alt, round(figure.get_figwidth() * 96))


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _evidence(value: Any) -> str:
    """One piece of a verdict's evidence on one line."""
    if isinstance(value, float):
        return numbers.plain(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_evidence, value))
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _goal(record: CampaignRecord) -> str:
    target = record.target
    if target.goal is Goal.WITHIN:
        return f"within {target.low:g} to {target.high:g} {target.unit}".strip()
    return _GOALS[target.goal]


def _cards(record: CampaignRecord, best: BestMaterial | None) -> list[_Card]:
    n_open = sum(request.is_open for request in candidate_requests(record))
    total = tables.cost_rows(record)[1]
    held = "" if total.core_s is None else f"{numbers.duration(total.core_s)} of core time"
    failed = len(given_up(record))
    cards = [
        _Card("candidates", f"{len(record.candidate_ids):,}", f"{record.read:,} read"),
        _Card("labels", f"{len(record.target_labels):,}", f"{n_open} in flight"),
        _Card(
            "rounds",
            str(sum(1 for r in record.rounds if r.n_picks)),
            "first design included" if design_rounds(record) else "no first design",
        ),
        _Card("failed", str(failed), "candidates given up"),
        _Card("jobs", f"{total.n_jobs:,}", held),
    ]
    if best is not None:
        value = f"{numbers.with_error(best.label.value, best.label.std)} {best.label.unit}".strip()
        cards.insert(0, _Card("best material", best.formula, value))
    cards += _model_cards(record)
    return cards


def _model_cards(record: CampaignRecord) -> list[_Card]:
    cards = []
    for key, name, note in (("mae", "model error", "out-of-fold MAE"), ("accuracy", "accuracy", "out of fold")):
        newest = next((r for r in reversed(record.rounds) if key in r.metrics), None)
        if newest is not None:
            unit = f"{record.target.unit}, " if record.target.unit and key == "mae" else ""
            cards.append(_Card(name, numbers.plain(newest.metrics[key], 3), unit + note))
    faster = acceleration_text(record)
    if faster is not None:
        cards.append(_Card("faster", *faster))
    return cards


def _pictures(
    record: CampaignRecord, map_method: MapMethod, described: Descriptors | None
) -> Mapping[str, _Picture | None]:
    title = record.target.property.replace("_", " ")
    drawn: dict[str, tuple[Callable[[], Figure | None], str]] = {
        "discovery": (lambda: discovery_figure(record), f"{title} of each label in order, with the best so far"),
        "parity": (lambda: parity_figure(record), f"predicted against labeled {title}"),
        "calibration": (lambda: calibration_figure(record), "coverage of the predicted intervals, and z scores"),
        "errors": (lambda: errors_figure(record), "errors of the model against labels"),
        "honesty": (lambda: honesty_figure(record), "mean squared z and miscalibration area against labels"),
        "importances": (lambda: importances_figure(record), "the most important features"),
        "correlations": (lambda: correlation_figure(described), "correlations among the most important descriptors"),
        "map": (lambda: map_figure(record, method=map_method), "the pool in two dimensions"),
    }
    return {name: _picture(draw(), alt) for name, (draw, alt) in drawn.items()}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("active_learning.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        plain=numbers.plain,
        duration=numbers.duration,
        formula_parts=numbers.formula_parts,
        with_error=numbers.with_error,
        z_text=numbers.z_text,
        moment=_moment,
        evidence=_evidence,
    )
    return environment


def render_html(record: CampaignRecord, *, map_method: MapMethod = "pca") -> str:
    """A campaign's report as one HTML page that needs nothing else: no network, no script, no other file.

    The same record gives the same text, byte for byte. All text of the record is escaped.

    Parameters
    ----------
    map_method : how the descriptor map is made; "umap" needs the extra `motherlode[umap]` and takes minutes

    Raises
    ------
    UserError
        If `map_method` is "umap" and umap-learn is not installed, or the pool is too small for it.
    """
    distinct = distinct_best(record)
    cost, total = tables.cost_rows(record)
    described = descriptors(record)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            goal=_goal(record),
            title=record.target.property.replace("_", " "),
            cards=_cards(record, distinct[0] if distinct else None),
            pictures=_pictures(record, map_method, described),
            described=described,
            map_method=map_method,
            best=best_table(record, N_BEST),
            n_distinct=len(distinct),
            rounds=tables.round_tables(record),
            columns=log_columns(record),
            calibration=calibration_of(record),
            control=control_sentences(record),
            confusions=confusions(record),
            tested=any(r.test_metrics for r in record.rounds),
            n_classes=max((len(r.classes) for r in record.rounds), default=0),
            most_classes=MOST_CLASSES,
            searches=found_settings(record),
            failures=tables.failure_groups(record),
            retracted=record.retractions,
            outliers=tables.outlier_rows(record),
            not_featurized=tables.not_featurized_reasons(record),
            dropped=sorted(record.dropped.items(), key=lambda item: (-item[1], item[0])),
            cost=cost,
            total=total,
            spec=tables.spec_text(record),
        )
    )
