"""Record what the real pw.x prints: ``python make.py``, with pw.x and Debian's quantum-espresso-data installed.

Each case becomes `<case>.pwo` (stdout), `<case>.err` (stderr, if any), `<case>.xml` (where it is wanted) and an entry
of `cases.json`: exit status, the crystal, and what was free to move. Symmetries, memory estimates and timings are left
out, of the long ones also bands and forces, and the host has no name; nothing else is changed.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk

from active_learning.crystals.ase import from_atoms, to_atoms
from active_learning.labelers import espresso_run
from active_learning.labelers.espresso_output import crystal_so_far
from active_learning.labelers.espresso_run import Setup, input_text, scratch

HERE = Path(__file__).parent
PSEUDO = Path("/usr/share/espresso/pseudo")
FILES = {"Si": "Si.pz-vbc.UPF", "Al": "Al.pz-vbc.UPF", "Ni": "Ni.pz-nd-rrkjus.UPF"}
NOISE = re.compile(
    r"isym|cryst\. +s\(|cart\. +s\(|^ +\( |Dynamical RAM|dynamical RAM|Davidson|ethr =|total cpu time|Called by|calls\)"
)
MORE_NOISE = re.compile(
    r"^ +k =|^( +-?\d+\.\d{4})+$|contribution|iteration #|^ +total energy|stress|force|(-TS)|F=E|E=F|NEW-OLD|density"
)
METAL = {"occupations": "smearing", "smearing": "marzari-vanderbilt", "degauss": 0.02}
DISTORTED = bulk("Si")
DISTORTED.positions[1] += (0.12, 0.0, 0.03)
STRETCHED = bulk("Si", a=5.6)


def setup(kpoints: int = 2, start: dict[str, float] | None = None, **tables: Any) -> Setup:
    system = {"ecutwfc": 12.0} | tables.get("system", {})
    return Setup(
        command=tables.get("command", ("pw.x",)),
        namelists={"control": tables.get("control", {}), "system": system, "electrons": tables.get("electrons", {})},
        kpoints=(kpoints, kpoints, kpoints),
        starting_magnetization=start,
    )


NI = setup(3, {"Ni": 0.5}, system={"ecutwfc": 20.0, "ecutrho": 160.0, "nspin": 2, "nbnd": 10} | METAL)
# Tungsten carbide's structure, far from its volume: it loses its symmetry on the way.
WIDTH, HEIGHT = 3.06902340335078, 2.99521478959051
ALLOY = Atoms(
    "SiAl",
    cell=[[0, 0, -HEIGHT], [-WIDTH / 2, -WIDTH * 3**0.5 / 2, 0], [-WIDTH / 2, WIDTH * 3**0.5 / 2, 0]],
    scaled_positions=[(0, 0, 0), (0.5, 2 / 3, 1 / 3)],
    pbc=True,
)
CASES: dict[str, tuple[Atoms, Setup, Any]] = {
    "insulator": (bulk("Si"), setup(system={"nbnd": 8}), "none"),
    "metal": (bulk("Al"), setup(system={"nbnd": 6} | METAL), "none"),
    "magnet": (bulk("Ni"), NI, "none"),
    "positions": (DISTORTED, setup(), "positions"),
    "cell": (STRETCHED, setup(), "cell"),
    "symmetry_lost": (ALLOY, setup(3, system=METAL, control={"nstep": 60}), "cell"),
    "unconverged": (bulk("Si"), setup(electrons={"electron_maxstep": 2}), "none"),
    "unconverged_with_status_0": (
        bulk("Si"), setup(electrons={"electron_maxstep": 2, "scf_must_converge": False}), "none"
    ),
    "steps_ran_out": (DISTORTED, setup(control={"nstep": 2}), "positions"),
    "steps_of_cell_ran_out": (STRETCHED, setup(control={"nstep": 2}), "cell"),
    "charge_is_wrong": (bulk("Al"), setup(), "none"),
    "bad_variable": (bulk("Si"), setup(system={"no_such_variable": 1}), "none"),
    "time_ran_out": (bulk("Si"), setup(8, system={"ecutwfc": 40.0}, control={"max_seconds": 1}), "none"),
    "memory_ran_out": (
        bulk("Si", a=19.4), setup(system={"ecutwfc": 900.0}, command=("prlimit", "--as=900000000", "pw.x")), "none"
    ),
    "no_pseudopotential": (bulk("Ge"), setup(), "none"),
}  # fmt: skip


def shortened(text: str, *noises: re.Pattern[str]) -> str:
    lines = [line for line in text.splitlines() if not any(noise.search(line) for noise in noises)]
    return re.sub(r"\n\s*\n(\s*\n)+", "\n\n", "\n".join(lines)) + "\n"


def record(case: str, atoms: Atoms, how: Setup, moves: Any) -> dict[str, dict[str, Any]]:
    more = {}
    crystal = from_atoms(atoms)
    noises = (NOISE, MORE_NOISE) if case.startswith("symmetry_lost") else (NOISE,)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        known = {element: FILES[element] for element in set(crystal.species) & set(FILES)}
        with scratch(PSEUDO, known):
            Path("espresso.pwi").write_text(input_text(crystal, how, moves))
            run = [*how.command, "-in", "espresso.pwi"]
            status = espresso_run._execute(run, Path("espresso.pwo"), Path("espresso.err"))
            (HERE / f"{case}.pwo").write_text(shortened(Path("espresso.pwo").read_text(), *noises))
            if said := Path("espresso.err").read_text():
                (HERE / f"{case}.err").write_text(re.sub(r"^\[[^:\]]+:\d+\]", "[host:1]", said, flags=re.MULTILINE))
            xml = Path("scratch/out/pwscf.xml")
            if case in ("insulator", "metal", "magnet"):
                text = re.sub(r"<symmetries>.*?</symmetries>", "", xml.read_text(), flags=re.DOTALL)
                (HERE / f"{case}.xml").write_text(text)
        os.chdir(HERE)
        if case == "symmetry_lost":
            text = (HERE / f"{case}.pwo").read_text()
            left = espresso_run._symmetric(crystal_so_far(text, moves, crystal), 0.05, moves)
            more = record(f"{case}_2", to_atoms(left), how, moves)
            os.chdir(HERE)
    return more | {case: {"exit_code": status, "relax": moves, "crystal": crystal.to_json()}}


if __name__ == "__main__":
    recorded = [record(name, *case) for name, case in CASES.items()]
    (HERE / "cases.json").write_text(json.dumps({name: told for case in recorded for name, told in case.items()}))
