"""The pool `structures`: every kind of file, and every kind of broken file."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pydantic import ValidationError
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifWriter

from active_learning.domain.candidate import Candidate, Dropped
from active_learning.errors import UserError
from active_learning.pools.structures import Structures

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]])
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ALLOY = Structure(Lattice.cubic(3.8), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])


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
