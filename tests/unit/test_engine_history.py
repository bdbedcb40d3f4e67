"""What became of earlier choices, told from the store's facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_campaigns import FOREST, POOL, Run, run, run_told

from active_learning.domain.campaign import Phase, RoundRecord, Settings
from active_learning.domain.label import Failure, FailureKind, Label
from active_learning.domain.request import Arm, Request, RequestState
from active_learning.domain.target import Goal, Target
from active_learning.engine.answering import answered, rounds_of, standing
from active_learning.engine.feature_file import FeatureFile, FeatureIndex, write_features
from active_learning.engine.history import outcomes_of, tried_of
from active_learning.engine.ids import CandidateIds
from active_learning.store import Blobs, Facts
from active_learning.testing.fakes import START

S = RequestState
SETTINGS = Settings(initial=2, batch_size=2, max_in_flight=4, retries=1, lost_retries=1, poll_s=1.0)
LOWEST, HIGHEST, ANY = (Target("energy", goal, "eV") for goal in (Goal.MINIMIZE, Goal.MAXIMIZE, Goal.LEARN))
BROKEN = Failure(FailureKind.UNCONVERGED, "no end")


def _at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def _id(n: int) -> str:
    return f"{n:016x}"


def _request(n: int, round: int, state: S = S.SUCCEEDED, *, attempt: int = 1, **more: Any) -> Request:
    defaults: dict[str, Any] = {
        "arm": Arm.CHOSEN,
        "mean": float(n),
        "std": 0.1 * n,
        "rule": f"rule {n % 2}",
        "handle": "h",
        "failure": BROKEN if state is S.FAILED else None,
        "planned_at": _at(10 * round),
    }
    return Request(_id(n), "Cu", attempt, round, state, f"job-{n}-{attempt}", **(defaults | more))


def _label(n: int, value: float, minute: float, request: Request | None = None) -> Label:
    return Label(_id(n), "energy", value, "eV", _at(minute), "fake", None, None if request is None else request.id)


def _facts(requests: list[Request], labels: list[Label], n_rounds: int = 4) -> Facts:
    rounds = tuple(RoundRecord(n, _at(10 * n), 0, 2) for n in range(n_rounds))
    return Facts("t", 1, Phase.ACTIVE, START, {}, None, None, None, {}, tuple(requests), tuple(labels), rounds)


def test_a_choice_is_what_was_believed_and_what_came_of_it() -> None:
    design = [_request(n, 0, arm=Arm.DESIGN, mean=None, std=None) for n in (1, 2)]
    chosen = [_request(n, 1) for n in (3, 4)]
    labels = [_label(r_n, v, m, r) for r_n, v, m, r in [(1, 5.0, 2, design[0]), (2, 3.0, 4, design[1])]]
    labels += [_label(3, 4.0, 12, chosen[0]), _label(4, 1.0, 13, chosen[1])]
    found = outcomes_of(_facts(design + chosen, labels), LOWEST, SETTINGS)
    assert [(o.round, o.rule, o.mean, o.std, o.value, o.best) for o in found] == [
        (1, "rule 1", 3.0, pytest.approx(0.3), 4.0, 3.0),
        (1, "rule 0", 4.0, pytest.approx(0.4), 1.0, 3.0),
    ]
    assert [o.best for o in outcomes_of(_facts(design + chosen, labels), HIGHEST, SETTINGS)] == [5.0, 5.0]
    assert [o.best for o in outcomes_of(_facts(design + chosen, labels), ANY, SETTINGS)] == [None, None]


def test_the_best_is_that_of_the_labels_that_were_in_when_the_round_was_opened() -> None:
    """With several rounds in flight an earlier round's label may come in later."""
    requests = [_request(1, 0, arm=Arm.DESIGN, mean=None), _request(2, 1), _request(3, 2), _request(4, 3)]
    labels = [
        _label(n, -float(n), minute, r) for n, minute, r in zip((1, 2, 3, 4), (1, 25, 24, 31), requests, strict=True)
    ]
    found = outcomes_of(_facts(requests, labels), LOWEST, SETTINGS)
    assert [(o.round, o.best) for o in found] == [(1, -1.0), (2, -1.0), (3, -3.0)]


def test_a_label_that_came_in_the_moment_its_round_was_opened_is_not_what_was_known_then() -> None:
    requests = [_request(1, 0, arm=Arm.DESIGN, mean=None), _request(2, 1)]
    labels = [_label(1, 5.0, 10, requests[0]), _label(2, -9.0, 10, requests[1])]
    assert [o.best for o in outcomes_of(_facts(requests, labels), LOWEST, SETTINGS)] == [5.0]


