"""A home-made queue, as a program: its arguments are a folder and `submit NAME SECONDS SCRIPT`, `list [NUMBER...]` or
`cancel NUMBER...`.

What goes wrong is asked for by files in its folder: `down` (no answer), `hang` (none for ever), `full` (refuses jobs),
`mute` (takes a job and prints nothing), `slow` (takes so many seconds to take a job).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def _number(folder: Path) -> int:
    number = 1
    while True:
        try:
            (folder / str(number)).mkdir()
        except FileExistsError:
            number += 1
        else:
            return number


def submit(folder: Path, name: str, seconds: str, script: str) -> None:
    if (folder / "full").exists():
        sys.exit("the queue is full")
    if (folder / "slow").exists():
        time.sleep(float((folder / "slow").read_text()))
    number = _number(folder)
    place = folder / str(number)
    _write(place / "name", name)
    _write(place / "state", "Q")
    if os.fork() == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        _keep(place, float(seconds), script)
        os._exit(0)
    if not (folder / "mute").exists():
        print(f"submitted as job {number}, good luck")


def _keep(place: Path, seconds: float, script: str) -> None:
    """Run one job to its end."""
    # As many a queue does, it hands on whatever files were open.
    process = subprocess.Popen(["sh", script], cwd="/", start_new_session=True, close_fds=False)
    _write(place / "pid", str(process.pid))
    _write(place / "state", "R")
    try:
        process.wait(seconds)
        state = "C"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        state = "TO"
    _write(place / "state", "X" if (place / "cancelled").exists() else state)


def show(folder: Path, numbers: list[str]) -> None:
    print("NUMBER STATE NAME")
    for place in sorted(folder.iterdir(), key=lambda path: path.name.zfill(9)):
        if place.is_dir() and (not numbers or place.name in numbers) and (place / "state").exists():
            print(f"{place.name:>6} {(place / 'state').read_text():<3} {(place / 'name').read_text()!r}")


def cancel(folder: Path, numbers: list[str]) -> None:
    for number in numbers:
        place = folder / number
        if not place.is_dir():
            sys.exit(f"no job {number}")
        (place / "cancelled").touch()
        while not (place / "pid").exists():
            time.sleep(0.01)
        os.killpg(int((place / "pid").read_text()), signal.SIGKILL)


def main() -> None:
    folder, what, rest = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    folder.mkdir(exist_ok=True)
    if (folder / "down").exists():
        sys.exit("cannot reach the queue")
    if (folder / "hang").exists():
        time.sleep(600)
    if what == "submit":
        submit(folder, *rest)
    elif what == "list":
        show(folder, rest)
    else:
        cancel(folder, rest)


if __name__ == "__main__":
    main()
