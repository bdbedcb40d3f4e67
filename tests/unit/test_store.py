"""The store keeps its guarantees: see the first lines of `active_learning.store.store`."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pytest
import sqlalchemy as sa

from active_learning.domain.campaign import Phase, RoundRecord, Verdict
from active_learning.domain.label import Failure, FailureKind, Label
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.errors import ContractError, IllegalMove, LabelConflict, LeaseHeld, LeaseLost, StaleVersion
from active_learning.store import Blobs, CampaignStore, Holder, Lease, this_process
from active_learning.testing.fakes import START
from active_learning.testing.waiting import is_alive, wait_for

ELSEWHERE = Holder("node-7", 4711, 0.0)
_S = RequestState


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'campaign.db'}"


@pytest.fixture
def store(url: str) -> Iterator[CampaignStore]:
    opened = CampaignStore(url, "tiny")
    assert opened.create({"seed": 3}, START)
    yield opened
    opened.close()


def request(name: str = "a", attempt: int = 1, state: RequestState = _S.PLANNED) -> Request:
    return Request(name, name.upper(), attempt, 0, state, f"tiny-{name}-{attempt}")


def label(name: str = "a", value: float = -1.5, **changes: Any) -> Label:
    return replace(Label(name, "energy", value, "eV", START, "fake", provenance={"code": "fake"}), **changes)


def contents(store: CampaignStore) -> tuple[Any, ...]:
    return store.read(), store.events()


def test_a_campaign_is_made_once(store: CampaignStore) -> None:
    assert store.create({"seed": 4}, START) is False
    facts = store.read()
    assert (facts.version, facts.phase, facts.spec, facts.created_at) == (1, Phase.ACTIVE, {"seed": 3}, START)
    assert [event.kind for event in store.events()] == ["created"]


def test_two_campaigns_share_a_database_and_nothing_else(store: CampaignStore, url: str) -> None:
    other = CampaignStore(url, "other")
    assert other.create({}, START)
    with other.write(START) as writer:
        writer.plan([request()])
    assert store.read().requests == ()
    assert len(store.events()) == 1
    other.close()


def test_every_value_comes_back_as_it_went_in(store: CampaignStore) -> None:
    planned = replace(request(), purpose=Purpose.REFERENCE, reason="why", score=0.1, mean=-2e-9, std=1e300)
    times = [START + timedelta(microseconds=n) for n in range(1, 5)]
    failure = Failure(FailureKind.OUT_OF_MEMORY, "Ångström → 0")
    record = RoundRecord(
        0, START, 3, 2, {"mae": 0.1 + 0.2}, {"a": (1.0, 2.0)}, 0.3, "predictions-x.npy", {"mean Z": 1.0}
    )
    told = label(std=0.25, provenance={"a": [1, {"b": None}]})
    with store.write(times[0]) as writer:
        writer.plan([planned, request("b")])
        writer.open_round(record)
        writer.add_label(told)
        writer.set_pool({"file": "pool"})
        writer.set_features({"file": "features"})
        writer.set_versions({"numpy": "2"})
    with store.write(times[1]) as writer:
        writer.move("a-1", _S.PLANNED, _S.SUBMITTING)
    with store.write(times[2]) as writer:
        writer.move("a-1", _S.SUBMITTING, _S.RUNNING, handle="h")
    with store.write(times[3]) as writer:
        writer.move("a-1", _S.RUNNING, _S.FAILED, failure=failure)
        writer.set_phase(Phase.STOPPED, Verdict("labels", "enough", {"max": 1}))
    facts = store.read()
    timed = replace(planned, planned_at=times[0], submitted_at=times[1], settled_at=times[3])
    assert facts.requests[0] == replace(timed, state=_S.FAILED, handle="h", failure=failure)
    assert facts.requests[1] == replace(request("b"), planned_at=times[0])
    assert (facts.labels, facts.rounds) == ((told,), (record,))
    assert (facts.pool, facts.features, facts.versions) == ({"file": "pool"}, {"file": "features"}, {"numpy": "2"})
    assert (facts.phase, facts.verdict) == (Phase.STOPPED, Verdict("labels", "enough", {"max": 1}))
    assert (facts.name, facts.version) == ("tiny", 5)
    assert store.request("a-1") == facts.requests[0]
    assert [event.number for event in store.events(after=2)] == list(range(3, len(store.events()) + 1))


def test_a_request_in_doubt_that_was_never_launched_is_as_if_it_had_not_been_promised(store: CampaignStore) -> None:
    with store.write(START) as writer:
        writer.plan([request()])
    before = store.read().requests
    with store.write(START) as writer:
        writer.move("a-1", _S.PLANNED, _S.SUBMITTING)
        writer.move("a-1", _S.SUBMITTING, _S.PLANNED)
    assert store.read().requests == before


def test_the_labels_of_a_request_are_found_by_it(store: CampaignStore) -> None:
    with store.write(START) as writer:
        writer.plan([request()])
        writer.add_label(label(request_id="a-1"))
        writer.add_label(label("b"))
    assert [found.candidate_id for found in store.labels_of("a-1")] == ["a"]


def test_what_is_not_committed_never_was(store: CampaignStore) -> None:
    before = contents(store)

    def die_midway() -> None:
        with store.write(START) as writer:
            writer.plan([request()])
            writer.add_label(label())
            writer.set_phase(Phase.PAUSED)
            raise ZeroDivisionError("midway")

    with pytest.raises(ZeroDivisionError, match="midway"):
        die_midway()
    assert contents(store) == before


def test_every_write_raises_the_version_by_one_and_leaves_an_event(store: CampaignStore) -> None:
    for number in range(3):
        with store.write(START) as writer:
            writer.plan([request(str(number)), request(f"{number}x")])
        assert store.read().version == number + 2
        assert len(store.events()) == number + 2


def test_a_write_that_changes_nothing_leaves_no_trace(store: CampaignStore) -> None:
    with store.write(START) as writer:
        writer.add_label(label())
    before = contents(store)
    with store.write(START) as writer:
        assert writer.add_label(label()) is False
        writer.plan([])
    assert contents(store) == before


def test_a_round_is_read_once_however_often_a_campaign_is_looked_at(store: CampaignStore, url: str) -> None:
    other = CampaignStore(url, "tiny")
    first, second = (RoundRecord(n, START, 3, 2, out_of_fold={"a": (1.0, 2.0)}) for n in range(2))
    with store.write(START) as writer:
        writer.open_round(first)
    seen = other.read().rounds
    with store.write(START) as writer:
        writer.open_round(second)
    later = other.read().rounds
    assert (seen, later) == ((first,), (first, second))
    assert later[0] is seen[0]
    assert other.read().rounds[1] is later[1]
    other.close()


def test_a_look_shows_no_round_that_is_newer_than_it(store: CampaignStore, url: str) -> None:
    """As after a backup was put back, under a process that had seen more."""
    with store.write(START) as writer:
        writer.open_round(RoundRecord(0, START, 3, 2))
    assert len(store.read().rounds) == 1
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql("DELETE FROM rounds")
    assert store.read().rounds == ()


def test_a_decision_on_an_old_version_is_refused(store: CampaignStore) -> None:
    version = store.read().version
    with store.write(START, expect=version) as writer:
        writer.set_phase(Phase.PAUSED)
    before = contents(store)
    with pytest.raises(StaleVersion, match="is at version 2, not 1"), store.write(START, expect=version) as writer:
        writer.set_phase(Phase.ACTIVE)
    assert contents(store) == before


def test_a_request_that_is_elsewhere_than_believed_does_not_move(store: CampaignStore) -> None:
    with store.write(START) as writer:
        writer.plan([request()])
    with pytest.raises(StaleVersion, match="request a-1 is PLANNED, not RUNNING"), store.write(START) as writer:
        writer.move("a-1", _S.RUNNING, _S.LOST)
    with pytest.raises(StaleVersion, match="request z-1 is gone, not PLANNED"), store.write(START) as writer:
        writer.move("z-1", _S.PLANNED, _S.SUBMITTING)
    with pytest.raises(IllegalMove, match="cannot go from PLANNED to SUCCEEDED"), store.write(START) as writer:
        writer.move("a-1", _S.PLANNED, _S.SUCCEEDED)


def test_the_database_itself_refuses_a_second_open_request(store: CampaignStore) -> None:
    with store.write(START) as writer:
        writer.plan([request()])
    before = contents(store)
    refusal = r"UNIQUE constraint failed: requests.*Nothing was written"
    with pytest.raises(ContractError, match=refusal), store.write(START) as writer:
        writer.plan([request(attempt=2)])
    assert contents(store) == before
    with store.write(START) as writer:
        writer.move("a-1", _S.PLANNED, _S.CANCELLED)
        writer.plan([request(attempt=2)])


@pytest.mark.parametrize(
    ("statement", "law"),
    [
        ("UPDATE requests SET state = 'RUNNING'", "running_has_a_handle"),
        ("UPDATE requests SET state = 'FAILED'", "failed_has_a_kind"),
        ("UPDATE requests SET state = 'DREAMING'", "ck_requests_state"),
        ("UPDATE campaigns SET phase = 'lost'", "ck_campaigns_phase"),
        ("UPDATE labels SET request_id = 'nobody'", "FOREIGN KEY"),
        ("DELETE FROM campaigns", "FOREIGN KEY"),
    ],
)
def test_the_database_itself_keeps_the_law(store: CampaignStore, url: str, statement: str, law: str) -> None:
    with store.write(START) as writer:
        writer.plan([request()])
        writer.add_label(label())
    engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON"))
    with pytest.raises(sa.exc.IntegrityError, match=law), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_label_that_is_known_already_changes_nothing_and_another_value_is_refused(store: CampaignStore) -> None:
    with store.write(START) as writer:
        assert writer.add_label(label(value=-1.5)) is True
    with store.write(START) as writer:
        assert writer.add_label(label(value=-1.5 * (1 + 1e-12))) is False
    refusal = r"energy of a is already -1.5 eV \(fake, 2026-03-02\); refused: -1.4 eV"
    with pytest.raises(LabelConflict, match=refusal), store.write(START) as writer:
        writer.add_label(label(value=-1.4))
    with pytest.raises(LabelConflict, match=r"refused: -1\.5 meV"), store.write(START) as writer:
        writer.add_label(label(unit="meV"))
    assert store.read().labels == (label(value=-1.5),)


def test_a_second_process_is_refused_and_told_who_works(store: CampaignStore) -> None:
    me = this_process()
    store.acquire(me, START, 60)
    with pytest.raises(LeaseHeld, match=rf"is being worked on by process {me.pid} on .*until 08:01:00 UTC"):
        store.acquire(ELSEWHERE, START + timedelta(seconds=59), 60)
    assert store.holder(START) == me


def test_a_lease_that_ran_out_is_taken_and_the_old_one_is_worth_nothing(store: CampaignStore) -> None:
    old = store.acquire(ELSEWHERE, START, 60)
    with pytest.raises(LeaseHeld, match="process 4711 on node-7"):
        store.acquire(this_process(), START + timedelta(seconds=30), 60)
    later = START + timedelta(seconds=61)
    assert store.holder(later) is None
    new = store.acquire(this_process(), later, 60)
    assert new.token == old.token + 1
    before = contents(store)
    with pytest.raises(LeaseLost, match="another process works on it now"), store.write(later, lease=old) as writer:
        writer.set_phase(Phase.PAUSED)
    with pytest.raises(LeaseLost, match="process 4711 on node-7 lost its lease"):
        store.renew(old, later, 60)
    with pytest.raises(LeaseLost, match="process 4711 on node-7 lost its lease"):
        store.release(old)
    assert contents(store) == before
    with store.write(later, lease=new) as writer:
        writer.set_phase(Phase.PAUSED)


def test_a_renewed_lease_lasts_longer_and_a_released_one_is_free_at_once(store: CampaignStore) -> None:
    lease = store.acquire(ELSEWHERE, START, 60)
    store.renew(lease, START + timedelta(seconds=50), 60)
    with pytest.raises(LeaseHeld, match="node-7"):
        store.acquire(this_process(), START + timedelta(seconds=100), 60)
    store.release(lease)
    assert store.acquire(this_process(), START + timedelta(seconds=100), 60).token == lease.token + 1


@pytest.mark.parametrize("is_waited_for", [True, False])
def test_the_lease_of_a_dead_process_is_taken_at_once(store: CampaignStore, is_waited_for: bool) -> None:
    """Also that of a zombie: in a container nobody may ever wait for it."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    me = this_process()
    living = replace(me, pid=process.pid, started=psutil.Process(process.pid).create_time())
    lease = store.acquire(living, START, 60)
    with pytest.raises(LeaseHeld, match=f"process {process.pid} on"):
        store.acquire(me, START, 60)
    process.kill()
    if is_waited_for:
        process.communicate()
    else:
        wait_for("the process to die", lambda: not is_alive(process.pid), 10)
    assert living.is_dead()
    assert store.holder(START) is None
    assert store.acquire(me, START, 60).token == lease.token + 1
    process.communicate()


