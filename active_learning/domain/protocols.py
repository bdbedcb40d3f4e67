"""What a plug-in is, kind by kind: at most three methods each, further capabilities by small protocols.

Models are described in `models`, acquisitions and selections in `choosing`; everything can be imported from here.

A plug-in is a class with two things: ``Options``, a subclass of `active_learning.domain.options.Options` (the keys
of its table in the campaign file), and ``__init__(self, options)``. Building one must be cheap and touch nothing:
errors that only the outside world can reveal belong to the methods.

The laws below are tested by the contract suites in ``active_learning.testing``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.campaign import Progress, Verdict
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.choosing import (
    Acquisition,
    Attributes,
    Batch,
    Outcome,
    ScoresAreGains,
    ScoresByRow,
    Scoring,
    Selection,
)
from active_learning.domain.job import Job, JobReport, JobSpec
from active_learning.domain.label import Failure, Measurement
from active_learning.domain.models import (
    Classifies,
    FittedSurrogate,
    HasDraws,
    HasHeldOut,
    HasImportances,
    HasSettings,
    KnowsCovariance,
    Portable,
    Surrogate,
)
from active_learning.domain.target import Goal, Target

__all__ = [
    "Acquisition",
    "AnsweredByPeople",
    "Attributes",
    "Batch",
    "BudgetRule",
    "Cancels",
    "Classifies",
    "Clock",
    "DiesWithProcess",
    "FeatureBlock",
    "FeaturePart",
    "Featurizer",
    "FittedSurrogate",
    "Greets",
    "HasDraws",
    "HasHeldOut",
    "HasImportances",
    "HasMembers",
    "HasParts",
    "HasSettings",
    "KnowsCovariance",
    "KnowsLabels",
    "Labeler",
    "Outcome",
    "Pool",
    "Portable",
    "References",
    "RefusesGoals",
    "Remembers",
    "SaysProtocol",
    "ScoresAreGains",
    "ScoresByRow",
    "Scoring",
    "Selection",
    "StoppingRule",
    "SubmitsMany",
    "Submitter",
    "Surrogate",
]

Floats = NDArray[np.float64]


@runtime_checkable
class HasMembers(Protocol):
    """A plug-in made of others of its kind, whose tables stand inside its own: a committee, a set of rules.

    Parameters
    ----------
    members_key : the option that holds the tables, so that a fault is found in its line
    """

    members_key: ClassVar[str]

    def member_tables(self, goal: Goal) -> tuple[dict[str, Any], ...]:
        """A table for each member, as it would stand in the file: its `kind` and options."""

    def with_members(self, members: Sequence[Any]) -> Any:
        """The same plug-in with these members, one for each table."""


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> datetime:
        """The present, UTC, timezone-aware."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class Pool(Protocol):
    """Where candidates come from."""

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every candidate, and everything that was read and not taken, with its reason.

        Laws: the same options and files give the same candidates in the same order; one bad file or row costs
        itself only (it is yielded as `Dropped`); a candidate that was already yielded is `Dropped` as a duplicate.

        Raises
        ------
        UserError
            If there is nothing to read at all (no such folder, an empty file).
        """


@runtime_checkable
class KnowsLabels(Protocol):
    """A pool that brings labels of its candidates along: they are the campaign's first labels."""

    def known_labels(self, property_name: str) -> Iterator[tuple[str, Measurement]]:
        """Candidate id and what is known of it, for candidates that `read` yields; no candidate twice.

        Parameters
        ----------
        property_name : the target's; the measurement's one value has this name
        """


@dataclass(frozen=True, eq=False)
class FeatureBlock:
    """Descriptors of some candidates.

    Parameters
    ----------
    values : (n_candidates, n_features)
        A feature that could not be computed is NaN.
    failures : row -> reason, one line
        Why features of this row are NaN: some of them, or all. A row that is not named is finite.
    """

    values: Floats
    failures: Mapping[int, str] = field(default_factory=dict)


class Featurizer(Protocol):
    """Descriptors of a candidate."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, unique, in the order of the columns. May import heavy libraries."""

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """Features of each candidate.

        Laws: a row depends on its own candidate only; a candidate that cannot be featurized is in `failures`, and
        never an exception; every value of the other rows is finite.
        """


class FeaturePart(Protocol):
    """One descriptor of a featurizer that has several: computed, timed and limited on its own.

    Laws: `label` is unique in its featurizer. What is `of_composition` is computed once for each composition of the
    pool, on candidates without a crystal. What `is_batched` is quicker with many candidates at once, and safe: none can
    make it hang or kill its process; the others get one candidate at a time, each under the time limit.
    """

    @property
    def label(self) -> str:
        """What the user calls it."""

    @property
    def of_composition(self) -> bool:
        """Whether it looks at the composition alone."""

    @property
    def is_batched(self) -> bool:
        """Whether it takes many candidates at once."""

    @property
    def names(self) -> tuple[str, ...]:
        """As `Featurizer.names`."""

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """As `Featurizer.featurize`."""


