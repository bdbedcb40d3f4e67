"""What Prefect costs: the demo under Prefect against the same campaign in the local loop, side by side.

    python benchmarks/overhead.py                # about eight minutes on two quiet cores
    python benchmarks/overhead.py --repeats 3

Both make the same choices and the same labels (the script checks that); the difference is the ring. Writes
benchmarks/results/overhead.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CAMPAIGN = ROOT / "examples" / "fcc_alloys.toml"
RESULTS = ROOT / "benchmarks" / "results" / "overhead.json"
MOTHERLODE = [sys.executable, "-m", "flows.cli"]


def _run(folder: Path, *, prefect: bool) -> tuple[float, str]:
    """Seconds, and the labels."""
    file = folder / CAMPAIGN.name
    folder.mkdir()
    shutil.copy(CAMPAIGN, file)
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    environment["MOTHERLODE_HOME"] = str(folder / "home")  # a fresh home: the server migrates its database, as at first
    started = time.perf_counter()
    command = [*MOTHERLODE, "run", str(file), *([] if prefect else ["--no-prefect"])]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    labels = folder / "labels.csv"
    subprocess.run([*MOTHERLODE, "export", str(file), "labels", "--output", str(labels)], check=True)
    rows = [line.split(",")[:4] for line in labels.read_text().splitlines()]
    return seconds, json.dumps(sorted(rows))


def main() -> None:
    """Measure in turn, so that a busy moment of the machine hits both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    times: dict[bool, list[float]] = {True: [], False: []}
    labels = set()
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(arguments.repeats):
            for prefect in (True, False):
                seconds, found = _run(Path(folder) / f"{repeat}-{prefect}", prefect=prefect)
                times[prefect].append(seconds)
                labels.add(found)
                print(f"{'under Prefect' if prefect else 'local loop'}: {seconds:.1f} s", flush=True)
    result: dict[str, Any] = {
        "prefect_s": [round(value, 1) for value in times[True]],
        "local_s": [round(value, 1) for value in times[False]],
        "overhead_s": round(statistics.median(times[True]) - statistics.median(times[False]), 1),
        "ratio": round(statistics.median(times[True]) / statistics.median(times[False]), 2),
        "same_labels": len(labels) == 1,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
