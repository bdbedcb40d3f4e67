"""The peers: what other libraries choose next from the same labels, each used as its own documentation uses it.

    from peers import PEERS, choose_checked, load_peer

    peer = load_peer("botorch_gp", "maximize")
    choice = choose_checked(peer, X, labeled, merits, n=5, rng=np.random.default_rng(0))

The modules are loaded by name, since nobody needs torch to run `random`. Versions are pinned in ../requirements.txt.
"""

from peers.base import Choice, Goal, Peer, choose_checked
from peers.catalog import PEERS, load_peer

__all__ = ["PEERS", "Choice", "Goal", "Peer", "choose_checked", "load_peer"]
