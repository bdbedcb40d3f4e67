"""How long `motherlode status` takes, and what it imports.

    python benchmarks/startup.py

Makes a small campaign, then times `motherlode status` as a user types it, against `python -c pass`, side by side.
Writes benchmarks/results/startup.json.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 15
HEAVY = ("prefect", "pymatgen", "sklearn", "matminer", "ase", "pandas", "matplotlib")
RESULTS = Path(__file__).parent / "results" / "startup.json"


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    motherlode = [sys.executable, "-m", "flows.cli"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*motherlode, "init", folder], check=True, capture_output=True)
        file = str(Path(folder) / "campaign.toml")
        subprocess.run([*motherlode, "tick", file, "--no-prefect"], check=True, capture_output=True)
        status, bare = [], []
        for _ in range(REPEATS):  # interleaved, so that a busy moment of the machine hits both
            status.append(_seconds([*motherlode, "status", file]))
            bare.append(_seconds([sys.executable, "-c", "pass"]))
        code = (
            "import sys; from flows.cli import main; main(['status', sys.argv[1]]);"
            f"print('IMPORTED', [name for name in {HEAVY!r} if name in sys.modules])"
        )
        run = subprocess.run([sys.executable, "-c", code, file], check=True, capture_output=True, text=True)
    found = {
        "status_median_s": round(statistics.median(status), 3),
        "status_max_s": round(max(status), 3),
        "python_median_s": round(statistics.median(bare), 3),
        "heavy_imports": run.stdout.rsplit("IMPORTED ", 1)[1].strip(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
