"""The steps that learn: open a round, conclude, fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.campaign import Phase, Progress, RoundRecord, Verdict
from active_learning.domain.models import KnowsCovariance
from active_learning.domain.request import Arm, Purpose, Request
from active_learning.domain.seeds import rng_for
from active_learning.engine.approving import ask_approval
from active_learning.engine.arms import Shares, known_labels, split_labels, to_test
from active_learning.engine.choice import Chooser, Pick
from active_learning.engine.corrected import corrected_model
from active_learning.engine.deciding import MIN_LABELS, needs_design
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.filling import filled
from active_learning.engine.history import outcomes_of, tried_of
from active_learning.engine.learning import Learned, Lesson, learn
from active_learning.engine.observing import is_stale, progress_of, unavailable, with_fresh_model
from active_learning.engine.prospects import prospects_of
from active_learning.engine.request_steps import new_request
from active_learning.engine.scoring import Beliefs, predict_pool
from active_learning.engine.searching import settings_for
from active_learning.engine.workbench import Workbench
from active_learning.errors import StaleVersion
from active_learning.learning.forecast import forecast
from active_learning.selection.design import representatives
from active_learning.store import Facts, Writer

__all__ = ["conclude", "fail", "judge_again", "open_round", "retrain"]

Rows = NDArray[np.intp]

DESIGN_ROWS = 50_000
"""Of a larger pool, the first design represents this many, drawn at random: k-means on all would take minutes."""


def open_round(bench: Workbench, number: int, size: int) -> str:
    """Choose up to `size` candidates and plan them; in round 0 without a model.

    Everything is computed on the facts of one version of the campaign and written only if it is still that version.
    """
    facts = bench.store.read()
    features = bench.features(facts)
    progress = _progress(bench, facts, features)
    size = _still_wanted(bench, facts, progress, number, size)
    available = _available(bench, facts, features)
    if needs_design(number, progress.n_labels, bench.kit.settings):
        return _first_design(bench, facts, features, available, size)
    learned = _learn(bench, facts, features, number)
    with _predicted(bench, learned, features) as beliefs:
        chooser = _chooser(bench, facts, features, learned, beliefs, number)
        picks, max_std = _choose(bench, facts, chooser, available, size)
        record = _record(bench, facts, chooser, picks, max_std)
    if bench.kit.rules.verdict(with_fresh_model(progress, record)) is not None:
        with bench.write(expect=facts.version) as writer:
            writer.open_round(replace(record, n_picks=0))
        return f"round {number}: trained on {len(learned.y)} labels, nothing more to ask"
    with bench.write(expect=facts.version) as writer:
        writer.open_round(record)
        writer.plan(_requests(bench, facts, features, picks, number))
        ask_approval(bench, writer, number, len(picks))
    return f"round {number}: trained on {len(learned.y)} labels, chose {len(picks)}"


def _progress(bench: Workbench, facts: Facts, features: FeatureFile) -> Progress:
    return progress_of(facts, bench.kit.target, bench.kit.settings, features.ids, now=bench.clock.now())


def _still_wanted(bench: Workbench, facts: Facts, progress: Progress, number: int, size: int) -> int:
    """How many of `size` may be chosen. Since the decision a person may have paused the campaign or told labels."""
    budget = bench.kit.rules.budget(progress)
    size = min(size, progress.n_available, size if budget is None else budget)
    goes_on = facts.phase is Phase.ACTIVE and facts.ending is None
    if not goes_on or len(facts.rounds) != number or size < 1:
        raise StaleVersion(f"campaign '{facts.name}' moved on since round {number} was decided")
    return size


def _available(bench: Workbench, facts: Facts, features: FeatureFile) -> Rows:
    blocked = unavailable(facts, bench.kit.target, bench.kit.settings)
    free = np.ones(len(features.ids), dtype=bool)
    free[features.ids.rows(blocked)] = False
    return np.flatnonzero(free)


def _requests(bench: Workbench, facts: Facts, features: FeatureFile, picks: list[Pick], number: int) -> list[Request]:
    ids = [features.ids[pick.row] for pick in picks]
    attempts = dict.fromkeys(ids, 0)
    for request in facts.requests:
        if request.candidate_id in attempts:
            attempts[request.candidate_id] = max(attempts[request.candidate_id], request.attempt)
    formulas = bench.pool(facts).formulas(ids)
    return [
        replace(
            new_request(
                facts.name,
                candidate,
                formula,
                round_number=number,
                purpose=Purpose.CANDIDATE,
                reason=pick.reason,
                attempt=attempts[candidate] + 1,
            ),
            arm=pick.arm,
            rule=pick.rule,
            novelty=pick.novelty,
            score=pick.score,
            mean=pick.mean,
            std=pick.std,
        )
        for candidate, formula, pick in zip(ids, formulas, picks, strict=True)
    ]


def _first_design(bench: Workbench, facts: Facts, features: FeatureFile, available: Rows, size: int) -> str:
    spec = bench.kit.spec
    n_test = Shares(facts, spec).of(size, is_design=True)[Arm.TEST]
    test = to_test(facts, spec, features, available, n_test, round_number=0)
    free = np.setdiff1d(available, test)
    rng = rng_for(spec.seed, 0, "design")
    if len(free) > DESIGN_ROWS:
        free = np.sort(rng.choice(free, DESIGN_ROWS, replace=False))
    chosen = free[representatives(filled(features.rows(free)), size - len(test), rng=rng)]
    picks = [Pick(int(row), Arm.DESIGN, "first design: k-means representative of the pool") for row in chosen]
    picks += [Pick(int(row), Arm.TEST, _FOR_TEST) for row in test]
    n_labels = len(known_labels(facts, bench.kit.target, features.ids))
    with bench.write(expect=facts.version) as writer:
        writer.open_round(RoundRecord(0, bench.clock.now(), n_labels, len(picks)))
        writer.plan(_requests(bench, facts, features, picks, 0))
        ask_approval(bench, writer, 0, len(picks))
    return f"round 0: first design of {len(picks)}"


_FOR_TEST = "test set: represents the pool, and is never trained on"
_AT_RANDOM = "control: drawn at random"


def _learn(bench: Workbench, facts: Facts, features: FeatureFile, number: int) -> Learned:
    kit = bench.kit
    train, test = split_labels(facts, kit.spec, kit.target, features)
    lesson = Lesson(features, train, test, kit.spec.seed, number, _last_trained(facts))
    settings = settings_for(kit, facts, lesson, bench.searches)
    surrogate = kit.surrogate_for(features.names, None if settings is None else settings["settings"])
    return replace(learn(surrogate, lesson, kit.spec.training), settings=settings)


def _last_trained(facts: Facts) -> RoundRecord | None:
    return next((record for record in reversed(facts.rounds) if record.predictions), None)


def _predicted(bench: Workbench, learned: Learned, features: FeatureFile) -> Beliefs:
    files = bench.workdir / "files"
    return predict_pool(learned.model, features, bench.spread, files, correction=learned.correction)


def _chooser(
    bench: Workbench, facts: Facts, features: FeatureFile, learned: Learned, beliefs: Beliefs, number: int
) -> Chooser:
    kit = bench.kit
    values = np.array([label.value for label in known_labels(facts, kit.target, features.ids)])
    pending = sorted(
        features.ids.row(r.candidate_id) for r in facts.requests if r.is_open and _is_featurized(r, features)
    )
    return Chooser(
        kit=kit,
        features=features,
        learned=learned,
        beliefs=beliefs,
        round_number=number,
        best=float(values[np.argmax(kit.target.merit(values))]) if kit.target.goal.has_best else None,
        pending=np.array(pending, dtype=np.intp),
        outcomes=outcomes_of(facts, kit.target, kit.settings),
        prospects=prospects_of(
            kit.spec.acquisition, features, tried_of(facts, features), seed=kit.spec.seed, round_number=number
        ),
    )


def _is_featurized(request: Request, features: FeatureFile) -> bool:
    return request.purpose is Purpose.CANDIDATE and request.candidate_id in features.ids


def _choose(
    bench: Workbench, facts: Facts, chooser: Chooser, available: Rows, size: int
) -> tuple[list[Pick], float | None]:
    """The next requests of all arms, those of the model first; and the largest std of what could be chosen."""
    spec, number = bench.kit.spec, chooser.round_number
    shares = Shares(facts, spec).of(size, is_design=False)
    test = to_test(facts, spec, chooser.features, available, shares[Arm.TEST], round_number=number)
    free = np.setdiff1d(available, test)
    rng = rng_for(spec.seed, number, "control")
    control = np.sort(rng.choice(free, min(shares[Arm.CONTROL], len(free)), replace=False))
    free = np.setdiff1d(free, control)
    picks: list[Pick] = []
    max_std = None
    if len(free):
        n_chosen = size - len(test) - len(control)
        scored = chooser.score(free, max(n_chosen, 1))
        picks, max_std = chooser.take(scored, n_chosen), scored.max_std
    picks += chooser.beside(control, Arm.CONTROL, _AT_RANDOM) + chooser.beside(test, Arm.TEST, _FOR_TEST)
    return chooser.with_novelty(picks), max_std


def _record(bench: Workbench, facts: Facts, chooser: Chooser, picks: list[Pick], max_std: float | None) -> RoundRecord:
    learned, beliefs = chooser.learned, chooser.beliefs
    return RoundRecord(
        number=chooser.round_number,
        opened_at=bench.clock.now(),
        n_labels=len(learned.y),
        n_picks=len(picks),
        metrics=learned.metrics,
        out_of_fold=learned.out_of_fold,
        max_std=max_std,
        predictions=bench.blobs.put("predictions", ".npy", beliefs.copy_to),
        importances=learned.importances,
        preparation=learned.preparation,
        calibration=learned.calibration,
        test_metrics=learned.test_metrics,
        settings=learned.settings,
        forecast=_forecast(bench, facts, chooser, picks),
        classes=beliefs.classes,
    )


def _forecast(bench: Workbench, facts: Facts, chooser: Chooser, picks: list[Pick]) -> dict[str, float]:
    """What the batch is worth, as far as it was chosen by the model; and how much the predictions still move."""
    rows = np.array([pick.row for pick in picks if pick.arm is Arm.CHOSEN], dtype=np.intp)
    model = corrected_model(chooser.learned.model, chooser.learned.recalibration)
    factor = None
    if isinstance(model, KnowsCovariance) and len(rows):
        factor = model.covariance_factor(chooser.features.rows(rows))
    last = _last_trained(facts)
    before = None
    if last is not None and last.predictions is not None:
        before = np.load(bench.blobs.path(last.predictions), mmap_mode="r", allow_pickle=False)[:, 0]
    return forecast(
        bench.kit.target,
        rng=rng_for(bench.kit.spec.seed, 0, "forecast"),
        batch=chooser.beliefs.at(rows) if len(rows) else None,
        best=chooser.best,
        factor=factor,
        run_times=tried_of(facts, chooser.features).label_run_s.tolist(),
        means=np.load(chooser.beliefs.path, mmap_mode="r", allow_pickle=False)[:, 0],
        last_means=before,
    )


def _still_active(bench: Workbench) -> Facts:
    facts = bench.store.read()
    if facts.phase is not Phase.ACTIVE:
        raise StaleVersion(f"campaign '{facts.name}' is {facts.phase} meanwhile")
    return facts


def conclude(bench: Workbench, verdict: Verdict) -> str:
    """Train on all labels for the last time, unless the newest round already did, and stop."""
    facts = _still_active(bench)
    if facts.features is None:  # a person ended it before there was anything to learn from
        with bench.write(expect=facts.version) as writer:
            writer.set_phase(Phase.STOPPED, verdict)
        return f"stopped: {verdict.reason}"
    features = bench.features(facts)
    if facts.ending is None and bench.kit.rules.verdict(_progress(bench, facts, features)) is None:
        raise StaleVersion(f"no rule says stop any more for campaign '{facts.name}': a label was taken back meanwhile")
    train, _test = split_labels(facts, bench.kit.spec, bench.kit.target, features)
    record = None
    is_fresh = bool(facts.rounds) and facts.rounds[-1].n_picks == 0 and facts.rounds[-1].n_labels == len(train)
    if len(train) >= MIN_LABELS and (not is_fresh or is_stale(facts)):
        record = _trained(bench, facts, features)
    with bench.write(expect=facts.version) as writer:
        if record is not None:
            writer.open_round(record)
        writer.set_phase(Phase.STOPPED, verdict)
    return f"stopped: {verdict.reason}"


def _trained(bench: Workbench, facts: Facts, features: FeatureFile) -> RoundRecord:
    """A round that trains and chooses nothing."""
    learned = _learn(bench, facts, features, len(facts.rounds))
    available = _available(bench, facts, features)
    with _predicted(bench, learned, features) as beliefs:
        max_std = float(beliefs.at(available).std.max()) if len(available) else None
        chooser = _chooser(bench, facts, features, learned, beliefs, len(facts.rounds))
        return _record(bench, facts, chooser, [], max_std)


def retrain(bench: Workbench, number: int) -> str:
    """Train without the labels that were taken back."""
    facts = _still_active(bench)
    if len(facts.rounds) != number or not is_stale(facts):
        raise StaleVersion(f"campaign '{facts.name}' moved on since round {number} was decided")
    record = _trained(bench, facts, bench.features(facts))
    with bench.write(expect=facts.version) as writer:
        writer.open_round(record)
    return f"round {number}: trained again on {record.n_labels} labels, without those taken back"


def judge_again(bench: Workbench, facts: Facts, writer: Writer) -> None:
    """The rules changed: a campaign that had ended goes on if none says stop, or is stopped by another than before.

    One that a person ended stays so, whatever the rules say.
    """
    if facts.ending is not None or facts.phase not in (Phase.STOPPED, Phase.FAILED) or facts.features is None:
        return
    progress = _progress(bench, facts, bench.features(facts))
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
