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
from active_learning.domain.metrics import regression_metrics
from active_learning.domain.prediction import Prediction
from active_learning.domain.request import Request, RequestState, request_id
from active_learning.domain.target import Goal, Target

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


@dataclass
class _Draft:
    """What the rounds append to."""

    target: Target
    ids: list[str]
    formulas: list[str]
    X: NDArray[np.float64]
    truth: NDArray[np.float64]
    rng: np.random.Generator
    clock: datetime = START
    rounds: list[RoundRecord] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def believe(self, rows: NDArray[np.intp], n_labels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A made-up model whose errors shrink with labels and whose stds are about right."""
        scale = 0.14 / np.sqrt(1 + n_labels / 15)
        std = scale * self.rng.uniform(0.5, 1.6, len(rows))
        return self.truth[rows] + std * self.rng.normal(size=len(rows)), std

    def train(self, number: int, n_picks: int) -> RoundRecord:
        if number == 0 or len(self.labels) < 2:
            return RoundRecord(number, self.clock, len(self.labels), n_picks)
        rows = np.array([self.ids.index(label.candidate_id) for label in self.labels])
        mean, std = self.believe(rows, len(rows))
        y = np.array([label.value for label in self.labels])
        parts = np.sort(self.rng.dirichlet(np.linspace(4, 0.3, self.X.shape[1])))[::-1]
        return RoundRecord(
            number,
            self.clock,
            len(rows),
            n_picks,
            metrics=regression_metrics(y, mean, std),
            out_of_fold={self.ids[r]: (float(m), float(s)) for r, m, s in zip(rows, mean, std, strict=True)},
            max_std=float(std.max()),
            predictions=f"predictions-{number}",
            importances=dict(zip(_names(self.X.shape[1]), map(float, parts), strict=True)),
        )

    def choose(self, number: int, n: int) -> list[tuple[int, dict[str, Any]]]:
        requested = {request.candidate_id for request in self.requests}
        free = np.array([i for i, c in enumerate(self.ids) if c not in requested], dtype=np.intp)
        if number == 0:
            picks = free[self.rng.permutation(len(free))[:n]]
            return [(int(i), {"reason": "first design: nearest to a k-means center"}) for i in picks]
        # A few of the free ones: the best of thousands of noisy guesses would only show the noise.
        free = np.sort(self.rng.permutation(free)[: 8 * n])
        mean, std = self.believe(free, len(self.labels))
        score = self.target.merit(mean) + std if self.target.goal.has_best else std
        best = np.argsort(-score)[:n]
        return [
            (
                int(free[j]),
                {
                    "reason": "high score, unlike the rest of the batch" if j % 2 else "highest score",
                    "score": float(score[j]),
                    "mean": float(mean[j]),
                    "std": float(std[j]),
                },
            )
            for j in best
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


def _draft(target: Target, n_candidates: int, n_features: int, seed: int) -> _Draft:
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
    return _Draft(target, ids, formulas, X, truth, rng)


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
    seed: int = 7,
) -> CampaignRecord:
    """A believable campaign on alloys' formation energies; the same arguments give the same record.

    Parameters
    ----------
    n_rounds : rounds that chose something, the first design included; 0 for a campaign that has only its pool
    failure_rate : probability that a first attempt fails; each failure is tried once more
    in_flight : requests of the last round that still run
    is_stopped : with a verdict, and a last round that trained on everything and chose nothing
    """
    bounds = (-0.2, -0.1) if goal is Goal.WITHIN else (None, None)
    target = Target("formation_energy_per_atom", goal, "eV/atom", *bounds)
    draft = _draft(target, n_candidates, n_features, seed)
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
        mean, std = draft.believe(np.arange(n_candidates), len(draft.labels))
        prediction = Prediction(mean[:, None], std[:, None])
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
    )
