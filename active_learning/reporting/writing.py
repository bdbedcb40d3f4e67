"""Put the report where people find it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from active_learning.api.record import CampaignRecord
from active_learning.errors import UserError
from active_learning.reporting.contents import contents_of
from active_learning.reporting.files import encoded, figure_files
from active_learning.reporting.maps import MapMethod
from active_learning.reporting.markdown_report import markdown_of
from active_learning.reporting.report import page_of

__all__ = ["Format", "figures_folder", "write_report"]

Format = Literal["html", "md"]


def figures_folder(path: Path) -> Path:
    """Where the figures of a report in Markdown go if nobody says: beside it, under its name.

    >>> figures_folder(Path("a/report.md")).as_posix()
    'a/report_figures'
    """
    return path.with_name(f"{path.stem}_figures")


def write_report(
    record: CampaignRecord,
    path: Path,
    *,
    map_method: MapMethod = "pca",
    form: Format = "html",
    figures: Path | None = None,
) -> Path:
    """Write the report, and its figures as files if asked for; returns the report's absolute path.

    Each file is there whole or not at all; the report is the last, so that all it names is there.

    Parameters
    ----------
    form : a page that holds its figures, or Markdown, whose figures are files
    figures : the folder for each figure as .svg and .png with its numbers as .csv; without it a page has none, and
        Markdown those of `figures_folder`

    Raises
    ------
    UserError
        If it cannot be written there, or UMAP is asked for and not installed.
    """
    contents, path = contents_of(record, map_method=map_method), path.resolve()
    folder = figures_folder(path) if figures is None and form == "md" else figures
    # Before the files: a figure that was drawn once in another resolution is laid out a little differently.
    text = markdown_of(contents, _seen_from(path, folder)) if form == "md" and folder else page_of(contents)
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in figure_files(record, contents.drawings):
                _write(folder / name, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, encoded(text))
    except OSError as error:
        raise UserError(f"The report {error.filename or path} cannot be written: {error.strerror}.") from error
    return path


def _seen_from(path: Path, folder: Path) -> str:
    """The way from a report to the folder of its figures, with slashes."""
    return Path(os.path.relpath(folder.resolve(), path.parent)).as_posix()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
