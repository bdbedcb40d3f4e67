"""Descriptors at work: a row for each candidate, NaN and a reason where there is no number."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.composition import Composition

from active_learning.crystals.pymatgen import to_structure
from active_learning.domain.candidate import Candidate
from active_learning.domain.protocols import FeatureBlock
from active_learning.errors import ContractError, MotherlodeError, StoreError
from active_learning.featurizers.descriptor import Calculator, Descriptor
from active_learning.featurizers.fast_compositions import FastComposition, fast
from active_learning.featurizers.given import Given
from active_learning.featurizers.oxidation import OxidationMemory, whole_amounts

__all__ = ["DescriptorPart", "part_of"]

Floats = NDArray[np.float64]

_LONGEST_REASON = 300


def part_of(label: str, descriptor: Descriptor, memory: OxidationMemory, *, is_fast: bool) -> DescriptorPart:
    """A descriptor, ready to compute.

    Parameters
    ----------
    label : what the user calls it
    memory : where oxidation states come from
    is_fast : whether compositions are computed by `fast_compositions` where it can, instead of matminer

    Raises
    ------
    UserError
        As `Descriptor.calculator`.
    """
    if isinstance(descriptor, Given):
        return _GivenPart(label, descriptor)
    found = _fast_of(descriptor) if is_fast else None
    return _MatminerPart(label, descriptor, memory) if found is None else _FastPart(label, descriptor, found)


def _fast_of(descriptor: Descriptor) -> FastComposition | None:
    with _quiet():
        arguments = descriptor.fast_arguments()
        return None if arguments is None else fast(descriptor.theirs.__name__, arguments)


@contextmanager
def _quiet() -> Iterator[None]:
    """Matminer and pymatgen warn where they have no value, some at every site: here that is a NaN with a reason."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


class DescriptorPart:
    """What the parts have in common; a `FeaturePart`."""

    def __init__(self, label: str, descriptor: Descriptor) -> None:
        self.label = label
        self.of_composition = descriptor.of_composition
        self.is_batched = descriptor.is_quick
        self._descriptor = descriptor

    @property
    def _labels(self) -> tuple[str, ...]:
        """Names without the label."""
        raise NotImplementedError

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Matminer's names; they begin with the label that the user gave, if there is one.

        Raises
        ------
        UserError
            As `Descriptor.calculator`.
        ContractError
            If a name is there twice.
        """
        labels = self._labels
        twice = sorted({name for name in labels if labels.count(name) > 1}) if len(set(labels)) < len(labels) else []
        if twice:
            raise ContractError(f"the descriptor '{self.label}' gives two features the name '{twice[0]}'")
        given = self._descriptor.label
        return labels if given is None else tuple(f"{given}: {name}" for name in labels)

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """Features of each candidate, (n_candidates, n_features); NaN with a reason where there is no number.

        Raises
        ------
        StoreError
            If the oxidation states on disk are damaged: that is no candidate's fault.
        """
        raise NotImplementedError

    def _block(self, rows: Sequence[Floats | str]) -> FeatureBlock:
        """Rows of numbers, or reasons why there are none."""
        values = np.full((len(rows), len(self._labels)), np.nan)
        failures: dict[int, str] = {}
        for number, row in enumerate(rows):
            if isinstance(row, str):
                failures[number] = f"{self.label}{row}"[:_LONGEST_REASON]
                continue
            is_number = np.isfinite(row)
            values[number, is_number] = row[is_number]
            if not is_number.all():
                failures[number] = f"{self.label}: {self._gap(is_number)}"
        return FeatureBlock(values, failures)

    def _gap(self, is_number: NDArray[np.bool_]) -> str:
        bad = np.flatnonzero(~is_number)
        more = f" (nor are {bad.size - 1} more)" if bad.size > 1 else ""
        return f"{self._labels[bad[0]]!r} is not a finite number{more}"


class _FastPart(DescriptorPart):
    """A descriptor of compositions, all of them at once."""

    def __init__(self, label: str, descriptor: Descriptor, found: FastComposition) -> None:
        super().__init__(label, descriptor)
        self.is_batched = True
        self._fast = found

    @property
    def _labels(self) -> tuple[str, ...]:
        return self._fast.names

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        return self._block(list(self._fast.values([candidate.amounts for candidate in candidates])))


class _MatminerPart(DescriptorPart):
    """A descriptor by matminer or its like, one candidate after the other."""

    def __init__(self, label: str, descriptor: Descriptor, memory: OxidationMemory) -> None:
        super().__init__(label, descriptor)
        self._memory = memory

    @cached_property
    def _calculator(self) -> Calculator:
        with _quiet():
            return self._descriptor.calculator()

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        return tuple(map(str, self._calculator.feature_labels()))

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        known: dict[object, Floats | str] = {}
        rows = []
        with _quiet():
            for number, candidate in enumerate(candidates):
                key = tuple(candidate.amounts.items()) if self.of_composition else number
                if key not in known:
                    known[key] = self._row(candidate)
                rows.append(known[key])
        return self._block(rows)

    def _row(self, candidate: Candidate) -> Floats | str:
        if candidate.crystal is None and not self.of_composition:
            return " needs a crystal, and this is a bare composition"
        try:
            features = self._calculator.featurize(self._value(candidate))
            row = np.array([_number(feature) for feature in features])
        except StoreError:
            raise
        except MotherlodeError as error:
            return f": {error}"
        except Exception as error:  # noqa: BLE001 - a featurizer may raise anything, and costs this candidate only
            return f": {type(error).__name__}: {' '.join(str(error).split())}"
        if row.shape != (len(self._labels),):
            return f": gave {len(row)} features instead of {len(self._labels)}"
        return row

    def _value(self, candidate: Candidate) -> Any:
        """What matminer is given: a Composition of the smallest whole amounts, or a Structure."""
        guess = self._memory.guess(candidate.amounts) if self._descriptor.is_decorated else None
        if candidate.crystal is None or self.of_composition:
            if guess is None:
                return Composition(whole_amounts(candidate.amounts))
            return guess.mean_composition if self._descriptor.averages_ions else guess.composition
        structure = to_structure(candidate.crystal)
        if guess is not None:
            structure.add_oxidation_state_by_element(guess.means)
        return structure


def _number(value: Any) -> float:
    """A feature as a number; NaN for what is none, such as matminer's names of crystal systems."""
    try:
        return float("nan") if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return float("nan")


class _GivenPart(DescriptorPart):
    """Numbers that came along with the candidates."""

    def __init__(self, label: str, descriptor: Given) -> None:
        super().__init__(label, descriptor)
        self._columns = descriptor.columns

    @property
    def _labels(self) -> tuple[str, ...]:
        return self._columns

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        rows = [[candidate.given.get(name, np.nan) for name in self._columns] for candidate in candidates]
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(self._columns))
        values[~np.isfinite(values)] = np.nan
        gaps = {row: self._missing(candidates[row]) for row in np.flatnonzero(np.isnan(values).any(axis=1)).tolist()}
        return FeatureBlock(values, {row: f"{self.label}: {gap}"[:_LONGEST_REASON] for row, gap in gaps.items()})

    def _missing(self, candidate: Candidate) -> str:
        unknown = [name for name in self._columns if name not in candidate.given]
        if unknown:
            return (
                f"no {unknown[0]!r} came along with it: the pool 'table' brings the columns that its `descriptors` name"
            )
        empty = [name for name in self._columns if not np.isfinite(candidate.given[name])]
        more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        return f"{empty[0]!r} is empty in its row{more}"
