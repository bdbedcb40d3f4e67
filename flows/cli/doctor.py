"""`motherlode doctor`: what on this machine would stop a campaign."""

from __future__ import annotations

import importlib
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from active_learning.errors import MotherlodeError
from active_learning.plugins import GROUPS, installed, load

__all__ = ["doctor"]

_FREE_BYTES = 2e9
_PACKAGES = ("prefect", "sklearn", "pymatgen.core", "matminer", "ase", "modAL", "moyopy", "matplotlib")


def _python() -> str:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise MotherlodeError(f"Python {found}; Motherlode runs on 3.11 to 3.13")
    return f"Python {found}, {os.cpu_count()} cores"


def _libraries() -> str:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MotherlodeError(f"{name} cannot be imported ({error}); reinstall motherlode") from error
    return f"{len(_PACKAGES)} libraries import"


def _prefect_server() -> str:
    # Prefect's server breaks with a newer FastAPI at import, and only there: see docs/adr/0002.
    try:
        importlib.import_module("prefect.server.api.server")
    except Exception as error:
        raise MotherlodeError(
            f"Prefect's server cannot be imported ({error}); try: pip install 'fastapi<0.150'"
        ) from error
    return "Prefect's server imports"


def _plugins() -> str:
    count = 0
    for group in GROUPS:
        for info in installed(group):
            load(group, info.kind)
            count += 1
    return f"{count} plug-ins import"


def _sqlite() -> str:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        connection = sqlite3.connect(Path(folder) / "probe.db")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.close()
    if mode != "wal":
        raise MotherlodeError(
            f"SQLite cannot use WAL in {Path.cwd()} (a network disk?); put the workdir on a local one"
        )
    return f"SQLite {sqlite3.sqlite_version} with WAL"


def _disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free
    if free < _FREE_BYTES:
        raise MotherlodeError(f"only {free / 1e9:.1f} GB free in {Path.cwd()}; a campaign needs room for its jobs")
    return f"{free / 1e9:.0f} GB free"


_CHECKS: tuple[Callable[[], str], ...] = (_python, _libraries, _prefect_server, _plugins, _sqlite, _disk)


@click.command()
def doctor() -> int:
    """Say what on this machine would stop a campaign."""
    bad = 0
    for check in _CHECKS:
        try:
            click.echo(f"  ok    {check()}")
        except (MotherlodeError, OSError, sqlite3.Error) as error:
            bad += 1
            click.echo(f"  BAD   {error}")
    click.echo("nothing stands in the way" if not bad else f"{bad} things to put right")
    return 1 if bad else 0
