"""The laws of a pool, as tests. Subclass `PoolContract`, say which pool, and pytest checks it.

Shipped for authors of pools::

    class TestMyPool(PoolContract):
        @pytest.fixture
        def plugin(self):
            return MyPool

        @pytest.fixture
        def options(self):
            return {"rows": 20}
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.label import Measurement
from active_learning.domain.options import Options
from active_learning.domain.protocols import KnowsLabels, Pool
from active_learning.errors import UserError

__all__ = ["KnowsLabelsContract", "PoolContract", "ReadingPoolContract"]


class PoolContract:
    """Laws of every pool. The pool that `options` describe must hold at least two candidates."""

    @pytest.fixture
    def plugin(self) -> Any:
        """The pool's class."""
        raise NotImplementedError("override the fixture `plugin` with the pool's class")

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        """Keys of its table in a campaign file, as JSON values."""
        raise NotImplementedError("override the fixture `options` with the keys of a small pool")

    @pytest.fixture
    def pool(self, plugin: Any, options: Mapping[str, Any]) -> Pool:
        """The pool under test."""
        built: Pool = plugin(plugin.Options(**options))
        return built

    def test_every_option_is_described(self, plugin: Any) -> None:
        assert issubclass(plugin.Options, Options)
        silent = [name for name, field in plugin.Options.model_fields.items() if not field.description]
        assert silent == []

    def test_what_it_yields_is_a_candidate_or_dropped_with_a_reason(self, pool: Pool) -> None:
        items = list(pool.read())
        assert all(isinstance(item, Candidate | Dropped) for item in items)
        for item in items:
            if isinstance(item, Dropped):
                assert item.source
                assert item.reason
                assert "\n" not in item.source + item.reason
            else:
                assert item.origin

    def test_there_are_candidates_and_none_comes_twice(self, pool: Pool) -> None:
        ids = [item.id for item in pool.read() if isinstance(item, Candidate)]
        assert len(ids) >= 2
        assert len(ids) == len(set(ids))

    def test_reading_again_gives_the_same_in_the_same_order(self, pool: Pool) -> None:
        assert list(pool.read()) == list(pool.read())

    def test_a_pool_rebuilt_from_its_options_as_json_gives_the_same(
        self, plugin: Any, options: Mapping[str, Any], pool: Pool
    ) -> None:
        written = json.loads(plugin.Options(**options).model_dump_json())
        assert list(plugin(plugin.Options(**written)).read()) == list(pool.read())

    def test_two_readings_at_once_do_not_disturb_each_other(self, pool: Pool) -> None:
        alone = list(pool.read())
        pairs = list(zip(pool.read(), pool.read(), strict=True))
        assert [first for first, _ in pairs] == alone
        assert [second for _, second in pairs] == alone


class ReadingPoolContract(PoolContract):
    """Laws of pools that read something which may be missing or broken."""

    @pytest.fixture
    def nothing(self) -> Mapping[str, Any]:
        """Options of a pool that has nothing to read at all (no such folder, an empty file)."""
        raise NotImplementedError("override the fixture `nothing`")

    @pytest.fixture
    def spoiled(self) -> Mapping[str, Any]:
        """Options of the pool of `options`, to which one broken file or row was added."""
        raise NotImplementedError("override the fixture `spoiled`")

    def test_building_one_touches_nothing_and_reading_nothing_is_the_users_error(
        self, plugin: Any, nothing: Mapping[str, Any]
    ) -> None:
        pool = plugin(plugin.Options(**nothing))
        with pytest.raises(UserError, match=r"\S"):
            list(pool.read())

    def test_one_bad_file_or_row_costs_itself_only(self, plugin: Any, spoiled: Mapping[str, Any], pool: Pool) -> None:
        before = list(pool.read())
        after = list(plugin(plugin.Options(**spoiled)).read())
        assert [item for item in after if isinstance(item, Candidate)] == [
            item for item in before if isinstance(item, Candidate)
        ]
        assert sum(isinstance(item, Dropped) for item in after) == 1 + sum(isinstance(item, Dropped) for item in before)


class KnowsLabelsContract:
    """Laws of pools that bring labels along, beside `PoolContract` (`plugin` and `options` are its fixtures too).

    The pool that `labeled_options` describe must know the label of at least one of its candidates.
    """

    @pytest.fixture
    def labeled_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options of a pool that knows labels, as JSON values; without an override, those of the pool."""
        return options

    @pytest.fixture
    def labeled(self, plugin: Any, labeled_options: Mapping[str, Any]) -> Any:
        """The pool under test."""
        return plugin(plugin.Options(**labeled_options))

    def test_it_knows_labels_of_its_own_candidates_and_of_none_twice(self, labeled: Any) -> None:
        ids = {item.id for item in labeled.read() if isinstance(item, Candidate)}
        known = [candidate for candidate, _ in labeled.known_labels("hardness")]
        assert isinstance(labeled, KnowsLabels)
        assert known
        assert len(known) == len(set(known))
        assert set(known) <= ids

    def test_a_label_is_one_finite_value_of_the_property_that_was_asked_for(self, labeled: Any) -> None:
        for name in ("hardness", "energy_per_atom"):
            for _, measurement in labeled.known_labels(name):
                assert isinstance(measurement, Measurement)
                assert list(measurement.values) == [name]
                value, unit = measurement.values[name]
                assert math.isfinite(value)
                assert isinstance(unit, str)
                assert measurement.fidelity

    def test_all_labels_have_one_unit_and_say_where_they_come_from(self, labeled: Any) -> None:
        measurements = [measurement for _, measurement in labeled.known_labels("hardness")]
        assert len({measurement.values["hardness"][1] for measurement in measurements}) == 1
        for measurement in measurements:
            assert measurement.provenance
            assert json.loads(json.dumps(dict(measurement.provenance))) == measurement.provenance

    def test_asking_again_or_of_a_pool_rebuilt_from_its_options_as_json_gives_the_same(
        self, plugin: Any, labeled: Any, labeled_options: Mapping[str, Any]
    ) -> None:
        known = list(labeled.known_labels("hardness"))
        assert list(labeled.known_labels("hardness")) == known
        written = json.loads(plugin.Options(**labeled_options).model_dump_json())
        assert list(plugin(plugin.Options(**written)).known_labels("hardness")) == known

    def test_labels_may_be_asked_for_in_the_midst_of_a_reading(self, labeled: Any) -> None:
        alone = list(labeled.read())
        reading = labeled.read()
        first = next(reading)
        assert list(labeled.known_labels("hardness"))
        assert [first, *reading] == alone
