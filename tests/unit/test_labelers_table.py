"""The labeler `table`, and how it reads formulas."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition

from active_learning.domain.candidate import Candidate
from active_learning.domain.elements import SYMBOLS
from active_learning.domain.formulas import composition_key, parse_formula
from active_learning.domain.job import Resources
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.errors import UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute
from active_learning.labelers.table import Table

TEXT = """formula,hardness,origin,source
Cu3Au,217.5,a.cif,paper 1
Al,15,b.cif,paper 1
CuAu3,,c.cif,paper 2
Fe,400,d.cif,paper 2
Fe2,410,e.cif,paper 3
Ni,90,f.cif,paper 3
Ni,90.0,g.cif,paper 4
Pt,soft,h.cif,paper 4
NaN,7,i.cif,paper 5
high entropy,8,j.cif,paper 5
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "hardness.csv"
    file.write_text(TEXT)
    return file


def table(path: Path, **rest: Any) -> Table:
    return Table(Table.Options.model_validate({"path": path} | rest)).for_property("hardness")


def value(labeler: Table, candidate: Candidate) -> float:
    found: float = labeler.prepare(candidate).inputs["value"]
    return found


def test_a_composition_is_found_however_it_is_written(path: Path) -> None:
    assert value(table(path), Candidate({"Au": 1, "Cu": 3})) == 217.5
    assert value(table(path), Candidate({"Au": 2, "Cu": 6})) == 217.5
    assert value(table(path), Candidate({"Au": 0.25, "Cu": 0.75})) == 217.5


def test_sodium_nitride_is_a_formula_and_not_a_missing_value(path: Path) -> None:
    assert value(table(path), Candidate({"Na": 1, "N": 1})) == 7.0


def test_the_label_carries_unit_fidelity_and_where_it_stands(path: Path, tmp_path: Path) -> None:
    labeler = table(path, unit="HV", fidelity="experiment")
    assert labeler.units == {"hardness": "HV"}
    directory = JobDirectory(tmp_path / "job")
    directory.prepare(labeler.prepare(Candidate({"Al": 1})), "job", Resources(60))
    execute(directory.path)
    found = labeler.parse(directory.path)
    assert isinstance(found, Measurement)
    assert (found.values, found.fidelity) == ({"hardness": (15.0, "HV")}, "experiment")
    assert found.provenance["rows"] == [2]
    assert (found.provenance["table"], found.provenance["column"]) == ("hardness.csv", "hardness")
    assert len(found.provenance["sha256"]) == 64


@pytest.mark.parametrize("amounts", [{"Au": 3, "Cu": 1}, {"Ag": 1}])
def test_a_candidate_without_a_value_is_refused(amounts: dict[str, float], path: Path) -> None:
    with pytest.raises(
        UserError, match=r"is not in hardness\.csv: no row of 10 .*1 rows cannot be read, the first: row"
    ):
        table(path).prepare(Candidate(amounts))


def test_different_values_are_refused_or_their_median_taken(path: Path) -> None:
    with pytest.raises(UserError, match=r"2 different values for Fe \(rows 4, 5\).*duplicates = \"median\""):
        table(path).prepare(Candidate({"Fe": 1}))
    assert value(table(path, duplicates="median"), Candidate({"Fe": 1})) == 405.0


def test_equal_values_are_one_value(path: Path) -> None:
    assert value(table(path), Candidate({"Ni": 1})) == 90.0


def test_a_value_that_is_no_number_fails_its_own_candidate_only(path: Path) -> None:
    with pytest.raises(UserError, match="row 8: 'soft' is not a finite number"):
        table(path).prepare(Candidate({"Pt": 1}))


def test_candidates_may_be_looked_up_by_origin_or_id(path: Path, tmp_path: Path) -> None:
    assert value(table(path, key="origin"), Candidate({"Al": 1}, origin="e.cif")) == 410.0
    aluminum = Candidate({"Al": 1})
    by_id = tmp_path / "ids.csv"
    by_id.write_text(f"candidate,E\n{aluminum.id},-3.5\n")
    labeler = Table(Table.Options(path=by_id, key="id", key_column="candidate", value="E")).for_property("energy")
    assert labeler.units == {"energy": ""}
    assert value(labeler, aluminum) == -3.5


def test_a_parquet_table_reads_like_a_csv_table(path: Path, tmp_path: Path) -> None:
    parquet = tmp_path / "hardness.parquet"
    pd.DataFrame({"formula": ["Al", "AuCu3"], "hardness": [15.0, None]}).to_parquet(parquet)
    assert value(table(parquet), Candidate({"Al": 1})) == 15.0
    with pytest.raises(UserError, match="is not in"):
        table(parquet).prepare(Candidate({"Au": 1, "Cu": 3}))


