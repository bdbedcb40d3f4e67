"""One round on one page of Markdown, with its pictures inside: what Prefect's UI shows as an artifact."""

from __future__ import annotations

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import RoundRecord
from active_learning.errors import ContractError
from active_learning.reporting import style
from active_learning.reporting.best import distinct_best
from active_learning.reporting.classes import Confusion, confusions
from active_learning.reporting.learned import forecast_text, round_metrics
from active_learning.reporting.markdown import escape_markdown, markdown_table
from active_learning.reporting.model_figures import parity_figure
from active_learning.reporting.numbers import with_error
from active_learning.reporting.picks import LogColumns, Pick, log_columns, picks_of_round
from active_learning.reporting.progress_figures import discovery_figure

__all__ = ["round_markdown"]

# 64 colors are plenty for these drawings and a third of the size.
_DPI = 120
_N_COLORS = 64


def round_markdown(record: CampaignRecord, number: int) -> str:
    """Headline, forecast, discovery curve and parity as inline PNG, the picks with reasons and outcomes, the metrics.

    All text of the record is escaped. Each picture is a data URI of some 20,000 to 60,000 characters. The parity
    plot knows rounds up to this one only; it is left out while there is no prediction to show. Of a classification it
    is a table of true and predicted classes.

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
    lines = [f"# {escape_markdown(record.name)}, round {found.number}", ""]
    lines.append(f"{kind}; {outcome}" if picks else f"{kind}; nothing was chosen")
    forecast = forecast_text(record, found)
    if forecast:
        lines += ["", f"Forecast when it was chosen: {escape_markdown(forecast)}."]
    best = next(iter(distinct_best(record)), None)
    if best is not None:
        value = escape_markdown(f"{with_error(best.label.value, best.label.std)} {best.label.unit}".strip())
        lines += ["", f"Best so far: **{escape_markdown(best.formula)}**, {value}"]
    return "\n".join(lines)


def _pictures(record: CampaignRecord, number: int) -> str:
    discovery = discovery_figure(record, width=7.2, height=3.3)
    images = [f"![values of the labels in order]({style.png_data_uri(discovery, dpi=_DPI, n_colors=_N_COLORS)})"]
    parity = parity_figure(record, number=number, width=5.0)
    if parity is not None:
        images.append(
            f"![predicted against labeled values]({style.png_data_uri(parity, dpi=_DPI, n_colors=_N_COLORS)})"
        )
    return "\n\n".join(images)


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
