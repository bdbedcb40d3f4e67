"""The report in a real browser: widths, themes, sorting, filtering, and nothing that runs or is fetched.

Needs Chromium; it is steered through its own protocol, without a driver.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from active_learning.reporting.report import render_html
from active_learning.testing.records import example_record

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

PAYLOAD = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"
_QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")


class Browser:
    """One tab of a headless Chromium."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        flags = ("--headless", "--no-sandbox", "--disable-gpu", *_QUIET, f"--user-data-dir={profile}")
        self._said = profile.with_suffix(".log")
        with self._said.open("wb") as said:
            command = [CHROMIUM, *flags, "--remote-debugging-port=0", "about:blank"]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        self._connection = self._connected()
        self._n = 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _connected(self) -> ClientConnection:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"ws://127\.0\.0\.1:(\d+)/", self._said.read_text(errors="replace"))):
            assert time.monotonic() < deadline, "Chromium did not start"
            assert self._process.poll() is None, self._said.read_text(errors="replace")
            time.sleep(0.05)
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/json", timeout=60) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        return connect(pages[0]["webSocketDebuggerUrl"], max_size=None)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._n += 1
        self._connection.send(json.dumps({"id": self._n, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self._connection.recv(timeout=120))
            if message.get("id") == self._n:
                assert "error" not in message, message
                return message["result"]  # type: ignore[no-any-return]
            self.events.append(message)

    def run(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def show(self, path: Path, *, width: int, is_dark: bool = False, has_scripts: bool = True) -> None:
        self.events.clear()
        theme = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=theme)
        self.call("Emulation.setScriptExecutionDisabled", value=not has_scripts)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.call("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + 60
        while self.run("document.readyState") != "complete" or self.run("location.protocol") != "file:":
            assert time.monotonic() < deadline, "the page did not load"
            time.sleep(0.05)

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("chromium") / "profile")
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    record = example_record(n_control=2, n_test=1, failure_rate=0.3, rules=("ei", "ucb"))
    spec = dict(record.spec) | {"stopping": {"any": [{"kind": "labels", "max": 60}, {"kind": "cost", "max": 9e3}]}}
    record = replace(
        record,
        spec=spec,
        origins=tuple(f"{PAYLOAD} {'long' * 200}" for _ in record.origins),
        requests=tuple(replace(r, reason=f"{r.reason} {PAYLOAD}") for r in record.requests),
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(record), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_the_page_never_scrolls_sideways_only_its_boxes_do(browser, page, width):
    browser.show(page, width=width)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    # On a wide screen the scroll bar takes its share of the window.
    assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert width - 20 < browser.run("document.documentElement.clientWidth") <= width
    wide = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth).length"
    assert browser.run(wide) > 0
    outside = (
        "[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, pre')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 99))"
    )
    assert browser.run(outside) == []


_SEEN = """(() => {
  const part = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (color) => { const [r, g, b] = part(color); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = getComputedStyle(document.querySelector('section')).backgroundColor;
  const kinds = ['body', 'td', 'th', 'figcaption', '.note', 'a', 'td.failed', '.badge', 'td code', '.good, .open'];
  return kinds.filter((kind) => document.querySelector(kind)).map((kind) => {
    const [a, b] = [getComputedStyle(document.querySelector(kind)).color, paper].map(light).sort((x, y) => y - x);
    return [kind, (a + 0.05) / (b + 0.05)];
  });
})()"""


@pytest.mark.parametrize("is_dark", [False, True])
def test_text_stands_out_in_both_themes_and_figures_follow(browser, page, is_dark):
    browser.show(page, width=1400, is_dark=is_dark)
    # The contrast that WCAG 2.2 asks of text, success criterion 1.4.3.
    assert [(kind, ratio) for kind, ratio in browser.run(_SEEN) if ratio < 4.5] == []
    sources = "[...document.images].map((one) => one.currentSrc === one.src)"
    assert set(browser.run(sources)) == {not is_dark}
    sizes = browser.run("[...document.images].map((one) => one.naturalWidth)")
    assert len(sizes) == 12
    assert min(sizes) > 300


def test_nothing_is_fetched_nothing_runs_and_nothing_is_complained_of(browser, page):
    browser.show(page, width=1400)
    requests = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    assert [e for e in browser.events if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")] == []
    assert browser.run("window.hit ?? 0") == 0
    assert PAYLOAD in browser.run("document.querySelector('#decisions td.reason').textContent")


_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_LOG = "document.querySelector('#decisions table')"


def _column(browser: Browser, name: str) -> list[str]:
    place = browser.run(f"[...{_LOG}.tHead.rows[0].cells].findIndex((one) => one.textContent === '{name}')")
    rows = f"[...{_LOG}.tBodies[0].rows].filter((row) => !row.hidden)"
    return browser.run(f"{rows}.map((row) => row.cells[{place}].textContent)")  # type: ignore[no-any-return]


def _click(browser: Browser, name: str) -> None:
    browser.run(f"[...{_LOG}.querySelectorAll('th button')].find((one) => one.textContent === '{name}').click()")


@pytest.mark.parametrize("name", ["score", "z", "error", "round", "#", "outcome (eV/atom)"])
def test_a_click_on_a_heading_sorts_by_numbers_and_another_turns_it_round(browser, page, name):
    browser.show(page, width=1400)
    given = _column(browser, name)
    assert len(given) > 40
    known = sorted(float(found[0]) for text in given if (found := _NUMBER.match(text)))
    assert len(known) > 20
    for numbers in (known, known[::-1]):
        _click(browser, name)
        shown = _column(browser, name)
        assert [float(_NUMBER.match(text)[0]) for text in shown[: len(known)]] == numbers  # type: ignore[index]
        # What has no number, as a failed attempt has no value, stands last, whichever way.
        assert not any(_NUMBER.match(text) for text in shown[len(known) :])


def test_words_in_the_filter_leave_the_rows_that_hold_them_all(browser, page):
    browser.show(page, width=390)
    n = len(_column(browser, "arm"))
    browser.run(
        "(() => { const box = document.querySelector('.filter input'); box.value = 'Control  1';"
        " box.dispatchEvent(new Event('input')); })()"
    )
    arms = _column(browser, "arm")
    assert 0 < len(arms) < n
    assert set(arms) == {"control"}
    assert browser.run("document.querySelector('.filter span').textContent") == f"{len(arms)} of {n}"


def test_without_scripts_the_whole_log_is_there_and_no_dead_control(browser, page):
    browser.show(page, width=390, has_scripts=False)
    text = browser.call("Runtime.evaluate", expression=f"{_LOG}.tBodies[0].rows.length", returnByValue=True)
    assert text["result"]["value"] > 40
    assert browser.run("document.querySelectorAll('button, input').length") == 0
