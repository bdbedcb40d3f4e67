"""What tests of the whole command share: `motherlode` as a process, and small campaigns to give it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

# Tiny matrices on many threads wait for each other: one thread is several times faster here. Before numpy is loaded.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# The same few examples on every machine, whose failures are not shrunk for minutes; `HYPOTHESIS_PROFILE=thorough` looks
# for new ones and shrinks them.
_SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile(
    "default",
    max_examples=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=_SLOW,
    phases=[Phase.explicit, Phase.generate],
)
settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=_SLOW, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Users' output is buffered: a process that forks before it flushes writes twice, and here it must show.
os.environ.pop("PYTHONUNBUFFERED", None)

_HERE = Path(__file__).parent

TINY: Mapping[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "target": {"property": "energy_per_atom", "goal": "minimize"},
    "pool": {"kind": "prototypes", "elements": ["Cu", "Au"], "max_atoms": 4},
    "features": {"kind": "adversary:Fractions"},
    "surrogate": {"kind": "random_forest", "n_trees": 20},
    "rounds": {"initial": 6, "batch_size": 4, "max_in_flight": 4},
    "labeler": {"kind": "ase", "calculator": "emt"},
    "submitter": {"kind": "processes", "workers": 2},
    "requests": {"poll": 0.05, "retries": 0},
    "stopping": {"any": [{"kind": "labels", "max": 14}]},
}
"""A campaign of some seconds: 87 candidates, three rounds."""


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Finished:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


def _said(path: Path) -> str:
    """What a command wrote; nothing if it was killed before its first line."""
    return path.read_text() if path.exists() else ""


@dataclass
class Running:
    """A command at work."""

    pid: int
    _ask: Callable[[dict[str, Any]], Any]
    _out: Path
    _err: Path
    _status: int | None = field(default=None, init=False)

    @property
    def said(self) -> str:
        """What it wrote to stderr so far."""
        return _said(self._err)

    def poll(self) -> int | None:
        """The exit status (minus the signal, if one ended it); None while it lives."""
        if self._status is None:
            self._status = self._ask({"poll": self.pid})
        return self._status

    def wait(self, seconds: float = 120.0) -> Finished:
        """The end; killed and a failure of the test if it takes longer."""
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                pytest.fail(f"no end after {seconds} s; so far:\n{self._out.read_text()}{self._err.read_text()}")
            time.sleep(0.01)
        return Finished(status, _said(self._out), _said(self._err))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the command still lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def until(self, is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Return when `is_so`; a failure of the test if the command ends before, or it takes longer."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if self.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"never came to '{what}'; status {self.poll()}:\n{self.wait(1).out}{self._err.read_text()}")
            time.sleep(0.01)


class Motherlode:
    """The command, each call a process of its own; see `warm`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._n = 0
        self._server = subprocess.Popen(
            [sys.executable, "-P", str(_HERE / "warm.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())

    def start(
        self, *argv: object, cwd: Path, env: Mapping[str, str] | None = None, limit: int | None = None
    ) -> Running:
        """Start a command in `cwd`."""
        self._n += 1
        out, err = self._folder / f"{self._n}.out", self._folder / f"{self._n}.err"
        order = {"argv": [str(one) for one in argv], "cwd": str(cwd), "env": dict(env or {}), "limit": limit}
        pid = self._ask(order | {"out": str(out), "err": str(err)})
        return Running(pid, self._ask, out, err)

    def cold(self, *argv: object, cwd: Path, env: Mapping[str, str] | None = None) -> Running:
        """Start a command as a shell does, from nothing: for what must be imported in the command itself."""
        self._n += 1
        out, err = self._folder / f"{self._n}.out", self._folder / f"{self._n}.err"
        with out.open("wb") as output, err.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *(str(one) for one in argv)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=cwd,
                env=os.environ | dict(env or {}),
                start_new_session=True,
            )
        return Running(process.pid, lambda _order: process.poll(), out, err)

    def __call__(self, *argv: object, cwd: Path, seconds: float = 120.0, **more: Any) -> Finished:
        """Run a command to its end."""
        return self.start(*argv, cwd=cwd, **more).wait(seconds)

    def close(self) -> None:
        """End the process that forks the commands."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


@pytest.fixture(scope="session")
def motherlode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Motherlode]:
    """The `motherlode` command as processes that start at once."""
    command = Motherlode(tmp_path_factory.mktemp("said"))
    yield command
    command.close()


@pytest.fixture(scope="session")
def prefect_home(motherlode: Motherlode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which commands find one local Prefect server, kept for the session."""
    folder = tmp_path_factory.mktemp("prefect")
    environment = {"MOTHERLODE_HOME": str(folder), "PREFECT_HOME": str(folder / "profiles"), "PREFECT_API_URL": ""}
    assert motherlode("ui", cwd=folder, env=environment, seconds=240.0).status == 0
    yield environment
    assert motherlode("ui", "--stop", cwd=folder, env=environment).out == "stopped\n"


WriteCampaign = Callable[..., Path]


@pytest.fixture(scope="session")
def write_campaign() -> WriteCampaign:
    """Write TINY, with some tables or keys changed, as `campaign.toml` into a folder, `adversary.py` beside it."""

    def write(folder: Path, **changes: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(_HERE / "adversary.py", folder)
        path = folder / "campaign.toml"
        path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in (dict(TINY) | changes).items()))
        return path

    return write


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """What a test counted: printed when all tests are over, whichever process ran it."""
    return lambda text: record_property("said", text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with slow tests come first when several processes share the files: none is waited for at the end."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests said."""
    said = [
        f"{report.nodeid.rpartition('::')[2]}: {text}"
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        if report.when == "call"
        for name, text in report.user_properties
        if name == "said"
    ]
    if said:
        terminalreporter.section("counted")
        for line in said:
            terminalreporter.write_line(line)
