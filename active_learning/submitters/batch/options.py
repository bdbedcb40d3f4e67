"""What a user says of their cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from active_learning.domain import options

__all__ = ["BatchOptions", "Word"]


def _one_line(text: str) -> str:
    if not text.strip() or any(
        (ord(character) < 32 and character != "\t") or ord(character) == 127 for character in text
    ):
        raise ValueError(f"{text!r} must be one line of text")
    return text


def _word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.,:@+/-]*", text):
        raise ValueError(f"{text!r} is not a name: letters, digits and _ . , : @ + / - without spaces")
    return text


def _directive(text: str) -> str:
    if not _one_line(text).startswith("-"):
        raise ValueError(
            f"{text!r} is not a directive: it begins with a dash, such as '--constraint=fast' or '-l gpu=1'"
        )
    return text


def _host(text: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9_.+-]*@)?[A-Za-z0-9_][A-Za-z0-9_.:-]*", text):
        raise ValueError(f"{text!r} is not a host: write 'cluster', 'user@cluster' or a name of your ssh configuration")
    return text


def _remote_folder(text: str) -> str:
    text = _one_line(text).removeprefix("~/").rstrip("/")
    if not text or text.startswith(("~", "-")):
        raise ValueError(f"{text!r} is not a folder: write '/scratch/me/jobs', or 'jobs' for one in your home there")
    return text


def _home(value: Any) -> Any:
    return Path(value).expanduser() if isinstance(value, str) and value.startswith("~") else value


Word = Annotated[str, AfterValidator(_word)]
"""A name that a batch system takes as it stands."""
_Line = Annotated[str, AfterValidator(_one_line)]
_File = Annotated[options.FilePath, BeforeValidator(_home)]


class BatchOptions(options.Options):
    """Keys of ``[submitter]`` with ``kind = "slurm"`` or ``"pbs"``."""

    queue: Word | None = Field(None, description="Partition or queue; without it, the site's default.")
    account: Word | None = Field(None, description="Account or project that pays.")
    qos: Word | None = Field(None, description="Quality of service.")
    header: tuple[Annotated[str, AfterValidator(_directive)], ...] = Field(
        (), description='More directives, without their mark: ["--constraint=fast", "--exclusive"]. They come last.'
    )
    environment: tuple[_Line, ...] = Field(
        (),
        description='Lines that the compute node runs before the job: ["module load qe", "source ~/env/bin/activate"]. '
        "One that fails ends the job.",
    )
    python: _Line | None = Field(
        None,
        description="Interpreter on the compute node in which this package is installed; without it, the one that "
        "runs the campaign. Must be given with `host`.",
    )
    time_margin: options.Duration = Field(
        60.0,
        description="How much later than the request's own time limit the batch system's is, so that the job's end is "
        "noted; the lines of `environment` run in it, too.",
    )
    answer_within: options.Duration = Field(
        60.0, description="A command of the batch system that takes longer is silent."
    )
    host: Annotated[str, AfterValidator(_host)] | None = Field(
        None, description="Where the batch system is, if not here: `user@cluster`, reached by ssh with your keys."
    )
    directory: Annotated[str, AfterValidator(_remote_folder)] | None = Field(
        None, description="Folder on `host` for the jobs; relative to your home there if it is not absolute."
    )
    port: int | None = Field(None, ge=1, le=65535, description="Port of ssh on `host`.")
    identity_file: _File | None = Field(None, description="Private key for `host`; without it, those that ssh finds.")
    ssh_config: _File | None = Field(None, description="Configuration of ssh instead of your own.")
    transfer_within: options.Duration = Field(600.0, description="Time for a job's files to go to `host` or come back.")

    @model_validator(mode="after")
    def _host_and_its_keys(self) -> Self:
        if self.host is None:
            if lost := [
                k for k in ("directory", "port", "identity_file", "ssh_config") if getattr(self, k) is not None
            ]:
                raise ValueError(f"{', '.join(lost)} only makes sense with `host`, the cluster that ssh reaches")
        elif missing := [key for key in ("directory", "python") if getattr(self, key) is None]:
            raise ValueError(
                f"with `host`, say also {' and '.join(missing)}: where jobs lie there and which Python runs them"
            )
        return self
