"""Linear algebra whose last digit does not depend on how many rows or cores there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

__all__ = ["BLOCK", "blocks", "one_thread"]

Floats = NDArray[np.float64]

BLOCK = 256
"""Rows worked on at once: their products with some hundred labels stay in the cache of a core."""


def blocks(X: Floats) -> Iterator[tuple[slice, Floats]]:
    """`X`, (n_rows, n_columns), in blocks of `BLOCK` rows, each with the rows it holds; the last is filled up with 0.

    BLAS adds up in an order that depends on the shape of a product. All blocks have one shape, so that the last digit
    of a row does not depend on how many rows are asked for with it.
    """
    for start in range(0, len(X), BLOCK):
        block = X[start : start + BLOCK]
        rows = slice(start, start + len(block))
        if len(block) < BLOCK:
            block = np.concatenate([block, np.zeros((BLOCK - len(block), X.shape[1]))])
        yield rows, block


@lru_cache(maxsize=1)
def _libraries() -> Any:
    return ThreadpoolController().select(user_api="blas")


def one_thread() -> AbstractContextManager[Any]:
    """Linear algebra on one thread: two add up in another order, and products of a few hundred rows, as here, are
    slower on two."""
    limited: AbstractContextManager[Any] = _libraries().limit(limits=1)
    return limited
