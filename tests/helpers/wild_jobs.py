"""Jobs that misbehave, for the tests of submitters. Imported in the job's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from active_learning.domain.job import Job, JobSpec, Resources
from active_learning.jobs import JobDirectory

_NAP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


def make_job(
    folder: Path,
    function: str,
    inputs: Mapping[str, Any] | None = None,
    *,
    name: str = "a-1",
    timeout_s: float = 120.0,
    **resources: Any,
) -> Job:
    """A job in `folder`/jobs/`name` that runs a function of this module."""
    spec = JobSpec(f"wild_jobs:{function}", inputs or {})
    limits = Resources(timeout_s, **resources)
    return JobDirectory(folder / "jobs" / name).prepare(spec, name, limits, python_path=[str(Path(__file__).parent)])


def leave(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """End the process with a status."""
    os._exit(inputs["status"])


def die(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """End the process by a signal."""
    os.kill(os.getpid(), inputs["signal"])
    time.sleep(60)
    return {}


def finish_and_die(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Be killed after the outcome was written."""
    JobDirectory(Path.cwd()).finish(0, {"x": 1})
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def stubborn(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """As `family`, deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return family(inputs)


def family(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Run programs: in the job's process group, in one of its own, and a grandchild; write `pids`, all of them."""
    shell = ["sh", "-c", "sleep 600 & echo $! > shell.new; mv shell.new shell.pid; wait"]
    programs = [subprocess.Popen(_NAP), subprocess.Popen(_NAP, process_group=0), subprocess.Popen(shell)]
    while not Path("shell.pid").exists():
        time.sleep(0.01)
    pids = [os.getpid(), *(p.pid for p in programs), int(Path("shell.pid").read_text())]
    Path("pids.new").write_text(" ".join(map(str, pids)))
    Path("pids.new").rename("pids")
    if inputs.get("leave_them"):
        return {}
    time.sleep(600)
    return {}


def stamps(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Sleep, and say when it began and ended."""
    begin = time.monotonic()
    time.sleep(inputs["seconds"])
    return {"begin": begin, "end": time.monotonic()}


def count_runs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Add a line to a file."""
    with Path(inputs["file"]).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    return {"x": 1}


def run_away(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Leave a program behind that made its own session and inherits what a C library would let it inherit."""
    program = subprocess.Popen(_NAP, start_new_session=True, close_fds=False)
    return {"pid": program.pid}


def devour(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Take memory, in so many processes, and stay; write `pids`."""
    hold = f"import time; block = bytearray({inputs['mb']} * 10**6); print(flush=True); time.sleep(600)"
    programs = [
        subprocess.Popen([sys.executable, "-S", "-c", hold], stdout=subprocess.PIPE) for _ in range(inputs["processes"])
    ]
    Path("pids.new").write_text(" ".join(str(p.pid) for p in programs))
    Path("pids.new").rename("pids")
    time.sleep(600)
    return {}


def circumstances(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Tell what the process finds around itself."""
    subprocess.run(["sh", "-c", "echo from a program; echo complaint >&2"], check=True)
    return {
        "threads": [os.environ.get(f"{name}_NUM_THREADS") for name in ("OMP", "OPENBLAS", "MKL")],
        "cores": os.environ["MOTHERLODE_CORES"],
        "nice": os.nice(0),
        "leads": os.getpid() == os.getsid(0),
        "stdin": os.read(0, 1).decode(),
        "cwd": str(Path.cwd()),
        "environment": json.dumps({key: os.environ[key] for key in inputs.get("keys", ()) if key in os.environ}),
    }
