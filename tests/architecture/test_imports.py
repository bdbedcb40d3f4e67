"""Who may import whom, and what a quick command must not load."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 broken" in done.stdout


def test_a_contract_that_is_broken_is_found(tmp_path: Path) -> None:
    """The linter's answer means something: a module of `domain` that imports `os` breaks a contract."""
    package = tmp_path / "inner"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "bad.py").write_text("import os\n")
    config = "[importlinter]\nroot_package = inner\ninclude_external_packages = True\n"
    contract = "[importlinter:contract:1]\nname = x\ntype = forbidden\nsource_modules = inner\nforbidden_modules = os\n"
    (tmp_path / ".importlinter").write_text(config + contract)
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stdout + done.stderr


def test_docker_is_no_package_that_shadows_the_one_that_prefect_needs() -> None:
    found = importlib.util.find_spec("docker")
    assert found is not None
    assert found.origin is not None, "a regular package, not a folder that happens to be called so"
    assert not Path(found.origin).is_relative_to(ROOT / "docker")
    assert not list((ROOT / "docker").rglob("*.py"))


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import active_learning.api.status", "prefect pymatgen matminer sklearn pandas ase modAL matplotlib"),
        ("import flows.cli.status", "prefect pymatgen matminer sklearn pandas ase modAL matplotlib"),
        ("import active_learning.api.campaign", "prefect pymatgen matminer ase modAL matplotlib"),
        ("import active_learning.jobs.runner", "prefect pymatgen sqlalchemy sklearn pandas numpy"),
        ("import active_learning.engine.featurize_worker", "prefect pymatgen matminer sklearn pandas ase"),
    ],
)
def test_what_must_be_quick_loads_nothing_heavy(statement: str, forbidden: str) -> None:
    loaded = _modules_after(statement)
    assert "active_learning" in loaded
    assert loaded.isdisjoint(forbidden.split()), sorted(loaded & set(forbidden.split()))
