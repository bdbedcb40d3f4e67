"""The steps that learn: open a round, conclude, fail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.campaign import Phase, Progress, RoundRecord, Verdict
from active_learning.domain.label import Label
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import Batch, ScoresByRow, Scoring
from active_learning.domain.request import Purpose, Request
from active_learning.domain.seeds import rng_for
from active_learning.engine.deciding import MIN_LABELS, needs_design
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.learning import Learned, learn
from active_learning.engine.observing import progress_of, target_labels, unavailable, with_fresh_model
from active_learning.engine.request_steps import new_request
from active_learning.engine.scoring import PROMISING, Beliefs, BestRows, checked_scores, filled, predict_pool
from active_learning.engine.workbench import Workbench
from active_learning.errors import StaleVersion
from active_learning.selection.design import representatives
from active_learning.store import Facts, Writer

__all__ = ["conclude", "fail", "judge_again", "open_round"]

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]

DESIGN_ROWS = 50_000
"""Of a larger pool, the first design represents this many, drawn at random: k-means on all would take minutes."""


def open_round(bench: Workbench, number: int, size: int) -> str:
    """Choose up to `size` candidates and plan them; in round 0 without a model.

    Everything is computed on the facts of one version of the campaign and written only if it is still that version.
    """
    facts = bench.store.read()
    features = bench.features(facts)
    progress = progress_of(facts, bench.kit.target, bench.kit.settings, features.ids)
    size = _still_wanted(bench, facts, progress, number, size)
    available = _available(bench, facts, features)
    if needs_design(number, progress.n_labels, bench.kit.settings):
        return _first_design(bench, facts, features, available, size)
    learned = _learn(bench, facts, features, number)
    with predict_pool(learned.model, features, bench.spread, bench.workdir / "files") as beliefs:
        scored = _score(bench, features, learned, beliefs, available, number, size)
        if bench.kit.rules.verdict(with_fresh_model(progress, scored.max_std)) is not None:
            record = _record(bench, learned, beliefs, number, 0, scored.max_std)
            with bench.write(expect=facts.version) as writer:
                writer.open_round(record)
            return f"round {number}: trained on {len(learned.y)} labels, nothing more to ask"
        requests = _choose(bench, facts, features, scored, number, size)
        record = _record(bench, learned, beliefs, number, len(requests), scored.max_std)
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
    free[features.ids.rows(blocked)] = False
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
    if len(available) > DESIGN_ROWS:
        available = np.sort(rng.choice(available, DESIGN_ROWS, replace=False))
    chosen = available[representatives(filled(features.rows(available)), size, rng=rng)]
    requests = _plan(bench, facts, features, chosen, 0, "first design: k-means representative of the pool")
    n_labels = len(_known(bench, facts, features))
    record = RoundRecord(0, bench.clock.now(), n_labels, len(requests))
    with bench.write(expect=facts.version) as writer:
        writer.open_round(record)
        writer.plan(requests)
    return f"round 0: first design of {len(requests)}"


def _known(bench: Workbench, facts: Facts, features: FeatureFile) -> tuple[Label, ...]:
    """The labels to learn from. A person may have told one of a candidate that has no features."""
    return tuple(x for x in target_labels(facts, bench.kit.target) if x.candidate_id in features.ids)


def _learn(bench: Workbench, facts: Facts, features: FeatureFile, number: int) -> Learned:
    labels = _known(bench, facts, features)
    surrogate = bench.kit.surrogate_for(features.names)
    return learn(surrogate, features, labels, seed=bench.kit.spec.seed, round_number=number)


@dataclass(frozen=True, eq=False)
class _Scored:
    """The most promising of the candidates that may be chosen.

    Parameters
    ----------
    rows, scores, mean, std : (n_promising,), by ascending row
    n : how many candidates were scored
    max_std : over all of them
    """

    rows: Rows
    scores: Floats
    mean: Floats
    std: Floats
    n: int
    max_std: float


def _filled_rows(features: FeatureFile, rows: Rows) -> Floats:
    """Rows for a strategy that looks at them itself."""
    return filled(features.rows(rows))


def _score(
    bench: Workbench, features: FeatureFile, learned: Learned, beliefs: Beliefs, available: Rows, number: int, size: int
) -> _Scored:
    """Score what may be chosen and keep the best of it, block by block where the acquisition allows that."""
    kit = bench.kit
    best = float(learned.y[np.argmax(kit.target.merit(learned.y))]) if kit.target.goal.has_best else None
    scoring = Scoring(
        target=kit.target,
        best=best,
        n=size,
        n_candidates=0,
        load_X=lambda: np.empty((0, len(features.names))),
        X_labeled=filled(learned.X),
        y_labeled=learned.y,
        model=learned.model,
        rng=rng_for(kit.spec.seed, number, "acquisition"),
    )
    by_row = isinstance(kit.acquisition, ScoresByRow) and kit.acquisition.scores_by_row
    top = BestRows(max(PROMISING, size))
    max_std = 0.0
    for first, block in beliefs.blocks() if by_row else beliefs.blocks(max(1, beliefs.n_rows)):
        mine = available[np.searchsorted(available, first) : np.searchsorted(available, first + len(block))]
        if not len(mine):
            continue
        believed = Prediction(block.mean[mine - first], block.std[mine - first])
        shown = replace(scoring, n_candidates=len(mine), load_X=partial(_filled_rows, features, mine))
        top.add(checked_scores(kit.acquisition.score(believed, shown), len(mine)), mine)
        max_std = max(max_std, float(believed.std.max()))
    order = np.argsort(top.rows)
    rows = top.rows[order]
    mean, std = beliefs.at(rows)
    return _Scored(rows, top.scores[order], mean, std, len(available), max_std)


def _choose(
    bench: Workbench, facts: Facts, features: FeatureFile, scored: _Scored, number: int, size: int
) -> list[Request]:
    """Take a batch of the promising, and say of each why."""
    kit = bench.kit
    pending = features.ids.rows(r.candidate_id for r in facts.requests if r.is_open)
    together = filled(features.rows(np.concatenate([scored.rows, pending])))
    batch = Batch(
        size,
        scored.scores,
        together[: len(scored.rows)],
        together[len(scored.rows) :],
        rng_for(kit.spec.seed, number, "selection"),
    )
    picks = kit.selection.choose(batch)
    ranks = np.empty(len(scored.rows), dtype=np.intp)
    ranks[np.argsort(-scored.scores, kind="stable")] = np.arange(1, len(scored.rows) + 1)
    plans = _plan(bench, facts, features, scored.rows[picks], number, "")
    return [
        _with_belief(
            request,
            float(scored.scores[pick]),
            float(scored.mean[pick]),
            float(scored.std[pick]),
            f"{kit.spec.acquisition.kind}: rank {ranks[pick]} of {scored.n:,}, taken by {kit.spec.selection.kind}",
        )
        for request, pick in zip(plans, picks, strict=True)
    ]


def _with_belief(request: Request, score: float, mean: float, std: float, reason: str) -> Request:
    return replace(request, score=score, mean=mean, std=std, reason=reason)


def _record(
    bench: Workbench, learned: Learned, beliefs: Beliefs, number: int, n_picks: int, max_std: float | None
) -> RoundRecord:
    return RoundRecord(
        number=number,
        opened_at=bench.clock.now(),
        n_labels=len(learned.y),
        n_picks=n_picks,
        metrics=learned.metrics,
        out_of_fold=learned.out_of_fold,
        max_std=max_std,
        predictions=bench.blobs.put("predictions", ".npy", beliefs.copy_to),
        importances=learned.importances,
        preparation=learned.preparation,
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
        with predict_pool(learned.model, features, bench.spread, bench.workdir / "files") as beliefs:
            max_std = float(beliefs.at(available)[1].max()) if len(available) else None
            record = _record(bench, learned, beliefs, number, 0, max_std)
    with bench.write(expect=facts.version) as writer:
        if record is not None:
            writer.open_round(record)
        writer.set_phase(Phase.STOPPED, verdict)
    return f"stopped: {verdict.reason}"


def judge_again(bench: Workbench, facts: Facts, writer: Writer) -> None:
    """The rules changed: a campaign that had ended goes on if none says stop, or is stopped by another than before."""
    if facts.phase not in (Phase.STOPPED, Phase.FAILED) or facts.features is None:
        return
    progress = progress_of(facts, bench.kit.target, bench.kit.settings, bench.features(facts).ids)
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
