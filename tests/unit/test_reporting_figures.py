"""Figures: what they show, read back from their artists."""

from __future__ import annotations

import base64
import importlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from active_learning.api.record import CampaignRecord
from active_learning.domain.label import Label
from active_learning.domain.request import Arm
from active_learning.domain.target import Goal
from active_learning.errors import UserError
from active_learning.reporting import maps, style
from active_learning.reporting.learning_figures import errors_figure, honesty_figure
from active_learning.reporting.model_figures import calibration_figure, importances_figure, parity_figure
from active_learning.reporting.progress_figures import discovery_figure
from active_learning.reporting.report import render_html
from active_learning.testing.records import START, example_record

ALL = (
    discovery_figure,
    errors_figure,
    honesty_figure,
    parity_figure,
    calibration_figure,
    importances_figure,
    maps.map_figure,
)


_CONTROL_NAME = "control, before labeling"


def _points(ax, name):
    return next(c.get_offsets() for c in ax.collections if c.get_label() == name)


@pytest.mark.parametrize("draw", ALL)
def test_every_figure_names_its_axes(draw):
    figure = draw(example_record())
    for ax in figure.axes:
        if ax.get_label() == "<colorbar>":
            assert ax.get_ylabel() == "round"
            continue
        assert ax.get_xlabel()
        assert ax.get_ylabel() or draw is importances_figure


def test_the_discovery_curve_shows_all_labels_in_order_and_the_best_so_far():
    record = example_record()
    ax = discovery_figure(record).axes[0]
    first, chosen = _points(ax, "first design"), _points(ax, "chosen by the model")
    shown = sorted([*first.tolist(), *chosen.tolist()])
    values = [label.value for label in record.target_labels]
    assert shown == [[i + 1, v] for i, v in enumerate(values)]
    line = next(artist for artist in ax.lines if artist.get_label() == "best so far")
    assert line.get_ydata()[:-1].tolist() == np.minimum.accumulate(values).tolist()
    assert "eV/atom" in ax.get_ylabel()
    assert "lower is better" in ax.get_ylabel()


def test_the_best_so_far_within_a_band_is_the_value_nearest_to_it():
    record = example_record(goal=Goal.WITHIN)
    line = next(a for a in discovery_figure(record).axes[0].lines if a.get_label() == "best so far")
    values = np.array([label.value for label in record.target_labels])
    merits = record.target.merit(values)
    expected = [values[np.argmax(merits[: i + 1])] for i in range(len(values))]
    assert line.get_ydata()[:-1].tolist() == expected


def test_a_campaign_that_learns_has_no_line_of_the_best():
    ax = discovery_figure(example_record(goal=Goal.LEARN)).axes[0]
    assert "best so far" not in [artist.get_label() for artist in ax.lines]


def test_failed_attempts_stand_between_the_labels_they_fell_between():
    record = example_record(failure_rate=0.4)
    ax = discovery_figure(record).axes[0]
    crosses = next(a for a in ax.lines if str(a.get_label()).startswith("failed attempt")).get_xdata()
    failed = sorted(r.settled_at for r in record.requests if r.failure is not None)
    before = [sum(label.time <= moment for label in record.labels) for moment in failed]
    assert np.floor(crosses).astype(int).tolist() == before
    assert len(set(crosses)) == len(crosses)


@pytest.mark.parametrize(("name", "provenance"), [("told", {"source": "told"}), ("known before", {"rows": [1]})])
def test_labels_that_nobody_asked_for_have_a_mark_of_their_own(name, provenance):
    record = example_record()
    asked = {request.candidate_id for request in record.requests}
    stranger = next(candidate for candidate in record.candidate_ids if candidate not in asked)
    label = Label(stranger, record.target.property, -0.2, "eV/atom", START, "experiment", provenance=provenance)
    record = replace(record, labels=(*record.labels, label))
    assert _points(discovery_figure(record).axes[0], name).tolist() == [[len(record.labels), -0.2]]
    assert len(_points(maps.map_figure(record).axes[0], name)) == 1


def test_a_first_round_of_the_model_is_no_first_design():
    record = example_record()
    design, *others = record.rounds
    asked = tuple(replace(r, arm=Arm.CHOSEN) for r in record.requests)
    rounds = (replace(design, predictions=others[0].predictions), *others)
    record = replace(record, requests=asked, rounds=rounds)
    for ax in (discovery_figure(record).axes[0], maps.map_figure(record).axes[0]):
        names = [text.get_text() for text in ax.get_legend().get_texts()]
        assert "first design" not in names
        assert "chosen by the model" in names
    text = render_html(record)
    assert "Round 0 <span>" in text
    assert "no first design" in text


