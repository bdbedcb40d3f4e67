"""All that a report or an export may show of a campaign, read once and frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.campaign import Phase, RoundRecord, Verdict
from active_learning.domain.label import Label, Retraction
from active_learning.domain.prediction import Prediction
from active_learning.domain.request import Request
from active_learning.domain.target import Target

__all__ = ["CampaignRecord"]


@dataclass(frozen=True, eq=False)
class CampaignRecord:
    """A campaign as it stands.

    Parameters
    ----------
    spec : the campaign file as a JSON object
    versions : package -> version that this campaign last ran with
    candidate_ids, formulas, origins : (n_candidates,), the rows of `X`, in the order of the ids
        An origin is the file, row or prototype that a candidate came from.
    X : (n_candidates, n_features), float32 or float64, may be a read-only memory map
    feature_names : (n_features,)
    read, dropped : how many the pool read; reason -> how many it did not take
    not_featurized : candidate id -> reason; these are not among the rows of `X`
    requests, labels : in the order they were planned and came in; labels of every property, references excluded
    prediction : the newest model's, one row for each row of `X`, n_targets = 1; None before the first model. That of a
        classification has probabilities
    control : what the candidates drawn at random say, as `active_learning.api.status.control_of` gives it; empty
        without labels of the control
    retractions : labels that were taken back, in that order
    """

    name: str
    seed: int
    target: Target
    phase: Phase
    verdict: Verdict | None
    created_at: datetime
    now: datetime
    spec: Mapping[str, Any]
    versions: Mapping[str, str]
    candidate_ids: Sequence[str]
    formulas: Sequence[str]
    origins: Sequence[str]
    X: NDArray[np.floating[Any]]
    feature_names: tuple[str, ...]
    read: int
    dropped: Mapping[str, int]
    not_featurized: Mapping[str, str]
    rounds: tuple[RoundRecord, ...]
    requests: tuple[Request, ...]
    labels: tuple[Label, ...]
    prediction: Prediction | None
    control: Mapping[str, Any] = field(default_factory=dict)
    retractions: tuple[Retraction, ...] = ()

    def rows_of(self, candidate_ids: Iterable[str]) -> dict[str, int]:
        """The rows of those candidates that have one."""
        wanted = frozenset(candidate_ids)
        return {candidate: row for row, candidate in enumerate(self.candidate_ids) if candidate in wanted}

    @property
    def target_labels(self) -> tuple[Label, ...]:
        """The labels of the target property, in the order they came in."""
        return tuple(label for label in self.labels if label.property == self.target.property)
