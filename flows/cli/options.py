"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["campaign_file"]

campaign_file = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
"""The campaign file; that it exists is checked where it is read, with an error that helps."""
