"""A campaign record made of invented, seeded numbers: what reports, exports and their tests are tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import Phase, RoundRecord, Verdict
from active_learning.domain.candidate import content_hash
from active_learning.domain.elements import reduced_formula
from active_learning.domain.label import Failure, FailureKind, Label
from active_learning.domain.prediction import Prediction
from active_learning.domain.request import Arm, Request, RequestState, request_id
from active_learning.domain.target import Goal, Target
from active_learning.learning.validation import metrics_of
from active_learning.testing.record_models import MadeUpModel, calibration_of, control_of, forecast_of, search_of

__all__ = ["START", "example_record"]

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
_ELEMENTS = ("Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt")
_FEATURES = ("MagpieData mean Electronegativity", "MagpieData range MendeleevNumber", "density", "vpa")
# Every candidate in row 1, 1 + _TWIN, ... relaxes to the crystal of the row before it.
_TWIN = 4
_FAILURES = (
    Failure(FailureKind.UNCONVERGED, "no relaxation within 200 steps; largest force 0.31 eV/A"),
    Failure(FailureKind.TIMEOUT, "ran longer than 600 s"),
    Failure(FailureKind.CRASHED, "exit code 1: ValueError: cell is singular"),
)


_FIRST = "first design: nearest to a k-means center"
_REASONS = {Arm.CONTROL: "control: drawn at random", Arm.TEST: "test set: represents the pool"}


@dataclass(frozen=True)
class _Asks:
    """What each round asks for beside the model's choices, and how these are made."""

    n_control: int
    n_test: int
    rules: tuple[str, ...]
    search_every: int


@dataclass
class _Draft:
    """What the rounds append to."""

    target: Target
    ids: list[str]
    formulas: list[str]
    X: NDArray[np.float64]
    truth: NDArray[np.float64]
    rng: np.random.Generator
    asks: _Asks
    classes: tuple[float, ...] = ()
    clock: datetime = START
    rounds: list[RoundRecord] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    @property
    def model(self) -> MadeUpModel:
        return MadeUpModel(self.truth, self.classes, self.rng)

    def rows_of_labels(self, *, is_test: bool) -> NDArray[np.intp]:
        test = {request.candidate_id for request in self.requests if request.arm is Arm.TEST}
        ids = [label.candidate_id for label in self.labels if (label.candidate_id in test) == is_test]
        return np.array([self.ids.index(candidate) for candidate in ids], dtype=np.intp)

    def train(self, number: int, n_picks: int) -> RoundRecord:
        rows, test = self.rows_of_labels(is_test=False), self.rows_of_labels(is_test=True)
        if number == 0 or len(rows) < 2:
            return RoundRecord(number, self.clock, len(rows), n_picks)
        believed, y = self.model.believe(rows, len(rows)), self.truth[rows]
        parts = np.sort(self.rng.dirichlet(np.linspace(4, 0.3, self.X.shape[1])))[::-1]
        pairs = zip(rows, believed.mean[:, 0], believed.std[:, 0], strict=True)
        n_chosen = n_picks - self.asks.n_control - self.asks.n_test
        return RoundRecord(
            number,
            self.clock,
            len(rows),
            n_picks,
            metrics=metrics_of(y, believed),
            out_of_fold={self.ids[r]: (float(m), float(s)) for r, m, s in pairs},
            max_std=float(believed.std.max()),
            predictions=f"predictions-{number}",
            importances=dict(zip(_names(self.X.shape[1]), map(float, parts), strict=True)),
            calibration=calibration_of(y, believed),
            test_metrics=metrics_of(self.truth[test], self.model.believe(test, len(rows))) if len(test) else {},
            forecast=forecast_of(self.target, number, max(n_chosen, 0)),
            settings=search_of(number, self.asks.search_every) if self.asks.search_every else None,
            classes=self.classes,
        )

    def choose(self, number: int, n: int) -> list[tuple[int, dict[str, Any]]]:
        requested = {request.candidate_id for request in self.requests}
        free = np.array([i for i, c in enumerate(self.ids) if c not in requested], dtype=np.intp)
        if number == 0:
            picks = free[self.rng.permutation(len(free))[:n]]
            return [(int(i), {"arm": Arm.DESIGN, "reason": _FIRST}) for i in picks]
        # A few of the free ones: the best of thousands of noisy guesses would only show the noise.
        free = np.sort(self.rng.permutation(free)[: 8 * n])
        believed = self.model.believe(free, len(self.labels))
        mean, std = believed.mean[:, 0], believed.std[:, 0]
        score = self.target.merit(mean) + std if self.target.goal.has_best else std
        order = np.argsort(-score)
        # A generator of its own: what is drawn here changes nothing else of the campaign.
        novelties = np.random.default_rng([number, len(free)]).gamma(6.0, 0.11, len(free))
        taken = [(j, Arm.CHOSEN) for j in order[:n]]
        taken += [(j, Arm.CONTROL) for j in np.sort(order[n:])[: self.asks.n_control]]
        taken += [(j, Arm.TEST) for j in np.sort(order[n:])[self.asks.n_control :][: self.asks.n_test]]
        return [
            (
                int(free[j]),
                {
                    "arm": arm,
                    "rule": self.asks.rules[i % len(self.asks.rules)] if self.asks.rules and arm is Arm.CHOSEN else "",
                    "reason": _REASONS.get(arm) or ("high score, unlike the rest" if j % 2 else "highest score"),
                    "score": float(score[j]) if arm is Arm.CHOSEN else None,
                    "mean": float(mean[j]),
                    "std": float(std[j]),
                    "novelty": float(novelties[j]),
                },
            )
            for i, (j, arm) in enumerate(taken)
        ]

    def run(self, row: int, number: int, notes: Mapping[str, Any], *, failure_rate: float) -> None:
        """Request one candidate, and once more if it failed."""
        for attempt in (1, 2):
            failure = None
            if self.rng.random() < failure_rate * (1 if attempt == 1 else 2):
                failure = _FAILURES[int(self.rng.integers(len(_FAILURES)))]
            self._attempt(row, number, notes, attempt, failure)
            if failure is None:
                return

    def _attempt(self, row: int, number: int, notes: Mapping[str, Any], attempt: int, failure: Failure | None) -> None:
        candidate, seconds = self.ids[row], float(self.rng.lognormal(1.0, 0.5))
        start, self.clock = self.clock, self.clock + timedelta(seconds=seconds + 1.5)
        name = request_id(candidate, attempt)
        self.requests.append(
            Request(
                candidate,
                self.formulas[row],
                attempt,
                number,
                RequestState.SUCCEEDED if failure is None else RequestState.FAILED,
                job_name=name,
                handle=str(4000 + len(self.requests)),
                failure=failure,
                planned_at=start,
                submitted_at=start,
                settled_at=self.clock,
                cores=2,
                queued_s=1.0,
                ran_s=(self.clock - start).total_seconds() - 1.0,
                **notes,
            )
        )
        if failure is None:
            key = f"{self.formulas[row]}|{row - 1 if row % _TWIN == 1 else row}"
            self.labels.append(
                Label(
                    candidate,
                    self.target.property,
                    float(self.truth[row]),
                    self.target.unit,
                    self.clock,
                    "emt",
                    request_id=name,
                    provenance={"crystal_key": key, "wall_s": seconds, "code": "ase 3.29"},
                )
            )


