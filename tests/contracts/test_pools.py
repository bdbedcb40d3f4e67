"""Every pool of ours keeps the laws of pools."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase.build import bulk

from active_learning.pools.prototypes import Prototypes
from active_learning.pools.structures import Structures
from active_learning.testing.pools import PoolContract, ReadingPoolContract


class TestPrototypes(PoolContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Prototypes

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"elements": ["Al", "Cu"], "max_atoms": 4}


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
