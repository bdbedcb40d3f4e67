"""One round on invented numbers: whether model, acquisition and selection fit together is known before it matters."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from active_learning.domain.label import Label
from active_learning.domain.models import Classifies
from active_learning.domain.target import Goal
from active_learning.engine.assembly import Kit
from active_learning.engine.choice import Chooser
from active_learning.engine.feature_file import FeatureFile, FeatureIndex, write_features
from active_learning.engine.ids import CandidateIds
from active_learning.engine.learning import Lesson, learn
from active_learning.engine.scoring import predict_pool
from active_learning.engine.spreading import Threads
from active_learning.errors import ContractError
from active_learning.store import Blobs

__all__ = ["rehearse"]

_CANDIDATES, _LABELS, _FEATURES, _PENDING, _PICKS = 40, 12, 5, 2, 3
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def rehearse(kit: Kit, folder: Path) -> None:
    """Train, judge, correct, predict, score and choose once, on a few invented candidates.

    Parameters
    ----------
    folder : for files of this rehearsal

    Raises
    ------
    ContractError
        If the plug-ins do not fit together, or one breaks its law; the message says what to use instead.
    """
    blobs = Blobs(folder / "rehearsal")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(_CANDIDATES, _FEATURES))
    ids = CandidateIds.of(f"{row:016x}" for row in range(_CANDIDATES))
    index = FeatureIndex(tuple(f"feature {n}" for n in range(_FEATURES)), {}, {}, {})
    features = FeatureFile(write_features(ids, [X], index, blobs), blobs)
    labels = tuple(
        Label(ids[row], kit.target.property, value, kit.target.unit, _LONG_AGO, "invented")
        for row, value in enumerate(_values(kit, X))
    )
    surrogate = kit.surrogate
    if kit.target.goal is Goal.CLASSIFY and isinstance(surrogate, Classifies):
        surrogate = surrogate.classifier()
    learned = learn(surrogate, Lesson(features, labels, (), 0, 1), kit.spec.training)
    values = np.array([label.value for label in labels])
    with predict_pool(learned.model, features, Threads(1), blobs.root, correction=learned.correction) as beliefs:
        chooser = Chooser(
            kit=kit,
            features=features,
            learned=learned,
            beliefs=beliefs,
            round_number=1,
            best=float(values[np.argmax(kit.target.merit(values))]) if kit.target.goal.has_best else None,
            pending=np.arange(_LABELS, _LABELS + _PENDING),
        )
        scored = chooser.score(np.arange(_LABELS + _PENDING, _CANDIDATES), _PICKS)
        picks = chooser.take(scored, _PICKS)
    if len({pick.row for pick in picks}) != _PICKS:
        raise ContractError(f"the selection '{kit.spec.selection.kind}' chose {len(picks)} of {_PICKS} candidates")


def _values(kit: Kit, X: np.ndarray) -> list[float]:
    """Labels of the first candidates: of two classes, or around the bounds of the goal."""
    signal = X[:_LABELS, 0]
    if kit.target.goal is Goal.CLASSIFY:
        return [float(row % 2) for row in range(_LABELS)]
    if kit.target.goal is Goal.WITHIN:
        assert kit.target.low is not None
        assert kit.target.high is not None
        return [float(v) for v in kit.target.high + (kit.target.high - kit.target.low) * signal]
    return [float(v) for v in signal]
