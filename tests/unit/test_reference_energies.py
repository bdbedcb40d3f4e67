"""A labeler that measures against the elements: their calculations come first, and again if they were withdrawn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.api.telling import Told
from active_learning.domain import actions as do
from active_learning.domain.request import Purpose, RequestState
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform
from active_learning.errors import CampaignFailed
from active_learning.testing.fakes import FakeClock, Fate, tiny_campaign, without_workers

_OWN = """
from dataclasses import replace

from active_learning.domain.candidate import Candidate
from active_learning.domain.label import Failure
from active_learning.testing.fakes import PROPERTY, FakeLabeler


class Measured(FakeLabeler):
    Options = FakeLabeler.Options

    def __init__(self, options, wanted=PROPERTY, energies=None):
        super().__init__(options)
        self.wanted, self.energies = wanted, energies

    @property
    def units(self):
        return {PROPERTY: "eV", "energy_per_atom": "eV"}

    def for_property(self, name):
        return Measured(self.options, name)

    def references(self, elements):
        return {e: Candidate({e: 1}) for e in elements} if self.wanted == PROPERTY else {}

    def with_references(self, energies):
        return Measured(self.options, self.wanted, energies)

    def prepare(self, candidate):
        if self.wanted == PROPERTY:
            assert {"Ag", "Al"} <= set(self.energies)
        return super().prepare(candidate)

    def parse(self, job_dir):
        found = super().parse(job_dir)
        if isinstance(found, Failure) or self.wanted == PROPERTY:
            return found
        return replace(found, values={self.wanted: found.values[PROPERTY]})
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """``start(max=6, fates={})``: a campaign of eight alloys of Ag with Al and Au."""
    (tmp_path / "own_measured.py").write_text(_OWN, encoding="utf-8")
    path = list(sys.path)
    opened: list[Campaign] = []

    def started(*, limit: int = 6, fates: dict[str, str] | None = None, **changes: Any) -> Campaign:
        tables = {
            "labeler": {"kind": "own_measured:Measured", "fates": fates or {}},
            "pool": {"kind": "active_learning.testing.fakes:TinyPool", "n": 8},
            "stopping": {"any": [{"kind": "labels", "max": limit}]},
        }
        file = tiny_campaign(tmp_path, **(tables | changes))
        opened.append(without_workers(Campaign.create(file, clock=FakeClock())))
        return opened[-1]

    yield started
    for campaign in opened:
        campaign.close()
    sys.path[:] = path
    sys.modules.pop("own_measured", None)


def _until(bench: Any, kind: type) -> Any:
    while not isinstance(action := next_action(bench.snapshot()), kind):
        perform(bench, action)
    return action


def test_references_come_first_and_are_no_labels_of_the_target(start: Any) -> None:
    campaign = start()
    status = campaign.run()
    facts = campaign.store.read()
    purposes = [request.purpose for request in facts.requests]
    assert purposes == [Purpose.REFERENCE] * 3 + [Purpose.CANDIDATE] * 6
    assert [r.formula for r in facts.requests[:3]] == ["Ag", "Al", "Au"]
    assert [label.property for label in facts.labels] == ["energy_per_atom"] * 3 + ["energy"] * 6
    assert (status["n_labels"], status["n_candidates"], len(campaign.record().labels)) == (6, 8, 6)


def test_a_lost_reference_is_tried_again_before_anything_else(start: Any) -> None:
    campaign = start(submitter={"kind": "active_learning.testing.faults:FakeScheduler", "at_once": False})
    with campaign.work() as bench:
        perform(bench, _until(bench, do.Submit))
        scheduler = bench.kit.submitter
        for handle, fate in zip(scheduler.running(), (Fate.LOST, Fate.OK, Fate.OK), strict=True):
            scheduler.end(handle, fate)
        retry = _until(bench, do.Retry)
        assert retry == do.Retry(("ref-Ag-1",))
        perform(bench, retry)
        assert _until(bench, do.Submit) == do.Submit(("ref-Ag-2",))
        assert bench.store.read().rounds == ()


def test_a_reference_that_cannot_be_had_ends_the_campaign(start: Any) -> None:
    """One at a time, so that others are planned still: they are withdrawn, and not planned again."""
    rounds = {"initial": 4, "batch_size": 1, "max_in_flight": 1}
    campaign = start(fates={"Ag": "unconverged"}, rounds=rounds, requests={"retries": 0})
    said = r"The reference calculation of Ag failed: unconverged: told not to converge\. Without it no formation energy"
    with pytest.raises(CampaignFailed, match=said):
        campaign.run()
    states = [request.state for request in campaign.store.read().requests]
    assert states == [RequestState.FAILED, RequestState.CANCELLED, RequestState.CANCELLED]


def test_references_that_were_withdrawn_are_planned_again_when_the_campaign_goes_on(start: Any) -> None:
    """Told labels used the budget up before the references ran; a larger budget needs them after all."""
    campaign = start(limit=2)
    with campaign.work() as bench:
        _until(bench, do.Submit)
        campaign.tell([Told("AgAl", -1.0), Told("AgAl2", -2.0)])
    assert campaign.run()["phase"] == "stopped"
    states = [request.state for request in campaign.store.read().requests]
    assert states == [RequestState.CANCELLED] * 3
    status = start(limit=5).run()
    requests = campaign.store.read().requests
    assert (status["phase"], status["n_labels"]) == ("stopped", 5)
    assert [r.id for r in requests[3:6]] == ["ref-Ag-2", "ref-Al-2", "ref-Au-2"]
    assert all(r.state is RequestState.SUCCEEDED for r in requests[3:])
