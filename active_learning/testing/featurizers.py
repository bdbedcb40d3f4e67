"""The laws of a featurizer, as tests. Subclass `FeaturizerContract`, say which featurizer, and pytest checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.domain.candidate import Candidate
from active_learning.domain.options import Options
from active_learning.domain.protocols import FeatureBlock, Featurizer, HasParts, Remembers

__all__ = ["FeaturizerContract"]


def _row(block: FeatureBlock, row: int) -> tuple[str | None, ...]:
    """A row's failure and values, exactly, such that NaN equals NaN."""
    return (block.failures.get(row), *(value.hex() for value in block.values[row].tolist()))


def _same(one: FeatureBlock, other: FeatureBlock) -> bool:
    return dict(one.failures) == dict(other.failures) and np.array_equal(one.values, other.values, equal_nan=True)


class FeaturizerContract:
    """Laws of every featurizer."""

    @pytest.fixture
    def plugin(self) -> Any:
        """The featurizer's class."""
        raise NotImplementedError("override the fixture `plugin` with the featurizer's class")

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        """Keys of its table in a campaign file, as JSON values."""
        return {}

    @pytest.fixture
    def good(self) -> Sequence[Candidate]:
        """At least two candidates that it can describe, and differently."""
        raise NotImplementedError("override the fixture `good`")

    @pytest.fixture
    def bad(self) -> Sequence[Candidate]:
        """At least one candidate that it cannot describe."""
        raise NotImplementedError("override the fixture `bad`")

    @pytest.fixture
    def featurizer(self, plugin: Any, options: Mapping[str, Any]) -> Featurizer:
        """The featurizer under test."""
        built: Featurizer = plugin(plugin.Options(**options))
        return built

    def test_every_option_is_described(self, plugin: Any) -> None:
        assert issubclass(plugin.Options, Options)
        silent = [name for name, field in plugin.Options.model_fields.items() if not field.description]
        assert silent == []

    def test_names_are_unique_and_stay(self, featurizer: Featurizer) -> None:
        names = featurizer.names
        assert names
        assert len(set(names)) == len(names)
        assert all(isinstance(name, str) and name for name in names)
        assert featurizer.names == names

    def test_there_is_a_row_for_each_candidate_and_a_column_for_each_name(
        self, featurizer: Featurizer, good: Sequence[Candidate]
    ) -> None:
        block = featurizer.featurize(good)
        assert block.values.shape == (len(good), len(featurizer.names))
        assert block.values.dtype == np.float64
        assert block.failures == {}
        assert np.isfinite(block.values).all()

    def test_no_candidates_give_no_rows(self, featurizer: Featurizer) -> None:
        block = featurizer.featurize([])
        assert block.values.shape == (0, len(featurizer.names))
        assert block.failures == {}

    def test_different_candidates_have_different_rows(self, featurizer: Featurizer, good: Sequence[Candidate]) -> None:
        assert len(np.unique(featurizer.featurize(good).values, axis=0)) > 1

    def test_a_bad_candidate_is_a_failure_with_a_reason_and_costs_itself_only(
        self, featurizer: Featurizer, good: Sequence[Candidate], bad: Sequence[Candidate]
    ) -> None:
        block = featurizer.featurize([*bad, *good])
        assert set(block.failures) == set(range(len(bad)))
        assert all(reason and "\n" not in reason for reason in block.failures.values())
        assert np.array_equal(block.values[len(bad) :], featurizer.featurize(good).values)

    def test_what_is_no_number_is_nan_and_only_rows_with_a_reason_have_it(
        self, featurizer: Featurizer, good: Sequence[Candidate], bad: Sequence[Candidate]
    ) -> None:
        block = featurizer.featurize([*bad, *good, *bad])
        assert not np.isinf(block.values).any()
        without_a_number = np.flatnonzero(np.isnan(block.values).any(axis=1))
        assert without_a_number.tolist() == sorted(block.failures)

    def test_a_row_depends_on_its_own_candidate_only(
        self, featurizer: Featurizer, good: Sequence[Candidate], bad: Sequence[Candidate]
    ) -> None:
        together = [*good, *bad, good[0]]
        block = featurizer.featurize(together)
        backwards = featurizer.featurize(together[::-1])
        for row, candidate in enumerate(together):
            alone = _row(featurizer.featurize([candidate]), 0)
            assert _row(block, row) == alone
            assert _row(backwards, len(together) - 1 - row) == alone

    def test_one_rebuilt_from_its_options_as_json_gives_the_same(
        self, plugin: Any, options: Mapping[str, Any], featurizer: Featurizer, good: Sequence[Candidate]
    ) -> None:
        written = json.loads(plugin.Options(**options).model_dump_json())
        rebuilt = plugin(plugin.Options(**written))
        assert rebuilt.names == featurizer.names
        assert np.array_equal(rebuilt.featurize(good).values, featurizer.featurize(good).values)

    def test_the_parts_side_by_side_are_the_whole(
        self, featurizer: Featurizer, good: Sequence[Candidate], bad: Sequence[Candidate]
    ) -> None:
        if not isinstance(featurizer, HasParts):
            pytest.skip("this featurizer has no parts")
        labels = [part.label for part in featurizer.parts]
        assert len(set(labels)) == len(labels)
        assert all(isinstance(label, str) and label for label in labels)
        assert tuple(name for part in featurizer.parts for name in part.names) == featurizer.names
        candidates = [*good, *bad]
        whole = featurizer.featurize(candidates)
        blocks = [part.featurize(candidates) for part in featurizer.parts]
        assert np.array_equal(np.hstack([block.values for block in blocks]), whole.values, equal_nan=True)
        assert set(whole.failures) == {row for block in blocks for row in block.failures}

    def test_a_part_of_the_composition_needs_no_crystal(
        self, featurizer: Featurizer, good: Sequence[Candidate], bad: Sequence[Candidate]
    ) -> None:
        if not isinstance(featurizer, HasParts):
            pytest.skip("this featurizer has no parts")
        candidates = [*good, *bad]
        bare = [Candidate(candidate.amounts) for candidate in candidates]
        for part in featurizer.parts:
            if part.of_composition:
                assert _same(part.featurize(bare), part.featurize(candidates))

    def test_a_part_gives_one_candidate_what_it_gives_many(
        self, featurizer: Featurizer, good: Sequence[Candidate], bad: Sequence[Candidate]
    ) -> None:
        if not isinstance(featurizer, HasParts):
            pytest.skip("this featurizer has no parts")
        candidates = [*good, *bad]
        for part in featurizer.parts:
            block = part.featurize(candidates)
            assert part.featurize([]).values.shape == (0, len(part.names))
            for row, candidate in enumerate(candidates):
                assert _row(block, row) == _row(part.featurize([candidate]), 0)

    def test_what_it_remembers_changes_no_number(
        self, featurizer: Featurizer, good: Sequence[Candidate], bad: Sequence[Candidate], tmp_path: Path
    ) -> None:
        if not isinstance(featurizer, Remembers):
            pytest.skip("this featurizer keeps nothing on disk")
        candidates = [*good, *bad]
        expected = featurizer.featurize(candidates)
        for _ in ("first", "again"):
            remembering = featurizer.with_memory(tmp_path / "memory")
            assert remembering.names == featurizer.names
            assert _same(remembering.featurize(candidates), expected)
