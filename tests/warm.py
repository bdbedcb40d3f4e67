"""A process that has imported the campaign's code and forks `motherlode` commands, so that a test waits for the
command and not for its imports. Each command is a process of its own, in a session of its own, as from a shell.

Reads one JSON order a line: ``{"argv", "cwd", "env", "out", "err"}`` (with `limit`: the largest file it may write, in
bytes) starts a command and answers its process id; ``{"poll": pid}`` answers its exit status, or null while it lives.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

_MODULES = (
    "flows.cli.run",
    "flows.cli.check",
    "flows.cli.status",
    "flows.cli.backtest",
    "active_learning.reporting.writing",
    "active_learning.pools.prototypes",
    "active_learning.pools.structures",
    "active_learning.labelers.ase",
    "active_learning.surrogates.forest",
    "active_learning.surrogates.committee",
    "active_learning.surrogates.gaussian_process",
    "active_learning.learning.search",
    "active_learning.acquisition.rules",
    "active_learning.selection.diverse",
    "active_learning.selection.fantasies",
    "active_learning.submitters.processes.submitter",
    "active_learning.stopping.rules",
    "alembic.command",
)


def _become(order: dict[str, Any]) -> NoReturn:
    status = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            path = os.devnull if descriptor == 0 else order["out" if descriptor == 1 else "err"]
            file = os.open(path, flags | os.O_CREAT, 0o600)
            os.dup2(file, descriptor)
            os.close(file)
        os.chdir(order["cwd"])
        os.environ.update(order["env"])
        if order.get("limit"):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], order["limit"]))
        cli = importlib.import_module("flows.cli")
        status = cli.main(order["argv"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _poll(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def main() -> None:
    """Serve until the input ends."""
    for module in _MODULES:
        importlib.import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            answer = _poll(order["poll"])
        else:
            answer = os.fork()
            if answer == 0:
                _become(order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
