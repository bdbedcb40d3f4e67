"""`motherlode run` killed with SIGKILL again and again: nothing is lost, done twice or left running."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from active_learning.domain.campaign import Phase
from active_learning.domain.label import Label
from active_learning.domain.request import RequestState
from active_learning.errors import StoreError
from active_learning.store import CampaignStore, Facts

PHASES = ("building the pool", "featurizing", "first design", "submitting", "calculating", "collecting", "training")
AIMED = (*PHASES[:3], "featurizing", *PHASES[3:] * 3)
"""Kills aimed at one phase each; those that follow come at any time."""
N_KILLS = 22
MARK = "MOTHERLODE_CRASH_TEST"
JOBS_GONE_S = 2.0
HELPERS_GONE_S = 20.0
"""A process that is still importing what jobs or featurizers need notices its campaign's death afterwards."""

CAMPAIGN: Mapping[str, Any] = {
    "target": {"property": "formation_energy_per_atom", "goal": "minimize"},
    "pool": {"kind": "prototypes", "elements": ["Cu", "Au", "Ag"], "n_elements": [1, 2], "max_atoms": 4},
    "features": {"kind": "adversary:Fractions", "seconds": 0.004},
    "surrogate": {"kind": "random_forest", "n_trees": 60},
    "rounds": {"initial": 8, "batch_size": 8, "max_in_flight": 8},
    "labeler": {"kind": "ase", "calculator": "adversary:LoggingEMT", "calculator_options": {"seconds": 0.15}},
    "stopping": {"any": [{"kind": "labels", "max": 48}]},
}


class Watched:
    """A campaign looked at from outside, while and after others work on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workdir = path.parent / "tiny.campaign"
        self._store = CampaignStore(f"sqlite:///{self.workdir / 'campaign.db'}", "tiny")

    def facts(self) -> Facts | None:
        """What is stored; None before the first word."""
        if not (self.workdir / "campaign.db").is_file():
            return None
        try:
            return self._store.read()
        except StoreError as error:
            if "There is no campaign" not in str(error):
                raise
            return None

    def holder(self) -> int | None:
        """The process that works on it."""
        holder = None if self.facts() is None else self._store.holder(datetime.now(UTC))
        return None if holder is None else holder.pid

    def phase(self) -> str:
        """What the campaign is in the middle of, judged by what is stored."""
        facts = self.facts()
        if facts is None:
            return "starting"
        if facts.phase is not Phase.ACTIVE:
            return "over"
        if facts.pool is None:
            return PHASES[0]
        if facts.features is None:
            return PHASES[1]
        open_ = [request for request in facts.requests if request.is_open]
        if any(request.state is not RequestState.RUNNING for request in open_):
            return "submitting"
        if open_:
            ended = any((self.workdir / "jobs" / request.id / "exit_code").exists() for request in open_)
            return "collecting" if ended else "calculating"
        return "training" if facts.rounds else "first design"

    def labels(self) -> dict[tuple[str, str], Label]:
        """Candidate and property -> label."""
        facts = self.facts()
        return {} if facts is None else {(label.candidate_id, label.property): label for label in facts.labels}

    def values(self) -> dict[tuple[str, str], float]:
        """Candidate and property -> value."""
        return {key: label.value for key, label in self.labels().items()}

    def launched(self) -> list[str]:
        """The request of every job that really ran, in order."""
        log = self.workdir / "launched.log"
        return log.read_text().splitlines() if log.is_file() else []

    def close(self) -> None:
        self._store.close()


def survivors(mark: str) -> Iterator[psutil.Process]:
    """Living processes that descend from a campaign started with this mark in its environment."""
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def is_job(process: psutil.Process) -> bool:
    """Whether a process works in a job's directory."""
    try:
        return Path(process.cwd()).parent.name == "jobs"
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def seconds_to_live(mark: str) -> tuple[float, float]:
    """Seconds until no job, and until nothing at all, of a killed campaign lives."""
    begin = time.monotonic()
    jobs = 0.0
    while left := list(survivors(mark)):
        waited = time.monotonic() - begin
        jobs = waited if any(is_job(process) for process in left) else jobs
        assert jobs < JOBS_GONE_S, f"a job lives {waited:.1f} s after its campaign was killed"
        assert waited < HELPERS_GONE_S, f"alive {waited:.1f} s after the kill: {[one.cmdline() for one in left]}"
        time.sleep(0.02)
    return jobs, time.monotonic() - begin


