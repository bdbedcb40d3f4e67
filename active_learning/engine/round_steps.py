"""The steps that learn: open a round, conclude, fail."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.campaign import Phase, Progress, RoundRecord, Verdict
from active_learning.domain.label import Label
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import Scoring
from active_learning.domain.request import Purpose, Request
from active_learning.domain.seeds import rng_for
from active_learning.engine.deciding import MIN_LABELS
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.learning import Learned, learn
from active_learning.engine.observing import progress_of, target_labels, unavailable, with_fresh_model
from active_learning.engine.request_steps import new_request
from active_learning.engine.workbench import Workbench
from active_learning.errors import StaleVersion
from active_learning.selection.design import representatives
from active_learning.store import Facts, Writer

__all__ = ["conclude", "fail", "judge_again", "open_round"]

Rows = NDArray[np.intp]


def open_round(bench: Workbench, number: int, size: int) -> str:
    """Choose up to `size` candidates and plan them; in round 0 without a model.

    Everything is computed on the facts of one version of the campaign and written only if it is still that version.
    """
    facts = bench.store.read()
    features = bench.features(facts)
    progress = progress_of(facts, bench.kit.target, bench.kit.settings, features.row_of)
    size = _still_wanted(bench, facts, progress, number, size)
    available = _available(bench, facts, features)
    if number == 0:
        return _first_design(bench, facts, features, available, size)
    learned = _learn(bench, facts, features, number)
    max_std = float(learned.prediction.std[available, 0].max()) if len(available) else None
    if max_std is not None and bench.kit.rules.verdict(with_fresh_model(progress, max_std)) is not None:
        record = _record(bench, learned, number, 0, max_std)
        with bench.write(expect=facts.version) as writer:
            writer.open_round(record)
        return f"round {number}: trained on {len(learned.y)} labels, nothing more to ask"
    requests = _choose(bench, facts, features, learned, available, number, size)
    record = _record(bench, learned, number, len(requests), max_std)
    with bench.write(expect=facts.version) as writer:
        writer.open_round(record)
        writer.plan(requests)
    return f"round {number}: trained on {len(learned.y)} labels, chose {len(requests)}"


def _still_wanted(bench: Workbench, facts: Facts, progress: Progress, number: int, size: int) -> int:
    """How many of `size` may be chosen. Since the decision a person may have paused the campaign or told labels."""
    budget = bench.kit.rules.budget(progress)
    size = min(size, progress.n_available, size if budget is None else budget)
    if facts.phase is not Phase.ACTIVE or len(facts.rounds) != number or size < 1:
        raise StaleVersion(f"campaign '{facts.name}' moved on since round {number} was decided")
    return size


def _available(bench: Workbench, facts: Facts, features: FeatureFile) -> Rows:
    blocked = unavailable(facts, bench.kit.target, bench.kit.settings)
    free = np.ones(len(features.ids), dtype=bool)
    free[[features.row_of[candidate] for candidate in blocked if candidate in features.row_of]] = False
    return np.flatnonzero(free)


def _plan(bench: Workbench, facts: Facts, features: FeatureFile, rows: Rows, number: int, reason: str) -> list[Request]:
    ids = [features.ids[row] for row in rows]
    attempts = dict.fromkeys(ids, 0)
    for request in facts.requests:
        if request.candidate_id in attempts:
            attempts[request.candidate_id] = max(attempts[request.candidate_id], request.attempt)
    formulas = bench.pool(facts).formulas(ids)
    return [
        new_request(
            facts.name,
            candidate,
            formula,
            round_number=number,
            purpose=Purpose.CANDIDATE,
            reason=reason,
            attempt=attempts[candidate] + 1,
        )
        for candidate, formula in zip(ids, formulas, strict=True)
    ]


def _first_design(bench: Workbench, facts: Facts, features: FeatureFile, available: Rows, size: int) -> str:
    rng = rng_for(bench.kit.spec.seed, 0, "design")
    chosen = available[representatives(np.asarray(features.X[available]), size, rng=rng)]
    requests = _plan(bench, facts, features, chosen, 0, "first design: k-means representative of the pool")
    n_labels = len(_known(bench, facts, features))
    record = RoundRecord(0, bench.clock.now(), n_labels, len(requests))
    with bench.write(expect=facts.version) as writer:
        writer.open_round(record)
        writer.plan(requests)
    return f"round 0: first design of {len(requests)}"


def _known(bench: Workbench, facts: Facts, features: FeatureFile) -> tuple[Label, ...]:
    """The labels to learn from. A person may have told one of a candidate that has no features."""
    return tuple(x for x in target_labels(facts, bench.kit.target) if x.candidate_id in features.row_of)


def _learn(bench: Workbench, facts: Facts, features: FeatureFile, number: int) -> Learned:
    labels = _known(bench, facts, features)
    return learn(bench.kit.surrogate, features, labels, seed=bench.kit.spec.seed, round_number=number)


def _choose(
    bench: Workbench,
    facts: Facts,
    features: FeatureFile,
    learned: Learned,
    available: Rows,
    number: int,
    size: int,
) -> list[Request]:
    """Score what may be chosen, take a batch, and say of each why."""
    kit, prediction = bench.kit, learned.prediction
    X = np.asarray(features.X[available])
    best = float(learned.y[np.argmax(kit.target.merit(learned.y))]) if kit.target.goal.has_best else None
    scoring = Scoring(
        target=kit.target,
        best=best,
        n=size,
        n_candidates=len(X),
        load_X=lambda: X,
        X_labeled=learned.X,
        y_labeled=learned.y,
        model=learned.model,
        rng=rng_for(kit.spec.seed, number, "acquisition"),
    )
    believed = Prediction(prediction.mean[available], prediction.std[available])
    scores = np.asarray(kit.acquisition.score(believed, scoring), dtype=np.float64)
    pending = [r.candidate_id for r in facts.requests if r.is_open and r.candidate_id in features.row_of]
    picks = kit.selection.choose(
        scores,
        X,
        size,
        X_pending=np.asarray(features.X[[features.row_of[candidate] for candidate in pending]]),
        rng=rng_for(kit.spec.seed, number, "selection"),
    )
    ranks = np.empty(len(scores), dtype=np.intp)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    plans = _plan(bench, facts, features, available[picks], number, "")
    return [
        _with_belief(
            request,
            float(scores[pick]),
            float(believed.mean[pick, 0]),
            float(believed.std[pick, 0]),
            f"{kit.spec.acquisition.kind}: rank {ranks[pick]} of {len(scores):,}, taken by {kit.spec.selection.kind}",
        )
        for request, pick in zip(plans, picks, strict=True)
    ]


def _with_belief(request: Request, score: float, mean: float, std: float, reason: str) -> Request:
    return replace(request, score=score, mean=mean, std=std, reason=reason)


def _record(bench: Workbench, learned: Learned, number: int, n_picks: int, max_std: float | None) -> RoundRecord:
    beliefs = np.concatenate([learned.prediction.mean[:, :1], learned.prediction.std[:, :1]], axis=1)

    def write(file: BinaryIO) -> None:
        np.lib.format.write_array(file, beliefs, allow_pickle=False)

    return RoundRecord(
        number=number,
        opened_at=bench.clock.now(),
        n_labels=len(learned.y),
        n_picks=n_picks,
        metrics=learned.metrics,
        out_of_fold=learned.out_of_fold,
        max_std=max_std,
        predictions=bench.blobs.put("predictions", ".npy", write),
        importances=learned.importances,
    )


def _still_active(bench: Workbench) -> Facts:
    facts = bench.store.read()
    if facts.phase is not Phase.ACTIVE:
        raise StaleVersion(f"campaign '{facts.name}' is {facts.phase} meanwhile")
    return facts


def conclude(bench: Workbench, verdict: Verdict) -> str:
    """Train on all labels for the last time, unless the newest round already did, and stop."""
    facts = _still_active(bench)
    features = bench.features(facts)
    labels = _known(bench, facts, features)
    record = None
    is_fresh = bool(facts.rounds) and facts.rounds[-1].n_picks == 0 and facts.rounds[-1].n_labels == len(labels)
    if len(labels) >= MIN_LABELS and not is_fresh:
        number = len(facts.rounds)
        learned = _learn(bench, facts, features, number)
        available = _available(bench, facts, features)
        max_std = float(learned.prediction.std[available, 0].max()) if len(available) else None
        record = _record(bench, learned, number, 0, max_std)
    with bench.write(expect=facts.version) as writer:
        if record is not None:
            writer.open_round(record)
        writer.set_phase(Phase.STOPPED, verdict)
    return f"stopped: {verdict.reason}"


def judge_again(bench: Workbench, facts: Facts, writer: Writer) -> None:
    """The rules changed: a campaign that had ended goes on if none says stop, or is stopped by another than before."""
    if facts.phase not in (Phase.STOPPED, Phase.FAILED) or facts.features is None:
        return
    progress = progress_of(facts, bench.kit.target, bench.kit.settings, bench.features(facts).row_of)
    verdict = bench.kit.rules.verdict(progress)
    if verdict is None:
        writer.set_phase(Phase.ACTIVE)
    elif facts.verdict is not None and facts.phase is Phase.STOPPED and verdict.kind != facts.verdict.kind:
        writer.set_phase(Phase.STOPPED, verdict)


def fail(bench: Workbench, reason: str) -> str:
    """Note that the campaign cannot go on."""
    facts = _still_active(bench)
    with bench.write(expect=facts.version) as writer:
        writer.set_phase(Phase.FAILED, Verdict("failed", reason))
    return f"failed: {reason}"
