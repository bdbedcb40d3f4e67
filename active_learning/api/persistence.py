"""A person's word to a campaign that others work on: said again until nobody moved it meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from active_learning.errors import StaleVersion

__all__ = ["until_it_stands_still"]

T = TypeVar("T")

_TRIES = 50


def until_it_stands_still(say: Callable[[], T]) -> T:
    """Read, decide and write, as `say` does; again if another process wrote in between.

    Raises
    ------
    StaleVersion
        If the campaign moved each of fifty times.
    """
    for n in range(_TRIES - 1):
        try:
            return say()
        except StaleVersion:
            time.sleep(0.01 * min(n, 10))
    return say()
