"""What is asked of a replay, and what comes out of it: plain values, written as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.candidate import content_hash
from active_learning.evaluation.virtual import Labeling

__all__ = ["LabelTaken", "Order", "Replayed", "RoundSeen"]

_FORMAT = 1
"""Of what is written; a replay that was written in another one is run again."""


@dataclass(frozen=True)
class Order:
    """One replay: a strategy, a seed, and how labeling goes.

    Parameters
    ----------
    strategy : what it is called
    tables : of its campaign file, see `active_learning.evaluation.stand_ins.replay_file`; `name` and `seed` are not
        looked at
    base : the campaign file
    unit : of the target's property
    told : rows of candidates whose labels are told before the first round
    code : fingerprint of the user's own modules that the tables name; empty if they name none
    """

    strategy: str
    seed: int
    tables: Mapping[str, Any]
    base: Path
    unit: str = ""
    labeling: Labeling = field(default_factory=Labeling)
    told: tuple[int, ...] = ()
    code: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON value; ``Order.from_json`` reads it."""
        return {
            "strategy": self.strategy,
            "seed": self.seed,
            "tables": dict(self.tables),
            "base": str(self.base),
            "unit": self.unit,
            "labeling": self.labeling.to_json(),
            "told": list(self.told),
            "code": self.code,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Order:
        """The order that ``to_json`` wrote."""
        changed = {
            "base": Path(value["base"]),
            "labeling": Labeling(**value["labeling"]),
            "told": tuple(value["told"]),
        }
        return cls(**{**value, **changed})

    def key(self, ground: str) -> str:
        """Names what comes out: equal for orders that must give the same, on the ground of this fingerprint.

        Of the campaign file it is what it says that counts, not where it lies, and not what a replay does not look at.
        """
        unused = ("name", "seed", "workdir", "store", "labeler", "pool", "submitter", "execution")
        tables = {key: value for key, value in self.tables.items() if key not in unused}
        own = self.to_json() | {"tables": tables, "base": None, "strategy": None}
        if not self.code:
            del own["code"]
        return content_hash({"of": own, "ground": ground, "format": _FORMAT, "motherlode": version("motherlode")})


@dataclass(frozen=True)
class LabelTaken:
    """A label that came in: of which row, when (virtual seconds), and asked for in which round (-1: told before)."""

    row: int
    time_s: float
    round: int


@dataclass(frozen=True)
class RoundSeen:
    """A round, seen from outside when it was opened.

    Parameters
    ----------
    n_labels, n_failed : labels that were there, and attempts that had failed
    errors : of the round's model on all candidates without a label, as `learning.validation.metrics_of` gives them;
        empty if it trained none, or no candidate is left
    """

    number: int
    time_s: float
    n_labels: int
    n_failed: int
    n_picks: int
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Replayed:
    """One replay as it went.

    Parameters
    ----------
    labels : in the order they came in
    usage : of the workers, see `active_learning.evaluation.virtual.VirtualWorkers.usage`
    stopped : why it ended
    wall_s : seconds that the replay took in truth
    """

    strategy: str
    seed: int
    labels: tuple[LabelTaken, ...]
    rounds: tuple[RoundSeen, ...]
    n_failed: int
    usage: Mapping[str, float]
    stopped: str
    wall_s: float

    @property
    def rows(self) -> NDArray[np.intp]:
        """(n_labels,), the rows of the candidates in the order of their labels."""
        return np.array([label.row for label in self.labels], dtype=np.intp)

    @property
    def utilization(self) -> float | None:
        """Share of the workers' time that they worked, up to the last submission; None if all was submitted at once."""
        room = self.usage["n_workers"] * self.usage["horizon_s"]
        return self.usage["busy_s"] / room if room else None

    @property
    def picks(self) -> dict[int, list[int]]:
        """Round -> rows of the labels that it asked for, ascending."""
        found: dict[int, list[int]] = {}
        for label in self.labels:
            found.setdefault(label.round, []).append(label.row)
        return {number: sorted(rows) for number, rows in sorted(found.items())}

    def to_text(self) -> str:
        """As JSON; ``from_text`` reads it."""
        compact = {"labels": [[x.row, x.time_s, x.round] for x in self.labels]}
        return json.dumps(asdict(self) | compact)

    @classmethod
    def from_text(cls, text: str) -> Replayed:
        """The replay that ``to_text`` wrote."""
        value = json.loads(text)
        labels = tuple(LabelTaken(*item) for item in value.pop("labels"))
        rounds = tuple(RoundSeen(**item) for item in value.pop("rounds"))
        return cls(labels=labels, rounds=rounds, **value)
