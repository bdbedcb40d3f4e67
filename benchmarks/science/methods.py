"""Every method of the benchmark by name: the project's default, variants of it, and the peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peers import PEERS

__all__ = ["CAMPAIGNS", "OURS", "PEERS", "VARIANTS", "campaign_tables"]

OURS = "motherlode"
"""What a campaign file without the tables surrogate, acquisition and selection gets."""

_COMMITTEE = {"kind": "committee"}
_LARGE = {
    "kind": "committee",
    "members": [
        {"kind": "random_forest", "n_trees": 300},
        {"kind": "extra_trees", "n_trees": 300, "bootstrap": True},
        {"kind": "gaussian_process"},
    ],
}
_FOREST = {"kind": "random_forest", "n_trees": 100}
_PROCESS = {"kind": "gaussian_process"}
_BOUND, _IMPROVEMENT = {"kind": "upper_confidence_bound"}, {"kind": "expected_improvement"}
_GAIN, _UNCERTAINTY = {"kind": "expected_model_gain"}, {"kind": "uncertainty"}
_DIVERSE, _FANTASIES, _JOINT = {"kind": "diverse"}, {"kind": "fantasies"}, {"kind": "variance_reduction"}


def _of(surrogate: Any, acquisition: Any, selection: Any) -> Mapping[str, Any]:
    return {"surrogate": surrogate, "acquisition": acquisition, "selection": selection}


VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "maximize": {
        "committee, bound, diverse": _of(_COMMITTEE, _BOUND, _DIVERSE),
        "large committee, bound, diverse": _of(_LARGE, _BOUND, _DIVERSE),
        "committee, bound, fantasies": _of(_COMMITTEE, _BOUND, _FANTASIES),
        "committee, improvement, fantasies": _of(_COMMITTEE, _IMPROVEMENT, _FANTASIES),
        "committee, improvement, penalized": _of(_COMMITTEE, _IMPROVEMENT, {"kind": "local_penalization"}),
        "committee, adaptive": _of(_COMMITTEE, {"kind": "adaptive"}, {"kind": "top"}),
        "forest, bound, diverse": _of(_FOREST, _BOUND, _DIVERSE),
        "forest, improvement, fantasies": _of(_FOREST, _IMPROVEMENT, _FANTASIES),
        "process, improvement, fantasies": _of(_PROCESS, _IMPROVEMENT, _FANTASIES),
    },
    "learn": {
        "committee, gain, joint": _of(_COMMITTEE, _GAIN, _JOINT),
        "large committee, gain, joint": _of(_LARGE, _GAIN, _JOINT),
        "committee, gain, diverse": _of(_COMMITTEE, _GAIN, _DIVERSE),
        "forest, gain, joint": _of(_FOREST, _GAIN, _JOINT),
        "process, gain, joint": _of(_PROCESS, _GAIN, _JOINT),
        "forest, uncertainty, diverse": _of(_FOREST, _UNCERTAINTY, _DIVERSE),
    },
}
"""Goal -> what the default was chosen from, on three of the tables and other seeds (run.py --choose)."""

CAMPAIGNS: Mapping[str, Mapping[str, Any]] = {OURS: {}} | {
    k: v for named in VARIANTS.values() for k, v in named.items()
}
"""Name -> tables of the campaign file."""


def campaign_tables(method: str, goal: str, *, n_first: int, batch_size: int, n_labels: int) -> dict[str, Any]:
    """The campaign file of a method, with the benchmark's own numbers."""
    fixed = {
        "target": {"property": "value", "goal": goal},
        "rounds": {"initial": n_first, "batch_size": batch_size, "max_in_flight": batch_size},
        "stopping": {"any": [{"kind": "labels", "max": n_labels}]},
    }
    return fixed | dict(CAMPAIGNS[method])
