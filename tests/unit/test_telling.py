"""Labels that a person brings: read, refused with every fault at once, stored once, and heeded by the campaign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.api.telling import Told, read_labels, tell
from active_learning.domain import actions as do
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.request import RequestState
from active_learning.domain.target import Goal, Target
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform, run_local
from active_learning.engine.pool_file import PoolFile, write_pool
from active_learning.errors import UserError
from active_learning.store import Blobs, CampaignStore
from active_learning.testing.fakes import START, FakeClock, TinyPool, tiny_campaign, true_value, without_workers
from active_learning.testing.faults import FakeScheduler

TARGET = Target("energy", Goal.MINIMIZE, "eV")
FAKES = "active_learning.testing.fakes"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CampaignStore]:
    opened = CampaignStore(f"sqlite:///{tmp_path / 'campaign.db'}", "tiny")
    opened.create({}, START)
    yield opened
    opened.close()


@pytest.fixture
def pool(tmp_path: Path) -> PoolFile:
    """Compositions, and two crystals of one formula."""
    cube = ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0))
    crystals = [Crystal(cube, ("Pt", "Ni"), ((0, 0, 0), (x, 0.5, 0.5))) for x in (0.5, 0.25)]
    blobs = Blobs(tmp_path / "files")
    found = [*TinyPool(TinyPool.Options(n=5)).read(), *map(Candidate.of, crystals)]
    return PoolFile(blobs.path(write_pool(found, blobs)["file"]))


def _written(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_labels_is_read(tmp_path: Path) -> None:
    path = _written(
        tmp_path, "\ufefffocus,candidate,value,unit,std,fidelity\n1,AgAl, -1.5 ,eV,0.1,pbe\n2,AgAu,2e-3,,,\n"
    )
    assert read_labels(path) == (
        [
            Told("AgAl", -1.5, "eV", 0.1, "pbe", "labels.csv:2"),
            Told("AgAu", 0.002, "", None, "told", "labels.csv:3"),
        ],
        0,
    )
    assert [told.candidate for told in read_labels(_written(tmp_path, "formula,value\nAgAl,1\n"))[0]] == ["AgAl"]


def test_rows_without_a_value_are_not_answered_yet(tmp_path: Path) -> None:
    told, n_unanswered = read_labels(_written(tmp_path, "candidate,value,std\nAgAl,1,\nAgPd,,\nAgCu, ,0.1\n"))
    assert [one.candidate for one in told] == ["AgAl"]
    assert n_unanswered == 2


def test_every_row_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = _written(tmp_path, "candidate,value,std\nAgAl,much,\n,1,\nAgAu,inf,\nAgCu,1,x\nAgNi,1,0\nAgPd,-,\n")
    with pytest.raises(UserError, match="5 rows cannot be used; nothing was told") as caught:
        read_labels(path)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()[1:]] == [
        f"  line {n}" for n in (2, 3, 4, 5, 7)
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs the columns 'candidate' .* it has: none"),
        ("id,value\nx,1\n", "needs the columns 'candidate' .* it has: id, value"),
        ("candidate,energy\nx,1\n", "it has: candidate, energy"),
    ],
)
def test_a_table_without_the_columns_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_labels(_written(tmp_path, text))


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read: .*No such file"):
        read_labels(tmp_path / "gone.csv")
    (tmp_path / "bad.csv").write_bytes(b"candidate,value\n\xff\xfe,1\n")
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "bad.csv")


def test_labels_are_stored_with_where_they_come_from(store: CampaignStore, pool: PoolFile) -> None:
    by_id = pool.ids[pool.formulas(pool.ids).index("AgAl2")]
    told = [Told("Al2Ag2", -1.5, "eV", 0.1, "pbe", "labels.csv:2"), Told(by_id, 2.0)]
    assert tell(store, TARGET, pool, START, told) == (2, 0, ())
    first, second = store.read().labels
    assert (first.value, first.unit, first.std, first.fidelity, first.time) == (-1.5, "eV", 0.1, "pbe", START)
    assert first.provenance == {"formula": "AgAl", "source": "labels.csv:2"}
    assert (second.candidate_id, second.unit, second.provenance["source"]) == (by_id, "eV", "told")
    assert first.request_id is second.request_id is None


def test_telling_again_changes_no_label_and_a_conflict_is_noted_and_refused(
    store: CampaignStore, pool: PoolFile
) -> None:
    tell(store, TARGET, pool, START, [Told("AgAl", -1.5)])
    labels = store.read().labels
    new, known, conflicts = tell(store, TARGET, pool, START, [Told("AgAl", -1.5), Told("AgAl", -1.4)])
    assert (new, known, len(conflicts)) == (0, 1, 1)
    assert "is already -1.5 eV (told, 2026-03-02); refused: -1.4 eV" in conflicts[0]
    assert store.read().labels == labels
    (event,) = [event for event in store.events() if event.kind == "conflict"]
    assert event.data == {"candidate": labels[0].candidate_id, "value": -1.4, "unit": "eV"}
    assert store.events()[-1].data == {"new": 0, "known": 1, "refused": 1}


def test_if_one_label_cannot_be_used_none_is_stored(store: CampaignStore, pool: PoolFile) -> None:
    told = [
        Told("AgAl", 1.0),
        Told("XyZ", 1.0, source="t:3"),
        Told("NiPt", 1.0),
        Told("AgAl2", 1.0, "meV"),
        Told("AgAl3", float("nan"), source="t:6"),
        Told("AgAl3", 1.0, std=-1.0, source="t:7"),
    ]
    with pytest.raises(UserError, match="5 labels cannot be used; nothing was told") as caught:
        tell(store, TARGET, pool, START, told)
    lines = str(caught.value).splitlines()[1:]
    assert lines[0] == "  t:3: no candidate 'XyZ' in the pool (ids and formulas are understood)"
    assert lines[1] == "  NiPt: 2 candidates have the formula NiPt; give the candidate's id"
    assert lines[2] == "  AgAl2: unit 'meV', but energy is in 'eV'"
    assert "must be finite, got nan" in lines[3]
    assert "must be finite and >= 0, got -1.0" in lines[4]
    assert (store.read().labels, store.read().version) == ((), 1)


def _campaign(folder: Path, **changes: Any) -> Campaign:
    submitter = {"kind": "active_learning.testing.faults:FakeScheduler", "at_once": False}
    path = tiny_campaign(folder, **({"submitter": submitter} | changes))
    return without_workers(Campaign.create(path, clock=FakeClock()))


def _ids(campaign: Campaign) -> dict[str, Candidate]:
    pool = campaign.pool()
    return {candidate.formula: candidate for candidate in pool.candidates(0, len(pool))}


def _until(bench: Any, kind: type) -> Any:
    while not isinstance(action := next_action(bench.snapshot()), kind):
        perform(bench, action)
    return action


def test_a_planned_request_is_withdrawn_when_its_label_is_told(tmp_path: Path) -> None:
    with _campaign(tmp_path) as campaign, campaign.work() as bench:
        _until(bench, do.Submit)
        first = bench.store.read().requests[0]
        campaign.tell([Told(first.candidate_id, 1.0)])
        assert bench.store.read().requests[0].state is RequestState.CANCELLED
        perform(bench, _until(bench, do.Submit))
        assert len(bench.kit.submitter.jobs) == 3  # type: ignore[attr-defined]


def test_a_label_told_while_its_job_runs_stands_and_the_jobs_own_is_noted(tmp_path: Path) -> None:
    with _campaign(tmp_path) as campaign, campaign.work() as bench:
        perform(bench, _until(bench, do.Submit))
        scheduler = bench.kit.submitter
        assert isinstance(scheduler, FakeScheduler)
        request = bench.store.read().requests[0]
        campaign.tell([Told(request.candidate_id, 77.0)])
        scheduler.end(request.handle or "")
        perform(bench, _until(bench, do.Collect))
        facts = bench.store.read()
        assert facts.requests[0].state is RequestState.SUCCEEDED
        assert [(x.value, x.request_id) for x in facts.labels] == [(77.0, None)]
        (event,) = [event for event in bench.store.events() if event.kind == "conflict"]
        truth = true_value(bench.candidate(facts, request.candidate_id))
        assert (event.data["request"], event.data["value"]) == (request.id, truth)


def test_a_failed_candidate_that_a_person_labels_is_not_tried_again(tmp_path: Path) -> None:
    labeler = {"kind": f"{FAKES}:FakeLabeler", "fates": dict.fromkeys(("AgAl", "AgAu", "AgCu"), "raises")}
    submitter = {"kind": "active_learning.testing.faults:FakeScheduler"}
    pool = {"kind": f"{FAKES}:TinyPool", "n": 11}
    rounds = {"initial": 11, "batch_size": 1, "max_in_flight": 11}
    with _campaign(tmp_path, labeler=labeler, submitter=submitter, pool=pool, rounds=rounds, stopping={}) as campaign:
        with campaign.work() as bench:
            _until(bench, do.Retry)
            campaign.tell([Told("AgAl", 1.0)])
            run_local(bench)
        attempts = [r.formula for r in campaign.store.read().requests if r.attempt > 1]
        status = campaign.status()
    assert sorted(attempts) == ["AgAu", "AgCu"]
    assert (status["n_labels"], status["n_failed"]) == (9, 2)


def test_a_label_of_a_candidate_without_features_is_kept_and_not_learned_from(tmp_path: Path) -> None:
    features = {"kind": f"{FAKES}:TinyFeaturizer", "fails": ["AgAl", "AgAu"]}
    submitter = {"kind": "active_learning.testing.faults:FakeScheduler"}
    pool = {"kind": f"{FAKES}:TinyPool", "n": 8}
    with _campaign(tmp_path, features=features, submitter=submitter, pool=pool, stopping={}) as campaign:
        campaign.tell([Told("AgAl", -99.0), Told("AgAu", -98.0)])
        status = campaign.run()
        record = campaign.record()
    assert (status["phase"], status["stop_rule"]) == ("stopped", "pool_exhausted")
    assert status["n_labels"] == 8
    assert record.rounds[-1].n_labels == 6
    assert len([r for r in record.requests if r.state is RequestState.SUCCEEDED]) == 6


def test_two_labels_without_features_do_not_make_a_model(tmp_path: Path) -> None:
    features = {"kind": f"{FAKES}:TinyFeaturizer", "fails": ["AgAl", "AgAu"]}
    formulas = [c.formula for c in TinyPool(TinyPool.Options(n=8)).read() if isinstance(c, Candidate)]
    labeler = {"kind": f"{FAKES}:FakeLabeler", "fates": dict.fromkeys(formulas, "rejected")}
    submitter = {"kind": "active_learning.testing.faults:FakeScheduler"}
    pool = {"kind": f"{FAKES}:TinyPool", "n": 8}
    with _campaign(tmp_path, features=features, labeler=labeler, submitter=submitter, pool=pool) as campaign:
        campaign.tell([Told("AgAl", -99.0), Told("AgAu", -98.0)])
        with campaign.work() as bench:
            run_local(bench)
        status = campaign.status()
    assert status["phase"] == "failed"
    assert "0 of the first 4 requests gave a label, and a model needs 2 (4 rejected)" in status["stop_reason"]


def test_a_campaign_whose_budget_was_told_beforehand_concludes_and_says_so(tmp_path: Path) -> None:
    with _campaign(tmp_path) as campaign:
        told = [Told(candidate.id, true_value(candidate)) for candidate in _ids(campaign).values()]
        campaign.tell(told[:12])
        status = campaign.run()
        assert (status["phase"], status["stop_rule"], status["n_labels"]) == ("stopped", "labels", 12)
        assert status["n_requests"] == 0
        assert campaign.record().prediction is not None


def test_told_labels_leave_no_room_for_planned_requests(tmp_path: Path) -> None:
    """Ten labels are the budget; of four planned requests one is withdrawn after seven were told."""
    with _campaign(tmp_path) as campaign, campaign.work() as bench:
        _until(bench, do.Submit)
        planned = {request.candidate_id for request in bench.store.read().requests}
        others = [candidate for candidate in _ids(campaign).values() if candidate.id not in planned]
        campaign.tell([Told(candidate.id, 1.0) for candidate in others[:7]])
        action = _until(bench, do.CancelPlanned)
        assert len(action.request_ids) == 1
        perform(bench, action)
        assert len(_until(bench, do.Submit).request_ids) == 3


def test_labels_told_before_there_is_a_pool_are_refused(tmp_path: Path) -> None:
    said = "Campaign 'tiny' has no pool yet; it is built by: motherlode tick"
    campaign = Campaign.create(tiny_campaign(tmp_path), clock=FakeClock())
    with campaign, pytest.raises(UserError, match=said):
        campaign.tell([Told("AgAl", 1.0)])


def test_asking_and_telling_is_a_campaign_without_a_submitter(tmp_path: Path) -> None:
    with _campaign(tmp_path) as campaign:
        first = campaign.ask()
        assert len(first) == 4
        assert campaign.ask() == first
        for _ in range(20):
            if not (asked := campaign.ask()):
                break
            campaign.tell([Told(candidate.id, true_value(candidate)) for candidate in asked])
        status = campaign.status()
    assert (status["phase"], status["n_labels"], status["n_in_flight"]) == ("stopped", 10, 0)
