"""What a preparation did to the features, and why: for the report and the campaign's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from active_learning.errors import ContractError

__all__ = ["CorrelationMap", "Filled", "PreparationRecord"]


@dataclass(frozen=True)
class Filled:
    """What stood in for a feature's missing values: the median of the labels, for `n_labels` of them."""

    median: float
    n_labels: int


@dataclass(frozen=True)
class CorrelationMap:
    """Pearson correlations among the features that matter most, (n, n), on the labels."""

    names: tuple[str, ...] = ()
    values: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class PreparationRecord:
    """What became of the features in one fit.

    Parameters
    ----------
    n_labels, n_given : labels it was fitted on; features before
    kept : names of the model's columns, in their order
    measure : what features were ranked by; "" if nothing had to be ranked
    values : kept column -> how much it tells about the target by `measure`, the most telling first
    dropped : given feature -> reason; what comes before the first colon is its kind
    n_combinations : combinations looked at
    combinations_dropped : kind of reason -> how many combinations
    filled : feature -> what stood in for its missing values, where a label lacked it
    target_correlations : feature -> Spearman correlation with the target; those that vary, and the kept combinations
    correlations : among the kept that tell most and the dropped that are most correlated with the target
    notes : sentences about what was done otherwise than asked, or left out
    """

    n_labels: int
    n_given: int
    kept: tuple[str, ...]
    measure: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    n_combinations: int = 0
    combinations_dropped: Mapping[str, int] = field(default_factory=dict)
    filled: Mapping[str, Filled] = field(default_factory=dict)
    target_correlations: Mapping[str, float] = field(default_factory=dict)
    correlations: CorrelationMap = field(default_factory=CorrelationMap)
    notes: tuple[str, ...] = ()

    @property
    def dropped_kinds(self) -> dict[str, int]:
        """Kind of reason -> how many given features, the most frequent first."""
        return dict(Counter(reason.partition(":")[0] for reason in self.dropped.values()).most_common())

    def to_json(self) -> dict[str, Any]:
        """A JSON object without NaN; ``PreparationRecord.from_json`` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` wrote.

        Raises
        ------
        ContractError
            If a key is unknown, or one is missing that every record has.
        """
        unknown = sorted(set(value) - {f.name for f in fields(cls)})
        missing = sorted({"n_labels", "n_given", "kept"} - set(value))
        if unknown or missing:
            raise ContractError(f"no record of a preparation: unknown keys {unknown}, missing keys {missing}")
        plain = dict(value)
        if "filled" in plain:
            plain["filled"] = {name: Filled(**filled) for name, filled in plain["filled"].items()}
        if "correlations" in plain:
            found = plain["correlations"]
            plain["correlations"] = CorrelationMap(tuple(found["names"]), tuple(map(tuple, found["values"])))
        for name in ("kept", "notes"):
            plain[name] = tuple(plain.get(name, ()))
        return cls(**plain)
