"""The pool `structures`: every kind of file, and every kind of broken file."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import stat
import time
import tracemalloc
import warnings
import zipfile
from contextlib import closing
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from monty.json import MontyEncoder
from pydantic import ValidationError
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.errors import UserError
from active_learning.pools.structures import Structures

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]])
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ALLOY = Structure(Lattice.cubic(3.8), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
ZINC = Structure(Lattice.hexagonal(2.66, 4.95), ["Zn", "Zn"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]).as_dict()


def read(path: Path, **options: object) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Candidates by origin, and reasons by source."""
    items = list(Structures(Structures.Options.model_validate({"path": path, **options})).read())
    taken = {i.origin: i for i in items if isinstance(i, Candidate)}
    dropped = {i.source: i.reason for i in items if isinstance(i, Dropped)}
    assert len(taken) + len(dropped) == len(items)
    return taken, dropped


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def cif(structure: Structure) -> str:
    return str(CifWriter(structure))


# Kinds of files


@pytest.mark.parametrize("name", ["salt.cif", "SALT.CIF", "POSCAR", "CONTCAR.relaxed", "salt.vasp", "salt.poscar"])
def test_a_file_of_one_crystal_is_one_candidate_in_the_cell_as_written(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, cif(SALT) if name.lower().endswith("cif") else SALT.to(fmt="poscar"))
    taken, dropped = read(tmp_path)
    assert dropped == {}
    assert list(taken) == [name]
    assert taken[name].amounts == {"Cl": 4.0, "Na": 4.0}
    assert np.linalg.det(taken[name].crystal.lattice) == pytest.approx(5.64**3)


def test_each_frame_of_an_extxyz_file_is_a_candidate(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "md.xyz", [bulk("Al"), bulk("NaCl", "rocksalt", a=5.6)], format="extxyz")
    taken, _ = read(tmp_path)
    assert {origin: c.formula for origin, c in taken.items()} == {"md.xyz, frame 1": "Al", "md.xyz, frame 2": "ClNa"}


def test_each_block_of_a_cif_is_a_candidate_and_blocks_without_sites_are_passed_over(tmp_path: Path) -> None:
    text = "data_global\n_journal_name 'A Journal'\n" + cif(SALT).replace("data_NaCl", "data_first") + cif(COPPER)
    write(tmp_path / "both.cif", text)
    taken, dropped = read(tmp_path)
    assert list(taken) == ["both.cif, block 1 (first)", "both.cif, block 2 (Cu)"]
    assert dropped == {}


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        (SALT.as_dict(), ["data.json"]),
        ([SALT.as_dict(), COPPER.as_dict()], ["data.json, item 1", "data.json, item 2"]),
        ({"mp-1": COPPER.as_dict()}, ["data.json, item mp-1"]),
        ([{"entry_id": 7, "structure": COPPER.as_dict()}], ["data.json, item 1/structure"]),
    ],
)
def test_pymatgen_json_may_hold_one_structure_or_many(tmp_path: Path, value: object, origins: list[str]) -> None:
    write(tmp_path / "data.json", json.dumps(value))
    taken, dropped = read(tmp_path)
    assert list(taken) == origins
    assert dropped == {}


def test_json_is_data_and_builds_no_other_class(tmp_path: Path) -> None:
    value = SALT.as_dict()
    value["properties"] = {"trap": {"@module": "pathlib", "@class": "Path", "path": "x"}}
    value["sites"][0]["properties"] = {"trap": {"@module": "no_such_module", "@class": "Boom"}}
    write(tmp_path / "trap.json", json.dumps(value))
    taken, _ = read(tmp_path)
    assert [c.formula for c in taken.values()] == ["ClNa"]


def test_oxidation_states_are_taken_off(tmp_path: Path) -> None:
    charged = SALT.copy()
    charged.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    write(tmp_path / "charged.json", json.dumps(charged.as_dict()))
    write(tmp_path / "charged.cif", str(CifWriter(charged.get_primitive_structure())))
    taken, _ = read(tmp_path, drop_duplicates=False)
    assert [c.elements for c in taken.values()] == [("Cl", "Na")] * 2


