"""`run` and `tick` killed beside a scheduler that misbehaves: no job twice, no label lost, the same end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from killing import Deaths, facts_of, kill_until_it_ends, values

from active_learning.api.campaign import Campaign
from active_learning.domain.request import RequestState
from active_learning.testing.fakes import tiny_campaign, without_workers
from active_learning.testing.unruly import launches

N_KILLS = 200
LIVES_PER_CAMPAIGN = 50
"""A life is so long that an undisturbed campaign would need about half as many."""
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


@pytest.mark.slow
def test_200_kills_beside_an_unruly_scheduler_cost_no_label_and_no_job_runs_twice(
    tmp_path: Path, motherlode: Any, home: Path, say: Callable[[str], None]
) -> None:
    calm = tiny_campaign(tmp_path / "calm", name="calm", submitter={"kind": "inline"}, **CAMPAIGN)
    without_workers(Campaign.create(calm)).close()
    begin = time.monotonic()
    assert motherlode("run", calm, "--no-prefect", cwd=tmp_path).status == 0
    longest_s = 2 * (time.monotonic() - begin) / LIVES_PER_CAMPAIGN
    expected = values(facts_of(calm))
    rng, deaths, ends = random.Random(7), Deaths(), 0
    submitter = {"kind": "active_learning.testing.unruly:UnrulyScheduler", "home": str(home), **UNRULY}
    states: Counter[str] = Counter()
    while deaths.n_killed < N_KILLS:
        ends += 1
        name = f"campaign-{ends}"
        path = tiny_campaign(tmp_path / name, name=name, submitter=submitter, **CAMPAIGN)
        # Kills while a pool is built or featurized are for another test: here, they come where jobs are.
        without_workers(Campaign.create(path)).close()
        facts = kill_until_it_ends(
            motherlode, path, rng, deaths, longest_s=longest_s, is_lawful=lambda said: "the queue is full" in said
        )
        assert values(facts) == expected
        assert not [request for request in facts.requests if request.is_open]
        states.update(request.state for request in facts.requests)
    submitted = launches(home)
    assert max(submitted.values()) == 1, f"submitted twice: {submitted.most_common(3)}"
    say(
        f"{dict(deaths)}; {ends} campaigns ended as if undisturbed; {len(submitted)} jobs, none submitted twice; "
        f"requests: {dict(states)}"
    )
    assert states[RequestState.LOST] > 0
