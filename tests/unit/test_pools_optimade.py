"""The pool `optimade`, against the reference server and against servers gone wrong."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from optimade_server import BAD, GOOD, entry
from pydantic import ValidationError
from pymatgen.core.structure import Structure
from web_servers import OptimadeServer, Reply, Request, Server, optimade_server, serving

from active_learning.crystals.pymatgen import from_structure
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.errors import BackendError, UserError
from active_learning.pools.optimade import Optimade
from active_learning.pools.web_client import on_server

N_THEIRS = 17


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OptimadeServer]:
    with optimade_server(tmp_path_factory.mktemp("optimade")) as running:
        yield running


@pytest.fixture
def pool(tmp_path: Path) -> Callable[..., Optimade]:
    """A pool whose waits are noted in `waits`, and not waited for."""

    def build(url: str, *, waits: list[float] | None = None, **options: Any) -> Optimade:
        given = {
            "url": url,
            "page_size": 10,
            "cache": tmp_path / "cache",
            "drop_duplicates": False,
            "min_distance": 0.0,
        }
        sleep = ([] if waits is None else waits).append
        return Optimade(Optimade.Options.model_validate(given | options), sleep=sleep)

    return build


def origins(pool: Optimade) -> list[str]:
    return [item.origin for item in pool.read() if isinstance(item, Candidate)]


# The reference server


def test_all_pages_are_read_in_the_providers_order(pool: Callable[..., Optimade], server: OptimadeServer) -> None:
    before = len(server.requests())
    taken = origins(pool(server.url))
    assert taken[N_THEIRS:] == [one["id"] for one in GOOD]
    assert len(taken) == N_THEIRS + len(GOOD)
    n_pages = -(-(N_THEIRS + len(GOOD) + len(BAD)) // 10)
    assert len(server.requests()) - before == n_pages


def test_crystals_are_those_of_the_consortiums_own_adapter(
    pool: Callable[..., Optimade], server: OptimadeServer
) -> None:
    reference = server.reference()
    ours = {item.origin: item for item in pool(server.url).read() if isinstance(item, Candidate)}
    assert len(reference) == N_THEIRS
    for name, theirs in reference.items():
        crystal, expected = ours[name].crystal, from_structure(Structure.from_dict(theirs))
        assert crystal is not None
        assert crystal.species == expected.species
        np.testing.assert_allclose(crystal.lattice, expected.lattice, rtol=0, atol=1e-9)
        np.testing.assert_allclose(crystal.frac_coords, expected.frac_coords, rtol=0, atol=1e-9)


def test_what_is_no_ordered_crystal_is_dropped_with_the_reason(
    pool: Callable[..., Optimade], server: OptimadeServer
) -> None:
    dropped = {item.source: item.reason for item in pool(server.url).read() if isinstance(item, Dropped)}
    assert dropped.keys() == {one["id"] for one in BAD.values()}
    for reason, one in BAD.items():
        assert dropped[one["id"]].startswith(reason)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"filter": 'elements HAS ALL "Al","Ni" AND nelements=2'}, ["good/alni"]),
        ({"filter": 'id CONTAINS "good/"'}, [one["id"] for one in GOOD]),
        ({"filter": 'id CONTAINS "good/"', "elements": ["Cu", "Pd"]}, ["good/cupd", "good/cu"]),
        ({"filter": 'id="good/cu"\n  OR id="good/alni"', "elements": ["Cu"]}, ["good/cu"]),
        ({"elements": ["Cu", "Pd"], "n_elements": [1]}, ["good/cu"]),
        ({"filter": 'id CONTAINS "good/"', "max_atoms": 1}, ["good/cu"]),
    ],
)
def test_filter_and_elements_choose(
    pool: Callable[..., Optimade], server: OptimadeServer, options: dict[str, Any], found: list[str]
) -> None:
    assert origins(pool(server.url, **options)) == found


def test_the_version_may_stand_in_the_url(pool: Callable[..., Optimade], server: OptimadeServer) -> None:
    asked = [origins(pool(f"{server.url}{end}", filter="nelements=2")) for end in ("", "/", "/v1", "/v1.2")]
    assert asked == [asked[0]] * 4


def test_what_lies_beyond_the_limit_is_reported(pool: Callable[..., Optimade], server: OptimadeServer) -> None:
    items = list(pool(server.url, filter='id CONTAINS "good/"', max_structures=3, page_size=2).read())
    assert [item.origin for item in items[:3] if isinstance(item, Candidate)] == [one["id"] for one in GOOD[:3]]
    assert items[3:] == [Dropped(server.url, "beyond max_structures: 1 more than 3")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter": "elements HAVE Al"}, r"refuses /v1/structures \(400: .*filter.* `filter` one it understands"),
        ({"page_size": 51}, r"refuses .* \(403: Max allowed page_limit is 50, you requested 51\).*`page_size`"),
        ({"filter": 'id="none"'}, r"has no structure for the filter '\(id=\"none\"\)'"),
    ],
)
def test_what_the_provider_refuses_is_the_users_error(
    pool: Callable[..., Optimade], server: OptimadeServer, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        list(pool(server.url, **options).read())


def test_an_address_that_is_no_provider_is_the_users_error(
    pool: Callable[..., Optimade], server: OptimadeServer
) -> None:
    with pytest.raises(UserError, match=r"refuses /elsewhere/v1/structures \(404: Not Found\)\. `url` is to be"):
        list(pool(f"{server.url}/elsewhere").read())


# The cache


def test_a_finished_download_is_read_again_without_the_server(
    pool: Callable[..., Optimade], server: OptimadeServer
) -> None:
    first = list(pool(server.url).read())
    asked = len(server.requests())
    assert list(pool(server.url).read()) == first
    assert list(pool(server.url, timeout="1 min", max_atoms=30).read()) != first
    assert len(server.requests()) == asked


_READ = """
import sys
from active_learning.pools.optimade import Optimade
url, cache = sys.argv[1:]
list(Optimade(Optimade.Options(url=url, page_size=10, cache=cache)).read())
"""


def test_a_killed_download_goes_on_at_the_page_in_hand(
    pool: Callable[..., Optimade], server: OptimadeServer, tmp_path: Path
) -> None:
    before = len(server.requests())
    with server.holding("page_offset=20"):
        process = subprocess.Popen([sys.executable, "-c", _READ, server.url, str(tmp_path / "cache")])
        deadline = time.monotonic() + 60
        while len(server.requests()) - before < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    killed = server.requests()[before:]
    assert [("page_offset=10" in one, "page_offset=20" in one) for one in killed] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    resumed = pool(server.url)
    items = list(resumed.read())
    asked = server.requests()[before + 3 :]
    assert [one.rpartition("page_offset=")[2] for one in asked] == ["20", "30"]
    assert items == list(pool(server.url, cache=tmp_path / "other").read())


@pytest.mark.parametrize("spoil", [lambda whole: whole[:200], lambda whole: b"", lambda whole: b"not gzip at all"])
def test_a_broken_page_of_a_finished_download_is_fetched_again(
    pool: Callable[..., Optimade], server: OptimadeServer, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    first = list(pool(server.url).read())
    page = next((tmp_path / "cache").glob("*/pages-1/00002.json.gz"))
    page.write_bytes(spoil(page.read_bytes()))
    asked = len(server.requests())
    assert list(pool(server.url).read()) == first
    assert [one.rpartition("page_offset=")[2] for one in server.requests()[asked:]] == ["10"]


def test_refreshing_downloads_once_for_each_pool(pool: Callable[..., Optimade], server: OptimadeServer) -> None:
    first = list(pool(server.url).read())
    asked = len(server.requests())
    again = pool(server.url, refresh=True)
    assert list(again.read()) == first
    assert list(again.read()) == first
    assert len(server.requests()) - asked == 4


def test_two_threads_that_read_at_once_download_once(pool: Callable[..., Optimade], server: OptimadeServer) -> None:
    asked = len(server.requests())
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(origins(pool(server.url)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert found == [found[0]] * 4
    assert len(server.requests()) - asked == 4


def test_a_cache_that_cannot_be_written_is_the_users_error(
    pool: Callable[..., Optimade], server: OptimadeServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"The download cannot be kept in .*file.*Not a directory"):
        list(pool(server.url, cache=tmp_path / "file").read())


# Servers gone wrong


def answer_of(entries: list[dict[str, Any]], following: Any = None, **meta: Any) -> dict[str, Any]:
    data = [{"id": one["id"], "type": "structures", "attributes": one} for one in entries]
    return {"data": data, "links": {"next": following}, "meta": meta}


def pages(*served: Callable[[str], dict[str, Any]]) -> Callable[[Request], Reply]:
    """A server of these pages, each made with its address; `page` in the query is the number of the page."""

    def answer(request: Request) -> Reply:
        address = f"http://{request.headers['host']}"
        return Reply.of(served[int(request.query.get("page", "1")) - 1](address))

    return answer


@pytest.mark.parametrize(
    "link",
    [
        "{address}/v1/structures?page=2",
        {"href": "{address}/v1/structures?page=2"},
        {"href": "{address}/v1/structures?page=2", "meta": {"x": 1}},
        "/v1/structures?page=2",
    ],
)
def test_links_are_texts_or_objects(pool: Callable[..., Optimade], link: Any) -> None:
    def first(address: str) -> dict[str, Any]:
        return answer_of(GOOD[:1], json.loads(json.dumps(link).replace("{address}", address)))

    with serving(pages(first, lambda _: answer_of(GOOD[1:2], {"href": None}))) as server:
        assert origins(pool(server.url)) == ["good/cuau", "good/alni"]


@pytest.mark.parametrize(
    ("link", "error", "message"),
    [
        (
            "http://elsewhere.example/v1/structures?page=2",
            UserError,
            "points on to another server, http://elsewhere.ex",
        ),
        ("http://127.0.0.1:1/v1/structures?page=2", UserError, "points on to another server, http://127.0.0.1:1"),
        ("ftp://127.0.0.1/v1", UserError, "points on to another server, ftp://127.0.0.1"),
        ("http://127.0.0.1:abc/", BackendError, "what is not a web address"),
        (7, BackendError, "its link to the next page is '7'"),
        ({"href": ["x"]}, BackendError, "its link to the next page is"),
    ],
)
def test_a_link_to_somewhere_else_is_not_followed(
    pool: Callable[..., Optimade], link: Any, error: type[Exception], message: str
) -> None:
    with serving(lambda request: Reply.of(answer_of(GOOD, link))) as server:
        with pytest.raises(error, match=message):
            list(pool(server.url).read())
        assert len(server.requests) == 1


def test_pages_in_a_circle_and_empty_ones_that_go_on_end(pool: Callable[..., Optimade]) -> None:
    here = "{}/v1/structures?page=2"
    circle = pages(*[lambda address: answer_of(GOOD[:1], here.format(address))] * 2)
    with serving(circle) as server, pytest.raises(BackendError, match=r"in a circle: page 3 is .*page=2 again"):
        list(pool(server.url).read())
    empty = pages(lambda address: answer_of([], here.format(address)))
    with serving(empty) as server, pytest.raises(BackendError, match="is an empty page, and says that there are more"):
        list(pool(server.url).read())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_on_the_same_server_is_followed(pool: Callable[..., Optimade], status: int) -> None:
    def answer(request: Request) -> Reply:
        if request.path.startswith("/old"):
            return Reply(status, b"", {"Location": "/v1/structures"})
        return Reply.of(answer_of(GOOD))

    with serving(answer) as server:
        assert len(origins(pool(f"{server.url}/old"))) == len(GOOD)


def test_a_redirect_to_another_server_or_in_circles_is_not(pool: Callable[..., Optimade]) -> None:
    away = serving(lambda request: Reply(302, b"", {"Location": "https://elsewhere.example/"}))
    message = r"another server, https://elsewhere\.example.*write that address as `url`"
    with away as server, pytest.raises(UserError, match=message):
        list(pool(server.url).read())
    with serving(lambda request: Reply(302, b"", {"Location": "/v1/structures"})) as server:
        with pytest.raises(BackendError, match="round in circles"):
            list(pool(server.url).read())
        assert len(server.requests) == 6


def answers_in_turn(*replies: Reply) -> Callable[[Request], Reply]:
    waiting = list(replies)
    return lambda request: waiting.pop(0) if len(waiting) > 1 else waiting[0]


WHOLE = Reply.of(answer_of(GOOD))
CUT = Reply(200, WHOLE.body, cut=100)


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (Reply.of({}, 429, Retry_After="7"), [7.0]),
        (Reply.of({}, 429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), [1.0]),
        (Reply.of({}, 429, Retry_After="soon"), [1.0]),
        (Reply.of({}, 500), [1.0]),
        (Reply.of({}, 503), [1.0]),
        (CUT, [1.0]),
        (Reply(200, b'{"data": ['), [1.0]),
        (Reply(200, b"\x1f\x8bnot gzip", {"Content-Encoding": "gzip"}), [1.0]),
    ],
)
def test_a_passing_fault_costs_a_wait(pool: Callable[..., Optimade], fault: Reply, waits: list[float]) -> None:
    waited: list[float] = []
    with serving(answers_in_turn(fault, WHOLE)) as server:
        assert len(origins(pool(server.url, waits=waited))) == len(GOOD)
    assert waited == waits


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            Reply.of({"errors": [{"detail": "out of\norder"}]}, 502),
            "127.0.0.1 answers 502: out of order. Asked 6 times.",
        ),
        (CUT, "cannot be reached .RemoteProtocolError.*Asked 6 times"),
        (Reply(200, b"<html>maintenance</html>"), "answers what is not JSON .*Asked 6 times"),
        (Reply.of({}, 429, Retry_After="3600"), "answers 429, and asks to wait 3,600 s"),
        (Reply.of([1]), "a JSON list where an object is due"),
        (Reply.of({"data": {"id": 1}}), "not OPTIMADE: it has no list of entries under 'data'"),
        (Reply.of({"hello": "world"}), "not OPTIMADE: it has no list of entries under 'data'"),
    ],
)
def test_a_lasting_fault_ends_with_what_is_kept_and_how_to_go_on(
    pool: Callable[..., Optimade], fault: Reply, message: str
) -> None:
    waited: list[float] = []

    def answer(request: Request) -> Reply:
        more = f"http://{request.headers['host']}/v1/structures?page=2"
        return Reply.of(answer_of(GOOD[:1], more)) if "page" not in request.query else fault

    with serving(answer) as server:
        with pytest.raises(BackendError, match=message) as caught:
            list(pool(server.url, waits=waited).read())
        assert "running again goes on from page 2" in str(caught.value)
        assert "\n" not in str(caught.value)
        server.answer = lambda request: Reply.of(answer_of(GOOD[1:]))
        asked = len(server.requests)
        assert origins(pool(server.url)) == [one["id"] for one in GOOD]
        assert [request.query["page"] for request in server.requests[asked:]] == ["2"]
    assert waited in ([], [1.0, 2.0, 4.0, 8.0, 16.0])


def test_a_server_that_is_not_there_is_said_so(pool: Callable[..., Optimade]) -> None:
    gone = Server(lambda request: WHOLE)
    gone.close()
    with pytest.raises(BackendError, match=r"127\.0\.0\.1 cannot be reached \(ConnectError: .*refused.*from page 1"):
        list(pool(gone.url).read())


def test_a_silent_server_is_given_up_after_the_timeout(pool: Callable[..., Optimade]) -> None:
    released = threading.Event()

    def answer(request: Request) -> Reply:
        released.wait()
        return WHOLE

    with serving(answer) as server:
        try:
            with pytest.raises(BackendError, match=r"cannot be reached \(ReadTimeout"):
                list(pool(server.url, timeout=0.05).read())
        finally:
            released.set()


def test_an_answer_that_never_ends_is_given_up(pool: Callable[..., Optimade]) -> None:
    waited: list[float] = []
    with serving(answers_in_turn(Reply(200, WHOLE.body, pause=0.05), WHOLE)) as server:
        began = time.monotonic()
        assert len(origins(pool(server.url, timeout=0.2, waits=waited))) == len(GOOD)
    assert waited == [1.0]
    assert time.monotonic() - began < 0.05 * len(WHOLE.body) / 2


def test_an_answer_that_swells_is_refused(pool: Callable[..., Optimade]) -> None:
    bomb = Reply(200, gzip.compress(bytes(150 * 2**20), 1), {"Content-Encoding": "gzip"})
    with serving(lambda request: bomb) as server, pytest.raises(BackendError, match=r"more than 128 MiB.*`page_size`"):
        list(pool(server.url).read())


@pytest.mark.parametrize(
    ("base", "link", "asked"),
    [
        ("https://a.org/x", "https://a.org/y", "https://a.org/y"),
        ("https://a.org/x", "http://a.org/y?z=1", "https://a.org/y?z=1"),
        ("https://a.org:8443/x", "http://a.org/y", "https://a.org:8443/y"),
        ("http://a.org/x", "https://a.org/y", "https://a.org/y"),
        ("http://a.org/x", "http://a.org:81/y", None),
        ("http://a.org/x", "https://a.org:444/y", None),
        ("https://a.org/x", "https://a.org:444/y", None),
        ("https://a.org/x", "https://b.a.org/y", None),
        ("https://a.org/x", "https://a.org@b.org/y", None),
    ],
)
def test_only_the_named_server_is_asked_and_never_less_safely(base: str, link: str, asked: str | None) -> None:
    assert on_server(httpx.URL(base), httpx.URL(link)) == (None if asked is None else httpx.URL(asked))


def test_a_snapshot_whose_broken_page_changed_at_the_provider_is_downloaded_anew(
    pool: Callable[..., Optimade], tmp_path: Path
) -> None:
    def first(address: str) -> dict[str, Any]:
        return answer_of(GOOD[:1], f"{address}/v1/structures?page=2")

    with serving(pages(first, lambda _: answer_of(GOOD[1:2]))) as server:
        assert origins(pool(server.url)) == ["good/cuau", "good/alni"]
        server.answer = pages(first, lambda _: answer_of(GOOD[2:3]))
        assert origins(pool(server.url)) == ["good/cuau", "good/alni"]
        next((tmp_path / "cache").glob("*/pages-1/00002.json.gz")).unlink()
        assert origins(pool(server.url)) == ["good/cuau", "good/cupd"]
        assert origins(pool(server.url)) == ["good/cuau", "good/cupd"]
        assert len(server.requests) == 2 + 1 + 2


def test_a_refresh_that_fails_leaves_the_old_snapshot(pool: Callable[..., Optimade], tmp_path: Path) -> None:
    with serving(lambda request: Reply.of(answer_of(GOOD[:1]))) as server:
        assert origins(pool(server.url)) == ["good/cuau"]
        server.answer = lambda request: Reply.of({}, 500)
        with pytest.raises(BackendError, match="answers 500"):
            list(pool(server.url, refresh=True).read())
        assert origins(pool(server.url)) == ["good/cuau"]
        for n in range(1, 4):
            server.answer = lambda request, n=n: Reply.of(answer_of(GOOD[n : n + 1]))
            assert origins(pool(server.url, refresh=True)) == [GOOD[n]["id"]]
        assert origins(pool(server.url)) == [GOOD[3]["id"]]
    (folder,) = (tmp_path / "cache").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "pages-3", "pages-4", "snapshot.json"]


def test_a_manifest_that_cannot_be_read_costs_no_pages(pool: Callable[..., Optimade], tmp_path: Path) -> None:
    with serving(lambda request: WHOLE) as server:
        first = list(pool(server.url).read())
        next((tmp_path / "cache").glob("*/snapshot.json")).write_text('{"pages": ')
        assert list(pool(server.url).read()) == first
        assert len(server.requests) == 1


def test_an_unfinished_download_of_last_week_is_begun_anew(pool: Callable[..., Optimade], tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        more = f"http://{request.headers['host']}/v1/structures?page=2"
        return Reply.of(answer_of(GOOD[:1], more)) if "page" not in request.query else Reply.of({}, 500)

    with serving(answer) as server:
        with pytest.raises(BackendError, match="answers 500"):
            list(pool(server.url).read())
        old = time.time() - 8 * 24 * 3600
        os.utime(next((tmp_path / "cache").glob("*/pages-1/00001.json.gz")), (old, old))
        server.answer = lambda request: Reply.of(answer_of(GOOD[2:3]))
        assert origins(pool(server.url)) == ["good/cupd"]


def test_an_entry_without_id_or_attributes_costs_itself_only(pool: Callable[..., Optimade]) -> None:
    broken = [{"id": None, "attributes": GOOD[0]}, {"id": "x", "attributes": 7}, {"attributes": {"nsites": 1}}]
    infinite = {"id": "inf", "attributes": entry("inf", cartesian_site_positions=[[0, 0, float("nan")], [2, 2, 2]])}
    whole = answer_of(GOOD[1:2])
    with serving(lambda request: Reply.of(whole | {"data": [*broken, infinite, *whole["data"]]})) as server:
        items = list(pool(server.url).read())
    assert [item.origin for item in items if isinstance(item, Candidate)] == ["page 1, entry 1", "good/alni"]
    assert [(item.source, item.kind) for item in items if isinstance(item, Dropped)] == [
        ("x", "not periodic in all three directions"),
        ("page 1, entry 3", "not periodic in all three directions"),
        ("inf", "cannot be read"),
    ]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("example.org/optimade", "is not a web address like"),
        ("ftp://example.org", "is not a web address like"),
        ("https://me:secret@example.org", "no user, password, query or fragment"),
        ("https://example.org/?x=1", "no user, password, query or fragment"),
        ("http://example.org:port", "is not a web address"),
    ],
)
def test_an_url_that_is_none_is_refused_before_anything_is_asked(url: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Optimade.Options(url=url)


def test_the_cache_lies_beside_the_campaign_file() -> None:
    options = Optimade.Options.model_validate(
        {"url": "https://example.org"}, context={"base": Path("/campaigns/first")}
    )
    assert options.cache == Path("/campaigns/first/.motherlode-cache")
