"""A port that leads to another one, for as long as a test wants it: a server that comes late, or goes away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

__all__ = ["forwarding", "free_port"]


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def forwarding(port: int, url: str) -> Iterator[None]:
    """Connections to `port` reach the server at `url`."""
    target = urlsplit(url)
    assert target.hostname is not None
    assert target.port is not None
    listener = socket.create_server(("127.0.0.1", port))
    connections: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((target.hostname, target.port))
                connections.extend((near, far))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        for one in (listener, *connections):
            with suppress(OSError):  # the other side has closed it
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # one side has gone
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