def test_without_any_label_there_was_no_best() -> None:
    requests = [_request(2, 1)]
    found = outcomes_of(_facts(requests, [_label(2, 1.0, 12, requests[0])]), LOWEST, SETTINGS)
    assert [o.best for o in found] == [None]
    assert outcomes_of(_facts([], []), LOWEST, SETTINGS) == ()


def test_only_the_models_own_choices_that_are_settled_count() -> None:
    requests = [
        _request(1, 1, arm=Arm.CONTROL),
        _request(2, 1, arm=Arm.TEST),
        _request(3, 1, arm=Arm.DESIGN, mean=None),
        _request(4, 1, S.RUNNING),
        _request(5, 1, S.PLANNED),
        _request(6, 1, S.CANCELLED),
        _request(7, 1, S.FAILED),
        _request(8, 1),
    ]
    labels = [_label(n, 0.0, 12, requests[n - 1]) for n in (1, 2, 3, 8)]
    assert [o.mean for o in outcomes_of(_facts(requests, labels), LOWEST, SETTINGS)] == [8.0]


def test_a_choice_that_failed_for_good_has_no_value_and_one_that_is_tried_again_is_not_settled() -> None:
    first, again = _request(1, 1, S.FAILED), _request(1, 1, S.FAILED, attempt=2, planned_at=_at(35))
    late = _request(2, 2, S.FAILED, planned_at=_at(20))
    facts = _facts([first, late, again], [_label(9, 7.0, 1), _label(8, 2.0, 33)])
    found = outcomes_of(facts, LOWEST, SETTINGS)
    assert [(o.round, o.mean, o.value, o.best) for o in found] == [(1, 1.0, None, 7.0)], "the best is that of its round"


def test_a_second_attempt_that_succeeds_is_one_outcome() -> None:
    first, again = _request(1, 1, S.FAILED), _request(1, 1, attempt=2, planned_at=_at(35))
    facts = _facts([first, again], [_label(1, 4.0, 36, again)])
    assert [(o.value, o.round) for o in outcomes_of(facts, LOWEST, SETTINGS)] == [(4.0, 1)]


@pytest.mark.parametrize("state", [S.CANCELLED, S.FAILED, S.RUNNING])
def test_a_choice_whose_label_a_person_told_is_settled(state: S) -> None:
    facts = _facts([_request(1, 1, state)], [_label(1, 4.0, 12)])
    assert [o.value for o in outcomes_of(facts, LOWEST, SETTINGS)] == [4.0]


def test_outcomes_come_oldest_first() -> None:
    requests = [_request(n, round) for n, round in ((5, 1), (2, 1), (9, 2), (1, 3))]
    labels = [_label(n, 0.0, 40 - n, r) for n, r in zip((5, 2, 9, 1), requests, strict=True)]
    assert [o.mean for o in outcomes_of(_facts(requests, labels), LOWEST, SETTINGS)] == [5.0, 2.0, 9.0, 1.0]


def test_a_told_label_answers_the_newest_request_and_a_jobs_label_its_own() -> None:
    old, new = _request(1, 1, S.CANCELLED, arm=Arm.TEST), _request(1, 3, S.RUNNING, attempt=2)
    assert answered((old, new), [_label(1, 0.0, 40)]) == {_id(1): new}
    job = replace(old, state=S.SUCCEEDED)
    assert answered((job, new), [_label(1, 0.0, 40, job)]) == {_id(1): job}
    assert answered((old, new), [_label(7, 0.0, 40)]) == {}


def test_a_label_belongs_to_the_round_that_asked_for_it_and_a_told_one_to_the_newest_that_was_open() -> None:
    job, cancelled = _request(1, 1), _request(2, 1, S.CANCELLED)
    rounds = [RoundRecord(n, _at(10 * n), 4, int(n != 3)) for n in range(1, 5)]
    told = {3: 9, 4: 10, 5: 25, 6: 35, 7: 99}
    labels = [_label(1, 0.0, 38, job), _label(2, 0.0, 38), *(_label(n, 0.0, at) for n, at in told.items())]
    found = rounds_of((job, cancelled), rounds, labels)
    # Round 3 chose nothing: it was the end of a campaign that went on.
    assert [found[_id(n)] for n in range(1, 8)] == [1, 1, -1, 1, 2, 2, 4]


