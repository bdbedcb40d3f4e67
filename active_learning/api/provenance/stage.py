"""A moment of a campaign's past, laid out so that the engine's own steps can be carried out on it once more.

The steps read the facts of that moment and write into memory: nothing of the campaign is touched. Its immutable files
are linked into a folder of the stage, where what is computed again lies beside them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from active_learning.api.provenance.specs import SpecInForce
from active_learning.config import CampaignFile, CampaignSpec
from active_learning.config.reading import faults_of
from active_learning.domain.campaign import Phase, RoundRecord, Verdict
from active_learning.domain.request import Request
from active_learning.engine.assembly import Kit, assemble
from active_learning.engine.spreading import Threads
from active_learning.engine.workbench import Workbench
from active_learning.errors import SpecError
from active_learning.store import CampaignStore, Facts, Lease, this_process

__all__ = ["Notes", "Shelf", "bench_at", "kit_of", "searching_as_then"]

_NEVER_S = 1e9


@dataclass
class Notes:
    """What a step would have written."""

    now: datetime
    rounds: list[RoundRecord] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    phases: list[tuple[Phase, Verdict | None]] = field(default_factory=list)

    def open_round(self, record: RoundRecord) -> None:
        """A round."""
        self.rounds.append(record)

    def plan(self, requests: Iterable[Request]) -> None:
        """Its requests."""
        self.requests.extend(requests)

    def ask_approval(self, round_number: int) -> None:
        """A round waits for a person, as its history says."""

    def set_phase(self, phase: Phase, verdict: Verdict | None = None) -> None:
        """The campaign goes on, or ends."""
        self.phases.append((phase, verdict))


@dataclass
class _Moment:
    """In the place of the store: the facts of one moment, and paper to write on."""

    facts: Facts
    notes: Notes

    def read(self) -> Facts:
        return self.facts

    @contextmanager
    def write(self, *_args: Any, **_more: Any) -> Iterator[Notes]:
        yield self.notes


@dataclass(frozen=True)
class _Standstill:
    """A clock that shows one moment."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def sleep(self, _seconds: float) -> None:
        """Nothing here waits."""


def _silent(_what: str, _done: int, _total: int) -> None:
    """No progress wanted."""


def kit_of(path: Path, spec: SpecInForce) -> Kit:
    """The plug-ins of a campaign file as it was; their code is what is installed, or beside the file, now.

    Raises
    ------
    SpecError
        With every fault of it, as this version of Motherlode sees it.
    """
    try:
        checked = CampaignSpec.model_validate(spec.tables)
    except ValidationError as error:
        raise SpecError(str(path), tuple(faults_of(error, CampaignSpec, ""))) from error
    return assemble(CampaignFile(path, "", spec.tables, checked, ()))


def searching_as_then(kit: Kit, record: RoundRecord) -> Kit:
    """The plug-ins, with a search in this round that ends after as many trials as it did: how many its time was enough
    for, no other machine could tell."""
    found = record.settings
    if found is None or found["round"] != record.number:
        return kit
    search = kit.spec.search.model_copy(update={"trials": found["n_trials"], "seconds": _NEVER_S})
    return replace(kit, spec=kit.spec.model_copy(update={"search": search}))


@dataclass(frozen=True)
class Shelf:
    """A folder with the campaign's immutable files: links to those that are there.

    Parameters
    ----------
    folder : of the stage
    source : the campaign's own
    """

    folder: Path
    source: Path

    @property
    def files(self) -> Path:
        """Where the stage's workbench looks for them."""
        return self.folder / "files"

    def put(self, names: Iterable[str]) -> None:
        """Link files of the campaign, as far as they are there; what is missing stays as it was computed again."""
        self.files.mkdir(parents=True, exist_ok=True)
        for name in names:
            link, original = self.files / name, self.source / name
            if original.is_file() and not link.is_symlink():
                link.unlink(missing_ok=True)
                link.symlink_to(original.resolve())

    def drop(self, name: str) -> None:
        """Remove what was computed again and is not the campaign's."""
        (self.files / name).unlink(missing_ok=True)


def bench_at(kit: Kit, facts: Facts, now: datetime, shelf: Shelf) -> tuple[Workbench, Notes]:
    """The campaign as it was at a moment, laid out for work, and the paper on which that work is written.

    What runs was asked for a moment ago: the next step is not to ask again.
    """
    notes = Notes(now)
    bench = Workbench(
        kit=kit,
        # It keeps the laws of one, as far as the steps that are called here rely on them.
        store=cast(CampaignStore, _Moment(facts, notes)),
        workdir=shelf.folder,
        clock=_Standstill(now),
        lease=Lease(this_process(), 0, datetime.max.replace(tzinfo=UTC)),
        progress=_silent,
        spread=Threads(os.cpu_count() or 1),
        # Its references, if it has any, were planned before its first round: none is to be planned now.
        is_asked=True,
    )
    bench.polled_at = now
    return bench, notes
