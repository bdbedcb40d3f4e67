"""Hyper-parameters: which options of a surrogate predict held-out labels best. Budgeted, and resumed after a kill.

Optuna's tree-structured Parzen estimator proposes; each proposal is judged by cross-validation on the same folds.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from active_learning.domain.models import Surrogate
from active_learning.errors import ContractError
from active_learning.learning.validation import cross_validated, fold_of_each, metrics_of

__all__ = ["SearchResult", "search"]

Floats = NDArray[np.float64]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Parameters
    ----------
    settings : the best options; empty if nothing beat those that the campaign file gives
    error : cross-validated with them: root mean squared error in the target's unit, or the log loss of classes
    given_error : the same with the options of the campaign file
    n_trials : settings that were judged
    seconds : that took
    """

    settings: Settings
    error: float
    given_error: float
    n_trials: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the parameters."""
        return {
            "settings": dict(self.settings),
            "error": self.error,
            "given_error": self.given_error,
            "n_trials": self.n_trials,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class _Trial:
    settings: Settings
    error: float
    seconds: float


def search(
    build: Callable[[Settings], Surrogate],
    space: Mapping[str, tuple[Any, ...]],
    X: Floats,
    y: Floats,
    *,
    n_folds: int,
    seconds: float,
    n_trials: int | None,
    seed: int,
    log: Path,
    about: Any = None,
    clock: Callable[[], float] = time.perf_counter,
) -> SearchResult:
    """Look for better options until the time, the trials or the settings are used up.

    Every trial is noted in `log` as soon as it is judged: a search that was killed goes on from there, with the same
    proposals, and its time counts.

    Parameters
    ----------
    build : the surrogate with some options changed; with none, as the campaign file has it
    space : option -> values worth trying, see `active_learning.domain.models.HasSettings`
    X : (n_labels, n_features)
    y : (n_labels,)
    seconds : a trial that was begun is finished
    n_trials : at most as many, the given options among them; None for no limit
    seed : of folds, fits and proposals
    log : a file of this search; one that belongs to other data, settings or another `about` is begun anew
    about : what else the errors depend on, such as the options that are not searched for (a JSON value)

    Raises
    ------
    ContractError
        If there are fewer than two labels a fold, or the given options predict nothing finite.
    """
    if len(y) < 2 * n_folds:
        raise ContractError(f"a search with {n_folds} folds needs {2 * n_folds} labels, got {len(y)}")
    key = _key([{name: list(values) for name, values in space.items()}, n_folds, seed, about], X, y)
    trials = _read(log, key, space)
    spent = sum(trial.seconds for trial in trials)
    most = min(math.prod(len(values) for values in space.values()) + 1, n_trials or math.inf)
    while len(trials) < most and (spent < seconds or not trials):
        settings = _proposal(space, trials, seed)
        if settings is None:
            break
        began = clock()
        error = _error(build(settings), X, y, n_folds, seed)
        trials.append(_Trial(settings, error, clock() - began))
        spent += trials[-1].seconds
        _note(log, key, trials)
    given = trials[0]
    if not math.isfinite(given.error):
        raise ContractError("the surrogate with the options of the campaign file predicts nothing finite")
    best = min(trials, key=lambda trial: trial.error)
    return SearchResult(best.settings, best.error, given.error, len(trials), spent)


def _error(surrogate: Surrogate, X: Floats, y: Floats, n_folds: int, seed: int) -> float:
    # The same folds and the same luck for all settings: they are told apart by what they are.
    rng = np.random.default_rng(seed)
    prediction = cross_validated(surrogate, X, y, fold_of_each(len(y), n_folds, rng), rng=rng)
    metrics = metrics_of(y, prediction)
    return metrics["log_loss"] if prediction.probabilities is not None else metrics["rmse"]


_TRIES = 20
"""Proposals in a row that were judged before, until the next settings are taken in order."""


def _proposal(space: Mapping[str, tuple[Any, ...]], trials: list[_Trial], seed: int) -> Settings | None:
    """The next settings: first the given ones, then what Optuna proposes and was not judged before."""
    if not trials:
        return {}
    seen = {json.dumps(trial.settings, sort_keys=True) for trial in trials}
    study = _study(space, trials)
    for attempt in range(_TRIES):
        # A sampler of its own for each proposal: what it proposes depends on the trials, not on when they were run.
        entropy = np.random.SeedSequence([seed, len(trials), attempt]).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(seed=int(entropy))
        asked = study.ask()
        settings = {name: values[asked.suggest_categorical(name, _places(values))] for name, values in space.items()}
        if json.dumps(settings, sort_keys=True) not in seen:
            return settings
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
    grid = (dict(zip(space, values, strict=True)) for values in product(*space.values()))
    return next((settings for settings in grid if json.dumps(settings, sort_keys=True) not in seen), None)


def _places(values: tuple[Any, ...]) -> list[int]:
    return list(range(len(values)))


def _study(space: Mapping[str, tuple[Any, ...]], trials: list[_Trial]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(_places(values)) for name, values in space.items()
    }
    for trial in trials:
        if trial.settings and math.isfinite(trial.error):
            places = {name: space[name].index(value) for name, value in trial.settings.items()}
            study.add_trial(optuna.trial.create_trial(params=places, distributions=distributions, value=trial.error))
    return study


def _key(belongs_to: list[Any], X: Floats, y: Floats) -> str:
    digest = sha256(json.dumps(belongs_to, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(X).tobytes())
    digest.update(np.ascontiguousarray(y).tobytes())
    return digest.hexdigest()[:32]


def _read(log: Path, key: str, space: Mapping[str, tuple[Any, ...]]) -> list[_Trial]:
    if not log.is_file():
        return []
    known = json.loads(log.read_text(encoding="utf-8"))
    if known.get("key") != key:
        return []
    # A value as the space has it: JSON has made a list of a tuple.
    values = {name: {json.dumps(value): value for value in values} for name, values in space.items()}
    return [
        _Trial({name: values[name][json.dumps(v)] for name, v in t["settings"].items()}, t["error"], t["seconds"])
        for t in known["trials"]
    ]


def _note(log: Path, key: str, trials: list[_Trial]) -> None:
    """Written whole and renamed: a file that is there can be read."""
    log.parent.mkdir(parents=True, exist_ok=True)
    written = log.with_suffix(f".{os.getpid()}.part")
    rows = [{"settings": dict(t.settings), "error": t.error, "seconds": t.seconds} for t in trials]
    with written.open("w", encoding="utf-8") as file:
        json.dump({"key": key, "trials": rows}, file)
        file.flush()
        os.fsync(file.fileno())
    written.replace(log)
