"""JSON from one server of a database on the network: asked again when it is busy, within bounds, and no other server.

What is answered is bounded in size and time, so that a server gone wrong cannot fill the memory or keep a campaign
waiting for ever. A secret goes to that server only, in a header, and is cut out of all that comes back.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Annotated, Any

import httpx
from pydantic import AfterValidator

from active_learning.errors import BackendError, UserError

__all__ = ["BaseUrl", "Secret", "Sleep", "WebClient", "on_server"]

Sleep = Callable[[float], None]

_ATTEMPTS = 6
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 120.0
_MAX_BYTES = 128 * 2**20
_SLOWEST = 10.0
"""A whole answer may take this many times the limit for a silence."""
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def _a_web_address(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"{text!r} is not a web address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{text!r} is not a web address like 'https://example.org/optimade'")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("a base URL has no user, password, query or fragment")
    return text.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_a_web_address)]
"""An http or https address without a trailing slash."""


class Secret:
    """A key from an environment variable, and the header it is sent in. Looked at when the first page is asked for."""

    def __init__(self, variable: str, header: str, where: str) -> None:
        self.variable = variable
        self.header = header
        self.where = where

    @property
    def advice(self) -> str:
        """What to do if there is no key, or a wrong one."""
        return f"Set the environment variable {self.variable} to your key, from {self.where}."

    def read(self) -> str:
        """The key.

        Raises
        ------
        UserError
            If the variable is not set, or holds what cannot be a key.
        """
        key = os.environ.get(self.variable, "").strip()
        if not key:
            raise UserError(f"No key in the environment variable {self.variable}. {self.advice}")
        # Anything else the HTTP library would refuse with a message that shows the key.
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UserError(f"What {self.variable} holds is no key: it has blanks or other signs. {self.advice}")
        return key


class _Busy(Exception):
    """Another try may help, but not before `wait_s`."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


def on_server(base: httpx.URL, url: httpx.URL) -> httpx.URL | None:
    """The address as it is to be asked for on the server of `base`; None if it is another server's.

    Behind a proxy that ends TLS, servers write http:// where https:// is meant: that is put right, never followed. From
    http to https on the usual port is a step up, and taken.
    """
    if url.host != base.host:
        return None
    if (url.scheme, base.scheme) == ("http", "https"):
        return url.copy_with(scheme="https", port=base.port)
    return url if (url.scheme, url.port) in ((base.scheme, base.port), ("https", None)) else None


