"""Featurizing in processes of their own: each chunk once, a deadly candidate costs itself only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.api.campaign import Campaign
from active_learning.domain.candidate import Candidate
from active_learning.engine import featurizing
from active_learning.engine.featurizing import ChunkCache, FeaturizerAddress, featurize_pool
from active_learning.engine.pool_file import PoolFile, write_pool
from active_learning.errors import BackendError, CampaignFailed
from active_learning.store import Blobs
from active_learning.testing.fakes import FakeClock, TinyPool, tiny_campaign, without_workers

_OWN = """
import os
import signal
from pathlib import Path

import numpy as np

from active_learning.domain import options
from active_learning.domain.protocols import FeatureBlock


class Moody:
    class Options(options.Options):
        log: str = ""
        deadly: tuple[str, ...] = ()
        fails: tuple[str, ...] = ()
        raises: tuple[str, ...] = ()

    names = ("amount", "elements")

    def __init__(self, options):
        self.options = options

    def featurize(self, candidates):
        print("done\\nready\\ndone")  # cannot be taken for an answer
        with Path(self.options.log).open("a") as log:
            log.writelines(c.id + "\\n" for c in candidates)
        for candidate in candidates:
            if candidate.formula in self.options.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            if candidate.formula in self.options.raises:
                raise RuntimeError("against the law")
        failures = {row: "told to fail" for row, c in enumerate(candidates) if c.formula in self.options.fails}
        return FeatureBlock(np.array([[sum(c.amounts.values()), len(c.elements)] for c in candidates]), failures)


class Lame(Moody):
    @property
    def names(self):
        raise ImportError("libheavy.so.3: cannot open shared object file")
"""


class Bench:
    """A pool of 30, chunks of 8, and featurizers in a module beside it."""

    def __init__(self, folder: Path) -> None:
        (folder / "moody_featurizers.py").write_text(_OWN, encoding="utf-8")
        blobs = Blobs(folder / "files")
        note = write_pool(TinyPool(TinyPool.Options(n=30)).read(), blobs)
        self.pool = PoolFile(blobs.path(note["file"]))
        self.log = folder / "log"
        self.folder = folder
        self.progress: list[tuple[int, int]] = []

    def featurize(self, kind: str = "Moody", workers: int = 1, **options: Any) -> tuple[Any, dict[str, str]]:
        if kind == "Moody":
            options["log"] = str(self.log)
        address = FeaturizerAddress(f"moody_featurizers:{kind}", options, "1", (str(self.folder),))
        cache = ChunkCache(self.folder / "features", address)
        return featurize_pool(
            self.pool.path, self.pool.ids, cache, 2, workers=workers, progress=lambda *at: self.progress.append(at)
        )

    @property
    def computed(self) -> Counter[str]:
        return Counter(self.log.read_text().split())

    @property
    def candidates(self) -> list[Candidate]:
        return self.pool.candidates(0, len(self.pool))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(featurizing, "CHUNK", 8)
    return Bench(tmp_path)


def _expected(candidates: list[Candidate]) -> Any:
    return np.array([[sum(c.amounts.values()), 2.0] for c in candidates])


def test_rows_come_in_the_order_of_the_ids_and_each_is_computed_once(bench: Bench) -> None:
    X, failures = bench.featurize(workers=2)
    assert list(bench.pool.ids) == sorted(bench.pool.ids)
    assert failures == {}
    np.testing.assert_array_equal(X, _expected(bench.candidates))
    assert bench.computed == Counter(bench.pool.ids)
    assert bench.progress[-1] == (30, 30)
    assert sorted(bench.progress) == bench.progress


def test_what_lies_in_the_cache_is_not_computed_again(bench: Bench) -> None:
    first, _ = bench.featurize()
    again, _ = bench.featurize()
    np.testing.assert_array_equal(first, again)
    assert bench.computed == Counter(bench.pool.ids)
    newest = max((bench.folder / "features").glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
    with np.load(newest) as chunk:
        n_rows = len(chunk["values"])
    newest.unlink()
    third, _ = bench.featurize()
    np.testing.assert_array_equal(first, third)
    assert Counter(bench.computed.values()) == {1: 30 - n_rows, 2: n_rows}


def test_other_options_are_another_featurizer(bench: Bench) -> None:
    bench.featurize()
    _, failures = bench.featurize(fails=["AgAl"])
    assert list(failures.values()) == ["told to fail"]
    assert set(bench.computed.values()) == {2}


def test_a_candidate_that_kills_its_process_costs_itself_only(bench: Bench) -> None:
    X, failures = bench.featurize(deadly=["AgAu"], fails=["AgCu2"])
    name = {candidate.formula: candidate.id for candidate in bench.candidates}
    assert failures == {name["AgAu"]: "killed its process: signal 9", name["AgCu2"]: "told to fail"}
    left = [candidate for candidate in bench.candidates if candidate.id not in failures]
    np.testing.assert_array_equal(X, _expected(left))
    runs = bench.computed
    again, same = bench.featurize(deadly=["AgAu"], fails=["AgCu2"])
    assert (same, bench.computed) == (failures, runs)
    np.testing.assert_array_equal(again, X)


def test_a_featurizer_that_raises_is_held_to_its_candidate(bench: Bench) -> None:
    X, failures = bench.featurize(raises=["AgAl"])
    assert list(failures.values()) == ["killed its process: exit status 1"]
    assert len(X) == 29


@pytest.mark.parametrize("kind", ["Lame", "Gone"])
def test_a_featurizer_that_cannot_start_says_so(bench: Bench, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    said = rf"The featurizer 'moody_featurizers:{kind}' does not start in a process of its own \(exit status 1\)"
    with pytest.raises(BackendError, match=said):
        bench.featurize(kind)
    assert ("libheavy.so.3" if kind == "Lame" else "has no 'Gone'") in capfd.readouterr().err
    assert not list((bench.folder / "features").iterdir())


def test_a_campaign_records_what_could_not_be_featurized_and_never_asks_for_it(tmp_path: Path) -> None:
    features = {"kind": "active_learning.testing.fakes:TinyFeaturizer", "fails": ["AgAl", "AgAu"]}
    pool = {"kind": "active_learning.testing.fakes:TinyPool", "n": 8, "n_dropped": 3}
    path = tiny_campaign(tmp_path, pool=pool, features=features, stopping={})
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        status = campaign.run()
        record = campaign.record()
    assert (status["phase"], status["n_candidates"], status["n_labels"]) == ("stopped", 6, 6)
    assert status["stop_rule"] == "pool_exhausted"
    assert set(record.not_featurized.values()) == {"told to fail"}
    assert len(record.not_featurized) == 2
    assert not {r.formula for r in record.requests} & {"AgAl", "AgAu"}
    assert (record.read, record.dropped) == (11, {"too big": 3})


def test_a_pool_of_which_nothing_can_be_featurized_ends_with_an_example(tmp_path: Path) -> None:
    features = {"kind": "active_learning.testing.fakes:TinyFeaturizer", "fails": ["AgAl", "AgAl2"]}
    path = tiny_campaign(tmp_path, pool={"kind": "active_learning.testing.fakes:TinyPool", "n": 2}, features=features)
    said = r"No candidate of 2 could be featurized\. For example AgAl2? \([0-9a-f]{16}\): told to fail"
    campaign = without_workers(Campaign.create(path, clock=FakeClock()))
    with campaign, pytest.raises(CampaignFailed, match=said):
        campaign.run()
