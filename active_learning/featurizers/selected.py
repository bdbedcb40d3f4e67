"""Some of the features of a featurizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from active_learning.domain.hints import did_you_mean
from active_learning.errors import UserError
from active_learning.featurizers.descriptor import Calculator

__all__ = ["Selected"]


class Selected:
    """A calculator of which only the named features are taken, in the order they are named.

    Raises
    ------
    UserError
        If it has no feature of such a name.
    """

    def __init__(self, theirs: Calculator, columns: Sequence[str]) -> None:
        known = list(theirs.feature_labels())
        for column in columns:
            if column not in known:
                hint = did_you_mean(column, known) or f" It has: {', '.join(known[:20])}."
                raise UserError(f"{type(theirs).__name__} has no feature {column!r}.{hint}")
        self._theirs = theirs
        self._labels = tuple(columns)
        self._places = [known.index(column) for column in columns]

    def feature_labels(self) -> Sequence[str]:
        """The chosen names."""
        return self._labels

    def featurize(self, value: Any) -> Sequence[Any]:
        """The chosen features."""
        features = self._theirs.featurize(value)
        return [features[place] for place in self._places]
