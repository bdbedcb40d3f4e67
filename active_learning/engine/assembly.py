"""From a campaign file to its plug-ins, built and fitted to each other; every fault of the file at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from active_learning.config import CampaignFile, CampaignSpec, PluginTable
from active_learning.config.reading import faults_of, line_of
from active_learning.config.spec import AcquisitionTable, FeaturesTable
from active_learning.domain.campaign import Settings
from active_learning.domain.protocols import (
    Acquisition,
    Classifies,
    Featurizer,
    HasMembers,
    HasSettings,
    Labeler,
    Pool,
    Selection,
    Submitter,
    Surrogate,
)
from active_learning.domain.target import Goal, Target
from active_learning.engine.agreement import (
    check_cache,
    check_goal,
    check_people,
    check_requests,
    check_rules,
    labeler_for,
    told_what_is_sought,
)
from active_learning.engine.observing import Rules
from active_learning.engine.remedies import merged
from active_learning.errors import Fault, SpecError, UserError
from active_learning.plugins import load
from active_learning.preparation.fitting import Preparation
from active_learning.preparation.surrogate import prepared

__all__ = ["Kit", "assemble"]

_TABLES: Mapping[str, str] = {
    "pool": "pools",
    "features": "featurizers",
    "surrogate": "surrogates",
    "acquisition": "acquisition",
    "selection": "selection",
    "labeler": "labelers",
    "submitter": "submitters",
}
"""Table of the campaign file -> plug-in group."""

_ENGINES_KEYS: Mapping[str, frozenset[str]] = {
    "featurizers": frozenset(FeaturesTable.model_fields) - {"kind"},
    "acquisition": frozenset(AcquisitionTable.model_fields) - {"kind"},
}
"""Plug-in group -> keys of its table that are not the plug-in's."""


@dataclass(frozen=True)
class Kit:
    """A campaign's plug-ins."""

    spec: CampaignSpec
    target: Target
    settings: Settings
    pool: Pool
    featurizer: Featurizer
    surrogate: Surrogate
    acquisition: Acquisition
    selection: Selection
    labeler: Labeler
    submitter: Submitter
    rules: Rules
    featurizer_options: Mapping[str, Any]
    labeler_options: Mapping[str, Any]
    python_path: tuple[str, ...]

    def labeler_with(self, settings: Mapping[str, Any]) -> Labeler:
        """The labeler, with these keys in the place of the file's."""
        if not settings:
            return self.labeler
        plugin: Any = type(self.labeler)
        options = plugin.Options.model_validate(merged(self.labeler_options, settings))
        labeler: Labeler = told_what_is_sought(plugin(options), self.target.property)
        return labeler

    def surrogate_for(self, names: Sequence[str], settings: Mapping[str, Any] | None = None) -> Surrogate:
        """The surrogate, with what is done to descriptors of these names before it sees them.

        Parameters
        ----------
        settings : options that a search has found; they take the place of the file's
        """
        preparation = Preparation(self.spec.preparation, impute=self.spec.features.missing == "impute")
        surrogate = self.surrogate
        if settings:
            assert isinstance(surrogate, HasSettings)  # only of such a one settings are searched
            surrogate = surrogate.with_settings(settings)
        if self.target.goal is Goal.CLASSIFY:
            assert isinstance(surrogate, Classifies)  # the assembly saw to it
            surrogate = surrogate.classifier()
        return prepared(surrogate, preparation, names)


class _Assembly:
    """Builds plug-ins table by table and collects what is wrong."""

    def __init__(self, file: CampaignFile) -> None:
        self.file = file
        self.faults: list[Fault] = list(file.faults)
        self.options: dict[tuple[str, ...], dict[str, Any]] = {}

    def fault(self, path: tuple[str, ...], message: str) -> None:
        self.faults.append(Fault(".".join(path), message, line_of(self.file.text, path)))

    def plugin(self, group: str, path: tuple[str, ...], table: Any) -> Any:
        """The plug-in of a table; None if the table is at fault."""
        if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
            return None  # said by the file's own model already
        kind = table["kind"]
        own = {"kind", *_ENGINES_KEYS.get(group, ())}
        options = {key: value for key, value in table.items() if key not in own}
        kind, options = _modal(group, kind, options)
        try:
            found = load(group, kind)
        except UserError as error:
            self.fault((*path, "kind"), str(error))
            return None
        if not isinstance(found, type):
            self.fault((*path, "kind"), f"'{kind}' is a {type(found).__name__}, not a class.")
            return None
        plugin: Any = found
        try:
            checked = plugin.Options.model_validate(options, context={"base": self.file.path.parent})
        except ValidationError as error:
            self.faults += faults_of(error, plugin.Options, self.file.text, path, _ENGINES_KEYS.get(group, frozenset()))
            return None
        self.options[path] = checked.model_dump(mode="json", by_alias=True)
        try:
            return self._with_members(group, path, plugin(checked))
        except UserError as error:
            self.fault(path, str(error))
            return None

    def _with_members(self, group: str, path: tuple[str, ...], built: Any) -> Any:
        """The plug-in with the plug-ins that it is made of; None if one of those is at fault."""
        if not isinstance(built, HasMembers):
            return built
        if self.file.spec is None:
            return None  # it is not known what for
        tables = built.member_tables(self.file.spec.target.goal)
        members = [self.plugin(group, (*path, built.members_key, str(n)), table) for n, table in enumerate(tables)]
        return None if None in members else built.with_members(members)