def test_a_process_id_that_was_used_again_is_not_taken_for_its_forerunner() -> None:
    me = this_process()
    assert not me.is_dead()
    assert replace(me, started=me.started - 3600).is_dead()
    assert not replace(me, host="another", pid=1).is_dead()


def test_readers_see_whole_versions_while_one_writes(store: CampaignStore, url: str) -> None:
    seen: list[tuple[int, int]] = []
    over = threading.Event()

    def read() -> None:
        mine = CampaignStore(url, "tiny")
        while not over.is_set():
            facts = mine.read()
            seen.append((facts.version, len(facts.requests)))
        mine.close()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(25):
        with store.write(START) as writer:
            writer.plan([request(f"{number}x"), request(f"{number}y")])
    over.set()
    for reader in readers:
        reader.join()
    assert all(n_requests == 2 * (version - 1) for version, n_requests in seen)
    assert len(seen) >= 3


_WRITE_MANY = """
import sys
from active_learning.domain.label import Label
from active_learning.store import CampaignStore
from active_learning.testing.fakes import START
store = CampaignStore(sys.argv[1], "tiny")
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    with store.write(START) as writer:
        writer.add_label(Label(f"{sys.argv[2]}-{number}", "energy", float(number), "eV", START, "fake"))
"""


def test_two_processes_that_write_at_once_lose_nothing(store: CampaignStore, url: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITE_MANY, url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for process in writers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in writers] == ["", ""]
    assert [process.returncode for process in writers] == [0, 0]
    facts = store.read()
    assert {x.candidate_id for x in facts.labels} == {f"{name}-{n}" for name in "ab" for n in range(30)}
    assert facts.version == 61
    assert [event.number for event in store.events()] == list(range(1, 62))


def test_a_lease_that_was_never_given_is_worth_nothing(store: CampaignStore) -> None:
    lease = Lease(ELSEWHERE, 99, START)
    with pytest.raises(LeaseLost, match="Nothing was written"), store.write(START, lease=lease) as writer:
        writer.set_phase(Phase.PAUSED)


def _writes(content: bytes) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        file.write(content)

    return write


def test_a_blob_is_named_by_its_content_and_whole(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "files")
    name = blobs.put("pool", ".txt", _writes(b"x"))
    assert blobs.put("pool", ".txt", _writes(b"x")) == name
    assert blobs.put("pool", ".txt", _writes(b"y")) != name
    assert blobs.path(name).read_bytes() == b"x"

    def fail(file: Any) -> None:
        file.write(b"half")
        raise ZeroDivisionError("midway")

    with pytest.raises(ZeroDivisionError, match="midway"):
        blobs.put("pool", ".txt", fail)
    assert len(list(blobs.root.iterdir())) == 2
