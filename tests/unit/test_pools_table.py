"""The pool `table`: formulas and crystals, descriptors and known labels, and every kind of bad row."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import time
import tracemalloc
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ase.build import bulk
from pydantic import ValidationError
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter

from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.protocols import KnowsLabels
from active_learning.errors import UserError
from active_learning.labelers.table import Table as TableLabeler
from active_learning.pools.table import Table

PHONONS = Path(__file__).parents[1] / "data" / "alexandria_phonons.json.gz"
COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]])
SALT = AseAtomsAdaptor.get_structure(bulk("NaCl", "rocksalt", a=5.64))

TEXT = """formula,radius,hardness,who,note
Cu3Au,1.4,217.5,first,a
Al,,15,second,"b, with
a line"
NaN,1.0,n/a,third,c
Xx2,1.0,1,fourth,d
,1.0,2,fifth,e
Al-2,1.0,3,sixth,f

Au2Cu6,9.9,218.5,seventh,g
Fe,1.2,,eighth,h
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "alloys.csv"
    file.write_text(TEXT, encoding="utf-8")
    return file


def table(path: Path, **options: Any) -> Table:
    return Table(Table.Options.model_validate({"path": path, **options}))


def read(path: Path, **options: Any) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Candidates by origin, and reasons by source."""
    items = list(table(path, **options).read())
    taken = {i.origin: i for i in items if isinstance(i, Candidate)}
    dropped = {i.source: i.reason for i in items if isinstance(i, Dropped)}
    assert len(taken) + len(dropped) == len(items)
    return taken, dropped


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The rows as a table of the kind that the file's name says."""
    if path.suffix == ".gz":
        text = json.dumps(rows) if ".json" in path.name else pd.DataFrame(rows).to_csv(index=False)
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


KINDS = ["t.csv", "t.csv.gz", "t.json", "t.json.gz", "t.parquet", "t.pq", "T.CSV"]


# Rows


def test_each_row_is_a_candidate_or_dropped_with_its_number(path: Path) -> None:
    taken, dropped = read(path)
    assert {origin: c.formula for origin, c in taken.items()} == {
        "row 1": "AuCu3",
        "row 2": "Al",
        "row 3": "NNa",
        "row 8": "Fe",
    }
    assert dropped == {
        "row 4": "not a formula: 'Xx2' is not a formula: no element Xx",
        "row 5": "no formula",
        "row 6": "not a formula: 'Al-2' is not a formula: cannot read '-2'",
        "row 7": "duplicate: the same as row 1",
    }


def test_a_column_of_names_says_where_candidates_come_from(path: Path) -> None:
    taken, dropped = read(path, name="who")
    assert list(taken) == ["first", "second", "third", "eighth"]
    assert dropped["row 7 (seventh)"] == "duplicate: the same as first"


@pytest.mark.parametrize("name", KINDS)
def test_all_kinds_of_tables_give_the_same(tmp_path: Path, name: str) -> None:
    rows = [
        {"formula": "CuAu3", "x": 1.5, "id": 7, "y": None, "junk": {"a": 1} if "json" in name else "a"},
        {"formula": "NaN", "x": None, "id": 8, "y": 2.5, "junk": None},
        {"formula": None, "x": 3.0, "id": 9, "y": 2.5, "junk": None},
    ]
    path = written(tmp_path / name.lower(), rows).rename(tmp_path / name)
    pool = table(path, descriptors=["x"], label="y", name="id")
    first, second, third = pool.read()
    assert isinstance(first, Candidate)
    assert isinstance(second, Candidate)
    assert (first.origin, first.formula, dict(first.given)) == ("7", "Au3Cu", {"x": 1.5})
    assert (second.origin, second.formula) == ("8", "NNa")
    assert math.isnan(second.given["x"])
    assert third == Dropped("row 3 (9)", "no formula")
    ((known, measurement),) = pool.known_labels("hardness")
    assert (known, measurement.values) == (second.id, {"hardness": (2.5, "")})


def test_a_row_of_a_csv_with_too_many_cells_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('formula,x\nAl,1\nCu,2,3\nFe\n"Ni"x,1\nAg,1\n"Au,1\n', encoding="utf-8")
    taken, dropped = read(path)
    assert list(taken) == ["row 1", "row 5"]
    assert dropped == {
        "row 2": "broken row: 3 cells, and the table has 2 columns",
        "row 3": "broken row: 1 cells, and the table has 2 columns",
        "row 4": "broken row: ',' expected after '\"'",
        "row 6": "broken row: unexpected end of data",
    }


