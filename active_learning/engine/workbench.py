"""All that a step needs: the campaign's plug-ins, its memory, its folder, and the clock."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from shutil import rmtree

from active_learning.domain.campaign import CampaignSnapshot
from active_learning.domain.candidate import Candidate
from active_learning.domain.execution import Spread
from active_learning.domain.label import Label, Measurement
from active_learning.domain.protocols import Cancels, Clock, Labeler, References
from active_learning.domain.request import Purpose, Request
from active_learning.engine.assembly import Kit
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.observing import observe
from active_learning.engine.pool_file import PoolFile
from active_learning.engine.remedies import Change, change_after, failures_before
from active_learning.engine.spreading import Threads
from active_learning.errors import ContractError
from active_learning.store import Blobs, CampaignStore, Facts, Lease, Writer

__all__ = ["ENERGY", "Workbench", "reference_id"]

ENERGY = "energy_per_atom"
"""What a reference is labeled with."""

Progress = Callable[[str, int, int], None]


def reference_id(element: str) -> str:
    """The candidate id of an element's reference."""
    return f"ref-{element}"


@dataclass
class Workbench:
    """A campaign laid out for work. One process at a time has one, under a lease."""

    kit: Kit
    store: CampaignStore
    workdir: Path
    clock: Clock
    lease: Lease
    progress: Progress
    spread: Spread = field(default_factory=lambda: Threads(1))
    polled_at: datetime | None = field(default=None)
    is_asked: bool = False
    """Whether a caller labels the candidates itself: then nothing is measured against references of ours."""

    @cached_property
    def blobs(self) -> Blobs:
        """The campaign's immutable files; what a process that was killed left half written beside them is removed."""
        blobs = Blobs(self.workdir / "files")
        _sweep(blobs.root)
        return blobs

    @property
    def chunks(self) -> Path:
        """Where this campaign's features lie in chunks until they are stored: others may share the workdir."""
        return self.workdir / "features" / self.kit.spec.name

    @property
    def searches(self) -> Path:
        """Where this campaign's searches note their trials, to go on after a kill."""
        return self.workdir / "search" / self.kit.spec.name

    def drop_chunks(self) -> None:
        """Remove the chunks."""
        # A worker of a run that was killed may still write one more: that must not end a campaign.
        rmtree(self.chunks, ignore_errors=True)
        with suppress(OSError):  # another campaign's chunks are there
            self.chunks.parent.rmdir()

    @property
    def jobs(self) -> Path:
        """Where the job directories lie."""
        return self.workdir / "jobs"

    def write(self, expect: int | None = None) -> AbstractContextManager[Writer]:
        """A transaction under this process's lease."""
        return self.store.write(self.clock.now(), lease=self.lease, expect=expect)

    def snapshot(self) -> CampaignSnapshot:
        """The campaign now, as a decision sees it."""
        facts = self.store.read()
        return observe(
            facts,
            self.kit.target,
            self.kit.settings,
            self.kit.rules,
            [reference_id(element) for element in self.references(facts)],
            featurized=() if facts.features is None else self.features(facts).ids,
            now=self.clock.now(),
            polled_at=self.polled_at,
            can_cancel=isinstance(self.kit.submitter, Cancels),
        )

    def pool(self, facts: Facts) -> PoolFile:
        """The stored pool."""
        if facts.pool is None:
            raise ContractError("the pool is not built yet")
        return self._pool_file(str(facts.pool["file"]))

    def features(self, facts: Facts) -> FeatureFile:
        """The stored features."""
        if facts.features is None:
            raise ContractError("the pool is not featurized yet")
        if self._features is None or self._features.note != facts.features:
            self._features = FeatureFile(dict(facts.features), self.blobs)
            self.drop_chunks()  # what is stored needs none; a crash may have kept them
        return self._features

    _features: FeatureFile | None = field(default=None, init=False, repr=False)
    _pools: dict[str, PoolFile] = field(default_factory=dict, init=False, repr=False)
    _references: dict[tuple[str, ...], Mapping[str, Candidate]] = field(default_factory=dict, init=False, repr=False)

    def _pool_file(self, name: str) -> PoolFile:
        return self._pools.setdefault(name, PoolFile(self.blobs.path(name)))

    def references(self, facts: Facts) -> Mapping[str, Candidate]:
        """Element -> the crystal its energy is measured with; empty if the target needs none."""
        labeler = self.kit.labeler
        if facts.pool is None or self.is_asked or not isinstance(labeler, References):
            return {}
        elements = tuple(facts.pool["elements"])
        if elements not in self._references:
            self._references[elements] = labeler.references(elements)
        return self._references[elements]

    def candidate(self, facts: Facts, candidate_id: str) -> Candidate:
        """A candidate of the pool, or a reference."""
        for element, crystal in self.references(facts).items():
            if reference_id(element) == candidate_id:
                return crystal
        return self.pool(facts).candidate(candidate_id)

    def change_for(self, facts: Facts, request: Request) -> Change:
        """What the failures before a request change for it."""
        return change_after(failures_before(facts.requests, request), self.kit.spec.requests)

    def labeler_for(self, facts: Facts, request: Request) -> Labeler:
        """The labeler of a request: for candidates one that knows the references' energies, or the one for references;
        with the settings that the failures of earlier attempts call for."""
        labeler = self.kit.labeler_with(self.change_for(facts, request).settings)
        if request.purpose is Purpose.REFERENCE:
            energies: Labeler = labeler.for_property(ENERGY)  # type: ignore[attr-defined]
            return energies
        crystals = self.references(facts)
        if not crystals:
            return labeler
        assert isinstance(labeler, References)
        measured = {x.candidate_id: x for x in facts.labels if x.property == ENERGY}
        return labeler.with_references({e: _measurement(measured[reference_id(e)]) for e in crystals})


_TEMPORARY = re.compile(r"\.[a-z-]+\.(\d+)\..+")
"""Files and folders that a process works on, with its number in the name."""


def _sweep(folder: Path) -> None:
    for entry in os.scandir(folder) if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(entry.name)
        if match is None or _is_alive(int(match[1])):
            continue
        if entry.is_dir(follow_symlinks=False):
            rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _measurement(label: Label) -> Measurement:
    return Measurement({label.property: (label.value, label.unit)}, label.fidelity, label.provenance)
