"""The built-in selections keep the laws of a selection."""

from __future__ import annotations

from typing import Any

import pytest

from active_learning.domain.protocols import Selection
from active_learning.selection.determinant import MaxDeterminant
from active_learning.selection.diverse import Diverse
from active_learning.selection.fantasies import Fantasies
from active_learning.selection.penalization import LocalPenalization
from active_learning.selection.top import Top
from active_learning.selection.variance_reduction import VarianceReduction
from active_learning.testing.selection import SelectionContract


class TestTop(SelectionContract):
    @pytest.fixture
    def selection(self) -> Selection:
        return Top(Top.Options())


class TestDiverse(SelectionContract):
    @pytest.fixture
    def selection(self) -> Selection:
        return Diverse(Diverse.Options(promising=4))


@pytest.mark.parametrize("kind", [Fantasies, MaxDeterminant, LocalPenalization, VarianceReduction])
@pytest.mark.parametrize("pool_limit", [3, 1000])
class TestJointSelections(SelectionContract):
    ranks_by_score = False
    needs_beliefs = True

    @pytest.fixture
    def selection(self, kind: Any, pool_limit: int) -> Selection:
        built: Selection = kind(kind.Options(pool_limit=pool_limit))
        return built
