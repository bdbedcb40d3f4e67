"""What a campaign's learning knows of itself, in words and rows of tables. Light: no matplotlib."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import RoundRecord
from active_learning.domain.request import Arm
from active_learning.domain.target import Goal
from active_learning.learning.forecast import forecast_sentence
from active_learning.reporting.links import newest_round
from active_learning.reporting.numbers import plain

__all__ = [
    "Calibration",
    "FoundSettings",
    "acceleration_text",
    "calibration_of",
    "control_sentences",
    "forecast_text",
    "found_settings",
    "is_corrected",
    "round_metrics",
]

_MAPE_MOST = 1000
_FEW = 10

_SOURCES = {
    "fitted": "fitted to the labels of this round",
    "kept": "kept from an earlier round, since a new one would have been no better",
    "none": "none, since no correction made it better",
}
# Of every metric its name, and whether it has the target's unit.
_METRICS = {
    "mae": ("MAE", True),
    "rmse": ("RMSE", True),
    "r2": ("R²", False),
    "mean_z2": ("mean z²", False),
    "miscalibration_area": ("miscalibration area", False),
    "ence": ("ENCE", False),
    "accuracy": ("accuracy", False),
    "balanced_accuracy": ("balanced accuracy", False),
    "f1": ("F1", False),
    "roc_auc": ("area under ROC", False),
    "log_loss": ("log loss", False),
    "brier": ("Brier score", False),
    "calibration_error": ("calibration error", False),
}
_LEADING = ("mae", "accuracy")


def _suffix(unit: str) -> str:
    return f" {unit}" if unit else ""


def _named(metrics: Mapping[str, float], unit: str, first: str, others: str) -> list[tuple[str, str]]:
    """Metrics by the names people use; the leading one's begins with `first`, those of the rest with `others`."""
    rows = []
    for key, (name, has_unit) in _METRICS.items():
        if key in metrics:
            value = plain(metrics[key], 3) + (_suffix(unit) if has_unit else "")
            rows.append(((first if key in _LEADING else others) + name, value))
    if "mape" in metrics:
        # Relative errors mean little where labels lie near zero, as formation energies do; the number itself is stored.
        share = 100 * metrics["mape"]
        text = f"{share:.3g} %" if share < _MAPE_MOST else f"over {_MAPE_MOST} % (labels near zero)"
        rows.append((f"{others}MAPE", text))
    return rows + [(others + key, plain(metrics[key], 3)) for key in sorted(metrics) if key not in (*_METRICS, "mape")]


def round_metrics(round_record: RoundRecord, unit: str) -> tuple[tuple[str, str], ...]:
    """The metrics of a round's model by the names people use, those first that everybody asks for."""
    rows = _named(round_record.metrics, unit, "out-of-fold ", "")
    rows += _named(round_record.test_metrics, unit, "test set: ", "test set: ")
    if round_record.max_std is not None:
        rows.append(("largest std in the pool", plain(round_record.max_std, 3) + _suffix(unit)))
    if "stability" in round_record.forecast:
        rows.append(("rank correlation with the last model", plain(round_record.forecast["stability"], 3)))
    return tuple(rows)


@dataclass(frozen=True)
class Calibration:
    """How honest the newest model's std is.

    Parameters
    ----------
    number : the round
    n : labels it was measured on
    correction : what was done about it, one phrase
    is_fitted : whether it was fitted to these labels
    rows : measure, without the correction, with it, and what it is if the std is right
    """

    number: int
    n: int
    correction: str
    is_fitted: bool
    rows: tuple[tuple[str, str, str, str], ...]


def is_corrected(record: CampaignRecord) -> bool:
    """Whether the campaign file lets the std be corrected; the calibration is measured either way."""
    return bool(record.spec.get("training", {}).get("recalibrate", True))


def calibration_of(record: CampaignRecord) -> Calibration | None:
    """The calibration of the newest round that has one; None if none has."""
    newest = newest_round(record, "calibration")
    if newest is None or newest.calibration is None:
        return None
    known, suffix = newest.calibration, _suffix(record.target.unit)
    before, after = known["before"], known["after"]
    rows = [("mean z² [95 %]", _interval(before), _interval(after), "1; above: too sure")]
    for key, name, right in (
        ("ence", "ENCE", "0"),
        ("miscalibration_area", "miscalibration area", f"0; about {plain(0.31 / known['n'] ** 0.5, 2)} by chance"),
        ("nll", "negative log-likelihood", "lower is better"),
    ):
        rows.append((name, plain(before.get(key), 3), plain(after.get(key), 3), right))
    for level in ("50", "90", "95"):
        key = f"coverage_{level}"
        rows.append(
            (f"labels inside the {level} % interval", _percent(before, key), _percent(after, key), f"{level} %")
        )
    sharp, sharper = (plain(side["sharpness"], 3) + suffix for side in (before, after))
    rows.append(("sharpness", sharp, sharper, "smaller is better, if the rest is right"))
    rows.append(("slope of the correction", "–", plain(known["slope"], 3), ""))
    rows.append(("offset of the correction", "–", plain(known["offset"], 3) + suffix, ""))
    shown = tuple(row for row in rows if (row[1], row[2]) != ("–", "–"))
    how = _SOURCES[known["source"]]
    if not is_corrected(record):
        how = "measured only: the campaign file turns it off (training.recalibrate)"
    return Calibration(newest.number, known["n"], how, known["source"] == "fitted", shown)


