"""Rows of the report's tables, joined from a record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from active_learning.domain.campaign import RoundRecord
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.reporting import learned, links, picks, tables
from active_learning.reporting.rounds import round_markdown
from active_learning.testing.records import START, example_record


def _request(candidate: str, state: RequestState, *, attempt: int = 1, **more: object) -> Request:
    times = {"submitted_at": START, "settled_at": START + timedelta(seconds=10)}
    return Request(candidate, "AlCu", attempt, 0, state, f"{candidate}-{attempt}", handle="1", **{**times, **more})


FAILED = Failure(FailureKind.TIMEOUT, "ran longer than 600 s")


def test_every_request_of_a_round_has_a_row_with_its_outcome():
    record = example_record(n_rounds=4, in_flight=2, is_stopped=False)
    for table in tables.round_tables(record):
        requests = [r for r in record.requests if r.round == table.round.number]
        assert [pick.candidate for pick in table.picks] == [r.candidate_id for r in requests]
        assert table.n_labels + table.n_failed + table.n_withdrawn + table.n_open == len(requests)
    assert tables.round_tables(record)[0].n_open == 2
    assert [p.outcome for p in picks.picks_of_round(record, 3)][-2:] == ["in flight", "in flight"]


def test_what_nobody_waits_for_is_withdrawn_and_not_open():
    record = example_record(n_rounds=2, failure_rate=0.0)
    first, second, *others = record.requests
    cancelled = replace(first, state=RequestState.CANCELLED)
    labels = tuple(label for label in record.labels if label.request_id not in (first.id, second.id))
    record = replace(record, requests=(cancelled, second, *others), labels=labels)
    table = tables.round_tables(record)[-1]
    assert [pick.outcome for pick in table.picks[:2]] == ["cancelled", "label retracted"]
    assert (table.n_withdrawn, table.n_open, table.n_labels) == (2, 0, len(table.picks) - 2)
    assert "0 open, 2 withdrawn" in round_markdown(record, 0)


def test_a_pick_says_what_was_predicted_and_how_wrong_it_was():
    record = example_record(failure_rate=0.0)
    labels = {label.request_id: label.value for label in record.labels}
    request = next(r for r in record.requests if r.round == 2)
    pick = picks.picks_of_round(record, 2)[0]
    assert float(pick.error) == pytest.approx(labels[request.id] - request.mean, rel=5e-3)
    assert float(pick.z) == pytest.approx((labels[request.id] - request.mean) / request.std, abs=0.051)
    assert pick.outcome.endswith(" eV/atom")
    assert pick.state == "ok"


def test_a_success_whose_label_is_gone_says_so():
    record = replace(example_record(failure_rate=0.0, n_rounds=1, is_stopped=False), labels=())
    assert {pick.outcome for pick in picks.picks_of_round(record, 0)} == {"label retracted"}


def test_failures_are_grouped_by_kind_and_say_what_became_of_the_candidate():
    record = replace(
        example_record(n_rounds=0),
        requests=(
            _request("a", RequestState.FAILED, failure=FAILED),
            _request("b", RequestState.FAILED, failure=FAILED),
            _request("b", RequestState.RUNNING, attempt=2, settled_at=None),
            _request("c", RequestState.LOST),
            _request("Al", RequestState.FAILED, failure=FAILED, purpose=Purpose.REFERENCE),
        ),
    )
    timeout, lost = tables.failure_groups(record)
    assert (timeout.kind, [row[4] for row in timeout.rows]) == ("timeout", ["given up", "tried again"])
    assert (lost.kind, lost.rows[0][3]) == ("lost", "the job vanished from its backend")
    assert links.given_up(record) == {"a", "c"}


def test_a_candidate_that_failed_first_and_was_labeled_later_is_not_given_up():
    record = example_record(failure_rate=0.4)
    labeled = {label.candidate_id for label in record.labels}
    fates = {row[0].rsplit("-", 1)[0]: row[4] for group in tables.failure_groups(record) for row in group.rows}
    assert {fates[c] for c in fates if c in labeled} == {"labeled in another attempt"}
    assert {fates[c] for c in fates if c not in labeled} == {"given up"}
    assert links.given_up(record) == {c for c in fates if c not in labeled}


def test_costs_add_up():
    record = example_record()
    rows, total = tables.cost_rows(record)
    assert sum(row.n_jobs for row in rows) == total.n_jobs == len(record.requests)
    assert sum(row.n_labels for row in rows) == total.n_labels == len(record.labels)
    assert total.core_s == pytest.approx(sum(2 * r.ran_s for r in record.requests))
    assert total.core_s == pytest.approx(sum(row.core_s for row in rows))
    labeled = [r for r in record.requests if r.state is RequestState.SUCCEEDED]
    assert total.per_label_s == pytest.approx(np.median([2 * r.ran_s for r in labeled]))
    assert total.queued_s == len(record.requests)
    turnaround = [
        (r.settled_at - r.submitted_at).total_seconds() for r in record.requests if r.state is RequestState.SUCCEEDED
    ]
    assert total.turnaround_s == pytest.approx(np.median(turnaround))
    assert total.wall_s == pytest.approx((record.now - START).total_seconds() - 30)


def test_costs_that_nobody_measured_are_unknown_and_not_zero():
    record = example_record(n_rounds=1)
    running = [
        replace(r, state=RequestState.RUNNING, settled_at=None, ran_s=None, queued_s=None, failure=None)
        for r in record.requests
    ]
    total = tables.cost_rows(replace(record, requests=tuple(running), labels=()))[1]
    assert (total.core_s, total.per_label_s, total.queued_s) == (None, None, None)
    assert tables.cost_rows(example_record(n_rounds=0)) == ((), tables.CostRow(-1, 0, 0, None, None, None, None, None))


def test_labels_far_from_their_prediction_are_listed():
    record = example_record()
    asked = next(r for r in record.requests if r.state is RequestState.SUCCEEDED and r.mean is not None)
    far = asked.mean + 7 * asked.std
    labels = tuple(replace(x, value=far) if x.request_id == asked.id else x for x in record.labels)
    rows = tables.outlier_rows(replace(record, labels=labels))
    assert [(row.candidate, row.value) for row in rows if row.candidate == asked.candidate_id] == [
        (asked.candidate_id, far)
    ]
    assert all(abs(row.value - row.mean) >= 5 * row.std for row in rows)


def test_reasons_for_missing_features_are_counted():
    record = replace(example_record(n_rounds=0), not_featurized={f"c{i}": "no radius" for i in range(5)} | {"d": "odd"})
    assert tables.not_featurized_reasons(record) == (("no radius", 5, "c0, c1, c2 …"), ("odd", 1, "d"))


def test_metrics_have_names_and_units_and_unknown_ones_are_kept():
    found = RoundRecord(1, START, 9, 3, metrics={"kendall": 0.5, "mae": 0.1234, "mape": 0.25}, max_std=0.5)
    rows = dict(learned.round_metrics(found, "eV"))
    assert rows == {
        "out-of-fold MAE": "0.123 eV",
        "MAPE": "25 %",
        "kendall": "0.500",
        "largest std in the pool": "0.500 eV",
    }


def test_a_password_in_the_campaign_file_is_blotted_out():
    record = replace(example_record(n_rounds=0), spec={"store": "postgresql+psycopg://me:secret@host/db", "a": "b:c@d"})
    text = tables.spec_text(record)
    assert "secret" not in text
    assert "postgresql+psycopg://me:***@host/db" in text
    assert "b:c@d" in text


def test_prospective_predictions_are_those_at_choice_of_requests_that_gave_a_label():
    record = example_record(n_rounds=4)
    found = links.prospective(record)
    labels = {label.request_id: label.value for label in record.labels}
    chosen = [r for r in record.requests if r.mean is not None and r.id in labels]
    assert found.y.tolist() == [labels[r.id] for r in chosen]
    assert found.mean.tolist() == [r.mean for r in chosen]
    assert found.std.tolist() == [r.std for r in chosen]
    assert len(links.prospective(record, up_to=1)) == sum(r.round == 1 for r in chosen)


def test_out_of_fold_predictions_of_a_retracted_label_are_left_out():
    record = example_record()
    newest = links.newest_round(record, "out_of_fold")
    assert newest is not None
    assert len(links.out_of_fold(record, newest)) == len(record.labels)
    assert len(links.out_of_fold(replace(record, labels=record.labels[1:]), newest)) == len(record.labels) - 1
    assert links.newest_round(record, "out_of_fold", up_to=0) is None
