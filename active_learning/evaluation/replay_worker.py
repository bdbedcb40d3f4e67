"""The process that replays: ``python -m active_learning.evaluation.replay_worker GROUND RUNS SCRATCH``.

Orders come in, a JSON object a line; a result is written to a file of its own before its line goes out. The process
ends at once when its input does, in the middle of a replay as well: whoever asked is gone then.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from queue import Queue
from shutil import rmtree
from typing import Any

from active_learning.errors import BackendError, MotherlodeError
from active_learning.evaluation.ground import Ground
from active_learning.evaluation.replay import replay
from active_learning.evaluation.replayed import Order

__all__ = ["main", "replay_into"]


def replay_into(ground: Ground, order: Order, path: Path, scratch: Path) -> None:
    """Replay and write the result, whole or not at all; beside `scratch` while it is written, on the same disk."""
    rmtree(scratch, ignore_errors=True)
    try:
        text = replay(ground, order, scratch).to_text()
    finally:
        rmtree(scratch, ignore_errors=True)
    temporary = scratch.with_suffix(".json")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _listen(orders: Queue[Any]) -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)


def main() -> int:
    """Serve until the input ends."""
    folder, runs, scratch = (Path(argument) for argument in sys.argv[1:4])
    # Answers go to a copy of stdout; what libraries print goes to stderr, and cannot be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    orders: Queue[Any] = Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    ground = Ground.load(folder)
    if ground is None:
        raise BackendError(f"there is no ground of a backtest in {folder}")
    while True:
        value = orders.get()
        try:
            replay_into(ground, Order.from_json(value["order"]), runs / value["file"], scratch)
        except MotherlodeError as error:
            said = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - one replay must not lose the others; it is said, and counts
            said = {"error": f"{type(error).__name__}: {error}"}
        else:
            said = {}
        print(json.dumps(said), file=answers)


if __name__ == "__main__":
    sys.exit(main())
