"""What strategies are shown, and what is made of their answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_campaigns import (
    FOREST,
    POOL,
    Run,
    SpyScore,
    SpyTop,
    at_round,
    run,
    run_told,
)
from numpy.typing import NDArray

from active_learning.acquisition.rules import ExpectedImprovement
from active_learning.domain.campaign import RoundRecord
from active_learning.domain.protocols import HasDraws, KnowsCovariance
from active_learning.domain.request import Arm
from active_learning.engine.arms import split_labels
from active_learning.engine.choice import Chooser
from active_learning.engine.history import Tried
from active_learning.engine.learning import Lesson, learn
from active_learning.engine.prospects import prospects_of
from active_learning.engine.round_steps import open_round
from active_learning.engine.scoring import predict_pool
from active_learning.engine.spreading import Threads
from active_learning.errors import ContractError
from active_learning.learning.applicability import novelty
from active_learning.selection.diverse import Diverse

Floats = NDArray[np.float64]

TABLES: dict[str, Any] = {
    "pool": POOL,
    "surrogate": FOREST,
    "rounds": {"initial": 12, "batch_size": 3, "max_in_flight": 9},
    "stopping": {"any": [{"kind": "labels", "max": 30}]},
}
SPIES: dict[str, Any] = {
    "acquisition": {"kind": "learning_campaigns:SpyScore"},
    "selection": {"kind": "learning_campaigns:SpyTop"},
}


@pytest.fixture
def spies() -> None:
    SpyScore.shown.clear()
    SpyTop.shown.clear()


def test_pending_candidates_are_shown_to_both_strategies_and_never_chosen(tmp_path: Path, spies: None) -> None:
    submitter = {"kind": "active_learning.testing.faults:FakeScheduler", "at_once": False}
    found = run(
        tmp_path, **TABLES | {"stopping": {"any": [{"kind": "labels", "max": 24}]}}, **SPIES, submitter=submitter
    )
    requests = found.facts.requests
    assert len({r.candidate_id for r in requests}) == len(requests) == 24
    rounds = [record for record in found.facts.rounds[1:] if record.n_picks]
    assert len(SpyScore.shown) == len(SpyTop.shown) == len(rounds) == 4
    n_pending = []
    for record, (_, scoring, X), batch in zip(rounds, SpyScore.shown, SpyTop.shown, strict=True):
        before = [r for r in requests if r.round < record.number]
        pending = {found.row(r.candidate_id) for r in before if r.settled_at is None or r.settled_at > record.opened_at}
        n_pending.append(len(pending))
        assert set(found.rows(scoring.X_pending)) == set(found.rows(batch.X_pending)) == pending
        taken = {found.row(r.candidate_id) for r in before}
        assert set(found.rows(X)) == set(found.rows(batch.X)) == set(range(75)) - taken
        assert batch.pending is not None
        assert len(batch.pending) == len(pending)
    assert max(n_pending) == 6, "up to three rounds are in flight at once"


def test_strategies_see_the_labels_that_were_trained_on_and_the_corrected_model(tmp_path: Path, spies: None) -> None:
    found = run_told(tmp_path, 4, **TABLES, **SPIES, training={"test_fraction": 0.2})
    prediction, scoring, X = SpyScore.shown[-1]
    train, _test = split_labels(found.facts, found.campaign.kit.spec, found.campaign.kit.target, found.features)
    rows = sorted(found.row(x.candidate_id) for x in train)
    assert found.rows(scoring.X_labeled) == rows
    values = {found.row(x.candidate_id): x.value for x in found.facts.labels}
    assert scoring.y_labeled.tolist() == [values[row] for row in rows]
    assert scoring.best == min(values.values()), "the best is the best of all labels, the test set's among them"
    assert scoring.n_candidates == len(X) == len(prediction)
    believed = scoring.model.predict(X)
    np.testing.assert_allclose(believed.mean, prediction.mean, atol=1e-12)
    np.testing.assert_allclose(believed.std, prediction.std, atol=1e-12)
    assert isinstance(scoring.model, HasDraws)
    assert isinstance(scoring.model, KnowsCovariance)
    assert len(scoring.outcomes) == sum(r.arm is Arm.CHOSEN for r in found.facts.requests if r.round < 3)


@pytest.mark.parametrize("how", ["fewer", "twice", "outside", "scores"])
def test_a_selection_that_breaks_its_law_is_named(tmp_path: Path, how: str) -> None:
    selection = {"kind": "learning_campaigns:Careless", "how": how}
    with pytest.raises(ContractError, match="the selection 'learning_campaigns:Careless'"):
        run_told(tmp_path, 2, **TABLES, selection=selection)


def test_a_selection_may_answer_with_a_list(tmp_path: Path) -> None:
    plain, listed = (
        run_told(tmp_path / str(n), 2, **TABLES, selection=selection)
        for n, selection in enumerate(({"kind": "top"}, {"kind": "learning_campaigns:Careless", "how": "list"}))
    )
    assert [r[2] for r in plain.asked] == [r[2] for r in listed.asked]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_told(tmp_path_factory.mktemp("ended"), **TABLES)


def test_every_request_says_what_was_believed_and_how_new_it_is(ended: Run) -> None:
    for request in ended.facts.requests:
        if request.arm is not Arm.CHOSEN:
            continue
        record = ended.facts.rounds[request.round]
        assert record.predictions is not None
        believed = np.load(ended.campaign.workdir / "files" / record.predictions)[ended.row(request.candidate_id)]
        assert (request.mean, request.std) == (believed[0], believed[1])
        assert request.score == pytest.approx(-believed[0] + believed[1])
        assert request.reason.startswith("upper_confidence_bound: rank ")
    for record in ended.facts.rounds[1:-1]:
        picked = [r for r in ended.facts.requests if r.round == record.number]
        labeled = ended.features.rows([ended.row(c) for c in sorted(record.out_of_fold, key=ended.row)])
        expected = novelty(labeled, ended.features.rows([ended.row(r.candidate_id) for r in picked]))
        np.testing.assert_allclose([r.novelty for r in picked], expected)


class _Made:
    """A chooser as a campaign makes it, for a round of a campaign that ended."""

    def __init__(self, ended: Run, tmp_path: Path, *, acquisition: Any = None, selection: Any = None) -> None:
        kit = replace(
            ended.campaign.kit,
            acquisition=acquisition or ended.campaign.kit.acquisition,
            selection=selection or ended.campaign.kit.selection,
        )
        train, test = split_labels(ended.facts, kit.spec, kit.target, ended.features)
        learned = learn(kit.surrogate, Lesson(ended.features, train, test, 3, 9), kit.spec.training)
        self.beliefs = predict_pool(learned.model, ended.features, Threads(1), tmp_path, correction=learned.correction)
        self.chooser = Chooser(
            kit,
            ended.features,
            learned,
            self.beliefs,
            round_number=9,
            best=float(learned.y.min()),
            pending=np.array([70, 74], dtype=np.intp),
        )


def test_a_pool_is_scored_without_what_may_not_be_chosen(ended: Run, tmp_path: Path) -> None:
    made = _Made(ended, tmp_path)
    free = np.array([0, 3, 17, 60, 61])
    scored = made.chooser.score(free, 2)
    believed = made.beliefs.at(free)
    assert scored.rows.tolist() == free.tolist()
    np.testing.assert_allclose(scored.scores, believed.std[:, 0] - believed.mean[:, 0])
    assert scored.n == 5
    assert scored.max_std == believed.std.max()
    picks = made.chooser.take(scored, 2)
    assert [pick.row for pick in picks] == free[np.argsort(-scored.scores, kind="stable")[:2]].tolist()
    assert picks[0].reason.endswith("rank 1 of 5, taken by top")
    assert made.chooser.take(scored, 0) == []
    assert len(made.chooser.take(scored, 99)) == 5


def test_nothing_to_choose_from_is_no_trouble(ended: Run, tmp_path: Path) -> None:
    made = _Made(ended, tmp_path)
    none = np.empty(0, dtype=np.intp)
    assert made.chooser.beside(none, Arm.CONTROL, "x") == []
    assert made.chooser.with_novelty([]) == []
    scored = made.chooser.score(none, 1)
    assert (len(scored.rows), scored.n, scored.max_std) == (0, 0, 0.0)


def test_scoring_again_gives_the_scores_again_and_weighs_them_alike(ended: Run, tmp_path: Path) -> None:
    made = _Made(
        ended,
        tmp_path,
        acquisition=ExpectedImprovement(ExpectedImprovement.Options()),
        selection=SpyTop(SpyTop.Options()),
    )
    tried = Tried(np.arange(0, 75, 3), np.arange(0, 75, 3) % 2 == 0, 1.0 + np.arange(0, 75, 3))
    table = made.chooser.kit.spec.acquisition.model_copy(update={"weigh_success": True, "per_cost": True})
    chooser = replace(made.chooser, prospects=prospects_of(table, ended.features, tried, seed=0, round_number=9))
    free = np.setdiff1d(np.arange(75), made.chooser.pending)
    plain, scored = made.chooser.score(free, 4), chooser.score(free, 4)
    success, run_s = chooser.prospects.of(free)
    np.testing.assert_allclose(scored.scores, plain.scores * success * chooser.prospects.typical_run_s / run_s)
    SpyTop.shown.clear()
    chooser.take(scored, 4)
    batch = SpyTop.shown[-1]
    assert batch.rescore is not None
    assert batch.prediction is not None
    for places in (np.arange(len(free)), np.array([5, 2, 30])):
        np.testing.assert_allclose(batch.rescore(batch.prediction.rows(places), places), scored.scores[places])
    assert batch.factor is not None
    factor = batch.factor(np.array([4, 9]))
    assert len(factor) == 2 + 2
    std = np.concatenate([batch.prediction.std[[4, 9], 0], batch.pending.std[:, 0]])  # type: ignore[union-attr]
    assert (np.sqrt(np.square(factor).sum(axis=1)) <= std + 1e-9).all()


def test_only_the_best_of_a_large_pool_are_looked_at_again(
    ended: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _Made(ended, tmp_path, selection=Diverse(Diverse.Options()))
    free = np.setdiff1d(np.arange(75), made.chooser.pending)
    whole = made.chooser.score(free, 2)
    monkeypatch.setattr("active_learning.engine.choice.PROMISING", 10)
    few = made.chooser.score(free, 2)
    best = np.sort(np.argsort(-whole.scores, kind="stable")[:10])
    assert few.rows.tolist() == whole.rows[best].tolist()
    assert (few.n, few.max_std) == (whole.n, whole.max_std)
    assert len(made.chooser.take(few, 3)) == 3


def test_a_candidate_that_lacks_features_is_shown_as_the_model_sees_it(tmp_path: Path, spies: None) -> None:
    """What draws functions must see the same candidates as what predicts: the preparation fills in by the labels."""
    found = run_told(
        tmp_path,
        4,
        **TABLES,
        **SPIES,
        features={"kind": "learning_campaigns:GappyFeaturizer", "missing": "impute"},
    )
    assert found.features.missing
    for prediction, scoring, X in SpyScore.shown:
        assert np.isfinite(X).all()
        np.testing.assert_allclose(scoring.model.predict(X).mean, prediction.mean, atol=1e-12)
        model: Any = scoring.model
        draws = model.draws(X, 10, rng=np.random.default_rng(0))
        np.testing.assert_allclose(draws.mean(axis=0), prediction.mean[:, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("acquisition", "selection"),
    [
        ({"kind": "expected_improvement"}, {"kind": "fantasies"}),
        ({"kind": "expected_improvement", "per_cost": True}, {"kind": "max_determinant"}),
        ({"kind": "upper_confidence_bound"}, {"kind": "local_penalization"}),
        ({"kind": "active_learning.acquisition.thompson:Thompson"}, {"kind": "top"}),
    ],
    ids=["fantasies", "max_determinant", "local_penalization", "thompson"],
)
def test_batches_know_what_is_in_flight(tmp_path: Path, acquisition: Any, selection: Any) -> None:
    tables = TABLES | {"stopping": {"any": [{"kind": "labels", "max": 24}]}}
    found = run_told(tmp_path, acquisition=acquisition, selection=selection, **tables)
    assert len({r.candidate_id for r in found.facts.requests}) == len(found.facts.requests) == 24
    assert found.facts.rounds[-1].n_picks == 0


def _cost_of(found: Run) -> float:
    """The mean of the largest fraction over what the model chose."""
    rows = [found.row(r.candidate_id) for r in found.facts.requests if r.arm is Arm.CHOSEN]
    return float(found.features.rows(rows)[:, 2].mean())


def test_per_cost_prefers_what_is_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of candidates with the same promise those are taken whose labels took least time."""
    tables = TABLES | {"rounds": {"initial": 16, "batch_size": 6, "max_in_flight": 6}}

    def priced(facts: Any, features: Any) -> Tried:
        rows = np.array(sorted(features.ids.row(x.candidate_id) for x in facts.labels), dtype=np.intp)
        return Tried(rows, np.ones(len(rows), dtype=bool), np.where(features.rows(rows)[:, 2] > 0.7, 1e4, 1.0))

    monkeypatch.setattr("active_learning.engine.round_steps.tried_of", priced)
    costs = [
        _cost_of(run_told(tmp_path / str(on), acquisition={"kind": "expected_improvement", "per_cost": on}, **tables))
        for on in (False, True)
    ]
    assert costs[1] < costs[0]


def test_the_record_of_a_round_has_the_largest_std_of_what_could_be_chosen(ended: Run) -> None:
    def available(record: RoundRecord) -> list[int]:
        taken = {r.candidate_id for r in ended.facts.requests if r.round < record.number}
        return [n for n, candidate in enumerate(ended.features.ids) if candidate not in taken]

    for record in ended.facts.rounds[1:]:
        assert record.predictions is not None
        believed = np.load(ended.campaign.workdir / "files" / record.predictions)
        assert record.max_std == believed[available(record), 1].max()


def test_a_round_that_was_decided_is_the_same_whoever_opens_it(tmp_path: Path) -> None:
    picked = []
    for name in ("one", "other"):
        with at_round(tmp_path / name, 2, **TABLES) as bench:
            open_round(bench, 2, 3)
            facts = bench.store.read()
            picked.append([(r.candidate_id, r.mean, r.std, r.score, r.novelty) for r in facts.requests if r.round == 2])
    assert picked[0] == picked[1]
    assert len(picked[0]) == 3
