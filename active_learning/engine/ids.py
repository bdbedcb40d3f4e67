"""The candidates' ids of a large pool: sixteen bytes each, and a row is found by halving."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["CandidateIds"]


class CandidateIds(Sequence[str]):
    """Ids in ascending order; the row of each is its place.

    Parameters
    ----------
    array : (n_candidates,), bytes, ascending, none twice
    """

    def __init__(self, array: NDArray[np.bytes_]) -> None:
        self.array = array

    @staticmethod
    def of(ids: Iterable[str]) -> CandidateIds:
        """From texts in ascending order."""
        return CandidateIds(np.array([value.encode() for value in ids], dtype=np.bytes_))

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> CandidateIds: ...
    def __getitem__(self, row: Any) -> Any:
        return CandidateIds(self.array[row]) if isinstance(row, slice) else self.array[row].decode()

    def __iter__(self) -> Iterator[str]:
        return (value.decode() for value in self.array)

    def __contains__(self, candidate_id: object) -> bool:
        return isinstance(candidate_id, str) and self._find(candidate_id) is not None

    def row(self, candidate_id: str) -> int:
        """The place of an id.

        Raises
        ------
        KeyError
            If it is not there.
        """
        found = self._find(candidate_id)
        if found is None:
            raise KeyError(candidate_id)
        return found

    def rows(self, candidate_ids: Iterable[str]) -> NDArray[np.intp]:
        """The places of those ids that are there, in the order given."""
        if isinstance(candidate_ids, CandidateIds):  # all at once: there may be a million
            if not len(self):
                return np.empty(0, dtype=np.intp)
            found = np.minimum(np.searchsorted(self.array, candidate_ids.array), len(self) - 1)
            mine: NDArray[np.intp] = found[self.array[found] == candidate_ids.array]
            return mine
        rows = (self._find(candidate) for candidate in candidate_ids)
        return np.array([row for row in rows if row is not None], dtype=np.intp)

    def _find(self, candidate_id: str) -> int | None:
        key = np.bytes_(candidate_id.encode())
        if key.itemsize > self.array.itemsize:  # a formula, say; numpy would widen all ids to compare them
            return None
        row = int(np.searchsorted(self.array, key))
        return row if row < len(self.array) and self.array[row] == key else None
