"""The test set, the control and the model share the requests, and no model is trained on a test label."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_campaigns import FOREST, POOL, SPY, Run, SpyForest, run, run_told, steps

from active_learning.api.campaign import Campaign
from active_learning.api.telling import Told
from active_learning.config import read_campaign_file
from active_learning.config.spec import CampaignSpec
from active_learning.domain.campaign import Phase
from active_learning.domain.request import Arm, Request, RequestState
from active_learning.domain.seeds import rng_for
from active_learning.engine.arms import Shares, split_labels, to_test
from active_learning.learning.splitting import Groups
from active_learning.store import Facts
from active_learning.testing.fakes import START, FakeClock, tiny_campaign, without_workers

ROUNDS = {"initial": 8, "batch_size": 3, "max_in_flight": 6}
TABLES: dict[str, Any] = {
    "pool": POOL,
    "surrogate": SPY,
    "rounds": ROUNDS,
    "stopping": {"any": [{"kind": "labels", "max": 35}]},
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> CampaignSpec:
    file = read_campaign_file(tiny_campaign(tmp_path_factory.mktemp("spec")))
    assert file.spec is not None
    return file.spec


def _with(spec: CampaignSpec, *, test: float = 0.0, control: float = 0.0) -> CampaignSpec:
    return spec.model_copy(
        update={
            "training": spec.training.model_copy(update={"test_fraction": test}),
            "control": spec.control.model_copy(update={"fraction": control}),
        }
    )


def _request(n: int, arm: Arm, state: RequestState = RequestState.RUNNING, attempt: int = 1, round: int = 0) -> Request:
    return Request(f"c{n}", "Cu", attempt, round, state, f"job-{n}-{attempt}", arm=arm, handle="h")


def _facts(*requests: Request, **more: Any) -> Facts:
    empty: dict[str, Any] = {
        "pool": None,
        "features": None,
        "verdict": None,
        "versions": {},
        "labels": (),
        "rounds": (),
    }
    return Facts("tiny", 1, Phase.ACTIVE, START, {}, **(empty | {"requests": requests} | more))


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    test=st.sampled_from([0.0, 0.1, 0.2, 1 / 3, 0.5]),
    control=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
)
def test_shares_stay_within_one_request_of_their_fractions(
    spec: CampaignSpec, sizes: list[int], test: float, control: float
) -> None:
    asked: list[Request] = []
    for n, size in enumerate(sizes):
        shares = Shares(_facts(*asked), _with(spec, test=test, control=control)).of(size, is_design=n == 0)
        assert sum(shares.values()) == size
        assert min(shares.values()) >= 0
        for arm, count in shares.items():
            asked += [_request(len(asked) + k, arm) for k in range(count)]
        counts = Counter(r.arm for r in asked)
        if n or size * (1 - test) >= 2:  # a first design leaves enough for a model
            assert 0 <= test * len(asked) - counts[Arm.TEST] + 1e-6 < 1 + 1e-6
        later = counts[Arm.CHOSEN] + counts[Arm.CONTROL]
        assert 0 <= control * later - counts[Arm.CONTROL] + 1e-6 < 1 + 1e-6


def test_the_first_design_has_no_control_and_leaves_two_labels_to_train_on(spec: CampaignSpec) -> None:
    shares = Shares(_facts(), _with(spec, test=0.5, control=0.5))
    assert shares.of(4, is_design=True) == {Arm.TEST: 2, Arm.CONTROL: 0, Arm.DESIGN: 2, Arm.CHOSEN: 0}
    assert shares.of(3, is_design=True)[Arm.TEST] == 1
    assert shares.of(2, is_design=True)[Arm.TEST] == 0
    assert shares.of(1, is_design=True)[Arm.TEST] == 0


def test_a_candidate_counts_once_however_often_it_was_tried(spec: CampaignSpec) -> None:
    once = [_request(n, Arm.TEST if n < 2 else Arm.CHOSEN) for n in range(9)]
    again = [replace(r, attempt=2, job_name=f"{r.job_name}b") for r in once[:5]]
    shares = [Shares(_facts(*asked), _with(spec, test=0.2)).of(6, is_design=False) for asked in (once, once + again)]
    assert shares[0] == shares[1]


def test_what_was_withdrawn_does_not_count(spec: CampaignSpec) -> None:
    asked = [_request(n, Arm.CHOSEN) for n in range(8)]
    withdrawn = [_request(n, Arm.TEST, RequestState.CANCELLED) for n in range(8, 10)]
    assert Shares(_facts(*asked, *withdrawn), _with(spec, test=0.2)).of(2, is_design=False)[Arm.TEST] == 2


def _arms(run_: Run) -> Counter[Arm]:
    return Counter(r.arm for r in run_.facts.requests)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[tuple[np.ndarray, np.ndarray]]]:
    """A campaign with a test set, and all that its models were given."""
    SpyForest.given.clear()
    found = run(
        tmp_path_factory.mktemp("tested"), **TABLES, training={"test_fraction": 0.2, "validation": "folds", "folds": 3}
    )
    return found, list(SpyForest.given)


def test_no_model_is_ever_given_a_test_label(tested: Any) -> None:
    run_, given_ = tested
    test = {run_.row(r.candidate_id) for r in run_.facts.requests if r.arm is Arm.TEST}
    seen = {row for X, _y in given_ for row in run_.rows(X)}
    assert len(test) == 7
    assert len(given_) > 10
    assert not seen & test
    labeled = {run_.row(label.candidate_id) for label in run_.facts.labels}
    assert seen == labeled - test, "and all the others are trained on"


def test_a_fifth_is_kept_round_by_round(tested: Any) -> None:
    requests = tested[0].facts.requests
    assert len(requests) == 35
    for number in range(len(tested[0].facts.rounds)):
        until = [r for r in requests if r.round <= number]
        assert sum(r.arm is Arm.TEST for r in until) == math.floor(0.2 * len(until))


def test_the_test_set_has_the_shares_of_the_pools_groups(tested: Any) -> None:
    run_, _ = tested
    groups = Groups(run_.features.X, rng=rng_for(3, 0, "test-groups"))
    taken = np.array([run_.row(r.candidate_id) for r in run_.facts.requests if r.arm is Arm.TEST])
    shares = np.bincount(groups.group, minlength=10) / 75
    counts = np.bincount(groups.group[taken], minlength=10)
    assert np.abs(counts - shares * len(taken)).max() < 1


def test_rounds_tell_how_the_model_does_on_the_test_set(tested: Any) -> None:
    run_, _ = tested
    values = {x.candidate_id: x.value for x in run_.facts.labels}
    test = [r.candidate_id for r in run_.facts.requests if r.arm is Arm.TEST]
    last = run_.facts.rounds[-1]
    assert (last.n_picks, last.n_labels) == (0, 28)
    assert last.predictions is not None
    believed = np.load(Path(run_.campaign.workdir) / "files" / last.predictions)
    rows = [run_.row(candidate) for candidate in test]
    y = np.array([values[candidate] for candidate in test])
    assert last.test_metrics["mae"] == pytest.approx(np.abs(believed[rows, 0] - y).mean())
    assert last.calibration is not None
    assert last.calibration["validation"] == "folds"
    for record in run_.facts.rounds[1:]:
        assert set(record.test_metrics) >= ({"mae", "rmse"} if record.number > 3 else set())
        assert not set(record.out_of_fold) & set(test)


def test_requests_for_the_test_set_are_no_choices_of_the_model(tested: Any) -> None:
    for request in tested[0].facts.requests:
        if request.arm is Arm.TEST:
            assert request.score is None
            assert request.reason.startswith("test set")
            assert (request.mean is None) == (request.round == 0)


def test_the_test_set_does_not_move_what_the_first_design_would_do_without_one(tmp_path: Path) -> None:
    tables = TABLES | {"stopping": {"any": [{"kind": "labels", "max": 10}]}}
    without, with_test = (run_told(tmp_path / str(f), **tables, training={"test_fraction": f}) for f in (0.0, 0.2))
    design = [r.candidate_id for r in without.facts.requests if r.round == 0]
    assert _arms(without)[Arm.TEST] == 0
    assert len(design) == len([r for r in with_test.facts.requests if r.round == 0]) == 8


def test_a_quarter_is_drawn_at_random_and_predicted_before_it_is_labeled(tmp_path: Path) -> None:
    found = run(tmp_path, **TABLES, control={"fraction": 0.25})
    later = [r for r in found.facts.requests if r.round > 0]
    control = [r for r in later if r.arm is Arm.CONTROL]
    assert len(control) == math.floor(0.25 * len(later)) == 6
    assert {r.arm for r in found.facts.requests if r.round == 0} == {Arm.DESIGN}
    for number in range(1, len(found.facts.rounds)):
        until = [r for r in later if r.round <= number]
        assert sum(r.arm is Arm.CONTROL for r in until) == math.floor(0.25 * len(until))
    for request in control:
        record = found.facts.rounds[request.round]
        assert record.predictions is not None
        believed = np.load(found.campaign.workdir / "files" / record.predictions)[found.row(request.candidate_id)]
        assert (request.mean, request.std) == (believed[0], believed[1])
        assert request.score is None
        assert request.novelty is not None
        assert request.reason.startswith("control")
        assert request.candidate_id not in record.out_of_fold


def test_the_control_is_drawn_from_all_that_is_free(tmp_path: Path) -> None:
    """Each candidate has the same chance, whatever the model thinks of it."""
    drawn: Counter[int] = Counter()
    tables = TABLES | {
        "surrogate": {"kind": "active_learning.testing.fakes:NearestLabel"},
        "rounds": {"initial": 4, "batch_size": 20, "max_in_flight": 20},
    }
    for seed in range(6):
        found = run_told(tmp_path / str(seed), 2, **tables, seed=seed, control={"fraction": 0.9})
        drawn.update(found.row(r.candidate_id) for r in found.facts.requests if r.arm is Arm.CONTROL)
    assert sum(drawn.values()) == 6 * 18
    assert len(drawn) > 50, "108 draws of 75 leave about 15 of them out"
    assert max(drawn.values()) <= 5


def test_control_test_set_and_model_take_a_pool_to_its_last_candidate(tmp_path: Path) -> None:
    tables = TABLES | {
        "pool": {"kind": "active_learning.testing.fakes:TinyPool", "n": 19},
        "stopping": {"any": [{"kind": "pool_exhausted"}]},
        "rounds": {"initial": 6, "batch_size": 4, "max_in_flight": 4},
    }
    found = run(tmp_path, **tables, control={"fraction": 0.5}, training={"test_fraction": 0.3})
    assert found.facts.phase is Phase.STOPPED
    assert len(found.facts.labels) == 19
    assert _arms(found) == {Arm.DESIGN: 5, Arm.TEST: 5, Arm.CONTROL: 4, Arm.CHOSEN: 5}
    # Of a pool that is labeled to the last candidate it is known how many labels chance needs, and nothing is between.
    values = {label.candidate_id: label.value for label in found.facts.labels}
    level = min(values[r.candidate_id] for r in found.facts.requests if r.arm is Arm.CONTROL)
    chosen = [values[r.candidate_id] for r in found.facts.requests if r.arm is Arm.CHOSEN]
    n_needed = next((n for n, value in enumerate(chosen, start=1) if value <= level), len(chosen))
    said = found.campaign.status()["control"]["acceleration"]
    assert said["factor"] == pytest.approx(20 / (sum(v <= level for v in values.values()) + 1) / n_needed)
    assert said["high"] == pytest.approx(said["factor"])


def test_candidates_of_the_test_set_that_fail_for_good_are_not_asked_for_in_vain_for_ever(tmp_path: Path) -> None:
    """Each failure uses up its place in the test set: a group that always fails does not draw all others in."""
    whole = run_told(tmp_path / "whole", 1, **TABLES, training={"test_fraction": 0.2})
    fates = {r.formula: "raises" for r in whole.facts.requests if r.arm is Arm.TEST and r.round == 0}
    tables = TABLES | {"labeler": {"kind": "active_learning.testing.fakes:FakeLabeler", "fates": fates}}
    found = run(tmp_path / "failing", **tables, training={"test_fraction": 0.2})
    assert found.facts.phase is Phase.STOPPED
    firsts = [r for r in found.facts.requests if r.attempt == 1]
    assert sum(r.arm is Arm.TEST for r in firsts) == math.floor(0.2 * len(firsts))
    retried = {
        r.candidate_id: {q.arm for q in found.facts.requests if q.candidate_id == r.candidate_id} for r in firsts
    }
    assert all(len(arms) == 1 for arms in retried.values()), "a second attempt belongs where the first did"
    failed = {r.candidate_id for r in found.facts.requests if r.state is RequestState.FAILED}
    assert len(failed) == len(fates)
    assert found.facts.rounds[-1].test_metrics


def test_labels_that_a_caller_brings_count_for_what_they_were_asked_for(tmp_path: Path) -> None:
    """A caller that labels by itself tells all labels: those of the test set must stay out of the training set."""
    SpyForest.given.clear()
    found = run_told(tmp_path, **TABLES, training={"test_fraction": 0.25}, control={"fraction": 0.25})
    arms = _arms(found)
    assert arms[Arm.TEST] == 8
    assert arms[Arm.CONTROL] == 5
    assert {label.request_id for label in found.facts.labels} == {None}
    test = {found.row(r.candidate_id) for r in found.facts.requests if r.arm is Arm.TEST}
    assert not test & {row for X, _y in SpyForest.given for row in found.rows(X)}
    assert found.facts.rounds[-1].test_metrics
    assert found.facts.rounds[-1].n_labels == len(found.facts.labels) - 8


@pytest.mark.parametrize(("n_known", "fraction", "n_test"), [(2, 0.9, 0), (3, 0.9, 1), (20, 0.2, 4), (20, 0.95, 18)])
def test_of_labels_known_before_the_test_set_takes_its_share_and_leaves_enough_to_train_on(
    tmp_path: Path, n_known: int, fraction: float, n_test: int
) -> None:
    tables = TABLES | {
        "rounds": {"initial": n_known, "batch_size": 2, "max_in_flight": 2},
        "stopping": {"any": [{"kind": "labels", "max": n_known + 2}]},
    }
    path = tiny_campaign(tmp_path, **tables, training={"test_fraction": fraction})
    clock = FakeClock()
    with without_workers(Campaign.create(path, clock=clock)) as campaign:
        with campaign.work() as bench:
            list(steps(bench, 1))
        ids = list(campaign.pool().ids)[:n_known]
        campaign.tell([Told(candidate, 0.1 * n) for n, candidate in enumerate(ids)])
        clock.sleep(1)
        splits = []
        with campaign.work() as bench:
            for _ in steps(bench):
                facts = bench.store.read()
                features = bench.features(facts)
                train, test = split_labels(facts, bench.kit.spec, bench.kit.target, features)
                splits.append({x.candidate_id for x in test if x.candidate_id in ids})
                assert len(train) + len(test) == len(facts.labels)
    assert {len(found) for found in splits} == {n_test}
    assert all(found == splits[0] for found in splits), "a label never changes sides"
    assert campaign.store.read().rounds[0].n_picks == 2, "there was no need of a first design"


def test_what_is_told_unasked_is_trained_on(tmp_path: Path) -> None:
    found = run_told(tmp_path, 2, **TABLES, training={"test_fraction": 0.2})
    unasked = sorted(set(found.campaign.pool().ids) - {r.candidate_id for r in found.facts.requests})[0]
    found.campaign.tell([Told(unasked, 0.0)])
    facts = found.campaign.store.read()
    train, test = split_labels(facts, found.campaign.kit.spec, found.campaign.kit.target, found.features)
    assert unasked in {x.candidate_id for x in train}
    assert (len(train), len(test)) == (8, 1)


def test_a_test_set_of_a_large_pool_represents_a_sample_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("active_learning.engine.arms.SAMPLE", 20)
    found = run_told(tmp_path, **TABLES, training={"test_fraction": 0.4})
    sample = set(np.sort(rng_for(3, 0, "test-sample").choice(75, 20, replace=False)).tolist())
    test = {found.row(r.candidate_id) for r in found.facts.requests if r.arm is Arm.TEST}
    assert len(test) == 14
    assert test <= sample


def test_a_sample_with_nothing_left_gives_less_and_the_model_takes_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("active_learning.engine.arms.SAMPLE", 6)
    found = run_told(tmp_path, **TABLES, training={"test_fraction": 0.4})
    assert len(found.facts.labels) == 35
    assert _arms(found)[Arm.TEST] <= 6


def test_a_withdrawn_request_frees_its_candidate_for_the_test_set_again(tmp_path: Path) -> None:
    found = run_told(tmp_path, **TABLES, training={"test_fraction": 0.2})
    spec = found.campaign.kit.spec
    withdrawn = tuple(
        replace(r, state=RequestState.CANCELLED) if r.arm is Arm.TEST else r for r in found.facts.requests
    )
    facts = replace(found.facts, requests=withdrawn, labels=())
    rows = to_test(facts, spec, found.features, np.arange(75), 9, round_number=5)
    again = to_test(_facts(), spec, found.features, np.arange(75), 9, round_number=5)
    assert rows.tolist() == again.tolist()
    assert len(set(rows.tolist())) == 9


def test_arms_are_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    first, second = (
        run_told(
            tmp_path / str(n),
            **TABLES | {"surrogate": dict(FOREST) | {"n_jobs": n}},
            training={"test_fraction": 0.2},
            control={"fraction": 0.25},
        )
        for n in (1, 2)
    )
    assert first.asked == second.asked
    assert first.learned == second.learned
