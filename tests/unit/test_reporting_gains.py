"""What was spent beside what it brought."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from active_learning.domain.label import Label
from active_learning.domain.target import Goal
from active_learning.reporting.best import running_best
from active_learning.reporting.gain_figures import gain_figure
from active_learning.reporting.gains import errors_at_cost, gains
from active_learning.reporting.tables import cost_rows
from active_learning.testing.records import START, example_record


@pytest.mark.parametrize("goal", [Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN])
def test_at_each_label_stands_what_had_been_spent_and_the_best_by_then(goal):
    record = example_record(goal=goal, failure_rate=0.3)
    points = gains(record)
    assert [point.candidate for point in points] == [label.candidate_id for label in record.labels]
    for n, point in enumerate(points):
        spent = sum(r.cores * r.ran_s for r in record.requests if r.settled_at <= point.time)
        assert point.core_s == pytest.approx(spent)
        known = np.array([label.value for label in record.labels[: n + 1]])
        assert point.best == known[np.argmax(record.target.merit(known))]


def test_a_label_that_was_known_before_cost_nothing():
    record = example_record()
    known = Label("x", record.target.property, -9.0, "eV/atom", START - timedelta(days=1), "pbe")
    first, second, *_ = gains(replace(record, labels=(known, *record.labels)))
    assert (first.core_s, first.best) == (0.0, -9.0)
    assert second.core_s > 0
    assert second.best == -9.0


def test_what_was_spent_never_becomes_less_though_a_clock_goes_back():
    record = example_record()
    early = replace(record.labels[9], time=record.labels[2].time)
    points = gains(replace(record, labels=(*record.labels[:9], early, *record.labels[10:])))
    assert points[9].core_s == points[8].core_s > points[2].core_s


def test_without_a_job_there_is_no_cost_to_compare_with():
    record = replace(example_record(), requests=())
    assert gains(record) == errors_at_cost(record) == ()
    assert gain_figure(record) is None
    assert gain_figure(example_record(n_rounds=0)) is None


def test_errors_stand_at_what_their_rounds_had_spent():
    record = example_record()
    found = errors_at_cost(record)
    trained = {r.number: r for r in record.rounds if r.metrics}
    assert [point.round for point in found] == list(trained)
    for point in found:
        opened = trained[point.round]
        assert point.core_s == pytest.approx(
            sum(r.cores * r.ran_s for r in record.requests if r.settled_at <= opened.opened_at)
        )
        assert (point.error, point.n_labels) == (opened.metrics["mae"], opened.n_labels)


def test_errors_of_the_test_set_are_not_mixed_with_those_of_held_out_labels():
    record = example_record(n_test=1)
    tested = [r for r in record.rounds if r.test_metrics]
    assert 0 < len(tested) < len([r for r in record.rounds if r.metrics])
    assert [(p.round, p.error) for p in errors_at_cost(record)] == [(r.number, r.test_metrics["mae"]) for r in tested]


def test_of_classes_the_error_is_the_share_of_wrong_ones_and_there_is_no_best():
    record = example_record(goal=Goal.CLASSIFY)
    assert {point.best for point in gains(record)} == {None}
    trained = [r for r in record.rounds if r.metrics]
    assert [p.error for p in errors_at_cost(record)] == pytest.approx([1 - r.metrics["accuracy"] for r in trained])
    (panel,) = gain_figure(record).axes
    assert panel.get_ylabel() == "share of wrong classes"


def test_the_figure_shows_the_points_in_a_unit_that_people_use():
    record = example_record()
    left, right = gain_figure(record).axes
    points = gains(record)
    assert left.get_xlabel() == "core time spent (core-minutes)"
    step = next(line for line in left.lines if line.get_label() == "best so far")
    assert list(step.get_xdata()) == pytest.approx([point.core_s / 60 for point in points])
    assert list(step.get_ydata()) == [point.best for point in points]
    errors = next(line for line in right.lines if line.get_label() == "error of the model")
    assert list(errors.get_xdata()) == pytest.approx([point.core_s / 60 for point in errors_at_cost(record)])


def test_the_best_after_each_round_of_the_cost_table_is_that_of_its_labels_and_those_before():
    record = example_record(failure_rate=0.3)
    round_of = {request.id: request.round for request in record.requests}
    rows, total = cost_rows(record)
    for row in rows:
        assert row.best == min(x.value for x in record.labels if round_of[x.request_id] <= row.round)
    assert total.best == rows[-1].best == min(label.value for label in record.labels)
    assert {row.best for row in cost_rows(example_record(goal=Goal.LEARN))[0]} == {None}


def test_the_running_best_holds_the_first_of_equals_and_none_without_a_best():
    within = example_record(goal=Goal.WITHIN).target
    assert running_best(within, [-0.3, -0.15, -0.12, 0.0]) == [-0.3, -0.15, -0.15, -0.15]
    assert running_best(within, []) == []
    assert running_best(example_record(goal=Goal.LEARN).target, [1.0, 2.0]) == [None, None]
