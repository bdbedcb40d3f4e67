"""Pieces of work on the threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from active_learning.domain.execution import Piece
from active_learning.errors import UserError

__all__ = ["NeedsPrefect", "Threads"]


@dataclass(frozen=True)
class Threads:
    """As many pieces at once as there are threads. What waits is dropped when one fails, and nobody
    waits for what is in hand then."""

    n_workers: int

    def run(
        self, work: Callable[[Piece], int], pieces: Sequence[Piece], what: str, done: Callable[[int], None]
    ) -> None:
        """Do `work` for each piece."""
        pool = ThreadPoolExecutor(self.n_workers, thread_name_prefix=what)
        waiting: set[Future[int]] = {pool.submit(work, piece) for piece in pieces}
        try:
            while waiting:
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ready:
                    done(future.result())
        finally:
            # All are done, or one failed, or Ctrl-C: then nobody waits for what is in hand, which may take an hour.
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class NeedsPrefect:
    """In the place of a cluster, where there is no Prefect to reach it."""

    runner: str
    n_workers: int = 1

    def run(
        self,
        work: Callable[[Piece], int],  # noqa: ARG002
        pieces: Sequence[Piece],  # noqa: ARG002
        what: str,  # noqa: ARG002
        done: Callable[[int], None],  # noqa: ARG002
    ) -> None:
        """Refuse.

        Raises
        ------
        UserError
            Always.
        """
        raise UserError(
            f"runner = '{self.runner}' in [execution] is one of Prefect's task runners: use 'motherlode run' or 'tick'"
            " under Prefect, or runner = 'threads' here."
        )
