"""Every export in every format, read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pandas as pd
import pytest

from active_learning.api.campaign import Campaign
from active_learning.api.record import CampaignRecord
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.target import Goal
from active_learning.errors import UserError
from active_learning.reporting.export import TABLES, WHAT, export
from active_learning.testing.fakes import FakeClock, tiny_campaign, without_workers
from active_learning.testing.records import example_record

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "csv": pd.read_csv,
    "parquet": pd.read_parquet,
    "json": lambda path: pd.read_json(path, orient="records", convert_dates=False, precise_float=True),
}
COLUMNS = {
    "labels": "candidate formula origin property value unit std fidelity time round request predicted_mean"
    " predicted_std arm rule novelty",
    "pending": "candidate formula origin request state round score mean std reason",
    "best": "rank candidate formula value std unit fidelity origin chosen_by round predicted_mean predicted_std z"
    " n_candidates candidates",
    "predictions": "candidate formula origin mean std unit label",
}


@pytest.fixture(scope="module")
def record() -> CampaignRecord:
    return example_record(n_candidates=60, n_features=4, n_rounds=3, in_flight=3, is_stopped=False)


def _no_candidate(candidate_id: str) -> Candidate:
    pytest.fail(f"a table needs no structure, and that of {candidate_id} was looked up")


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("ending", TABLES)
def test_every_table_is_written_and_reads_back(record: CampaignRecord, what: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"{what}.{ending}"
    n_rows = export(record, what, path, _no_candidate)
    table = READERS[ending](path)
    expected = WHAT[what](record)
    assert n_rows == len(table) == len(expected) > 0
    assert list(table.columns) == list(expected.columns)
    if what in COLUMNS:
        assert list(table.columns) == COLUMNS[what].split()
    assert list(table["candidate"]) == list(expected["candidate"])
    for column in expected.select_dtypes("number").columns:
        exact = 1e-6 if expected[column].dtype == np.float32 else 1e-9
        np.testing.assert_allclose(table[column].astype(float), expected[column].astype(float), rtol=exact, atol=1e-10)


def test_the_tables_hold_what_the_record_holds(record: CampaignRecord) -> None:
    labels = WHAT["labels"](record)
    assert list(labels["value"]) == [label.value for label in record.labels]
    assert list(labels["request"]) == [label.request_id for label in record.labels]
    assert len(WHAT["pending"](record)) == 3
    assert WHAT["best"](record)["value"].min() == min(label.value for label in record.target_labels)
    predictions = WHAT["predictions"](record)
    assert predictions["label"].notna().sum() == len(record.target_labels)
    assert list(WHAT["features"](record).columns) == ["candidate", "formula", *record.feature_names]


CUBE = ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0))


def _crystal_of(record: CampaignRecord) -> Callable[[str], Candidate]:
    """The pool's structure of any candidate: a cube of a copper and a gold atom."""
    crystal = Crystal(CUBE, ("Cu", "Au"), ((0, 0, 0), (0.5, 0.5, 0.5)))
    return lambda _candidate_id: Candidate.of(crystal)


