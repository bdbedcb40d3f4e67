"""A program in the place of pw.x that prints a recorded output: ``python recorded_pw.py CASE -in FILE``.

With the case `curve` the energy is that of a Birch-Murnaghan curve (`CURVE`) at the volume of the input, behind the
output of the case `insulator`. The check sums are those of the pseudopotentials given, except with --keep-md5. A word
behind the case is written to the file `cores`. Of the case `symmetry_lost` the second run ends well, except with
--again.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from itertools import cycle
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "espresso"
CURVE = {"e0": -16.0, "b0": 0.0065, "bp": 4.0, "v0": 40.5}
"""Ry, Ry/Angstrom^3, 1, Angstrom^3; 0.0065 Ry/Angstrom^3 are 14.17 GPa."""


def birch_murnaghan(volume: float, e0: float, b0: float, bp: float, v0: float) -> float:
    """The energy at a volume, as the equation is printed (Birch 1947)."""
    eta = (v0 / volume) ** (2 / 3)
    return e0 + 9 * v0 * b0 / 16 * ((eta - 1) ** 3 * bp + (eta - 1) ** 2 * (6 - 4 * eta))


def main() -> int:
    """Print the output; return the recorded exit status."""
    words, source = sys.argv[1:-2], Path(sys.argv[-1])
    case = words[0]
    if words[1:] and not words[1].startswith("--"):
        Path("cores").write_text(words[1])
    lines = source.read_text().splitlines()
    recorded = "insulator" if case == "curve" else case
    if words == ["symmetry_lost"] and source.stem.endswith("-2"):
        recorded = "symmetry_lost_2"
    text = (DATA / f"{recorded}.pwo").read_text()
    if case == "curve":
        at = lines.index("CELL_PARAMETERS angstrom")
        a, b, c = ([float(word) for word in line.split()] for line in lines[at + 1 : at + 4])
        volume = sum(a[i] * (b[i - 2] * c[i - 1] - b[i - 1] * c[i - 2]) for i in range(3))
        energy = birch_murnaghan(abs(volume), **CURVE)
        text = re.sub(r"(?m)^(! +total energy +=) +\S+", rf"\g<1> {energy:.8f}", text)
    if words[1:] != ["--keep-md5"]:
        # A relaxation of the cell reads them twice.
        sums = cycle(hashlib.md5(upf.read_bytes()).hexdigest() for upf in sorted(Path("scratch/pseudo").iterdir()))
        text = re.sub(r"(?<=MD5 check sum: )\S+", lambda _: next(sums), text)
    sys.stdout.write(text)
    error = DATA / f"{recorded}.err"
    sys.stderr.write(error.read_text() if error.exists() else "")
    xml = DATA / f"{recorded}.xml"
    if xml.exists():
        Path("scratch/out").mkdir()
        Path("scratch/out/pwscf.xml").write_text(xml.read_text())
    status: int = json.loads((DATA / "cases.json").read_text())[recorded]["exit_code"]
    return status


if __name__ == "__main__":
    sys.exit(main())
