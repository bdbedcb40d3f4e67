"""Featurizing in processes of their own: each chunk once; what raises, hangs or kills costs itself only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.api.campaign import Campaign
from active_learning.domain import actions as do
from active_learning.domain.candidate import Candidate
from active_learning.engine import featurizing
from active_learning.engine.chunks import FeaturizerAddress
from active_learning.engine.feature_steps import computed
from active_learning.engine.featurizing import FeaturizedGroup, featurize_group, let_workers_go
from active_learning.engine.performing import perform
from active_learning.engine.pool_file import PoolFile, write_pool
from active_learning.engine.spreading import Threads
from active_learning.errors import BackendError, CampaignFailed
from active_learning.store import Blobs
from active_learning.testing.fakes import FakeClock, TinyPool, tiny_campaign, without_workers
from active_learning.testing.waiting import is_alive, wait_for

_OWN = """
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from active_learning.domain import options
from active_learning.domain.protocols import FeatureBlock


class Moody:
    \"\"\"Does to each formula what its moods say.\"\"\"

    class Options(options.Options):
        log: str = ""
        moods: dict[str, str] = {}

    names = ("amount", "elements")

    def __init__(self, options):
        self.options = options

    def featurize(self, candidates):
        print("done\\nready\\ndone")  # cannot be taken for an answer
        with Path(self.options.log).open("a") as log:
            log.writelines(c.id + "\\n" for c in candidates)
        failures = {}
        for row, candidate in enumerate(candidates):
            match self.options.moods.get(candidate.formula):
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exit":
                    os._exit(7)
                case "raise":
                    raise RuntimeError("against the law")
                case "hang":
                    try:
                        time.sleep(3600)
                    except Exception:  # who catches everything must not catch the interrupt
                        pass
                case "hang in C":
                    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                    time.sleep(3600)
                case "no room":  # as on a full disk, files cannot grow any more
                    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
                case "fail":
                    failures[row] = "told to fail"
                case "speak oddly":
                    failures[row] = ValueError("many\\n  lines " * 1000)
                case "one row":
                    return FeatureBlock(np.array([[1.0, 2.0]] if len(candidates) > 1 else [[1.0]]))
                case "wrong row":
                    failures[-1] = "who?"
                case "end the worker and hang":
                    os.kill(os.getppid(), signal.SIGKILL)
                    time.sleep(3600)
                case "leave a process":
                    subprocess.Popen(["sleep", "3600"])
        return FeatureBlock(np.array([[sum(c.amounts.values()), len(c.elements)] for c in candidates]), failures)


class _Part(Moody):
    def __init__(self, options, label, of_composition, is_batched):
        super().__init__(options)
        self.label, self.of_composition, self.is_batched = label, of_composition, is_batched
        self.names = (f"{label} amount", f"{label} elements")


class Composed:
    \"\"\"A part of the composition, and two of the candidate of which one is moody.\"\"\"

    Options = Moody.Options

    def __init__(self, options):
        calm = options.model_copy(update={"moods": {}})
        self.parts = (_Part(calm, "first", False, False), _Part(options, "shared", True, True),
                      _Part(options, "moody", False, False))
        self.names = tuple(name for part in self.parts for name in part.names)


class Batched(Moody):
    \"\"\"All candidates at once, but no hydrogen.\"\"\"

    def __init__(self, options):
        super().__init__(options)
        part = _Part(options, "batch", False, True)
        part.featurize, self.names = self.featurize, part.names
        self.parts = (part,)

    def featurize(self, candidates):
        if candidates[0].formula == "H":
            raise KeyError("H")
        return super().featurize(candidates)


