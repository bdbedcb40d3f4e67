"""The pool `materials_project`, against a server on this machine that answers as the API is documented."""

from __future__ import annotations

import gzip
import logging
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from web_servers import KEY, Materials, Reply, Server, material, serving

from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.label import Measurement
from active_learning.domain.protocols import KnowsLabels
from active_learning.errors import BackendError, MotherlodeError, UserError
from active_learning.pools.materials_project import UNITS, MaterialsProject


def some_documents() -> list[dict[str, Any]]:
    return [
        material("mp-1", ["Al", "Ni"], -0.6),
        material("mp-2", ["Cu"], 0.0),
        material("mp-3", [{"Cu": 0.5, "Au": 0.5}], -0.2),
        material("mp-4", ["Cu", "Au"], None),
        material("mp-5", ["Cu2+", "O2-"], -1.1),
        material("mp-6", ["Cu", "Pd"], -0.1, structure={"lattice": {"matrix": [[1, 0, 0]]}, "sites": [{}]}),
        material("mp-7", ["Ag", "Cu"], 0.3),
    ]


@pytest.fixture
def materials(monkeypatch: pytest.MonkeyPatch) -> Materials:
    monkeypatch.setenv("MP_API_KEY", KEY)
    return Materials(some_documents())


@pytest.fixture
def server(materials: Materials) -> Iterator[Server]:
    with serving(materials) as running:
        yield running


@pytest.fixture
def pool(server: Server, tmp_path: Path) -> Callable[..., MaterialsProject]:
    """A pool that does not wait; `waits` notes what it would have waited."""

    def build(*, waits: list[float] | None = None, **options: Any) -> MaterialsProject:
        given = {"url": server.url, "page_size": 2, "cache": tmp_path / "cache"}
        sleep = ([] if waits is None else waits).append
        return MaterialsProject(MaterialsProject.Options.model_validate(given | options), sleep=sleep)

    return build


Build = Callable[..., MaterialsProject]


def origins(pool: MaterialsProject) -> list[str]:
    return [item.origin for item in pool.read() if isinstance(item, Candidate)]


def skips(server: Server) -> list[int]:
    return [int(request.query["_skip"]) for request in server.requests]


def test_every_material_is_a_candidate_or_dropped_with_the_reason(pool: Build, server: Server) -> None:
    items = list(pool().read())
    assert [item.origin for item in items if isinstance(item, Candidate)] == ["mp-1", "mp-2", "mp-4", "mp-5", "mp-7"]
    assert [item.formula for item in items if isinstance(item, Candidate)] == ["AlNi", "Cu", "AuCu", "CuO", "AgCu"]
    dropped = {item.source: item.reason for item in items if isinstance(item, Dropped)}
    assert dropped == {
        "mp-3": "disordered: a site is occupied by Cu:0.5, Au:0.5",
        "mp-6": "cannot be read: KeyError: 'species'",
    }
    assert skips(server) == [0, 2, 4, 6]
    assert {request.query["_sort_fields"] for request in server.requests} == {"material_id"}
    assert {request.query["_fields"] for request in server.requests} == {"material_id,structure,builder_meta"}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"elements": ["Al", "Ni", "Cu"]}, ["mp-1", "mp-2"]),
        ({"chemsys": ["Al-Ni", "Cu-O"]}, ["mp-1", "mp-5"]),
        ({"is_stable": True}, ["mp-1", "mp-5"]),
        ({"max_energy_above_hull": 0.01}, ["mp-1", "mp-5"]),
        ({"max_atoms": 1}, ["mp-2"]),
        ({"query": {"exclude_metals": True, "band_gap_min": 0.5}}, ["mp-1", "mp-2", "mp-4", "mp-5", "mp-7"]),
    ],
)
def test_options_are_asked_of_the_server(
    pool: Build, server: Server, options: dict[str, Any], found: list[str]
) -> None:
    assert origins(pool(**options)) == found
    for name, value in options.get("query", {}).items():
        assert server.requests[0].query[name] == str(value).lower()


def test_other_elements_are_excluded_by_name(pool: Build, server: Server) -> None:
    assert origins(pool(elements=["Cu", "O"], n_elements=[1, 2])) == ["mp-2", "mp-5"]
    asked = server.requests[0].query
    assert not {"Cu", "O"} & set(asked["exclude_elements"].split(","))
    assert len(asked["exclude_elements"].split(",")) == 118 - 2
    assert (asked["nelements_min"], asked["nelements_max"]) == ("1", "2")


