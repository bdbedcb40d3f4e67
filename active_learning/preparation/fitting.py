"""Fit a preparation: fill in, leave out, combine, and keep what tells most, on the labels that are given only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError
from active_learning.preparation.checks import checked_features, checked_labels, checked_names
from active_learning.preparation.choosing import choose
from active_learning.preparation.columns import Columns, column_names
from active_learning.preparation.options import PreparationOptions
from active_learning.preparation.record import Filled, PreparationRecord
from active_learning.preparation.recording import record_of

__all__ = ["FittedPreparation", "Preparation"]

Floats = NDArray[np.float64]


def _text_array(value: Any) -> NDArray[np.uint8]:
    """A JSON value as bytes: neither a pickle nor an array of objects."""
    return np.frombuffer(json.dumps(value, allow_nan=False).encode(), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class FittedPreparation:
    """Makes a model's columns from the given features.

    Parameters
    ----------
    names : (n_columns,), as people write them: "a", "a^2", "a * b"
    """

    names: tuple[str, ...]
    columns: Columns
    record: PreparationRecord

    def transform(self, X: Floats, *, first_row: int = 0) -> Floats:
        """The model's columns, (n, n_columns); a row depends on its own features only.

        Parameters
        ----------
        X : (n, n_given)
        first_row : number of the first row, for messages: a large pool comes in blocks

        Raises
        ------
        ContractError
            If `X` has another number of features; or, unless missing values are filled in, a row that is not finite (it
            is named).
        """
        return self.columns.transform(X, first_row=first_row)

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """As `Portable`."""
        texts = {"names": _text_array(self.names), "record": _text_array(self.record.to_json())}
        return {**self.columns.to_arrays(), **texts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """As `Portable`."""
        names, record = (json.loads(np.asarray(arrays[key], np.uint8).tobytes()) for key in ("names", "record"))
        return cls(tuple(names), Columns.from_arrays(arrays), PreparationRecord.from_json(record))


class Preparation:
    """What happens to the features inside each fit.

    In this order: missing values become medians; features without any value, constant ones and the less telling of
    correlated ones go; the rest is combined; constant combinations go, and those like a feature or a more telling
    combination that stays; what tells most is kept. Cross-validation fits it anew in each fold, so that no choice saw
    the labels that it is judged on.

    Parameters
    ----------
    impute : fill in missing values by the median of the labels; otherwise they are refused
        Missing is whatever is no finite number of 32 bits.
    """

    def __init__(self, options: PreparationOptions, *, impute: bool) -> None:
        self.options = options
        self.impute = impute

    @property
    def is_off(self) -> bool:
        """Whether it would change nothing."""
        return self.options.is_off and not self.impute

    def fit(self, X: Floats, y: Floats, *, names: Sequence[str], rng: np.random.Generator) -> FittedPreparation:
        """Learn from these labels which columns to make, and how.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,)
        names : (n_features,), unique
        rng : asked for one number

        Raises
        ------
        ContractError
            If shapes do not match, there is no label, a number is not finite (its row is named), a name comes twice, or
            no label has a value of any feature.
        """
        X = checked_features(X, may_lack=self.impute)
        y = checked_labels(X, y)
        names = checked_names(names, X.shape[1])
        seed = int(rng.integers(2**31))
        is_missing = np.isnan(X)
        has_value = np.asarray(~is_missing.all(axis=0))
        medians = _medians(X, has_value) if self.impute else None
        # A feature without any value is dropped; a number in its place lets the others be computed.
        full = X if medians is None else np.where(is_missing, np.where(has_value, medians, 0.0), X)
        choice = choose(self.options, names, full, y, has_value=has_value, seed=seed)
        filled = {} if medians is None else _filled(names, medians, is_missing)
        kept = column_names(choice.terms, names)
        record = record_of(choice, kept, names, full, y, filled)
        return FittedPreparation(kept, Columns.of(full, medians, choice.terms), record)


def _medians(X: Floats, has_value: NDArray[np.bool_]) -> Floats:
    """(n_features,); NaN where no label has a value."""
    if not has_value.any():
        raise ContractError(
            f"none of the {X.shape[1]} features has a value for any of the {len(X)} labels: nothing to train on"
        )
    medians = np.full(X.shape[1], np.nan)
    medians[has_value] = np.nanmedian(X[:, has_value], axis=0)
    return medians


def _filled(names: tuple[str, ...], medians: Floats, is_missing: NDArray[np.bool_]) -> dict[str, Filled]:
    counts = is_missing.sum(axis=0)
    columns = np.flatnonzero((counts > 0) & np.isfinite(medians))
    return {names[i]: Filled(float(medians[i]), int(counts[i])) for i in columns}
