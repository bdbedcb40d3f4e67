"""The peers by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from peers.base import Goal, Peer

__all__ = ["PEERS", "load_peer"]

PEERS: Mapping[str, str] = {
    "random": "peers.chance:Chance",
    "modal_gp": "peers.modal_gp:ModalGaussianProcess",
    "modal_committee": "peers.modal_committee:ModalCommittee",
    "activeml_greedy": "peers.activeml:GreedySampling",
    "activeml_committee": "peers.activeml:CommitteeOfTrees",
    "botorch_gp": "peers.botorch_gp:BotorchGaussianProcess",
    "baybe_campaign": "peers.baybe_campaign:BaybeCampaign",
}
"""Name to module:class."""


def load_peer(name: str, goal: Goal) -> Peer:
    """Import and make a peer.

    Raises
    ------
    ValueError
        If no peer has that name.
    ImportError
        If its library is not installed.
    """
    if name not in PEERS:
        raise ValueError(f"No peer named {name!r}. There are: {', '.join(PEERS)}.")
    module, class_name = PEERS[name].split(":")
    peer: Peer = getattr(import_module(module), class_name)(goal)
    return peer
