"""Oxidation states: matminer's guesses, made once for each composition, kept in a file that several may share."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matminer.featurizers.conversions import CompositionToOxidComposition, StructureToOxidStructure
from pymatgen.core.composition import Composition
from pymatgen.core.structure import Structure

from active_learning.domain.candidate import Candidate
from active_learning.errors import ContractError, StoreError
from active_learning.featurizers import oxidation
from active_learning.featurizers.matminer import Matminer
from active_learning.featurizers.oxidation import OxidationMemory, whole_amounts

FILE = "oxidation_states.db"
MAGNETITE = {"Fe": 3.0, "O": 4.0}


def change(folder: Path, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
    with closing(sqlite3.connect(folder / FILE)) as connection, connection:
        return connection.execute(statement, values).fetchall()


@pytest.fixture
def no_guessing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it, and from then on nothing can be guessed, only remembered."""

    def refuse(whole: Mapping[str, float]) -> Any:
        raise AssertionError(f"guessed {whole} again")

    return lambda: monkeypatch.setattr(oxidation, "_guessed", refuse)


def test_they_are_matminers_for_crystals_and_for_compositions(structures: list[Structure]) -> None:
    memory = OxidationMemory()
    n_charged = 0
    for structure in structures:
        guess = memory.guess(structure.composition.get_el_amt_dict())
        theirs = StructureToOxidStructure().featurize(structure.copy())[0]
        assert guess.means == {site.specie.symbol: site.specie.oxi_state for site in theirs}
        composition = CompositionToOxidComposition().featurize(structure.composition)[0]
        assert guess.composition.fractional_composition.almost_equals(composition.fractional_composition)
        n_charged += any(guess.means.values())
    assert n_charged > 20


@pytest.mark.parametrize("formula", ["Fe3O4", "Li2O2", "O2", "N2", "Fe", "Al2Cu", "KNO3", "CrCoFeNi", "H2O"])
def test_they_are_matminers_for_mixed_valence_peroxides_elements_and_alloys(formula: str) -> None:
    composition = Composition(formula)
    guess = OxidationMemory().guess(composition.get_el_amt_dict())
    assert guess.composition == CompositionToOxidComposition().featurize(composition)[0]


def test_mixed_valence_has_whole_states_for_the_atoms_and_their_mean_for_the_element() -> None:
    guess = OxidationMemory().guess(MAGNETITE)
    assert guess.sites == {"Fe": (2, 3, 3), "O": (-2, -2, -2, -2)}
    assert guess.means == {"Fe": pytest.approx(8 / 3), "O": -2.0}
    assert sum(guess.mean_composition.values()) == 7.0


@pytest.mark.parametrize(
    ("amounts", "whole"),
    [
        ({"Al": 4.0, "O": 6.0}, {"Al": 2.0, "O": 3.0}),
        ({"Al": 0.4, "O": 0.6}, {"Al": 2.0, "O": 3.0}),
        ({"A": 1 / 3, "B": 2 / 3}, {"A": 1.0, "B": 2.0}),
        ({"A": 0.3, "B": 0.35, "C": 0.35}, {"A": 6.0, "B": 7.0, "C": 7.0}),
        ({"A": 0.333, "B": 0.667}, {"A": 0.333, "B": 0.667}),
        ({"A": 7.0}, {"A": 1.0}),
    ],
)
def test_proportions_of_whole_numbers_are_recognized(amounts: dict[str, float], whole: dict[str, float]) -> None:
    assert whole_amounts(amounts) == whole


def test_what_cannot_be_guessed_says_why() -> None:
    memory = OxidationMemory()
    with pytest.raises(ContractError, match="for whole numbers of atoms only"):
        memory.guess({"Fe": 0.333, "O": 0.667})
    with pytest.raises(ContractError, match="up to 50 atoms in the reduced formula, here are 51"):
        memory.guess({"Fe": 50.0, "O": 1.0})
    assert memory.guess({"Fe": 100.0, "O": 100.0}).means == {"Fe": 2.0, "O": -2.0}


