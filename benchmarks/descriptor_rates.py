"""How many crystals a second each descriptor describes on one core, and what it is.

    OMP_NUM_THREADS=1 python benchmarks/descriptor_rates.py

Times every descriptor with its default options on the crystals of tests/data (1 to 12 atoms), a second or two each.
Writes benchmarks/results/descriptor_rates.json and prints a Markdown table.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from pathlib import Path
from typing import Any

from active_learning.domain.candidate import Candidate, Crystal
from active_learning.featurizers.matminer import Matminer
from active_learning.featurizers.registry import DESCRIPTORS

SECONDS = 1.5
ROOT = Path(__file__).parents[1]
CRYSTALS = ROOT / "tests" / "data" / "crystals.json.gz"
RESULTS = ROOT / "benchmarks" / "results" / "descriptor_rates.json"
ELEMENTS = ["O", "S", "Se", "Cu"]  # where elements must be named: ten pairs
NEEDED: dict[str, dict[str, Any]] = {
    "bond_fractions": {"elements": ELEMENTS},
    "partial_radial_distribution": {"elements": ELEMENTS},
    "soap": {"compression": "mu2"},
    "given": {"columns": ["x"]},
}


def _candidates() -> list[Candidate]:
    with gzip.open(CRYSTALS, "rt", encoding="utf-8") as file:
        crystals = [Crystal.from_json(record["crystal"]) for record in json.load(file)]
    return [Candidate(crystal.amounts, crystal, given={"x": 1.0}) for crystal in crystals]


def _part(name: str, *, fast: bool) -> Any:
    (part,) = Matminer(Matminer.Options(sets=[{"name": name, **NEEDED.get(name, {})}], fast=fast)).parts
    return part


def _one_by_one(part: Any, candidates: list[Candidate]) -> tuple[float, float]:
    """Candidates a second, each once (what was computed before would be remembered); share of them described."""
    part.featurize(candidates[-1:])  # reads its tables
    n_done, n_failed, started = 0, 0, time.perf_counter()
    while n_done < len(candidates) - 1 and time.perf_counter() - started < SECONDS:
        n_failed += len(part.featurize([candidates[n_done]]).failures)
        n_done += 1
    return n_done / (time.perf_counter() - started), 1 - n_failed / n_done


def _at_once(part: Any, candidates: list[Candidate]) -> tuple[float, float]:
    """The same for a part that computes many at once and remembers nothing."""
    part.featurize(candidates)
    many = candidates * 40
    started = time.perf_counter()
    failures = part.featurize(many).failures
    return len(many) / (time.perf_counter() - started), 1 - len(failures) / len(many)


def _measured(name: str, candidates: list[Candidate]) -> dict[str, Any]:
    part, plain = _part(name, fast=True), _part(name, fast=False)
    is_fast = type(part) is not type(plain)
    rate, described = (_at_once if is_fast else _one_by_one)(part, candidates)
    model = DESCRIPTORS[name]
    found = {
        "descriptor": name,
        "what": (model.__doc__ or "").splitlines()[0].removesuffix("."),
        "needs_crystal": not part.of_composition and name != "given",
        "n_features": len(part.names),
        "per_second": float(f"{rate:.2g}"),
        "described_percent": round(100 * described),
        "reference": model.reference,
    }
    return found | ({"matminer_per_second": float(f"{_one_by_one(plain, candidates)[0]:.2g}")} if is_fast else {})


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| descriptor | what it is | needs a crystal | features | per second | reference |",
        "|---|---|---|---:|---:|---|",
    ]
    for row in rows:
        needs = "yes" if row["needs_crystal"] else "no"
        rate = f"{row['per_second']:,.{0 if row['per_second'] >= 10 else 1}f}"
        lines.append(
            f"| `{row['descriptor']}` | {row['what']} | {needs} | {row['n_features']} | {rate} | {row['reference']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    candidates = _candidates()
    random.Random(0).shuffle(candidates)  # small and large cells mixed: a slow descriptor does not see them all
    rows = [_measured(name, candidates) for name in DESCRIPTORS]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"n_crystals": len(candidates), "descriptors": rows}, indent=1) + "\n")
    print(_table(rows))


if __name__ == "__main__":
    main()
