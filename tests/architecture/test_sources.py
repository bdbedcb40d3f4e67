"""What may not stand in the sources, and what the distribution holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("active_learning", "tasks", "flows")
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
_PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}


def _sins(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Import(names=names):
                yield from (f"{line}: import {n.name}" for n in names if n.name.split(".")[0] in _PICKLES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in _PICKLES:
                yield f"{line}: from {module}"
            case ast.ImportFrom(module="joblib", names=names) if {n.name for n in names} & {"dump", "load"}:
                yield f"{line}: joblib pickles"
            case ast.Attribute(value=ast.Name(id="joblib"), attr="dump" | "load"):
                yield f"{line}: joblib pickles"
            case ast.Attribute(value=ast.Name(id="os"), attr="system" | "popen"):
                yield f"{line}: a shell"
            case ast.keyword(arg="shell", value=value) if not _is(value, False):
                yield f"{value.lineno}: shell="
            case ast.keyword(arg="allow_pickle", value=value) if not _is(value, False):
                yield f"{value.lineno}: allow_pickle="
            case ast.ExceptHandler(type=None):
                yield f"{line}: a bare except"
            case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
                yield f"{line}: {name}"


def _is(value: ast.expr, wanted: object) -> bool:
    return isinstance(value, ast.Constant) and value.value is wanted


def test_the_sources_are_there() -> None:
    assert len(SOURCES) > 100


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_pickles_starts_a_shell_or_swallows_every_exception(package: str) -> None:
    files = [file for file in SOURCES if file.is_relative_to(ROOT / package)]
    found = [f"{file.relative_to(ROOT)}:{sin}" for file in files for sin in _sins(ast.parse(file.read_bytes()))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib\njoblib.dump(x, y)",
        "from joblib import load",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=flag)",
        "np.load(x, allow_pickle=True)",
        "import os\nos.system('ls')",
        "try:\n    x\nexcept:\n    pass",
        "eval(x)",
    ],
)
def test_the_scan_finds_what_it_is_for(source: str) -> None:
    assert list(_sins(ast.parse(source)))


def test_numpy_files_are_read_with_pickles_refused() -> None:
    """`numpy.load` refuses pickles unless told otherwise; that it is said in each place keeps it so."""
    loads = re.compile(r"np\.load\((?!.*allow_pickle=False)")
    found = [file.name for file in SOURCES if any(loads.search(line) for line in file.read_text().splitlines())]
    assert found == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in the wheel, built with what is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not re.fullmatch(r"motherlode-[0-9.]+\.dist-info", top)} == set(PACKAGES)
    assert not [name for name in wheel if name.endswith((".db", ".pyc", ".log"))]


def test_the_wheel_holds_every_file_of_the_packages(wheel: set[str]) -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file()]
    expected = {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
    assert expected <= wheel
    assert "active_learning/store/migrations/versions/0001_first.py" in wheel
    assert [name for name in wheel if name.startswith("flows/templates/") and name.endswith(".toml")]
    assert [name for name in wheel if name.startswith("active_learning/reporting/templates/")]
    assert [name for name in wheel if name.endswith(".dist-info/entry_points.txt")]


def test_the_lock_file_has_no_address_in_it() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 50
    assert [line for line in pins if not re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^\s/]+( ; .*)?$", line)] == []
    assert [line for line in lines if re.search(r"://|index-url|find-links|@ ", line)] == []
