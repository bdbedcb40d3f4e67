"""Put the report where a browser finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from active_learning.api.record import CampaignRecord
from active_learning.errors import UserError
from active_learning.reporting.report import render_html

__all__ = ["write_report"]


def write_report(record: CampaignRecord, path: Path, *, map_method: Literal["pca", "umap"] = "pca") -> Path:
    """Write the report, whole or not at all; returns its absolute path.

    Raises
    ------
    UserError
        If it cannot be written there, or UMAP is asked for and not installed.
    """
    text = render_html(record, map_method=map_method)
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"The report {path} cannot be written: {error.strerror}.") from error
    return path
