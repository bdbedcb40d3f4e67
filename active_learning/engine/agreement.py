"""Whether the plug-ins of a campaign file can work together, and what to write instead if they cannot."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from active_learning.config import CampaignFile, CampaignSpec
from active_learning.config.reading import faults_of
from active_learning.domain.protocols import Classifies, HasSettings, RefusesGoals, SaysProtocol, ScoresAreGains
from active_learning.domain.target import Goal
from active_learning.engine.remedies import merged
from active_learning.errors import ContractError, Fault, UserError

__all__ = [
    "Work",
    "check_cache",
    "check_goal",
    "check_people",
    "check_requests",
    "check_rules",
    "labeler_for",
    "told_what_is_sought",
]


class Work(Protocol):
    """A file that is being assembled: what its tables said, as checked, and what is wrong with it so far."""

    file: CampaignFile
    faults: list[Fault]
    options: dict[tuple[str, ...], dict[str, Any]]

    def fault(self, path: tuple[str, ...], message: str) -> None:
        """Note what is wrong at a key."""


def told_what_is_sought(labeler: Any, wanted: str) -> Any:
    """A labeler that computes more than one property computes this one."""
    return labeler.for_property(wanted) if hasattr(labeler, "for_property") else labeler


def labeler_for(work: Work, labeler: Any, spec: CampaignSpec) -> Any:
    """The labeler, told what is sought; its unit must be the one the file expects."""
    wanted = spec.target.property
    try:
        labeler = told_what_is_sought(labeler, wanted)
    except UserError as error:
        work.fault(("target", "property"), str(error))
        return None
    if wanted not in labeler.units:
        close = difflib.get_close_matches(wanted, list(labeler.units), n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        known = ", ".join(sorted(labeler.units))
        work.fault(
            ("target", "property"), f"the labeler '{spec.labeler.kind}' gives no '{wanted}'.{hint} It gives: {known}."
        )
        return None
    unit = labeler.units[wanted]
    if spec.target.unit is not None and unit and spec.target.unit != unit:
        work.fault(("target", "unit"), f"the labeler gives {wanted} in '{unit}', not in '{spec.target.unit}'.")
    return labeler


def check_requests(work: Work, labeler: Any, spec: CampaignSpec) -> None:
    """Whether the labeler takes the settings of each remedy, and they leave what its labels mean."""
    for kind, remedy in spec.requests.on.items():
        path = ("requests", "on", kind.value, "settings")
        if not remedy.settings:
            continue
        try:
            options = type(labeler).Options.model_validate(merged(work.options["labeler",], remedy.settings))
            changed = told_what_is_sought(type(labeler)(options), spec.target.property)
        except ValidationError as error:
            work.faults += faults_of(error, type(labeler).Options, work.file.text, path)
            continue
        except UserError as error:
            work.fault(path, str(error))
            continue
        if getattr(changed, "fidelity", None) != getattr(labeler, "fidelity", None):
            work.fault(path, "these settings give labels of another fidelity, which do not compare with the others.")


def check_people(work: Work, labeler: Any, submitter: Any, spec: CampaignSpec) -> None:
    """Whom people answer, and what asks people, go together."""
    asks, answers = (getattr(one, "answered_by_people", False) for one in (submitter, labeler))
    if asks != answers:
        pair = f"labeler '{spec.labeler.kind}' and submitter '{spec.submitter.kind}' do not go together"
        work.fault(("submitter", "kind"), f"{pair}: 'manual' goes with 'person', and with no other.")


def check_cache(work: Work, labeler: Any, spec: CampaignSpec) -> None:
    if spec.cache.mode == "off":
        return
    if isinstance(labeler, SaysProtocol):
        try:
            labeler.protocol()
        except UserError as error:
            work.fault(("cache", "mode"), str(error))
    else:
        said = f"the labeler '{spec.labeler.kind}' does not say which codes and versions its values depend on, so its"
        work.fault(("cache", "mode"), f"{said} labels cannot be shared.")


def check_goal(work: Work, surrogate: Any, acquisition: Any, spec: CampaignSpec) -> None:
    """Whether the model and the acquisition can serve the goal, and do what else the file asks of them."""
    goal = spec.target.goal
    if goal is Goal.CLASSIFY and surrogate is not None:
        _check_classifier(work, surrogate, spec.surrogate.kind)
    if spec.search.every and surrogate is not None and not isinstance(surrogate, HasSettings):
        work.fault(("search", "every"), f"'{spec.surrogate.kind}' has no settings to search for; leave [search] out.")
    if acquisition is None:
        return
    if goal not in acquisition.goals:
        served = ", ".join(sorted(acquisition.goals))
        work.fault(("acquisition", "kind"), f"this acquisition cannot serve the goal '{goal}'; it serves: {served}.")
    is_gain = isinstance(acquisition, ScoresAreGains) and acquisition.scores_are_gains
    for key in ("weigh_success", "per_cost"):
        if getattr(spec.acquisition, key) and not is_gain:
            work.fault(
                ("acquisition", key),
                f"the scores of '{spec.acquisition.kind}' are no amounts of gain, so they cannot be weighed; use"
                " expected_improvement or probability_of_improvement, or leave the key out.",
            )


def check_rules(work: Work, rules: Mapping[str, Sequence[Any]], spec: CampaignSpec) -> None:
    target = spec.target.target("")
    for mode, found in rules.items():
        for place, rule in enumerate(found):
            if isinstance(rule, RefusesGoals) and (why := rule.refusal(target)) is not None:
                work.fault(("stopping", mode, str(place)), why)


def _check_classifier(work: Work, surrogate: Any, kind: str) -> None:
    able = "random_forest, extra_trees, neural_network and committees of them can."
    if not isinstance(surrogate, Classifies):
        work.fault(("surrogate", "kind"), f"'{kind}' cannot tell classes apart; {able}")
        return
    try:
        surrogate.classifier()
    except ContractError as error:
        work.fault(("surrogate", "kind"), f"{error} {able}")
