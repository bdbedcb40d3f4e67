"""The built-in selections keep the laws of a selection."""

from __future__ import annotations

import pytest

from active_learning.domain.protocols import Selection
from active_learning.selection.diverse import Diverse
from active_learning.selection.top import Top
from active_learning.testing.selection import SelectionContract


class TestTop(SelectionContract):
    @pytest.fixture
    def selection(self) -> Selection:
        return Top(Top.Options())


class TestDiverse(SelectionContract):
    @pytest.fixture
    def selection(self) -> Selection:
        return Diverse(Diverse.Options(promising=4))
