"""Reports and exports of campaigns that the engine really ran: arms, control, classes, searches, told labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from learning_campaigns import FOREST, POOL, run, run_told

from active_learning.api.record import CampaignRecord
from active_learning.api.status import status_of
from active_learning.domain.request import Arm
from active_learning.reporting.classes import confusions
from active_learning.reporting.export import WHAT
from active_learning.reporting.links import prospective
from active_learning.reporting.picks import picks_by_round
from active_learning.reporting.report import render_html
from active_learning.reporting.rounds import round_markdown

TABLES: dict[str, Any] = {
    "pool": POOL,
    "surrogate": FOREST,
    "training": {"folds": 3, "test_fraction": 0.2},
    "control": {"fraction": 0.3},
    "search": {"every": 2, "trials": 2, "seconds": 1e6},
    "acquisition": {"kind": "expected_improvement"},
    "rounds": {"initial": 10, "batch_size": 6, "max_in_flight": 12},
    "stopping": {"any": [{"kind": "labels", "max": 28}]},
}
CLASSES = TABLES | {
    "target": {"property": "energy", "goal": "classify"},
    "acquisition": {"kind": "random"},
    "labeler": {"kind": "learning_campaigns:ClassLabeler"},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[CampaignRecord, dict[str, Any]]:
    """A campaign whose labels a person told, each because it was asked for; and its status."""
    found = run_told(tmp_path_factory.mktemp("told"), **TABLES)
    return found.campaign.record(), status_of(found.facts, None)


def test_the_record_has_the_control_of_the_status(told):
    record, status = told
    assert record.control == status["control"]
    assert record.control["error"]["n"] == sum(
        r.arm is Arm.CONTROL for r in record.requests if r.candidate_id in {x.candidate_id for x in record.labels}
    )


def test_told_labels_count_for_what_they_were_asked_for(told):
    record, _ = told
    assert all(label.request_id is None for label in record.labels)
    assert len(prospective(record, arm=Arm.CONTROL)) == record.control["n_labels"]
    states = {pick.state for picks in picks_by_round(record).values() for pick in picks}
    assert states == {"ok"}
    table = WHAT["labels"](record)
    arms = {request.candidate_id: request.arm.value for request in record.requests}
    assert list(table["arm"]) == [arms[candidate] for candidate in table["candidate"]]
    assert set(table["arm"]) == {"design", "chosen", "control", "test"}
    novelties = {request.candidate_id: request.novelty for request in record.requests}
    later = table[table["round"] > 0]
    np.testing.assert_allclose(later["novelty"], [novelties[c] for c in later["candidate"]])
    assert table[table["arm"] == "design"]["novelty"].isna().all()


def test_a_campaign_shows_what_its_learning_knows(told):
    record, status = told
    page = render_html(record)
    for part in (
        "Calibration of round",
        "Control: drawn at random",
        "Settings found by search",
        "Novelty:",
        "<th>arm</th>",
        "test set: MAE",
        "Forecast when it was chosen",
    ):
        assert part in page
    assert status["calibration"]["n"] > 0
    text = round_markdown(record, 1)
    assert "| control |" in text
    assert "Forecast when it was chosen" in text


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> CampaignRecord:
    return run(tmp_path_factory.mktemp("classes"), **CLASSES).campaign.record()


def test_the_predictions_of_classes_are_exported_with_their_probabilities(classified):
    table = WHAT["predictions"](classified)
    assert list(table.columns[-2:]) == ["probability_0", "probability_1"]
    np.testing.assert_allclose(table["probability_0"] + table["probability_1"], 1.0)
    np.testing.assert_allclose(table["probability_1"], table["mean"])


def test_the_predictions_of_a_number_have_no_probabilities(told):
    assert list(WHAT["predictions"](told[0]).columns)[-2:] == ["unit", "label"]


def test_the_table_of_classes_agrees_with_the_accuracy_that_the_engine_stored(classified):
    newest = classified.rounds[-1]
    held_out = confusions(classified)[0]
    assert held_out.n == len(newest.out_of_fold)
    assert held_out.n_right / held_out.n == pytest.approx(newest.metrics["accuracy"])
    page = render_html(classified)
    assert "Classes: held out" in page
    assert 'id="best"' not in page
    assert "test set: accuracy" in page
    assert "| held out, round " in round_markdown(classified, newest.number)
