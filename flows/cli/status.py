"""`motherlode status`. Imports neither Prefect nor pymatgen nor scikit-learn: it must answer at once."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from active_learning.api.status import read_status
from active_learning.stopping.wording import in_time
from flows.cli.options import campaign_file

__all__ = ["status", "status_lines"]

_EVERY_S = 2.0


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.5g} {unit}".rstrip()


def status_lines(found: dict[str, Any], now: datetime) -> list[str]:
    """The status for people."""
    unit = found["target"]["unit"]
    best, metrics = found["best"], found["metrics"]
    rows = [
        ("campaign", f"{found['name']}: {found['target']['goal']} {found['target']['property']}"),
        ("phase", found["phase"] + (f", {found['stop_reason']}" if found["stop_reason"] else "")),
        ("round", "none yet" if found["round"] is None else str(found["round"])),
        ("labels", f"{found['n_labels']} of {_count(found['n_candidates'])} candidates"),
        ("in flight", f"{found['n_in_flight']} running, {found['n_planned']} planned"),
        ("failed", str(found["n_failed"])),
    ]
    rows += _a_persons_word(found)
    rows += _silence(found["in_flight"], now) + _labeling(found, unit)
    if best is not None:
        rows.append(("best", f"{_number(best['value'], unit)}  {best['formula']}  ({best['candidate']})"))
    if metrics:
        rows.append(("model", f"{_errors(metrics, unit)} (held-out labels)"))
    if found["test_metrics"]:
        rows.append(("test set", _errors(found["test_metrics"], unit)))
    if found["calibration"]:
        rows.append(("uncertainty", _calibration(found["calibration"])))
    if found["control"]:
        rows += _control(found["control"], unit)
    if found["forecast_sentence"]:
        rows.append(("forecast", found["forecast_sentence"]))
    rows.append(("worked on by", found["working"] or "nobody now"))
    return [f"{name:>12}  {text}" for name, text in rows]


def _a_persons_word(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What waits for a person, and what a person wanted."""
    rows = []
    for one in found["awaiting_approval"]:
        rows.append(
            ("approval", f"round {one['round']} waits for it, {one['n_candidates']} candidates: motherlode approve")
        )
    if found["ending"] is not None and found["phase"] == "active":
        jobs = "what runs is ended, too" if found["ending"]["jobs"] else "what runs is waited for"
        rows.append(("to end", f"{found['ending']['reason']}; {jobs}"))
    return rows


def _silence(in_flight: list[dict[str, Any]], now: datetime) -> list[tuple[str, str]]:
    """Since when the backend does not answer, or does not know jobs that should be there."""
    rows = []
    for word, said in (("unknown", "the backend does not answer for"), ("gone", "the backend does not know")):
        since = [one["backend_since"] for one in in_flight if one["backend"] == word]
        if since:
            age = (now - datetime.fromisoformat(min(since))).total_seconds()
            rows.append(("", f"{said} {len(since)} of them, for {in_time(age)} now"))
    return rows


def _labeling(found: dict[str, Any], unit: str) -> list[tuple[str, str]]:
    """What the labels cost, which were taken back, and which may be wrong."""
    rows, cost = [], found["cost"]
    if cost["used_core_s"]:
        waited = f", {in_time(cost['queued_s'])} in queues" if cost["queued_s"] >= 1 else ""
        rows.append(("cost", f"{in_time(cost['used_core_s'])} of core time{waited}"))
    if found["n_retracted"]:
        rows.append(("taken back", f"{found['n_retracted']} labels"))
    for one in found["outliers"][:3]:
        said = f"{one['formula']} is {_number(one['value'], unit)}, predicted {one['predicted']:.4g} ± {one['std']:.2g}"
        rows.append(("outlier", f"{said}  ({one['candidate']})"))
    return rows


def _errors(metrics: dict[str, float], unit: str) -> str:
    if "accuracy" in metrics:
        return f"accuracy {metrics['accuracy']:.2f}"
    return f"MAE {_number(metrics.get('mae'), unit)}, R² {metrics.get('r2', float('nan')):.2f}"


def _calibration(record: dict[str, Any]) -> str:
    """Right uncertainty reads: mean z² near 1, nine of ten labels within their 90 % interval."""
    after = record["after"]
    return f"mean z² {after['mean_z2']:.2f}, {after['coverage_90']:.0%} within the 90 % interval (held-out labels)"


def _control(control: dict[str, Any], unit: str) -> list[tuple[str, str]]:
    rows = []
    if (error := control.get("error")) is not None:
        interval = f"{_number(error['low'], '')} to {_number(error['high'], unit)}"
        rows.append(("control", f"MAE {_number(error['mae'], unit)} on {error['n']} drawn at random ({interval})"))
    if (faster := control.get("acceleration")) is not None:
        interval = f"95 %: {_times(faster['low'])} to {_times(faster['high'])}"
        until = "" if faster["has_reached"] else ", not as good as the control yet"
        rows.append(("acceleration", f"{_times(faster['factor'])} times faster than chance ({interval}){until}"))
    return rows


def _times(factor: float) -> str:
    """Two digits, and no power of ten where a plain number will do."""
    return f"{float(f'{factor:.2g}'):,.0f}" if 10 <= factor < 1e6 else f"{factor:.2g}"


def _count(n: int | None) -> str:
    return "an unknown number of" if n is None else f"{n:,}"


@click.command()
@campaign_file
@click.option("--json", "as_json", is_flag=True, help="One JSON object; its keys are stable.")
@click.option("--watch", is_flag=True, help="Again every two seconds, until the campaign stops.")
def status(file: Path, as_json: bool, watch: bool) -> None:
    """Where a campaign stands, why it stopped, what is in flight."""
    while True:
        now = datetime.now(UTC)
        found = read_status(file, now)
        if watch and not as_json:
            click.clear()
        click.echo(json.dumps(found, sort_keys=True) if as_json else "\n".join(status_lines(found, now)))
        if not watch or found["phase"] in ("stopped", "failed"):
            return
        time.sleep(_EVERY_S)