class Unordered(Moody):
    names = tuple({f"feature {n}" for n in range(20)})

    def featurize(self, candidates):
        return FeatureBlock(np.tile([float(name.split()[1]) for name in self.names], (len(candidates), 1)))


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

    def address(self, kind: str, moods: dict[str, str]) -> FeaturizerAddress:
        options = {"log": str(self.log), "moods": moods}
        return FeaturizerAddress(f"moody_featurizers:{kind}", options, "1", (str(self.folder),))

    def featurize(self, kind: str = "Moody", workers: int = 1, **moods: str) -> tuple[Any, dict[str, str]]:
        found = featurize_group(
            self.pool.path,
            len(self.pool),
            self.address(kind, moods),
            "candidates",
            self.folder / "features",
            Threads(workers),
            time_limit_s=0.4,
            progress=lambda *at: self.progress.append(at),
        )
        let_workers_go()
        return self.together(found)

    def together(self, found: FeaturizedGroup) -> tuple[Any, dict[str, str]]:
        blocks = list(found.folder.blocks(found.chunks))
        failures = {self.pool.ids[start + row]: why for start, b in blocks for row, why in b.failures.items()}
        return np.concatenate([block.values for _, block in blocks]), failures

    @property
    def chunks(self) -> list[Path]:
        return sorted((self.folder / "features").rglob("*.npz"))

    @property
    def computed(self) -> Counter[str]:
        return Counter(self.log.read_text().split())

    @property
    def candidates(self) -> list[Candidate]:
        return self.pool.candidates(0, len(self.pool))

    def id_of(self, formula: str) -> str:
        return next(candidate.id for candidate in self.candidates if candidate.formula == formula)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(featurizing, "CHUNK", 8)
    yield Bench(tmp_path)
    let_workers_go()


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


def test_a_chunk_that_is_done_is_not_computed_again(bench: Bench) -> None:
    first, _ = bench.featurize()
    again, _ = bench.featurize()
    np.testing.assert_array_equal(first, again)
    assert bench.computed == Counter(bench.pool.ids)
    bench.chunks[1].unlink()
    third, _ = bench.featurize()
    np.testing.assert_array_equal(first, third)
    assert Counter(bench.computed.values()) == {1: 22, 2: 8}


def test_other_options_are_another_featurizer(bench: Bench) -> None:
    bench.featurize()
    _, failures = bench.featurize(AgAl="fail")
    assert failures == {bench.id_of("AgAl"): "told to fail"}
    assert set(bench.computed.values()) == {2}