def test_a_record_that_is_none_and_one_without_a_key_cost_themselves_only(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json", [{"formula": "Al"}, [1], {"x": 1}, {"formula": 7}, {"formula": "Cu", "x": 2}])
    taken, dropped = read(path)
    assert list(taken) == ["row 1", "row 5"]
    assert dropped == {
        "row 2": "broken row: not a record of keys and values",
        "row 3": "no formula",
        "row 4": "not a formula: '7' is not a formula: cannot read '7'",
    }


def test_bytes_that_are_not_utf8_cost_their_own_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfformula,author\nAl,J\xf6rg\nC\xfc,x\n")
    taken, dropped = read(path)
    assert list(taken) == ["row 1"]
    assert dropped["row 2"].startswith("not a formula: 'C\N{REPLACEMENT CHARACTER}'")


def test_the_filters_of_all_pools_apply(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", [{"formula": f} for f in ("AlCu", "NaCl", "Na2Cl", "Fe", "Cu0.5Al0.5")])
    taken, dropped = read(path, elements=["Al", "Cu", "Na", "Cl"], n_elements=[2], charge_neutral=True)
    assert [c.formula for c in taken.values()] == ["AlCu", "ClNa"]
    assert dropped == {
        "row 3": "not charge neutral",
        "row 4": "other elements: holds Fe",
        "row 5": "duplicate: the same as row 1",
    }


# Crystals


def _site(site: Any) -> dict[str, Any]:
    return {"species": [{"element": site.specie.symbol, "occu": 1}], "abc": site.frac_coords.tolist()}


def test_a_cell_may_hold_a_crystal_as_cif_poscar_or_json(tmp_path: Path) -> None:
    cells = [
        str(CifWriter(COPPER)),
        SALT.to(fmt="poscar"),
        json.dumps(COPPER.copy().scale_lattice(60).as_dict()),
        str(CifWriter(COPPER.copy().scale_lattice(65))).replace("# generated using pymatgen\n", ""),
    ]
    taken, dropped = read(written(tmp_path / "t.csv", [{"crystal": cell} for cell in cells]), structure="crystal")
    assert dropped == {}
    assert [c.formula for c in taken.values()] == ["Cu", "ClNa", "Cu", "Cu"]
    plain = [
        {"lattice": {"matrix": s.lattice.matrix.tolist()}, "sites": [_site(site) for site in s]} for s in (COPPER, SALT)
    ]
    as_records = [{"crystal": value} for value in plain]
    for name in ("t.json", "t.parquet"):
        crystals, _ = read(written(tmp_path / name, as_records), structure="crystal")
        assert [c.id for c in crystals.values()] == [taken["row 1"].id, taken["row 2"].id]


def test_bad_crystals_are_dropped_with_their_reasons(tmp_path: Path) -> None:
    alloy = Structure(Lattice.cubic(3.8), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    nan = json.dumps(SALT.as_dict()).replace("5.64", "NaN").replace("2.82", "NaN")
    cells = [
        str(CifWriter(alloy)),
        "data_x\n_atom_site_label Cu\n",
        str(CifWriter(COPPER)) + str(CifWriter(SALT)),
        "nonsense",
        "{",
        '{"a": 1}',
        nan,
        None,
        COPPER.to(fmt="poscar"),
        COPPER.get_primitive_structure().to(fmt="poscar"),
    ]
    rows = [{"crystal": cell, "formula": "Cu"} for cell in cells]
    taken, dropped = read(written(tmp_path / "t.csv", rows), structure="crystal", max_atoms=4)
    assert list(taken) == ["row 9"]
    assert [reason.partition(":")[0] for reason in dropped.values()] == [
        "disordered",
        "holds no structure",
        "2 structures in one cell",
        "cannot be read",
        "cannot be read",
        "holds no structure",
        "the crystal's lattice or a position is not a finite number",
        "no structure",
        "duplicate",
    ]
    assert dropped["row 10"] == "duplicate: the same crystal as row 9"


def test_a_formula_that_contradicts_the_crystal_is_dropped(tmp_path: Path) -> None:
    rows = [{"f": "Cu", "s": COPPER.as_dict()}, {"f": "Na2Cl", "s": SALT.as_dict()}]
    taken, dropped = read(written(tmp_path / "t.json", rows), structure="s", formula="f")
    assert list(taken) == ["row 1"]
    assert dropped == {"row 2": "formula contradicts the structure: Na2Cl is not ClNa"}


def test_filters_of_crystals_are_refused_where_there_are_none(path: Path) -> None:
    with pytest.raises(ValidationError, match="max_atoms needs a column of crystals: name it with `structure`"):
        table(path, max_atoms=4)


# Descriptors


def test_descriptors_come_with_the_candidates_and_empty_cells_are_nan(path: Path) -> None:
    taken, _ = read(path, descriptors=["radius"])
    assert taken["row 1"].given == {"radius": 1.4}
    assert math.isnan(taken["row 2"].given["radius"])
    assert taken["row 1"].id == read(path)[0]["row 1"].id


def test_a_cell_that_is_no_number_costs_its_row_and_a_column_without_numbers_is_the_users_error(
    tmp_path: Path,
) -> None:
    rows = [
        {"formula": "Al", "x": "1", "words": "soft", "empty": ""},
        {"formula": "Cu", "x": "inf", "words": "", "empty": "-"},
        {"formula": "Fe", "x": "soft", "words": "hard", "empty": "N/A"},
    ]
    path = written(tmp_path / "t.csv", rows)
    taken, dropped = read(path, descriptors=["x"])
    assert list(taken) == ["row 1"]
    assert dropped == {
        "row 2": "descriptor is not a number: column 'x': 'inf' is not a finite number",
        "row 3": "descriptor is not a number: column 'x': 'soft' is not a finite number",
    }
    with pytest.raises(UserError, match="column 'words' holds no number; row 1: 'soft' is not a finite number"):
        read(path, descriptors=["x", "words"])
    with pytest.raises(UserError, match="column 'empty' holds no number; all cells are empty"):
        read(path, descriptors=["x"], label="empty")


def test_truth_values_are_no_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json", [{"formula": "Al", "x": True}, {"formula": "Cu", "x": False}])
    with pytest.raises(UserError, match="'x' holds no number; row 1: 'True' is not a finite number"):
        read(path, descriptors=["x"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"descriptors": ["x", "x"]}, "descriptors named more than once: x"),
        ({"descriptors": ["y"], "label": "y"}, "the label 'y' cannot be a descriptor too"),
    ],
)
def test_options_that_contradict_each_other_are_refused(path: Path, options: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        table(path, **options)


# Known labels


def labels(pool: Table) -> dict[str, tuple[float, list[int]]]:
    return {c: (m.values["H"][0], m.provenance["rows"]) for c, m in pool.known_labels("H")}


def test_known_labels_say_value_unit_fidelity_and_row(path: Path) -> None:
    pool = table(path, label="hardness", unit="HV", fidelity="experiment", duplicates="median")
    assert isinstance(pool, KnowsLabels)
    ids = {item.origin: item.id for item in pool.read() if isinstance(item, Candidate)}
    assert labels(pool) == {ids["row 1"]: (218.0, [1, 7]), ids["row 2"]: (15.0, [2])}
    measurement = dict(pool.known_labels("H"))[ids["row 2"]]
    assert measurement.values == {"H": (15.0, "HV")}
    assert measurement.fidelity == "experiment"
    assert measurement.provenance == {
        "table": "alloys.csv",
        "sha256": hashlib.sha256(TEXT.encode()).hexdigest(),
        "column": "hardness",
        "rows": [2],
    }


def test_without_a_column_of_labels_none_is_known(path: Path) -> None:
    assert list(table(path).known_labels("H")) == []


def test_different_labels_of_one_candidate_are_refused_unless_the_median_is_asked_for(path: Path) -> None:
    pool = table(path, label="hardness")
    assert sum(isinstance(item, Candidate) for item in pool.read()) == 4
    with pytest.raises(UserError, match=r"values of 'hardness' for 1 candidate, first in rows 1, 7; .*median"):
        list(pool.known_labels("H"))


def test_equal_labels_of_one_candidate_are_one_and_a_later_row_may_bring_the_first(tmp_path: Path) -> None:
    rows = [{"formula": f, "y": y} for f, y in (("Al", 1.0), ("Al2", 1.0), ("Cu", None), ("Cu4", 3.0), ("Xx", 2.0))]
    pool = table(written(tmp_path / "t.parquet", rows), label="y")
    aluminum, copper = (item.id for item in pool.read() if isinstance(item, Candidate))
    assert labels(pool) == {aluminum: (1.0, [1, 2]), copper: (3.0, [4])}


def test_a_label_that_is_no_number_costs_its_row(tmp_path: Path) -> None:
    rows = [{"formula": "Al", "y": "1"}, {"formula": "Cu", "y": "soft"}]
    pool = table(written(tmp_path / "t.csv", rows), label="y")
    assert list(pool.read())[1] == Dropped("row 2", "label is not a number: column 'y': 'soft' is not a finite number")
    assert len(labels(pool)) == 1


def test_labels_of_rows_that_a_filter_drops_are_not_known(path: Path) -> None:
    pool = table(path, label="hardness", elements=["Al"])
    (item,) = (item for item in pool.read() if isinstance(item, Candidate))
    assert labels(pool) == {item.id: (15.0, [2])}


def test_a_real_table_of_crystals_is_pool_and_labeler_at_once() -> None:
    pool = table(
        PHONONS, structure="structure", formula="formula", name="mp_id", label="heat_capacity", duplicates="median"
    )
    items = list(pool.read())
    candidates = [item for item in items if isinstance(item, Candidate)]
    assert Counter(type(item) for item in items) == {Candidate: 11, Dropped: 1}
    assert items[-1] == Dropped("row 12 (mp-554253)", "duplicate: the same crystal as mp-553880")
    labeler = TableLabeler(TableLabeler.Options(path=PHONONS, key="origin", key_column="mp_id"))
    found = {c.id: labeler.for_property("heat_capacity").prepare(c).inputs["value"] for c in candidates}
    assert candidates[0].origin == "mp-1105"
    assert found[candidates[0].id] == 65.7436504
    known = labels(pool)
    assert known[candidates[-1].id] == (pytest.approx((1191.920041 + 1191.893349) / 2), [11, 12])
    assert all(known[c.id][0] == found[c.id] for c in candidates[:-1])


# Tables that cannot be used


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("gone.csv", None, {}, "cannot read the table .*gone.csv: No such file"),
        ("gone.parquet", None, {}, "cannot read the table .*gone.parquet: No such file"),
        ("t.xlsx", b"x", {}, r"ends in \.csv, .* got 't\.xlsx'"),
        ("t.csv", b"", {}, "t.csv is empty"),
        ("t.json", b"[]", {}, "t.json is empty"),
        ("t.csv", b"formula,x\n", {}, "t.csv holds no rows"),
        ("t.csv", b"formula,x\n", {"label": "x"}, "t.csv holds no rows"),
        ("t.csv", b"Formula\nAl\n", {}, r"no column 'formula'\. Did you mean 'Formula'\? It has: Formula\. Name the"),
        ("t.csv", b"formula,x\nAl,1\n", {"structure": "cif"}, r"no column 'cif'\. It has: formula, x\."),
        ("t.csv", b"formula,mass\nAl,1\n", {"descriptors": ["mas"]}, r"no column 'mas'\. Did you mean 'mass'\?"),
        ("t.json", b'[{"formula": "Al"}]', {"label": "y"}, r"no column 'y'\. It has: formula\."),
        ("t.csv", b"formula,x,x\nAl,1,2\n", {"descriptors": ["x"]}, "2 columns named 'x'"),
        ("t.csv", b'"formula\nAl\n', {}, "first line is broken: unexpected end of data"),
        ("t.json", b'{"formula": ["Al"]}', {}, "holds no list of records"),
        ("t.json", b'[{"formula": "Al"}', {}, "cannot read the table .*not JSON after item 1"),
        ("t.json", b"[" * 100_000, {}, "cannot read the table .*not JSON"),
        ("t.parquet", b"no parquet", {}, "cannot read the table .*Parquet"),
        ("t.csv.gz", b"no gzip", {}, "cannot read the table .*Not a gzipped file"),
        ("t.json.gz", gzip.compress(b'[{"formula": "Al"}]')[:-12], {}, "Compressed file ended before"),
        ("t.csv.gz", gzip.compress(bytes(101 << 20), 1), {}, "more than 200 times as large unpacked"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_a_table_that_cannot_be_used_is_the_users_error(
    tmp_path: Path, name: str, content: bytes | None, options: Any, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    pool = table(tmp_path / name, **options)
    with pytest.raises(UserError, match=message):
        list(pool.read())


# Large tables


def test_a_large_table_is_read_fast_and_row_by_row(tmp_path: Path) -> None:
    metals = ["Al", "Cu", "Fe", "Ni", "Ti", "V", "Cr", "Mn"]
    n = 20_000
    rows = [
        f"{metals[i % 8]}{i // 512 + 1}{metals[(i // 8) % 7]}O{(i // 56) % 9 + 1},{i},{'x' * 200}" for i in range(n)
    ]
    path = tmp_path / "t.csv"
    path.write_text("formula,x,junk\n" + "\n".join(rows) + "\n", encoding="utf-8")
    start = time.monotonic()
    assert sum(1 for _ in table(path, descriptors=["x"]).read()) == n
    assert time.monotonic() - start < 10.0
    tracemalloc.start()
    try:
        items = iter(table(path).read())
        for _ in range(2_000):
            next(items)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_cell_may_be_larger_than_pythons_limit_for_a_csv(tmp_path: Path) -> None:
    atoms = bulk("Si", cubic=True) * (7, 7, 7)
    text = AseAtomsAdaptor.get_structure(atoms).to(fmt="poscar")
    assert len(text) > 131_072
    taken, _ = read(written(tmp_path / "t.csv", [{"s": text}]), structure="s")
    assert len(taken["row 1"].crystal.species) == 2744
