"""Downloads that survive: the pages of a query, kept on disk one by one, so that a killed download goes on.

Of one query there is one folder, ``<cache>/<kind>-<hash>``::

    lock                      held (``flock``) while pages are fetched: a second process waits, then finds them there
    pages-1/00001.json.gz     a page: where it came from, where the next one is, and the entries as they came
    snapshot.json             written when the last page is there: which folder of pages, and the hash of each page

A finished download is a snapshot: it is read again without asking the server, for as long as the user wishes.
Refreshing fetches a new set of pages beside it, and only when that is whole does it take the place. A page on disk that
is not whole is fetched again; if it then differs from the snapshot's, the database has changed, and all pages are.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from active_learning.domain.candidate import content_hash
from active_learning.errors import BackendError, UserError

__all__ = ["Download", "Fetch", "Page", "Snapshot"]

_LOG = logging.getLogger(__name__)
_STALE_S = 7 * 24 * 3600.0
"""Pages of an unfinished download older than this are fetched again: they would not fit those that follow."""


@dataclass(frozen=True)
class Page:
    """One page of a query's answer.

    Parameters
    ----------
    entries : JSON objects, as the server sent them
    next : address of the next page; None after the last
    total : how many entries the query has in all, if the server says so
    state : what must be the same on every page, or else the database changed while it was read
    meta : what else is worth keeping; nothing that differs when the same page is asked for twice
    """

    entries: Sequence[Mapping[str, Any]]
    next: str | None
    total: int | None = None
    state: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


Fetch = Callable[[str], Page]


class _Changed(Exception):
    """The database changed while it was read."""


def _write(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for half of it."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.json.gz"


def _load(path: Path) -> tuple[dict[str, Any], str] | None:
    """A kept page and its hash; None if it is not there or not whole (gzip's checksum says so)."""
    try:
        content = gzip.decompress(path.read_bytes())
        kept = json.loads(content)
    except (OSError, EOFError, zlib.error, ValueError):
        return None
    return (kept, hashlib.sha256(content).hexdigest()) if isinstance(kept, dict) and "entries" in kept else None


@dataclass(frozen=True)
class Snapshot:
    """A finished download.

    Parameters
    ----------
    folder : where its pages lie
    hashes : SHA-256 of each page
    limit : most entries to take
    n_beyond : how many entries the query has beyond the limit; None if there are more, and nobody knows how many
    finished : when its last page came, UTC, ISO 8601
    """

    folder: Path
    hashes: tuple[str, ...]
    limit: int
    n_beyond: int | None
    finished: str

    def entries(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each entry with its place ("page 2, entry 17"), in the server's order, up to the limit."""
        left = self.limit
        for number in range(1, len(self.hashes) + 1):
            for place, entry in enumerate(self._page(number)["entries"][:left], start=1):
                yield f"page {number}, entry {place}", entry
                left -= 1

    def meta(self) -> Mapping[str, Any]:
        """What was kept beside the entries of the first page."""
        return dict(self._page(1)["meta"])

    def _page(self, number: int) -> dict[str, Any]:
        found = _load(_path(self.folder, number))
        if found is None or found[1] != self.hashes[number - 1]:
            raise BackendError(f"{_path(self.folder, number)} changed while it was read; run again to fetch it anew.")
        return found[0]


@dataclass(frozen=True)
class _Chain:
    """Pages from the first to the last: their hashes, and what is beyond the limit (as in `Snapshot`)."""

    hashes: tuple[str, ...]
    n_beyond: int | None


class Download:
    """The pages of one query, fetched once.

    Parameters
    ----------
    cache : folder of all downloads
    kind : what is downloaded, in a word
    url : address of the first page; all that makes the query
    limit : most entries to take
    refresh : whether the first call of `snapshot` is to fetch all pages anew
    """

    def __init__(self, cache: Path, kind: str, url: str, limit: int, *, refresh: bool = False) -> None:
        self.folder = cache / f"{kind}-{content_hash({'url': url, 'limit': limit})}"
        self._url = url
        self._limit = limit
        self._refresh = refresh

    def snapshot(self, fetch: Fetch) -> Snapshot:
        """The finished download. `fetch` is called for the pages that are missing, if any.

        Raises
        ------
        UserError
            If the cache cannot be written, or what `fetch` raises.
        BackendError
            If a page cannot be had; those before it are kept, and the next call goes on from there. Also if the pages
            lead round in a circle, or the database changed again and again while it was read.
        """
        try:
            with self._locked():
                found = self._finished()
                whole = None if found is None or self._refresh else self._repaired(found, fetch)
                result = whole or self._fetched(0 if found is None else _number(found.folder), fetch)
                self._refresh = False
                return result
        except OSError as error:
            raise UserError(f"The download cannot be kept in {self.folder}: {error.strerror}.") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _finished(self) -> Snapshot | None:
        try:
            note = json.loads((self.folder / "snapshot.json").read_bytes())
            pages = self.folder / Path(note["pages"]).name
            return Snapshot(pages, tuple(note["sha256"]), self._limit, note["n_beyond"], str(note["finished"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _repaired(self, found: Snapshot, fetch: Fetch) -> Snapshot | None:
        """The snapshot, its broken pages fetched again; None if the database has other pages by now."""
        try:
            return found if self._chain(found.folder, fetch, found.hashes).hashes == found.hashes else None
        except _Changed:
            return None

    def _fetched(self, before: int, fetch: Fetch) -> Snapshot:
        pages = self.folder / f"pages-{before + 1}"
        _remove_if_stale(pages)
        try:
            chain = self._chain(pages, fetch)
        except _Changed:
            _LOG.info("%s changed while it was read; reading it again", self._url)
            shutil.rmtree(pages)
            try:
                chain = self._chain(pages, fetch)
            except _Changed as error:
                shutil.rmtree(pages)
                raise BackendError(f"{self._url} changes while it is read, twice in a row; try again later.") from error
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        note = {"url": self._url, "pages": pages.name, "finished": finished} | {
            "n_beyond": chain.n_beyond,
            "sha256": chain.hashes,
        }
        _write(self.folder / "snapshot.json", json.dumps(note, indent=1).encode())
        # The one before stays, for whoever reads it at this moment.
        for old in self.folder.glob("pages-*"):
            if _number(old) < before:
                shutil.rmtree(old)
        return Snapshot(pages, chain.hashes, self._limit, chain.n_beyond, finished)

    def _chain(self, folder: Path, fetch: Fetch, expected: Sequence[str] = ()) -> _Chain:
        """Walk from page to page, each from disk if it is whole there.

        Raises
        ------
        _Changed
            If a page is not like the first one's state, or has not the hash that is expected.
        """
        folder.mkdir(exist_ok=True)
        hashes: list[str] = []
        seen: set[str] = set()
        url: str | None = self._url
        state, total, n_entries = None, None, 0
        while url is not None and n_entries < self._limit:
            if url in seen:
                raise BackendError(
                    f"The pages lead round in a circle: page {len(seen) + 1} is {url} again. If that was repaired, "
                    f"delete {folder}."
                )
            seen.add(url)
            page, digest = self._page(folder, len(seen), url, fetch, expected[len(hashes) : len(hashes) + 1])
            state = page["state"] if state is None else state
            if page["state"] != state:
                raise _Changed
            hashes.append(digest)
            url, total, n_entries = page["next"], page["total"], n_entries + len(page["entries"])
        n_beyond: int | None = max(0, n_entries - self._limit)
        if url is not None:
            n_beyond = total - self._limit if total is not None and total > self._limit else None
        return _Chain(tuple(hashes), n_beyond)

    def _page(
        self, folder: Path, number: int, url: str, fetch: Fetch, expected: Sequence[str]
    ) -> tuple[dict[str, Any], str]:
        """A page and its hash: from disk, if it is whole and the one we look for; else fetched, and kept."""
        path = _path(folder, number)
        kept = _load(path)
        if kept is not None and kept[0].get("url") == url and (not expected or kept[1] == expected[0]):
            return kept
        try:
            page = fetch(url)
            if page.next is not None and not page.entries:
                raise BackendError(f"{url} is an empty page, and says that there are more.")
        except BackendError as error:
            done = (
                f"{number - 1:,} page{'s are' if number != 2 else ' is'} kept" if number > 1 else "Nothing is kept yet"
            )
            raise BackendError(f"{error} {done} in {self.folder}; running again goes on from page {number}.") from error
        content = json.dumps({"url": url} | asdict(page), separators=(",", ":")).encode()
        digest = hashlib.sha256(content).hexdigest()
        if expected and digest != expected[0]:
            raise _Changed
        # Without a time inside, so that the same entries give the same file.
        _write(path, gzip.compress(content, mtime=0))
        _LOG.info("page %d of %s: %d entries", number, self._url, len(page.entries))
        return json.loads(content), digest


def _number(pages: Path) -> int:
    digits = pages.name.removeprefix("pages-")
    return int(digits) if digits.isdecimal() else 0


def _remove_if_stale(pages: Path) -> None:
    if pages.is_dir() and max((p.stat().st_mtime for p in pages.iterdir()), default=0.0) < time.time() - _STALE_S:
        shutil.rmtree(pages)