def test_a_file_that_is_not_utf8_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "old.cif").write_bytes(b"# \xc5ngstr\xf6m\n" + cif(COPPER).encode())
    assert list(read(tmp_path)[0]) == ["old.cif"]


# Broken files


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("empty.cif", "", "holds no structure"),
        ("prose.cif", "data_x\n_journal_name 'A Journal'\n", "holds no structure"),
        ("half.cif", cif(SALT)[: cif(SALT).index("_atom_site_fract_z")], "cannot be read: ZeroDivisionError"),
        ("dummy.cif", cif(COPPER).replace("Cu  Cu0", "Xx2  Xx2"), "Xx.* is not a chemical element"),
        ("alloy.cif", cif(ALLOY), "disordered: a site is occupied by .*0.5"),
        ("hydride.cif", cif(COPPER).replace("_chemical_formula_sum   Cu4", "_chemical_formula_sum   'Cu4 H4'"), "H"),
        ("POSCAR", "nonsense\n", "cannot be read: IndexError"),
        ("vasp4.vasp", COPPER.to(fmt="poscar").replace("\nCu\n", "\n").replace(" Cu\n", "\n"), "which elements"),
        ("text.xyz", "not a number\n", "cannot be read from here on: 'not a number' is not a number of atoms"),
        ("empty.xyz", "\n", "holds no structure"),
        ("bad.json", "{", "cannot be read: not JSON"),
        ("deep.json", "[" * 100_000, "cannot be read: not JSON"),
        ("other.json", '{"a": [1, {"b": null}]}', "holds no structure"),
        ("sites.json", '{"lattice": {"matrix": 1}, "sites": [{}]}', "cannot be read: KeyError: 'species'"),
    ],
)
def test_a_broken_file_is_dropped_with_one_line_that_says_why(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    write(tmp_path / name, text)
    write(tmp_path / "zinc" / "good.cif", cif(COPPER))
    taken, dropped = read(tmp_path)
    assert list(taken) == ["zinc/good.cif"]
    assert len(dropped) == 1
    ((source, why),) = dropped.items()
    assert source.startswith(name)
    assert "\n" not in why
    assert re.search(reason, why)


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (molecule("H2O"), "no lattice in three dimensions"),
        (Atoms("Cu", cell=[3, 3, 15], pbc=(True, True, False)), "not periodic in all three directions"),
        (Atoms("X", cell=[3, 3, 3], pbc=True), "no such element: X"),
        (Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0.2]], cell=[3, 3, 3], pbc=True), "Cu and Cu 0.20 Angstrom apart"),
        (Atoms("Bk", cell=[3, 3, 3], pbc=True), "no radius is known for Bk"),
    ],
    ids=["molecule", "slab", "ghost", "overlap", "berkelium"],
)
def test_a_bad_frame_costs_itself_only(tmp_path: Path, atoms: Atoms, reason: str) -> None:
    ase.io.write(tmp_path / "md.xyz", [bulk("Al"), atoms, bulk("Cu")], format="extxyz")
    taken, dropped = read(tmp_path)
    assert list(taken) == ["md.xyz, frame 1", "md.xyz, frame 3"]
    assert list(dropped) == ["md.xyz, frame 2"]
    assert reason in dropped["md.xyz, frame 2"]


def test_a_file_that_ends_in_a_frame_keeps_the_frames_before(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "md.xyz", [bulk("Al"), bulk("Cu", cubic=True)], format="extxyz")
    text = (tmp_path / "md.xyz").read_text(encoding="utf-8")
    write(tmp_path / "md.xyz", text.rsplit("\n", 3)[0])
    taken, dropped = read(tmp_path)
    assert list(taken) == ["md.xyz, frame 1"]
    assert dropped == {"md.xyz, frame 2": "cannot be read from here on: ends in the middle of a frame"}


