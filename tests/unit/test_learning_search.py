"""Hyper-parameters are found within a budget, and a search that was killed goes on where it was."""

from __future__ import annotations

import json
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError
from active_learning.learning.search import SearchResult, search
from active_learning.learning.validation import cross_validated, fold_of_each, metrics_of
from active_learning.surrogates.forest import RandomForest

Floats = NDArray[np.float64]

SPACE: Mapping[str, tuple[Any, ...]] = {"shift": (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), "hidden": ((4,), (4, 4), None)}
GIVEN = {"shift": 3.0, "hidden": None}


@dataclass
class Shifted:
    """Predicts the mean of the labels and `shift`: the larger the shift, the larger the error."""

    settings: Mapping[str, Any]
    fits: list[Mapping[str, Any]]
    slow: float = 0.0

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> Shifted:
        self.fits.append(self.settings)
        self.mean = float(y.mean())
        time.sleep(self.slow)
        return self

    def predict(self, X: Floats) -> Prediction:
        options = GIVEN | dict(self.settings)
        worse = 0.1 * len(options["hidden"] or ())
        return Prediction(np.full((len(X), 1), self.mean + options["shift"] + worse), np.ones((len(X), 1)))


@dataclass
class Bench:
    """A search whose surrogate notes what it is asked for, and whose clock ticks once for each look at it."""

    log: Path
    fits: list[Mapping[str, Any]] = field(default_factory=list)
    tick: float = 0.0
    _now: float = 0.0

    def clock(self) -> float:
        self._now += self.tick
        return self._now

    def build(self, settings: Mapping[str, Any]) -> Shifted:
        return Shifted(settings, self.fits)

    def search(self, **changes: Any) -> SearchResult:
        X = np.random.default_rng(0).normal(size=(12, 2))
        options: dict[str, Any] = {
            "space": SPACE,
            "X": X,
            "y": X[:, 0],
            "n_folds": 3,
            "seconds": 1e9,
            "n_trials": None,
            "seed": 4,
            "log": self.log,
            "clock": self.clock,
        } | changes
        return search(self.build, **options)

    @property
    def judged(self) -> list[Mapping[str, Any]]:
        """The settings that were judged, in order; each is fitted once a fold."""
        assert [self.fits[n - n % 3] for n in range(len(self.fits))] == self.fits
        return self.fits[::3]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "search" / "round-2.json")


def _as_text(settings: Any) -> str:
    return json.dumps(settings, sort_keys=True)


def test_without_a_limit_every_setting_is_judged_once_and_the_best_is_found(bench: Bench) -> None:
    found = bench.search()
    judged = [_as_text(settings) for settings in bench.judged]
    assert judged[0] == "{}", "the given options come first"
    assert len(judged) == len(set(judged)) == found.n_trials == 6 * 3 + 1
    assert found.settings == {"shift": 0.0, "hidden": None}
    assert found.error < found.given_error


def test_errors_are_cross_validated_on_the_same_folds(bench: Bench) -> None:
    X = np.random.default_rng(0).normal(size=(12, 2))
    found = bench.search(n_trials=1)
    rng = np.random.default_rng(4)
    prediction = cross_validated(Shifted({}, []), X, X[:, 0], fold_of_each(12, 3, rng), rng=rng)
    assert found.error == found.given_error == metrics_of(X[:, 0], prediction)["rmse"]
    assert found.settings == {}


def test_the_given_options_stay_if_nothing_beats_them(bench: Bench) -> None:
    found = bench.search(space={"shift": (4.0, 8.0)})
    assert (found.settings, found.error, found.n_trials) == ({}, found.given_error, 3)


@pytest.mark.parametrize("n_trials", [1, 2, 7])
def test_no_more_settings_are_judged_than_allowed(bench: Bench, n_trials: int) -> None:
    assert bench.search(n_trials=n_trials).n_trials == len(bench.judged) == n_trials


def test_a_trial_that_was_begun_in_time_is_finished(bench: Bench) -> None:
    bench.tick = 2.0
    found = bench.search(seconds=5.0)
    assert (found.n_trials, found.seconds) == (3, 6.0)


def test_the_given_options_are_judged_even_without_time(bench: Bench) -> None:
    bench.tick = 2.0
    assert bench.search(seconds=0.0).n_trials == 1


def test_a_search_that_is_over_is_not_run_again(bench: Bench) -> None:
    first = bench.search(n_trials=5)
    n_fits = len(bench.fits)
    assert bench.search(n_trials=5) == first
    assert len(bench.fits) == n_fits


def test_the_time_of_a_search_that_was_killed_counts(bench: Bench) -> None:
    bench.tick = 2.0
    bench.search(n_trials=2)
    found = bench.search(seconds=7.0)
    assert (found.n_trials, found.seconds, len(bench.judged)) == (4, 8.0, 4)


@pytest.mark.parametrize("n_before", [1, 3, 9, 18])
def test_a_search_in_parts_makes_the_proposals_of_one_that_was_not_interrupted(
    bench: Bench, tmp_path: Path, n_before: int
) -> None:
    whole = Bench(tmp_path / "whole.json")
    expected = whole.search()
    bench.search(n_trials=n_before)
    found = bench.search()
    assert bench.judged == whole.judged
    assert (found.settings, found.error, found.n_trials) == (expected.settings, expected.error, expected.n_trials)


