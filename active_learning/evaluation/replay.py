"""A campaign replayed on known values: the engine itself decides and learns, only labeling is imagined."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from active_learning.domain import actions as do
from active_learning.domain.campaign import Phase, RoundRecord
from active_learning.domain.label import Failure, FailureKind, Label
from active_learning.domain.prediction import Prediction
from active_learning.domain.request import RequestState
from active_learning.engine.assembly import Kit, assemble
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform
from active_learning.engine.workbench import Workbench
from active_learning.errors import CampaignFailed, ContractError
from active_learning.evaluation.ground import Ground
from active_learning.evaluation.memory_store import MemoryStore
from active_learning.evaluation.replayed import LabelTaken, Order, Replayed, RoundSeen
from active_learning.evaluation.stand_ins import replay_file
from active_learning.evaluation.virtual import START, VirtualClock, VirtualWorkers, seconds_of
from active_learning.learning.validation import metrics_of
from active_learning.store import CampaignStore, Lease, this_process

__all__ = ["kit_of", "replay"]

_S = RequestState
_POLL_S = 1.0
"""How often the imagined workers are asked. They are asked at once when one of them ends, so that it does not matter,
as long as it is not 0."""
_FIDELITY = "backtest"


def kit_of(order: Order) -> Kit:
    """The plug-ins of a replay.

    Raises
    ------
    SpecError
        With every fault of its tables.
    """
    tables = dict(order.tables) | {"name": "replay", "seed": order.seed}
    kit = assemble(replay_file(tables, base=order.base, unit=order.unit))
    return replace(kit, settings=replace(kit.settings, poll_s=_POLL_S))


def replay(ground: Ground, order: Order, folder: Path) -> Replayed:
    """Replay one campaign.

    The same ground and order give the same result, and the choices are those of a campaign of this file whose labels
    come as fast as here.

    Parameters
    ----------
    folder : for files that last as long as the replay

    Raises
    ------
    SpecError
        With every fault of the order's tables.
    CampaignFailed
        If the campaign cannot go on.
    """
    started = time.perf_counter()
    work = _Work.of(ground, order, folder)
    work.tell(order.told)
    work.go_on()
    return work.result(time.perf_counter() - started)


@dataclass
class _Work:
    """A replay on its way."""

    ground: Ground
    order: Order
    bench: Workbench
    clock: VirtualClock
    workers: VirtualWorkers
    seen: list[RoundSeen] = field(default_factory=list)

    @classmethod
    def of(cls, ground: Ground, order: Order, folder: Path) -> _Work:
        kit, clock = kit_of(order), VirtualClock()
        store = MemoryStore(kit.spec.name, clock.now())
        with store.write(clock.now()) as writer:
            writer.set_pool(ground.pool)
            writer.set_features(ground.features)
        files = folder / "files"
        files.mkdir(parents=True, exist_ok=True)
        for name in ground.file_names:
            (files / name).symlink_to(ground.blobs.path(name).resolve())
        bench = Workbench(
            kit=kit,
            # It keeps the laws of one, as far as the steps that are called here rely on them.
            store=cast(CampaignStore, store),
            workdir=folder,
            clock=clock,
            lease=Lease(this_process(), 1, START),
            progress=lambda _what, _done, _total: None,
            is_asked=True,
        )
        return cls(ground, order, bench, clock, VirtualWorkers(kit.settings.max_in_flight))

    def tell(self, rows: Sequence[int]) -> None:
        """Tell labels before anything is asked for."""
        with self.bench.write() as writer:
            for row in rows:
                writer.add_label(self._label(self.ground.ids[row], None))

    def _label(self, candidate_id: str, request_id: str | None) -> Label:
        value = float(self.ground.values[self.ground.ids.row(candidate_id)])
        target = self.bench.kit.target
        return Label(
            candidate_id, target.property, value, target.unit, self.clock.now(), _FIDELITY, request_id=request_id
        )

    def go_on(self) -> None:
        """Act until nothing is left to do."""
        while True:
            action = next_action(self.bench.snapshot())
            match action:
                case do.Finished():
                    return
                case do.Submit(request_ids):
                    self._submit(request_ids)
                case do.Collect():
                    self._collect()
                case do.Wait():
                    self.clock.jump_to(self.workers.next_end)
                    self.bench.polled_at = None
                case do.OpenRound() | do.Conclude():
                    self._learn(action)
                case do.Retry() | do.CancelPlanned() | do.Fail():
                    perform(self.bench, action)
                case _:
                    raise ContractError(f"there is no cause for {type(action).__name__} in a replay")

    def _submit(self, request_ids: Sequence[str]) -> None:
        requests = {request.id: request for request in self.bench.store.read().requests}
        with self.bench.write() as writer:
            for request_id in request_ids:
                request = requests[request_id]
                writer.move(request_id, _S.PLANNED, _S.SUBMITTING)
                writer.move(request_id, _S.SUBMITTING, _S.RUNNING, handle=f"virtual-{request_id}")
                time_s = self.order.labeling.time_s(request.candidate_id, request.attempt, self.order.seed)
                self.workers.submit(request_id, self.clock.now(), time_s)

    def _collect(self) -> None:
        requests = {request.id: request for request in self.bench.store.read().requests}
        self.bench.polled_at = self.clock.now()
        for request_id in self.workers.take_ended(self.clock.now()):
            request = requests[request_id]
            with self.bench.write() as writer:
                if self.order.labeling.fails(request.candidate_id, request.attempt, self.order.seed):
                    failure = Failure(FailureKind.CRASHED, "imagined, at the failure rate of the backtest")
                    writer.move(request_id, _S.RUNNING, _S.FAILED, failure=failure)
                else:
                    writer.move(request_id, _S.RUNNING, _S.SUCCEEDED)
                    writer.add_label(self._label(request.candidate_id, request_id))

    def _learn(self, action: do.OpenRound | do.Conclude) -> None:
        """Open a round, or conclude, and look at what was learned."""
        before = self.bench.store.read()
        perform(self.bench, action)
        after = self.bench.store.read()
        if len(after.rounds) > len(before.rounds):
            record, previous = after.rounds[-1], before.rounds[-1:]
            rows = self.ground.ids.rows(label.candidate_id for label in before.labels)
            n_failed = sum(request.state is _S.FAILED for request in before.requests)
            errors = self._errors(record, rows)
            self.seen.append(
                RoundSeen(record.number, self.clock.elapsed_s, len(rows), n_failed, record.n_picks, errors)
            )
            self._forget(record, previous)
        if isinstance(action, do.OpenRound):
            self.clock.sleep(self.order.labeling.decision_s)

    def _errors(self, record: RoundRecord, labeled: NDArray[np.intp]) -> dict[str, float]:
        """Of the round's model on all candidates that have no label."""
        if record.predictions is None or len(labeled) == len(self.ground):
            return {}
        said = np.load(self.bench.blobs.path(record.predictions), mmap_mode="r", allow_pickle=False)
        rest = np.setdiff1d(np.arange(len(self.ground)), labeled)
        believed = np.asarray(said[rest])
        prediction = Prediction(believed[:, :1], believed[:, 1:2])
        if record.classes:
            prediction = Prediction.of_classes(np.array(record.classes), believed[:, 2:])
        return dict(metrics_of(self.ground.values[rest], prediction))

    def _forget(self, record: RoundRecord, previous: Sequence[RoundRecord]) -> None:
        """Remove the predictions of the round before: the next one is compared with this one."""
        for old in previous:
            if old.predictions is not None and record.predictions not in (None, old.predictions):
                self.bench.blobs.path(old.predictions).unlink()

    def result(self, wall_s: float) -> Replayed:
        """What came out.

        Raises
        ------
        CampaignFailed
            If the campaign could not go on.
        """
        facts = self.bench.store.read()
        verdict = facts.verdict
        if facts.phase is not Phase.STOPPED or verdict is None:
            why = verdict.reason if verdict else f"it is {facts.phase}, and nothing is left to do"
            raise CampaignFailed(f"{self.order.strategy}, seed {self.order.seed}: {why}")
        round_of = {request.id: request.round for request in facts.requests}
        return Replayed(
            strategy=self.order.strategy,
            seed=self.order.seed,
            labels=tuple(
                LabelTaken(
                    self.ground.ids.row(label.candidate_id),
                    seconds_of(label.time),
                    round_of.get(label.request_id or "", -1),
                )
                for label in facts.labels
            ),
            rounds=tuple(self.seen),
            n_failed=sum(request.state is _S.FAILED for request in facts.requests),
            usage=dict(self.workers.usage),
            stopped=verdict.reason,
            wall_s=wall_s,
        )
