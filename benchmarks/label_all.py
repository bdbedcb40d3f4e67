"""Label the demo's whole pool, once, so that a campaign can be judged against the truth.

    python benchmarks/label_all.py            # about half an hour on two cores; goes on where it was

Writes benchmarks/data/fcc_alloys_emt.csv: every candidate of examples/fcc_alloys.toml with its formation energy, the
volume and the key of the crystal it relaxed to, or the way it failed. Uses the campaign's own pool, labeler and jobs.
"""

from __future__ import annotations

import csv
import os
import tempfile
import tomllib
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CAMPAIGN = ROOT / "examples" / "fcc_alloys.toml"
TRUTH = ROOT / "benchmarks" / "data" / "fcc_alloys_emt.csv"
COLUMNS = ("id", "formula", "origin", "formation_energy_per_atom", "volume_per_atom", "crystal_key", "failure")


def _label(candidate: Any, energies: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the truth, by the same job that a campaign runs."""
    from active_learning.jobs import JobDirectory
    from active_learning.jobs.runner import execute
    from active_learning.labelers.ase import Ase

    table = tomllib.loads(CAMPAIGN.read_text())["labeler"]
    options = Ase.Options(**{key: value for key, value in table.items() if key != "kind"})
    labeler = Ase(options).for_property("formation_energy_per_atom" if energies else "energy_per_atom")
    if energies:
        labeler = labeler.with_references(energies)
    with tempfile.TemporaryDirectory() as folder:
        directory = JobDirectory(Path(folder) / "job")
        directory.prepare(labeler.prepare(candidate), "truth", 600.0)
        execute(directory.path)
        result = labeler.parse(directory.path)
    row = {"id": candidate.id, "formula": candidate.formula, "origin": candidate.origin}
    if not hasattr(result, "values"):
        return row | {"failure": f"{result.kind}: {result.detail}"}
    if not energies:
        return row | {"measurement": result}
    values = {name: f"{result.values[name][0]:.10g}" for name in COLUMNS if name in result.values}
    return row | values | {"crystal_key": result.provenance["crystal_key"]}


def _references(elements: tuple[str, ...]) -> dict[str, Any]:
    from active_learning.labelers.ase import Ase

    table = tomllib.loads(CAMPAIGN.read_text())["labeler"]
    options = Ase.Options(**{key: value for key, value in table.items() if key != "kind"})
    crystals = Ase(options).for_property("formation_energy_per_atom").references(elements)
    return {element: _label(crystal, {})["measurement"] for element, crystal in crystals.items()}


def main() -> None:
    """Label what is not labeled yet."""
    from active_learning.config import read_campaign_file
    from active_learning.domain.candidate import Candidate
    from active_learning.engine.assembly import assemble

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    candidates = [item for item in assemble(read_campaign_file(CAMPAIGN)).pool.read() if isinstance(item, Candidate)]
    TRUTH.parent.mkdir(exist_ok=True)
    done = set()
    if TRUTH.exists():
        with TRUTH.open(newline="") as file:
            done = {row["id"] for row in csv.DictReader(file)}
    todo = [candidate for candidate in candidates if candidate.id not in done]
    print(f"{len(candidates)} candidates, {len(todo)} to label", flush=True)
    energies = _references(tuple(sorted({symbol for c in candidates for symbol in c.amounts})))
    with TRUTH.open("a", newline="") as file, ProcessPoolExecutor(os.cpu_count()) as pool:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for count, future in enumerate(as_completed([pool.submit(_label, c, energies) for c in todo]), start=1):
            writer.writerow(future.result())
            file.flush()
            if count % 100 == 0:
                print(f"{count} of {len(todo)}", flush=True)
    rows = sorted(csv.DictReader(TRUTH.open(newline="")), key=lambda row: row["id"])
    with TRUTH.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
