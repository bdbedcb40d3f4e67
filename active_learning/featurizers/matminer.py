"""The featurizer `matminer`: descriptors by name with options, by matminer, dscribe, or import path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, field_validator

from active_learning.domain.candidate import Candidate
from active_learning.domain.options import Options as BaseOptions
from active_learning.domain.protocols import FeatureBlock
from active_learning.errors import UserError
from active_learning.featurizers.descriptor import Descriptor
from active_learning.featurizers.oxidation import OxidationMemory
from active_learning.featurizers.parts import DescriptorPart, part_of
from active_learning.featurizers.registry import DESCRIPTORS, descriptor_of, name_of

__all__ = ["Matminer"]

Floats = NDArray[np.float64]


def _understood(item: Any) -> Any:
    """An item of `sets`, as it is, once it is known to be right."""
    if not isinstance(item, str | Mapping):
        raise ValueError(f"a descriptor is a name or a table with a name and options, not {item!r}")
    descriptor_of(item)
    return item


Item = Annotated[str | dict[str, Any], BeforeValidator(_understood)]


class Matminer:
    """Features of compositions and crystals, by matminer, under matminer's own names.

    Each descriptor is a part of its own. A value that cannot be computed is NaN, and the row has a reason; nothing is
    imputed unless a descriptor's options say so.
    """

    class Options(BaseOptions):
        """Keys of the table `[features]` with ``kind = "matminer"``."""

        sets: tuple[Item, ...] = Field(
            default=("magpie", "density"),
            description="Descriptors, in the order of the columns: a name, or a table with a name and options."
            f" Names: {', '.join(DESCRIPTORS)}; or an import path, 'module:Class'",
        )
        fast: bool = Field(
            default=True,
            description="Compute compositions many at once, equal to matminer's within 1e-9; false: by matminer itself",
        )

        @field_validator("sets")
        @classmethod
        def _called_differently(cls, sets: tuple[str | dict[str, Any], ...]) -> tuple[str | dict[str, Any], ...]:
            # Not `min_length` of the field: where no item is right, it would complain that there is none.
            if not sets:
                raise ValueError("name at least one descriptor, such as 'magpie'")
            counts = Counter(_label_of(item, descriptor_of(item)) for item in sets)
            twice = [f"{label!r} is there {n} times" for label, n in counts.items() if n > 1]
            if twice:
                raise ValueError(f"{'; '.join(twice)}: give each a label of its own, label = '...'")
            return sets

    def __init__(self, options: Options) -> None:
        self.options = options
        self._memory = OxidationMemory()

    def with_memory(self, folder: Path) -> Matminer:
        """The same featurizer, which remembers guessed oxidation states in this folder, if it needs any.

        Raises
        ------
        StoreError
            If what is in the folder is damaged, or cannot be read or written.
        """
        same = Matminer(self.options)
        if any(descriptor.is_decorated for _, descriptor in self._descriptors):
            same._memory = OxidationMemory(folder)
        return same

    @cached_property
    def _descriptors(self) -> tuple[tuple[str, Descriptor], ...]:
        found = [(item, descriptor_of(item)) for item in self.options.sets]
        return tuple((_label_of(item, descriptor), descriptor) for item, descriptor in found)

    @cached_property
    def parts(self) -> tuple[DescriptorPart, ...]:
        """The descriptors, in the order of the columns.

        Raises
        ------
        UserError
            If one of them cannot be built, or two give a feature of the same name.
        """
        is_fast = self.options.fast
        parts = tuple(
            part_of(label, descriptor, self._memory, is_fast=is_fast) for label, descriptor in self._descriptors
        )
        # Here and not in `names`: who featurizes part by part must hear of it before anything is computed.
        _refuse_shared_names(parts)
        return parts

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all features, in the order of the columns.

        Raises
        ------
        UserError
            As `parts`.
        """
        return tuple(name for part in self.parts for name in part.names)

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """Features of each candidate, (n_candidates, n_features); NaN with a reason where there is no number."""
        blocks = [part.featurize(candidates) for part in self.parts]
        reasons: dict[int, list[str]] = {}
        for block in blocks:
            for row, reason in block.failures.items():
                reasons.setdefault(row, []).append(reason)
        values: Floats = np.hstack([block.values for block in blocks])
        return FeatureBlock(values, {row: "; ".join(reasons[row]) for row in sorted(reasons)})


def _label_of(item: str | Mapping[str, Any], descriptor: Descriptor) -> str:
    """What a descriptor is called: its label, its name, or the class of an import path."""
    return descriptor.label or name_of(item).replace(":", ".").rpartition(".")[2]


def _refuse_shared_names(parts: Sequence[DescriptorPart]) -> None:
    owner: dict[str, str] = {}
    for part in parts:
        for name in part.names:
            if name in owner:
                raise UserError(
                    f"Both '{owner[name]}' and '{part.label}' give a feature '{name}'. Give one of them a label,"
                    f" with which its features' names begin: {{ name = '{part.label}', label = 'other' }}."
                )
            owner[name] = part.label
