"""Randomness that can be had again: a generator for each (campaign seed, round, purpose)."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["rng_for"]


def rng_for(seed: int, round_number: int, purpose: str) -> np.random.Generator:
    """A generator that depends on its three arguments and on nothing else.

    >>> bool(rng_for(7, 0, "fit").integers(1000) == rng_for(7, 0, "fit").integers(1000))
    True
    """
    digest = hashlib.sha256(f"{seed}/{round_number}/{purpose}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
