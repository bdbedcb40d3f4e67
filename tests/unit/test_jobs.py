"""The job directory and the program that runs it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from active_learning.domain.job import JobSpec, Resources
from active_learning.errors import ContractError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import ALREADY_STARTED, execute

FUNCTIONS = """
import os, sys

def work(inputs):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    return {"inputs": dict(inputs), "directory": os.getcwd()}

def leave(inputs):
    sys.exit(3)

def no_json(inputs):
    return {"a set": {1}}

def no_mapping(inputs):
    return 7

def interrupted(inputs):
    raise KeyboardInterrupt
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"functions_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def directory(tmp_path: Path) -> JobDirectory:
    return JobDirectory(tmp_path / "jobs" / "a-1")


def run(directory: JobDirectory, entry: str, inputs: Mapping[str, Any] | None = None) -> int:
    directory.prepare(JobSpec(entry, inputs or {}), "a-1", Resources(60))
    return execute(directory.path)


def test_a_prepared_directory_says_what_is_to_be_done(directory: JobDirectory) -> None:
    spec = JobSpec("m:f", {"x": 1}, {"POSCAR": "text"})
    job = directory.prepare(spec, "a-1", Resources(60))
    body = directory.read_job()
    assert (body["name"], body["entry"], body["inputs"]) == ("a-1", "m:f", {"x": 1})
    assert len(body["hash"]) == 16
    assert set(body["versions"]) == {"motherlode", "python"}
    assert (directory.path / "POSCAR").read_text() == "text"
    assert (job.name, job.directory, job.resources) == ("a-1", directory.path.resolve(), Resources(60))


def test_preparing_twice_writes_the_same(directory: JobDirectory) -> None:
    spec = JobSpec("m:f", {"x": 1})
    first = directory.prepare(spec, "a-1", Resources(60))
    assert directory.job("a-1", Resources(60)) == first
    before = {file.name: file.read_bytes() for file in directory.path.iterdir()}
    assert directory.prepare(spec, "a-1", Resources(60)) == first
    assert {file.name: file.read_bytes() for file in directory.path.iterdir()} == before


def test_nobody_else_may_read_a_job(directory: JobDirectory) -> None:
    directory.prepare(JobSpec("m:f", {}), "a-1", Resources(60))
    assert directory.path.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in directory.path.iterdir())


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/x", ".."])
def test_files_are_written_into_the_directory_only(name: str, directory: JobDirectory) -> None:
    with pytest.raises(ValueError, match="in its directory itself"):
        directory.prepare(JobSpec("m:f", {}, {name: "text"}), "a-1", Resources(60))


@pytest.mark.parametrize("name", ["exit_code", "job.json", "lock"])
def test_a_labelers_files_cannot_pass_for_the_directorys_own(name: str, directory: JobDirectory) -> None:
    with pytest.raises(ValueError, match=f"has its own {name}"):
        directory.prepare(JobSpec("m:f", {}, {name: "0"}), "a-1", Resources(60))


def test_only_one_of_many_starts(directory: JobDirectory) -> None:
    directory.path.mkdir(parents=True)
    assert not directory.has_started
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: directory.start(), range(64)))
    assert claims.count(True) == 1
    assert directory.has_started


def test_a_job_leaves_result_output_and_exit_code(directory: JobDirectory, functions: str) -> None:
    before = Path.cwd()
    assert run(directory, f"{functions}:work", {"x": 1}) == 0
    outcome = directory.outcome()
    assert outcome is not None
    assert (outcome.exit_code, outcome.stderr_tail) == (0, "to stderr")
    assert outcome.result == {"inputs": {"x": 1}, "directory": str(directory.path)}
    assert (directory.path / "stdout").read_text() == "to stdout\n"
    assert Path.cwd() == before


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{}:leave", "SystemExit: 3"),
        ("{}:no_json", "TypeError: Object of type set is not JSON serializable"),
        ("{}:no_mapping", "TypeError: 'int' object is not iterable"),
        ("{}:no_such_function", "has no attribute 'no_such_function'"),
        ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("active_learning.testing.job_functions:fail", "RuntimeError: asked to fail with {}"),
    ],
)
def test_whatever_a_job_raises_is_written_down(
    entry: str, complaint: str, directory: JobDirectory, functions: str
) -> None:
    assert run(directory, entry.format(functions)) == 1
    outcome = directory.outcome()
    assert outcome is not None
    assert (outcome.exit_code, outcome.result) == (1, None)
    assert complaint in outcome.stderr_tail.splitlines()[-1]


