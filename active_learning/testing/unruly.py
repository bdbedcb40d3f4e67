"""A scheduler in processes of its own that misbehaves on command, so that campaigns can be killed beside it.

``python -m active_learning.testing.unruly HOME MODULE`` is the scheduler; the submitter `UnrulyScheduler` is what a
campaign knows of it. They share a database in HOME, in which each launch is noted: a test counts them there. Whatever
goes wrong goes wrong with the probability that the options give it, drawn anew in each call:

- a job is refused, or nobody answers: before the launch, or after it;
- an answer is late, or wrong: a job that runs is not known, one that ended still runs;
- a job ends before `submit` returns; a job is forgotten as soon as it ended, or lost before it began;
- a node dies under a job;
- ids are given out again after a few: only name and time of submission tell two jobs apart.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pydantic import Field

from active_learning.domain import options
from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendSilent, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute

__all__ = ["UnrulyScheduler", "launches", "main", "serve"]

_N_IDS = 5
_WORKERS = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    serial INTEGER PRIMARY KEY, id INTEGER, name TEXT, directory TEXT, submitted REAL, state TEXT, pid INTEGER
);
CREATE TABLE IF NOT EXISTS launches (name TEXT);
CREATE TABLE IF NOT EXISTS losses (name TEXT);
"""


