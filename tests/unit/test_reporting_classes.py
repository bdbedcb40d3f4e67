"""Reports of classifications: probabilities back from moments, tables of classes, nothing that needs a number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from active_learning.domain.prediction import Prediction
from active_learning.domain.request import Arm
from active_learning.domain.target import Goal
from active_learning.reporting.classes import confusions, prospective_classes, recovered_probabilities
from active_learning.reporting.learning_figures import errors_figure, honesty_figure
from active_learning.reporting.model_figures import calibration_figure, parity_figure
from active_learning.reporting.picks import picks_of_round
from active_learning.reporting.report import render_html
from active_learning.reporting.rounds import round_markdown
from active_learning.testing.records import example_record


@given(
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda w: sum(w) > 1e-3),
    st.floats(-1e4, 1e4),
    st.lists(st.floats(0.1, 50.0), min_size=2, max_size=2),
    st.integers(1, 3),
)
def test_mean_and_std_of_up_to_three_classes_give_their_probabilities_back(weights, start, steps, n_classes):
    weights = weights[:n_classes]
    if sum(weights) < 1e-3:
        weights = [1.0] * n_classes
    classes = tuple(float(c) for c in start + np.cumsum([0.0, *steps]))[:n_classes]
    probabilities = np.array([weights]) / sum(weights)
    belief = Prediction.of_classes(np.array(classes), probabilities)
    found = recovered_probabilities(belief.mean[:, 0], belief.std[:, 0], classes)
    # The smallest step is a thousandth of the range at worst, and of 1e4 its square keeps some nine digits.
    np.testing.assert_allclose(found, probabilities, atol=1e-4)


def test_classes_that_tie_tie_again_and_the_first_of_them_counts():
    for weights, classes in (([[0.5, 0.5]], (0.0, 1.0)), ([[0.2, 0.4, 0.4]], (1.0, 2.0, 7.0))):
        belief = Prediction.of_classes(np.array(classes), np.array(weights))
        found = recovered_probabilities(belief.mean[:, 0], belief.std[:, 0], classes)
        assert found[0].argmax() == np.argmax(weights)


def test_of_more_than_three_classes_two_moments_do_not_say_which():
    one, other = [0.0, 0.5, 0.5, 0.0], [0.5 / 3, 0.0, 0.5, 1 / 3]
    assert np.dot(one, range(4)) != pytest.approx(np.dot(other, range(4)))
    assert recovered_probabilities(np.array([1.5]), np.array([0.5]), (0.0, 1.0, 2.0, 3.0)) is None
    record = example_record(goal=Goal.CLASSIFY, n_classes=4, n_rounds=4)
    assert confusions(record) == ()
    page = render_html(record)
    assert "of more than 3 classes these do not say" in page
    assert "accuracy" in page
    assert {pick.error for pick in picks_of_round(record, 2)} == {""}


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_table_of_classes_is_that_of_scikit_learn_and_agrees_with_the_accuracy(n_classes):
    record = example_record(goal=Goal.CLASSIFY, n_classes=n_classes, n_control=2, n_test=1)
    newest = record.rounds[-1]
    held_out, chosen, control = confusions(record)
    assert (held_out.name, held_out.n) == (f"held out, round {newest.number}", len(newest.out_of_fold))
    assert held_out.n_right / held_out.n == pytest.approx(newest.metrics["accuracy"])
    assert held_out.n_right < held_out.n
    true, predicted = prospective_classes(record, Arm.CHOSEN)
    assert np.array(chosen.counts).tolist() == confusion_matrix(true, predicted, labels=newest.classes).tolist()
    assert control.n == record.control["n_labels"]


def test_a_class_that_the_model_does_not_know_has_a_row():
    record = example_record(goal=Goal.CLASSIFY, n_rounds=4)
    first, *others = record.labels
    table = confusions(replace(record, labels=(replace(first, value=7.0), *others)))[0]
    assert table.classes == ("0", "1", "7")
    assert (table.counts[2][2], sum(table.counts[2])) == (0, 1)
    assert table.shares[2] == "0%"


def test_a_report_of_classes_has_a_table_and_no_figure_that_needs_a_number():
    record = example_record(goal=Goal.CLASSIFY, n_control=1)
    for draw in (parity_figure, calibration_figure, honesty_figure):
        assert draw(record) is None
    page = render_html(record)
    assert "Classes: held out, round 6" in page
    assert 'id="best"' not in page
    assert ">accuracy</span>" in page
    assert "<th>right or wrong</th>" in page
    assert '<th class="n">z</th>' not in page
    assert "Calibration of round" not in page


def test_a_round_of_classes_in_markdown_has_the_table_and_no_parity():
    text = round_markdown(example_record(goal=Goal.CLASSIFY), 3)
    assert "| held out, round 3: true class | predicted 0 | predicted 1 | right |" in text
    assert "predicted against labeled values" not in text
    assert "| z |" not in text
    assert "held out, round 4" not in text
    assert "Best so far" not in text


def test_a_pick_says_which_class_was_predicted_how_surely_and_whether_that_was_right():
    record = example_record(goal=Goal.CLASSIFY, failure_rate=0.0)
    values = {label.candidate_id: label.value for label in record.labels}
    for request, pick in zip([r for r in record.requests if r.round == 2], picks_of_round(record, 2), strict=True):
        sure = max(request.mean, 1 - request.mean)
        assert pick.predicted == f"{int(request.mean > 0.5)} ({100 * sure:.0f} %)"
        assert pick.error == ("right" if values[request.candidate_id] == int(request.mean > 0.5) else "wrong")
        assert pick.z == ""


def test_the_share_of_right_classes_is_drawn_round_by_round_with_the_controls_interval():
    record = example_record(goal=Goal.CLASSIFY, n_control=2, n_test=2)
    ax = errors_figure(record).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["held out"].get_ydata().tolist() == [r.metrics["accuracy"] for r in record.rounds[1:]]
    assert lines["test set"].get_ydata().tolist() == [
        r.test_metrics["accuracy"] for r in record.rounds if r.test_metrics
    ]
    true, predicted = prospective_classes(record, Arm.CONTROL)
    (name,) = [label for label in lines if label.startswith("control, mean and 95 %")]
    assert lines[name].get_ydata()[0] == pytest.approx((true == predicted).mean())
    assert ax.get_ylabel() == "share of right classes"


def test_other_goals_have_no_table_of_classes():
    assert confusions(example_record()) == ()
    assert "Classes:" not in render_html(example_record())
