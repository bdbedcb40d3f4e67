"""A program that does what VASP does as far as files go: it reads its inputs, and leaves what a real run left.

Its argument is a folder: all files in it are copied into the working directory, but for `exit_code` (the number to exit
with), `signal` (the number of a signal to die of), `stdout` and `stderr` (what to say).
"""

import os
import shutil
import sys
from pathlib import Path


def main() -> None:
    """Check the inputs, and leave the files."""
    folder = Path(sys.argv[1])
    n_species = len(Path("POSCAR").read_text().splitlines()[5].split())
    if not Path("INCAR").read_text().strip() or Path("POTCAR").read_text().count("End of Dataset") != n_species:
        sys.exit("the inputs are not those of VASP")
    for file in folder.iterdir():
        if file.name not in ("exit_code", "signal", "stdout", "stderr"):
            shutil.copyfile(file, file.name)
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        stream.write((folder / name).read_text() if (folder / name).exists() else "")
        stream.flush()
    if (folder / "signal").exists():
        os.kill(os.getpid(), int((folder / "signal").read_text()))
    sys.exit(int((folder / "exit_code").read_text()) if (folder / "exit_code").exists() else 0)


if __name__ == "__main__":
    main()
