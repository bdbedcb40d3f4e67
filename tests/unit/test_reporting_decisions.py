"""The log of decisions: complete, and the same numbers as the record's."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from learning_campaigns import FOREST, POOL, run_told

from active_learning.domain.label import Label
from active_learning.domain.target import Goal
from active_learning.reporting import tables
from active_learning.reporting.decisions import decisions, decisions_table
from active_learning.reporting.report import render_html
from active_learning.testing.records import START, example_record


def test_every_request_and_every_label_has_its_row_in_the_order_of_the_choices():
    record = example_record(failure_rate=0.3, in_flight=2, is_stopped=False)
    found = decisions(record)
    assert [decision.request for decision in found] == list(record.requests)
    assert [d.label for d in found if d.label is not None] == list(record.labels)


def test_each_label_says_why_by_which_model_with_which_prediction_and_how_wrong():
    record = example_record(failure_rate=0.0)
    n_trained = {r.number: r.n_labels for r in record.rounds}
    for decision in decisions(record):
        request, label, pick = decision.request, decision.label, decision.pick
        assert pick.reason == request.reason
        if request.round == 0:
            assert (decision.model, pick.predicted, pick.error, pick.z) == ("", "", "", "")
            continue
        assert decision.model == f"round {request.round}, {n_trained[request.round]} labels"
        assert float(pick.predicted.split(" ± ")[0]) == pytest.approx(request.mean, abs=request.std / 10)
        assert float(pick.error) == pytest.approx(label.value - request.mean, rel=5e-3)
        assert float(pick.z) == pytest.approx((label.value - request.mean) / request.std, abs=0.051)


def test_labels_that_nobody_asked_for_come_first_and_say_where_they_are_from():
    record = example_record()
    target = record.target
    asked = {request.candidate_id for request in record.requests}
    free = [candidate for candidate in record.candidate_ids if candidate not in asked][:2]
    known = Label(free[0], target.property, -0.1, "eV/atom", START, "pbe")
    told = Label(free[1], target.property, -0.2, "eV/atom", START, "experiment", provenance={"source": "a.csv"})
    first, second, third, *_ = decisions(replace(record, labels=(known, told, *record.labels)))
    assert [(d.pick.arm, d.pick.reason, d.outcome) for d in (first, second)] == [
        ("known", "known before the campaign", "-0.1000"),
        ("told", "brought in by a person", "-0.2000"),
    ]
    assert first.pick.formula == record.formulas[record.candidate_ids.index(free[0])]
    assert third.request is record.requests[0]


def test_a_label_that_was_told_where_it_was_asked_for_has_its_prediction(tmp_path):
    tables_: dict[str, Any] = {"pool": POOL, "surrogate": FOREST, "stopping": {"any": [{"kind": "labels", "max": 12}]}}
    record = run_told(tmp_path, **tables_).campaign.record()
    found = decisions(record)
    assert len(found) == len(record.labels) == 12
    assert all(decision.request is not None and decision.outcome.endswith(" (told)") for decision in found)
    assert all(decision.pick.z for decision in found if decision.request.mean is not None)


def test_the_table_is_read_back_as_it_was():
    record = example_record(n_control=2, n_test=1, failure_rate=0.3)
    table = pd.read_csv(io.StringIO(decisions_table(record).to_csv()), float_precision="round_trip")
    labels = {label.request_id: label for label in record.labels}
    assert list(table["candidate"]) == [request.candidate_id for request in record.requests]
    assert list(table["reason"]) == [request.reason for request in record.requests]
    assert list(table["arm"]) == [request.arm.value for request in record.requests]
    assert list(table["state"]) == [request.state.value for request in record.requests]
    expected = np.array([labels[r.id].value if r.id in labels else np.nan for r in record.requests])
    np.testing.assert_array_equal(table["value"], expected)
    mean = np.array([np.nan if r.mean is None else r.mean for r in record.requests])
    std = np.array([np.nan if r.std is None else r.std for r in record.requests])
    np.testing.assert_array_equal(table["predicted_mean"], mean)
    np.testing.assert_allclose(table["error"], expected - mean)
    np.testing.assert_allclose(table["z"], (expected - mean) / std)
    assert table["model_round"].isna().tolist() == [r.round == 0 for r in record.requests]


def test_the_page_holds_the_whole_log_and_of_long_campaigns_the_newest_rounds(monkeypatch):
    record = example_record(n_rounds=5)
    monkeypatch.setattr(tables, "MOST_LISTED", 8)
    shown = tables.round_tables(record)
    assert [table.is_listed for table in shown] == [True, True, True, False, False, False]
    rounds, _, log = render_html(record).partition('<section id="decisions">')
    first = [request for request in record.requests if request.round == 0]
    assert all(request.candidate_id in log.partition("</section>")[0] for request in record.requests)
    assert not any(f"<code>{request.candidate_id}</code>" in rounds.partition('id="rounds"')[2] for request in first)
    assert rounds.count('href="#decisions">log of decisions</a>') == 3


def test_of_classes_the_log_says_right_or_wrong():
    record = example_record(goal=Goal.CLASSIFY, failure_rate=0.0)
    said = {decision.pick.error for decision in decisions(record) if decision.round}
    assert said == {"right", "wrong"}
    log = render_html(record).partition('<section id="decisions">')[2]
    assert "<th>right or wrong</th>" in log
    assert '<th class="n">z</th>' not in log
