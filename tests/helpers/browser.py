"""Headless Chromium, what it must not be made to do by a page, and what can be measured of a page that it shows."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, Route, sync_playwright

__all__ = ["DULL_TEXTS", "SCREENSHOTS", "THEMES", "Theme", "Visit", "chromium", "picture", "visit", "what_is_missing"]

SCREENSHOTS = "MOTHERLODE_SCREENSHOTS"
"""Names a folder that gets a copy of every picture, for a person to look at."""

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_MS = 300_000

# Counts the texts that are shown, and gives those whose contrast with what lies behind them is less than `least` (WCAG
# 2.2, success criterion 1.4.3; luminance as in its glossary). A canvas is asked for the colors: it knows all notations.
DULL_TEXTS = """
(least) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return layers.reverse().reduce((below, layer) => over(layer, below), dark ? [0, 0, 0, 1] : [255, 255, 255, 1]);
  };
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const found = { seen: 0, dull: [] };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    if (!element.getClientRects().length) continue;
    const ground = behind(element);
    const pair = [luminance(over(rgba(getComputedStyle(element).color), ground)), luminance(ground)];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    found.seen += 1;
    if (ratio < least) found.dull.push(`${ratio.toFixed(2)}: ${text.slice(0, 60)}`);
  }
  return found;
}
"""


def _program() -> str | None:
    return next((path for path in map(shutil.which, _PROGRAMS) if path), None)


def what_is_missing() -> str | None:
    """What is needed here and not there; None if all is there."""
    return None if _program() else f"there is none of {', '.join(_PROGRAMS)} (Debian: apt-get install chromium)"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's browser, without a window."""
    unsafe = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=unsafe, timeout=_PATIENCE_MS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One page in one theme, and what it did beside being shown."""

    page: Page
    theme: Theme
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Note dialogs, requests, and errors."""
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("dialog", self._refuse)

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _refuse(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    @property
    def strangers(self) -> list[str]:
        """What was asked of others than this machine, by the page as it stands."""
        ours = ("http://127.0.0.1:", "ws://127.0.0.1:", "file:", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(ours)]


def _home_only(route: Route) -> None:
    """Nothing is asked of other machines: Prefect's second UI would ask its makers' analytics for a configuration."""
    if route.request.url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:")):
        route.continue_()
    else:
        route.abort()


@contextmanager
def visit(browser: Browser, theme: Theme, *, width: int = 1400, height: int = 1300) -> Iterator[Visit]:
    """A page of a browser that has no history, in a theme; a dialog that it opens is a failure at the end."""
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": height})
    context.set_default_timeout(_PATIENCE_MS)
    context.route("**/*", _home_only)
    # Prefect's first UI asks nobody: it is dark unless it was told otherwise.
    context.add_init_script(
        f"if (location.protocol !== 'file:') localStorage.setItem('color-scheme', JSON.stringify('{theme}'))"
    )
    seen = Visit(context.new_page(), theme)
    seen.listen()
    try:
        yield seen
    finally:
        context.close()
    assert seen.dialogs == [], "a page opened a dialog"


def picture(page: Page, name: str, folder: Path) -> Path:
    """A picture of the whole page, in `folder` and where the environment says."""
    file = f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.png"
    page.screenshot(path=folder / file, full_page=True, animations="disabled")
    if wanted := os.environ.get(SCREENSHOTS):
        Path(wanted).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / file, Path(wanted) / file)
    return folder / file
