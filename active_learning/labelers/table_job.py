"""The job of the labeler `table`: there is nothing to compute; it hands on the value that was looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["run"]


def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """`inputs` as `Table.prepare` made them: a property, its value, and where it stands."""
    source = {key: value for key, value in inputs.items() if key not in ("property", "value")}
    return {"properties": {inputs["property"]: inputs["value"]}} | source
