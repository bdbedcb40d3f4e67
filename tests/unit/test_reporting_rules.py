"""How near each stopping rule is: the report's values are those that the rules compare."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from learning_campaigns import FOREST, POOL, Run, run, run_told

from active_learning.domain.campaign import Phase, Progress
from active_learning.domain.target import Goal, Target
from active_learning.engine.observing import progress_of, with_fresh_model
from active_learning.plugins import installed, load
from active_learning.reporting import history
from active_learning.reporting.history import moments
from active_learning.reporting.report import render_html
from active_learning.reporting.rule_figures import rules_figure
from active_learning.reporting.rules import measure_of, rule_histories
from active_learning.testing.fakes import TinyPool
from active_learning.testing.records import example_record

# A few values again and again: what happens at a limit is tried, too.
_FLOATS = st.sampled_from((0.5, 1.0, 2.0)) | st.floats(0.01, 5.0)
_KEYS = {"expected_gain": _FLOATS, "run_s": st.floats(1.0, 1e5), "stability": st.floats(-1.0, 1.0)}
_FORECAST = st.fixed_dictionaries(_KEYS) | st.fixed_dictionaries({}, optional=_KEYS)
TARGET = Target("energy", Goal.MINIMIZE, "eV")
BUILT_IN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "labels": st.fixed_dictionaries({"max": st.integers(1, 30)}),
    "no_improvement": st.fixed_dictionaries({"rounds": st.integers(1, 4), "min_delta": st.floats(0, 1)}),
    "uncertainty_below": st.fixed_dictionaries({"std": _FLOATS}),
    "pool_exhausted": st.just({}),
    "cost": st.fixed_dictionaries({"max": st.integers(1, 5000)}),
    "wall_time": st.fixed_dictionaries({"max": st.integers(1, 5000)}),
    "error_below": st.fixed_dictionaries({"max": _FLOATS}),
    "error_plateau": st.fixed_dictionaries({"rounds": st.integers(1, 3), "min_improvement": st.floats(0, 0.9)}),
    "expected_gain_below": st.one_of(
        st.fixed_dictionaries({"min_gain": _FLOATS, "rounds": st.integers(1, 3)}),
        st.fixed_dictionaries({"min_gain_per_hour": _FLOATS, "rounds": st.integers(1, 3)}),
    ),
    "stabilized": st.fixed_dictionaries({"correlation": st.floats(0.1, 1.0), "rounds": st.integers(1, 3)}),
    "found": st.fixed_dictionaries({"value": st.floats(-2, 2), "count": st.integers(1, 3)}),
}


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    best = np.minimum.accumulate(draw(st.lists(st.floats(-2, 2), max_size=8)))
    return Progress(
        target=TARGET,
        n_candidates=50,
        n_labels=draw(st.integers(0, 30)),
        n_pending=draw(st.integers(0, 1)),
        n_available=draw(st.integers(0, 2)),
        n_rounds=len(best),
        best_by_round=tuple(best),
        merit_by_round=tuple(-best),
        max_std=draw(st.none() | _FLOATS),
        errors=tuple(draw(st.lists(_FLOATS, max_size=9))),
        forecasts=tuple(draw(st.lists(_FORECAST, max_size=6))),
        values=tuple(draw(st.lists(st.floats(-2, 2), max_size=6))),
        core_s=float(draw(st.integers(0, 6000))),
        elapsed_s=float(draw(st.integers(0, 6000))),
    )


@pytest.mark.parametrize("kind", BUILT_IN)
@given(data=st.data())
def test_a_value_meets_its_limit_exactly_when_the_rule_says_stop(kind, data):
    options, progress = data.draw(BUILT_IN[kind]), data.draw(progresses())
    measure = measure_of({"kind": kind} | options, TARGET)
    value = measure.value(progress)
    # A quotient is compared where the rule compares a product: at the very limit they may round apart.
    assume(value is None or kind != "expected_gain_below" or abs(value / measure.limit - 1) > 1e-9)
    rule_class = load("stopping", kind)
    verdict = rule_class(rule_class.Options(**options)).check(progress)
    assert measure.is_met(value) == (verdict is not None)


@pytest.mark.parametrize(
    ("rule", "forecasts", "value"),
    [
        ({"kind": "expected_gain_below", "min_gain": 1.0, "rounds": 2}, [(0.1, 60), (2.0, 60), (0.5, 60)], 2.0),
        ({"kind": "expected_gain_below", "min_gain": 1.0, "rounds": 3}, [(2.0, 60), (0.5, 60)], None),
        ({"kind": "expected_gain_below", "min_gain_per_hour": 1.0, "rounds": 1}, [(9.0, 60), (0.5, 1800)], 1.0),
        ({"kind": "expected_gain_below", "min_gain_per_hour": 1.0, "rounds": 1}, [(0.5, 0)], math.inf),
        ({"kind": "stabilized", "correlation": 0.9, "rounds": 2}, [(0.2, 1), (0.95, 1), (0.91, 1)], 0.91),
    ],
)
def test_of_several_rounds_the_one_that_is_furthest_from_the_limit_counts(rule, forecasts, value):
    keys = ("stability",) if rule["kind"] == "stabilized" else ("expected_gain", "run_s")
    known = tuple(dict(zip(keys, forecast, strict=False)) for forecast in forecasts)
    assert measure_of(rule, TARGET).value(Progress(TARGET, 9, 3, 0, 6, 3, forecasts=known)) == value


def test_every_rule_of_this_package_is_measured():
    kinds = {info.kind for info in installed("stopping") if info.distribution.startswith("motherlode ")}
    assert kinds == set(BUILT_IN)


@pytest.mark.parametrize("goal", list(Goal))
def test_a_measure_has_words_for_every_goal_that_its_rule_takes(goal):
    bounds = (0.0, 1.0) if goal is Goal.WITHIN else (None, None)
    target = Target("energy", goal, "eV", *bounds)
    error = measure_of({"kind": "error_below", "max": 0.1}, target)
    assert (error.what, error.unit) == (
        ("share of wrong classes", "") if goal is Goal.CLASSIFY else ("mean absolute error of the model", "eV")
    )
    if goal.has_best:
        options = {} if goal is Goal.WITHIN else {"value": 0.5}
        words = measure_of({"kind": "found"} | options, target).what
        assert words == {
            Goal.WITHIN: "labels inside the bounds",
            Goal.MINIMIZE: "labels of at most 0.5 eV",
            Goal.MAXIMIZE: "labels of at least 0.5 eV",
        }.get(goal)


RULES = [
    {"kind": "labels", "max": 28},
    {"kind": "no_improvement", "rounds": 9},
    {"kind": "cost", "max": 1e9},
    {"kind": "stabilized", "correlation": 1.0, "rounds": 9},
]
TABLES: dict[str, Any] = {
    "pool": POOL,
    "surrogate": FOREST,
    "training": {"folds": 3},
    "acquisition": {"kind": "expected_improvement"},
    "rounds": {"initial": 10, "batch_size": 3, "max_in_flight": 6},
    "stopping": {"any": RULES},
}


@pytest.fixture(scope="module", params=["jobs", "told"])
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A campaign that the engine ran to its end, with rounds that overlap; by jobs, or by labels that were told."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "jobs":
        pool = TinyPool(TinyPool.Options(n=75)).read()
        fates = {candidate.formula: "unconverged" for candidate in list(pool)[::4]}
        return run(folder, **TABLES, labeler={"kind": "active_learning.testing.fakes:FakeLabeler", "fates": fates})
    return run_told(folder, **TABLES)


def test_the_newest_state_is_what_the_engine_itself_counts(ended):
    record, kit = ended.campaign.record(), ended.campaign.kit
    facts = ended.facts
    mine = moments(record)[-1].progress
    theirs = progress_of(facts, kit.target, kit.settings, ended.features.ids, now=record.now)
    if facts.rounds[-1].n_picks == 0:
        theirs = with_fresh_model(theirs, facts.rounds[-1])
        theirs = replace(theirs, errors=theirs.errors[:-1], forecasts=theirs.forecasts[:-1])
    # The clock of a campaign that has ended stands still.
    assert replace(mine, elapsed_s=0.0) == replace(theirs, elapsed_s=0.0)
    assert mine.elapsed_s <= theirs.elapsed_s


def test_each_round_sees_the_labels_it_was_trained_on_and_its_own_model_and_no_later_one(ended):
    record = ended.campaign.record()
    by_round = {moment.round: moment.progress for moment in moments(record)}
    for found in record.rounds:
        progress = by_round[found.number]
        assert progress.n_training == found.n_labels
        assert progress.max_std == found.max_std
        trained = [r for r in record.rounds if r.predictions and r.number <= found.number]
        assert progress.forecasts == tuple(r.forecast for r in trained)
        assert progress.n_pending == sum(
            r.round < found.number and r.planned_at <= found.opened_at < r.settled_at for r in record.requests
        )


def test_no_rule_says_stop_before_the_one_that_ended_the_campaign(ended):
    record = ended.campaign.record()
    rules = {rule.kind: rule for rule in rule_histories(record)}
    assert record.verdict.kind == "labels"
    assert [kind for kind, rule in rules.items() if rule.is_met] == ["labels"]
    assert rules["labels"].values == tuple(sorted(rules["labels"].values))
    assert all(rule.is_alone and len(rule.values) == len(rule.rounds) for rule in rules.values())
    for rule in rules.values():
        assert not any(rule.measure.is_met(value) for value in rule.values[:-1])


def test_a_round_of_many_is_looked_at_and_first_and_last_always_are(monkeypatch):
    monkeypatch.setattr(history, "_FEWEST", 4)
    monkeypatch.setattr(history, "_MOST", 4)
    record = example_record(n_rounds=12)
    rounds = [moment.round for moment in moments(record)]
    assert len(rounds) == 4
    assert (rounds[0], rounds[-1]) == (0, record.rounds[-1].number)


def _with_rules(**tables: Any) -> Any:
    record = example_record(is_stopped=False)
    return replace(record, spec=dict(record.spec) | {"stopping": tables})


def test_a_campaign_that_goes_on_has_a_newest_state_after_its_last_round():
    (rule,) = rule_histories(_with_rules(any=[{"kind": "labels", "max": 60}]))
    assert rule.rounds == (0, 1, 2, 3, 4, 5, None)
    record = _with_rules()
    assert rule.values[-1] == len(record.labels)
    assert rule.values[:-1] == tuple(r.n_labels for r in record.rounds)


def test_the_rounds_without_an_improvement_are_counted_up_to_the_one_that_opens():
    record = example_record(failure_rate=0.0, n_rounds=9, is_stopped=False)
    spec = dict(record.spec) | {"stopping": {"any": [{"kind": "no_improvement", "rounds": 4}]}}
    (rule,) = rule_histories(replace(record, spec=spec))
    round_of = {request.id: request.round for request in record.requests}
    best = [min(x.value for x in record.labels if round_of[x.request_id] <= n) for n in range(9)]
    improved = [max(m for m in range(n + 1) if m == 0 or best[m] < best[m - 1]) for n in range(9)]
    # Round n opens when all rounds before it have settled: the last of these is n - 1.
    assert rule.values == (None, *(n - improved[n] for n in range(9)))
    assert len({value for value in rule.values if value is not None}) > 2


def test_time_stands_still_when_a_campaign_has_ended():
    record = _with_rules(any=[{"kind": "wall_time", "max": "1 day"}])
    for phase, is_met in ((Phase.STOPPED, False), (Phase.ACTIVE, True)):
        late = replace(record, phase=phase, now=record.now.replace(year=2030))
        assert rule_histories(late)[0].is_met is is_met


def test_the_rule_of_a_plug_in_is_named_and_nothing_is_made_up_of_it():
    record = _with_rules(any=[{"kind": "mine:Rule", "x": 1}], all=[{"kind": "labels", "max": 4}])
    mine, labels = rule_histories(record)
    assert (mine.kind, mine.measure, mine.last, mine.is_met) == ("mine:Rule", None, None, False)
    assert not labels.is_alone
    page = render_html(record)
    assert "mine:Rule" in page
    assert "only itself knows" in page
    assert "with the others of its list" in page


def test_the_panels_show_the_values_and_the_limits():
    record = _with_rules(
        any=[{"kind": "labels", "max": 60}, {"kind": "cost", "max": 7200.0}, {"kind": "mine:Rule"}],
        all=[{"kind": "stabilized", "correlation": 0.95, "rounds": 2}],
    )
    rules = rule_histories(record)
    panels = rules_figure(rules).axes
    assert [ax.get_title(loc="left") for ax in panels] == ["labels", "cost", "stabilized (with others)"]
    for ax, rule, scale in zip(panels, (rules[0], rules[1], rules[3]), (1, 3600, 1), strict=True):
        limit, curve, newest = ax.lines
        assert list(limit.get_ydata()) == pytest.approx([rule.measure.limit / scale] * 2)
        known = [value / scale for value in rule.values if value is not None]
        assert list(curve.get_ydata()) == pytest.approx(known)
        assert list(newest.get_ydata()) == pytest.approx(known[-1:])
    assert panels[1].get_ylabel().endswith("(h)")
    assert [text.get_text() for text in panels[0].get_xticklabels()][-1] == "now"


def test_without_rules_or_rounds_there_is_nothing_to_draw():
    assert rules_figure(rule_histories(_with_rules())) is None
    empty = replace(example_record(n_rounds=0), spec={"stopping": {"any": [{"kind": "labels", "max": 3}]}})
    (rule,) = rule_histories(empty)
    assert (rule.values, rule.last, rule.text(rule.last), rule.limit_text) == ((), None, "–", "≥ 3")
    assert rules_figure((rule,)) is None
