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

_EI = {"kind": "expected_improvement"}
_GP = {"kind": "gaussian_process"}
_FOREST = {"kind": "random_forest", "n_trees": 100}
_DIVERSE, _FANTASIES, _TOP = ({"kind": kind} for kind in ("diverse", "fantasies", "top"))
_JOINT = {"kind": "variance_reduction"}


def _of(surrogate: Any, acquisition: Any, selection: Any) -> Mapping[str, Any]:
    return {"surrogate": surrogate, "acquisition": acquisition, "selection": selection}


CAMPAIGNS: Mapping[str, Mapping[str, Any]] = {
    "motherlode": {},
    "com ucb top": _of(_COMMITTEE, _UCB, _TOP),
    "com ucb diverse": _of(_COMMITTEE, _UCB, _DIVERSE),
    "com ucb fant": _of(_COMMITTEE, _UCB, _FANTASIES),
    "com ucb2 diverse": _of(_COMMITTEE, _UCB | {"n_sigma": 2.0}, _DIVERSE),
    "com ei fant": _of(_COMMITTEE, _EI, _FANTASIES),
    "com ei diverse": _of(_COMMITTEE, _EI, _DIVERSE),
    "com adaptive": _of(_COMMITTEE, {"kind": "adaptive"}, _TOP),
    "gp ei fant": _of(_GP, _EI, _FANTASIES),
    "gp ucb diverse": _of(_GP, _UCB, _DIVERSE),
    "rf ucb diverse": _of(_FOREST, _UCB, _DIVERSE),
    "rf gain vr": _of(_FOREST, _EMG, _JOINT),
    "com gain vr": _of(_COMMITTEE, _EMG, _JOINT),
    "gp gain vr": _of(_GP, _EMG, _JOINT),
    "rf unc diverse": _of(_FOREST, {"kind": "uncertainty"}, _DIVERSE),
    "com gain diverse": _of(_COMMITTEE, _EMG, _DIVERSE),
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
