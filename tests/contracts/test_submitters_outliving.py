"""The submitters `local` and `command`, whose jobs outlive the campaign, keep the laws."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import home_queue
import pytest

from active_learning.testing.submitters import Recipe, SubmitterContract


class TestLocal(SubmitterContract):
    patience_s: ClassVar[float] = 60.0

    @pytest.fixture
    def recipe(self) -> Recipe:
        return "active_learning.submitters.local:Local", {"workers": 4, "grace": 0.5}


class TestLocalWithOneWorker(SubmitterContract):
    patience_s: ClassVar[float] = 60.0

    @pytest.fixture
    def recipe(self) -> Recipe:
        return "active_learning.submitters.local:Local", {"workers": 1, "grace": 0.5}


class TestCommand(SubmitterContract):
    """With a queue that lists names."""

    patience_s: ClassVar[float] = 60.0

    @pytest.fixture
    def recipe(self, tmp_path: Path) -> Recipe:
        queue = [sys.executable, "-I", "-S", home_queue.__file__, str(tmp_path / "queue")]
        return "active_learning.submitters.command.submitter:Command", {
            "submit": [*queue, "submit", "{name}", "{seconds}", "{script}"],
            "status": [*queue, "list"],
            "cancel": [*queue, "cancel", "{handles}"],
            "handle_pattern": r"job (\d+)",
            "status_pattern": r"^\s*(?P<id>\d+) (?P<state>\S+)\s+'(?P<name>.*)'$",
            "states": {"Q": "queued", "R": "running", "C": "ended", "TO": "timeout", "X": "cancelled"},
        }


class TestCommandWithoutNames(SubmitterContract):
    """With a queue that lists the numbers it is asked for."""

    patience_s: ClassVar[float] = 60.0

    @pytest.fixture
    def recipe(self, tmp_path: Path) -> Recipe:
        queue = [sys.executable, "-I", "-S", home_queue.__file__, str(tmp_path / "queue")]
        return "active_learning.submitters.command.submitter:Command", {
            "submit": [*queue, "submit", "{name}", "{seconds}", "{script}"],
            "status": [*queue, "list", "{handles}"],
            "cancel": [*queue, "cancel", "{handle}"],
            "handle_pattern": r"job (\d+)",
            "status_pattern": r"^\s*(?P<id>\d+) (?P<state>\S+)",
            "states": {"Q": "queued", "R": "running", "C": "ended", "TO": "timeout", "X": "cancelled"},
        }
