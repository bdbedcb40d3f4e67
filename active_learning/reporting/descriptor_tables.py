"""What became of the descriptors, as rows and sentences. Light: no matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from active_learning.api.record import CampaignRecord
from active_learning.preparation.record import CorrelationMap, PreparationRecord
from active_learning.preparation.recording import correlation_map
from active_learning.preparation.relevance import spearman
from active_learning.reporting.links import newest_round
from active_learning.reporting.numbers import plain

__all__ = ["Descriptors", "DroppedKind", "descriptors"]

Floats = NDArray[np.float64]

N_SHOWN = 30
"""Descriptors of the map if nothing was prepared."""

_FEWEST_LABELS = 5
_MOST_ROWS = 100
_FIRST_DROPPED = 20


@dataclass(frozen=True)
class DroppedKind:
    """Descriptors left out for one kind of reason: how many, and (name, particulars) of the first."""

    kind: str
    n: int
    first: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Descriptors:
    """What a report says of the descriptors.

    Parameters
    ----------
    shown : correlations among the most important
    target : name -> rank correlation with the target
    kept : names that the model saw
    record : of the preparation; None if nothing was prepared
    number : of the round
    rows : (name, ranking value, rank correlation with the target) of those kept, the most telling first
    n_hidden : rows that are not shown
    dropped : by kind, the most frequent first
    """

    shown: CorrelationMap
    target: dict[str, float]
    kept: frozenset[str]
    record: PreparationRecord | None = None
    number: int | None = None
    rows: tuple[tuple[str, str, str], ...] = ()
    n_hidden: int = 0
    dropped: tuple[DroppedKind, ...] = ()


def descriptors(record: CampaignRecord) -> Descriptors | None:
    """What the newest preparation did; without any, the most important descriptors as the labels show them.

    None if nothing was prepared and there are fewer than five labels.
    """
    newest = newest_round(record, "preparation")
    if newest is None or newest.preparation is None:
        return _unprepared(record)
    found = PreparationRecord.from_json(newest.preparation)
    ranked = list(found.values) or list(found.kept)
    return Descriptors(
        shown=found.correlations,
        target=dict(found.target_correlations),
        kept=frozenset(found.kept),
        record=found,
        number=newest.number,
        rows=tuple(_row(found, name) for name in ranked[:_MOST_ROWS]),
        n_hidden=max(0, len(ranked) - _MOST_ROWS),
        dropped=_dropped(found),
    )


def _row(found: PreparationRecord, name: str) -> tuple[str, str, str]:
    r = found.target_correlations.get(name)
    return name, plain(found.values.get(name), 3), "–" if r is None else f"{r:+.2f}".replace("-", "−")


def _dropped(found: PreparationRecord) -> tuple[DroppedKind, ...]:
    kinds = []
    for kind, n in found.dropped_kinds.items():
        reasons = [(name, reason.partition(":")) for name, reason in found.dropped.items()]
        of_kind = [(name, rest.strip()) for name, (first, _, rest) in reasons if first == kind]
        kinds.append(DroppedKind(kind, n, tuple(of_kind[:_FIRST_DROPPED])))
    return tuple(kinds)


def _unprepared(record: CampaignRecord) -> Descriptors | None:
    X, y = _labeled(record)
    if len(y) < _FEWEST_LABELS or not X.shape[1]:
        return None
    rows = np.argsort(-_importances(record, X, y), kind="stable")[:N_SHOWN]
    names = tuple(record.feature_names[i] for i in rows)
    target = dict(zip(names, map(float, spearman(X[:, rows], y)), strict=True))
    return Descriptors(correlation_map(X[:, rows], names), target, frozenset(names))


def _labeled(record: CampaignRecord) -> tuple[Floats, Floats]:
    """Descriptors and values of the labeled candidates; a missing descriptor is the median of the others."""
    values = {label.candidate_id: label.value for label in record.target_labels}
    known = {candidate: row for row, candidate in enumerate(record.candidate_ids) if candidate in values}
    X = np.asarray(record.X[np.array(list(known.values()), dtype=np.intp)]).astype(np.float64)
    X[~np.isfinite(X)] = np.nan
    X[:, np.isnan(X).all(axis=0)] = 0.0
    filled = np.where(np.isnan(X), np.nanmedian(X, axis=0), X) if len(X) else X
    return filled, np.array([values[candidate] for candidate in known])


def _importances(record: CampaignRecord, X: Floats, y: Floats) -> Floats:
    """Of each descriptor: what the newest model says, or a small forest if it says nothing."""
    newest = newest_round(record, "importances")
    if newest is not None and set(newest.importances) == set(record.feature_names):
        return np.array([newest.importances[name] for name in record.feature_names])
    spread = float(np.ptp(y)) or 1.0
    forest = ExtraTreesRegressor(100, random_state=0).fit(X, (y - y.min()) / spread)
    return np.asarray(forest.feature_importances_, dtype=np.float64)