@pytest.mark.parametrize("name", ["hardness.json", "hardness.json.gz"])
def test_a_json_table_reads_like_a_csv_table(name: str, tmp_path: Path) -> None:
    records = [
        {"formula": "Al", "hardness": 15, "structure": {"deep": [1, 2]}},
        {"formula": "AuCu3", "hardness": None},
        {"formula": "NaN", "hardness": float("nan")},
        {"hardness": 7.5, "formula": "NaN"},
        {"formula": "Pt", "hardness": "soft"},
        {"formula": "Fe", "hardness": True},
        {},
    ]
    text = json.dumps(records).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    labeler = table(tmp_path / name)
    assert value(labeler, Candidate({"Al": 1})) == 15.0
    assert value(labeler, Candidate({"Na": 1, "N": 1})) == 7.5
    with pytest.raises(UserError, match="no row of 7"):
        labeler.prepare(Candidate({"Au": 1, "Cu": 3}))
    for symbol, text_there in (("Pt", "soft"), ("Fe", "True")):
        with pytest.raises(UserError, match=f"'{text_there}' is not a finite number"):
            labeler.prepare(Candidate({symbol: 1}))
    with pytest.raises(UserError, match=r"no column 'zzz'\. It has: formula, hardness, structure\. .*`value`"):
        Table(Table.Options(path=tmp_path / name)).for_property("zzz")


def test_real_documents_are_found_by_their_ids() -> None:
    path = Path(__file__).parents[1] / "data" / "alexandria_phonons.json.gz"
    labeler = Table(Table.Options(path=path, key="origin", key_column="mp_id", value="heat_capacity"))
    assert value(labeler, Candidate({"Ba": 1, "O": 2}, origin="mp-1105")) == 65.7436504
    assert labeler.prepare(Candidate({"Ca": 1, "C": 2}, origin=" mp-2482")).inputs["rows"] == [5]
    with pytest.raises(UserError, match="no row of 12 has its origin in column 'mp_id'"):
        labeler.prepare(Candidate({"Ba": 1, "O": 2}, origin="mp-1"))


def test_a_missing_column_of_keys_names_its_key_in_the_file(path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'composition'.* Name the right one: `key_column`"):
        table(path, key_column="composition").prepare(Candidate({"Al": 1}))


def test_a_table_is_read_once_and_again_when_it_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_read = 0
    real = pd.read_csv

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_read
        n_read += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(pd, "read_csv", counting)
    for _ in range(3):
        assert value(table(path), Candidate({"Al": 1})) == 15.0
    assert n_read == 1
    path.write_text("formula,hardness\nAl,16\n")
    assert value(table(path), Candidate({"Al": 1})) == 16.0
    assert n_read == 2


def test_a_column_that_is_not_there_is_refused_with_a_hint(path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'hardnes'\. Did you mean 'hardness'\? It has: formula, hardness"):
        Table(Table.Options(path=path)).for_property("hardnes")
    with pytest.raises(UserError, match="no column 'id'"):
        table(path, key="id")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("gone.csv", None, "No such file"),
        ("labels.xlsx", b"x", r"ends in \.csv, \.csv\.gz, \.parquet or \.pq"),
        ("labels.csv", b"", "No columns to parse"),
        ("labels.csv", b"\xff\xfe\x00", "cannot read the table"),
        ("labels.parquet", b"no parquet", "cannot read the table"),
        ("labels.json", b"{}", "not a list of records"),
        ("labels.json", b"[1]", "not a list of records"),
        ("labels.json", b"[{", "cannot read the table .*not JSON"),
        ("labels.json.gz", b"[{}]", "cannot read the table .*Not a gzipped file"),
        ("labels.json.gz", gzip.compress(b"[{}]")[:-9], "cannot read the table .*Compressed file ended"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(
    name: str, content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        table(tmp_path / name)


def test_a_table_that_does_not_know_its_property_says_so(path: Path) -> None:
    labeler = Table(Table.Options(path=path))
    assert labeler.units == {}
    with pytest.raises(UserError, match="name the column with `value`"):
        labeler.prepare(Candidate({"Al": 1}))
    named = Table(Table.Options(path=path, value="hardness"))
    assert named.units == {"hardness": ""}
    assert value(named, Candidate({"Al": 1})) == 15.0


def test_a_job_that_ended_with_an_error_is_a_failure(path: Path, tmp_path: Path) -> None:
    JobDirectory(tmp_path).write("stderr", "Traceback\nOSError: disk full\n")
    JobDirectory(tmp_path).finish(1)
    assert table(path).parse(tmp_path) == Failure(FailureKind.CRASHED, "OSError: disk full")


symbols = st.sampled_from(SYMBOLS[:94])
amounts = st.one_of(st.integers(1, 20).map(str), st.just(""), st.sampled_from(["0.5", "2.25", "0.333"]))
units = st.tuples(symbols, amounts).map("".join)
groups = st.tuples(st.lists(units, min_size=1, max_size=3).map("".join), amounts).map(lambda g: f"({g[0]}){g[1]}")


@given(st.lists(st.one_of(units, groups), min_size=1, max_size=4).map("".join))
def test_formulas_mean_what_pymatgen_says_they_mean(text: str) -> None:
    assert parse_formula(text) == pytest.approx(dict(Composition(text).get_el_amt_dict()))


@given(st.dictionaries(symbols, st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 12))
def test_a_composition_has_one_key(counts: dict[str, int], times: int) -> None:
    text = "".join(f"{symbol}{n * times}" for symbol, n in reversed(counts.items()))
    assert composition_key(parse_formula(text)) == composition_key({s: float(n) for s, n in counts.items()})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no atoms"),
        ("Al0", "no atoms"),
        ("Xx2", "no element Xx"),
        ("al", "cannot read 'al'"),
        ("2Al", "cannot read '2Al'"),
        ("Al(OH", "stays open"),
        ("AlOH)2", "was not opened"),
        ("Al-2", "cannot read '-2'"),
        ("high entropy", "cannot read 'high entropy'"),
    ],
)
def test_what_is_no_formula_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_formula(text)
