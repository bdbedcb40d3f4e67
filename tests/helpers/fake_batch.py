"""Batch systems that are a few lines each: programs on PATH that answer from files, and note how they were called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["FakePrograms"]

_PROGRAM = """#!{python} -S
import json, os, sys, time
folder, name = {folder!r}, os.path.basename(sys.argv[0])
kept = {{key: os.environ[key] for key in os.environ if key.startswith(("SLURM_", "SBATCH_", "SQUEUE_")) or key == "TZ"}}
with open(folder + "/calls", "a") as file:
    file.write(json.dumps([name, sys.argv[1:], os.getcwd(), kept]) + "\\n")
try:
    answers = json.load(open(folder + "/" + name + ".json"))
except FileNotFoundError:
    answers = {{}}
told = answers.get(" ".join(sys.argv[1:]), answers.get("", {{}}))
answer = {{"out": "", "err": "", "status": 0, "seconds": 0}} | told
time.sleep(answer["seconds"])
sys.stdout.buffer.write(answer["out"].encode("latin-1"))
sys.stderr.write(answer["err"])
sys.exit(answer["status"])
"""


@dataclass(frozen=True)
class FakePrograms:
    """Programs in a folder that is put first on PATH.

    Parameters
    ----------
    folder : empty
    """

    folder: Path

    def install(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        """Make the programs; until they are told otherwise they say nothing and succeed."""
        for name in names:
            path = self.folder / name
            path.write_text(_PROGRAM.format(python=sys.executable, folder=str(self.folder)), encoding="utf-8")
            path.chmod(0o700)
        monkeypatch.setenv("PATH", f"{self.folder}:{os.environ['PATH']}")

    def answer(
        self, name: str, out: str = "", *, err: str = "", status: int = 0, seconds: float = 0.0, to: str = ""
    ) -> None:
        """What a program answers from now on; `to` are the arguments it is for, all if empty."""
        path = self.folder / f"{name}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        known[to] = {"out": out, "err": err, "status": status, "seconds": seconds}
        path.write_text(json.dumps(known), encoding="utf-8")

    def calls(self, name: str) -> list[tuple[list[str], str, Mapping[str, str]]]:
        """Arguments, working directory and variables of the calls of a program."""
        path = self.folder / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(rest[0], rest[1], rest[2]) for called, *rest in map(json.loads, lines) if called == name]
