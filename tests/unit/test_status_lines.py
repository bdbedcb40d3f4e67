"""What `motherlode status` prints for people."""

from __future__ import annotations

from datetime import UTC, datetime
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
    "in_flight": [],
    "n_retracted": 0,
    "awaiting_approval": [],
    "ending": None,
    "cost": {"asked_core_s": 0.0, "used_core_s": 0.0, "queued_s": 0.0},
    "outliers": [],
}
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


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
    lines = status_lines(FOUND | {"control": {"acceleration": faster}}, NOW)
    assert f"acceleration  {text}" in lines


def test_a_backend_that_does_not_answer_shows_its_age() -> None:
    since = "2026-03-02T07:48:00+00:00"
    silent = [{"backend": "unknown", "backend_since": since}, {"backend": "unknown", "backend_since": NOW.isoformat()}]
    gone = [{"backend": "gone", "backend_since": "2026-03-02T07:59:30+00:00"}]
    running = [{"backend": "running", "backend_since": since}, {"backend": None, "backend_since": None}]
    lines = "\n".join(status_lines(FOUND | {"in_flight": silent + gone + running}, NOW))
    assert "the backend does not answer for 2 of them, for 12 min now" in lines
    assert "the backend does not know 1 of them, for 30 s now" in lines


def test_cost_what_was_taken_back_and_labels_far_from_their_prediction_are_said() -> None:
    outlier = {"candidate": "c1", "formula": "AgAl", "value": 52.0, "predicted": -0.12, "std": 0.03}
    cost = {"asked_core_s": 1e6, "used_core_s": 7200.0, "queued_s": 600.0}
    found = FOUND | {"cost": cost, "n_retracted": 2, "outliers": [outlier] * 5}
    lines = [line.strip() for line in status_lines(found, NOW)]
    assert "cost  2 h of core time, 10 min in queues" in lines
    assert "taken back  2 labels" in lines
    assert lines.count("outlier  AgAl is 52 eV, predicted -0.12 ± 0.03  (c1)") == 3