def test_what_lies_beyond_the_limit_is_reported(pool: Build, server: Server) -> None:
    items = list(pool(max_structures=3).read())
    assert items[-1] == Dropped(server.url, "beyond max_structures: 4 more than 3")
    assert len(items) == 3 + 1
    assert skips(server) == [0, 2]


# Labels


def test_known_labels_are_the_values_of_the_field(pool: Build, server: Server) -> None:
    source = pool(label="formation_energy_per_atom")
    assert isinstance(source, KnowsLabels)
    ids = {item.id: item.origin for item in source.read() if isinstance(item, Candidate)}
    labels = dict(source.known_labels("formation_energy_per_atom"))
    assert {ids[one]: measured.values for one, measured in labels.items()} == {
        name: {"formation_energy_per_atom": (value, "eV/atom")}
        for name, value in {"mp-1": -0.6, "mp-2": 0.0, "mp-5": -1.1, "mp-7": 0.3}.items()
    }
    first = next(iter(labels.values()))
    assert first.fidelity == "materials_project"
    assert {name: first.provenance[name] for name in ("url", "material_id", "field", "database_version")} == {
        "url": server.url,
        "material_id": "mp-1",
        "field": "formation_energy_per_atom",
        "database_version": "2025.11.14",
    }
    assert skips(server) == [0, 2, 4, 6]


def test_a_part_of_a_field_has_a_dot_and_the_label_takes_the_targets_name(pool: Build, server: Server) -> None:
    labels = [measured for _, measured in pool(label="bulk_modulus.vrh").known_labels("stiffness")]
    assert [measured.values for measured in labels] == [{"stiffness": (100.0, "GPa")}] * 5
    assert server.requests[0].query["_fields"].endswith(",bulk_modulus")


def test_a_duplicate_brings_no_second_label(pool: Build, materials: Materials) -> None:
    materials.documents = [material("mp-1", ["Al"], -0.1), material("mp-2", ["Al"], -0.3)]
    source = pool(label="formation_energy_per_atom")
    assert [measured.provenance["material_id"] for _, measured in source.known_labels("energy")] == ["mp-1"]


def test_without_the_option_nothing_is_known_and_nothing_asked(pool: Build, server: Server) -> None:
    assert list(pool().known_labels("formation_energy_per_atom")) == []
    assert server.requests == []


def test_without_a_database_version_the_apis_is_told(pool: Build, materials: Materials) -> None:
    materials.documents = [material("mp-1", ["Al"], -0.1, builder_meta=None)]
    found: list[tuple[str, Measurement]] = list(pool(label="formation_energy_per_atom").known_labels("energy"))
    assert found[0][1].provenance["api_version"] == "0.86.4"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"label": "theoretical", "label_unit": ""},
            "No material that was taken has a value in the field 'theoretical'",
        ),
        ({"label": "nsites", "label_unit": "x"}, "'nsites' of mp-1 is not a finite number: two"),
        ({"label": "bulk_modulus", "label_unit": "GPa"}, "'bulk_modulus' of mp-1 is not a finite number: {"),
    ],
)
def test_a_field_without_numbers_is_the_users_error(
    pool: Build, server: Server, materials: Materials, options: dict[str, Any], message: str
) -> None:
    for one in materials.documents:
        one["nsites"] = "two" if options["label"] == "nsites" else one["nsites"]
    server.answer = lambda request: materials(request)
    if options["label"] == "nsites":
        materials._matches = lambda document, query: True  # type: ignore[method-assign]
    with pytest.raises(UserError, match=message):
        list(pool(**options).known_labels("x"))


# Faults