def test_a_bad_block_of_a_cif_costs_itself_only(tmp_path: Path) -> None:
    write(tmp_path / "both.cif", cif(ALLOY) + cif(COPPER))
    taken, dropped = read(tmp_path)
    assert list(taken) == ["both.cif, block 2 (Cu)"]
    assert dropped == {"both.cif, block 1 (Cu0.5Au0.5)": "disordered: a site is occupied by Cu:0.5, Au:0.5"}


def test_a_file_that_cannot_be_opened_is_dropped(tmp_path: Path) -> None:
    write(tmp_path / "good.cif", cif(COPPER))
    (tmp_path / "loop.cif").symlink_to(tmp_path / "loop.cif")
    (tmp_path / "folder.cif").mkdir()
    taken, dropped = read(tmp_path)
    assert list(taken) == ["good.cif"]
    assert dropped == {"loop.cif": "cannot be read: Too many levels of symbolic links"}


def test_warnings_of_the_readers_do_not_leak(tmp_path: Path) -> None:
    # Coordinates that pymatgen rounds, and says so.
    write(tmp_path / "rounded.cif", cif(SALT).replace("0.50000000", "0.3333"))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        read(tmp_path, min_distance=0)
    assert seen == []


# Which files


def test_files_come_in_the_order_of_their_paths_and_others_are_left_alone(tmp_path: Path) -> None:
    for i, name in enumerate(["b/2.cif", "b/10.cif", "a.cif", ".hidden/x.cif", "._a.cif", "README.md", "c.txt"]):
        write(tmp_path / name, cif(COPPER.copy().scale_lattice(40 + 5 * i)))
    taken, dropped = read(tmp_path)
    assert list(taken) == ["a.cif", "b/10.cif", "b/2.cif"]
    assert dropped == {}
    assert list(read(tmp_path, recursive=False)[0]) == ["a.cif"]


def test_a_single_file_and_a_pattern_are_paths_too(tmp_path: Path) -> None:
    write(tmp_path / "x" / "salt.cif", cif(SALT))
    write(tmp_path / "y" / "copper.vasp", COPPER.to(fmt="poscar"))
    assert list(read(tmp_path / "x" / "salt.cif")[0]) == ["salt.cif"]
    assert list(read(tmp_path / "*" / "*.vasp")[0]) == ["y/copper.vasp"]
    assert list(read(tmp_path / "**" / "*.cif")[0]) == ["x/salt.cif"]


def test_paths_are_relative_to_the_campaign_file(tmp_path: Path) -> None:
    write(tmp_path / "cifs" / "salt.cif", cif(SALT))
    options = Structures.Options.model_validate({"path": "cifs"}, context={"base": tmp_path})
    assert [item.formula for item in Structures(options).read()] == ["ClNa"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "no such file or folder: .*nowhere"),
        ("empty", r"empty holds no file of a known kind; crystals are read from \*.cif"),
        ("notes.txt", "notes.txt is not a file of a known kind"),
        ("*.cif", "cif holds no file of a known kind"),
    ],
)
def test_nothing_to_read_is_the_users_error(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "notes.txt", "Cu")
    with pytest.raises(UserError, match=message):
        read(tmp_path / path)


# Packed files and archives


def test_packed_files_read_like_the_files(tmp_path: Path) -> None:
    for name, text in {"salt.cif": cif(SALT), "POSCAR": COPPER.to(fmt="poscar"), "x.json": json.dumps(ZINC)}.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    taken, dropped = read(tmp_path)
    assert dropped == {}
    assert {origin: c.formula for origin, c in taken.items()} == {
        "POSCAR.gz": "Cu",
        "salt.cif.gz": "ClNa",
        "x.json.gz": "Zn",
    }


