"""The report's section on descriptors: correlation map, what was kept, and why."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from active_learning.api.record import CampaignRecord
from active_learning.preparation.fitting import Preparation
from active_learning.preparation.options import PreparationOptions
from active_learning.reporting import descriptor_tables, style
from active_learning.reporting.descriptor_figures import clustered, correlation_figure
from active_learning.reporting.descriptor_tables import Descriptors, descriptors
from active_learning.reporting.report import render_html
from active_learning.testing.records import example_record


def _labeled(record: CampaignRecord) -> tuple[Any, Any]:
    values = {label.candidate_id: label.value for label in record.target_labels}
    rows = [i for i, candidate in enumerate(record.candidate_ids) if candidate in values]
    return record.X[rows].astype(np.float64), np.array([values[record.candidate_ids[i]] for i in rows])


def _prepared(record: CampaignRecord, *, hole: bool = False, **options: Any) -> CampaignRecord:
    X, y = _labeled(record)
    if hole:
        X[2, 1] = np.nan
    preparation = Preparation(PreparationOptions(**options), impute=hole)
    fitted = preparation.fit(X, y, names=record.feature_names, rng=np.random.default_rng(0))
    newest = replace(record.rounds[-1], preparation=fitted.record.to_json())
    return replace(record, rounds=(*record.rounds[:-1], newest))


def _described(record: CampaignRecord) -> Descriptors:
    found = descriptors(record)
    assert found is not None
    return found


def test_what_was_kept_and_left_out_is_told_with_its_reasons() -> None:
    record = _prepared(example_record(), max_correlation=0.9, keep=3, drop_constant=True)
    found = _described(record)
    assert found.record is not None
    assert [row[0] for row in found.rows] == list(found.record.values)
    assert {group.kind for group in found.dropped} == {"correlated", "rank"}
    assert sum(group.n for group in found.dropped) == 21
    correlated = next(group for group in found.dropped if group.kind == "correlated")
    assert all("which tells" in why for _name, why in correlated.first)
    page = render_html(record)
    assert f"the model of round 6 saw 3, chosen on its {len(record.target_labels)} labels" in page
    assert "Left out: correlated" in page
    assert "which tells more about the target (mutual information" in page


def test_combinations_and_filled_values_are_counted() -> None:
    page = render_html(_prepared(example_record(), hole=True, polynomial=2, keep=4))
    assert "Of 24 descriptors and 300 combinations of them" in page
    assert "Left out: combinations" in page
    assert "Missing values filled in" in page


def test_a_long_list_is_cut_and_says_so() -> None:
    record = _prepared(example_record(n_features=20), polynomial=2)
    found = _described(record)
    assert (len(found.rows), found.n_hidden) == (100, 130)
    assert "and 130 more" in render_html(record)


def test_the_newest_preparation_is_shown() -> None:
    record = _prepared(example_record(), keep=3)
    later = replace(record.rounds[-1], number=99, preparation=None)
    assert _described(replace(record, rounds=(*record.rounds, later))).number == record.rounds[-1].number


def test_without_a_preparation_the_most_important_descriptors_are_shown() -> None:
    record = example_record(n_features=40)
    found = _described(record)
    newest = record.rounds[-1].importances
    assert found.record is None
    assert list(found.shown.names) == sorted(newest, key=lambda name: -newest[name])[:30]
    X, y = _labeled(record)
    frame = pd.DataFrame(X, columns=record.feature_names)
    names = list(found.shown.names)
    np.testing.assert_allclose(found.shown.values, frame[names].corr().to_numpy(), atol=1e-4)
    reference = frame[names].corrwith(pd.Series(y), method="spearman")
    np.testing.assert_allclose([found.target[name] for name in names], reference, atol=1e-9)
    assert "The model saw all 40 descriptors" in render_html(record)


def test_a_model_without_importances_is_stood_in_for_by_a_forest() -> None:
    record = example_record(n_features=40)
    X = record.X.copy()
    values = {label.candidate_id: label.value for label in record.target_labels}
    X[:, 33] = [values.get(candidate, 0.0) for candidate in record.candidate_ids]
    silent = tuple(replace(r, importances={}) for r in record.rounds)
    found = _described(replace(record, X=X, rounds=silent))
    assert found.shown.names[0] == record.feature_names[33]


def test_missing_descriptors_do_not_hide_the_map() -> None:
    record = example_record(n_features=6)
    X = record.X.copy()
    X[::3, 1] = np.nan
    X[:, 2] = np.nan
    X[0, 3] = np.inf
    found = _described(replace(record, X=X))
    assert np.isfinite(found.shown.values).all()
    assert dict(zip(found.shown.names, found.shown.values, strict=True))[record.feature_names[2]] == (0.0,) * 6


@pytest.mark.parametrize("record", [example_record(n_rounds=0), example_record(n_rounds=1, initial=4, failure_rate=0)])
def test_too_few_labels_show_no_map(record: CampaignRecord) -> None:
    assert descriptors(record) is None
    assert correlation_figure(None) is None
    assert "Too few labels yet." in render_html(record)


@pytest.mark.parametrize("n_features", [1, 2, 3, 60])
def test_the_map_names_each_row_once_and_is_as_large_as_its_names_need(n_features: int) -> None:
    record = _prepared(example_record(n_features=n_features), keep=40)
    found = _described(record)
    figure = correlation_figure(found)
    assert figure is not None
    ax = figure.axes[0]
    n = min(n_features, 40)
    labels = [text.get_text().rsplit("  ", 1) for text in ax.get_yticklabels()]
    assert sorted(name for name, _ in labels) == sorted(found.shown.names)
    assert [number for _, number in labels] == [str(i + 1) for i in range(n)]
    assert ax.images[0].get_array().shape == (n, n, 4)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in ax.get_yticklabels()]
    assert all(box.x0 >= 0 for box in boxes)
    assert all(not one.overlaps(two) for one, two in pairwise(boxes))


def test_the_map_shows_the_correlations_and_the_bars_those_with_the_target() -> None:
    found = _described(_prepared(example_record(n_features=5), max_correlation=0.8))
    figure = correlation_figure(found)
    assert figure is not None
    ax = figure.axes[0]
    names = [text.get_text().rsplit("  ", 1)[0] for text in ax.get_yticklabels()]
    order = [found.shown.names.index(name) for name in names]
    values = np.array(found.shown.values)[np.ix_(order, order)]
    cells = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(cells[..., 3], np.abs(values))
    assert len({tuple(cell[:3]) for cell in cells[values < 0]}) == 1
    bars = ax.child_axes[0].patches
    assert [bar.get_width() for bar in bars] == [found.target[name] for name in names]
    empty = [bar.get_facecolor()[3] == 0 for bar in bars]
    assert empty == [name not in found.kept for name in names]


def test_like_descriptors_stand_together() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 50))
    X = np.column_stack([one, two, -one, two, one, -two]) + 0.1 * rng.normal(size=(50, 6))
    groups = [i % 2 for i in clustered(np.corrcoef(X, rowvar=False)) if i in (0, 1)]
    order = [0 if i in (0, 2, 4) else 1 for i in clustered(np.corrcoef(X, rowvar=False))]
    assert order in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])
    assert len(groups) == 2


def test_factors_of_a_long_product_are_told_apart_by_their_ends() -> None:
    names = tuple(
        f"MagpieData mean something long {i} * MagpieData range something long {j}" for i, j in ((1, 2), (1, 3))
    )
    values = ((1.0, 0.5), (0.5, 1.0))
    found = Descriptors(descriptor_tables.CorrelationMap(names, values), dict.fromkeys(names, 0.1), frozenset(names))
    figure = correlation_figure(found)
    assert figure is not None
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels[0].endswith("long 2  1")
    assert labels[1].endswith("long 3  2")
    assert all(len(label) < 55 for label in labels)


def test_markup_and_dollars_in_names_are_text() -> None:
    record = example_record(n_features=4)
    payload = "<script>$x^{$</script>"
    names = (payload, *record.feature_names[1:])
    page = render_html(_prepared(replace(record, feature_names=names), polynomial=2, keep=6))
    assert "<script>$" not in page
    assert "&lt;script&gt;$x^{$" in page


def test_the_same_record_gives_the_same_picture_in_two_colors() -> None:
    record = _prepared(example_record(), keep=5)
    first, second = (correlation_figure(descriptors(record)) for _ in range(2))
    assert first is not None
    assert second is not None
    light, dark = style.svg_data_uris(first)
    assert (light, dark) == style.svg_data_uris(second)
    assert light != dark
