"""How many of the true ten best materials does the demo's campaign find with 120 labels, and how many does chance find?

    python benchmarks/discovery.py                       # about a quarter of an hour on two cores; resumable
    python benchmarks/discovery.py --seeds 3 --labels 60

Runs the campaign of examples/fcc_alloys.toml itself, engine, store and all, with two tables changed: the labels come
from benchmarks/data/fcc_alloys_emt.csv (written by label_all.py) through the labeler `table`, and the only stopping
rule is the number of labels. Results that relaxed to the same crystal count once. The control differs in one word:
`acquisition = random`. Writes benchmarks/results/discovery.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from label_all import CAMPAIGN, ROOT, TRUTH

from active_learning.api import Campaign
from active_learning.domain.target import Goal, Target
from active_learning.engine.observing import target_labels
from active_learning.evaluation.discovery import discovery_curve, summarize_curves

RESULTS = ROOT / "benchmarks" / "results" / "discovery.json"
WORK = ROOT / "benchmarks" / "results" / "discovery.campaign"
PROPERTY = "formation_energy_per_atom"
BEST = 10
ARMS: Mapping[str, Mapping[str, Any] | None] = {"the campaign": None, "random": {"kind": "random"}}


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def _campaign_text(arm: str, seed: int, n_labels: int, folder: Path) -> str:
    """The demo's file with the labels from the table."""
    tables = tomllib.loads(CAMPAIGN.read_text())
    tables |= {"name": f"{tables['name']}-{seed}", "seed": seed, "workdir": str(folder / "work")}
    tables["labeler"] = {"kind": "table", "path": str(TRUTH), "key": "id", "value": PROPERTY, "unit": "eV/atom"}
    tables["submitter"] = {"kind": "inline"}
    tables["acquisition"] = ARMS[arm] or tables["acquisition"]
    del tables["stopping"]
    lines = [f"{key} = {_toml(value)}" for key, value in tables.items() if not isinstance(value, dict)]
    for name, table in tables.items():
        if isinstance(table, dict):
            lines += [f"\n[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    lines += ["\n[[stopping.any]]", 'kind = "labels"', f"max = {n_labels}"]
    return "\n".join(lines)


def _run(arm: str, seed: int, n_labels: int) -> list[str]:
    """Ids in the order they were labeled."""
    folder = WORK / f"{arm.replace(' ', '-')}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    if (WORK / "features").exists():  # the same candidates: featurized once for all seeds
        shutil.copytree(WORK / "features", folder / "work" / "features")
    file = folder / "campaign.toml"
    file.write_text(_campaign_text(arm, seed, n_labels, folder))
    with Campaign.create(file) as campaign:
        campaign.run()
        labeled = [x.candidate_id for x in target_labels(campaign.store.read(), campaign.kit.target)]
    if not (WORK / "features").exists():
        shutil.copytree(folder / "work" / "features", WORK / "features")
    shutil.rmtree(folder)
    return labeled


def main() -> None:
    """Run what is missing, then print and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, default=120)
    arguments = parser.parse_args()
    rows = [row for row in csv.DictReader(TRUTH.open(newline="")) if row[PROPERTY]]
    values = {row["id"]: float(row[PROPERTY]) for row in rows}
    materials = {row["id"]: row["crystal_key"] or row["id"] for row in rows}
    target = Target(PROPERTY, Goal.MINIMIZE, "eV/atom")
    key = f"{arguments.labels} labels, {CAMPAIGN.read_text()}"
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if found.get("of") != key:
        found = {"of": key, "runs": {}}
    for seed in range(1, arguments.seeds + 1):
        for arm in ARMS:
            if f"{arm}, seed {seed}" not in found["runs"]:
                labeled = _run(arm, seed, arguments.labels)
                curve = discovery_curve(labeled, values, materials, target, k=BEST)
                found["runs"][f"{arm}, seed {seed}"] = [round(float(share), 3) for share in curve]
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(found, indent=1))
                print(f"seed {seed}, {arm}: {BEST * curve[-1]:.0f} of {BEST}", flush=True)
    summary: dict[str, Any] = {"candidates": len(rows), "materials": len(set(materials.values())), "arms": {}}
    for arm in ARMS:
        curves = [np.array(found["runs"][f"{arm}, seed {seed}"]) for seed in range(1, arguments.seeds + 1)]
        summary["arms"][arm] = {
            "found_mean": round(BEST * float(np.mean([curve[-1] for curve in curves])), 2),
            "found_each": [round(BEST * float(curve[-1])) for curve in curves],
        }
        interval = summarize_curves(curves, n_labels=arguments.labels, rng=np.random.default_rng(0))
        summary["arms"][arm]["summary"] = {name: _plain(value) for name, value in vars(interval).items()}
    found["summary"] = summary
    RESULTS.write_text(json.dumps(found, indent=1))
    print(json.dumps({arm: summary["arms"][arm]["found_mean"] for arm in ARMS} | {"of": BEST}, indent=1))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | tuple | list):
        return [_plain(item) for item in value]
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


if __name__ == "__main__":
    main()
