"""Every method of the benchmark by name: the project's campaigns, and the peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peers import PEERS

__all__ = ["CAMPAIGNS", "PEERS", "campaign_tables"]

_COMMITTEE = {
    "kind": "committee",
    "members": [
        {"kind": "random_forest", "n_trees": 100},
        {"kind": "extra_trees", "n_trees": 100, "bootstrap": True},
        {"kind": "gaussian_process"},
    ],
}
_UCB = {"kind": "upper_confidence_bound"}
_EMG = {"kind": "expected_model_gain"}

CAMPAIGNS: Mapping[str, Mapping[str, Any]] = {
    "motherlode": {},
    "com ucb top": {"surrogate": _COMMITTEE, "acquisition": _UCB, "selection": {"kind": "top"}},
    "com ucb diverse": {"surrogate": _COMMITTEE, "acquisition": _UCB, "selection": {"kind": "diverse"}},
    "com ucb fant": {"surrogate": _COMMITTEE, "acquisition": _UCB, "selection": {"kind": "fantasies"}},
    "com ucb.5 fant": {
        "surrogate": _COMMITTEE, "acquisition": _UCB | {"n_sigma": 0.5}, "selection": {"kind": "fantasies"}
    },
    "com ucb2 fant": {
        "surrogate": _COMMITTEE, "acquisition": _UCB | {"n_sigma": 2.0}, "selection": {"kind": "fantasies"}
    },
    "com ei fant": {
        "surrogate": _COMMITTEE, "acquisition": {"kind": "expected_improvement"}, "selection": {"kind": "fantasies"}
    },
    "com adaptive": {"surrogate": _COMMITTEE, "acquisition": {"kind": "adaptive"}, "selection": {"kind": "top"}},
    "gp ucb fant": {
        "surrogate": {"kind": "gaussian_process"}, "acquisition": _UCB, "selection": {"kind": "fantasies"}
    },
    "rf ucb fant": {"surrogate": {"kind": "random_forest"}, "acquisition": _UCB, "selection": {"kind": "fantasies"}},
    "rf gain vr": {
        "surrogate": {"kind": "random_forest"}, "acquisition": _EMG, "selection": {"kind": "variance_reduction"}
    },
    "com gain vr": {"surrogate": _COMMITTEE, "acquisition": _EMG, "selection": {"kind": "variance_reduction"}},
    "gp gain vr": {
        "surrogate": {"kind": "gaussian_process"}, "acquisition": _EMG, "selection": {"kind": "variance_reduction"}
    },
    "rf unc diverse": {
        "surrogate": {"kind": "random_forest"}, "acquisition": {"kind": "uncertainty"}, "selection": {"kind": "diverse"}
    },
}
"""Name -> tables of the campaign file; `motherlode` is what a file without these tables gets."""


def campaign_tables(method: str, goal: str, *, n_first: int, batch_size: int, n_labels: int) -> dict[str, Any]:
    """The campaign file of a method, with the benchmark's own numbers."""
    fixed = {
        "target": {"property": "value", "goal": goal},
        "rounds": {"initial": n_first, "batch_size": batch_size, "max_in_flight": batch_size},
        "stopping": {"any": [{"kind": "labels", "max": n_labels}]},
    }
    return fixed | dict(CAMPAIGNS[method])
