"""The shape of a campaign file. Plug-in tables hold a `kind` and options that only the plug-in itself can check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from active_learning.config.defaults import default_acquisition, default_selection, default_surrogate
from active_learning.domain.approval import Overdue
from active_learning.domain.label import LARGEST_VALUE, FailureKind
from active_learning.domain.options import Duration, FilePath, Megabytes, Options
from active_learning.domain.target import Goal, Target
from active_learning.preparation.options import PreparationOptions

__all__ = [
    "FIXED",
    "AcquisitionTable",
    "Approval",
    "Cache",
    "CampaignSpec",
    "Control",
    "Execution",
    "FeaturesTable",
    "PluginTable",
    "Remedy",
    "Requests",
    "Rounds",
    "Search",
    "Size",
    "Stopping",
    "TargetTable",
    "Training",
]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
FIXED = ("name", "seed", "store", "target", "pool", "features", "labeler")
"""Keys that may not change in a campaign's life: what the stored labels and choices mean."""

Count = Annotated[int, Field(ge=1)]


class PluginTable(BaseModel):
    """`kind`, and the plug-in's own keys."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str = Field(description="name of an installed plug-in, or module:Class")

    @property
    def options(self) -> dict[str, Any]:
        """The table without `kind`."""
        return dict(self.__pydantic_extra__ or {})


class FeaturesTable(PluginTable):
    """[features]: the plug-in's table, with two keys that are the engine's own."""

    missing: Literal["drop_candidate", "drop_feature", "impute"] = Field(
        "drop_candidate",
        description="what becomes of a feature that cannot be computed: the candidate is dropped, or the feature for"
        " all candidates, or the median of the labeled candidates takes its place in each fit",
    )
    time_limit: Duration = Field(60.0, description="for one descriptor of one candidate; then it counts as missing")


class AcquisitionTable(PluginTable):
    """[acquisition]: the plug-in's table, with two keys that are the engine's own."""

    weigh_success: bool = Field(
        False,
        description="multiply scores by the probability that a label succeeds, learned from the failures so far; for"
        " acquisitions whose score is an amount of gain",
    )
    per_cost: bool = Field(
        False,
        description="divide scores by the predicted run time of a label, learned from those so far; for acquisitions"
        " whose score is an amount of gain",
    )


class Training(Options):
    """[training]: how a model is judged and its uncertainty corrected."""

    validation: Literal["auto", "folds"] = Field(
        "auto",
        description="auto: by what the model knows itself of labels it was not trained on (out of bag, or by its own "
        "folds), and by folds if it knows nothing; folds: always by k-fold cross-validation, which trains as many more "
        "models",
    )
    folds: Annotated[int, Field(ge=2, le=20)] = Field(
        5, description="folds of the cross-validation; it begins once there are two labels for each"
    )
    recalibrate: bool = Field(
        True, description="correct the predicted std every round by what held-out labels say (Palmer et al., 2022)"
    )
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="share of the labels kept for a test set that represents the pool (k-means) and is never trained"
        " on; 0.2 is the 80:20 split of the textbooks",
    )


class Search(Options):
    """[search]: the surrogate's hyper-parameters, by Optuna."""

    every: Annotated[int, Field(ge=0)] = Field(0, description="rounds from one search to the next; 0: no search")
    seconds: Duration = Field(60.0, description="time for one search")
    trials: Count | None = Field(
        None, description="end a search after this many settings, too; alone it makes the choice reproducible"
    )


class Control(Options):
    """[control]: candidates drawn at random beside those the model chooses."""

    fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="share of the requests after the first design; their labels tell without bias how wrong the model"
        " is, and how much faster than chance the campaign is",
    )


class Execution(Options):
    """[execution]: where featurizing and scoring run. Labels have the submitter."""

    runner: Literal["threads", "dask", "ray"] = Field(
        "threads",
        description="Prefect's task runner: threads on this machine, or a Dask or Ray cluster that sees the same files",
    )
    address: str | None = Field(
        None,
        description="of the cluster's scheduler (tcp://... for Dask, ray://... for Ray); without it a Dask cluster on"
        " the loopback of this machine is started, and ended. Ray needs one",
    )
    workers: Count | None = Field(None, description="pieces of work at once; one for each core without it")
    without_server: Literal["go on", "wait", "stop"] = Field(
        "go on",
        description="if the Prefect server does not answer, `run` and `tick` say so, and: go on in the local loop, wait"
        " until it answers, or stop. Calculations that run are never touched",
    )

    @model_validator(mode="after")
    def _runner_and_address_agree(self) -> Self:
        if self.runner == "threads" and self.address is not None:
            raise ValueError("address goes with runner 'dask' or 'ray', not with 'threads'")
        if self.runner == "ray" and self.address is None:
            # What Ray starts by itself listens on all interfaces.
            raise ValueError("runner 'ray' needs the address of a cluster that runs already (ray start --head)")
        return self