def test_parity_tells_the_two_kinds_of_prediction_apart():
    record = example_record()
    ax = parity_figure(record).axes[0]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names[0].startswith("out of fold, round 6: n = ")
    assert names[1].startswith("before labeling: n = ")
    assert all("MAE" in name and "eV/atom" in name for name in names)


def test_parity_of_a_round_knows_nothing_of_later_rounds():
    names = [t.get_text() for t in parity_figure(example_record(), number=3).axes[0].get_legend().get_texts()]
    assert names[0].startswith("out of fold, round 3:")


@pytest.mark.parametrize("draw", [errors_figure, honesty_figure, parity_figure, calibration_figure, importances_figure])
def test_without_a_model_there_is_no_figure_of_one(draw):
    assert draw(example_record(n_rounds=1, is_stopped=False)) is None


def test_the_calibration_figure_says_area_and_which_predictions():
    left, right = calibration_figure(example_record()).axes
    names = [text.get_text() for text in left.get_legend().get_texts()]
    assert [name.split(":")[0] for name in names] == ["out of fold, round 6", "before labeling"]
    assert all("area 0." in name for name in names)
    assert "standard normal" in [text.get_text() for text in right.get_legend().get_texts()]


def test_importances_are_the_largest_first_and_at_most_twenty():
    record = example_record(n_features=30)
    ax = importances_figure(record).axes[0]
    widths = [patch.get_width() for patch in ax.patches]
    newest = record.rounds[-1].importances
    assert widths == sorted(newest.values(), reverse=True)[:20]


def test_dollars_in_names_are_not_mathematics():
    record = example_record(n_candidates=40, n_rounds=3)
    odd = replace(record.target, property="cost_$x^{$", unit="$/kg")
    record = replace(
        record,
        target=odd,
        labels=tuple(replace(label, property=odd.property) for label in record.labels),
        rounds=tuple(
            replace(r, importances={f"${k}^$_{{": v for k, v in r.importances.items()}) for r in record.rounds
        ),
    )
    for draw in ALL:
        assert style.svg_data_uris(draw(record))[0]


def test_names_of_any_length_leave_room_for_the_plot_and_the_unit_stays():
    record = example_record(n_candidates=40, n_rounds=3)
    odd = replace(record.target, property="x" * 300)
    record = replace(record, target=odd, labels=tuple(replace(label, property=odd.property) for label in record.labels))
    for draw in ALL:
        assert style.svg_data_uris(draw(record))[0]
    assert discovery_figure(record).axes[0].get_ylabel().split("\n")[0].endswith("… (eV/atom)")


def test_the_plane_of_principal_components_is_that_of_scikit_learn():
    X = example_record(n_features=9).X.astype(np.float64)
    scaled = maps.standardized(X)
    assert scaled == pytest.approx(StandardScaler().fit_transform(X), abs=1e-9)
    plane, shares = maps.pca_plane(scaled)
    reference = PCA(2).fit(scaled)
    assert np.abs(plane) == pytest.approx(np.abs(reference.transform(scaled)), abs=1e-8)
    assert shares == pytest.approx(reference.explained_variance_ratio_, rel=1e-9)


def test_the_sign_of_a_component_does_not_depend_on_the_order_of_the_candidates():
    X = maps.standardized(example_record(n_features=9).X)
    assert maps.pca_plane(X[::-1])[0][::-1] == pytest.approx(maps.pca_plane(X)[0], abs=1e-8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1), (2, 3)])
def test_components_that_do_not_exist_are_zero(shape):
    X = maps.standardized(np.arange(shape[0] * shape[1], dtype=np.float64).reshape(shape) ** 2)
    plane, shares = maps.pca_plane(X)
    assert plane.shape == (shape[0], 2)
    assert np.isfinite(plane).all()
    assert plane[:, 1] == pytest.approx(np.zeros(shape[0]), abs=1e-6)
    assert sum(shares) == pytest.approx(1.0 if shape[0] > 1 else 0.0)


def test_constant_columns_become_zero_and_not_noise():
    assert maps.standardized(np.full((5, 2), 0.1)).tolist() == [[0.0, 0.0]] * 5


