"""What the report says of the learning: calibration, control, forecast, settings; nothing where there is none."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from active_learning.api.record import CampaignRecord
from active_learning.domain.request import Arm
from active_learning.domain.target import Goal
from active_learning.learning.forecast import forecast_sentence
from active_learning.reporting import learned, links, picks, tables
from active_learning.reporting.report import render_html
from active_learning.reporting.rounds import round_markdown
from active_learning.testing.record_models import RAW_SLOPE
from active_learning.testing.records import example_record

HEADINGS = ("Calibration of round", "Control: drawn at random", "Settings found by search", "Classes:", "Novelty:")


@pytest.fixture(scope="module")
def full() -> CampaignRecord:
    return example_record(n_control=2, n_test=1, rules=("exploit", "explore"), search_every=3)


def _bare(record: CampaignRecord) -> CampaignRecord:
    """As a store has it that is older than all this."""
    return replace(
        record,
        rounds=tuple(replace(r, calibration=None, forecast={}, test_metrics={}, settings=None) for r in record.rounds),
        requests=tuple(replace(r, arm=Arm.CHOSEN, rule="", novelty=None, reason="") for r in record.requests),
        control={},
    )


def test_the_calibration_table_has_the_newest_rounds_numbers_without_and_with_the_correction(full):
    newest = full.rounds[-1].calibration
    found = learned.calibration_of(full)
    assert (found.number, found.n) == (full.rounds[-1].number, newest["n"])
    rows = {name: (before, after) for name, before, after, _ in found.rows}
    for side, shown in zip((newest["before"], newest["after"]), rows["mean z² [95 %]"], strict=True):
        middle, interval = shown.split(" ", 1)
        assert float(middle) == pytest.approx(side["mean_z2"], rel=5e-3)
        low, high = (float(text) for text in interval.strip("[]").split(", "))
        assert (low, high) == pytest.approx((side["mean_z2_low"], side["mean_z2_high"]), rel=5e-3)
    assert float(rows["miscalibration area"][1]) == pytest.approx(newest["after"]["miscalibration_area"], rel=5e-3)
    assert rows["labels inside the 90 % interval"][0] == f"{100 * newest['before']['coverage_90']:.0f} %"
    assert float(rows["slope of the correction"][1]) == pytest.approx(RAW_SLOPE)
    assert rows["sharpness"][1].endswith(" eV/atom")
    assert {"ENCE", "negative log-likelihood"} <= rows.keys()
    assert found.correction == "fitted to the labels of this round"


def test_what_is_undefined_of_a_calibration_has_no_row(full):
    newest = full.rounds[-1]
    sides = {
        when: {k: v for k, v in newest.calibration[when].items() if k not in ("ence", "nll", "mean_z2_low")}
        for when in ("before", "after")
    }
    record = replace(full, rounds=(*full.rounds[:-1], replace(newest, calibration={**newest.calibration, **sides})))
    names = [name for name, *_ in learned.calibration_of(record).rows]
    assert "ENCE" not in names
    assert "negative log-likelihood" not in names
    assert "[" not in learned.calibration_of(record).rows[0][1]


@pytest.mark.parametrize(("source", "said"), [("kept", "kept from an earlier round"), ("none", "no correction made")])
def test_the_source_of_the_correction_is_said_in_words(full, source, said):
    newest = full.rounds[-1]
    record = replace(full, rounds=(replace(newest, calibration={**newest.calibration, "source": source}),))
    assert said in learned.calibration_of(record).correction
    assert said in render_html(record)
    assert "fitted without it" in render_html(full)
    assert "fitted without it" not in render_html(record)


def test_a_correction_that_the_campaign_file_turns_off_is_not_said_to_be_in_use(full):
    off = replace(full, spec={**full.spec, "training": {"recalibrate": False}})
    assert "turns it off" in learned.calibration_of(off).correction
    assert learned.is_corrected(full)
    assert not learned.is_corrected(off)


def test_the_control_says_its_error_and_how_much_faster_than_chance_the_model_is(full):
    error, factor = full.control["error"], full.control["acceleration"]
    first, second = learned.control_sentences(full)
    assert f"The error on {error['n']} candidates" in first
    said = [float(text) for text in re.findall(r"0\.\d+", first)]
    assert said == pytest.approx([error["mae"], error["low"], error["high"]], rel=5e-3)
    assert "eV/atom" in first
    assert f"the best of {factor['n_control']} control labels" in second
    assert f"about {factor['factor']:.1f} times as many" in second
    assert learned.acceleration_text(full)[0] == f"{factor['factor']:.1f} ×"


def test_a_model_that_has_not_reached_the_control_yet_is_not_called_faster(full):
    late = {**full.control["acceleration"], "has_reached": False, "low": 0.0, "factor": 0.8, "n_chosen": 1}
    record = replace(full, control={**full.control, "acceleration": late})
    said = learned.control_sentences(record)[1]
    assert "has chosen 1 label and found none as good" in said
    assert "at most about 0.8 times as fast as chance" in said
    assert learned.acceleration_text(record) is None
    assert "than chance; 95 %" not in render_html(record)


def test_an_interval_of_few_control_labels_is_called_too_narrow(full):
    few = replace(full, control={"n_labels": 4, "error": {"n": 4, "mae": 0.1, "low": 0.05, "high": 0.2}})
    assert "too narrow with so few labels" in learned.control_sentences(few)[0]
    assert "too narrow" not in learned.control_sentences(full)[0]
    assert learned.control_sentences(replace(full, control={"n_labels": 1, "error": None})) == ()


def test_the_forecast_counts_the_models_own_picks_once_each(full):
    found = full.rounds[2]
    requests = [r for r in full.requests if r.round == 2]
    chosen = {r.candidate_id for r in requests if r.arm is Arm.CHOSEN}
    assert len(chosen) < len({r.candidate_id for r in requests})
    assert learned.forecast_text(full, found) == forecast_sentence(found.forecast, full.target, len(chosen))
    retried = replace(full, requests=(*full.requests, *(replace(r, attempt=9) for r in requests)))
    assert learned.forecast_text(retried, found) == learned.forecast_text(full, found)
    assert "Forecast when it was chosen: the next 6 labels are expected" in round_markdown(full, 2)
    assert render_html(full).count("Forecast when it was chosen") == sum(1 for r in full.rounds[1:] if r.n_picks)


def test_a_round_that_expects_nothing_that_is_known_has_no_forecast(full):
    assert learned.forecast_text(full, replace(full.rounds[2], forecast={"stability": 0.9})) == ""
    assert learned.forecast_text(full, full.rounds[0]) == learned.forecast_text(full, full.rounds[-1]) == ""


def test_each_search_has_one_row_with_the_error_before_and_after(full):
    first, second = learned.found_settings(full)
    assert (first.round, second.round) == (1, 4)
    assert first.settings.startswith("nothing better")
    assert second.settings == "max_features = 0.3, min_samples_leaf = 2"
    settings = full.rounds[4].settings
    assert float(second.given_error.split()[0]) == pytest.approx(settings["given_error"], rel=5e-3)
    assert float(second.error.split()[0]) == pytest.approx(settings["error"], rel=5e-3)
    assert second.error.endswith(" eV/atom")
    assert "RMSE before" in render_html(full)


def test_the_error_of_a_search_among_classes_is_a_log_loss_without_unit():
    record = example_record(goal=Goal.CLASSIFY, search_every=2)
    record = replace(record, target=replace(record.target, unit="eV"))
    assert not learned.found_settings(record)[0].error.endswith("eV")
    assert "log loss before" in render_html(record)


def test_metrics_of_the_test_set_stand_beside_those_of_the_round(full):
    rows = dict(learned.round_metrics(full.rounds[-1], "eV"))
    assert rows["test set: MAE"] == f"{learned.plain(full.rounds[-1].test_metrics['mae'], 3)} eV"
    assert rows["out-of-fold MAE"] != rows["test set: MAE"]
    assert "rank correlation with the last model" in rows
    assert math.isfinite(float(rows["test set: R²"]))


def test_every_pick_has_arm_rule_and_novelty_and_a_mark_if_it_is_outside(full):
    shown = {pick.candidate: pick for table in tables.round_tables(full) for pick in table.picks}
    words = {Arm.DESIGN: "design", Arm.CHOSEN: "chosen", Arm.CONTROL: "control", Arm.TEST: "test set"}
    for request in full.requests:
        pick = shown[request.candidate_id]
        assert (pick.arm, pick.rule) == (words[request.arm], request.rule)
        assert pick.is_outside == (request.novelty is not None and request.novelty > 1)
        if request.novelty is not None:
            assert float(pick.novelty) == pytest.approx(request.novelty, rel=0.05)
    n_outside = sum(r.novelty is not None and r.novelty > 1 for r in full.requests)
    assert n_outside > 0
    assert render_html(full).count('<small class="outside">outside</small>') == n_outside
    in_round = [p for p in picks.picks_of_round(full, 2) if p.is_outside]
    assert round_markdown(full, 2).count(" outside |") == len(in_round)


def test_exactly_at_the_border_a_pick_is_inside(full):
    record = replace(full, requests=tuple(replace(r, novelty=1.0) for r in full.requests))
    assert not any(pick.is_outside for pick in picks.picks_of_round(record, 2))


def test_a_round_in_markdown_has_the_columns_of_the_log(full):
    head = next(line for line in round_markdown(full, 2).splitlines() if line.startswith("| formula |"))
    assert [name.strip() for name in head.strip("|").split("|")][3:8] == ["why", "arm", "rule", "novelty", "outcome"]


def test_a_campaign_that_knows_none_of_this_shows_none_of_it(full):
    bare = _bare(full)
    page = render_html(bare)
    for heading in HEADINGS:
        assert heading not in page
    # The log of all decisions says of each label whose it is.
    assert "<th>arm</th>" not in page.partition('<section id="decisions">')[0]
    for word in ("<th>rule</th>", "novelty", "outside</small>", "Forecast", "test set", "control"):
        assert word not in page
    assert learned.calibration_of(bare) is None
    assert learned.found_settings(bare) == learned.control_sentences(bare) == ()
    assert not {"arm", "rule", "novelty"} & set(round_markdown(bare, 2).replace("|", " ").split())
    assert "Forecast" not in round_markdown(bare, 2)
    assert picks.log_columns(bare) == picks.LogColumns(arm=False, rule=False, novelty=False, classes=False)


def test_an_old_store_that_calls_everything_chosen_still_has_a_first_design(full):
    assert {pick.arm for pick in picks.picks_of_round(_bare(full), 0)} == {"design"}
    assert {pick.arm for pick in picks.picks_of_round(_bare(full), 1)} == {"chosen"}


def test_a_told_label_answers_the_request_it_was_asked_by(full):
    asked = next(r for r in full.requests if r.arm is Arm.CONTROL)
    told = tuple(
        replace(x, request_id=None, provenance={"source": "told"}) if x.candidate_id == asked.candidate_id else x
        for x in full.labels
    )
    record = replace(full, labels=told)
    (pick,) = [p for p in picks.picks_of_round(record, asked.round) if p.candidate == asked.candidate_id]
    assert (pick.state, pick.arm) == ("ok", "control")
    assert pick.outcome.endswith(" eV/atom (told)")
    assert len(links.prospective(record, arm=Arm.CONTROL)) == len(links.prospective(full, arm=Arm.CONTROL))
    assert links.request_of_label(record)[[x.candidate_id for x in told].index(asked.candidate_id)].id == asked.id


def test_a_job_that_failed_has_failed_whatever_was_told_later():
    record = example_record(failure_rate=1.0, n_rounds=2)
    failed = record.requests[-1]
    label = replace(
        example_record().labels[0], candidate_id=failed.candidate_id, request_id=None, provenance={"source": "told"}
    )
    record = replace(record, labels=(label,))
    assert {p.state for p in picks.picks_of_round(record, failed.round) if p.candidate == failed.candidate_id} == {
        "failed"
    }


def test_markup_in_what_was_learned_shows_as_text(full):
    payload = '<i onclick="x()">&amp;</i>{{ 7 * 7 }}'
    rounds: list[Any] = []
    for r in full.rounds:
        settings = r.settings and {**r.settings, "settings": {payload: payload}}
        rounds.append(replace(r, settings=settings, test_metrics={**r.test_metrics, payload: 1.0}))
    record = replace(
        full,
        target=replace(full.target, unit=payload),
        rounds=tuple(rounds),
        requests=tuple(replace(r, rule=payload) for r in full.requests),
    )
    page = render_html(record)
    assert "<i onclick" not in page
    assert "&lt;i onclick" in page
    text = round_markdown(record, 4)
    assert "<i onclick" not in text
    assert "&lt;i onclick" in text