def wait_for_the_moment(watched: Watched, run: Any, aim: str | None, rng: random.Random, span_s: float) -> None:
    """Return when the campaign has come to the phase aimed at and a little time has passed; or just at random."""
    run.until(lambda: watched.holder() == run.pid, "takes the lease")
    if aim is None:
        time.sleep(rng.uniform(0.0, span_s))
        return
    # What happens once may be over already; what comes again may take a while to come.
    past = PHASES[PHASES.index(aim) :] if aim in PHASES[:3] else (aim,)
    deadline = time.monotonic() + 3 * span_s
    while watched.phase() not in past and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(rng.uniform(0.0, 0.04))


def attack(
    tmp_path: Path,
    motherlode: Any,
    write_campaign: Any,
    start: Callable[[Path, str], Any],
    span_s: float,
    say: Callable[[str], None],
) -> None:
    """Kill a campaign that `start` starts N_KILLS times, let it end, and compare it with an undisturbed one."""
    undisturbed = Watched(write_campaign(tmp_path / "undisturbed", **CAMPAIGN))
    assert motherlode("run", undisturbed.path, "--no-prefect", cwd=tmp_path).status == 0
    watched = Watched(write_campaign(tmp_path / "killed", **CAMPAIGN))
    rng = random.Random(20)
    hits: Counter[str] = Counter()
    lived: list[tuple[float, float]] = []
    for n in range(N_KILLS):
        seen = watched.labels()
        run = start(watched.path, f"{tmp_path} {n}")
        wait_for_the_moment(watched, run, AIMED[n] if n < len(AIMED) else None, rng, span_s)
        run.signal(signal.SIGKILL)
        assert run.wait().status == -signal.SIGKILL, "the campaign ended before it was killed often enough"
        hits[watched.phase()] += 1
        lived.append(seconds_to_live(f"{tmp_path} {n}"))
        kept = watched.labels()
        assert all(kept.get(key) == label for key, label in seen.items())
    jobs, helpers = (max(seconds) for seconds in zip(*lived, strict=True))
    say(f"{N_KILLS} kills: {dict(hits)}; jobs outlived their campaign by {jobs:.2f} s, helpers by {helpers:.2f} s")
    end = start(watched.path, "the last").wait()
    assert end.status == 0, end.err
    assert watched.values() == undisturbed.values()
    launches = Counter(watched.launched())
    assert max(launches.values()) == 1
    facts = watched.facts()
    assert facts is not None
    assert {label.request_id for label in facts.labels} <= launches.keys()
    assert not [request for request in facts.requests if request.is_open]
    assert sum(hits[phase] for phase in ("submitting", "calculating", "collecting")) >= 8
    assert all(hits[phase] for phase in ("building the pool", "featurizing", "training"))
    watched.close()
    undisturbed.close()


def test_a_campaign_killed_22_times_loses_no_label_runs_no_job_twice_and_ends_as_if_undisturbed(
    tmp_path: Path, motherlode: Any, write_campaign: Any, say: Callable[[str], None]
) -> None:
    def start(path: Path, mark: str) -> Any:
        return motherlode.start("run", path, "--no-prefect", cwd=tmp_path, env={MARK: mark})

    attack(tmp_path, motherlode, write_campaign, start, 1.5, say)


@pytest.mark.slow
def test_the_same_holds_under_prefect(
    tmp_path: Path, motherlode: Any, write_campaign: Any, prefect_home: dict[str, str], say: Callable[[str], None]
) -> None:
    def start(path: Path, mark: str) -> Any:
        return motherlode.cold("run", path, "--keep-server", cwd=tmp_path, env={MARK: mark} | prefect_home)

    attack(tmp_path, motherlode, write_campaign, start, 8.0, say)
