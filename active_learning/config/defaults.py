"""What takes the place of a table that a campaign file leaves out; each choice is measured in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from active_learning.domain.target import Goal

__all__ = ["default_acquisition", "default_selection", "default_surrogate"]

_KNOW_COVARIANCE = frozenset(
    {"committee", "extra_trees", "gaussian_process", "neural_network", "random_forest", "support_vector"}
)
_SCORE_AGAIN = frozenset(
    {
        "expected_improvement",
        "log_expected_improvement",
        "probability_of_improvement",
        "probability_within",
        "straddle",
        "uncertainty",
        "upper_confidence_bound",
    }
)
_HAVE_CHOSEN = frozenset({"adaptive", "modal", "random", "thompson"})


def default_surrogate() -> dict[str, Any]:
    """A table of [surrogate]."""
    return {"kind": "committee"}


def default_acquisition(goal: Goal) -> dict[str, Any]:
    """A table of [acquisition]: what is worth most for the goal."""
    kinds = {Goal.LEARN: "expected_model_gain", Goal.CLASSIFY: "entropy", Goal.WITHIN: "upper_confidence_bound"}
    return {"kind": kinds.get(goal, "upper_confidence_bound")}


def default_selection(goal: Goal, surrogate: Mapping[str, Any], acquisition: Mapping[str, Any]) -> dict[str, Any]:
    """A table of [selection] that fits the other two: the best batch that they allow.

    A joint batch where the model knows how its beliefs hang together and the acquisition can score again what would be
    believed; the highest scores where the acquisition has dealt the batch already; otherwise one of each group of like
    candidates.
    """
    kind = acquisition.get("kind")
    if kind in _HAVE_CHOSEN or (isinstance(kind, str) and kind.startswith("modAL.")):
        return {"kind": "top"}
    if surrogate.get("kind") in _KNOW_COVARIANCE and goal is not Goal.CLASSIFY:
        if kind == "expected_model_gain":
            return {"kind": "variance_reduction"}
        if kind in _SCORE_AGAIN:
            return {"kind": "fantasies"}
    return {"kind": "diverse"}