def test_each_composition_is_guessed_once_and_remembered_by_the_next_process(tmp_path: Path, no_guessing: Any) -> None:
    first = OxidationMemory(tmp_path / "new" / "folder").guess(MAGNETITE)
    none = OxidationMemory(tmp_path / "new" / "folder").guess({"Al": 2.0, "Cu": 1.0})
    no_guessing()
    memory = OxidationMemory(tmp_path / "new" / "folder")
    assert memory.guess({"Fe": 6.0, "O": 8.0}) == first
    assert memory.guess({"Al": 4.0, "Cu": 2.0}) == none
    assert none.means == {"Al": 0.0, "Cu": 0.0}
    rows = change(tmp_path / "new" / "folder", "SELECT formula, states FROM oxidation_states ORDER BY formula")
    assert rows == [("Al2Cu1", "none"), ("Fe3O4", '{"Fe": [2, 3, 3], "O": [-2, -2, -2, -2]}')]


def test_another_versions_guesses_are_not_taken(tmp_path: Path, no_guessing: Any) -> None:
    OxidationMemory(tmp_path).guess(MAGNETITE)
    change(tmp_path, "UPDATE oxidation_states SET guesser = 'pymatgen 1066.10.14'")
    no_guessing()
    with pytest.raises(AssertionError, match="again"):
        OxidationMemory(tmp_path).guess(MAGNETITE)


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"these are no oxidation states, and never were" * 100)
    with pytest.raises(StoreError, match=r"oxidation_states\.db are damaged: file is not a database\. Remove the file"):
        OxidationMemory(tmp_path)


def test_a_torn_file_is_reported(tmp_path: Path) -> None:
    OxidationMemory(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        rows = [(f"X{number}", "nobody", "none" * 50) for number in range(500)]
        connection.executemany("INSERT INTO oxidation_states VALUES (?, ?, ?)", rows)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="are damaged: "):
        OxidationMemory(tmp_path)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ("{", "its row for Fe3O4 cannot be read"),
        ("[1, 2]", "its row for Fe3O4 cannot be read"),
        ('{"Fe": ["x", 1, 2], "O": [1, 1, 1, 1]}', "its row for Fe3O4 cannot be read"),
        ('{"Fe": [3, 3], "O": [-2, -2, -2]}', "its row for Fe3O4 is about other atoms"),
    ],
)
def test_a_damaged_row_is_reported_and_not_taken(tmp_path: Path, states: str, message: str) -> None:
    OxidationMemory(tmp_path).guess(MAGNETITE)
    change(tmp_path, "UPDATE oxidation_states SET states = ?", (states,))
    with pytest.raises(StoreError, match=message):
        OxidationMemory(tmp_path).guess(MAGNETITE)


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreError, match="cannot be read or written: unable to open database file"):
        OxidationMemory(tmp_path)


def test_several_processes_share_the_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from active_learning.featurizers.oxidation import OxidationMemory\n"
        "for n in range(1, 25):\n"
        "    OxidationMemory(Path(sys.argv[1])).guess({'Li': float(n), 'O': 4.0, 'P': 1.0})\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(3)]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()[-2000:]
    assert change(tmp_path, "SELECT count(*), count(DISTINCT formula) FROM oxidation_states") == [(24, 24)]
    assert change(tmp_path, "PRAGMA journal_mode") == [("delete",)]


def test_a_featurizer_with_a_memory_guesses_once_for_all_its_descriptors(
    tmp_path: Path, crystals: list[Candidate], no_guessing: Any
) -> None:
    sets = ["oxidation_states", "ewald_energy", {"name": "ion_property", "oxidation_states": True}]
    expected = Matminer(Matminer.Options(sets=sets)).featurize(crystals)
    first = Matminer(Matminer.Options(sets=sets)).with_memory(tmp_path)
    first.parts[0].featurize([Candidate(crystal.amounts) for crystal in crystals])
    no_guessing()
    again = Matminer(Matminer.Options(sets=sets)).with_memory(tmp_path).featurize(crystals)
    np.testing.assert_array_equal(again.values, expected.values)
    assert again.failures == expected.failures


def test_a_featurizer_that_needs_no_oxidation_states_keeps_no_file(tmp_path: Path) -> None:
    built = Matminer(Matminer.Options(sets=["magpie", "density"])).with_memory(tmp_path / "memory")
    assert built.featurize([Candidate({"Al": 1.0})]).values.shape == (1, 135)
    assert not (tmp_path / "memory").exists()


def test_a_damaged_memory_is_no_candidates_fault(tmp_path: Path) -> None:
    built = Matminer(Matminer.Options(sets=["oxidation_states"])).with_memory(tmp_path)
    (tmp_path / FILE).write_bytes(b"gone" * 2000)
    with pytest.raises(StoreError, match="are damaged"):
        built.featurize([Candidate(MAGNETITE)])
