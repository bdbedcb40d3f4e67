"""Labels shared across campaigns: taken only where everything that they depend on is the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.domain.job import JobSpec
from active_learning.engine.label_cache import LabelCache, cache_key
from active_learning.errors import SpecError, StoreError
from active_learning.testing.fakes import FakeClock, FakeLabeler, tiny_campaign, without_workers
from active_learning.testing.faults import FakeScheduler

Make = Callable[..., Campaign]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Campaign] = []

    def make(name: str, mode: str = "read-write", **changes: Any) -> Campaign:
        file = tiny_campaign(tmp_path / name, cache={"mode": mode, "path": str(tmp_path / "labels")}, **changes)
        made.append(without_workers(Campaign.create(file, clock=FakeClock())))
        return made[-1]

    yield make
    for campaign in made:
        campaign.close()


def n_launched(campaign: Campaign) -> int:
    assert isinstance(campaign.kit.submitter, FakeScheduler)
    return sum(campaign.kit.submitter.launches.values())


def values(campaign: Campaign) -> dict[str, float]:
    return {label.candidate_id: label.value for label in campaign.store.read().labels}


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "labels").rglob("*.json"))


def test_a_second_campaign_takes_every_label_and_launches_nothing(make: Make) -> None:
    first = make("first")
    first.run()
    second = make("second")
    second.run()
    assert n_launched(first) == 10
    assert n_launched(second) == 0
    assert values(second) == values(first)
    label = second.store.read().labels[0]
    assert label.provenance["cache"]["campaign"] == "tiny"
    assert label.provenance["cache"]["request"] == first.store.read().labels[0].request_id
    assert second.status()["cost"]["used_core_s"] == 0.0


def test_reading_gives_nothing_away(make: Make, tmp_path: Path) -> None:
    campaign = make("first", mode="read")
    campaign.run()
    assert n_launched(campaign) == 10
    assert not entries(tmp_path)


def test_failures_and_values_that_nobody_believes_are_not_shared(make: Make, tmp_path: Path) -> None:
    labeler = {"kind": "active_learning.testing.fakes:FakeLabeler", "fates": {"AgAl": "unconverged", "AgAu": "nan"}}
    rounds = {"initial": 28, "batch_size": 2, "max_in_flight": 30}
    stopping = {"any": [{"kind": "labels", "max": 28}]}
    requests = {"poll": 1, "retries": 0, "plausible": [-1.5, 1.5]}
    campaign = make("first", labeler=labeler, rounds=rounds, stopping=stopping, requests=requests)
    campaign.run()
    assert campaign.status()["n_failed"] >= 3
    assert len(entries(tmp_path)) == len(values(campaign)) == n_launched(campaign) - campaign.status()["n_failed"]


def test_another_version_of_a_code_is_another_protocol(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("first").run()
    monkeypatch.setattr(FakeLabeler, "protocol", lambda _self: {"fake": "2"})
    second = make("second")
    second.run()
    assert n_launched(second) == 10


def test_an_entry_that_cannot_be_read_is_noted_and_calculated_again(make: Make, tmp_path: Path) -> None:
    make("first").run()
    broken = entries(tmp_path)[0]
    broken.write_text('{"key": "no')
    second = make("second")
    second.run()
    assert n_launched(second) == 1
    faults = [event.data["reason"] for event in second.store.events() if event.kind == "cache_fault"]
    assert len(faults) == 1
    assert str(broken) in faults[0]
    assert "delete it" in faults[0]


def test_a_cache_that_cannot_be_written_costs_no_label(make: Make, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a file, not a folder")
    campaign = make("first")
    campaign.run()
    assert campaign.status()["n_labels"] == 10
    assert [event for event in campaign.store.events() if event.kind == "cache_fault"]


def test_a_campaign_killed_after_it_took_a_label_settles_it_later(make: Make) -> None:
    from active_learning.domain import actions as do
    from active_learning.engine.deciding import next_action
    from active_learning.engine.performing import perform

    make("first").run()
    second = make("second")
    with second.work() as bench:
        while not isinstance(action := next_action(bench.snapshot()), do.Submit):
            perform(bench, action)
        perform(bench, action)
    second.run()
    assert n_launched(second) == 0
    assert second.status()["n_labels"] == 10


def test_a_labeler_that_says_no_versions_shares_nothing(tmp_path: Path) -> None:
    (tmp_path / "silent_labeler.py").write_text(
        "from active_learning.testing.fakes import FakeLabeler\n\n\nclass Silent(FakeLabeler):\n    protocol = None\n"
    )
    labeler = {"kind": "silent_labeler:Silent"}
    file = tiny_campaign(tmp_path, cache={"mode": "read", "path": "labels"}, labeler=labeler)
    with pytest.raises(SpecError, match=r"cache\.mode.*does not say which codes and versions"):
        Campaign.create(file)


@pytest.mark.parametrize(("mode", "path"), [("read", None), ("read-write", None)])
def test_a_cache_without_a_folder_is_refused(tmp_path: Path, mode: str, path: str | None) -> None:
    with pytest.raises(SpecError, match="a cache needs its folder"):
        Campaign.create(tiny_campaign(tmp_path, cache={"mode": mode}))


SPEC = JobSpec("m:f", {"crystal": {"lattice": 1.0}, "encut": 400}, {"KPOINTS": "4 4 4"})


@pytest.mark.parametrize(
    "other",
    [
        JobSpec("m:g", SPEC.inputs, SPEC.files),
        JobSpec("m:f", {"crystal": {"lattice": 1.0000001}, "encut": 400}, SPEC.files),
        JobSpec("m:f", {"crystal": {"lattice": 1.0}, "encut": 401}, SPEC.files),
        JobSpec("m:f", SPEC.inputs, {"KPOINTS": "5 5 5"}),
        JobSpec("m:f", SPEC.inputs, {}),
    ],
)
def test_the_key_holds_all_that_a_result_depends_on(other: JobSpec) -> None:
    assert cache_key(SPEC, {"code": "1"}) == cache_key(
        JobSpec("m:f", dict(SPEC.inputs), dict(SPEC.files)), {"code": "1"}
    )
    assert cache_key(other, {"code": "1"}) != cache_key(SPEC, {"code": "1"})
    assert cache_key(SPEC, {"code": "2"}) != cache_key(SPEC, {"code": "1"})


def test_how_a_machine_runs_a_job_does_not_enter_the_key() -> None:
    here = JobSpec("m:f", {"encut": 400, "command": ["srun", "pw.x"]}, of_machine=frozenset({"command"}))
    there = JobSpec("m:f", {"encut": 400, "command": ["mpirun", "pw.x"]}, of_machine=frozenset({"command"}))
    assert cache_key(here, {}) == cache_key(there, {})
    assert cache_key(here, {}) != cache_key(JobSpec("m:f", here.inputs), {})


def test_what_stands_in_a_cache_stays_and_another_keys_entry_is_refused(tmp_path: Path) -> None:
    cache = LabelCache(tmp_path)
    key, other = cache_key(SPEC, {}), cache_key(SPEC, {"code": "1"})
    cache.put(key, {"x": 1}, {"campaign": "a"})
    cache.put(key, {"x": 2}, {"campaign": "b"})
    found = cache.get(key)
    assert found is not None
    assert (found.result, found.origin) == ({"x": 1}, {"campaign": "a"})
    assert cache.get(other) is None
    place = tmp_path / other[:2] / f"{other}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps({"key": key, "result": {}, "origin": {}}))
    with pytest.raises(StoreError, match="it is another's; delete it"):
        cache.get(other)
