"""What the jobs of the contract suites do. Imported in the job's process, so it imports next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["count_runs", "echo", "fail", "sleep"]


def echo(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs."""
    return dict(inputs)


def fail(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Raise."""
    raise RuntimeError(f"asked to fail with {dict(inputs)}")


def count_runs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Add a line to the file `inputs["file"]`, slowly enough for a second run to overlap."""
    with Path(inputs["file"]).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.2)
    return {}


def sleep(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Start a program, write both process ids into the file `pids`, and sleep for `inputs["seconds"]`."""
    program = subprocess.Popen([sys.executable, "-S", "-c", f"import time; time.sleep({inputs['seconds']})"])
    Path("pids.new").write_text(f"{os.getpid()} {program.pid}", encoding="utf-8")
    Path("pids.new").rename("pids")
    program.wait()
    return {}
