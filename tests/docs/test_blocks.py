"""What the README and the docs show is run: files are written, commands and code are executed, tables are assembled.

In a page, a ``python`` or ``toml`` block whose first line is a comment with a path is that file, and so is any block
after ``<!-- file: path -->``. Other ``python`` blocks are run one after the other in one namespace; other ``toml``
blocks are tables of a campaign file, and pools that need no server are read. ``bash`` blocks are run line by line. A
block after ``<!-- not run: reason -->`` is not run; its commands must still exist.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import pytest

from active_learning.config import read_campaign_file
from active_learning.domain.candidate import Candidate
from active_learning.domain.protocols import KnowsLabels
from active_learning.engine.assembly import assemble
from flows.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(
    r"(?:^<!-- (?:not run: (?P<reason>[^\n]+?)|file: (?P<file>\S+)) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_PATH = re.compile(r"# (\S+\.(?:py|toml))\n")


@dataclass(frozen=True)
class Block:
    """A block of a page, and the line it begins on."""

    language: str
    body: str
    line: int
    reason: str | None
    file: str | None = None

    @property
    def path(self) -> str | None:
        """The file that it is, if it says so."""
        found = _PATH.match(self.body)
        return found[1] if found else self.file


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["body"], text.count("\n", 0, found.start()) + 1, found["reason"], found["file"])
        for found in _BLOCK.finditer(text)
    ]


def _commands(body: str) -> list[str]:
    """The lines of a bash block, continued lines joined, without comments."""
    lines = body.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    known = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def _write_files(page: Path, folder: Path) -> list[Path]:
    written = []
    for block in blocks_of(page):
        if block.path is not None:
            file = folder / block.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body, encoding="utf-8")
            written.append(file)
    return written


def _run_command(line: str, motherlode: Any, folder: Path) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "motherlode" and not set("|<>&;$`") & set("".join(words)):
        done = motherlode(*words[1:], cwd=folder)
        assert done.status == 0, f"{line}\n{done.out}{done.err}"
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.run(
        ["bash", "-ec", line], cwd=folder, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert shell.returncode == 0, f"{line}\n{shell.stdout}{shell.stderr}"


@pytest.fixture(scope="session")
def readme_folder(tmp_path_factory: pytest.TempPathFactory, motherlode: Any) -> Path:
    """Where every command of the README was run, in its order."""
    folder = tmp_path_factory.mktemp("readme")
    _write_files(ROOT / "README.md", folder)
    for block in blocks_of(ROOT / "README.md"):
        if block.language != "bash":
            continue
        if block.reason is not None:
            print(f"README.md:{block.line} not run: {block.reason}")
            continue
        for line in _commands(block.body):
            _run_command(line, motherlode, folder)
    return folder


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_their_order(readme_folder: Path) -> None:
    labels = (readme_folder / "bonds" / "labels.csv").read_text().splitlines()
    budget = tomllib.loads((readme_folder / "bonds" / "campaign.toml").read_text())["stopping"]["any"][0]["max"]
    assert len(labels) == 1 + budget
    assert (readme_folder / "bonds" / "bonds.campaign" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_console_script_is_installed_and_speaks_json(readme_folder: Path) -> None:
    command = [str(Path(sys.executable).with_name("motherlode")), "status", "bonds/campaign.toml", "--json"]
    done = subprocess.run(command, cwd=readme_folder, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    page = (ROOT / "docs" / "files-and-guarantees.md").read_text(encoding="utf-8")
    section = page.partition("## `status --json`")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(found)


@pytest.mark.slow
def test_the_files_that_the_docs_name_are_there(readme_folder: Path) -> None:
    page = (ROOT / "docs" / "files-and-guarantees.md").read_text(encoding="utf-8")
    workdir = readme_folder / "bonds" / "bonds.campaign"
    (job,) = list((workdir / "jobs").iterdir())[:1]
    for heading, folder in (("## The workdir", workdir), ("## A job directory", job)):
        section = page.partition(heading)[2].partition("\n## ")[0]
        named = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
        assert named, f"no table under '{heading}'"
        optional = {"campaign.db-wal", "ended_by", "features", "memory"}
        missing = [
            name for name in named if name not in optional and not list(folder.glob(re.sub(r"<\w+>", "*", name)))
        ]
        assert missing == []


def _every_command() -> list[Any]:
    return [
        pytest.param(line, id=f"{page.name}:{block.line}:{line[:40]}")
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "bash"
        for line in _commands(block.body)
        if line.startswith("motherlode")
    ]


@pytest.mark.parametrize("line", _every_command())
def test_every_command_shown_exists_with_its_options(line: str) -> None:
    words = [word for word in shlex.split(line, comments=True)[1:] if not re.search("[<>|]", word)]
    words = [word for word in words if word not in ("--help", "-h", "--version")]
    context = click.Context(cli, info_name="motherlode")
    while words and words[0] == "--debug":
        words.pop(0)
    assert words, f"no command in: {line}"
    command = cli.get_command(context, words[0])
    assert command is not None, f"there is no command {words[0]}"
    command.make_context(words[0], words[1:], parent=context)


def _pages_with(is_wanted: Callable[[Block], bool]) -> list[Any]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if any(is_wanted(block) for block in blocks_of(page))
    ]


@pytest.mark.parametrize("page", _pages_with(lambda block: block.language == "python" and block.path is None))
def test_the_python_of_a_page_runs(page: Path, here: Path) -> None:
    _write_files(page, here)
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(page):
        if block.language == "python" and block.path is None and block.reason is None:
            code = "\n" * block.line + block.body
            exec(compile(code, page.name, "exec"), namespace)


@pytest.mark.parametrize("page", _pages_with(lambda block: block.language == "toml" and block.path is None))
def test_the_tables_of_a_page_are_parts_of_a_campaign_file(page: Path, here: Path, write_campaign: Any) -> None:
    _write_files(page, here)
    for block in blocks_of(page):
        if block.language == "toml" and block.path is None:
            assemble(read_campaign_file(write_campaign(here, **tomllib.loads(block.body))))


def _pools() -> list[Any]:
    page = ROOT / "docs" / "pools.md"
    return [
        pytest.param(tables, id=tables["pool"]["kind"])
        for tables in (tomllib.loads(b.body) for b in blocks_of(page) if b.language == "toml" and b.path is None)
        if tables["pool"]["kind"] not in ("optimade", "materials_project")
    ]


@pytest.mark.parametrize("tables", _pools())
def test_the_pools_of_the_docs_that_need_no_server_hold_candidates(
    tables: dict[str, Any], here: Path, write_campaign: Any
) -> None:
    _write_files(ROOT / "docs" / "pools.md", here)
    (here / "structures").mkdir()
    for name, text in _SALTS.items():
        (here / "structures" / name).write_text(text)
    pool = assemble(read_campaign_file(write_campaign(here, **tables))).pool
    taken = [item for item in islice(pool.read(), 200) if isinstance(item, Candidate)]
    assert len(taken) >= 2
    if isinstance(pool, KnowsLabels) and tables["pool"].get("label"):
        known = dict(pool.known_labels(tables["target"]["property"]))
        assert 0 < len(known) < len(taken)


_SALTS = {
    f"{cation}{anion}.vasp": f"""{cation}{anion}
{length}
0 .5 .5
.5 0 .5
.5 .5 0
{cation} {anion}
1 1
Direct
0 0 0
.5 .5 .5
"""
    for cation, anion, length in (("Li", "F", 4.03), ("Mg", "O", 4.21), ("Na", "F", 4.63))
}
"""Rock salt, as POSCAR files."""


def test_the_plug_ins_of_the_docs_keep_the_laws_that_their_tests_check(here: Path) -> None:
    tests = [file for file in _write_files(ROOT / "docs" / "plugins.md", here) if file.name.startswith("test_")]
    assert len(tests) == 4
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(file.name for file in tests)],
        cwd=here,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_submitter_of_the_guide_is_certified_as_it_says(here: Path) -> None:
    page = ROOT / "docs" / "your-submitter.md"
    (suite,) = [file for file in _write_files(page, here) if file.name.startswith("test_")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite.name],
        cwd=here,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    shown = re.search(r"^[.s]+ +\[100%\]$", done.stdout, re.MULTILINE)
    assert shown is not None
    assert shown[0].split()[0] in page.read_text(encoding="utf-8")


def test_every_block_has_a_known_language() -> None:
    unknown = [
        f"{page.name}:{block.line} {block.language}"
        for page in PAGES
        for block in blocks_of(page)
        if block.language not in ("bash", "python", "toml", "")
    ]
    assert unknown == []
