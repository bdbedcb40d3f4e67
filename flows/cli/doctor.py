"""`motherlode doctor`: what on this machine would stop a campaign."""

from __future__ import annotations

import importlib
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import click

from active_learning.errors import MotherlodeError, UserError
from active_learning.plugins import GROUPS, installed, load

__all__ = ["doctor"]

_FREE_BYTES = 2e9
_PROGRAMS = ("sbatch", "qsub", "ssh", "pw.x", "mpirun")
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
        too_new = tuple(int(part) for part in version("fastapi").split(".")[:2]) >= (0, 150)
        way_out = "; try: pip install 'fastapi<0.150'" if too_new else ""
        raise MotherlodeError(f"Prefect's server cannot be imported: {error}{way_out}") from error
    return "Prefect's server imports"


def _plugins() -> str:
    count, lacking = 0, []
    for group in GROUPS:
        for info in installed(group):
            try:
                load(group, info.kind)
            except UserError as error:
                if (missing := _missing(error)) is None:
                    raise
                lacking.append(f"{info.kind} ({missing})")
            else:
                count += 1
    return f"{count} plug-ins import" + (f"; not installed what these need: {', '.join(lacking)}" if lacking else "")


def _missing(error: UserError) -> str | None:
    """The package that a plug-in needs and that is not installed: an extra, since what everybody needs was tried."""
    cause = error.__cause__
    if not isinstance(cause, ModuleNotFoundError) or cause.name is None or cause.name.startswith("active_learning"):
        return None
    return cause.name.partition(".")[0]


def _programs() -> str:
    there = [name for name in _PROGRAMS if shutil.which(name)]
    absent = [name for name in _PROGRAMS if name not in there]
    return f"programs that some campaigns need: {', '.join(there) or 'none'}" + (
        f"; not here: {', '.join(absent)}" if absent else ""
    )


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


_CHECKS: tuple[Callable[[], str], ...] = (_python, _libraries, _prefect_server, _plugins, _programs, _sqlite, _disk)


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
