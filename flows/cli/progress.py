"""What a run says on the terminal: one line for each thing that happened, and a bar where something takes long."""

from __future__ import annotations

import sys
import time

import click

from active_learning.api.campaign import Campaign
from active_learning.domain.secrets import without_secrets_in

__all__ = ["Progress"]

_QUIET = ("waited ", "collected 0 ", "submitted ", "collected ")


class Progress:
    """Lines with the time since the start. Polls are not worth a line; what they brought is."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._started = time.monotonic()
        self._n_labels = -1
        self._is_bar = False
        self._last = ""

    def say(self, line: str) -> None:
        """One thing happened."""
        line = without_secrets_in(line)
        if not line.startswith(_QUIET) and line != self._last:
            self._line(line)
            self._last = line
        if line.startswith("collected ") and not line.startswith("collected 0 "):
            self._labels()

    def _labels(self) -> None:
        found = self._campaign.status()
        if found["n_labels"] == self._n_labels or not found["n_labels"] + found["n_failed"]:
            return
        self._n_labels = found["n_labels"]
        best = found["best"]
        best_said = f", best {best['value']:.5g} {best['unit']} {best['formula']}" if best else ""
        failed = f", {found['n_failed']} failed" if found["n_failed"] else ""
        self._line(f"  {found['n_labels']} labels{failed}{best_said}")

    def _line(self, line: str) -> None:
        if self._is_bar:
            click.echo()
            self._is_bar = False
        click.echo(f"{time.monotonic() - self._started:6.0f} s  {line}")

    def bar(self, what: str, done: int, total: int) -> None:
        """Something long is `done` of `total`; 0 if nobody knows how much there is."""
        if not sys.stdout.isatty():
            return
        if not total:
            click.echo(f"\r          {what}: {done:,}", nl=False)
            self._is_bar = True
            return
        width = 30
        filled = int(width * done / max(1, total))
        click.echo(f"\r          {what} [{'█' * filled}{'·' * (width - filled)}] {done:,} of {total:,}", nl=False)
        self._is_bar = True
