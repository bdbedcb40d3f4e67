"""Every pool of ours keeps the laws of pools."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import pytest
from ase.build import bulk
from web_servers import KEY, Materials, OptimadeServer, Server, material, optimade_server, serving

from active_learning.pools.compositions import Compositions
from active_learning.pools.materials_project import MaterialsProject
from active_learning.pools.optimade import Optimade
from active_learning.pools.prototypes import Prototypes
from active_learning.pools.structures import Structures
from active_learning.pools.substitution import Substitution
from active_learning.pools.table import Table
from active_learning.testing.pools import KnowsLabelsContract, PoolContract, ReadingPoolContract

PHONONS = Path(__file__).parents[1] / "data" / "alexandria_phonons.json.gz"


class TestPrototypes(PoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Prototypes

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"elements": ["Al", "Cu"], "max_atoms": 4}


class TestPrototypesOfChoice(PoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Prototypes

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        chosen = {"prototypes": ["rocksalt", "A15"], "families": ["perovskite"], "max_atoms": 10}
        return {"elements": ["Mg", "Si", "O"], **chosen, "charge_neutral": True, "volume_factors": [0.95, 1.0]}


class TestCompositions(PoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Compositions

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"elements": ["Al", "Ni", "Fe"], "step": 0.1, "bounds": {"Al": [0.0, 0.3], "Ni": [0.1, 0.8]}}


class TestCompositionsOfCompounds(PoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Compositions

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"elements": ["Li", "Mn", "O"], "amounts": "integers", "max_coefficient": 3, "charge_neutral": True}


class TestSubstitution(ReadingPoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Substitution

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "crystals"
        folder.mkdir()
        ase.io.write(folder / "halite.vasp", bulk("NaCl", "rocksalt", a=5.64), format="vasp")
        ase.io.write(folder / "periclase.cif", bulk("MgO", "rocksalt", a=4.21))
        ase.io.write(folder / "copper.cif", bulk("Cu"))
        return folder

    @pytest.fixture
    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"path": str(folder), "threshold": 0.005}

    @pytest.fixture
    def spoiled(self, folder: Path, tmp_path: Path) -> Mapping[str, Any]:
        copy = tmp_path / "spoiled"
        shutil.copytree(folder, copy)
        (copy / "broken.cif").write_text("data_broken\n_atom_site_fract_x\n0.0 0.0\n", encoding="utf-8")
        return {"path": str(copy), "threshold": 0.005}

    @pytest.fixture
    def nothing(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"path": str(tmp_path / "no such folder")}


class TestStructures(ReadingPoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Structures

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "crystals"
        folder.mkdir()
        ase.io.write(folder / "copper.vasp", bulk("Cu"), format="vasp")
        ase.io.write(folder / "metals.xyz", [bulk("Al"), bulk("Cu"), bulk("Fe")], format="extxyz")
        ase.io.write(folder / "silicon.cif", bulk("Si"))
        return folder

    @pytest.fixture
    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"path": str(folder)}

    @pytest.fixture
    def spoiled(self, folder: Path, tmp_path: Path) -> Mapping[str, Any]:
        copy = tmp_path / "spoiled"
        shutil.copytree(folder, copy)
        (copy / "broken.cif").write_text("data_broken\n_atom_site_fract_x\n0.0 0.0\n", encoding="utf-8")
        return {"path": str(copy)}

    @pytest.fixture
    def nothing(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"path": str(tmp_path / "no such folder")}


class TestStructuresInArchivesAndDatabases(TestStructures):
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "crystals"
        folder.mkdir()
        with ase.db.connect(folder / "metals.db") as database:
            database.write(bulk("Al"))
            database.write(bulk("Cu"))
        with zipfile.ZipFile(folder / "more.zip", "w") as archive:
            ase.io.write(tmp_path / "silicon.cif", bulk("Si"))
            archive.write(tmp_path / "silicon.cif", "deep/silicon.cif")
            archive.writestr("../evil.cif", "data_x")
        shutil.copy(PHONONS, folder)
        return folder

    @pytest.fixture
    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"path": str(folder), "name_from": "id", "min_atoms": 1, "max_atoms": 10, "charge_neutral": True}

    @pytest.fixture
    def spoiled(self, options: Mapping[str, Any], folder: Path, tmp_path: Path) -> Mapping[str, Any]:
        copy = tmp_path / "spoiled"
        shutil.copytree(folder, copy)
        (copy / "broken.db").write_bytes(b"no database")
        return {**options, "path": str(copy)}


class TestTable(KnowsLabelsContract, ReadingPoolContract):
    TEXT = "formula,x,y\nAl,1.0,2.5\nCu3Au,,3.5\nNaN,2.0,\nXx2,1,1\nAu2Cu6,3,3.5\n"

    @pytest.fixture
    def plugin(self) -> Any:
        return Table

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, Any]:
        path = tmp_path / "alloys.csv"
        path.write_text(self.TEXT, encoding="utf-8")
        return {"path": str(path), "descriptors": ["x"], "label": "y", "unit": "GPa"}

    @pytest.fixture
    def spoiled(self, options: Mapping[str, Any], tmp_path: Path) -> Mapping[str, Any]:
        path = tmp_path / "spoiled.csv"
        path.write_text(self.TEXT + "Al,1,2,3\n", encoding="utf-8")
        return {**options, "path": str(path)}

    @pytest.fixture
    def nothing(self, options: Mapping[str, Any], tmp_path: Path) -> Mapping[str, Any]:
        return {**options, "path": str(tmp_path / "no such table.csv")}


class TestTableOfCrystals(TestTable):
    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        columns = {"structure": "structure", "name": "mp_id", "label": "heat_capacity"}
        return {"path": str(PHONONS), **columns, "unit": "J/mol/K", "duplicates": "median", "max_atoms": 60}

    @pytest.fixture
    def spoiled(self, options: Mapping[str, Any], tmp_path: Path) -> Mapping[str, Any]:
        path = tmp_path / "spoiled.json"
        documents = json.loads(gzip.decompress(PHONONS.read_bytes()))
        path.write_text(json.dumps([*documents, {"structure": {"lattice": 1}}]), encoding="utf-8")
        return {**options, "path": str(path)}


@pytest.fixture(scope="module")
def optimade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OptimadeServer]:
    with optimade_server(tmp_path_factory.mktemp("optimade")) as server:
        yield server


class TestOptimade(ReadingPoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Optimade

    @pytest.fixture
    def options(self, optimade: OptimadeServer, tmp_path: Path) -> Mapping[str, Any]:
        shared = {"url": optimade.url, "page_size": 2, "cache": str(tmp_path / "cache")}
        return shared | {"filter": 'id CONTAINS "good/"'}

    @pytest.fixture
    def spoiled(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "filter": 'id CONTAINS "good/" OR id="bad/lattice"'}

    @pytest.fixture
    def nothing(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "filter": 'id="none"'}


class TestMaterialsProject(ReadingPoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return MaterialsProject

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        monkeypatch.setenv("MP_API_KEY", KEY)
        whole = [material("mp-1", ["Al", "Ni"]), material("mp-2", ["Cu"]), material("mp-3", ["Cu", "Au"])]
        with serving(Materials([*whole, material("mp-4", ["Ag"], structure={"lattice": {}})])) as server:
            yield server

    @pytest.fixture
    def options(self, server: Server, tmp_path: Path) -> Mapping[str, Any]:
        shared = {"url": server.url, "page_size": 2, "cache": str(tmp_path / "cache")}
        return shared | {"elements": ["Al", "Au", "Cu", "Ni"]}

    @pytest.fixture
    def spoiled(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "elements": ["Ag", "Al", "Au", "Cu", "Ni"]}

    @pytest.fixture
    def nothing(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "elements": ["Xe"]}