def _names(n: int) -> tuple[str, ...]:
    return (_FEATURES + tuple(f"MagpieData mode property {i}" for i in range(n)))[:n]


def _draft(target: Target, asks: _Asks, n_candidates: int, n_features: int, n_classes: int, seed: int) -> _Draft:
    rng = np.random.default_rng(seed)
    formulas = []
    for _ in range(n_candidates):
        symbols = rng.choice(_ELEMENTS, size=2, replace=False)
        formulas.append(reduced_formula({str(s): float(rng.integers(1, 4)) for s in symbols}))
    ids = sorted(content_hash([seed, i, formula]) for i, formula in enumerate(formulas))
    latent = rng.normal(size=(n_candidates, 3)) + 2.0 * rng.integers(0, 3, size=(n_candidates, 1)) * [1.0, -0.4, 0.2]
    X = latent @ rng.normal(size=(3, n_features)) + 0.3 * rng.normal(size=(n_candidates, n_features))
    truth = 0.12 * np.sin(latent[:, 0]) + 0.07 * latent[:, 1] + 0.03 * latent[:, 2] ** 2 - 0.1
    for twin in range(1, n_candidates, _TWIN):
        formulas[twin], X[twin], truth[twin] = formulas[twin - 1], X[twin - 1] + 0.01, truth[twin - 1] + 1e-4
    classes: tuple[float, ...] = ()
    if target.goal is Goal.CLASSIFY:
        truth = np.searchsorted(np.quantile(truth, np.arange(1, n_classes) / n_classes), truth).astype(np.float64)
        classes = tuple(map(float, range(n_classes)))
    return _Draft(target, ids, formulas, X, truth, rng, asks, classes)


