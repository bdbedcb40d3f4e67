"""The process that runs a submit command to its end, whatever becomes of the campaign, and writes down how it ended.

A bare interpreter that imports none of our modules. See `submission` for the files.
"""

from __future__ import annotations

import json
import os
import signal
import sys

__all__ = ["ERRORS", "OUTPUT", "RECORD", "main"]

OUTPUT, ERRORS, RECORD = "submit.out", "submit.err", "submitted"


def main(text: str) -> None:
    """Run the command.

    `text` is a JSON object: `command`, `directory` and two inherited files: `lock`, which the command keeps, and
    `tell`, whose closing tells the campaign that it is over.
    """
    order = json.loads(text)
    os.set_inheritable(order["tell"], False)
    if os.fork():
        # The campaign waits for this one, which is over; the other is nobody's child.
        os._exit(0)
    os.chdir(order["directory"])
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    out, err = (os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for name in (OUTPUT, ERRORS))
    # From here on the command may have been run: that must be on the disk before it is.
    _sync_directory()
    os.set_inheritable(order["lock"], True)
    actions = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
    ignored_by_python = [signal.SIGPIPE, signal.SIGXFSZ]
    try:
        pid = os.posix_spawnp(
            order["command"][0], order["command"], os.environ, file_actions=actions, setsigdef=ignored_by_python
        )
    except OSError as error:
        os.write(err, f"cannot run {order['command'][0]}: {error.strerror}\n".encode())
        _record(os.EX_UNAVAILABLE)
        return
    _, status = os.waitpid(pid, 0)
    _record(os.waitstatus_to_exitcode(status))


def _record(status: int) -> None:
    temporary = f".{RECORD}.{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(handle, json.dumps({"status": status}).encode())
    os.fsync(handle)
    os.close(handle)
    os.replace(temporary, RECORD)  # noqa: PTH105 - pathlib is not light
    _sync_directory()


def _sync_directory() -> None:
    handle = os.open(".", os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


if __name__ == "__main__":
    main(sys.argv[1])