@pytest.mark.parametrize(
    ("failures", "waits"),
    [
        ([Reply.of({}, 429, Retry_After="3")], [3.0]),
        ([Reply.of({}, 429), Reply.of({}, 500), Reply.of({}, 502)], [1.0, 2.0, 4.0]),
        ([Reply.of({"data": [1] * 100}, 200), Reply(200, b'{"data": [{"material')], None),
        ([Reply(200, b'{"data": [' + b" " * 1000, cut=50)], [1.0]),
    ],
)
def test_a_passing_fault_in_the_middle_costs_that_page_a_wait(
    pool: Build, server: Server, materials: Materials, failures: list[Reply], waits: list[float] | None
) -> None:
    waited: list[float] = []
    materials.failures[2] = failures
    if waits is None:
        with pytest.raises(BackendError, match=r"no list of documents under 'data'.*goes on from page 2"):
            origins(pool(waits=waited))
    assert len(origins(pool(waits=waited))) == 5
    assert waited == ([1.0] if waits is None else waits)
    assert skips(server).count(0) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply.of({"data": []}), "its 'meta' does not say total_doc"),
        (Reply.of({"data": [], "meta": {"total_doc": 7}}), "is an empty page, and says that there are more"),
        (Reply.of({"data": None, "meta": {"total_doc": 7}}), "no list of documents"),
    ],
)
def test_what_is_not_as_documented_is_said_so(pool: Build, materials: Materials, reply: Reply, message: str) -> None:
    materials.failures[0] = [reply]
    with pytest.raises(BackendError, match=message):
        list(pool().read())


def test_a_database_that_changes_meanwhile_is_read_from_the_beginning(
    pool: Build, server: Server, materials: Materials
) -> None:
    def answer(request: Any) -> Reply:
        if len(server.requests) == 2:
            materials.documents.insert(0, material("mp-0", ["Ni"], 0.0))
        return materials(request)

    server.answer = answer
    assert origins(pool()) == ["mp-0", "mp-1", "mp-2", "mp-4", "mp-5", "mp-7"]
    assert skips(server) == [0, 2, 0, 2, 4, 6]


def test_a_database_that_never_stands_still_is_given_up(pool: Build, server: Server, materials: Materials) -> None:
    def answer(request: Any) -> Reply:
        materials.documents.append(material(f"mp-{len(server.requests) + 10}", ["Ni"]))
        return materials(request)

    server.answer = answer
    with pytest.raises(BackendError, match="changes while it is read, twice in a row"):
        list(pool().read())


def test_nothing_found_is_the_users_error_and_says_what_was_asked(pool: Build) -> None:
    with pytest.raises(UserError, match=r"has no material that matches .*'chemsys': 'Xe-Y'"):
        list(pool(chemsys=["Xe-Y"]).read())


_READ = """
import sys
from active_learning.pools.materials_project import MaterialsProject
url, cache = sys.argv[1:]
list(MaterialsProject(MaterialsProject.Options(url=url, page_size=2, cache=cache)).read())
"""


def test_a_killed_download_goes_on_at_the_page_in_hand(
    pool: Build, server: Server, materials: Materials, tmp_path: Path
) -> None:
    gate = threading.Event()
    materials.gate = (4, gate)
    process = subprocess.Popen([sys.executable, "-c", _READ, server.url, str(tmp_path / "cache")])
    deadline = time.monotonic() + 60
    while len(server.requests) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    gate.set()
    assert skips(server) == [0, 2, 4]
    assert len(origins(pool())) == 5
    assert skips(server) == [0, 2, 4, 4, 6]


# The key


def everything_said(error: BaseException) -> str:
    """All that a traceback shows, and what its errors carry."""
    said, one = "".join(traceback.format_exception(error)), error
    while one is not None:
        said += f"{one!r} {one.args}"
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)  # type: ignore[assignment]
    return said


ECHO = {"errors": [{"detail": f"the key {KEY} is odd"}], "detail": f"your key {KEY}"}


