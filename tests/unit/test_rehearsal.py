"""One round on invented numbers: what a file leaves out fits what it says, and what cannot work together is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from active_learning.config import read_campaign_file
from active_learning.config.defaults import default_acquisition, default_selection
from active_learning.domain.target import Goal
from active_learning.engine.assembly import Kit, assemble
from active_learning.engine.rehearsal import rehearse
from active_learning.errors import ContractError
from active_learning.plugins import installed, load
from active_learning.testing.fakes import tiny_campaign

TREES = {"kind": "random_forest", "n_trees": 5}
SURROGATES: dict[str, dict[str, Any]] = {
    "random_forest": TREES,
    "extra_trees": {"kind": "extra_trees", "n_trees": 5},
    "gaussian_process": {"kind": "gaussian_process"},
    "support_vector": {"kind": "support_vector", "n_members": 3},
    "committee": {"kind": "committee", "members": [TREES, {"kind": "gaussian_process"}]},
    "modal": {"kind": "modal"},
}
ACQUISITIONS = sorted(plugin.kind for plugin in installed("acquisition"))


def _target(goal: Goal) -> dict[str, Any]:
    bounds = {"low": -1.0, "high": 0.5} if goal is Goal.WITHIN else {}
    return {"property": "energy", "goal": goal.value} | bounds


def _kit(folder: Path, goal: Goal, **tables: Any) -> Kit:
    return assemble(read_campaign_file(tiny_campaign(folder, target=_target(goal), **tables)))


def _goals(kind: str) -> list[Goal]:
    plugin: Any = load("acquisition", kind)
    if kind == "adaptive":
        return [Goal.MINIMIZE, Goal.WITHIN]
    return sorted(plugin(plugin.Options()).goals)


@pytest.mark.parametrize(("kind", "goal"), [(kind, goal) for kind in ACQUISITIONS for goal in _goals(kind)])
def test_every_acquisition_has_a_selection_that_fits(tmp_path: Path, kind: str, goal: Goal) -> None:
    surrogate = TREES
    acquisition = {"kind": kind}
    selection = default_selection(goal, surrogate, acquisition)
    rehearse(_kit(tmp_path, goal, surrogate=surrogate, acquisition=acquisition, selection=selection), tmp_path)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("goal", [Goal.MAXIMIZE, Goal.LEARN])
def test_every_surrogate_has_an_acquisition_and_a_selection_that_fit(tmp_path: Path, name: str, goal: Goal) -> None:
    surrogate = SURROGATES[name]
    acquisition = default_acquisition(goal, surrogate)
    selection = default_selection(goal, surrogate, acquisition)
    rehearse(_kit(tmp_path, goal, surrogate=surrogate, acquisition=acquisition, selection=selection), tmp_path)


@pytest.mark.parametrize("goal", list(Goal))
def test_a_file_that_leaves_out_the_strategy_gets_one_that_works(tmp_path: Path, goal: Goal) -> None:
    rehearse(_kit(tmp_path, goal, surrogate=None, acquisition=None, selection=None), tmp_path)


def test_what_does_not_fit_together_is_told_with_what_to_use_instead(tmp_path: Path) -> None:
    kit = _kit(
        tmp_path,
        Goal.MAXIMIZE,
        surrogate=TREES,
        acquisition={"kind": "thompson"},
        selection={"kind": "fantasies"},
    )
    with pytest.raises(ContractError, match=r"needs an acquisition that can score again.*'diverse' does without"):
        rehearse(kit, tmp_path)
