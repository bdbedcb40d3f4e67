"""What `motherlode status` prints for people."""

from __future__ import annotations

from typing import Any

import pytest

from flows.cli.status import status_lines

FOUND: dict[str, Any] = {
    "name": "t",
    "target": {"goal": "maximize", "property": "y", "unit": "eV"},
    "phase": "active",
    "stop_reason": None,
    "round": 3,
    "n_labels": 34,
    "n_candidates": 150,
    "n_in_flight": 0,
    "n_planned": 0,
    "n_failed": 0,
    "best": None,
    "metrics": {},
    "test_metrics": {},
    "calibration": None,
    "control": None,
    "forecast_sentence": None,
    "working": None,
}


@pytest.mark.parametrize(
    ("factor", "low", "high", "text"),
    [
        (11.2, 2.43, 283.7, "11 times faster than chance (95 %: 2.4 to 280)"),
        (0.0123, 0.00099, 9.96, "0.012 times faster than chance (95 %: 0.00099 to 10)"),
        (1200.0, 12.0, 123_456.0, "1,200 times faster than chance (95 %: 12 to 120,000)"),
    ],
)
def test_an_acceleration_has_no_power_of_ten_where_a_plain_number_will_do(
    factor: float, low: float, high: float, text: str
) -> None:
    faster = {"factor": factor, "low": low, "high": high, "has_reached": True}
    lines = status_lines(FOUND | {"control": {"acceleration": faster}})
    assert f"acceleration  {text}" in lines