class TargetTable(Options):
    """[target]: the property sought."""

    property: str = Field(description="a property that the labeler gives", min_length=1)
    goal: Goal = Field(description="minimize, maximize, within (with low and high), learn or classify")
    unit: str | None = Field(None, description="checked against the labeler's unit; the labeler's if not given")
    low: float | None = Field(
        None, allow_inf_nan=False, description="lower bound of the goal 'within', in the property's unit"
    )
    high: float | None = Field(
        None, allow_inf_nan=False, description="upper bound of the goal 'within', in the property's unit"
    )

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.goal is Goal.WITHIN and (self.low is None or self.high is None or self.low >= self.high):
            raise ValueError("goal 'within' needs low < high")
        largest = max(abs(self.low or 0.0), abs(self.high or 0.0))
        if largest > LARGEST_VALUE:
            raise ValueError(f"low and high are values of a property: at most {LARGEST_VALUE:g}, got {largest:g}")
        if self.goal is not Goal.WITHIN and (self.low is not None or self.high is not None):
            raise ValueError(f"low and high go with goal 'within', not with '{self.goal}'")
        return self

    def target(self, unit: str) -> Target:
        """The target, in the labeler's unit."""
        return Target(self.property, self.goal, unit, self.low, self.high)


class Rounds(Options):
    """[rounds]: how much at a time."""

    initial: Annotated[int, Field(ge=2)] = Field(
        20,
        description="candidates of the first design, k-means representatives of the pool; a model needs two labels",
    )
    batch_size: Count = Field(8, description="candidates a round")
    max_in_flight: Count = Field(
        8, description="a new round opens when in_flight + batch_size <= max_in_flight; batch_size = synchronous"
    )

    @model_validator(mode="after")
    def _room_for_a_batch(self) -> Self:
        if self.max_in_flight < self.batch_size:
            raise ValueError(
                f"max_in_flight = {self.max_in_flight} is less than batch_size = {self.batch_size}:"
                " no round could ever open"
            )
        return self


class Size(Options):
    """[[requests.sizes]]: what larger crystals get."""

    atoms: Count = Field(description="for crystals of so many atoms in the cell and more, until the next larger table")
    timeout: Duration | None = Field(None, description="time limit of one job; without it, as for all")
    cores: Count | None = Field(None, description="cores of one job; without it, as for all")
    memory: Megabytes | None = Field(None, description="memory of one job, such as '16 GB'; without it, as for all")


class Remedy(Options):
    """[requests.on.KIND]: what follows a failure of that kind."""

    retries: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="further attempts after failures of this kind; without it, they count towards the retries of all",
    )
    time: Annotated[float, Field(ge=1, le=1000)] = Field(
        1.0, description="each attempt after it gets so many times the time limit"
    )
    memory: Annotated[float, Field(ge=1, le=1000)] = Field(
        1.0, description="each attempt after it gets so many times the memory, where 'memory' is set"
    )
    settings: dict[str, Any] = Field(
        {}, description="keys of [labeler] that are put in the place of the file's in all attempts after it"
    )


class Requests(Options):
    """[requests]: what a job may use, and what becomes of one that fails."""

    timeout: Duration = Field(3600.0, description="time limit of one job")
    cores: Count = Field(1, description="cores of one job; it finds the number in MOTHERLODE_CORES")
    memory: Megabytes | None = Field(
        None, description="memory of one job, such as '4 GB'; without it, what the submitter's backend gives"
    )
    sizes: tuple[Size, ...] = Field((), description="what larger crystals get instead")
    retries: Annotated[int, Field(ge=0)] = Field(1, description="further attempts after a failure")
    lost_retries: Annotated[int, Field(ge=0)] = Field(
        20, description="further attempts after a job died with the process or machine it ran on"
    )
    on: dict[FailureKind, Remedy] = Field(
        {},
        description="what follows a failure, by its kind: crashed, unconverged, timeout, out_of_memory, rejected,"
        " unparsable, cancelled or node",
    )
    plausible: tuple[float, float] | None = Field(
        None, description="[low, high]: a value of the target outside of it is a failed calculation, not a label"
    )
    grace: Duration = Field(
        60.0, description="so long a job that its backend no longer knows may still write its files; then it is lost"
    )
    poll: Duration = Field(0.5, description="how often the submitter is asked")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        atoms = [size.atoms for size in self.sizes]
        if len(set(atoms)) < len(atoms):
            raise ValueError("two tables of sizes begin at the same number of atoms")
        if self.plausible is not None and not self.plausible[0] < self.plausible[1]:
            raise ValueError(f"plausible is [low, high] with low < high, got {list(self.plausible)}")
        if FailureKind.NODE in self.on and self.on[FailureKind.NODE].retries is not None:
            raise ValueError("how often a job that died with its node is tried again is said by lost_retries")
        return self


