"""What a batch system calls a job, and the handle under which the campaign keeps it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from active_learning.domain.job import Job

__all__ = ["UNKNOWN_ID", "UNTOLD", "Handle", "batch_name"]

UNKNOWN_ID = "?"
"""Stands for the id of a job that only its directory tells of."""
UNTOLD = "-"
"""Stands for the submit time where the batch system does not tell it."""

_LONGEST_READABLE = 48
_HANDLE = re.compile(r'(?P<id>\S+) submitted (?P<submitted>\S+) as (?P<name>\S+) in (?P<directory>".*")')


def batch_name(job: Job) -> str:
    """The job's name in the batch system: letters, digits, dots, dashes and underscores, beginning with a letter.

    Its last part is a hash of the job's name and directory: two campaigns of the same name never take each other's
    jobs for their own, whatever the names are cut to.
    """
    of = hashlib.sha256(f"{job.name}\0{job.directory}".encode(errors="surrogatepass")).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", job.name)[:_LONGEST_READABLE]
    # PBS and SGE take no name that begins with a digit.
    return f"{readable}.{of}" if readable[:1].isalpha() else f"j{readable}.{of}"


@dataclass(frozen=True)
class Handle:
    """A job of a batch system.

    Parameters
    ----------
    id : the batch system's, which may give it again to another job one day
    submitted : when, in the batch system's own words; together with the name it tells a job from a later one of its id
    name : `batch_name`
    directory : the job's, on this machine
    """

    id: str
    submitted: str
    name: str
    directory: Path

    def __str__(self) -> str:
        return f"{self.id} submitted {self.submitted} as {self.name} in {json.dumps(str(self.directory))}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The handle that was written so; None for any other text."""
        match = _HANDLE.fullmatch(text.strip())
        if match is None:
            return None
        try:
            directory = json.loads(match["directory"])
        except ValueError:
            return None
        return cls(match["id"], match["submitted"], match["name"], Path(directory))