def test_a_clock_that_went_back_opens_no_round_before_its_time() -> None:
    rounds = [RoundRecord(n, _at(at), 4, 1) for n, at in enumerate((10, 30, 20))]
    labels = [_label(n, 0.0, at) for n, at in enumerate((5, 15, 25, 35))]
    assert list(rounds_of((), rounds, labels).values()) == [-1, 0, 2, 2]


def test_what_was_withdrawn_stands_only_if_it_was_answered() -> None:
    requests = tuple(_request(n, 1, state) for n, state in enumerate((S.CANCELLED, S.CANCELLED, S.FAILED, S.LOST)))
    assert standing(requests, [_label(1, 0.0, 12)]) == requests[1:]


@pytest.fixture
def features(tmp_path: Path) -> FeatureFile:
    blobs = Blobs(tmp_path)
    ids = CandidateIds.of(_id(n) for n in range(10))
    note = write_features(ids, [np.arange(20.0).reshape(10, 2)], FeatureIndex(("a", "b"), {}, {}, {}), blobs)
    return FeatureFile(note, blobs)


def _timed(n: int, state: S, seconds: float, **more: Any) -> Request:
    return _request(n, 1, state, submitted_at=_at(0), settled_at=_at(0) + timedelta(seconds=seconds), **more)


def test_what_was_tried_is_the_last_attempt_that_ended(features: FeatureFile) -> None:
    requests = [
        _timed(3, S.FAILED, 5.0),
        _timed(3, S.SUCCEEDED, 8.0, attempt=2),
        _timed(1, S.FAILED, 60.0),
        _request(1, 1, S.RUNNING, attempt=2),
        _timed(6, S.SUCCEEDED, 2.0, arm=Arm.CONTROL),
        _request(7, 1, S.SUCCEEDED),
    ]
    tried = tried_of(_facts(requests, []), features)
    assert tried.rows.tolist() == [1, 3, 6, 7]
    assert tried.succeeded.tolist() == [False, True, True, True]
    np.testing.assert_array_equal(tried.run_s, [60.0, 8.0, 2.0, np.nan])
    assert tried.label_run_s.tolist() == [8.0, 2.0]


def test_what_says_nothing_of_a_candidate_was_not_tried(features: FeatureFile) -> None:
    node = Failure(FailureKind.NODE, "the node died")
    requests = [
        _timed(1, S.LOST, 5.0),
        _timed(2, S.CANCELLED, 5.0),
        _timed(3, S.FAILED, 5.0, failure=node),
        _request(4, 1, S.PLANNED),
        _timed(99, S.SUCCEEDED, 5.0),
    ]
    tried = tried_of(_facts(requests, []), features)
    assert len(tried.rows) == len(tried.succeeded) == len(tried.run_s) == 0


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Run:
    labels = {"max": 20, "kind": "labels"}
    return run(
        tmp_path_factory.mktemp("run"),
        surrogate=FOREST,
        pool=POOL,
        labeler={"kind": "active_learning.testing.fakes:FakeLabeler", "fates": {"Al2Ag": "raises", "NiAg": "nan"}},
        stopping={"any": [labels]},
    )


def test_a_campaigns_outcomes_are_its_choices_with_their_labels(campaign: Run) -> None:
    facts, kit = campaign.facts, campaign.campaign.kit
    found = outcomes_of(facts, kit.target, kit.settings)
    values = {label.candidate_id: label.value for label in facts.labels}
    newest = {r.candidate_id: r for r in facts.requests if r.arm is Arm.CHOSEN}
    assert sorted((o.mean, o.value or 0.0) for o in found) == sorted(
        (r.mean, values.get(r.candidate_id, 0.0)) for r in newest.values()
    )
    for outcome in found:
        opened = facts.rounds[outcome.round].opened_at
        earlier = {r.candidate_id for r in facts.requests if r.round < outcome.round}
        known = [x.value for x in facts.labels if x.time <= opened and x.candidate_id in earlier]
        assert outcome.best == min(known)


def test_told_labels_have_outcomes_too(tmp_path: Path) -> None:
    told = run_told(tmp_path, surrogate=FOREST, pool=POOL, stopping={"any": [{"kind": "labels", "max": 14}]})
    found = outcomes_of(told.facts, told.campaign.kit.target, told.campaign.kit.settings)
    assert len(found) == 10
    values = [x.value for x in told.facts.labels]
    assert [o.value for o in found] == values[4:]
    assert [o.best for o in found] == [min(values[: 4 + 2 * (n // 2)]) for n in range(10)]
