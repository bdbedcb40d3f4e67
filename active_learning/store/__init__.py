"""The campaign's memory: the truth about requests, labels, rounds and events."""

from active_learning.store.blobs import Blobs
from active_learning.store.lease import Holder, Lease, this_process
from active_learning.store.store import CampaignStore, Facts
from active_learning.store.writer import Writer

__all__ = ["Blobs", "CampaignStore", "Facts", "Holder", "Lease", "Writer", "this_process"]
