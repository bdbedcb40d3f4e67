"""`run` and `tick` killed beside a scheduler that misbehaves: no job twice, no label lost, the same end."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.domain.request import RequestState
from active_learning.errors import StoreError
from active_learning.store import CampaignStore, Facts
from active_learning.testing.fakes import tiny_campaign, without_workers
from active_learning.testing.unruly import launches

N_KILLS = 200
LIVES_PER_CAMPAIGN = 50
"""A life is so long that an undisturbed campaign would need about half as many."""
MOST_STARTS = 2000
CAMPAIGN: Mapping[str, Any] = {
    "pool": {"kind": "active_learning.testing.fakes:TinyPool", "n": 75},
    "rounds": {"initial": 8, "batch_size": 4, "max_in_flight": 4},
    "requests": {"poll": 0.05, "grace": 0.4, "lost_retries": 100},
    "stopping": {"any": [{"kind": "labels", "max": 70}]},
}
UNRULY = {"refused": 0.03, "silent": 0.05, "late": 0.2, "wrong": 0.05, "at_once": 0.1}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The folder of a scheduler that loses, kills and forgets jobs."""
    home = tmp_path / "scheduler"
    home.mkdir()
    command = [sys.executable, "-m", "active_learning.testing.unruly", str(home), "active_learning.testing.fakes"]
    scheduler = subprocess.Popen([*command, "loses=0.03", "kills=0.05", "forgets=0.3"])
    yield home
    assert scheduler.poll() is None, "the scheduler itself died"
    scheduler.kill()
    scheduler.wait()


def facts_of(path: Path) -> Facts | None:
    """What is stored; None before the first word."""
    name = path.parent.name
    database = path.parent / f"{name}.campaign" / "campaign.db"
    if not database.is_file():
        return None
    store = CampaignStore(f"sqlite:///{database}", name)
    try:
        return store.read()
    except StoreError as error:
        if "There is no campaign" not in str(error):
            raise
        return None
    finally:
        store.close()


def works(path: Path, pid: int) -> bool:
    """Whether a process has the campaign's lease."""
    name = path.parent.name
    store = CampaignStore(f"sqlite:///{path.parent / f'{name}.campaign' / 'campaign.db'}", name)
    try:
        holder = store.holder(datetime.now(UTC))
    finally:
        store.close()
    return holder is not None and holder.pid == pid


def values(facts: Facts | None) -> dict[tuple[str, str], float]:
    return {} if facts is None else {(x.candidate_id, x.property): x.value for x in facts.labels}


def kill_until_it_ends(
    motherlode: Any, path: Path, rng: random.Random, longest_s: float, deaths: Counter[str]
) -> Facts:
    """Start `run` or `tick` and kill it, again and again; no label that was seen is ever missed."""
    seen: dict[tuple[str, str], float] = {}
    for _ in range(MOST_STARTS):
        command = rng.choice(["run", "tick"])
        process = motherlode.start(command, path, "--no-prefect", cwd=path.parent)
        while process.poll() is None and not works(path, process.pid):
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, longest_s))
        process.signal(signal.SIGKILL)
        status = process.wait().status
        assert status in (0, 1, -signal.SIGKILL)
        if status == 1:
            assert "the queue is full" in process.wait().err
        deaths[f"{command}: {'killed' if status < 0 else 'ended by itself'}"] += 1
        facts = facts_of(path)
        now = values(facts)
        assert seen.items() <= now.items()
        seen = now
        if facts is not None and facts.verdict is not None:
            return facts
    raise AssertionError(f"no end after {MOST_STARTS} starts: {deaths}")


@pytest.mark.slow
def test_200_kills_beside_an_unruly_scheduler_cost_no_label_and_no_job_runs_twice(
    tmp_path: Path, motherlode: Any, home: Path
) -> None:
    calm = tiny_campaign(tmp_path / "calm", name="calm", submitter={"kind": "inline"}, **CAMPAIGN)
    without_workers(Campaign.create(calm)).close()
    begin = time.monotonic()
    assert motherlode("run", calm, "--no-prefect", cwd=tmp_path).status == 0
    longest_s = 2 * (time.monotonic() - begin) / LIVES_PER_CAMPAIGN
    expected = values(facts_of(calm))
    rng, deaths, ends = random.Random(7), Counter[str](), 0
    submitter = {"kind": "active_learning.testing.unruly:UnrulyScheduler", "home": str(home), **UNRULY}
    states: Counter[str] = Counter()
    while deaths["run: killed"] + deaths["tick: killed"] < N_KILLS:
        assert deaths.total() < MOST_STARTS, f"too few kills: {deaths}"
        ends += 1
        name = f"campaign-{ends}"
        path = tiny_campaign(tmp_path / name, name=name, submitter=submitter, **CAMPAIGN)
        # Kills while a pool is built or featurized are for another test: here, they come where jobs are.
        without_workers(Campaign.create(path)).close()
        facts = kill_until_it_ends(motherlode, path, rng, longest_s, deaths)
        assert values(facts) == expected
        assert not [request for request in facts.requests if request.is_open]
        states.update(request.state for request in facts.requests)
    submitted = Counter(launches(home))
    assert max(submitted.values()) == 1, f"submitted twice: {submitted.most_common(3)}"
    print(
        f"{dict(deaths)}; {ends} campaigns ended as if undisturbed; {len(submitted)} jobs, none submitted twice; "
        f"requests: {dict(states)}"
    )
    assert states[RequestState.LOST] > 0