@contextmanager
def _database(home: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(home / "scheduler.db", timeout=60, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
        yield connection


def launches(home: Path) -> Counter[str]:
    """How often each job was submitted, by its name; those submissions left out that were lost before they began: who
    does not know whether he submitted a job, and finds no trace of it, does so again."""
    with _database(home) as connection:
        made = Counter(name for (name,) in connection.execute("SELECT name FROM launches"))
        return made - Counter(name for (name,) in connection.execute("SELECT name FROM losses"))


class UnrulyScheduler:
    """The campaign's side of the scheduler in `home`."""

    class Options(options.Options):
        """Keys of ``[submitter]``; every number is a probability."""

        home: options.FilePath = Field(..., description="The scheduler's folder.")
        refused: float = Field(0.0, description="Submitting fails, and says so.")
        silent: float = Field(0.0, description="No answer; when submitting, the job is launched in half of the cases.")
        late: float = Field(0.0, description="An answer takes up to a tenth of a second more.")
        wrong: float = Field(0.0, description="Polling says of a job what is not so.")
        at_once: float = Field(0.0, description="Submitting returns only when the job ended, or after a second.")

    def __init__(self, options: Options) -> None:
        self.options = options
        self._random = random.Random()

    def _happens(self, what: str) -> bool:
        probability: float = getattr(self.options, what)
        return self._random.random() < probability

    def _be_late(self) -> None:
        if self._happens("late"):
            time.sleep(self._random.uniform(0.0, 0.1))

    def submit(self, job: Job) -> str:
        """Launch a job.

        Raises
        ------
        TransientSubmitError, BackendSilent
            As often as the options say.
        """
        if self._happens("refused"):
            raise TransientSubmitError("the queue is full")
        is_silent = self._happens("silent")
        if is_silent and self._random.random() < 0.5:
            raise BackendSilent("the scheduler does not answer; the job was not launched")
        self._be_late()
        now = time.time()
        with _database(self.options.home) as connection:
            connection.execute("BEGIN IMMEDIATE")
            number = connection.execute("SELECT count(*) FROM launches").fetchone()[0] % _N_IDS + 1
            connection.execute("INSERT INTO launches VALUES (?)", (job.name,))
            row = (number, job.name, str(job.directory), now)
            connection.execute(
                "INSERT INTO jobs (id, name, directory, submitted, state) VALUES (?, ?, ?, ?, 'queued')", row
            )
            connection.execute("COMMIT")
        if self._happens("at_once"):
            end = time.monotonic() + 1.0
            while JobDirectory(Path(job.directory)).outcome() is None and time.monotonic() < end:
                time.sleep(0.005)
        self._be_late()
        if is_silent:
            raise BackendSilent("the scheduler's answer was lost; the job was launched")
        return f"{number} {now!r} {job.name}"

    def find(self, job: Job) -> str | None:
        """By name, or by the directory of a job that the scheduler forgot.

        Raises
        ------
        BackendSilent
            As often as the options say.
        """
        if self._happens("silent"):
            raise BackendSilent("the scheduler does not answer")
        self._be_late()
        with _database(self.options.home) as connection:
            query = "SELECT id, submitted FROM jobs WHERE name = ? ORDER BY serial DESC"
            row = connection.execute(query, (job.name,)).fetchone()
        if row is not None:
            return f"{row[0]} {row[1]!r} {job.name}"
        return f"0 0.0 {job.name}" if JobDirectory(Path(job.directory)).has_started else None

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle."""
        self._be_late()
        if self._happens("silent"):
            return {handle: JobReport(JobPhase.UNKNOWN) for handle in handles}
        with _database(self.options.home) as connection:
            rows = connection.execute("SELECT id, submitted, name, state FROM jobs").fetchall()
        known = {f"{number} {submitted!r} {name}": state for number, submitted, name, state in rows}
        return {handle: self._report(known.get(handle)) for handle in handles}

    def _report(self, state: str | None) -> JobReport:
        if self._happens("wrong"):
            return JobReport(JobPhase.RUNNING if state in (None, "ended", "died") else JobPhase.GONE)
        match state:
            case None:
                return JobReport(JobPhase.GONE)
            case "died":
                return JobReport(JobPhase.ENDED, Failure(FailureKind.NODE, "its node died"))
            case "ended":
                return JobReport(JobPhase.ENDED)
            case _:
                return JobReport(JobPhase.QUEUED if state == "queued" else JobPhase.RUNNING)


def serve(home: Path, *, loses: float = 0.0, kills: float = 0.0, forgets: float = 0.0) -> None:
    """Run jobs until this process ends: those that wait one after another, two at once.

    Parameters
    ----------
    loses : probability that a job vanishes from the queue before it begins
    kills : probability that the node dies under a job
    forgets : probability that a job which ended is forgotten at once
    """
    draw = random.Random()
    running: dict[int, tuple[int, float]] = {}
    while True:
        ended = list(_reap(running))
        with _database(home) as connection:
            for serial, state in ended:
                if draw.random() < forgets:
                    connection.execute("DELETE FROM jobs WHERE serial = ?", (serial,))
                connection.execute("UPDATE jobs SET state = ? WHERE serial = ?", (state, serial))
            starting = list(_take(connection, _WORKERS - len(running), lambda: draw.random() < loses))
        # Forked while no database is open.
        for serial, directory in starting:
            pid = os.fork()
            if pid == 0:
                os._exit(execute(Path(directory)))
            dies_at = time.monotonic() + draw.uniform(0.0, 0.02) if draw.random() < kills else float("inf")
            running[pid] = (serial, dies_at)
        time.sleep(0.005)


def _reap(running: dict[int, tuple[int, float]]) -> Iterator[tuple[int, str]]:
    """Jobs that ended, by their serial number, and how; those whose node dies now are killed."""
    for pid, (serial, dies_at) in list(running.items()):
        if time.monotonic() > dies_at:
            os.kill(pid, signal.SIGKILL)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del running[pid]
            yield serial, "died" if os.WIFSIGNALED(status) else "ended"


def _take(connection: sqlite3.Connection, free: int, is_lost: Callable[[], bool]) -> Iterator[tuple[int, str]]:
    """Jobs to start now; some are lost instead."""
    waiting = connection.execute("SELECT serial, directory FROM jobs WHERE state = 'queued' ORDER BY serial")
    for serial, directory in waiting.fetchall()[:free]:
        if is_lost():
            connection.execute("INSERT INTO losses SELECT name FROM jobs WHERE serial = ?", (serial,))
            connection.execute("DELETE FROM jobs WHERE serial = ?", (serial,))
            continue
        connection.execute("UPDATE jobs SET state = 'running' WHERE serial = ?", (serial,))
        yield serial, directory


def main() -> None:
    """The scheduler: its folder, a module that its jobs need, and the probabilities of `serve` as ``name=value``."""
    home, module, *chances = sys.argv[1:]
    # Once, and not in each job.
    importlib.import_module(module)
    serve(Path(home), **{name: float(value) for name, _, value in (one.partition("=") for one in chances)})


if __name__ == "__main__":
    main()