def test_a_huge_pool_is_thinned_the_same_way_each_time_and_keeps_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(maps, "MAP_ROWS", 100)
    record = example_record(n_candidates=400)
    one, two = maps._rows_to_show(record), maps._rows_to_show(record)
    assert one.tolist() == two.tolist()
    assert len(one) == 100
    assert {r.candidate_id for r in record.requests} <= {record.candidate_ids[i] for i in one}
    labels = [t.get_text() for t in maps.map_figure(record).axes[0].get_legend().get_texts()]
    assert "pool (100 of 400)" in labels


def test_the_map_shows_first_design_choices_failures_and_best():
    record = example_record(failure_rate=0.4)
    ax = maps.map_figure(record).axes[0]
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert names == ["pool (400)", "first design", "chosen by the model", "given up", "best"]
    n_shown = sum(len(_points(ax, name)) for name in names[1:4])
    assert n_shown == len({r.candidate_id for r in record.requests})


def test_the_map_of_an_empty_pool_is_no_figure():
    record = example_record(n_rounds=0)
    assert maps.map_figure(replace(record, candidate_ids=(), formulas=(), origins=(), X=record.X[:0])) is None


def test_umap_that_is_not_installed_names_the_extra(monkeypatch):
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UserError, match=r"pip install 'motherlode\[umap\]'"):
        maps.map_figure(example_record(n_candidates=20, n_rounds=1), method="umap")


def test_umap_of_almost_nothing_is_refused():
    with pytest.raises(UserError, match="at least 4 candidates, got 2"):
        maps.map_figure(example_record(n_candidates=2, n_rounds=0), method="umap")


def test_umap_is_asked_for_two_dimensions_of_the_standardized_descriptors(monkeypatch):
    seen = {}

    class FakeUmap:
        def __init__(self, **options):
            seen.update(options)

        def fit_transform(self, X):
            seen["X"] = X
            return X[:, :2]

    monkeypatch.setattr(importlib, "import_module", lambda name: type("umap", (), {"UMAP": FakeUmap}))
    ax = maps.map_figure(example_record(n_candidates=10, n_rounds=0), method="umap").axes[0]
    assert (seen["n_components"], seen["n_neighbors"], seen["random_state"]) == (2, 9, 7)
    assert np.abs(seen["X"].mean(axis=0)).max() < 1e-9
    assert ax.get_xlabel() == "UMAP 1"


def test_png_uris_hold_a_png_and_a_palette_makes_it_smaller():
    figure = parity_figure(example_record())
    full, small = style.png_bytes(figure), style.png_bytes(figure, n_colors=64)
    assert style.png_data_uri(figure) == f"data:image/png;base64,{base64.b64encode(full).decode()}"
    assert len(small) < 0.6 * len(full)
    sizes = set()
    for data in (full, small):
        with Image.open(BytesIO(data)) as image:
            assert image.format == "PNG"
            sizes.add(image.size)
    assert len(sizes) == 1


def test_svg_uris_differ_in_their_colors_only_and_are_the_same_each_time():
    figure = discovery_figure(example_record())
    light, dark = (base64.b64decode(uri.split(",")[1]).decode() for uri in style.svg_data_uris(figure))
    again = base64.b64decode(style.svg_data_uris(discovery_figure(example_record()))[0].split(",")[1]).decode()
    assert light == again
    assert light != dark
    assert len(light) == len(dark)
    assert style.PAPER in light
    assert style.PAPER not in dark
    assert style.INK not in dark
    assert "<dc:date>" not in light


def test_a_missing_descriptor_stands_in_the_middle_of_the_map() -> None:
    X = np.array([[1.0, np.nan, 5.0], [2.0, np.nan, np.nan], [3.0, np.nan, 7.0]])
    Z = maps.standardized(X)
    np.testing.assert_allclose(Z[:, 0], [-np.sqrt(1.5), 0.0, np.sqrt(1.5)])
    assert Z[1, 2] == 0.0
    assert not Z[:, 1].any()


def _arms() -> CampaignRecord:
    return example_record(n_control=2, n_test=1)


def _line(ax, name):
    return next(line for line in ax.lines if line.get_label() == name)