def example_record(
    *,
    goal: Goal = Goal.MINIMIZE,
    n_candidates: int = 400,
    n_features: int = 24,
    n_rounds: int = 6,
    initial: int = 12,
    batch_size: int = 6,
    failure_rate: float = 0.12,
    in_flight: int = 0,
    is_stopped: bool = True,
    n_control: int = 0,
    n_test: int = 0,
    rules: tuple[str, ...] = (),
    search_every: int = 0,
    n_classes: int = 2,
    seed: int = 7,
) -> CampaignRecord:
    """A believable campaign on alloys' formation energies, or on classes; the same arguments give the same record.

    Parameters
    ----------
    n_rounds : rounds that chose something, the first design included; 0 for a campaign that has only its pool
    failure_rate : probability that a first attempt fails; each failure is tried once more
    in_flight : requests of the last round that still run
    is_stopped : with a verdict, and a last round that trained on everything and chose nothing
    n_control, n_test : candidates of the control and of the test set in each round but the first
    rules : those that proposed the model's choices, by turns
    search_every : rounds from one search of settings to the next; 0 for none
    n_classes : if the goal is to classify
    """
    bounds = (-0.2, -0.1) if goal is Goal.WITHIN else (None, None)
    what = ("stability_class", "") if goal is Goal.CLASSIFY else ("formation_energy_per_atom", "eV/atom")
    target = Target(what[0], goal, what[1], *bounds)
    asks = _Asks(n_control, n_test, rules, search_every)
    draft = _draft(target, asks, n_candidates, n_features, n_classes, seed)
    for number in range(n_rounds):
        picks = draft.choose(number, initial if number == 0 else batch_size)
        draft.rounds.append(draft.train(number, len(picks)))
        for position, (row, notes) in enumerate(picks):
            if number == n_rounds - 1 and position >= len(picks) - in_flight:
                draft.requests.append(_running(draft, row, number, notes))
            else:
                draft.run(row, number, notes, failure_rate=failure_rate)
    if is_stopped and n_rounds:
        draft.rounds.append(draft.train(n_rounds, 0))
    prediction = None
    if any(r.predictions for r in draft.rounds):
        prediction = draft.model.believe(np.arange(n_candidates), len(draft.labels))
    return _record(draft, prediction, seed, is_stopped=is_stopped and bool(n_rounds))


def _running(draft: _Draft, row: int, number: int, notes: Mapping[str, Any]) -> Request:
    return Request(
        draft.ids[row],
        draft.formulas[row],
        1,
        number,
        RequestState.RUNNING,
        job_name=request_id(draft.ids[row], 1),
        handle="5000",
        planned_at=draft.clock,
        submitted_at=draft.clock,
        **notes,
    )


def _record(draft: _Draft, prediction: Prediction | None, seed: int, *, is_stopped: bool) -> CampaignRecord:
    verdict = Verdict(
        "no_improvement",
        "the best label has not improved for 4 rounds",
        {"rounds": 4, "best": [-0.312, -0.312, -0.312, -0.312]},
    )
    spec = {
        "name": "fcc-alloys",
        "seed": seed,
        "target": {"property": draft.target.property, "goal": str(draft.target.goal)},
        "pool": {"kind": "prototypes", "elements": list(_ELEMENTS)},
        "surrogate": {"kind": "random_forest", "n_trees": 300},
        "rounds": {"initial": 12, "batch_size": 6},
    }
    return CampaignRecord(
        name="fcc-alloys",
        seed=seed,
        target=draft.target,
        phase=Phase.STOPPED if is_stopped else Phase.ACTIVE,
        verdict=verdict if is_stopped else None,
        created_at=START,
        now=draft.clock + timedelta(seconds=30),
        spec=spec,
        versions={"motherlode": "0.1.0", "python": "3.11.7", "scikit-learn": "1.9.1", "ase": "3.29.0"},
        candidate_ids=tuple(draft.ids),
        formulas=tuple(draft.formulas),
        origins=tuple(f"AB_cP2_221_a_b (ClCs): {formula}" for formula in draft.formulas),
        X=draft.X.astype(np.float32),
        feature_names=_names(draft.X.shape[1]),
        read=len(draft.ids) + 47,
        dropped={"duplicate": 31, "two atoms closer than 1.2 Å": 14},
        not_featurized={
            content_hash(["bad", seed, i]): "no covalent radius of an element of the compound" for i in range(2)
        },
        rounds=tuple(draft.rounds),
        requests=tuple(draft.requests),
        labels=tuple(draft.labels),
        prediction=prediction,
        control=control_of(draft.target, draft.requests, {x.candidate_id: x.value for x in draft.labels}),
    )
