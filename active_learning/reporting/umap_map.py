"""UMAP of descriptors: an optional extra, imported only when somebody asks for it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import UserError

__all__ = ["umap_plane"]

Floats = NDArray[np.float64]

_FEWEST = 4


def _umap() -> Any:
    """umap-learn, whose first import compiles for half a minute and more."""
    try:
        return importlib.import_module("umap")
    except ModuleNotFoundError as error:
        raise UserError(
            "A UMAP map needs umap-learn, which is not installed. Install it with: pip install 'motherlode[umap]', "
            "or make the report with the map 'pca'."
        ) from error


def umap_plane(X: Floats, *, seed: int) -> Floats:
    """Two-dimensional UMAP, (n, 2), of standardized descriptors (n, n_features).

    Raises
    ------
    UserError
        If umap-learn is not installed, or there are fewer than four candidates: they have no neighborhoods.

    References
    ----------
    McInnes, Healy & Melville (2018), arXiv:1802.03426.
    """
    if len(X) < _FEWEST:
        raise UserError(f"a UMAP map needs at least {_FEWEST} candidates, got {len(X)}; use the map 'pca'")
    reducer = _umap().UMAP(n_components=2, n_neighbors=min(15, len(X) - 1), random_state=seed % 2**32, n_jobs=1)
    return np.asarray(reducer.fit_transform(X), dtype=np.float64)
