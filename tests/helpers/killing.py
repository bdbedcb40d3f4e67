"""Campaigns that are killed again and again, and looked at from outside meanwhile."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from active_learning.errors import StoreError
from active_learning.store import CampaignStore, Facts

__all__ = ["Deaths", "facts_of", "kill_until_it_ends", "values"]

MOST_STARTS = 2000


class Deaths(Counter[str]):
    """How the commands of some campaigns ended."""

    @property
    def n_killed(self) -> int:
        """Those that a SIGKILL ended."""
        return sum(n for how, n in self.items() if how.endswith("killed"))


def _store(path: Path) -> CampaignStore:
    name = path.parent.name
    return CampaignStore(f"sqlite:///{path.parent / f'{name}.campaign' / 'campaign.db'}", name)


def facts_of(path: Path) -> Facts | None:
    """What is stored of a campaign that has the name of its folder; None before the first word."""
    store = _store(path)
    try:
        return store.read()
    except StoreError as error:
        if "There is no campaign" not in str(error):
            raise
        return None
    finally:
        store.close()


def _works(path: Path, pid: int) -> bool:
    """Whether a process has the campaign's lease."""
    store = _store(path)
    try:
        holder = store.holder(datetime.now(UTC))
    finally:
        store.close()
    return holder is not None and holder.pid == pid


def values(facts: Facts | None) -> dict[tuple[str, str], float]:
    """Candidate and property -> value."""
    return {} if facts is None else {(x.candidate_id, x.property): x.value for x in facts.labels}


def kill_until_it_ends(
    motherlode: Any,
    path: Path,
    rng: random.Random,
    deaths: Deaths,
    *,
    longest_s: float,
    env: Mapping[str, str] | None = None,
    is_lawful: Callable[[str], bool] = lambda _said: False,
) -> Facts:
    """Start `run` or `tick` and kill it at a random moment of its work, again and again; no label that was seen is
    ever missed.

    Parameters
    ----------
    path : of a campaign that exists, and has the name of its folder
    longest_s : the longest that a command may work before it is killed
    env : more variables for the commands
    is_lawful : whether a command may end with status 1 and these words on stderr
    """
    seen: dict[tuple[str, str], float] = {}
    for _ in range(MOST_STARTS):
        command = rng.choice(["run", "tick"])
        process = motherlode.start(command, path, "--no-prefect", cwd=path.parent, env=env)
        while process.poll() is None and not _works(path, process.pid):
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, longest_s))
        process.signal(signal.SIGKILL)
        end = process.wait()
        lawful = end.status in (0, -signal.SIGKILL) or (end.status == 1 and is_lawful(end.err))
        assert lawful, f"{command} ended with {end.status}: {end.err}"
        deaths[f"{command} {'killed' if end.status < 0 else 'ended by itself'}"] += 1
        facts = facts_of(path)
        now = values(facts)
        assert seen.items() <= now.items(), "a label is missing that was there before"
        seen = now
        if facts is not None and facts.verdict is not None:
            return facts
    raise AssertionError(f"no end after {MOST_STARTS} starts: {deaths}")
