"""Every decision of a campaign computed again from what is stored, and compared with what was done.

For each round the facts are those that its round was computed on: all that happened before it in the history, and
nothing after. The engine's own steps do the rest, so that nothing here can choose in another way than the campaign did.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from active_learning.api.provenance.comparing import Comparison
from active_learning.api.provenance.history import BrokenHistory, Past
from active_learning.api.provenance.moments import Moments
from active_learning.api.provenance.own_files import own_modules
from active_learning.api.provenance.rounds import Retrace
from active_learning.api.provenance.specs import changed_keys, specs_of
from active_learning.api.provenance.stage import Shelf
from active_learning.api.provenance.steps import Outcome, Step
from active_learning.api.provenance.store_copy import copy_store, stored_files
from active_learning.api.status import open_store
from active_learning.config import read_campaign_file, read_header
from active_learning.domain.campaign import Event
from active_learning.errors import SpecError
from active_learning.store import CampaignStore, Facts

__all__ = ["Replay", "VersionChange", "replay"]


@dataclass(frozen=True)
class VersionChange:
    """A package of which another version is here than the campaign has run with.

    Parameters
    ----------
    then : every version it has run with, in order
    here : None if it is not installed
    """

    package: str
    then: tuple[str, ...]
    here: str | None

    def __str__(self) -> str:
        return f"{self.package} {', '.join(self.then)} then, {self.here or 'not installed'} here"


@contextmanager
def replay(path: Path) -> Iterator[Replay]:
    """A campaign laid out to be computed again; nothing of it is written to, and another process may work on it.

    Raises
    ------
    UserError
        If there is no such file, or the campaign was never started.
    """
    name, workdir, _ = read_header(path)
    with tempfile.TemporaryDirectory(prefix="motherlode-replay-") as folder:
        with closing(open_store(path)) as theirs:
            copy_store(theirs.url, name, Path(folder) / "campaign.db")
        with closing(CampaignStore(f"sqlite:///{Path(folder) / 'campaign.db'}", name)) as store:
            stored, events = store.read(), store.events()
        yield Replay(path.resolve(), stored, events, Shelf(Path(folder), workdir / "files"))


@dataclass(frozen=True)
class Replay:
    """A campaign as it stands, its history, and a place to compute in."""

    path: Path
    stored: Facts
    events: tuple[Event, ...]
    shelf: Shelf

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.stored.name

    def versions(self) -> tuple[VersionChange, ...]:
        """Packages of other versions: with these, the last digits may differ, and then choices may."""
        then: dict[str, list[str]] = {}
        for event in self.events:
            for package, number in event.data.items() if event.kind == "versions" else ():
                if number not in then.setdefault(package, []):
                    then[package].append(number)
        found = [VersionChange(package, tuple(all_then), _here(package)) for package, all_then in then.items()]
        return tuple(change for change in found if change.then != (change.here,))

    def remarks(self) -> tuple[str, ...]:
        """What else to know before."""
        own = own_modules(self.stored.spec, self.path.parent)
        if not own:
            return ()
        names = ", ".join(sorted(file.relative_to(self.path.parent).as_posix() for file in own))
        return (f"your own code ({names}) is taken as it is now: the campaign does not know what it was then",)

    def steps(self) -> Iterator[Step]:
        """What is looked at, in turn: the file, the stored files, the history, each round and each end."""
        yield self._file()
        yield self._files()
        yield self._history()
        moments = Moments(self.stored, self.events)
        yield from Retrace(self.path, moments, specs_of(self.stored, self.events), self.shelf).steps()

    def _file(self) -> Step:
        """Whether the file is the one that the campaign was made with."""
        file = read_campaign_file(self.path)
        if file.spec is None:
            raise SpecError(str(file.path), file.faults)
        mine, stored = file.spec.model_dump(mode="json"), self.stored.spec
        is_free = {"pool": self.stored.pool is None, "features": self.stored.features is None}
        changed = changed_keys(mine, stored)
        found = Comparison(is_exact=True)
        for key, is_fixed in changed.items():
            if is_fixed and not is_free.get(key, False):
                found.add(f"'{key}' of the campaign file", stored.get(key), mine[key])
        other = sorted(key for key, is_fixed in changed.items() if not is_fixed)
        said = "what may not change has not changed"
        if other:
            said += f"; {', '.join(f'[{key}]' for key in other)} did since the campaign last ran"
        return Step.of("file", said, found)

    def _files(self) -> Step:
        """Whether the immutable files hold what their names say."""
        names = stored_files(self.stored)
        self.shelf.put(names)
        found, missing = Comparison(is_exact=True), []
        for name in names:
            path = self.shelf.source / name
            if not path.is_file():
                missing.append(name)
                continue
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            expected = name.rpartition(".")[0].rpartition("-")[2]
            found.add(f"hash of files/{name}", expected, digest[: len(expected)])
        if missing and found.is_same:
            return Step("files", Outcome.UNKNOWN, f"missing: {', '.join(missing)}")
        return Step.of("files", f"{len(names)} files hold what their names say", found)

    def _history(self) -> Step:
        """Whether the history leads to what the tables say."""
        found, past = Comparison(is_exact=True), Past(self.stored, self.events)
        found.add("numbers of the events", list(range(1, len(self.events) + 1)), [e.number for e in self.events])
        try:
            for event in self.events:
                past.apply(event)
        except BrokenHistory as broken:
            return Step("history", Outcome.DIFFERS, str(broken))
        found.differences += past.compared_with_the_tables().differences
        last = specs_of(self.stored, self.events)[-1]
        for key in changed_keys(last.tables, self.stored.spec):
            if key not in last.unknown:
                found.add(f"'{key}' of the stored campaign file", self.stored.spec.get(key), last.tables.get(key))
        n_requests, n_labels = len(self.stored.requests), len(self.stored.labels)
        return Step.of("history", f"{len(self.events)} events lead to {n_requests} requests, {n_labels} labels", found)


def _here(package: str) -> str | None:
    if package == "python":
        return python_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return None
