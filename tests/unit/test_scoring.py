"""A pool is predicted and scored in blocks, with the same result as all at once."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_learning.domain.execution import Piece
from active_learning.domain.prediction import Prediction
from active_learning.engine import scoring
from active_learning.engine.feature_file import FeatureFile, FeatureIndex, write_features
from active_learning.engine.filling import filled
from active_learning.engine.ids import CandidateIds
from active_learning.engine.scoring import BestRows, checked_scores, predict_pool
from active_learning.engine.spreading import NeedsPrefect, Threads
from active_learning.errors import ContractError, UserError
from active_learning.store import Blobs
from active_learning.surrogates.forest import RandomForest

N = 20_000


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureFile:
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    X = np.random.default_rng(0).normal(size=(N, 5))
    ids = CandidateIds.of(f"{n:016x}" for n in range(N))
    note = write_features(ids, [X[:7], X[7:9000], X[9000:]], FeatureIndex(tuple("abcde"), {}, {}, {}), blobs)
    return FeatureFile(note, blobs)


@pytest.fixture(scope="module")
def model(features: FeatureFile) -> Any:
    X = features.rows(np.arange(60))
    return RandomForest(RandomForest.Options(n_trees=30)).fit(X, X[:, 0] * X[:, 1], rng=np.random.default_rng(1))


def test_what_was_written_in_parts_is_read_in_any_parts(features: FeatureFile) -> None:
    X = np.random.default_rng(0).normal(size=(N, 5))
    np.testing.assert_array_equal(features.X, X)
    np.testing.assert_array_equal(features.rows([3, N - 1, 5]), X[[3, N - 1, 5]])
    for size in (1_000, 8_192, N, N + 1):
        blocks = list(features.blocks(size))
        assert [start for start, _ in blocks] == list(range(0, N, size))
        np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), X)


@pytest.mark.parametrize("n_workers", [1, 3])
def test_predictions_dealt_out_in_pieces_are_those_of_the_model(
    features: FeatureFile, model: Any, n_workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model.predict(features.X)
    for least in (10, 10 * N):
        monkeypatch.setattr(scoring, "_SPREAD_FROM", least)
        monkeypatch.setattr(scoring, "BLOCK", 2048)
        with predict_pool(model, features, Threads(n_workers), tmp_path) as beliefs:
            believed = beliefs.at(np.arange(N))
            mean, std = believed.mean[:, 0], believed.std[:, 0]
            blocks = list(beliefs.blocks(7_000))
        np.testing.assert_allclose(mean, expected.mean[:, 0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(std, expected.std[:, 0], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(np.concatenate([block.mean[:, 0] for _, block in blocks]), mean)
        assert [start for start, _ in blocks] == [0, 7_000, 14_000]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_the_pieces_say_where_things_are_and_hold_no_data(
    features: FeatureFile, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_SPREAD_FROM", 10)
    monkeypatch.setattr(scoring, "BLOCK", 2048)
    seen: list[Piece] = []

    class Watching(Threads):
        def run(
            self, work: Callable[[Piece], int], pieces: Sequence[Piece], what: str, done: Callable[[int], None]
        ) -> None:
            seen.extend(pieces)
            super().run(work, pieces, what, done)

    with predict_pool(model, features, Watching(2), tmp_path):
        pass
    rows = sorted(tuple(piece["rows"]) for piece in seen)
    assert rows[0][0] == 0
    assert rows[-1][1] == N
    assert all(stop == start for (_, stop), (start, _) in pairwise(rows))
    assert all(start % scoring.BLOCK == 0 for start, _ in rows)
    assert max(len(str(piece)) for piece in seen) < 2_000


def test_a_model_that_cannot_travel_predicts_here(
    features: FeatureFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sum:
        def predict(self, X: Any) -> Prediction:
            return Prediction(X.sum(axis=1)[:, None], np.ones((len(X), 1)))

    monkeypatch.setattr(scoring, "_SPREAD_FROM", 10)
    with predict_pool(Sum(), features, NeedsPrefect("dask"), tmp_path) as beliefs:
        np.testing.assert_array_equal(beliefs.at(np.arange(N)).mean[:, 0], np.asarray(features.X).sum(axis=1))


def test_a_model_that_fails_or_repeats_itself_leaves_nothing_behind(features: FeatureFile, tmp_path: Path) -> None:
    class One:
        def predict(self, X: Any) -> Prediction:
            return Prediction(np.ones((1, 1)), np.ones((1, 1)))

    with pytest.raises(ContractError, match="the model predicts 1 candidates of 20000"):
        predict_pool(One(), features, Threads(1), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_an_error_and_no_death(features: FeatureFile, model: Any, tmp_path: Path) -> None:
    """As a full disk does, the limit lets a file be made and not be filled: a mapped one would end the process."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            predict_pool(model, features, Threads(1), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_nobody_waits_for_what_is_in_hand_when_a_piece_failed() -> None:
    in_hand, go_on = threading.Event(), threading.Event()

    def work(piece: Piece) -> int:
        if piece["n"]:
            in_hand.wait(10)
            raise OSError("no space left on device")
        in_hand.set()
        go_on.wait(10)
        return 1

    try:
        started = time.monotonic()
        with pytest.raises(OSError, match="no space left"):
            Threads(2).run(work, [{"n": n} for n in range(2)], "test", lambda _count: None)
        assert time.monotonic() - started < 5
    finally:
        go_on.set()


