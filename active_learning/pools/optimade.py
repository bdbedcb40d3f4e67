"""The pool `optimade`: crystals from any database that speaks OPTIMADE."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import httpx
from pydantic import Field, field_validator

from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.elements import SYMBOLS
from active_learning.errors import BackendError, ContractError, UserError
from active_learning.pools.filters import Elements, Sieve
from active_learning.pools.optimade_structures import FIELDS, crystal_of
from active_learning.pools.web_client import BaseUrl, Sleep, WebClient
from active_learning.pools.web_options import WebOptions
from active_learning.pools.web_pages import Download, Page, Snapshot

__all__ = ["Optimade"]

_HINT = "`url` is to be an OPTIMADE provider's base URL, `filter` one it understands, `page_size` one it allows."


class Optimade:
    """Candidates from the structures that a provider has for a filter, in the provider's order.

    References
    ----------
    Evans et al. (2024), doi:10.1039/D4DD00039K: OPTIMADE 1.2.
    """

    class Options(WebOptions):
        """Keys of the table `[pool]` with ``kind = "optimade"``."""

        url: BaseUrl = Field(description="Base URL of the provider's API, with or without the version (/v1).")
        filter: str = Field(
            default="",
            description='OPTIMADE filter, such as \'elements HAS ALL "Al","O" AND nelements=2\'. Without it, all.',
        )
        elements: Elements | None = Field(
            default=None, description="Ask for structures of these elements only; without it, of any."
        )
        page_size: int = Field(default=100, ge=1, description="Structures a page; providers set a limit.")

        @field_validator("filter")
        @classmethod
        def _one_line(cls, text: str) -> str:
            return " ".join(text.split())

    def __init__(self, options: Options, *, sleep: Sleep = time.sleep) -> None:
        self.options = options
        self._sleep = sleep
        self._download = Download(
            options.cache, "optimade", self._first_page(), options.max_structures, refresh=options.refresh
        )

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every structure, after the download; what is disordered, not a crystal or broken as `Dropped`.

        Raises
        ------
        UserError
            If the provider refuses the filter, is none, or has nothing for it.
        BackendError
            If it cannot be reached, or answers what is not OPTIMADE.
        """
        options, sieve, n_entries = self.options, Sieve(self.options, self.options.elements), 0
        snapshot = self._snapshot()
        for n_entries, (place, entry) in enumerate(snapshot.entries(), start=1):  # noqa: B007 - counts what came
            origin = str(entry["id"]) if entry.get("id") else place
            try:
                attributes = entry.get("attributes")
                crystal = crystal_of(attributes if isinstance(attributes, dict) else {})
            except ContractError as error:
                yield Dropped(origin, " ".join(str(error).split()))
            else:
                yield sieve.sift(Candidate.of(crystal, origin))
        if not n_entries:
            raise UserError(f"{options.url} has no structure for the filter {self._filter() or 'that takes all'!r}.")
        if snapshot.n_beyond != 0:
            more = f"{snapshot.n_beyond:,} more" if snapshot.n_beyond else "more"
            yield Dropped(options.url, f"beyond max_structures: {more} than {options.max_structures:,}")

    def _snapshot(self) -> Snapshot:
        options = self.options
        with closing(WebClient(options.url, options.timeout, hint=_HINT, sleep=self._sleep)) as client:
            return self._download.snapshot(lambda url: _page(client.get(url)))

    def _filter(self) -> str:
        """The user's filter, and what every server must be able to ask of elements (HAS ONLY it need not)."""
        parts = [f"({self.options.filter})"] if self.options.filter else []
        if self.options.elements:
            others = ",".join(f'"{symbol}"' for symbol in SYMBOLS if symbol not in self.options.elements)
            parts.append(f"NOT (elements HAS ANY {others})")
        if self.options.n_elements:
            parts.append(f"({' OR '.join(f'nelements={n}' for n in self.options.n_elements)})")
        return " AND ".join(parts)

    def _first_page(self) -> str:
        base = httpx.URL(self.options.url)
        is_versioned = base.path.rstrip("/").rpartition("/")[2].startswith("v1")
        asked = {"filter": self._filter()} | {
            "response_fields": ",".join(FIELDS),
            "page_limit": str(min(self.options.page_size, self.options.max_structures)),
        }
        url = f"{self.options.url}{'' if is_versioned else '/v1'}/structures"
        return str(httpx.URL(url, params={key: value for key, value in asked.items() if value}))


def _page(answer: Mapping[str, Any]) -> Page:
    entries, links, meta = answer.get("data"), answer.get("links"), answer.get("meta")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BackendError(f"The answer is not OPTIMADE: it has no list of entries under 'data'. {_HINT}")
    after = links.get("next") if isinstance(links, dict) else None
    # A link may be a string, or an object with a string.
    after = after.get("href") if isinstance(after, dict) else after
    if after is not None and not isinstance(after, str):
        raise BackendError(f"The answer is not OPTIMADE: its link to the next page is {str(after)[:60]!r}.")
    total = meta.get("data_returned") if isinstance(meta, dict) else None
    return Page(entries, after or None, total if isinstance(total, int) else None)