def test_another_seed_proposes_otherwise(bench: Bench, tmp_path: Path) -> None:
    other = Bench(tmp_path / "other.json")
    bench.search(n_trials=8)
    other.search(n_trials=8, seed=5)
    assert bench.judged != other.judged


def test_proposals_tend_to_the_better_settings(bench: Bench) -> None:
    values = tuple(float(v) for v in np.linspace(0, 8, 41))
    bench.search(space={"shift": values, "hidden": tuple((1,) * n for n in range(41))}, n_trials=40)
    shifts = [settings["shift"] for settings in bench.judged[1:]]
    assert np.mean(shifts[20:]) < np.mean(shifts[:10])


@pytest.mark.parametrize(
    "change",
    [
        {"y": np.arange(12.0)},
        {"X": np.zeros((12, 2))},
        {"seed": 5},
        {"n_folds": 4},
        {"space": {"shift": (0.0, 1.0)}},
        {"about": {"kind": "another"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_log_of_another_search_is_begun_anew(bench: Bench, change: dict[str, Any]) -> None:
    bench.search(n_trials=3)
    n_fits = len(bench.fits)
    bench.search(n_trials=1, **change)
    assert bench.fits[n_fits] == {}
    bench.search(n_trials=1, **change)
    assert len(bench.fits) == n_fits + change.get("n_folds", 3)


def test_what_is_written_is_a_whole_file_and_no_other(bench: Bench) -> None:
    bench.search(n_trials=4)
    assert [path.name for path in bench.log.parent.iterdir()] == ["round-2.json"]
    assert len(json.loads(bench.log.read_text())["trials"]) == 4


def test_fewer_than_two_labels_a_fold_are_refused(bench: Bench) -> None:
    with pytest.raises(ContractError, match="3 folds needs 6 labels, got 5"):
        bench.search(X=np.zeros((5, 1)), y=np.zeros(5))


def test_options_whose_error_is_beyond_all_numbers_are_refused(bench: Bench) -> None:
    with np.errstate(over="ignore"), pytest.raises(ContractError, match="predicts nothing finite"):
        bench.search(y=1e300 * (-1.0) ** np.arange(12), n_trials=2)


def test_settings_whose_error_is_beyond_all_numbers_are_passed_by(bench: Bench) -> None:
    with np.errstate(over="ignore"):
        found = bench.search(space={"shift": (0.0, 1e300)})
    assert (found.settings, found.n_trials) == ({"shift": 0.0}, 3)


def test_classes_are_judged_by_their_log_loss(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(30, 3))
    y = (X[:, 0] > 0).astype(np.float64)
    forest = RandomForest(RandomForest.Options(n_trees=8, n_jobs=1))
    found = search(
        lambda settings: forest.with_settings(settings).classifier(),
        forest.settings,
        X,
        y,
        n_folds=3,
        seconds=1e9,
        n_trials=3,
        seed=0,
        log=tmp_path / "log.json",
    )
    rng = np.random.default_rng(0)
    prediction = cross_validated(forest.classifier(), X, y, fold_of_each(30, 3, rng), rng=rng)
    assert found.given_error == metrics_of(y, prediction)["log_loss"]
    assert found.error <= found.given_error


def test_values_that_json_knows_otherwise_survive_a_resumption(tmp_path: Path) -> None:
    """It gives tuples back as lists."""
    for n_trials in (2, 4):
        bench = Bench(tmp_path / "log.json")
        found = bench.search(n_trials=n_trials)
    assert found.n_trials == 4
    assert all(isinstance(s.get("hidden"), tuple | None) for s in bench.judged)


class _Slow(Bench):
    """Notes in a file what it begins to judge."""

    def build(self, settings: Mapping[str, Any]) -> Shifted:
        with (self.log.parent / "begun.txt").open("a") as file:
            print(_as_text(settings), file=file, flush=True)
        return Shifted(settings, self.fits, slow=0.01)


def _search_slowly(folder: Path) -> None:
    found = _Slow(folder / "log.json").search(n_trials=14)
    (folder / "found.txt").write_text(f"{dict(found.settings)} {found.error} {found.n_trials}")


def _process(folder: Path) -> BaseProcess:
    with warnings.catch_warnings():
        # Newer Pythons warn of forking beside threads; the copy uses none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = get_context("fork").Process(target=_search_slowly, args=(folder,))
        process.start()
    return process


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_search_that_is_killed_goes_on_and_judges_nothing_twice(tmp_path: Path) -> None:
    log = tmp_path / "log.json"

    def n_noted() -> int:
        return len(json.loads(log.read_text())["trials"]) if log.is_file() else 0

    kills = (1, 3, 6)
    for n in kills:
        process = _process(tmp_path)
        _until(lambda n=n: n_noted() >= n)  # type: ignore[misc]
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "found.txt").exists()
    last = _process(tmp_path)
    last.join()
    assert last.exitcode == 0

    whole = Bench(tmp_path / "whole.json")
    expected = whole.search(n_trials=14)
    assert (tmp_path / "found.txt").read_text() == f"{dict(expected.settings)} {expected.error} 14"
    noted = [_as_text(t["settings"]) for t in json.loads(log.read_text())["trials"]]
    assert noted == [_as_text(s) for s in whole.judged]
    # What was under way when the process died is begun once more; nothing that was noted is.
    begun = (tmp_path / "begun.txt").read_text().splitlines()
    assert list(dict.fromkeys(begun)) == noted
    assert len(begun) <= len(noted) + len(kills)
