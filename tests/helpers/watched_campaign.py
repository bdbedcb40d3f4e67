"""A deployed campaign that waits for approval, with hostile names and failures, and what listens while it works."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from prefect_team import PATIENCE_S, Team
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from active_learning.api.status import open_store, read_status
from active_learning.errors import StoreError, UserError
from active_learning.store import Facts
from active_learning.testing.fakes import START

__all__ = ["ATTACK", "NAME", "TABLES", "Watched", "write_folder"]

NAME = "gold-rush"
ATTACK = "<img src=x onerror=alert(1)>"
"""In every file's name, in every failure, and in what a person says."""

_FAILURE = f"{ATTACK} the charge density <b>sloshes</b>"
_CALCULATOR = f"""\
from ase.calculators.emt import EMT


class SensitiveEMT(EMT):
    def calculate(self, atoms=None, *arguments, **named):
        if 2 * atoms.get_chemical_symbols().count("Ni") >= len(atoms):
            raise RuntimeError({_FAILURE!r})
        super().calculate(atoms, *arguments, **named)
"""
TABLES: dict[str, Any] = {
    "name": NAME,
    "pool": {"kind": "structures", "path": "structures"},
    "features": {"kind": "matminer", "sets": ["magpie"]},
    "labeler": {"kind": "ase", "calculator": "sensitive:SensitiveEMT"},
    "rounds": {"initial": 10, "batch_size": 6, "max_in_flight": 6},
    "approval": {"required": True},
    "stopping": {"any": [{"kind": "labels", "max": 19}, {"kind": "no_improvement", "rounds": 6}]},
}
"""What differs from the small campaign of all tests: 45 crystals of six metals; those that are half nickel fail."""


def write_folder(folder: Path) -> None:
    """The files that the campaign needs beside its own."""
    structures = folder / "structures"
    structures.mkdir()
    metals = ("Al", "Ni", "Cu", "Pd", "Ag", "Au")
    for a, b in itertools.permutations(metals, 2):
        sites = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
        _write(structures, Structure(Lattice.cubic(3.95), [a, b, b, b], sites))
    for a, b in itertools.combinations(metals, 2):
        _write(structures, Structure(Lattice.cubic(3.1), [a, b], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]))
    (folder / "sensitive.py").write_text(_CALCULATOR)


def _write(folder: Path, crystal: Structure) -> None:
    crystal.to(str(folder / f"{ATTACK} {crystal.composition.reduced_formula}.cif"), fmt="cif")


class Watched:
    """A deployed campaign, its server and its worker."""

    def __init__(self, team: Team, path: Path) -> None:
        self.team = team
        self.path = path
        self.listening: set[str] = set()
        self.n_processes = 0

    @property
    def ui(self) -> str:
        """The address of Prefect's first UI, which `motherlode deploy` prints."""
        return self.team.api.removesuffix("/api")

    @property
    def report(self) -> Path:
        """The report, once it was made."""
        return self.path.parent / f"{NAME}.campaign" / "report.html"

    def status(self) -> dict[str, Any]:
        """The status; nothing while the campaign is being made."""
        try:
            return read_status(self.path, START)
        except (UserError, StoreError):
            return {}

    def facts(self) -> Facts:
        """What the store knows."""
        store = open_store(self.path)
        try:
            return store.read()
        finally:
            store.close()

    def waiting(self) -> list[int]:
        """The rounds that wait for approval."""
        return [one["round"] for one in self.status().get("awaiting_approval", [])]

    def deployment(self, flow: str) -> str:
        """The id of one of the campaign's deployments."""
        (found,) = (one["id"] for one in self.team.ask("deployments") if one["entrypoint"].endswith(f".{flow}"))
        return str(found)

    def artifact(self, key: str) -> dict[str, Any]:
        """The newest version of an artifact, waited for."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = self.team.ask("artifacts/latest", artifacts={"key": {"any_": [f"{NAME}-{key}"]}})
            return bool(found)

        self.until(f"the artifact {key}", is_there)
        return found[0]

    def tick(self) -> None:
        """What somebody does in the UI who does not wait for the schedule; returns when it is done."""
        run = self.team.post(f"deployments/{self.deployment('tick')}/create_flow_run")["id"]

        def is_done() -> bool:
            (found,) = self.team.ask("flow_runs", flow_runs={"id": {"any_": [run]}})
            return found["state_type"] in ("COMPLETED", "CANCELLED", "FAILED", "CRASHED")

        self.until("the tick", is_done)

    def next_round(self) -> None:
        """Tick until a round waits for approval, or the campaign is over."""
        while not (self.waiting() or self.is_over()):
            self.tick()

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait, and look meanwhile who listens for connections."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s in vain for: {what}"
            self.look()
            time.sleep(0.5)

    def look(self) -> None:
        """Note on which addresses the server, the worker and all that they started listen."""
        noted = json.loads((self.path.parent / "home" / "prefect" / "server.json").read_text())
        roots = [psutil.Process(noted["pid"]), *_workers()]
        self.n_processes = max(self.n_processes, sum(map(self._look_at, roots)))

    def _look_at(self, root: psutil.Process) -> int:
        family = [root, *root.children(recursive=True)]
        for process in family:
            try:
                sockets = process.net_connections(kind="tcp")
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it ended meanwhile
            self.listening |= {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
        return len(family)

    def to_the_end(self) -> None:
        """Approve what is still asked, then let nothing tick any more, and have the report made."""
        approve = self.deployment("approve")
        self.next_round()
        while not self.is_over():
            for number in self.waiting():
                self.team.post(f"deployments/{approve}/create_flow_run", parameters={"round_number": number})
            self.until("the answer", lambda: not self.waiting())
            self.next_round()
        assert self.team.command("deploy", self.path).status == 0
        assert self.team.command("report", self.path).status == 0

    def is_over(self) -> bool:
        """Whether the campaign has stopped, and everybody knows."""
        bars = self.team.ask("artifacts/latest", artifacts={"key": {"any_": [f"{NAME}-labels"]}})
        return self.status().get("phase") == "stopped" and any(float(bar["data"]) == 100.0 for bar in bars)


def _workers() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "worker" in one.cmdline()]
