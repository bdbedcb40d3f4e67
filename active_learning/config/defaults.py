"""What takes the place of a table that a campaign file leaves out; each choice is measured in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from active_learning.domain.target import Goal

__all__ = ["default_acquisition", "default_selection", "default_surrogate"]

_KNOW_COVARIANCE = frozenset(
    {"committee", "extra_trees", "gaussian_process", "neural_network", "random_forest", "support_vector"}
)
_BEST_JOINTLY = frozenset(
    {
        "expected_improvement",
        "log_expected_improvement",
        "probability_of_improvement",
        "probability_within",
        "straddle",
        "uncertainty",
    }
)
"""They can score again what would be believed, and were better for it; an upper confidence bound was only where rounds
overlap, and expected model gain no better than by taking one of each group."""
_HAVE_CHOSEN = frozenset({"adaptive", "modal", "random", "thompson"})


def default_surrogate() -> dict[str, Any]:
    """A table of [surrogate]."""
    return {"kind": "committee"}


def default_acquisition(goal: Goal, surrogate: Mapping[str, Any]) -> dict[str, Any]:
    """A table of [acquisition]: what is worth most for the goal, of what the model can be asked."""
    if goal is Goal.LEARN:
        return {"kind": "expected_model_gain" if _knows_covariance(surrogate) else "uncertainty"}
    return {"kind": "entropy" if goal is Goal.CLASSIFY else "upper_confidence_bound"}


def _knows_covariance(surrogate: Mapping[str, Any]) -> bool:
    """Whether the model of a table is known to tell how its beliefs hang together; a committee does if all members
    do."""
    members = surrogate.get("members") if surrogate.get("kind") == "committee" else None
    if isinstance(members, list | tuple):
        return all(isinstance(member, Mapping) and _knows_covariance(member) for member in members)
    return surrogate.get("kind") in _KNOW_COVARIANCE


def default_selection(
    goal: Goal, surrogate: Mapping[str, Any], acquisition: Mapping[str, Any], *, overlaps: bool = False
) -> dict[str, Any]:
    """A table of [selection] that fits the other two.

    A joint batch where the model knows how its beliefs hang together and the acquisition is the better for it; the
    highest scores where the acquisition has dealt the batch already; otherwise one of each group of like candidates.

    Parameters
    ----------
    overlaps : whether rounds open while calculations of earlier ones are in flight
    """
    kind = acquisition.get("kind")
    if kind in _HAVE_CHOSEN or (isinstance(kind, str) and kind.startswith("modAL.")):
        return {"kind": "top"}
    is_better = kind in _BEST_JOINTLY or (overlaps and kind == "upper_confidence_bound")
    is_joint = is_better and _knows_covariance(surrogate) and goal is not Goal.CLASSIFY
    return {"kind": "fantasies" if is_joint else "diverse"}