def test_an_interrupted_job_has_no_outcome(directory: JobDirectory, functions: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(directory, f"{functions}:interrupted")
    assert directory.has_started
    assert directory.outcome() is None


def test_a_directory_runs_once(directory: JobDirectory, tmp_path: Path) -> None:
    inputs = {"file": str(tmp_path / "runs")}
    assert run(directory, "active_learning.testing.job_functions:count_runs", inputs) == 0
    before = {file.name: file.read_bytes() for file in directory.path.iterdir()}
    assert execute(directory.path) == ALREADY_STARTED
    assert {file.name: file.read_bytes() for file in directory.path.iterdir()} == before
    assert len((tmp_path / "runs").read_text().splitlines()) == 1


@pytest.mark.parametrize("text", ["", "zero", "\xff"])
def test_an_exit_code_that_cannot_be_read_is_no_outcome(text: str, directory: JobDirectory) -> None:
    directory.path.mkdir(parents=True)
    (directory.path / "exit_code").write_text(text, encoding="latin-1")
    assert directory.outcome() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_result_that_cannot_be_read_is_none(content: bytes, directory: JobDirectory) -> None:
    directory.path.mkdir(parents=True)
    directory.finish(0)
    (directory.path / "result.json").write_bytes(content)
    outcome = directory.outcome()
    assert outcome is not None
    assert outcome.result is None


def test_where_the_exit_code_stands_the_result_stands(directory: JobDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.path.mkdir(parents=True)
    written = []
    real = Path.replace

    def note(self: Path, target: Path) -> Path:
        written.append(target.name)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", note)
    directory.finish(0, {"x": 1})
    assert written == ["result.json", "exit_code"]


def test_the_tail_is_the_end_of_a_file(directory: JobDirectory) -> None:
    directory.path.mkdir(parents=True)
    assert directory.tail("stderr") == ""
    directory.write("stderr", "x" * 5000 + "the end\n")
    assert directory.tail("stderr", 10) == "xxthe end"


def test_the_command_runs_the_job_anywhere(directory: JobDirectory, tmp_path: Path) -> None:
    spec = JobSpec("active_learning.testing.job_functions:echo", {"x": 1})
    job = directory.prepare(spec, "a-1", Resources(60))
    subprocess.run(job.command, check=True, cwd=tmp_path)
    outcome = directory.outcome()
    assert outcome is not None
    assert outcome.result == {"x": 1}
    again = subprocess.run(["sh", str(directory.path / "run.sh")], check=False, cwd=tmp_path)
    assert again.returncode == ALREADY_STARTED


def test_the_command_says_how_it_is_used(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "active_learning.jobs", str(tmp_path)]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert told.returncode == os.EX_USAGE
    assert "it holds a job.json" in told.stderr


def test_a_jobs_code_is_also_imported_from_the_folders_it_names(directory: JobDirectory, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "code_of_this_job.py").write_text("def run(inputs):\n    return {'x': 2}\n")
    spec = JobSpec("code_of_this_job:run", {})
    job = directory.prepare(spec, "a-1", Resources(60), python_path=[str(tmp_path / "elsewhere")])
    subprocess.run(job.command, check=True, cwd=tmp_path)
    outcome = directory.outcome()
    assert outcome is not None
    assert outcome.result == {"x": 2}


def test_job_json_is_plain_json(directory: JobDirectory) -> None:
    directory.prepare(JobSpec("m:f", {"x": [1.5, None, "é"]}), "a-1", Resources(60))
    assert json.loads((directory.path / "job.json").read_bytes())["inputs"] == {"x": [1.5, None, "é"]}


def test_a_job_knows_its_cores_and_its_use_is_written_down(directory: JobDirectory, tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text("import os\ndef cores(inputs): return {'n': os.environ['MOTHERLODE_CORES']}\n")
    spec = JobSpec("wide:cores", {})
    directory.prepare(spec, "a-1", Resources(60, cores=3), python_path=[str(tmp_path)])
    before = time.time()
    assert execute(directory.path) == 0
    outcome = directory.outcome()
    assert outcome is not None
    assert outcome.result == {"n": "3"}
    assert outcome.usage is not None
    assert before <= outcome.usage.started <= outcome.usage.ended <= time.time()
    assert outcome.usage.cpu_s > 0
    assert outcome.usage.max_memory_mb > 1
    assert outcome.usage.host == platform.node()


@pytest.mark.parametrize("text", ["", "[]", '{"started": 1}', '{"a": 1'])
def test_an_unreadable_note_of_what_was_used_is_none(directory: JobDirectory, text: str) -> None:
    directory.prepare(JobSpec("m:f", {}), "a-1", Resources(60))
    directory.write("usage.json", text)
    directory.finish(1)
    outcome = directory.outcome()
    assert outcome is not None
    assert outcome.usage is None


@pytest.mark.parametrize(("timeout_s", "cores", "memory_mb"), [(0, 1, None), (60, 0, None), (60, 1, 0)])
def test_resources_without_time_core_or_memory_are_refused(timeout_s: float, cores: int, memory_mb: int | None) -> None:
    with pytest.raises(ContractError, match="some time, a core"):
        Resources(timeout_s, cores, memory_mb)
