"""Figures as files with their numbers beside them, and the report in both forms where it was asked for."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from learning_campaigns import FOREST, POOL, run_told
from PIL import Image

from active_learning.domain.target import Goal
from active_learning.errors import UserError
from active_learning.reporting.contents import Contents, contents_of
from active_learning.reporting.data import Table
from active_learning.reporting.drawings import NAMES
from active_learning.reporting.files import figure_files
from active_learning.reporting.report import render_html
from active_learning.reporting.writing import write_report
from active_learning.testing.records import example_record
from flows.cli.report import report

RULES = {"any": [{"kind": "labels", "max": 60}, {"kind": "no_improvement", "rounds": 3}]}


def _record(**options: Any) -> Any:
    record = example_record(n_control=2, n_test=1, failure_rate=0.3, **options)
    return replace(record, spec=dict(record.spec) | {"stopping": RULES})


@pytest.fixture(scope="module")
def contents() -> Contents:
    return contents_of(_record(), map_method="pca")


@pytest.fixture(scope="module")
def files(contents: Contents) -> dict[str, bytes]:
    return dict(figure_files(contents.record, contents.drawings))


def _rows(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[f"{name}.csv"].decode())))


def _column(files: dict[str, bytes], name: str, column: str, **where: str) -> list[float]:
    rows = [row for row in _rows(files, name) if all(row[key] == value for key, value in where.items())]
    return [float(row[column]) for row in rows if row[column]]


def _points(ax: Any, name: str) -> list[list[float]]:
    return next(c for c in ax.collections if c.get_label() == name).get_offsets().tolist()


def _line(ax: Any, name: str) -> list[float]:
    return list(next(line for line in ax.lines if line.get_label() == name).get_ydata())


def test_every_figure_is_there_as_svg_png_and_numbers(contents, files):
    assert tuple(contents.drawings) == NAMES
    assert {f"{name}.{ending}" for name in NAMES for ending in ("svg", "png", "csv")} <= set(files)
    others = set(files) - {f"{name}.{ending}" for name in NAMES for ending in ("svg", "png", "csv")}
    assert others == {"calibration_z.csv", "errors_control.csv", "gain_errors.csv", "decisions.csv"}
    for name in NAMES:
        root = ET.fromstring(files[f"{name}.svg"])
        assert root.tag.endswith("svg")
        targets = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
        assert all(target.startswith(("#", "data:image/png;base64,")) for target in targets)
        assert not [node for node in root.iter() if node.tag.endswith("script")]
        with Image.open(io.BytesIO(files[f"{name}.png"])) as image:
            assert image.format == "PNG"
            assert image.width >= 900
        assert _rows(files, name)


def test_the_numbers_of_the_discovery_curve_are_those_drawn(contents, files):
    ax = contents.drawings["discovery"].figure.axes[0]
    assert _column(files, "discovery", "best_so_far") == pytest.approx(_line(ax, "best so far")[:-1])
    for kind in ("first design", "chosen by the model", "control", "test set"):
        numbers, values = (_column(files, "discovery", c, kind=kind) for c in ("number", "value"))
        assert [list(pair) for pair in zip(numbers, values, strict=True)] == _points(ax, kind)
    labels = contents.record.target_labels
    assert [row["candidate"] for row in _rows(files, "discovery")] == [label.candidate_id for label in labels]


def test_the_numbers_of_parity_and_calibration_are_those_drawn(contents, files):
    record = contents.record
    parity = contents.drawings["parity"].figure.axes[0]
    drawn = np.concatenate([bars.lines[0].get_xydata() for bars in parity.containers])
    pairs = [_column(files, "parity", column) for column in ("label", "predicted_mean")]
    np.testing.assert_allclose(np.transpose(pairs), drawn)
    values = {label.candidate_id: label.value for label in record.target_labels}
    assert all(float(row["label"]) == values[row["candidate"]] for row in _rows(files, "parity"))
    z = [(float(r["label"]) - float(r["predicted_mean"])) / float(r["predicted_std"]) for r in _rows(files, "parity")]
    assert _column(files, "parity", "z") == pytest.approx(z)
    left = contents.drawings["calibration"].figure.axes[0]
    curves = [line for line in left.lines if ": area" in str(line.get_label())]
    kinds = list(dict.fromkeys(row["kind"] for row in _rows(files, "calibration")))
    assert len(curves) == len(kinds) > 0
    for curve, kind in zip(curves, kinds, strict=True):
        assert str(curve.get_label()).startswith(kind)
        assert _column(files, "calibration", "share_inside", kind=kind) == pytest.approx(list(curve.get_ydata()))


def test_the_numbers_of_the_learning_are_those_drawn(contents, files):
    errors = contents.drawings["errors"].figure.axes[0]
    assert _column(files, "errors", "held_out_mae") == _line(errors, "held out")
    assert _column(files, "errors", "test_mae") == _line(errors, "test set")
    control = _points(errors, f"control, each label ({len(_rows(files, 'errors_control'))})")
    assert [abs(e) for e in _column(files, "errors_control", "error")] == pytest.approx([y for _, y in control])
    left, right = contents.drawings["honesty"].figure.axes
    assert _column(files, "honesty", "with_mean_z2") == pytest.approx(_line(left, "with the correction"))
    assert _column(files, "honesty", "without_miscalibration_area") == _line(right, "as the model says")
    bars = [patch.get_width() for patch in contents.drawings["importances"].figure.axes[0].patches]
    assert _column(files, "importances", "importance")[: len(bars)] == bars


def test_the_numbers_of_the_correlations_are_those_of_the_map(contents, files):
    rows, shown = _rows(files, "correlations"), contents.described.shown
    assert [row["descriptor"] for row in rows] == list(shown.names)
    matrix = [[float(row[name]) for name in shown.names] for row in rows]
    np.testing.assert_allclose(matrix, shown.values)
    targets = [contents.described.target[name] for name in shown.names]
    assert _column(files, "correlations", "rank_correlation_with_target") == targets


def test_the_numbers_of_the_map_are_those_drawn_with_what_each_candidate_is(contents, files):
    ax, rows = contents.drawings["map"].figure.axes[0], _rows(files, "map")
    assert len(rows) == len(contents.record.candidate_ids)
    for role in ("first design", "chosen by the model", "control", "test set", "given up"):
        shown = sorted((float(r["x"]), float(r["y"])) for r in rows if r["role"] == role)
        np.testing.assert_allclose(shown, sorted(map(tuple, _points(ax, role))))
    rounds = {request.candidate_id: str(request.round) for request in contents.record.requests}
    assert all(row["round"] == rounds.get(row["candidate"], "") for row in rows)


def test_the_numbers_of_elements_rules_and_gain_are_those_drawn(contents, files):
    texts = [text.get_text() for text in contents.drawings["elements_tried"].figure.axes[0].texts]
    for row in _rows(files, "elements_tried"):
        if row["n_labels"] != "0":
            assert texts[texts.index(row["element"]) + 1] == row["n_labels"]
    panels = contents.drawings["stopping"].figure.axes
    for n, ax in enumerate(panels, start=1):
        limit, curve, _ = ax.lines
        assert _column(files, "stopping", "value", rule=str(n)) == list(curve.get_ydata())
        assert set(_column(files, "stopping", "limit", rule=str(n))) == {limit.get_ydata()[0]}
    left, right = contents.drawings["gain"].figure.axes
    assert _column(files, "gain", "best_so_far") == _line(left, "best so far")
    assert _column(files, "gain_errors", "error") == _line(right, "error of the model")


@pytest.mark.parametrize("goal", list(Goal))
def test_every_goal_has_the_figures_that_it_can_have(goal):
    contents = contents_of(_record(goal=goal), map_method="pca")
    never = {
        Goal.LEARN: {"elements_best"},
        Goal.CLASSIFY: {"elements_best", "parity", "calibration", "honesty"},
    }.get(goal, set())
    assert set(contents.drawings) == set(NAMES) - never
    for drawing in contents.drawings.values():
        assert all(isinstance(table, Table) and table.rows for table in drawing.data().values()), drawing.name


def test_an_empty_campaign_has_few_figures_and_no_fault(tmp_path):
    record = example_record(n_rounds=0)
    path = write_report(record, tmp_path / "r.md", form="md")
    assert sorted(p.name for p in (tmp_path / "r_figures").iterdir()) == sorted(
        [f"{name}.{ending}" for name in ("discovery", "map") for ending in ("csv", "png", "svg")] + ["decisions.csv"]
    )
    assert "No job was submitted yet." in path.read_text(encoding="utf-8")


def test_the_page_is_the_same_with_and_without_files_beside_it(tmp_path):
    record = example_record(n_rounds=2)
    path = write_report(record, tmp_path / "deep" / "r.html", figures=tmp_path / "figures")
    assert path == (tmp_path / "deep" / "r.html").resolve()
    assert path.read_text(encoding="utf-8") == render_html(record)
    assert (tmp_path / "figures" / "discovery.csv").is_file()
    assert list(tmp_path.rglob(".*")) == []


def test_markdown_names_its_figures_from_where_it_lies(tmp_path):
    record = example_record(n_rounds=2)
    write_report(record, tmp_path / "a" / "r.md", form="md", figures=tmp_path / "b c" / "figures (1)")
    text = (tmp_path / "a" / "r.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert "../b%20c/figures%20%281%29/discovery.png" in pictures
    assert len(pictures) == len(set(pictures)) > 5


def test_a_report_that_cannot_be_written_says_where_and_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written: (Not a directory|File exists)"):
        write_report(example_record(n_rounds=0), tmp_path / "file" / "r.html")
    with pytest.raises(UserError, match=r"cannot be written: (Not a directory|File exists)"):
        write_report(example_record(n_rounds=0), tmp_path / "r.html", figures=tmp_path / "file")
    assert not (tmp_path / "r.html").exists()


def test_a_table_is_read_back_by_the_csv_module():
    rows = ((1, 'a "b", c\nd', None), (2.5, "é <b>", True))
    text = Table(("n", "text", "more"), rows).to_csv()
    assert list(csv.reader(io.StringIO(text))) == [
        ["n", "text", "more"],
        ["1", 'a "b", c\nd', ""],
        ["2.5", "é <b>", "True"],
    ]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    stopping = {"any": [{"kind": "labels", "max": 8}]}
    run_told(folder, pool=POOL, surrogate=FOREST, stopping=stopping)
    return folder / "tiny.toml"


@pytest.mark.parametrize(
    ("arguments", "written", "begins"),
    [
        ((), "tiny.campaign/report.html", "<!DOCTYPE html>"),
        (("--format", "md"), "tiny.campaign/report.md", "# tiny"),
        (("--output", "x.md"), "x.md", "# tiny"),
        (("--output", "x.txt", "--format", "md", "--figures", "pictures"), "x.txt", "# tiny"),
        (("--output", "y.html", "--figures", "pictures"), "y.html", "<!DOCTYPE html>"),
    ],
)
def test_the_command_writes_the_form_that_was_asked_for(campaign, arguments, written, begins, monkeypatch):
    monkeypatch.chdir(campaign.parent)
    done = CliRunner().invoke(report, ["tiny.toml", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    path = campaign.parent / written
    assert done.output.strip() == str(path.resolve())
    assert path.read_text(encoding="utf-8").startswith(begins)
    folder = campaign.parent / "pictures" if "--figures" in arguments else path.with_name(f"{path.stem}_figures")
    assert (folder / "discovery.csv").is_file() == ("html" not in written or "--figures" in arguments)
