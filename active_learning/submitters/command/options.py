"""What may stand in the table of the submitter `command`; a command that cannot work is refused here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from active_learning.domain import options
from active_learning.submitters.command.templates import check_template, placeholders

__all__ = ["CommandOptions"]

_OF_A_JOB = ("name", "script", "directory", "cores", "memory_mb", "seconds")
Meaning = Literal["queued", "running", "ended", "crashed", "timeout", "out_of_memory", "node", "cancelled"]


def _program_beside_the_campaign_file(command: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    base = (info.context or {}).get("base")
    is_path = bool(command) and "/" in command[0] and "{" not in command[0]
    return (str(Path(base, command[0])), *command[1:]) if base is not None and is_path else command


CommandLine = Annotated[tuple[str, ...], AfterValidator(_program_beside_the_campaign_file)]


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error


class CommandOptions(options.Options):
    """Keys of ``[submitter]`` with ``kind = "command"``."""

    submit: CommandLine = Field(
        description="Command that submits a job, with {script}, {name}, {directory}, {cores}, {memory_mb} and "
        "{seconds} where it needs them. It succeeds (status 0) if and only if the queue has the job."
    )
    status: CommandLine = Field(
        description="Command that lists jobs, a line each; {handles} stands for those that are asked for. It fails "
        "(another status) if and only if the queue does not answer."
    )
    cancel: CommandLine = Field(description="Command that ends the job {handle}, or all {handles} at once.")
    handle_pattern: str = Field(
        r"^\s*(\S+)\s*$",
        description="Regular expression for what `submit` prints; its one group is the queue's number for the job. "
        "Without it, all that is printed must be that number.",
    )
    status_pattern: str = Field(
        description="Regular expression for a line of the list, with the groups (?P<id>...), (?P<state>...) and, "
        "if the queue tells it, (?P<name>...). Lines that do not match are passed over."
    )
    states: Mapping[str, Meaning] = Field(
        description="What the queue's words for a job's state mean: queued, running, ended, crashed, timeout, "
        "out_of_memory, node or cancelled. A job in any other state counts as unknown.",
        min_length=1,
    )
    answer_within: options.Duration = Field(60.0, description="Time that each command has to answer.")
    memory_mb: int | None = Field(
        None, ge=1, description="What {memory_mb} is for a job that does not say how much memory it needs."
    )
    python: str | None = Field(
        None, description="Interpreter on the machine where jobs run; without it, the campaign's."
    )
    environment: tuple[str, ...] = Field(
        (), description="Lines of shell to run there before a job, such as 'module load qe'."
    )

    @field_validator("submit")
    @classmethod
    def _submits(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        check_template(command, _OF_A_JOB, one_of=("script", "directory"))
        return command

    @field_validator("status")
    @classmethod
    def _lists(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        check_template(command, ("handles",))
        return command

    @field_validator("cancel")
    @classmethod
    def _cancels(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        check_template(command, ("handle", "handles"), one_of=("handle", "handles"))
        return command

    @field_validator("handle_pattern")
    @classmethod
    def _has_one_group(cls, text: str) -> str:
        if (n_groups := _pattern(text).groups) != 1:
            raise ValueError(f"{text!r} needs one group, around the queue's number for the job; it has {n_groups}")
        return text

    @field_validator("status_pattern")
    @classmethod
    def _has_named_groups(cls, text: str) -> str:
        names = set(_pattern(text).groupindex)
        if missing := sorted({"id", "state"} - names):
            raise ValueError(f"{text!r} lacks the group (?P<{missing[0]}>...)")
        if unknown := sorted(names - {"id", "state", "name"}):
            raise ValueError(f"{text!r} has a group {unknown[0]!r}; known: id, state and name")
        return text

    @field_validator("environment")
    @classmethod
    def _are_lines(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        if broken := [line for line in lines if "\n" in line or "\r" in line]:
            raise ValueError(f"{broken[0]!r} is more than one line; give each as an item of its own")
        return lines

    @model_validator(mode="after")
    def _belong_together(self) -> CommandOptions:
        if "memory_mb" in placeholders(self.submit) and self.memory_mb is None:
            raise ValueError("submit has {memory_mb}: say by memory_mb = ... what it is for jobs that do not")
        if "name" in _pattern(self.status_pattern).groupindex and "handles" in placeholders(self.status):
            raise ValueError(
                "status_pattern has the group 'name', by which jobs are looked for whose number is not known, but "
                "status lists {handles} only: let it list all jobs of yours, or leave the group out"
            )
        return self
