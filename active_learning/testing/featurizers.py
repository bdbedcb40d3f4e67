"""The laws of a featurizer, as tests. Subclass `FeaturizerContract`, say which featurizer, and pytest checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from active_learning.domain.candidate import Candidate
from active_learning.domain.options import Options
from active_learning.domain.protocols import FeatureBlock, Featurizer

__all__ = ["FeaturizerContract"]


def _row(block: FeatureBlock, row: int) -> tuple[float, ...] | str:
    """A row's values, or its failure."""
    return block.failures.get(row) or tuple(block.values[row].tolist())


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