def test_a_packed_file_that_is_cut_off_keeps_the_frames_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [bulk("Cu", a=3.6) * (3, 3, 3) for _ in range(200)]
    for frame in frames:
        frame.positions += rng.normal(0, 0.05, (27, 3))
    ase.io.write(tmp_path / "md.xyz", frames, format="extxyz")
    packed = gzip.compress((tmp_path / "md.xyz").read_bytes())
    (tmp_path / "md.xyz").unlink()
    (tmp_path / "md.xyz.gz").write_bytes(packed[: len(packed) // 4])
    (tmp_path / "salt.cif.gz").write_bytes(gzip.compress(cif(SALT).encode())[:100])
    (tmp_path / "copper.cif.gz").write_bytes(b"no gzip file")
    taken, dropped = read(tmp_path, drop_duplicates=False)
    assert 5 < len(taken) < 100
    ended = "Compressed file ended before the end-of-stream marker was reached"
    assert dropped == {
        "copper.cif.gz": "cannot be read: Not a gzipped file (b'no')",
        "md.xyz.gz": f"cannot be read from here on: {ended}",
        "salt.cif.gz": f"cannot be read: {ended}",
    }


def test_a_packed_file_that_swells_absurdly_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "bomb.cif.gz").write_bytes(gzip.compress(bytes(101 << 20), compresslevel=1))
    _, dropped = read(tmp_path)
    assert dropped == {"bomb.cif.gz": "cannot be read: more than 200 times as large unpacked"}


def zipped(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_an_archive_reads_like_a_folder(tmp_path: Path) -> None:
    members = {
        "b/salt.cif": cif(SALT),
        "a.vasp.gz": gzip.compress(COPPER.to(fmt="poscar").encode()),
        "notes.txt": "x",
        "__MACOSX/._a.cif": "x",
        ".hidden/x.cif": "x",
        "broken.cif": "data_x",
    }
    path = zipped(tmp_path / "all.zip", members)
    taken, dropped = read(path)
    assert list(taken) == ["all.zip/a.vasp.gz", "all.zip/b/salt.cif"]
    assert dropped == {"all.zip/broken.cif": "holds no structure"}
    assert read(tmp_path) == (taken, dropped)
    assert list(read(path, recursive=False)[0]) == ["all.zip/a.vasp.gz"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.zip"]


@pytest.mark.parametrize("name", ["../out.cif", "a/../../out.cif", "/etc/out.cif", "..\\out.cif", "C:\\out.cif"])
def test_a_member_that_leads_out_of_the_archive_is_never_read(tmp_path: Path, name: str) -> None:
    zipped(tmp_path / "evil.zip", {name: cif(SALT), "good.cif": cif(COPPER)})
    taken, dropped = read(tmp_path)
    assert list(taken) == ["evil.zip/good.cif"]
    assert dropped == {f"evil.zip/{name}": "unsafe path: it leads out of the archive"}


def _spoil(path: Path, kind: str) -> None:
    """Make the member `bad.cif` of an archive one that must not be read."""
    info = zipfile.ZipInfo("bad.cif")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        if kind == "link":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, bytes(101 << 20) if kind == "bomb" else cif(SALT), zipfile.ZIP_DEFLATED, 1)
        if kind == "locked":
            info.flag_bits |= 1
        if kind == "huge":
            info.file_size = 5 << 30
        if kind == "unknown":
            info.compress_type = 97


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("link", "a symbolic link inside an archive"),
        ("locked", "encrypted"),
        ("bomb", "too large: more than 200 times as large unpacked"),
        ("unknown", "cannot be read: That compression method is not supported"),
    ],
)
def test_members_that_must_not_be_read_are_dropped(tmp_path: Path, kind: str, expected: str) -> None:
    # Some bytes that do not shrink, so that the archive as a whole is not absurd.
    noise = np.random.default_rng(0).bytes(600_000)
    path = zipped(tmp_path / "a.zip", {"good.cif": cif(COPPER), "noise.bin": noise})
    _spoil(path, kind)
    taken, dropped = read(tmp_path)
    assert list(taken) == ["a.zip/good.cif"]
    assert dropped == {"a.zip/bad.cif": expected}


def test_an_archive_that_swells_absurdly_is_dropped_as_a_whole(tmp_path: Path) -> None:
    _spoil(zipped(tmp_path / "a.zip", {"good.cif": cif(COPPER)}), "huge")
    assert read(tmp_path) == ({}, {"a.zip": "archive too large: more than 200 times as large unpacked"})