def test_a_failed_piece_is_raised_and_the_waiting_ones_are_dropped() -> None:
    begun: list[int] = []

    def work(piece: Piece) -> int:
        begun.append(piece["n"])
        time.sleep(0.01)
        if piece["n"] == 1:
            raise OSError("no space left on device")
        return 1

    with pytest.raises(OSError, match="no space left"):
        Threads(1).run(work, [{"n": n} for n in range(50)], "test", lambda _count: None)
    assert len(begun) < 10


def test_a_cluster_without_prefect_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"runner = 'ray' in \[execution\] is one of Prefect's task runners"):
        NeedsPrefect("ray").run(len, [{}], "test", lambda _count: None)  # type: ignore[arg-type]


@given(
    scores=st.lists(st.sampled_from([0.0, 1.0, 1.5, -2.0, 3.25]), max_size=60),
    k=st.integers(1, 12),
    size=st.integers(1, 9),
)
def test_the_best_rows_are_those_of_a_full_sort(scores: list[float], k: int, size: int) -> None:
    best, rows = BestRows(k), np.arange(len(scores)) * 3
    for start in range(0, len(scores), size):
        best.add(np.array(scores[start : start + size]), rows[start : start + size])
    expected = np.lexsort((rows, -np.array(scores)))[:k]
    assert best.rows.tolist() == (expected * 3).tolist()
    assert best.scores.tolist() == [scores[n] for n in expected]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.ones(3), r"scores have shape \(3,\); one for each of the 4 candidates"),
        (np.array([0.0, 1.0, np.nan, np.inf]), r"the score of row 2 is nan \(2 rows in all\)"),
    ],
)
def test_scores_that_no_one_can_rank_are_refused(scores: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        checked_scores(scores, 4)


def test_missing_values_are_filled_with_the_median_and_nothing_else_changes() -> None:
    X = np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan], [8.0, np.nan]])
    np.testing.assert_array_equal(filled(X), [[1.0, 0.0], [3.0, 0.0], [3.0, 0.0], [8.0, 0.0]])
    assert np.isnan(X[1, 0])
    full = np.ones((2, 2))
    assert filled(full) is full


def test_ids_are_found_by_halving() -> None:
    ids = CandidateIds.of(["0a", "0b", "ff"])
    assert (len(ids), list(ids), ids[1], list(ids[1:])) == (3, ["0a", "0b", "ff"], "0b", ["0b", "ff"])
    assert ("0b" in ids, "ref-Cu" in ids, "0bb" in ids, "" in ids, 3 in ids) == (True, False, False, False, False)
    assert ids.rows(["ff", "nobody", "0a"]).tolist() == [2, 0]
    with pytest.raises(KeyError, match="nobody"):
        ids.row("nobody")
