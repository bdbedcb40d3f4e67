"""Servers of databases on this machine: a scripted one in this process, and the reference server of OPTIMADE."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure


@dataclass(frozen=True)
class Reply:
    """What a server answers; `cut` drops the connection after so many bytes of the body, `pause` waits so many seconds
    after each."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    pause: float = 0.0

    @staticmethod
    def of(value: Any, status: int = 200, **headers: str) -> Reply:
        """A JSON value."""
        return Reply(status, json.dumps(value).encode(), {name.replace("_", "-"): v for name, v in headers.items()})


@dataclass(frozen=True)
class Request:
    """What a server was asked."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing of clients that went away, which is what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """Answers GET requests with what `answer` says, and remembers them."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                at = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(at.query, keep_blank_values=True).items()}
                request = Request(at.path, query, {name.lower(): value for name, value in self.headers.items()})
                server.requests.append(request)
                reply = server.answer(request)
                self.send_response(reply.status)
                for name, value in ({"Content-Type": "application/json"} | dict(reply.headers)).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                step = 1 if reply.pause else len(reply.body) or 1
                for at_byte in range(0, len(reply.body), step):
                    self.wfile.write(reply.body[: reply.cut][at_byte : at_byte + step])
                    time.sleep(reply.pause)
                self.close_connection = reply.cut is not None

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the requests are remembered."""

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def serving(answer: Callable[[Request], Reply]) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server(answer)
    try:
        yield server
    finally:
        server.close()


def material(material_id: str, symbols: list[Any], energy: float | None = -0.1, **changes: Any) -> dict[str, Any]:
    """A summary as the API gives it, of a crystal like caesium chloride."""
    places = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]][: len(symbols)]
    structure = Structure(Lattice.cubic(3.0 + 0.1 * len(material_id)), symbols, places)
    return {
        "material_id": material_id,
        "structure": structure.as_dict(),
        "elements": sorted({element.symbol for element in structure.composition.elements}),
        "nsites": len(structure),
        "energy_above_hull": 0.0 if energy is not None and energy < 0 else 0.05,
        "formation_energy_per_atom": energy,
        "bulk_modulus": {"voigt": 101.0, "reuss": 99.0, "vrh": 100.0},
        "builder_meta": {"emmet_version": "0.86.0", "database_version": "2025.11.14", "license": "BY-C"},
    } | changes


KEY = "MotherlodeTestKey0123456789abcdef"


class Materials:
    """The endpoint materials/summary of the Materials Project, as documented, with failures on command.

    `failures[skip]` are replies given, one after another, before the page that begins at `skip`.
    """

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self.documents = documents
        self.failures: dict[int, list[Reply]] = {}
        self.gate: tuple[int, threading.Event] | None = None

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("x-api-key") != KEY:
            return Reply.of({"message": "No API key found in request"}, 401)
        if request.path != "/materials/summary/":
            return Reply.of({"detail": "Not Found"}, 404)
        skip, limit = int(request.query["_skip"]), int(request.query["_limit"])
        if self.gate is not None and self.gate[0] == skip:
            self.gate[1].wait()
        waiting = self.failures.get(skip)
        if waiting:
            return waiting.pop(0)
        found = [document for document in self.documents if self._matches(document, request.query)]
        fields = request.query["_fields"].split(",")
        data = [{name: one[name] for name in fields if name in one} for one in found[skip : skip + limit]]
        meta = {
            "api_version": "0.86.4",
            "time_stamp": "2026-01-01T00:00:00",
            "total_doc": len(found),
            "max_limit": 1000,
        }
        return Reply.of({"data": data, "meta": meta})

    @staticmethod
    def _matches(document: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        excluded = query.get("exclude_elements", "").split(",")
        systems = query.get("chemsys", "").split(",")
        return (
            not set(document["elements"]) & set(excluded)
            and (systems == [""] or "-".join(sorted(document["elements"])) in systems)
            and document["energy_above_hull"] <= float(query.get("energy_above_hull_max", "inf"))
            and query.get("is_stable", "false") in ("false", str(document["energy_above_hull"] == 0).lower())
            and document["nsites"] <= int(query.get("nsites_max", "10000"))
        )


@dataclass(frozen=True)
class OptimadeServer:
    """The reference server: where it is, and what it was asked."""

    url: str
    folder: Path

    def requests(self) -> list[str]:
        """Path and query of each request so far."""
        log = self.folder / "requests"
        return log.read_text().splitlines() if log.exists() else []

    def reference(self) -> dict[str, Any]:
        """The server's own structures, as its adapter gives them to pymatgen."""
        found: dict[str, Any] = json.loads((self.folder / "reference.json").read_text())
        return found

    @contextmanager
    def holding(self, text: str) -> Iterator[None]:
        """While the block lasts, requests whose query holds `text` wait."""
        hold = self.folder / "hold"
        hold.write_text(quote(text, safe="=&"))
        try:
            yield
        finally:
            hold.unlink()


@contextmanager
def optimade_server(folder: Path) -> Iterator[OptimadeServer]:
    """Start the reference server of optimade-python-tools; it takes some three seconds."""
    script = Path(__file__).with_name("optimade_server.py")
    environment = os.environ | {"OPTIMADE_CONFIG_FILE": str(folder / "none.json")}
    errors = folder / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(folder)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment,
        )
    assert process.stdout is not None
    try:
        # Its logger speaks on the same stream before.
        port = next((line.split()[1] for line in process.stdout if line.startswith("port ")), None)
        if port is None:
            pytest.fail(f"the OPTIMADE server did not start:\n{errors.read_text()[-2000:]}")
        yield OptimadeServer(f"http://127.0.0.1:{port}", folder)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
