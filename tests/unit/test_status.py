"""What `motherlode status --json` says at each stage of a campaign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from active_learning.api.campaign import Campaign
from active_learning.api.status import read_status
from active_learning.api.telling import Told
from active_learning.domain import actions as do
from active_learning.domain.campaign import Phase
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform
from active_learning.errors import CampaignFailed, SpecError, UserError
from active_learning.testing.fakes import START, FakeClock, TinyPool, tiny_campaign, without_workers

FAKES = "active_learning.testing.fakes"
KEYS = {
    "calibration",
    "control",
    "forecast",
    "forecast_sentence",
    "test_metrics",
    "name",
    "phase",
    "round",
    "n_candidates",
    "n_labels",
    "n_failed",
    "n_in_flight",
    "n_planned",
    "n_requests",
    "in_flight",
    "awaiting_approval",
    "ending",
    "n_retracted",
    "cost",
    "outliers",
    "best",
    "target",
    "stop_reason",
    "stop_rule",
    "metrics",
    "working",
}
"""A public contract: keys may be added, never taken away."""


def _seen(path: Path) -> dict[str, Any]:
    found = read_status(path, START)
    assert set(found) == KEYS
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_a_campaign_that_never_started_is_told_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Campaign 'tiny' has not started.*Start it: motherlode run"):
        read_status(tiny_campaign(tmp_path), START)


def test_a_campaign_without_a_pool_has_no_numbers_yet(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    Campaign.create(path, clock=FakeClock()).close()
    assert _seen(path) == {
        "name": "tiny",
        "phase": "active",
        "round": None,
        "n_candidates": None,
        "n_labels": 0,
        "n_failed": 0,
        "n_in_flight": 0,
        "n_planned": 0,
        "n_requests": 0,
        "in_flight": [],
        "awaiting_approval": [],
        "ending": None,
        "n_retracted": 0,
        "cost": {"asked_core_s": 0.0, "used_core_s": 0.0, "queued_s": 0.0},
        "outliers": [],
        "best": None,
        "target": {"property": "energy", "goal": "minimize", "unit": ""},
        "stop_reason": None,
        "stop_rule": None,
        "metrics": {},
        "test_metrics": {},
        "calibration": {},
        "control": {},
        "forecast": {},
        "forecast_sentence": None,
        "working": None,
    }


def test_what_is_in_flight_and_who_works_is_shown(tmp_path: Path) -> None:
    submitter = {"kind": "active_learning.testing.faults:FakeScheduler", "at_once": False}
    rounds = {"initial": 5, "batch_size": 2, "max_in_flight": 3}
    path = tiny_campaign(tmp_path, submitter=submitter, rounds=rounds)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign, campaign.work() as bench:
        while not isinstance(action := next_action(bench.snapshot()), do.Wait):
            perform(bench, action)
        found = _seen(path)
        assert found == campaign.status()
        first = bench.store.read().requests[0]
    assert (found["round"], found["n_in_flight"], found["n_planned"], found["n_requests"]) == (0, 3, 2, 5)
    assert found["in_flight"][0] == {
        "request": first.id,
        "formula": first.formula,
        "state": "RUNNING",
        "round": 0,
        "backend": "running",
        "backend_since": START.isoformat(),
        "backend_detail": "",
    }
    assert found["working"].startswith("process ")
    assert _seen(path)["working"] is None


def test_the_end_of_a_campaign_is_told_with_its_best(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        assert campaign.run() == _seen(path)
        labels = campaign.store.read().labels
    found = _seen(path)
    assert (found["phase"], found["stop_rule"], found["n_labels"]) == ("stopped", "labels", 10)
    assert found["stop_reason"] == "The budget of 10 labels is used up: 10 are there."
    best = min(labels, key=lambda label: label.value)
    assert found["best"]["candidate"] == best.candidate_id
    assert (found["best"]["value"], found["best"]["unit"]) == (best.value, "eV")
    assert found["best"]["formula"]
    assert {"mae", "rmse", "r2", "mean_z2"} <= set(found["metrics"])


@pytest.mark.parametrize(
    ("target", "rank"),
    [
        ({"goal": "maximize"}, lambda value: -value),
        ({"goal": "within", "low": -0.5, "high": -0.4}, lambda value: max(-0.5 - value, value + 0.4, 0)),
    ],
)
def test_the_best_is_what_the_goal_wants(tmp_path: Path, target: dict[str, Any], rank: Any) -> None:
    path = tiny_campaign(tmp_path, target={"property": "energy"} | target)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        campaign.run()
        values = [label.value for label in campaign.store.read().labels]
    assert rank(_seen(path)["best"]["value"]) == min(map(rank, values))


def test_a_goal_without_a_best_shows_none(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, target={"property": "energy", "goal": "learn"}, acquisition={"kind": "uncertainty"})
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        campaign.run()
    assert _seen(path)["best"] is None


def test_the_best_label_of_a_candidate_that_was_never_requested_has_its_formula(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        campaign.tell([Told("AgAl", -1e6)])
    assert _seen(path)["best"]["formula"] == "AgAl"


def test_a_campaign_that_failed_says_why_and_raises_where_it_was_run(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, stopping={}, labeler={"kind": f"{FAKES}:FakeLabeler", "fates": _all("raises")})
    said = r"Campaign 'tiny' cannot go on\. 0 of the first 4 requests gave a label, and a model needs 2 \(4 crashed\)"
    campaign = without_workers(Campaign.create(path, clock=FakeClock()))
    with campaign, pytest.raises(CampaignFailed, match=said):
        campaign.run()
    found = _seen(path)
    assert (found["phase"], found["stop_rule"], found["n_failed"], found["n_requests"]) == ("failed", "failed", 4, 8)
    assert "RuntimeError: told to fail: raises" in found["stop_reason"]


def _all(fate: str) -> dict[str, str]:
    return {getattr(item, "formula", ""): fate for item in TinyPool(TinyPool.Options()).read()}


def test_a_paused_campaign_says_so_and_a_resumed_one_ends(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        with campaign.store.write(START) as writer:
            writer.set_phase(Phase.PAUSED)
        assert campaign.run()["phase"] == "paused"
        assert _seen(path)["n_requests"] == 0
        with campaign.store.write(START) as writer:
            writer.set_phase(Phase.ACTIVE)
        assert campaign.run()["phase"] == "stopped"


def test_a_file_with_faults_still_has_a_status(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    Campaign.create(path, clock=FakeClock()).close()
    tiny_campaign(tmp_path, rounds={"initial": "many"})
    assert _seen(path)["phase"] == "active"
    tiny_campaign(tmp_path, name=None)
    with pytest.raises(SpecError, match="name: missing"):
        read_status(path, START)
