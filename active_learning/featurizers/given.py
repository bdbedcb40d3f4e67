"""The descriptor `given`: numbers that came along with the candidates."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from active_learning.featurizers.descriptor import Descriptor

__all__ = ["Given"]


class Given(Descriptor):
    """Numbers that came along with the candidates: columns of a table."""

    is_quick: ClassVar[bool] = True
    columns: tuple[str, ...] = Field(min_length=1, description="Which of them to take, by the names of the columns")

    @field_validator("columns")
    @classmethod
    def _unique(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return columns