class Cache(Options):
    """[cache]: labels that are shared with other campaigns."""

    mode: Literal["off", "read", "read-write"] = Field(
        "off", description="read: take labels that others computed in the very same way; read-write: give ours, too"
    )
    path: FilePath | None = Field(None, description="the folder they lie in; other users need the rights to it")

    @model_validator(mode="after")
    def _has_a_path(self) -> Self:
        if self.mode != "off" and self.path is None:
            raise ValueError('a cache needs its folder: path = "..."')
        return self


class Approval(Options):
    """[approval]: a person says yes to a round before anything of it is calculated."""

    required: bool = Field(False, description="each round waits for `motherlode approve`, or the form in Prefect's UI")
    timeout: Duration | None = Field(None, description="so long it waits; without it, for ever")
    overdue: Overdue = Field(
        Overdue.WAIT, description="what follows then: wait (longer), approve (it goes on), or pause (the campaign)"
    )

    @model_validator(mode="after")
    def _has_a_time(self) -> Self:
        if self.overdue is not Overdue.WAIT and self.timeout is None:
            raise ValueError(f'overdue = "{self.overdue}" needs a time after which it is: timeout = "2 days"')
        return self


class Stopping(Options):
    """[[stopping.any]] and [[stopping.all]]: rules of which one, or all, must say stop."""

    any: tuple[PluginTable, ...] = Field((), description="one of these is enough")
    all: tuple[PluginTable, ...] = Field((), description="all of these together")


def _overlap(rounds: Any) -> bool:
    """Whether a table of [rounds], as the user wrote it, lets rounds overlap; a wrong one is told elsewhere."""
    if isinstance(rounds, Rounds):
        return rounds.max_in_flight > rounds.batch_size
    said = rounds if isinstance(rounds, Mapping) else {}
    size, flight = (said.get(key, Rounds.model_fields[key].default) for key in ("batch_size", "max_in_flight"))
    return isinstance(size, int) and isinstance(flight, int) and flight > size


class CampaignSpec(Options):
    """A campaign file."""

    name: Name = Field(description="letters, digits, dot, dash and underscore; it enters the names of jobs")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="same seed and same labels give the same choices")
    workdir: str | None = Field(None, description="beside the campaign file; <name>.campaign if not given")
    store: str = Field("sqlite", description="sqlite, or a SQLAlchemy address of PostgreSQL without its password")
    target: TargetTable
    pool: PluginTable
    features: FeaturesTable
    surrogate: PluginTable
    acquisition: AcquisitionTable
    selection: PluginTable
    rounds: Rounds = Rounds()
    labeler: PluginTable
    submitter: PluginTable = PluginTable(kind="processes")
    requests: Requests = Requests()
    stopping: Stopping = Stopping()
    preparation: PreparationOptions = PreparationOptions()
    training: Training = Training()
    search: Search = Search()
    control: Control = Control()
    execution: Execution = Execution()
    cache: Cache = Cache()
    approval: Approval = Approval()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, tables: Any) -> Any:
        """The tables that were left out, as far as the goal says what belongs there."""
        target = tables.get("target") if isinstance(tables, Mapping) else None
        goal = target.get("goal") if isinstance(target, Mapping) else getattr(target, "goal", None)
        if goal not in tuple(Goal):
            goal = Goal.MINIMIZE  # wrong or missing, which is said elsewhere
        filled = dict(tables)
        surrogate = filled.setdefault("surrogate", default_surrogate())
        known = surrogate if isinstance(surrogate, Mapping) else {}
        acquisition = filled.setdefault("acquisition", default_acquisition(Goal(goal), known))
        if isinstance(surrogate, Mapping) and isinstance(acquisition, Mapping):
            overlaps = _overlap(filled.get("rounds"))
            filled.setdefault("selection", default_selection(Goal(goal), surrogate, acquisition, overlaps=overlaps))
        filled.setdefault("selection", {"kind": "diverse"})
        return filled

    def changed(self, other: CampaignSpec) -> dict[str, bool]:
        """Top-level keys in which two specs differ -> whether that key is fixed for the campaign's life."""
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        return {key: key in FIXED for key in mine if key != "workdir" and mine[key] != theirs[key]}
