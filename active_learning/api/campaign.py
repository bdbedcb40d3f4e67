"""`Campaign`: the only object here with a life. Everything it holds is in its store; it can be killed at any line."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from active_learning.api.clock import SystemClock
from active_learning.api.leasing import LeaseKeeper
from active_learning.api.record import CampaignRecord
from active_learning.api.recording import record_of
from active_learning.api.retracting import retract
from active_learning.api.status import database_url, status_of
from active_learning.api.telling import Told, tell
from active_learning.config import read_campaign_file
from active_learning.domain import actions as do
from active_learning.domain.campaign import Phase
from active_learning.domain.candidate import Candidate
from active_learning.domain.execution import Spread
from active_learning.domain.label import Retraction
from active_learning.domain.protocols import Clock, DiesWithProcess
from active_learning.domain.request import Purpose, RequestState
from active_learning.engine.assembly import Kit, assemble
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import Observer, one_pass, perform, run_local
from active_learning.engine.pool_file import PoolFile
from active_learning.engine.round_steps import judge_again
from active_learning.engine.spreading import NeedsPrefect, Threads
from active_learning.engine.workbench import Workbench
from active_learning.errors import CampaignFailed, SpecChanged, StoreError, UserError
from active_learning.store import Blobs, CampaignStore

__all__ = ["Campaign"]

_PACKAGES = (
    "motherlode",
    "prefect",
    "scikit-learn",
    "numpy",
    "scipy",
    "optuna",
    "pymatgen",
    "matminer",
    "ase",
    "modAL-python",
)


def _silent(_what: str, _done: int, _total: int) -> None:
    """No progress wanted."""


class Campaign:
    """A campaign: the file that describes it and the store that remembers it.

    ``Campaign.open`` looks and touches nothing; ``work`` takes the lease and lets actions be carried out.
    """

    def __init__(self, path: Path, kit: Kit, workdir: Path, store: CampaignStore, clock: Clock) -> None:
        self.path = path
        self.kit = kit
        self.workdir = workdir
        self.store = store
        self.clock = clock

    @classmethod
    def create(cls, path: Path | str, *, clock: Clock | None = None) -> Campaign:
        """The campaign of a file, made if it is new; a changed file is taken over as far as it may change.

        Raises
        ------
        SpecError
            With every fault of the file.
        SpecChanged
            If the file now says something else about what the stored labels mean.
        UserError
            If the workdir cannot be written.
        """
        campaign = cls._assembled(Path(path), clock or SystemClock())
        try:
            campaign.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The workdir {campaign.workdir} cannot be made: {error.strerror}.") from error
        if not os.access(campaign.workdir, os.W_OK):
            raise UserError(
                f"The workdir {campaign.workdir} may not be written by you; change 'workdir' or its rights."
            )
        spec = campaign.kit.spec.model_dump(mode="json")
        if not campaign.store.create(spec, campaign.clock.now()):
            campaign.refuse_fixed_changes()
        return campaign

    @classmethod
    def open(cls, path: Path | str, *, clock: Clock | None = None) -> Campaign:
        """A campaign that exists.

        Raises
        ------
        SpecError
            With every fault of the file.
        UserError
            If the campaign was never started.
        """
        campaign = cls._assembled(Path(path), clock or SystemClock())
        if campaign.kit.spec.store == "sqlite" and not (campaign.workdir / "campaign.db").is_file():
            raise UserError(
                f"Campaign '{campaign.name}' has not started: there is no {campaign.workdir}."
                f" Start it: motherlode run {path}"
            )
        return campaign

    @classmethod
    def _assembled(cls, path: Path, clock: Clock) -> Campaign:
        file = read_campaign_file(path)
        kit = assemble(file)
        workdir = file.workdir()
        return cls(
            path.resolve(), kit, workdir, CampaignStore(database_url(workdir, kit.spec.store), kit.spec.name), clock
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the campaign holds of the machine."""
        self.store.close()

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.kit.spec.name

    def refuse_fixed_changes(self) -> dict[str, bool]:
        """What changed in the file since the campaign started: key -> whether it may not; this raises if one may not.

        Raises
        ------
        SpecChanged
            Naming what must be put back.
        """
        facts = self.store.read()
        stored = type(self.kit.spec).model_validate(facts.spec)
        changed = self.kit.spec.changed(stored)
        # What nothing stored depends on yet may still be put right: an empty pool, descriptors that all fail.
        is_free = {"pool": facts.pool is None, "features": facts.features is None}
        fixed = sorted(key for key, is_fixed in changed.items() if is_fixed and not is_free.get(key, False))
        if fixed:
            raise SpecChanged(
                f"{self.path}: {', '.join(f'[{key}]' for key in fixed)} changed since campaign '{self.name}' started,"
                " and its labels and features would no longer mean the same. Put it back, or start a new campaign"
                " with another name and workdir. (rounds, surrogate, acquisition, selection, submitter, requests,"
                " approval, stopping, preparation and execution may change at any time.)"
            )
        return changed

    @contextmanager
    def work(self, progress: Callable[[str, int, int], None] = _silent) -> Iterator[Workbench]:
        """Take the lease, take over a changed file, and lay the campaign out for work; at the end, give all back.

        Raises
        ------
        LeaseHeld
            If another living process works on it.
        """
        keeper = LeaseKeeper(self.store, self.clock)
        bench = Workbench(self.kit, self.store, self.workdir, self.clock, keeper.lease, progress, spread=self.spread())
        try:
            self._take_over(bench)
            yield bench
        finally:
            if isinstance(self.kit.submitter, DiesWithProcess):
                self.kit.submitter.close()
            keeper.release()

    def _take_over(self, bench: Workbench) -> None:
        """Note a changed file and new versions; a changed file may reopen a campaign that had stopped."""
        changed = self.refuse_fixed_changes()
        facts = self.store.read()
        versions = _versions()
        if not changed and facts.versions == versions:
            return
        with bench.write() as writer:
            if facts.versions != versions:
                writer.set_versions(versions)
            if changed:
                writer.set_spec(self.kit.spec.model_dump(mode="json"), changed)
                judge_again(bench, facts, writer)

    def spread(self) -> Spread:
        """Who carries out pieces of work. Prefect's ring puts its own task runner in this place."""
        execution = self.kit.spec.execution
        n_workers = execution.workers or os.cpu_count() or 1
        return Threads(n_workers) if execution.runner == "threads" else NeedsPrefect(execution.runner)

    def run(
        self, *, observer: Observer | None = None, progress: Callable[[str, int, int], None] = _silent
    ) -> dict[str, Any]:
        """To the end, in this process and without Prefect. Returns the status.

        Raises
        ------
        CampaignFailed
            If the campaign cannot go on.
        """
        with self.work(progress) as bench:
            run_local(bench, observer=observer)
        return self.outcome()

    def tick(
        self, *, observer: Observer | None = None, progress: Callable[[str, int, int], None] = _silent
    ) -> dict[str, Any]:
        """One idempotent pass: collect, decide, submit; see `engine.performing.one_pass`. Returns the status.

        Raises
        ------
        CampaignFailed
            If the campaign cannot go on.
        """
        with self.work(progress) as bench:
            run_local(bench, one_pass(waits=self.waits), observer)
        return self.outcome()

    @property
    def waits(self) -> bool:
        """Whether a pass must wait for its batch, because its jobs would die with it."""
        return isinstance(self.kit.submitter, DiesWithProcess)

    def outcome(self) -> dict[str, Any]:
        """The status.

        Raises
        ------
        CampaignFailed
            If the campaign cannot go on.
        """
        facts = self.store.read()
        if facts.phase is Phase.FAILED and facts.verdict is not None:
            raise CampaignFailed(
                f"Campaign '{self.name}' cannot go on. {facts.verdict.reason}\n"
                "If the calculation is repaired, raise 'retries' in [requests] and run again; if the pool or the"
                " labeler must change, start a campaign with another name and workdir."
            )
        return self.status()

    def status(self) -> dict[str, Any]:
        """What `motherlode status --json` prints."""
        holder = self.store.holder(self.clock.now())
        return status_of(self.store.read(), None if holder is None else str(holder))

    def ask(self) -> tuple[Candidate, ...]:
        """The candidates to label next, for a caller that labels them itself and tells the values.

        Opens a round if none is open. Nothing is submitted; asking again before telling gives the same.
        """
        with self.work() as bench:
            bench.is_asked = True
            while True:
                snapshot = bench.snapshot()
                action = next_action(snapshot)
                if isinstance(action, do.Submit | do.Wait | do.Finished):
                    break
                perform(bench, action)
            facts = self.store.read()
            planned = [r for r in facts.requests if r.state is RequestState.PLANNED and r.purpose is Purpose.CANDIDATE]
            return tuple(bench.candidate(facts, request.candidate_id) for request in planned)

    def tell(self, labels: Iterable[Told]) -> tuple[int, int, tuple[str, ...]]:
        """Bring in labels; returns how many were new, how many were known, and the conflicts that were refused."""
        return tell(self.store, self.kit.target, self.pool(), self.clock.now(), labels)

    def retract(self, candidate: str, *, reason: str, may_ask_again: bool = False) -> tuple[Retraction, ...]:
        """Take back all labels of a candidate; returns what was taken back.

        Raises
        ------
        UserError
            If there is no such label, or it is a reference.
        """
        now = self.clock.now()
        return retract(self.store, self.pool(), candidate, reason=reason, may_ask_again=may_ask_again, now=now)

    def pool(self) -> PoolFile:
        """The stored pool.

        Raises
        ------
        UserError
            If it is not built yet.
        """
        facts = self.store.read()
        if facts.pool is None:
            raise UserError(f"Campaign '{self.name}' has no pool yet; it is built by: motherlode tick {self.path}")
        return PoolFile(Blobs(self.workdir / "files").path(str(facts.pool["file"])))

    def record(self) -> CampaignRecord:
        """All that a report may show."""
        return record_of(self.store.read(), self.kit, Blobs(self.workdir / "files"), self.clock.now())


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError as error:
            raise StoreError(f"{package} is not installed, and Motherlode needs it: reinstall motherlode.") from error
    return found
