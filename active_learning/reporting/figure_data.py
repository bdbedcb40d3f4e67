"""The numbers behind each figure, as tables. Light: no matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from active_learning.api.record import CampaignRecord
from active_learning.domain.metrics import coverage, z_scores
from active_learning.domain.request import Arm
from active_learning.reporting.data import Table
from active_learning.reporting.descriptor_tables import Descriptors
from active_learning.reporting.elements import Elements
from active_learning.reporting.gains import best_so_far, errors_at_cost, gains
from active_learning.reporting.links import (
    Comparison,
    answers,
    candidate_requests,
    formulas_of_labels,
    newest_round,
    request_of_label,
)
from active_learning.reporting.rules import RuleHistory

__all__ = [
    "calibration_data",
    "correlation_data",
    "discovery_data",
    "element_data",
    "errors_data",
    "gain_data",
    "honesty_data",
    "importances_data",
    "map_data",
    "parity_data",
    "rules_data",
]

_LEVELS = np.linspace(0.0, 1.0, 101)
Tables = Mapping[str, Table]
"""What a file's name has after that of the figure (nothing, or a word) -> the table."""


def discovery_data(record: CampaignRecord, kinds: Sequence[str]) -> Tables:
    """Each label in order with the best so far; `kinds` says whose each is."""
    best = best_so_far(record)
    of_target = [
        request
        for label, request in zip(record.labels, request_of_label(record), strict=True)
        if label.property == record.target.property
    ]
    rows = [
        (n, x.candidate_id, formula, x.value, x.unit, so_far, kind, r and r.round, x.time.isoformat())
        for n, (x, formula, so_far, kind, r) in enumerate(
            zip(record.target_labels, formulas_of_labels(record), best, kinds, of_target, strict=True), start=1
        )
    ]
    columns = ("number", "candidate", "formula", "value", "unit", "best_so_far", "kind", "round", "time")
    return {"": Table(columns, tuple(rows))}


def parity_data(kinds: Sequence[tuple[str, Comparison]]) -> Tables:
    """Every prediction beside its label; `kinds` are those of the figure, by name."""
    rows: list[tuple[Any, ...]] = []
    for name, data in kinds:
        z = z_scores(data.y, data.mean, data.std)
        columns = (data.candidates, data.y.tolist(), data.mean.tolist(), data.std.tolist(), z.tolist())
        rows += [(name, *row) for row in zip(*columns, strict=True)]
    return {"": Table(("kind", "candidate", "label", "predicted_mean", "predicted_std", "z"), tuple(rows))}


def calibration_data(kinds: Sequence[tuple[str, Comparison]]) -> Tables:
    """Coverage at each confidence level, and the z scores."""
    rows, scores = [], []
    for name, data in kinds:
        seen = np.asarray(coverage(data.y, data.mean, data.std, list(_LEVELS))).tolist()
        rows += [(name, level, share) for level, share in zip(_LEVELS.round(2).tolist(), seen, strict=True)]
        z = z_scores(data.y, data.mean, data.std).tolist()
        scores += [(name, *pair) for pair in zip(data.candidates, z, strict=True)]
    return {
        "": Table(("kind", "confidence_level", "share_inside"), tuple(rows)),
        "z": Table(("kind", "candidate", "z"), tuple(scores)),
    }


def errors_data(record: CampaignRecord) -> Tables:
    """Every metric of each round, on held-out labels and on the test set; and each control label's error."""
    keys = sorted({key for r in record.rounds for key in r.metrics})
    of_test = sorted({key for r in record.rounds for key in r.test_metrics})
    rows = [
        (r.number, r.n_labels, *(r.metrics.get(key) for key in keys), *(r.test_metrics.get(key) for key in of_test))
        for r in record.rounds
        if r.metrics or r.test_metrics
    ]
    columns = ("round", "n_labels", *(f"held_out_{key}" for key in keys), *(f"test_{key}" for key in of_test))
    labels, n_trained = answers(record), {r.number: r.n_labels for r in record.rounds}
    control = [
        (
            r.candidate_id,
            r.round,
            n_trained.get(r.round),
            labels[r.id].value,
            r.mean,
            r.std,
            labels[r.id].value - r.mean,
        )
        for r in candidate_requests(record)
        if r.arm is Arm.CONTROL and r.id in labels and r.mean is not None
    ]
    named = ("candidate", "round", "n_labels", "label", "predicted_mean", "predicted_std", "error")
    return {"": Table(columns, tuple(rows))} | ({"control": Table(named, tuple(control))} if control else {})


