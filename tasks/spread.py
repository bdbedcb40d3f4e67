"""Pieces of featurizing and scoring as tasks: on the threads of the flow, or on a Dask or Ray cluster.

A piece is paths and row numbers; its task returns how many candidates it did. All workers must see the campaign's
folder. A worker that dies costs the chunk it had in hand: whoever gets its piece next finds the others done.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed

from active_learning.config.spec import Execution
from active_learning.domain.execution import Piece
from active_learning.errors import UserError

__all__ = ["PrefectSpread"]


@task(name="piece", task_run_name="{what} {rows}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def _piece(work: str, piece: Piece, what: str, rows: str) -> int:  # noqa: ARG001 - they name the run
    """Do one piece, wherever this runs."""
    done: int = pkgutil.resolve_name(work)(piece)
    return done


def _rows(piece: Piece) -> str:
    """The rows of a piece, for people."""
    first, last = (piece["chunks"][0], piece["chunks"][-1]) if "chunks" in piece else (piece["rows"], piece["rows"])
    return f"{first[0]:,} to {last[1]:,}"


@dataclass(frozen=True)
class _Work:
    """What a flow that spreads pieces has to do."""

    name: str
    pieces: Sequence[Piece]
    what: str
    done: Callable[[int], None]


_HANDED: dict[str, _Work] = {}
"""By key: Prefect sends a flow's parameters to its server, and the flow with all that it names to each worker."""


def _handed(key: str) -> _Work:
    """What a flow of this process was handed."""
    return _HANDED[key]


@flow(persist_result=False, retries=0)
def _spread(key: str) -> None:
    """Submit all pieces to the task runner, and wait."""
    work = _handed(key)
    waiting = [_piece.submit(work.name, piece, work.what, _rows(piece)) for piece in work.pieces]
    try:
        for future in as_completed(waiting):
            work.done(future.result())
    finally:
        for future in waiting:
            _drop(future)


@dataclass(frozen=True)
class PrefectSpread:
    """Carries pieces out by Prefect's task runners. To be used inside a flow run.

    Parameters
    ----------
    execution : the table [execution]
    n_workers : pieces at once, as far as this machine knows
    """

    execution: Execution
    n_workers: int

    def run(
        self, work: Callable[[Piece], int], pieces: Sequence[Piece], what: str, done: Callable[[int], None]
    ) -> None:
        """Do `work` for each piece."""
        name = f"{work.__module__}:{work.__qualname__}"
        if self.execution.runner == "threads":
            for future in self._in_turn(name, pieces, what):
                done(future.result())
            return

        key = uuid4().hex
        _HANDED[key] = _Work(name, pieces, what, done)
        try:
            _spread.with_options(name=what, task_runner=self._runner())(key)
        finally:
            del _HANDED[key]

    def _in_turn(self, name: str, pieces: Sequence[Piece], what: str) -> Iterator[PrefectFuture[int]]:
        """On the flow's own threads, of which there are many for other things: no more at once than workers."""
        waiting: list[PrefectFuture[int]] = []
        for piece in pieces:
            if len(waiting) >= self.n_workers:
                ready = next(iter(as_completed(waiting)))
                waiting.remove(ready)
                yield ready
            waiting.append(_piece.submit(name, piece, what, _rows(piece)))
        yield from as_completed(waiting)

    def _runner(self) -> Any:
        """The cluster's task runner.

        Raises
        ------
        UserError
            If the package that reaches it is not installed.
        """
        address, runner = self.execution.address, self.execution.runner
        try:
            if runner == "dask":
                from prefect_dask import DaskTaskRunner

                local: dict[str, Any] = {"host": "127.0.0.1", "n_workers": self.n_workers, "threads_per_worker": 1}
                local["dashboard_address"] = None
                return DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=local)
            from prefect_ray import RayTaskRunner

            return RayTaskRunner(address=address)
        except ImportError as error:
            needed = f'pip install "motherlode[{runner}]"'
            raise UserError(f"runner = '{runner}' in [execution] needs another package: {needed} ({error})") from error


def _drop(future: PrefectFuture[Any]) -> None:
    """Let go of a piece that waits; one that runs or is done does not mind."""
    cancel = getattr(getattr(future, "wrapped_future", None), "cancel", None)
    if cancel is not None:
        cancel()
