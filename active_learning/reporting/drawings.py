"""Every figure of a report under its name: the drawing, what it shows in words, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from matplotlib.figure import Figure

from active_learning.api.record import CampaignRecord
from active_learning.domain.target import Goal
from active_learning.reporting import captions, figure_data, maps
from active_learning.reporting.data import Table
from active_learning.reporting.descriptor_figures import correlation_figure
from active_learning.reporting.descriptor_tables import Descriptors
from active_learning.reporting.element_figures import best_elements_figure, tried_elements_figure
from active_learning.reporting.elements import Elements
from active_learning.reporting.gain_figures import gain_figure
from active_learning.reporting.learning_figures import errors_figure, honesty_figure
from active_learning.reporting.maps import MapMethod
from active_learning.reporting.model_figures import (
    calibration_figure,
    comparisons,
    enough_for_calibration,
    importances_figure,
    parity_figure,
)
from active_learning.reporting.progress_figures import discovery_figure, kinds_of_labels
from active_learning.reporting.rule_figures import rules_figure
from active_learning.reporting.rules import RuleHistory

__all__ = ["NAMES", "Drawing", "Shape", "drawings"]

Shape = Literal["column", "wide", "long"]
"""Beside another; across the page, and as narrow as a phone; across the page, and scrolled on a phone."""


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Parameters
    ----------
    name : of its files, and in the page
    alt : what it shows, for those who do not see it
    caption : how to read it
    data : makes its tables, by what their files' names add to that of the figure
    """

    name: str
    alt: str
    caption: str
    shape: Shape
    figure: Figure
    data: Callable[[], Mapping[str, Table]]


@dataclass(frozen=True)
class _Plan:
    """How a figure is made; `draw` gives None if there is nothing to show."""

    alt: str
    caption: str
    shape: Shape
    draw: Callable[[], Figure | None]
    data: Callable[[], Mapping[str, Table]]


NAMES = (
    *("discovery", "elements_tried", "elements_best", "parity", "importances", "errors", "calibration", "honesty"),
    *("correlations", "map", "stopping", "gain"),
)
"""All figures, in the order of the report."""


def drawings(
    record: CampaignRecord,
    *,
    map_method: MapMethod,
    described: Descriptors | None,
    elements: Elements,
    rules: tuple[RuleHistory, ...],
) -> dict[str, Drawing]:
    """Name -> figure, in the order of `NAMES`; those with nothing to show are left out.

    Raises
    ------
    UserError
        If `map_method` is "umap" and umap-learn is not installed, or the pool is too small for it.
    """
    plans = _of_progress(record, elements, rules) | _of_model(record, described) | _of_pool(record, map_method)
    found = {}
    for name in NAMES:
        plan = plans[name]
        figure = plan.draw()
        if figure is not None:
            found[name] = Drawing(name, plan.alt, plan.caption, plan.shape, figure, plan.data)
    return found


def _of_progress(record: CampaignRecord, elements: Elements, rules: tuple[RuleHistory, ...]) -> dict[str, _Plan]:
    title = record.target.property.replace("_", " ")
    of_elements = partial(figure_data.element_data, elements)
    return {
        "discovery": _Plan(
            f"{title} of each label in order, with the best so far",
            captions.DISCOVERY,
            "long",
            lambda: discovery_figure(record),
            lambda: figure_data.discovery_data(record, kinds_of_labels(record)),
        ),
        "elements_tried": _Plan(
            "periodic table: labeled candidates that hold each element",
            captions.elements_tried(elements),
            "long",
            lambda: tried_elements_figure(elements),
            of_elements,
        ),
        "elements_best": _Plan(
            f"periodic table: best {title} with each element",
            captions.ELEMENTS_BEST,
            "long",
            lambda: best_elements_figure(elements, record.target),
            of_elements,
        ),
        "stopping": _Plan(
            "the value of each stopping rule round by round, and its limit",
            captions.STOPPING,
            "long",
            lambda: rules_figure(rules),
            lambda: figure_data.rules_data(rules),
        ),
        "gain": _Plan(
            "core time spent against the best value so far and the error of the model",
            captions.gain(record),
            "long",
            lambda: gain_figure(record),
            lambda: figure_data.gain_data(record),
        ),
    }


def _of_model(record: CampaignRecord, described: Descriptors | None) -> dict[str, _Plan]:
    title, is_classes = record.target.property.replace("_", " "), record.target.goal is Goal.CLASSIFY
    return {
        "parity": _Plan(
            f"predicted against labeled {title}",
            captions.parity(record),
            "column",
            lambda: parity_figure(record),
            lambda: figure_data.parity_data([(name, data) for name, *_, data in comparisons(record, None)]),
        ),
        "importances": _Plan(
            "the most important features",
            captions.IMPORTANCES,
            "column",
            lambda: importances_figure(record),
            lambda: figure_data.importances_data(record),
        ),
        "errors": _Plan(
            "errors of the model against labels",
            captions.errors_of_classes(record) if is_classes else captions.errors(record),
            "long",
            lambda: errors_figure(record),
            lambda: figure_data.errors_data(record),
        ),
        "calibration": _Plan(
            "coverage of the predicted intervals, and z scores",
            captions.CALIBRATION,
            "long",
            lambda: calibration_figure(record),
            lambda: figure_data.calibration_data([(name, data) for name, *_, data in enough_for_calibration(record)]),
        ),
        "honesty": _Plan(
            "mean squared z and miscalibration area against labels",
            captions.HONESTY,
            "long",
            lambda: honesty_figure(record),
            lambda: figure_data.honesty_data(record),
        ),
        "correlations": _Plan(
            "correlations among the most important descriptors",
            captions.correlations(described),
            "long",
            lambda: correlation_figure(described),
            lambda: figure_data.correlation_data(described),
        ),
    }


def _of_pool(record: CampaignRecord, method: MapMethod) -> dict[str, _Plan]:
    plane = maps.map_plane(record, method=method)

    def draw() -> Figure | None:
        return None if plane is None else maps.map_figure(record, on=plane)

    def data() -> Mapping[str, Table]:
        assert plane is not None
        points = [(x, y) for x, y in plane.points.tolist()]
        return figure_data.map_data(record, plane.rows.tolist(), points, maps.roles(record))

    return {"map": _Plan("the pool in two dimensions", captions.map_of_pool(method), "wide", draw, data)}