def honesty_data(record: CampaignRecord) -> Tables:
    """Every measure of calibration of each round, without and with the correction."""
    rounds = [(r, r.calibration) for r in record.rounds if r.calibration is not None]
    keys = sorted({key for _, c in rounds for side in ("before", "after") for key in c[side]})
    rows = [
        (r.number, r.n_labels, c["n"], *(c[side].get(key) for side in ("before", "after") for key in keys))
        for r, c in rounds
    ]
    names = [f"{side}_{key}" for side in ("without", "with") for key in keys]
    return {"": Table(("round", "n_labels", "n_held_out", *names), tuple(rows))}


def importances_data(record: CampaignRecord) -> Tables:
    """All importances of the newest round that has any, the largest first."""
    newest = newest_round(record, "importances")
    pairs = sorted(newest.importances.items(), key=lambda pair: (-pair[1], pair[0])) if newest else []
    return {"": Table(("feature", "importance"), tuple(pairs))}


def correlation_data(found: Descriptors | None) -> Tables:
    """The correlations among the descriptors shown, and of each with the target."""
    if found is None:
        return {"": Table(("descriptor",), ())}
    names = found.shown.names
    rows = [
        (name, name in found.kept, found.target.get(name), *values)
        for name, values in zip(names, found.shown.values, strict=True)
    ]
    return {"": Table(("descriptor", "is_kept", "rank_correlation_with_target", *names), tuple(rows))}


def map_data(
    record: CampaignRecord,
    rows: Sequence[int],
    points: Sequence[tuple[float, float]],
    roles: Mapping[str, tuple[str, int | None]],
) -> Tables:
    """Where each candidate shown lies, and what it is."""
    table = []
    for row, (x, y) in zip(rows, points, strict=True):
        candidate = record.candidate_ids[row]
        role, number = roles.get(candidate, ("pool", None))
        table.append((candidate, record.formulas[row], x, y, role, number))
    return {"": Table(("candidate", "formula", "x", "y", "role", "round"), tuple(table))}


def element_data(found: Elements) -> Tables:
    """Every element that was tried, and those of the pool that were not."""
    rows: list[tuple[Any, ...]] = []
    for row in found.rows:
        best = row.best
        of_best = (None, None, None) if best is None else (best.label.value, best.formula, best.label.candidate_id)
        share = row.n_best / found.n_best if found.n_best else None
        rows.append((row.symbol, row.n_labels, row.n_labels / found.n_labels, *of_best, row.n_best, share))
    rows += [(symbol, 0, 0.0, None, None, None, 0, None) for symbol in found.untried]
    best_columns = ("best_value", "best_formula", "best_candidate", "n_among_best", "share_of_best")
    return {"": Table(("element", "n_labels", "share_of_labels", *best_columns), tuple(rows))}


def rules_data(rules: Sequence[RuleHistory]) -> Tables:
    """The value of each rule at each moment; a round is empty for the newest state of all."""
    rows: list[tuple[Any, ...]] = []
    for n, rule in enumerate(rules, start=1):
        measure = rule.measure
        if measure is None:
            continue
        compared = (n, rule.kind, measure.what, measure.unit)
        limit = (measure.sign, measure.limit)
        rows += [
            (*compared, number, value, *limit, measure.is_met(value))
            for number, value in zip(rule.rounds, rule.values, strict=True)
        ]
    columns = ("rule", "kind", "measures", "unit", "round", "value", "stops_if", "limit", "says_stop")
    return {"": Table(columns, tuple(rows))}


def gain_data(record: CampaignRecord) -> Tables:
    """Core time spent at each label with the best so far, and at each round with the model's error."""
    labels = [(p.candidate, p.time.isoformat(), p.core_s, p.value, p.best) for p in gains(record)]
    errors = [(e.round, e.core_s, e.n_labels, e.error) for e in errors_at_cost(record)]
    return {
        "": Table(("candidate", "time", "core_s", "value", "best_so_far"), tuple(labels)),
        "errors": Table(("round", "core_s", "n_labels", "error"), tuple(errors)),
    }
