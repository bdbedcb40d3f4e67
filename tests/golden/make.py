"""Write the golden database of the newest schema: ``python tests/golden/make.py``. Once per schema version, for ever.

A tiny campaign with a success, a failure, a rejection, a lost job, a told label, a conflict and a verdict. What a
released version has written, every later one must read: never write an old one's file again.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from pathlib import Path

from active_learning.api.campaign import Campaign
from active_learning.api.telling import Told
from active_learning.domain.actions import Featurize, Submit
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform, run_local
from active_learning.store.schema import HEAD
from active_learning.testing.fakes import FakeClock, fill_chunk_cache, tiny_campaign

FATES = {"AgAl": "raises", "AlAu": "unconverged", "Ag2Al": "lost", "AgAu": "rejected"}


def make(path: Path) -> None:
    """Run the campaign in a folder of its own and keep its database as one file."""
    with tempfile.TemporaryDirectory() as folder:
        labeler = {"kind": "active_learning.testing.fakes:FakeLabeler", "fates": FATES}
        pool = {"kind": "active_learning.testing.fakes:TinyPool", "n": 12, "n_dropped": 2}
        rounds = {"initial": 8, "batch_size": 2, "max_in_flight": 8}
        file = tiny_campaign(Path(folder), labeler=labeler, pool=pool, rounds=rounds)
        with Campaign.create(file, clock=FakeClock()) as campaign, campaign.work() as bench:
            while not isinstance(action := next_action(bench.snapshot()), Submit):
                if isinstance(action, Featurize):
                    fill_chunk_cache(bench)
                perform(bench, action)
            first, second = bench.store.read().requests[:2]
            perform(bench, action)
            campaign.tell([Told(first.candidate_id, -0.25, std=0.01, fidelity="measured")])
            campaign.tell([Told(first.candidate_id, -0.5), Told(second.candidate_id, 99.0)])
            run_local(bench)
        source = sqlite3.connect(Path(folder) / "tiny.campaign" / "campaign.db")
        source.execute("PRAGMA journal_mode=DELETE")
        source.execute("PRAGMA page_size=1024")
        source.execute("VACUUM")
        path.unlink(missing_ok=True)
        target = sqlite3.connect(path)
        source.backup(target)
        source.close()
        target.close()


if __name__ == "__main__":
    if (golden := Path(__file__).parent / f"campaign-{HEAD}.db").exists():
        sys.exit(f"{golden.name} is there already, and a golden file is never written twice")
    make(golden)