@pytest.mark.parametrize(
    "reply",
    [
        Reply.of(ECHO, 400),
        Reply.of(ECHO, 401),
        Reply.of({"message": f"{KEY} is not a valid API key"}, 403),
        Reply.of(ECHO, 404),
        Reply.of(ECHO, 429, Retry_After="99999"),
        Reply.of(ECHO, 500),
        Reply(200, KEY.encode()),
        Reply(200, f'{{"{KEY}": '.encode()),
        Reply.of([KEY]),
        Reply.of({"data": KEY}),
        Reply.of({"data": [{"material_id": KEY}], "meta": {"total_doc": 3, "api_version": KEY}}),
        Reply(302, b"", {"Location": f"https://elsewhere.example/{KEY}"}),
        Reply(302, b"", {"Location": f"https://{KEY}.example/"}),
        Reply(302, b"", {"Location": f"http://127.0.0.1:{KEY}/"}),
        Reply(200, KEY.encode() * 9, cut=40),
    ],
)
def test_the_key_is_in_no_error_no_log_and_no_file(
    pool: Build, materials: Materials, reply: Reply, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    materials.failures[0] = [reply] * 6
    with pytest.raises(MotherlodeError) as caught:
        list(pool().read())
    assert KEY.lower() not in everything_said(caught.value).lower()
    # Of a server's own headers the transport keeps a record, if one asks for it.
    said = [one.getMessage() for one in caplog.records if "receive_response_headers.complete" not in one.getMessage()]
    assert said
    assert KEY.lower() not in "".join(said).lower()
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert KEY.encode() not in (gzip.decompress(content) if path.suffix == ".gz" else content)


def test_a_key_that_the_server_sends_back_is_not_kept(pool: Build, materials: Materials, tmp_path: Path) -> None:
    materials.documents.append(material("mp-8", ["Ni"], note=KEY, builder_meta={"user": KEY}))
    assert "mp-8" in origins(pool())
    pages = list((tmp_path / "cache").rglob("*.gz"))
    assert len(pages) == 4
    assert not any(KEY.encode() in gzip.decompress(path.read_bytes()) for path in pages)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_which_variable_to_set(pool: Build, materials: Materials, status: int) -> None:
    materials.failures[0] = [Reply.of({"message": "Invalid authentication credentials"}, status)]
    expected = rf"does not take the key \({status}: Invalid auth.*Set the environment variable MP_API_KEY to your key"
    with pytest.raises(UserError, match=expected):
        list(pool().read())


def test_no_key_says_which_variable_to_set_and_asks_nothing(
    pool: Build, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"variable OTHER_KEY\. Set the environment variable OTHER_KEY to"):
        list(pool(key_env="OTHER_KEY").read())
    monkeypatch.setenv("MP_API_KEY", "   ")
    with pytest.raises(UserError, match="No key in the environment variable MP_API_KEY"):
        list(pool().read())
    assert server.requests == []


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "tab\tbed", "\x7f"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(
    pool: Build, server: Server, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(UserError, match="What MP_API_KEY holds is no key") as caught:
        list(pool().read())
    assert key not in everything_said(caught.value)
    assert server.requests == []


def test_a_finished_download_needs_no_key(pool: Build, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    first = list(pool().read())
    monkeypatch.delenv("MP_API_KEY")
    assert list(pool().read()) == first
    assert skips(server) == [0, 2, 4, 6]


def test_another_server_does_not_see_the_key(pool: Build, server: Server) -> None:
    with serving(lambda request: Reply.of({})) as other:
        server.answer = lambda request: Reply(307, b"", {"Location": f"{other.url}/materials/summary/"})
        with pytest.raises(UserError, match="points on to another server"):
            list(pool().read())
        assert other.requests == []


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://example.org"}, "a key is sent over https only"),
        ({"chemsys": ["Al-Xx"]}, "no such element: Xx"),
        ({"chemsys": ["Al-*", "Cu-O"]}, "has a wildcard, and then must be the only one"),
        ({"query": {"chemsys": "Al-O"}}, "chemsys: has a key of its own"),
        ({"query": {"_limit": 3}}, "'_limit': not a parameter that can be set"),
        ({"label": "warmth"}, "the unit of 'warmth' is not known: write label_unit"),
        ({"label": "bulk_modulus.vhr"}, "write label_unit. Did you mean 'bulk_modulus.vrh'"),
        ({"label": "Band Gap"}, "String should match pattern"),
        ({"key_env": "MP-KEY"}, "String should match pattern"),
        ({"api_key": "x"}, "Extra inputs are not permitted"),
        ({"page_size": 1001}, "less than or equal to 1000"),
    ],
)
def test_bad_options_are_refused_before_anything_is_asked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MaterialsProject.Options.model_validate(options)


def test_the_usual_labels_have_units() -> None:
    for field, unit in UNITS.items():
        options = MaterialsProject.Options(label=field)
        assert options.label_unit is None
        assert unit == UNITS[field]
