"""Hold a lease for as long as work goes on: a thread renews it, and says when it was lost."""

from __future__ import annotations

import threading

from active_learning.domain.protocols import Clock
from active_learning.errors import LeaseLost, MotherlodeError, StoreError
from active_learning.store import CampaignStore, Lease, this_process

__all__ = ["TTL_S", "LeaseKeeper"]

TTL_S = 60.0


class LeaseKeeper:
    """Takes a lease, renews it every third of its life, gives it back."""

    def __init__(self, store: CampaignStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.lease: Lease = store.acquire(this_process(), clock.now(), TTL_S)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._over.wait(TTL_S / 3):
            try:
                self._store.renew(self.lease, self._clock.now(), TTL_S)
            except LeaseLost:
                return  # the next write of the work itself is refused and says so
            except StoreError:
                continue  # a store that does not answer now may answer before the lease ends

    def release(self) -> None:
        """Stop renewing and give the lease back, if it is still ours."""
        self._over.set()
        self._thread.join()
        try:
            self._store.release(self.lease)
        except MotherlodeError:
            # Lost, or the store is out of reach: either way the lease ends by itself, and the work said what it had to.
            return
