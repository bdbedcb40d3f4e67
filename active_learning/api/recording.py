"""Read a campaign's store and files into a `CampaignRecord`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from active_learning.api.record import CampaignRecord
from active_learning.api.status import control_of
from active_learning.domain.prediction import Prediction
from active_learning.domain.request import Purpose
from active_learning.engine.assembly import Kit
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.pool_file import PoolFile
from active_learning.store import Blobs, Facts

__all__ = ["record_of"]


def _prediction(facts: Facts, blobs: Blobs) -> Prediction | None:
    newest = next((record for record in reversed(facts.rounds) if record.predictions), None)
    if newest is None or newest.predictions is None:
        return None
    beliefs = np.load(blobs.path(newest.predictions), allow_pickle=False)
    mean, std = beliefs[:, :1], beliefs[:, 1:2]
    if not newest.classes:
        return Prediction(mean, std)
    return Prediction(mean, std, None, np.array(newest.classes), beliefs[:, 2:])


def record_of(facts: Facts, kit: Kit, blobs: Blobs, now: datetime) -> CampaignRecord:
    """The campaign as it stands."""
    features = None if facts.features is None else FeatureFile(facts.features, blobs)
    ids: Sequence[str] = () if features is None else features.ids
    formulas: Sequence[str] = ()
    origins: Sequence[str] = ()
    if facts.pool is not None and features is not None:
        pool = PoolFile(blobs.path(str(facts.pool["file"])))
        formulas, origins = pool.texts("formula", features.ids), pool.texts("origin", features.ids)
    references = {r.candidate_id for r in facts.requests if r.purpose is Purpose.REFERENCE}
    return CampaignRecord(
        name=facts.name,
        seed=kit.spec.seed,
        target=kit.target,
        phase=facts.phase,
        verdict=facts.verdict,
        created_at=facts.created_at,
        now=now,
        spec=facts.spec,
        versions=facts.versions,
        candidate_ids=ids,
        formulas=formulas,
        origins=origins,
        X=np.empty((0, 0)) if features is None else features.X,
        feature_names=() if features is None else features.names,
        read=0 if facts.pool is None else int(facts.pool["read"]),
        dropped={} if facts.pool is None else facts.pool["dropped"],
        not_featurized={} if features is None else features.failures,
        rounds=facts.rounds,
        requests=tuple(r for r in facts.requests if r.purpose is Purpose.CANDIDATE),
        labels=tuple(label for label in facts.labels if label.candidate_id not in references),
        prediction=_prediction(facts, blobs),
        control=control_of(facts, kit.target),
        retractions=facts.retractions,
    )