def test_errors_are_held_out_of_the_test_set_and_of_the_control_with_its_interval():
    record = _arms()
    ax = errors_figure(record).axes[0]
    trained = [r for r in record.rounds if r.metrics]
    assert _line(ax, "held out").get_xydata().tolist() == [[r.n_labels, r.metrics["mae"]] for r in trained]
    tested = [[r.n_labels, r.test_metrics["mae"]] for r in record.rounds if r.test_metrics]
    assert _line(ax, "test set").get_xydata().tolist() == tested
    error = record.control["error"]
    marks = _points(ax, f"control, each label ({error['n']})")
    assert marks[:, 1].mean() == pytest.approx(error["mae"])
    assert _line(ax, "control, mean and 95 %").get_ydata()[0] == error["mae"]
    (band,) = ax.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((error["low"], error["high"]))


def test_errors_without_control_and_test_set_are_the_held_out_ones_alone():
    ax = errors_figure(example_record()).axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["held out"]
    assert not ax.patches


def test_one_control_label_has_no_interval():
    record = _arms()
    first = next(r for r in record.requests if r.arm is Arm.CONTROL)
    requests = tuple(r for r in record.requests if r.arm is not Arm.CONTROL or r is first)
    ax = errors_figure(replace(record, requests=requests, control={"n_labels": 1, "error": None})).axes[0]
    assert len(_points(ax, "control, each label (1)")) == 1
    assert not ax.patches


def test_calibration_round_by_round_is_that_of_the_records_without_and_with_the_correction():
    record = example_record()
    left, right = honesty_figure(record).axes
    for name, when in (("as the model says", "before"), ("with the correction", "after")):
        sides = [r.calibration[when] for r in record.rounds if r.calibration]
        assert _line(left, name).get_ydata().tolist() == [side["mean_z2"] for side in sides]
        assert _line(right, name).get_ydata().tolist() == [side["miscalibration_area"] for side in sides]
        low_high = [(side["mean_z2_low"], side["mean_z2_high"]) for side in sides]
        assert low_high in [[tuple(ends[:, 1]) for ends in c.get_segments()] for c in left.collections]
    chance = [0.31 / np.sqrt(r.calibration["n"]) for r in record.rounds if r.calibration]
    assert _line(right, "by chance").get_ydata().tolist() == pytest.approx(chance)


def test_a_correction_that_is_turned_off_is_called_not_in_use():
    record = replace(example_record(), spec={"training": {"recalibrate": False}})
    names = [text.get_text() for text in honesty_figure(record).axes[0].get_legend().get_texts()]
    assert names == ["as the model says", "with a correction (not in use)"]


def test_perfect_predictions_have_a_place_on_the_logarithmic_axis():
    record = example_record()
    zero = {"mean_z2": 0.0, "mean_z2_low": 0.0, "mean_z2_high": 0.0, "miscalibration_area": 0.5, "sharpness": 0.1}
    rounds = tuple(
        replace(r, calibration={**r.calibration, "after": zero}) if r.calibration else r for r in record.rounds
    )
    left, _ = honesty_figure(replace(record, rounds=rounds)).axes
    assert min(_line(left, "with the correction").get_ydata()) == 1e-3
    assert left.get_ylim()[0] <= 1e-3


@pytest.mark.parametrize("draw", [errors_figure, honesty_figure])
def test_one_round_is_no_course_of_rounds(draw):
    assert draw(example_record(n_rounds=2, is_stopped=False)) is None


def test_the_arms_have_marks_of_their_own():
    record = _arms()
    labeled = {label.candidate_id for label in record.labels}
    for arm, name in ((Arm.CONTROL, "control"), (Arm.TEST, "test set")):
        n = len({r.candidate_id for r in record.requests if r.arm is arm} & labeled)
        assert n > 0
        for figure in (discovery_figure(record), maps.map_figure(record)):
            assert len(_points(figure.axes[0], name)) == n


def test_parity_shows_the_control_apart_from_what_the_model_chose():
    names = [text.get_text() for text in parity_figure(_arms()).axes[0].get_legend().get_texts()]
    assert [name.split(":")[0] for name in names] == ["out of fold, round 6", "before labeling", _CONTROL_NAME]


def test_the_coverage_of_the_control_waits_for_twenty_labels():
    for n_control, is_shown in ((2, False), (6, True)):
        record = example_record(n_control=n_control)
        assert (record.control["n_labels"] >= 20) == is_shown
        names = [text.get_text() for text in calibration_figure(record).axes[0].get_legend().get_texts()]
        assert any(name.startswith(_CONTROL_NAME) for name in names) == is_shown
