"""The job of the labeler `script`: run a program, and take the file that it leaves."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from active_learning.domain.label import FailureKind
from active_learning.labelers.programs import filled, run_program, signal_name
from active_learning.labelers.results import failure

__all__ = ["RESULT_FILE", "run"]

RESULT_FILE = "labels.json"
"""What the program writes. (`result.json` is the job's own: it stands there once the job is over.)"""

_MOST_BYTES = 1_000_000
_MOST_DIGITS = 100


def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Run the program that `inputs` name (`Script.prepare` says how they look); a JSON object."""
    command = filled(inputs["command"], inputs["structure"])
    begin = time.perf_counter()
    try:
        status, words = run_program(command, inputs["environment"])
    except OSError as error:
        return failure(FailureKind.CRASHED, f"the program {_plain(command[0])!r} cannot be started: {error.strerror}")
    told = _read()
    if isinstance(told, dict) and "failure" in told:
        # Whoever says why it failed may exit as it likes.
        return {"failure": _said(told["failure"])}
    if status != 0:
        return _crashed(status, words)
    if isinstance(told, str):
        return failure(FailureKind.UNPARSABLE, told)
    about = {key: inputs[key] for key in ("command", "environment", "version", "sha256")}
    kept = {key: told[key] for key in ("properties", "std") if key in told}
    rest = {key: value for key, value in told.items() if key not in kept}
    return kept | {"code": "script", "program": rest, "wall_s": time.perf_counter() - begin} | about


def _crashed(status: int, words: str) -> dict[str, Any]:
    last = _plain(words.splitlines()[-1]) if words else "nothing in stderr"
    if last.startswith("MemoryError"):
        return failure(FailureKind.OUT_OF_MEMORY, last)
    name = signal_name(status)
    return failure(FailureKind.CRASHED, f"{f'ended by {name}' if name else f'exit code {status}'}: {last}")


def _read() -> dict[str, Any] | str:
    """What the program left, or what is wrong with it."""
    try:
        with Path(RESULT_FILE).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return f"the program left no {RESULT_FILE}"
    except OSError as error:
        return f"{RESULT_FILE} cannot be read: {error.strerror}"
    if len(data) > _MOST_BYTES:
        return f"{RESULT_FILE} is larger than {_MOST_BYTES:,} bytes"
    try:
        told = _parsed(data.decode())
    except (ValueError, RecursionError) as error:
        return f"{RESULT_FILE} cannot be read: {_plain(str(error))}"
    return told if isinstance(told, dict) else f"{RESULT_FILE} holds no JSON object"


def _parsed(text: str) -> Any:
    """The value that is written in JSON, if all of its numbers are numbers and all of its text can be stored."""
    told = json.loads(text, parse_constant=_no_number, parse_float=_number, parse_int=_whole)
    again = json.dumps(told, ensure_ascii=False)
    again.encode()  # half a surrogate pair is no text
    if "\\u0000" in again:
        raise ValueError("a NUL character")
    return told


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:20])


def _whole(text: str) -> int:
    # Neither a float nor a database holds more.
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _said(told: Any) -> Any:
    """The program's word on its failure; its kind is judged by whoever reads it."""
    return {**told, "detail": _plain(str(told.get("detail", "")))} if isinstance(told, dict) else _plain(str(told))


def _plain(text: str) -> str:
    """Text that any database and terminal can take."""
    return "".join(c if c.isprintable() else " " for c in text)