@runtime_checkable
class HasParts(Protocol):
    """A featurizer made of several descriptors."""

    @property
    def parts(self) -> Sequence[FeaturePart]:
        """Its descriptors. Law: their columns side by side, in this order, are the featurizer's."""


@runtime_checkable
class Remembers(Protocol):
    """A featurizer that keeps costly intermediate results (oxidation states) on disk."""

    def with_memory(self, folder: Path) -> Featurizer:
        """The same featurizer, which keeps them in this folder; several processes may share it."""


class Labeler(Protocol):
    """What is computed for a label."""

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of each property this labeler can give."""

    def prepare(self, candidate: Candidate) -> JobSpec:
        """The job that labels a candidate.

        Law: the same candidate and options give an equal job.

        Raises
        ------
        UserError
            If this labeler can never label such a candidate; the request fails as `rejected`.
        """

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """What came out of a job that ended. Reads the directory only; never raises for what a job left there."""


@runtime_checkable
class References(Protocol):
    """A labeler that measures against the elements (formation energies)."""

    def references(self, elements: Sequence[str]) -> Mapping[str, Candidate]:
        """For each element the crystal whose energy is zero by definition; empty if the property needs none."""

    def with_references(self, energies: Mapping[str, Measurement]) -> Labeler:
        """A labeler that measures against these."""


@runtime_checkable
class SaysProtocol(Protocol):
    """A labeler that can say all that its values depend on: then labels can be shared across campaigns."""

    def protocol(self) -> Mapping[str, Any]:
        """The codes behind its values and their versions, a JSON object: what does not stand in a job's inputs.

        Raises
        ------
        UserError
            If a version is not known here.
        """


class Submitter(Protocol):
    """Where a job is computed.

    Laws: a job that `submit` returned for is found by `find` and answered by `poll`, also from another process
    and after a crash of this one; submitting never runs a job twice, because a job directory starts once only
    (`active_learning.jobs`); all methods may be called from one thread at a time.
    """

    def submit(self, job: Job) -> str:
        """Launch a job; return the backend's handle for it.

        Raises
        ------
        TransientSubmitError
            The job was certainly not launched; trying again may work.
        BackendSilent
            Nothing is known about the job: the request stays in doubt, until the backend answers.
        BackendError
            No job can be launched at all, and a person must see to it; of this one nothing is known.
        """

    def find(self, job: Job) -> str | None:
        """The handle of a job that may or may not have been launched; None if it certainly was not.

        Raises
        ------
        BackendSilent
            If the backend does not answer: the request stays in doubt.
        """

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle. A backend that does not answer is UNKNOWN, never ENDED."""


@runtime_checkable
class Cancels(Protocol):
    """A submitter that can end jobs."""

    def cancel(self, handles: Sequence[str]) -> None:
        """End these jobs; unknown or ended ones are left alone."""


@runtime_checkable
class Greets(Protocol):
    """A submitter whose backend can be asked, before any job is launched, whether it is there."""

    def greet(self) -> str:
        """What `motherlode check` tells of the backend, in a line.

        Raises
        ------
        BackendError
            If it cannot be reached or does not answer.
        """


@runtime_checkable
class SubmitsMany(Protocol):
    """A submitter that launches many jobs with one call."""

    def submit_many(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """Launch jobs; job name -> handle. A job that is not in the answer was certainly not launched.

        Raises
        ------
        TransientSubmitError
            None of them was launched; trying again may work.
        BackendSilent
            Nothing is known about any of them: all stay in doubt.
        """


@runtime_checkable
class AnsweredByPeople(Cancels, Protocol):
    """A submitter whose jobs nobody runs: people calculate or measure, and tell the label."""

    answered_by_people: ClassVar[bool]


@runtime_checkable
class DiesWithProcess(Protocol):
    """A submitter whose jobs live no longer than the process that submitted them; a tick waits for its batch."""

    def close(self) -> None:
        """End what still runs and release all resources; twice is fine."""


class StoppingRule(Protocol):
    """When to stop, and why."""

    def check(self, progress: Progress) -> Verdict | None:
        """A verdict to stop, or None to go on. A pure function of `progress`."""


@runtime_checkable
class RefusesGoals(Protocol):
    """A stopping rule that makes no sense for every target."""

    def refusal(self, target: Target) -> str | None:
        """Why it cannot serve this target, and what to do; None if it can."""


@runtime_checkable
class BudgetRule(Protocol):
    """A stopping rule that limits how many candidates are requested."""

    def remaining(self, progress: Progress) -> int:
        """How many more candidates may be requested; >= 0."""
