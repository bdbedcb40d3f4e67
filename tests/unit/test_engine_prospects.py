"""Failures and run times teach which candidates are worth asking for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_campaigns import FOREST, POOL, run

from active_learning.config.spec import AcquisitionTable
from active_learning.domain.candidate import Candidate
from active_learning.domain.request import Arm
from active_learning.engine.feature_file import FeatureFile, FeatureIndex, write_features
from active_learning.engine.history import Tried
from active_learning.engine.ids import CandidateIds
from active_learning.engine.prospects import NO_PROSPECTS, prospects_of
from active_learning.store import Blobs
from active_learning.testing.fakes import TinyFeaturizer, TinyPool

N = 200


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureFile:
    """The first feature runs from 0 to 1; the second is missing in half of the rows."""
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    X = np.column_stack([np.arange(N) / N, np.where(np.arange(N) % 2, np.nan, 1.0)])
    note = write_features(
        CandidateIds.of(f"{n:016x}" for n in range(N)), [X], FeatureIndex(("a", "b"), {}, {}, {}), blobs
    )
    return FeatureFile(note, blobs)


def _table(**options: bool) -> AcquisitionTable:
    return AcquisitionTable(kind="expected_improvement", **options)


def _tried(rows: Any, succeeded: Any, run_s: Any) -> Tried:
    rows = np.asarray(rows, dtype=np.intp)
    return Tried(rows, np.broadcast_to(succeeded, rows.shape), np.broadcast_to(np.asarray(run_s, float), rows.shape))


SOME = np.arange(0, N, 5)


def _of(features: FeatureFile, tried: Tried, *, seed: int = 0, **options: bool) -> Any:
    return prospects_of(_table(**options), features, tried, seed=seed, round_number=3)


def test_nothing_is_learned_unless_it_is_asked_for(features: FeatureFile) -> None:
    found = _of(features, _tried(SOME, SOME < 100, 5.0))
    assert found is NO_PROSPECTS
    assert not found.is_known
    assert found.of(np.arange(4)) == (None, None)


def test_a_region_where_labels_fail_has_a_small_chance_and_another_a_large_one(features: FeatureFile) -> None:
    found = _of(features, _tried(SOME, SOME < 100, np.nan), weigh_success=True)
    success, run_s = found.of(np.arange(N))
    assert run_s is None
    assert success[:80].min() > 0.8
    assert success[120:].max() < 0.3
    assert 0 < success.min() < success.max() < 1, "nobody is hopeless, or sure"


def test_where_nothing_can_be_told_the_chance_is_near_the_share_that_succeeded(features: FeatureFile) -> None:
    lucky = np.random.default_rng(0).random(len(SOME)) < 0.7
    success, _ = _of(features, _tried(SOME, lucky, np.nan), weigh_success=True).of(np.arange(N))
    assert success.mean() == pytest.approx(lucky.mean(), abs=0.1)


@pytest.mark.parametrize(
    ("rows", "succeeded"),
    [(SOME, True), (SOME[:4], [True, False, False, False])],
    ids=["nothing failed", "too few"],
)
def test_what_teaches_nothing_yet_is_not_learned_from(features: FeatureFile, rows: Any, succeeded: Any) -> None:
    assert not _of(features, _tried(rows, succeeded, np.nan), weigh_success=True).is_known


def test_where_everything_failed_everything_has_the_same_small_chance(features: FeatureFile) -> None:
    success, _ = _of(features, _tried(SOME, False, np.nan), weigh_success=True).of(np.arange(N))
    np.testing.assert_allclose(success, 1 / 42 / 4)


def test_run_times_are_predicted_by_their_logarithm(features: FeatureFile) -> None:
    seconds = 10.0 ** (4 * SOME / N)
    found = _of(features, _tried(SOME, True, seconds), per_cost=True)
    success, run_s = found.of(np.arange(0, N, 20))
    assert success is None
    assert found.typical_run_s == np.median(seconds)
    np.testing.assert_allclose(np.log10(run_s), 4 * np.arange(0, N, 20) / N, atol=0.3)


def test_only_labels_with_a_known_time_tell_the_cost(features: FeatureFile) -> None:
    is_known = SOME % 2 == 0
    seconds = np.where(is_known, 30.0, np.nan)
    found = _of(features, _tried(SOME, True, seconds), per_cost=True)
    np.testing.assert_allclose(found.of(np.arange(N))[1], 30.0)
    assert not _of(features, _tried(SOME, False, 30.0), per_cost=True).is_known
    assert not _of(features, _tried(SOME, True, np.nan), per_cost=True).is_known


def test_jobs_that_took_no_time_at_all_cost_the_least_there_is(features: FeatureFile) -> None:
    found = _of(features, _tried(SOME, True, 0.0), per_cost=True)
    np.testing.assert_allclose(found.of(np.arange(3))[1], 1e-3)


def test_a_candidate_has_the_same_prospects_in_whatever_company(features: FeatureFile) -> None:
    """A missing value is filled in by the candidates that were tried, not by those asked for."""
    found = _of(features, _tried(SOME, SOME % 3 > 0, 1.0 + SOME), weigh_success=True, per_cost=True)
    whole = found.of(np.arange(N))
    for rows in (np.array([7]), np.array([199, 3, 50])):
        for some, everyone in zip(found.of(rows), whole, strict=True):
            np.testing.assert_array_equal(some, everyone[rows])


def test_the_same_seed_and_round_learn_the_same(features: FeatureFile) -> None:
    tried = _tried(SOME, np.random.default_rng(0).random(len(SOME)) < 0.6, np.nan)
    first, again, other = (_of(features, tried, weigh_success=True, seed=s).of(SOME)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_campaign_avoids_the_region_that_fails(tmp_path: Path) -> None:
    """The best values lie where mean Z is about 42, and there all labels fail."""
    pool = list(TinyPool(TinyPool.Options(n=75)).read())
    candidates = [candidate for candidate in pool if isinstance(candidate, Candidate)]
    mean_z = TinyFeaturizer(TinyFeaturizer.Options()).featurize(candidates).values[:, 0]
    fails = {c.formula: "raises" for c, z in zip(candidates, mean_z, strict=True) if 36 < z < 48}
    assert 15 < len(fails) < 30
    asked = {}
    for weigh in (False, True):
        found = run(
            tmp_path / str(weigh),
            pool=POOL,
            surrogate=FOREST,
            acquisition={"kind": "expected_improvement", "weigh_success": weigh},
            labeler={"kind": "active_learning.testing.fakes:FakeLabeler", "fates": fails},
            requests={"poll": 1, "retries": 0},
            rounds={"initial": 12, "batch_size": 4, "max_in_flight": 4},
            stopping={"any": [{"kind": "labels", "max": 20}]},
        )
        chosen = [r.formula for r in found.facts.requests if r.arm is Arm.CHOSEN]
        asked[weigh] = sum(formula in fails for formula in chosen) / len(chosen)
    assert asked[False] > 0.25
    assert asked[True] < 0.6 * asked[False]
