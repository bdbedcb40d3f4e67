"""What stands in a replay's campaign in the places of pool, features and labeler: the replay has its own.

So nothing that they need (calculators, descriptor libraries, files) is loaded again for each replay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import Field

from active_learning.config import CampaignFile, CampaignSpec
from active_learning.domain import options
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, Measurement
from active_learning.domain.protocols import FeatureBlock
from active_learning.errors import ContractError

__all__ = ["NoFeatures", "NoLabeler", "NoPool", "replay_file"]


def _refuse(what: str) -> NoReturn:
    raise ContractError(f"a replay has its {what} already")


class NoPool:
    """No pool."""

    class Options(options.Options):
        """Keys of ``[pool]``: none."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def read(self) -> Iterator[Candidate | Dropped]:
        """Refused: the candidates are there."""
        _refuse("candidates")


class NoFeatures:
    """No featurizer."""

    class Options(options.Options):
        """Keys of ``[features]``: none."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def names(self) -> tuple[str, ...]:
        """No features."""
        return ()

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:  # noqa: ARG002
        """Refused: the features are there."""
        _refuse("features")


class NoLabeler:
    """No labeler; it says only what it would be asked for."""

    class Options(options.Options):
        """Keys of ``[labeler]``."""

        property: str = Field(description="The target's property.")
        unit: str = Field("", description="Its unit.")

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def units(self) -> Mapping[str, str]:
        """The property and its unit."""
        return {self.options.property: self.options.unit}

    def prepare(self, candidate: Candidate) -> JobSpec:  # noqa: ARG002
        """Refused: the labels are there."""
        _refuse("labels")

    def parse(self, job_dir: Path) -> Measurement | Failure:  # noqa: ARG002
        """Refused: the labels are there."""
        _refuse("labels")


def replay_file(tables: Mapping[str, Any], *, base: Path, unit: str, text: str = "") -> CampaignFile:
    """A campaign file for a replay: the user's, with the places of pool, features, labeler and submitter filled.

    Parameters
    ----------
    tables : of the campaign file; [pool], [labeler] and [submitter] may be missing, and of [features] all but `missing`
    base : the campaign file, beside which the user's own classes lie
    unit : of the target's property
    text : of the file, for the lines of faults

    Raises
    ------
    ValidationError
        If the tables are no campaign file; who comes with a file has read it (`read_campaign_file`) before.
    """
    target = tables["target"]
    here = __name__
    missing = {key: value for key, value in dict(tables.get("features") or {}).items() if key == "missing"}
    filled = dict(tables) | {
        "pool": {"kind": f"{here}:NoPool"},
        "features": {"kind": f"{here}:NoFeatures"} | missing,
        "labeler": {"kind": f"{here}:NoLabeler", "property": target["property"], "unit": unit},
        "submitter": {"kind": "inline"},
        "store": "sqlite",
        "execution": {},
    }
    return CampaignFile(base, text, filled, CampaignSpec.model_validate(filled), ())
