"""One round on one page of Markdown, with its pictures inside: what Prefect's UI shows as an artifact."""

from __future__ import annotations

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import RoundRecord
from active_learning.errors import ContractError
from active_learning.reporting import style
from active_learning.reporting.best import distinct_best
from active_learning.reporting.classes import Confusion, confusions
from active_learning.reporting.learned import forecast_text, round_metrics
from active_learning.reporting.maps import map_figure
from active_learning.reporting.markdown import escape_markdown, markdown_table
from active_learning.reporting.model_figures import calibration_figure, parity_figure
from active_learning.reporting.numbers import duration, with_error
from active_learning.reporting.picks import LogColumns, Pick, log_columns, picks_of_round
from active_learning.reporting.progress_figures import discovery_figure
from active_learning.reporting.tables import CostRow, cost_rows

__all__ = ["round_markdown"]

# 128 colors are plenty for these drawings, and half of the size.
_DPI = 120
_N_COLORS = 128


def round_markdown(record: CampaignRecord, number: int) -> str:
    """Headline, forecast, spending, figures, the picks with reasons and outcomes, and the metrics.

    The figures are the discovery curve, parity, calibration, and the map of the pool by its principal components, as
    inline PNG, each a data URI of some 20,000 to 60,000 characters. Parity and calibration know rounds up to this one
    only; they are left out while there is no prediction to show. Of a classification there is a table of true and
    predicted classes instead. All text of the record is escaped.

    Raises
    ------
    ContractError
        If the campaign has no such round.
    """
    found = next((r for r in record.rounds if r.number == number), None)
    if found is None:
        known = ", ".join(str(r.number) for r in record.rounds) or "none"
        raise ContractError(f"campaign '{record.name}' has no round {number}; its rounds: {known}")
    picks = picks_of_round(record, number)
    parts = [_headline(record, found, picks), _pictures(record, number)]
    parts += [_confusion_table(table) for table in confusions(record, number=number)]
    if picks:
        parts.append(_picks_table(record, picks))
    metrics = round_metrics(found, record.target.unit)
    if metrics:
        parts.append(markdown_table(["model of this round", ""], [":--", "--:"], [list(row) for row in metrics]))
    return "\n\n".join(parts) + "\n"


def _headline(record: CampaignRecord, found: RoundRecord, picks: tuple[Pick, ...]) -> str:
    kind = "first design" if found.predictions is None else f"trained on {found.n_labels} labels"
    states = [pick.state for pick in picks]
    outcome = f"{states.count('ok')} labeled, {states.count('failed')} failed, {states.count('open')} open"
    if "withdrawn" in states:
        outcome += f", {states.count('withdrawn')} withdrawn"
    lines = [f"# {escape_markdown(record.name)}, round {found.number}", ""]
    lines.append(f"{kind}; {outcome}" if picks else f"{kind}; nothing was chosen")
    forecast = forecast_text(record, found)
    if forecast:
        lines += ["", f"Forecast when it was chosen: {escape_markdown(forecast)}."]
    spent = _spent(record, found.number)
    if spent:
        lines += ["", spent]
    best = next(iter(distinct_best(record)), None)
    if best is not None:
        value = escape_markdown(f"{with_error(best.label.value, best.label.std)} {best.label.unit}".strip())
        lines += ["", f"Best so far: **{escape_markdown(best.formula)}**, {value}"]
    return "\n".join(lines)


def _spent(record: CampaignRecord, number: int) -> str:
    """What this round's calculations took, and those of all; empty before the first."""
    rounds, total = cost_rows(record)
    mine = next((row for row in rounds if row.round == number), None)
    if not total.n_jobs:
        return ""
    in_all = f"{total.n_jobs} in all, {_core_time(total)}"
    return f"Spent: {mine.n_jobs} jobs, {_core_time(mine)}; {in_all}." if mine else f"Spent: {in_all}."


def _core_time(row: CostRow) -> str:
    return "core time not known yet" if row.core_s is None else f"{duration(row.core_s)} of core time"


def _pictures(record: CampaignRecord, number: int) -> str:
    figures = {
        "values of the labels in order": discovery_figure(record, width=7.2, height=3.3),
        "predicted against labeled values": parity_figure(record, number=number, width=5.0),
        "coverage of the predicted intervals, and z scores": calibration_figure(record, number=number),
        "the pool in two dimensions, and what was chosen of it": map_figure(record),
    }
    images = {
        alt: style.png_data_uri(figure, dpi=_DPI, n_colors=_N_COLORS) for alt, figure in figures.items() if figure
    }
    return "\n\n".join(f"![{alt}]({image})" for alt, image in images.items())


def _confusion_table(table: Confusion) -> str:
    """A row for each true class; what was predicted right stands on the diagonal."""
    head = [f"{table.name}: true class", *(f"predicted {name}" for name in table.classes), "right"]
    counts = zip(table.classes, table.counts, table.shares, strict=True)
    rows = [[name, *map(str, row), share] for name, row, share in counts]
    return markdown_table(head, [":--", *["--:"] * (len(head) - 1)], rows)


def _picks_table(record: CampaignRecord, picks: tuple[Pick, ...]) -> str:
    columns = log_columns(record)
    unit = f" ({record.target.unit})" if record.target.unit else ""
    shown = [(name, align) for name, align, is_there in _columns(columns, unit) if is_there]
    rows = [
        [cell for cell, (*_, is_there) in zip(_cells(pick), _columns(columns, unit), strict=True) if is_there]
        for pick in picks
    ]
    return markdown_table([name for name, _ in shown], [align for _, align in shown], rows)


def _columns(log: LogColumns, unit: str) -> list[tuple[str, str, bool]]:
    """Name, alignment, and whether the campaign has it; as `_cells`."""
    return [
        ("formula", ":--", True),
        (f"predicted{unit}", "--:", True),
        ("score", "--:", True),
        ("why", ":--", True),
        ("arm", ":--", log.arm),
        ("rule", ":--", log.rule),
        ("novelty", "--:", log.novelty),
        ("outcome", ":--", True),
        ("right or wrong", ":--", log.classes),
        ("z", "--:", not log.classes),
        ("candidate", ":--", True),
    ]


def _cells(pick: Pick) -> list[str]:
    outcome = f"{pick.outcome} (attempt {pick.attempt})" if pick.attempt > 1 else pick.outcome
    if pick.detail:
        outcome = f"{outcome}: {pick.detail}"
    novelty = f"{pick.novelty} outside" if pick.is_outside else pick.novelty
    seen = [pick.arm, pick.rule, novelty, outcome, pick.error, pick.z]
    return [pick.formula, pick.predicted, pick.score, pick.reason, *seen, pick.candidate]
