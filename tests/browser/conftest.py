"""Headless Chromium, and one campaign under a real Prefect server. Without a browser these tests fail and say why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser as headless
import pytest
from hpc_need import need
from playwright.sync_api import Browser
from prefect_team import Team
from watched_campaign import TABLES, Watched, write_folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's browser."""
    need(headless.what_is_missing())
    with headless.chromium() as found:
        yield found


@pytest.fixture(scope="session")
def watched(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory, motherlode: Any, write_campaign: Callable[..., Path]
) -> Iterator[Watched]:
    """A campaign that a worker ticks every minute, and when it is told to."""
    folder = tmp_path_factory.mktemp("watched")
    path = write_campaign(folder, **TABLES)
    write_folder(folder)
    team = Team(folder, motherlode)
    try:
        said = team.command("deploy", path, "--every", "1m")
        assert said.status == 0, said.err
        team.start_worker()
        yield Watched(team, path)
    finally:
        team.close()


@pytest.fixture(scope="session")
def ended(watched: Watched) -> Watched:
    """The same campaign at its end."""
    watched.to_the_end()
    return watched
