"""The job of the labeler `manual`: nobody should run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from active_learning.domain.label import FailureKind
from active_learning.labelers.results import failure

__all__ = ["run"]


def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """There is nothing to compute; it says so."""
    what = f"{inputs['property']} of {inputs['formula']} is for people to find out"
    return failure(FailureKind.REJECTED, f"{what}: labeler 'manual' needs the submitter 'person'")