def test_archives_in_archives_and_broken_ones_are_dropped(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", {"inner.zip": b"PK", "calc.db": b"SQLite format 3"})
    (tmp_path / "b.zip").write_bytes(b"no archive")
    (tmp_path / "c.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-30])
    taken, dropped = read(tmp_path)
    assert taken == {}
    assert dropped == {
        "a.zip/calc.db": "an ASE database inside an archive; unpack it first",
        "a.zip/inner.zip": "an archive inside an archive",
        "b.zip": "cannot be read: File is not a zip file",
        "c.zip": "cannot be read: File is not a zip file",
    }


def test_a_member_whose_bytes_changed_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("salt.cif", cif(SALT))
    path.write_bytes(path.read_bytes().replace(b"5.64", b"5.65"))
    assert read(tmp_path) == ({}, {"a.zip/salt.cif": "cannot be read: Bad CRC-32 for file 'salt.cif'"})


# Databases and documents


@pytest.fixture
def rows() -> list[Atoms]:
    return [bulk("Al"), bulk("NaCl", "rocksalt", a=5.6), molecule("H2O"), bulk("Si") * (2, 1, 1)]


@pytest.mark.parametrize("name", ["calc.db", "calc.json"])
def test_the_rows_of_an_ase_database_are_candidates(tmp_path: Path, rows: list[Atoms], name: str) -> None:
    with ase.db.connect(tmp_path / name) as database:
        for atoms in rows:
            database.write(atoms, data={"trap": np.zeros(3)}, note="x")
    taken, dropped = read(tmp_path)
    assert {o: c.formula for o, c in taken.items()} == {
        f"{name}, row 1": "Al",
        f"{name}, row 2": "ClNa",
        f"{name}, row 4": "Si",
    }
    assert dropped == {f"{name}, row 3": "no lattice in three dimensions"}
    by_frame = [Candidate.of(from_atoms(atoms)) for atoms in rows if atoms.cell.rank == 3]
    assert [c.id for c in taken.values()] == [c.id for c in by_frame]
    assert list(read(tmp_path, name_from="id")[0]) == ["1", "2", "4"]


def test_a_json_file_that_ase_wrote_is_one_of_its_databases(tmp_path: Path, rows: list[Atoms]) -> None:
    ase.io.write(tmp_path / "two.json", rows[:2])
    assert [c.formula for c in read(tmp_path)[0].values()] == ["Al", "ClNa"]


def test_databases_that_are_not_ases_are_dropped_and_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "a-empty.db").write_bytes(b"")
    (tmp_path / "b-thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 1000)
    for name, table in (("c-other.db", "songs"), ("d-old.db", "systems")):
        with closing(sqlite3.connect(tmp_path / name)) as database:
            database.execute(f"CREATE TABLE {table} (id INTEGER)")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    taken, dropped = read(tmp_path)
    assert taken == {}
    assert dropped == {
        "a-empty.db": "not an ASE database: it has no table 'systems'",
        "b-thumbs.db": "cannot be read: file is not a database",
        "c-other.db": "not an ASE database: it has no table 'systems'",
        "d-old.db": "an ASE database in an old format: 0; convert it with python -m ase.db.convert",
    }
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_broken_row_of_a_database_costs_itself_only(tmp_path: Path, rows: list[Atoms]) -> None:
    with ase.db.connect(tmp_path / "calc.db") as database:
        for atoms in rows[:2]:
            database.write(atoms)
    with closing(sqlite3.connect(tmp_path / "calc.db")) as plain:
        plain.execute("UPDATE systems SET numbers = x'0d0000' WHERE id = 1")
        plain.commit()
    taken, dropped = read(tmp_path)
    assert list(taken) == ["calc.db, row 2"]
    assert dropped["calc.db, row 1"].startswith("cannot be read: ValueError: buffer size must be a multiple")


DOCUMENTS = [
    {"material_id": "mp-30", "structure": COPPER.as_dict()},
    {"data": {"task_id": 7, "structure": SALT.as_dict(), "initial_structure": ALLOY.as_dict()}},
    {"note": "no id", "structure": ZINC},
    {"material_id": "mp-30", "structure": ZINC | {"lattice": {"matrix": [[3, 0, 0], [0, 3, 0], [0, 0, 3]]}}},
]


def test_documents_say_their_ids(tmp_path: Path) -> None:
    write(tmp_path / "mp.json", json.dumps(DOCUMENTS))
    taken, dropped = read(tmp_path)
    assert list(taken) == [
        "mp.json, item 1 (mp-30)",
        "mp.json, item 2/data (7)",
        "mp.json, item 3/structure",
        "mp.json, item 4 (mp-30)",
    ]
    assert list(dropped) == ["mp.json, item 2/data (7)/initial_structure"]


def test_documents_may_be_called_by_their_ids_alone_so_that_tables_find_them(tmp_path: Path) -> None:
    write(tmp_path / "mp.json", json.dumps(DOCUMENTS))
    taken, dropped = read(tmp_path, name_from="id")
    assert list(taken) == ["mp-30", "7", "mp.json, item 3/structure"]
    # A value looked up by this id would be of one of the two, and nobody knows of which.
    assert dropped["mp.json, item 4 (mp-30)"] == "the same id: mp-30 is the crystal in mp.json, item 1 (mp-30)"
    write(tmp_path / "one.json", json.dumps(DOCUMENTS[0]))
    assert list(read(tmp_path / "one.json")[0]) == ["one.json, mp-30"]


def test_entries_that_pymatgen_wrote_are_read(tmp_path: Path) -> None:
    entries = [ComputedStructureEntry(s, -1.0, entry_id=f"e-{i}") for i, s in enumerate([COPPER, SALT])]
    write(tmp_path / "entries.json", json.dumps(entries, cls=MontyEncoder))
    assert [c.formula for c in read(tmp_path)[0].values()] == ["Cu", "ClNa"]


def test_real_documents_of_a_benchmark_are_read(tmp_path: Path) -> None:
    path = Path(__file__).parents[1] / "data" / "alexandria_phonons.json.gz"
    taken, dropped = read(path, name_from="id")
    assert len(taken) == 11
    assert taken["mp-2482"].formula == "C2Ca"
    # Two files of one polytype of zinc sulfide.
    source = "alexandria_phonons.json.gz, item 12 (mp-554253)"
    assert dropped == {source: "duplicate: the same crystal as mp-553880"}


def test_a_list_that_breaks_off_keeps_the_documents_before(tmp_path: Path) -> None:
    text = json.dumps([COPPER.as_dict(), SALT.as_dict()])
    write(tmp_path / "cut.json", text[:-40])
    taken, dropped = read(tmp_path)
    assert list(taken) == ["cut.json, item 1"]
    assert dropped["cut.json"].startswith("cannot be read from here on: not JSON: ")


def test_files_of_many_are_read_one_crystal_at_a_time(tmp_path: Path) -> None:
    frames = [bulk("Cu", a=3.0 + 0.001 * i) * (5, 5, 5) for i in range(150)]
    ase.io.write(tmp_path / "md.xyz", frames, format="extxyz")
    with ase.db.connect(tmp_path / "md.db") as database:
        for frame in frames:
            database.write(frame)
    write(tmp_path / "md.json", json.dumps([AseAtomsAdaptor.get_structure(frame).as_dict() for frame in frames[:30]]))
    text = (tmp_path / "md.json").stat().st_size
    limits = {"md.xyz": 2_000_000, "md.db": 2_000_000, "md.json": 4 * text}
    for name, limit in limits.items():
        pool = Structures(Structures.Options(path=tmp_path / name, max_atoms=1, recursive=False))
        next(iter(pool.read()))
        tracemalloc.start()
        try:
            assert sum(1 for _ in pool.read()) >= 30
            assert tracemalloc.get_traced_memory()[1] < limit, name
        finally:
            tracemalloc.stop()


# Numbers that are none


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.cif", cif(SALT).replace("_cell_length_a   5.64000000", "_cell_length_a   nan")),
        ("y.cif", cif(SALT).replace("0.50000000", "nan")),
        ("x.vasp", COPPER.to(fmt="poscar").replace("0.5000000000000000", "nan").replace("0.5 ", "nan ")),
        ("x.json", json.dumps(SALT.as_dict()).replace("0.5", "NaN")),
        ("y.json", json.dumps(SALT.as_dict()).replace("5.64", "NaN")),
        ("x.xyz", '1\nLattice="3 0 0 0 3 0 0 0 nan" Properties=species:S:1:pos:R:3 pbc="T T T"\nCu 0 0 0\n'),
        ("y.xyz", '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 pbc="T T T"\nCu 0 nan 0\n'),
        ("z.xyz", '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 pbc="T T T"\nCu 0 inf 0\n'),
    ],
)
def test_numbers_that_are_not_finite_are_dropped(tmp_path: Path, name: str, text: str) -> None:
    assert "nan" in text.lower() or "inf" in text
    write(tmp_path / name, text)
    taken, dropped = read(tmp_path)
    assert taken == {}
    assert len(dropped) == 1
    ((_, why),) = dropped.items()
    assert re.search("not a finite number|cannot be read|nan|stated formula", why)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("POSCAR", "x\n1.0\n3 0 0\n0 3 0\n0 0 3\nCu\n3000000000\nDirect\n0 0 0\n"),
        ("old.vasp", "x\n1.0\n3 0 0\n0 3 0\n0 0 3\n3000000000\nDirect\n0 0 0\n"),
        ("x.xyz", "3000000000\n\nCu 0 0 0\n"),
        ("y.xyz", "9" * 5000 + "\n\nCu 0 0 0\n"),
    ],
)
def test_a_file_that_boasts_of_billions_of_atoms_takes_no_memory(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path / name, text)
    tracemalloc.start()
    try:
        _, dropped = read(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    ((_, why),) = dropped.items()
    assert re.search(r"fewer lines \(9\) than atoms|fewer lines \(8\)|ends in the middle|not a number of atoms", why)


def test_a_cell_of_thousands_of_atoms_is_dropped_at_once_where_a_limit_is_set(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "large.xyz", bulk("Cu", cubic=True) * (14, 14, 14), format="extxyz")
    start = time.monotonic()
    _, dropped = read(tmp_path, max_atoms=100)
    assert dropped == {"large.xyz, frame 1": "too many atoms: 10976, more than max_atoms = 100"}
    assert time.monotonic() - start < 5.0


# Filters


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    write(tmp_path / "1-salt.cif", cif(SALT))
    write(tmp_path / "2-copper.cif", cif(COPPER))
    write(tmp_path / "3-copper-primitive.vasp", COPPER.get_primitive_structure().to(fmt="poscar"))
    write(tmp_path / "4-copper-strained.cif", cif(COPPER.copy().scale_lattice(COPPER.volume * 1.06)))
    return tmp_path


def test_the_same_crystal_in_another_cell_is_a_duplicate_and_a_strained_one_is_not(mixed: Path) -> None:
    taken, dropped = read(mixed)
    assert list(taken) == ["1-salt.cif", "2-copper.cif", "4-copper-strained.cif"]
    assert dropped == {"3-copper-primitive.vasp": "duplicate: the same crystal as 2-copper.cif"}


def test_duplicates_in_another_cell_may_be_kept_but_no_candidate_comes_twice(mixed: Path) -> None:
    write(mixed / "5-salt-again.cif", cif(SALT))
    taken, dropped = read(mixed, drop_duplicates=False)
    assert len(taken) == 4
    assert dropped == {"5-salt-again.cif": "duplicate: the same as 1-salt.cif"}


def test_only_crystals_of_the_wanted_elements_and_sizes_are_taken(mixed: Path) -> None:
    _, dropped = read(mixed, elements=["Cu", "Na"], max_atoms=3)
    assert dropped["1-salt.cif"] == "other elements: holds Cl"
    assert dropped["2-copper.cif"] == "too many atoms: 4, more than max_atoms = 3"


def test_elements_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no such element: 'Qq'"):
        Structures.Options(path=tmp_path, elements=("Qq",))