@pytest.mark.parametrize("what", ["labels", "pending", "best"])
@pytest.mark.parametrize("ending", ["extxyz", "cif"])
def test_structures_are_written_and_read_back(record: CampaignRecord, what: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"{what}.{ending}"
    n_rows = export(record, what, path, _crystal_of(record))
    frames: list[Any] = ase.io.read(path, index=":")
    assert len(frames) == n_rows
    assert all(len(atoms) > 0 and atoms.pbc.all() for atoms in frames)
    if ending == "extxyz":
        table = WHAT[what](record)
        assert [atoms.info["candidate"] for atoms in frames] == list(table["candidate"])
        if "value" in table:
            np.testing.assert_allclose([atoms.info["value"] for atoms in frames], table["value"], rtol=1e-7)


def test_of_a_job_with_several_labels_the_structure_bears_the_one_that_is_sought(
    record: CampaignRecord, tmp_path: Path
) -> None:
    first = record.labels[0]
    other = replace(first, property="volume_per_atom", value=16.0, unit="Angstrom^3/atom")
    several = replace(record, labels=(other, *record.labels))
    n_candidates = len({label.candidate_id for label in record.labels})
    assert export(several, "labels", tmp_path / "labels.extxyz", _crystal_of(record)) == n_candidates
    atoms: Any = ase.io.read(tmp_path / "labels.extxyz", index=0)
    assert atoms.info["property"] == record.target.property
    assert atoms.info["value"] == pytest.approx(first.value)
    assert atoms.info["origin"] == record.origins[list(record.candidate_ids).index(first.candidate_id)]


def test_a_block_of_a_cif_file_bears_the_candidates_name(record: CampaignRecord, tmp_path: Path) -> None:
    export(record, "best", tmp_path / "best.cif", _crystal_of(record))
    blocks = [line for line in (tmp_path / "best.cif").read_text().splitlines() if line.startswith("data_")]
    rows = WHAT["best"](record)
    assert blocks == [f"data_{f}_{c}" for f, c in zip(rows["formula"], rows["candidate"], strict=True)]


def test_a_label_of_a_candidate_without_features_keeps_the_formula_that_was_noted(record: CampaignRecord) -> None:
    known = replace(record.labels[0], candidate_id="f" * 16, request_id=None, provenance={"formula": "CuO"})
    row = WHAT["labels"](replace(record, labels=(known,))).iloc[0]
    assert (row["formula"], row["origin"]) == ("CuO", None)


def test_the_crystal_that_the_labeler_left_is_written_where_there_is_one(
    record: CampaignRecord, tmp_path: Path
) -> None:
    crystal = Crystal(((3.9, 0, 0), (0, 3.9, 0), (0, 0, 3.7)), ("Pd", "Ni"), ((0, 0, 0), (0.5, 0.5, 0.5)))
    first, *others = record.labels
    relaxed = replace(first, provenance=dict(first.provenance) | {"crystal": crystal.to_json()})
    path = tmp_path / "labels.extxyz"
    export(replace(record, labels=(relaxed, *others)), "labels", path, _crystal_of(record))
    frames: list[Any] = ase.io.read(path, index=":")
    assert [str(atoms.symbols) for atoms in frames] == ["PdNi"] + ["CuAu"] * len(others)
    np.testing.assert_allclose(frames[0].cell[:], crystal.lattice, rtol=1e-7)
    np.testing.assert_allclose(frames[1].cell[:], CUBE, rtol=1e-7)


@pytest.mark.parametrize(
    ("what", "name", "said"),
    [
        ("everything", "x.csv", "There is no 'everything' to export. There are: labels, pending, best"),
        ("labels", "x.xlsx", r"labels cannot be written as 'x\.xlsx'; end the name with \.csv, .*\.cif"),
        ("features", "x.cif", r"features cannot be written as 'x\.cif'; end the name with \.csv, \.parquet, \.json\."),
        ("labels", "x", r"labels cannot be written as 'x'"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_no_file(
    record: CampaignRecord, what: str, name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        export(record, what, tmp_path / name, _no_candidate)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused(record: CampaignRecord, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/labels\.csv cannot be written"):
        export(record, "labels", tmp_path / "file" / "labels.csv", _no_candidate)


def test_a_campaign_without_a_model_or_labels_says_so(tmp_path: Path) -> None:
    empty = example_record(n_candidates=20, n_features=3, n_rounds=0, is_stopped=False)
    with pytest.raises(UserError, match="has no model yet, so it predicts nothing"):
        export(empty, "predictions", tmp_path / "x.csv", _no_candidate)
    with pytest.raises(UserError, match="There is nothing to write yet"):
        export(empty, "labels", tmp_path / "x.extxyz", _no_candidate)
    assert export(empty, "labels", tmp_path / "labels.csv", _no_candidate) == 0
    assert list(pd.read_csv(tmp_path / "labels.csv").columns) == COLUMNS["labels"].split()


def test_a_goal_without_a_best_exports_its_labels(tmp_path: Path) -> None:
    learned = example_record(goal=Goal.LEARN, n_candidates=40, n_features=3, n_rounds=2)
    assert export(learned, "labels", tmp_path / "labels.csv", _no_candidate) == len(learned.labels)


def test_a_real_campaign_exports_its_tables_and_has_no_structures(tmp_path: Path) -> None:
    with without_workers(Campaign.create(tiny_campaign(tmp_path), clock=FakeClock())) as campaign:
        campaign.run()
        record, pool = campaign.record(), campaign.pool()
        labels = campaign.store.read().labels
    path = tmp_path / "labels.parquet"
    assert export(record, "labels", path, pool.candidate) == 10
    assert dict(zip(*(pd.read_parquet(path)[c] for c in ("candidate", "value")), strict=True)) == {
        label.candidate_id: label.value for label in labels
    }
    with pytest.raises(UserError, match="is a bare composition: it has no structure to write"):
        export(record, "labels", tmp_path / "labels.cif", pool.candidate)
    predictions = WHAT["predictions"](record)
    known = predictions.dropna(subset="label")
    np.testing.assert_allclose(known["mean"], known["label"])