_MOODY = "moody_featurizers:Moody"


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("kill", f"{_MOODY}: killed its process: signal 9"),
        ("exit", f"{_MOODY}: ended its process: exit status 7"),
        ("raise", f"{_MOODY}: RuntimeError: against the law"),
        ("hang", f"{_MOODY}: took longer than the time limit of 0.4 s"),
        ("hang in C", f"{_MOODY}: took longer than the time limit of 0.4 s"),
        ("fail", "told to fail"),
        ("one row", f"{_MOODY}: ContractError: values have shape (1, 1), for 1 candidates and 2 features"),
        ("wrong row", f"{_MOODY}: ContractError: failures name the rows [-1] of 1"),
        ("speak oddly", ("many lines " * 100)[:300]),
    ],
)
def test_what_a_candidate_does_to_a_featurizer_costs_itself_only(bench: Bench, mood: str, reason: str) -> None:
    X, failures = bench.featurize(AgAu=mood, AgCu2="fail")
    assert failures == {bench.id_of("AgAu"): reason, bench.id_of("AgCu2"): "told to fail"}
    lost = [row for row, c in enumerate(bench.candidates) if c.id in failures]
    assert np.isnan(X[lost]).all()
    left = [row for row in range(30) if row not in lost]
    np.testing.assert_array_equal(X[left], _expected(bench.candidates)[left])
    # Whoever was computed before the death is not computed again; one that failed is asked again for its reason.
    twice = {candidate for candidate, n in bench.computed.items() if n > 1}
    assert twice <= {bench.id_of("AgCu2")}


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("one row", "batch: ContractError: values have shape (1, 1), for 1 candidates and 2 features"),
        ("wrong row", "batch: ContractError: failures name the rows [-1] of 1"),
        ("raise", "batch: RuntimeError: against the law"),
    ],
)
def test_a_batch_of_the_wrong_shape_is_never_spread_over_the_others(
    bench: Bench, mood: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    X, failures = bench.featurize("Batched", AgAu=mood)
    assert failures == {bench.id_of("AgAu"): reason}
    left = [row for row, c in enumerate(bench.candidates) if c.formula != "AgAu"]
    np.testing.assert_array_equal(X[left], _expected(bench.candidates)[left])
    assert "batch: trial with hydrogen: KeyError: 'H'" in capfd.readouterr().err


def test_who_hung_once_is_not_waited_for_again_after_another_died(bench: Bench) -> None:
    first, second, *_ = bench.candidates
    _X, failures = bench.featurize(**{first.formula: "hang", second.formula: "kill"})
    assert failures[first.id] == f"{_MOODY}: took longer than the time limit of 0.4 s"
    assert bench.computed[first.id] == 1


def test_a_worker_that_dies_before_its_child_is_noticed_and_nobody_is_left(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BackendError, match=r"died 3 times \(exit status -9\)"):
        bench.featurize(AgAu="end the worker and hang")
    assert capfd.readouterr().err == ""
    let_workers_go()  # the next piece may have begun
    wait_for("the end of all", lambda: not _working_on(bench.folder), 60)


def test_what_a_descriptor_leaves_running_ends_with_the_worker(bench: Bench) -> None:
    before = _sleepers()
    _X, failures = bench.featurize(AgAu="leave a process")
    assert failures == {}
    wait_for("the end of what was left", lambda: _sleepers() <= before, 10)


def _commands() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and is_alive(int(entry.name)):
            try:
                yield int(entry.name), (entry / "cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
                continue


def _working_on(folder: Path) -> set[int]:
    return {pid for pid, command in _commands() if "featurize_worker" in command and str(folder) in command}


def _sleepers() -> set[int]:
    return {pid for pid, command in _commands() if command.strip() == "sleep 3600"}


def test_workers_in_the_middle_of_a_chunk_end_when_they_are_let_go(bench: Bench) -> None:
    said: list[BaseException] = []

    def work() -> None:
        try:
            featurize_group(
                bench.pool.path,
                len(bench.pool),
                bench.address("Moody", {"AgAu": "hang in C"}),
                "candidates",
                bench.folder / "features",
                Threads(1),
                time_limit_s=600,
                progress=lambda *_: None,
            )
        except BackendError as error:
            said.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wanted = bench.id_of("AgAu")
    wait_for("the hanging candidate", lambda: bench.log.exists() and wanted in bench.computed, 60)
    let_workers_go(bench.address("Moody", {}))
    assert _working_on(bench.folder), "of another featurizer"
    let_workers_go(bench.address("Moody", {"AgAu": "hang in C"}))
    thread.join(10)
    assert [str(error) for error in said] == ["Featurizing was ended; what is done is kept."]
    let_workers_go()  # the next piece had begun before the first one's failure was heard of
    wait_for("the end of all", lambda: not _working_on(bench.folder), 60)


def test_a_worker_that_knows_the_features_in_another_order_is_refused(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BackendError, match="does not start in a process of its own"):
        featurize_group(
            bench.pool.path,
            len(bench.pool),
            bench.address("Unordered", {}),
            "candidates",
            bench.folder / "features",
            Threads(1),
            time_limit_s=1,
            progress=lambda *_: None,
            names=[f"feature {n}" for n in range(20)],
        )
    assert "other names, or another order" in capfd.readouterr().err


def test_many_deadly_candidates_are_found_one_by_one(bench: Bench) -> None:
    moods = {c.formula: ["kill", "raise", "exit"][n % 3] for n, c in enumerate(bench.candidates) if n % 2}
    _X, failures = bench.featurize(**moods)
    assert set(failures) == {c.id for c in bench.candidates if c.formula in moods}


def test_a_part_that_fails_costs_its_own_columns_only(bench: Bench) -> None:
    X, failures = bench.featurize("Composed", AgAu="kill", AgCu2="hang")
    assert failures == {
        bench.id_of("AgAu"): "moody: killed its process: signal 9",
        bench.id_of("AgCu2"): "moody: took longer than the time limit of 0.4 s",
    }
    assert X.shape == (30, 4)
    expected = _expected(bench.candidates)
    np.testing.assert_array_equal(X[:, :2], expected)
    lost = [c.formula in ("AgAu", "AgCu2") for c in bench.candidates]
    assert np.isnan(X[lost, 2:]).all()
    np.testing.assert_array_equal(X[~np.array(lost), 2:], expected[~np.array(lost)])


@pytest.mark.parametrize("kind", ["Lame", "Gone"])
def test_a_featurizer_that_cannot_start_says_so(bench: Bench, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    said = rf"The featurizer 'moody_featurizers:{kind}' does not start in a process of its own \(exit status 1\)"
    with pytest.raises(BackendError, match=said):
        bench.featurize(kind)
    assert ("libheavy.so.3" if kind == "Lame" else "has no 'Gone'") in capfd.readouterr().err
    assert bench.chunks == []


def test_a_chunk_that_cannot_be_written_ends_the_step_and_blames_no_candidate(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    last_of_its_chunk = bench.candidates[7].formula
    with pytest.raises(BackendError, match=r"died 3 times \(exit status 1\); its message stands above"):
        bench.featurize(**{last_of_its_chunk: "no room"})
    assert "OSError: [Errno 27] File too large" in capfd.readouterr().err
    assert "000000000-000000008.npz" not in {chunk.name for chunk in bench.chunks}


def test_the_workers_end_with_whoever_asked_even_in_the_middle_of_a_hang(bench: Bench) -> None:
    script = f"""
import sys
from pathlib import Path
from active_learning.engine.chunks import FeaturizerAddress
from active_learning.engine.featurizing import featurize_group
from active_learning.engine.spreading import Threads
address = FeaturizerAddress.from_json({bench.address("Moody", {"AgAu": "hang in C"}).to_json()!r})
root = Path({str(bench.folder / "features")!r})
featurize_group(Path({str(bench.pool.path)!r}), 30, address, "candidates", root, Threads(1),
                time_limit_s=600, progress=lambda *_: None)
"""
    environment = os.environ | {"PYTHONPATH": str(bench.folder)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    wanted = bench.id_of("AgAu")
    wait_for("the hanging candidate", lambda: bench.log.exists() and wanted in bench.computed, 60)
    children = _family(process.pid)
    assert len(children) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for("the end of the workers", lambda: not any(is_alive(pid) for pid in children), 20)


def _family(pid: int) -> list[int]:
    """Children and their children."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_family(int(child))]
    return found


def _has_begun(process: subprocess.Popen[bytes], log: Path, before: int) -> bool:
    return process.poll() is not None or (log.exists() and log.stat().st_size > before)


def test_killed_at_random_it_finishes_and_computes_no_chunk_twice_but_the_one_in_hand(tmp_path: Path) -> None:
    """The process that featurizes 20,000 candidates is killed five times, with all its children."""
    rng = np.random.default_rng(11)
    script = """
import json, os, sys
from pathlib import Path
import numpy as np
from active_learning.domain.candidate import Candidate
from active_learning.engine.chunks import FeaturizerAddress
from active_learning.engine.featurizing import featurize_group
from active_learning.engine.pool_file import PoolFile
from active_learning.engine.spreading import Threads
pool, address, root = sys.argv[1:]
pool = PoolFile(Path(pool))
address = FeaturizerAddress.from_json(json.loads(address))
found = featurize_group(pool.path, len(pool), address, "candidates", Path(root), Threads(2),
                        time_limit_s=60, progress=lambda *_: None)
print(len(found.chunks))
"""
    (tmp_path / "slow_featurizers.py").write_text(_SLOW, encoding="utf-8")
    blobs = Blobs(tmp_path / "files")
    grid = (
        Candidate({"Al": i / 200, "Cu": j / 200, "Ni": (400 - i - j) / 200})
        for i in range(1, 142)
        for j in range(1, 143)
    )
    note = write_pool(grid, blobs)
    assert note["n_candidates"] >= 20_000
    log = tmp_path / "log"
    address = FeaturizerAddress("slow_featurizers:Slow", {"log": str(log)}, "1", (str(tmp_path),)).to_json()
    command = [
        sys.executable,
        "-c",
        script,
        str(blobs.path(note["file"])),
        json.dumps(address),
        str(tmp_path / "features"),
    ]
    n_kills = 0
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        before = log.stat().st_size if log.exists() else 0
        wait_for("a chunk", partial(_has_begun, process, log, before), 60)
        time.sleep(float(rng.uniform(0.05, 0.8)))
        if process.poll() is None:
            process.kill()
            n_kills += 1
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert n_kills >= 4
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    n_chunks = int(done.stdout)
    assert len(list((tmp_path / "features").rglob("*.npz"))) == n_chunks
    begun = Counter(log.read_text().split())
    assert len(begun) == n_chunks
    # Two were in hand at each kill, one a worker.
    assert begun.total() - n_chunks <= 2 * n_kills
    assert max(begun.values()) <= 1 + n_kills


_SLOW = """
import os

import numpy as np

from active_learning.domain import options
from active_learning.domain.protocols import FeatureBlock


class _Part:
    label, of_composition, is_batched, names = "slow", False, True, ("a",)

    def __init__(self, log):
        self.log = log

    def featurize(self, candidates):
        if "Al" not in candidates[0].amounts:
            raise KeyError("hydrogen is tried first, and is not in the pool")
        handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, f"{candidates[0].id}\\n".encode())  # one line a chunk that was begun
        os.close(handle)
        return FeatureBlock(np.array([[c.amounts["Al"]] for c in candidates]))


class Slow:
    class Options(options.Options):
        log: str

    def __init__(self, options):
        self.parts = (_Part(options.log),)
        self.names = ("a",)

    def featurize(self, candidates):
        return self.parts[0].featurize(candidates)
"""


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


_OWN_FEATURIZER = """
import numpy as np

from active_learning.domain import options
from active_learning.domain.protocols import FeatureBlock


class Broken:
    names = ("a",)
    Options = options.Options

    def __init__(self, options):
        pass

    def featurize(self, candidates):
        IS_BROKEN
        return FeatureBlock(np.array([[float(len(c.formula))] for c in candidates]))
"""


def test_a_featurizer_that_failed_for_all_and_was_repaired_is_asked_again(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, features={"kind": "broken_featurizer:Broken"})
    module = tmp_path / "broken_featurizer.py"
    # What was broken need not be in the module: a library that was not installed, say.
    lacks = f"if not __import__('os').path.exists({str(tmp_path / 'libheavy')!r}): raise RuntimeError('no libheavy')"
    module.write_text(_OWN_FEATURIZER.replace("IS_BROKEN", lacks), encoding="utf-8")
    with Campaign.create(path, clock=FakeClock()) as campaign, pytest.raises(CampaignFailed, match="no libheavy"):
        campaign.run()
    (tmp_path / "libheavy").touch()
    with Campaign.create(path, clock=FakeClock()) as campaign:
        assert campaign.run()["phase"] == "stopped"
    assert not (campaign.workdir / "features").exists()


def test_chunks_of_a_featurizer_that_was_rewritten_are_not_taken(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, features={"kind": "own_featurizer:Broken"})
    module = tmp_path / "own_featurizer.py"
    module.write_text(_OWN_FEATURIZER.replace("IS_BROKEN", "pass"), encoding="utf-8")
    with Campaign.create(path, clock=FakeClock()) as campaign, campaign.work() as bench:
        perform(bench, do.BuildPool())
        before, _ = next(computed(bench, bench.spread).blocks())
        module.write_text(_OWN_FEATURIZER.replace("IS_BROKEN", "pass").replace("float(", "-float("), encoding="utf-8")
        after, _ = next(computed(bench, bench.spread).blocks())
    let_workers_go()
    np.testing.assert_array_equal(after, -before)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    path = tiny_campaign(tmp_path)
    with Campaign.create(path, clock=FakeClock()) as campaign:
        files = campaign.workdir / "files"
        (files / f".pool.{dead.pid}.abc").mkdir(parents=True)
        alive = os.getppid()
        for name in (f".beliefs.{dead.pid}.0a.npy", f".features-ids.{dead.pid}.part", f".beliefs.{alive}.0a.npy"):
            (files / name).write_text("half of it", encoding="utf-8")
        (campaign.workdir / "features" / "another campaign").mkdir(parents=True)
        without_workers(campaign).run()
    assert [f.name for f in files.iterdir() if f.name.startswith(".")] == [f".beliefs.{alive}.0a.npy"]
    assert [f.name for f in (campaign.workdir / "features").iterdir()] == ["another campaign"]
