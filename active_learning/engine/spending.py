"""What labels cost, and which of them look wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from active_learning.domain.label import Label
from active_learning.domain.request import Request

__all__ = ["OUTLIER_SIGMAS", "Cost", "Surprise", "cost_of", "surprises"]

OUTLIER_SIGMAS = 5.0
"""A label that lies further from what was predicted of it, in its predicted stds, is worth a look: the calculation may
have gone astray. It stays a label until a person takes it back."""


@dataclass(frozen=True)
class Cost:
    """Core time of all jobs, in seconds times cores, and the seconds that they waited.

    `asked_core_s` is what they could have used at most, `used_core_s` what those held that ended.
    """

    asked_core_s: float
    used_core_s: float
    queued_s: float

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"asked_core_s": self.asked_core_s, "used_core_s": self.used_core_s, "queued_s": self.queued_s}


def cost_of(requests: Iterable[Request]) -> Cost:
    """The cost of some requests together."""
    requests = tuple(requests)
    return Cost(
        asked_core_s=sum((r.cores * r.asked_s for r in requests if r.asked_s is not None), 0.0),
        used_core_s=sum((r.core_s or 0.0 for r in requests), 0.0),
        queued_s=sum((r.queued_s or 0.0 for r in requests), 0.0),
    )


@dataclass(frozen=True)
class Surprise:
    """A label far from what was predicted of it: `z` stds, and its request, which knows the prediction."""

    label: Label
    request: Request
    z: float


def surprises(requests: Iterable[Request], labels: Iterable[Label]) -> tuple[Surprise, ...]:
    """Labels of the target that lie `OUTLIER_SIGMAS` and more from the prediction they were asked for with."""
    by_id = {request.id: request for request in requests}
    found = []
    for label in labels:
        request = by_id.get(label.request_id or "")
        if request is None or request.mean is None or not request.std:
            continue
        z = (label.value - request.mean) / request.std
        if abs(z) >= OUTLIER_SIGMAS:
            found.append(Surprise(label, request, z))
    return tuple(found)