def _modal(group: str, kind: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """modAL's own strategies and learners may stand as a kind: they are run by the plug-in `modal`."""
    if kind.startswith("modAL.") and group == "acquisition":
        return "modal", {"strategy": kind, "options": options}
    if kind.startswith("modAL.") and group == "surrogates":
        return "modal", {"learner": kind} | options
    return kind, options


def _python_path(file: CampaignFile) -> tuple[str, ...]:
    """The campaign file's folder, if a kind names a module that may lie there."""
    folder = str(file.path.parent)
    tables = [file.tables.get(name) for name in _TABLES]
    kinds = [table.get("kind", "") for table in tables if isinstance(table, Mapping)]
    stopping = file.tables.get("stopping")
    lists = [rules for rules in stopping.values() if isinstance(rules, list)] if isinstance(stopping, Mapping) else []
    kinds += [rule.get("kind", "") for rules in lists for rule in rules if isinstance(rule, Mapping)]
    kinds += _descriptors(file.tables.get("features"))
    own = any(isinstance(kind, str) and ":" in kind and not kind.startswith("modAL.") for kind in kinds)
    named = any("calculator" in table for table in tables if isinstance(table, Mapping))
    if not (own or named):
        return ()
    if folder not in sys.path:
        sys.path.append(folder)
    return (folder,)


def _descriptors(features: Any) -> list[Any]:
    """What `sets` in [features] names: one of them may be an import path, too, with a colon or with dots."""
    sets = features.get("sets") if isinstance(features, Mapping) else None
    names = [s.get("name") if isinstance(s, Mapping) else s for s in sets] if isinstance(sets, list) else []
    return [name.replace(".", ":") for name in names if isinstance(name, str)]


def assemble(file: CampaignFile) -> Kit:
    """Build a campaign's plug-ins.

    Raises
    ------
    SpecError
        With every fault of the file: its own, and those of each plug-in's table.
    """
    python_path = _python_path(file)
    work = _Assembly(file)
    built = {name: work.plugin(group, (name,), _table(file, name)) for name, group in _TABLES.items()}
    rules = {mode: _rules(work, mode) for mode in ("any", "all")}
    spec = file.spec
    labeler = built["labeler"]
    if spec is not None and labeler is not None:
        labeler = labeler_for(work, labeler, spec)
    if spec is not None:
        check_goal(work, built["surrogate"], built["acquisition"], spec)
        if labeler is not None:
            check_requests(work, labeler, spec)
            check_cache(work, labeler, spec)
            if built["submitter"] is not None:
                check_people(work, labeler, built["submitter"], spec)
        check_rules(work, rules, spec)
    if work.faults or spec is None:
        raise SpecError(str(file.path), tuple(work.faults))
    features = built["features"]
    return Kit(
        spec=spec,
        target=spec.target.target(labeler.units[spec.target.property]),
        settings=_settings(spec),
        pool=built["pool"],
        featurizer=features,
        surrogate=built["surrogate"],
        acquisition=built["acquisition"],
        selection=built["selection"],
        labeler=labeler,
        submitter=built["submitter"],
        rules=Rules(tuple(rules["any"]), tuple(rules["all"])),
        # As checked, not as written: paths are absolute, so a worker in another folder reads the same files.
        featurizer_options=work.options["features",],
        labeler_options=work.options["labeler",],
        python_path=python_path,
    )


def _table(file: CampaignFile, name: str) -> Any:
    """A table as the file has it, or what takes its place."""
    if name in file.tables:
        return file.tables[name]
    if file.spec is not None:
        table: PluginTable = getattr(file.spec, name)
        return table.model_dump()
    default = CampaignSpec.model_fields[name].default
    return default.model_dump() if isinstance(default, PluginTable) else None


def _rules(work: _Assembly, mode: str) -> list[Any]:
    stopping = work.file.tables.get("stopping")
    tables = stopping.get(mode, []) if isinstance(stopping, Mapping) else []
    if not isinstance(tables, list):
        return []
    return [work.plugin("stopping", ("stopping", mode, str(n)), table) for n, table in enumerate(tables)]


def _settings(spec: CampaignSpec) -> Settings:
    return Settings(
        initial=spec.rounds.initial,
        batch_size=spec.rounds.batch_size,
        max_in_flight=spec.rounds.max_in_flight,
        retries=spec.requests.retries,
        lost_retries=spec.requests.lost_retries,
        poll_s=spec.requests.poll,
        retries_after={k: r.retries for k, r in spec.requests.on.items() if r.retries is not None},
        needs_approval=spec.approval.required,
        approval_timeout_s=spec.approval.timeout,
        overdue=spec.approval.overdue,
    )