class WebClient:
    """Gets JSON objects from the server of `base`. Close it when done.

    Parameters
    ----------
    base : address whose host is the only one asked
    timeout_s : longest silence of the server
    secret : sent with each request
    hint : what to look at if the server refuses
    sleep : waits that many seconds before another try
    """

    def __init__(
        self, base: str, timeout_s: float, *, secret: Secret | None = None, hint: str = "", sleep: Sleep = time.sleep
    ) -> None:
        self._base = httpx.URL(base)
        self._timeout_s = timeout_s
        self._secret = secret
        self._hint = hint
        self._sleep = sleep

    @cached_property
    def _key(self) -> str:
        return "" if self._secret is None else self._secret.read()

    @cached_property
    def _http(self) -> httpx.Client:
        headers = {"Accept": "application/json, application/vnd.api+json", "User-Agent": "motherlode"}
        if self._secret is not None:
            headers[self._secret.header] = self._key
        return httpx.Client(headers=headers, timeout=self._timeout_s, follow_redirects=False)

    def close(self) -> None:
        """Close the connections, if any was opened."""
        if "_http" in self.__dict__:
            self._http.close()

    def get(self, url: str) -> Mapping[str, Any]:
        """The JSON object at this address.

        Raises
        ------
        UserError
            If the server refuses (a wrong address, filter or key), or sends us to another host.
        BackendError
            If it cannot be reached, is busy for too long, or answers what is not a JSON object.
        """
        wait_s = _FIRST_WAIT_S
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._try(self._own(self._base.join(url)))
            except httpx.InvalidURL as error:
                raise BackendError(f"{self._base.host} points to what is not a web address: {error}") from error
            except _Busy as busy:
                pause_s = max(wait_s, busy.wait_s)
                if pause_s > _LONGEST_WAIT_S:
                    raise BackendError(f"{busy}, and asks to wait {pause_s:,.0f} s.") from busy
                if attempt == _ATTEMPTS:
                    raise BackendError(f"{busy}. Asked {_ATTEMPTS} times.") from busy
                self._sleep(pause_s)
                wait_s *= 2
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _own(self, url: httpx.URL) -> httpx.URL:
        """The address on our own server.

        Raises
        ------
        UserError
            If it is another server's: it was not the one named, and must not see a key.
        """
        own = on_server(self._base, url)
        if own is not None:
            return own
        here, there = (f"{one.scheme}://{one.netloc.decode()}" for one in (self._base, url))
        raise UserError(
            f"{here} points on to another server, {self._clean(there)}. Only the one that is named is asked: if the "
            "data lie there now, write that address as `url`."
        )

    def _try(self, url: httpx.URL) -> Mapping[str, Any]:
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                with self._http.stream("GET", url) as response:
                    body = self._body(response)
            except (httpx.TransportError, httpx.DecodingError) as error:
                what = self._clean(str(error)) or "no answer"
                # The library's own text may quote a header that shows the key.
                raise _Busy(f"{self._base.host} cannot be reached ({type(error).__name__}: {what})") from None
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return self._read(response, body)
            location = response.headers["location"]
            if self._key and self._key.lower() in location.lower():
                raise BackendError(f"{self._base.host} writes the key into an address, and is not asked again.")
            url = self._own(url.join(location))
        raise BackendError(f"{self._base.host} sends us round in circles ({_MAX_REDIRECTS} redirects).")

    def _body(self, response: httpx.Response) -> bytes:
        parts, size = [], 0
        deadline = time.monotonic() + _SLOWEST * self._timeout_s
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > _MAX_BYTES:
                raise BackendError(
                    f"{self._base.host} answers with more than {_MAX_BYTES // 2**20} MiB at once; lower `page_size`."
                )
            if time.monotonic() > deadline:
                raise _Busy(f"{self._base.host} took more than {_SLOWEST * self._timeout_s:g} s for one answer")
        body = b"".join(parts)
        return body.replace(self._key.encode(), b"[key]") if self._key else body

    def _read(self, response: httpx.Response, body: bytes) -> Mapping[str, Any]:
        status, host = response.status_code, self._base.host
        if status in _TRANSIENT:
            raise _Busy(f"{host} answers {status}{_detail(body)}", _wait_s(response.headers.get("retry-after", "")))
        if status in (401, 403) and self._secret is not None:
            raise UserError(f"{host} does not take the key ({status}{_detail(body)}). {self._secret.advice}")
        if status != 200:
            raise UserError(
                f"{host} refuses {response.request.url.path} ({status}{_detail(body)}). {self._hint}".rstrip()
            )
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _Busy(f"{host} answers what is not JSON ({self._clean(str(error))})") from error
        if not isinstance(answer, dict):
            raise BackendError(f"{host} answers a JSON {type(answer).__name__} where an object is due.")
        return answer

    def _clean(self, text: str) -> str:
        """A text in one line, without the key."""
        text = text.replace(self._key, "[key]") if "_key" in self.__dict__ and self._key else text
        return " ".join(text.split())[:300]


def _wait_s(retry_after: str) -> float:
    """Seconds that a `Retry-After` header asks for, as a number or a date; 0 if it says nothing we can read."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _detail(body: bytes) -> str:
    """What a server says of an error: OPTIMADE's `errors`, FastAPI's `detail`, a gateway's `message`, or its text."""
    text = body.decode(errors="replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = text
    if isinstance(said, dict):
        errors = said.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else said
        said = first.get("detail") or first.get("title") or first.get("message") if isinstance(first, dict) else first
    line = " ".join(str(said or "").split())[:300]
    return f": {line}" if line else ""