def _interval(metrics: Mapping[str, float]) -> str:
    middle = plain(metrics.get("mean_z2"), 3)
    if "mean_z2_low" not in metrics:
        return middle
    return f"{middle} [{plain(metrics['mean_z2_low'], 3)}, {plain(metrics['mean_z2_high'], 3)}]"


def _percent(metrics: Mapping[str, float], key: str) -> str:
    return f"{100 * metrics[key]:.0f} %" if key in metrics else "–"


def control_sentences(record: CampaignRecord) -> tuple[str, ...]:
    """What the candidates drawn at random say, a sentence each: the model's error, and how much it beats chance."""
    error, factor = record.control.get("error"), record.control.get("acceleration")
    sentences = []
    if error is not None:
        n, suffix = error["n"], _suffix(record.target.unit)
        low, high = plain(error["low"], 3), plain(error["high"], 3)
        sentences.append(
            f"The error on {n} candidates that were drawn at random, and predicted before anybody knew, is "
            f"{plain(error['mae'], 3)}{suffix} on average (95 % interval {low} to {high}"
            + (", too narrow with so few labels)." if n < _FEW else ").")
        )
    if factor is not None:
        sentences.append(_factor_sentence(factor))
    return tuple(sentences)


def _times(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _labels(n: int) -> str:
    return f"{n} label{'' if n == 1 else 's'}"


def _factor_sentence(factor: Mapping[str, Any]) -> str:
    n, t = factor["n_control"], factor["n_chosen"]
    best = "the one control label" if n == 1 else f"the best of {n} control labels"
    high = _times(factor["high"])
    if not factor["has_reached"]:
        return (
            f"The model has chosen {_labels(t)} and found none as good as {best} yet: so far it is at most about "
            f"{_times(factor['factor'])} times as fast as chance (95 % interval up to {high})."
        )
    return (
        f"The model needed {_labels(t)} to find one as good as {best}; chance would need about "
        f"{_times(factor['factor'])} times as many (95 % interval {_times(factor['low'])} to {high})."
    )


def acceleration_text(record: CampaignRecord) -> tuple[str, str] | None:
    """The acceleration factor and its interval; None unless the model has reached the best of the control."""
    factor = record.control.get("acceleration")
    if factor is None or not factor["has_reached"]:
        return None
    return f"{_times(factor['factor'])} ×", f"than chance; 95 %: {_times(factor['low'])} to {_times(factor['high'])}"


def forecast_text(record: CampaignRecord, round_record: RoundRecord) -> str:
    """What the round's batch was expected to be worth when it was chosen; empty where nothing was."""
    known = round_record.forecast
    # Candidates, not requests: a retry is the same pick.
    number = round_record.number
    chosen = {r.candidate_id for r in record.requests if r.round == number and r.arm is Arm.CHOSEN}
    if not chosen or not known.keys() & {"expected_gain", "run_s"}:
        return ""
    return forecast_sentence(known, record.target, len(chosen))


@dataclass(frozen=True)
class FoundSettings:
    """What one search of hyper-parameters found, as text: the round, the options, the error without and with them."""

    round: int
    settings: str
    given_error: str
    error: str
    n_trials: int
    seconds: float


def found_settings(record: CampaignRecord) -> tuple[FoundSettings, ...]:
    """Every search, in the order of the rounds; the rounds in between, which kept what was found, have no row."""
    unit = "" if record.target.goal is Goal.CLASSIFY else _suffix(record.target.unit)
    rows = []
    for found in (r.settings for r in record.rounds if r.settings is not None and r.settings["round"] == r.number):
        options = ", ".join(f"{key} = {_option(value)}" for key, value in sorted(found["settings"].items()))
        rows.append(
            FoundSettings(
                found["round"],
                options or "nothing better than the campaign file’s own",
                plain(found["given_error"], 3) + unit,
                plain(found["error"], 3) + unit,
                found["n_trials"],
                found["seconds"],
            )
        )
    return tuple(rows)


def _option(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
