"""All that a report says, gathered once; the page and the Markdown show the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from active_learning.api.record import CampaignRecord
from active_learning.domain.target import Goal
from active_learning.reporting import numbers, tables
from active_learning.reporting.best import BestMaterial, best_table, distinct_best
from active_learning.reporting.classes import Confusion, confusions
from active_learning.reporting.decisions import Decision, decisions
from active_learning.reporting.descriptor_tables import Descriptors, descriptors
from active_learning.reporting.drawings import Drawing, drawings
from active_learning.reporting.elements import Elements, elements_of
from active_learning.reporting.learned import (
    Calibration,
    FoundSettings,
    acceleration_text,
    calibration_of,
    control_sentences,
    found_settings,
)
from active_learning.reporting.links import candidate_requests, design_rounds, given_up
from active_learning.reporting.maps import MapMethod
from active_learning.reporting.picks import LogColumns, log_columns
from active_learning.reporting.rules import RuleHistory, rule_histories

__all__ = ["N_BEST", "Card", "Contents", "contents_of"]

N_BEST = 15
"""Rows of the table of the best materials."""

_GOALS = {
    Goal.MINIMIZE: "minimize",
    Goal.MAXIMIZE: "maximize",
    Goal.LEARN: "learn everywhere",
    Goal.CLASSIFY: "classify",
}


@dataclass(frozen=True)
class Card:
    """One number of the headline, its name, and what it is of."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class Contents:
    """A report without its form.

    Parameters
    ----------
    goal, title : of the target, in words
    drawings : name -> figure, in the order of the report
    best : as `best_table` gives it; `n_distinct` materials there are in all
    cost, total : of each round, and of all
    surrogate : its kind, as the file says now; empty if it does not
    dropped : why candidates of the pool were not taken, and how many, the most frequent first
    spec : the campaign file as text, without secrets
    """

    record: CampaignRecord
    goal: str
    title: str
    cards: tuple[Card, ...]
    drawings: dict[str, Drawing]
    described: Descriptors | None
    best: list[dict[str, Any]]
    n_distinct: int
    elements: Elements
    rules: tuple[RuleHistory, ...]
    rounds: tuple[tables.RoundTable, ...]
    columns: LogColumns
    decisions: tuple[Decision, ...]
    calibration: Calibration | None
    control: tuple[str, ...]
    confusions: tuple[Confusion, ...]
    searches: tuple[FoundSettings, ...]
    failures: tuple[tables.FailureGroup, ...]
    outliers: tuple[tables.OutlierRow, ...]
    not_featurized: tuple[tuple[str, int, str], ...]
    dropped: tuple[tuple[str, int], ...]
    cost: tuple[tables.CostRow, ...]
    total: tables.CostRow
    surrogate: str
    spec: str

    @property
    def n_classes(self) -> int:
        """Classes that any model knew."""
        return max((len(r.classes) for r in self.record.rounds), default=0)


def contents_of(record: CampaignRecord, *, map_method: MapMethod) -> Contents:
    """Everything that a report of a campaign shows.

    Raises
    ------
    UserError
        If `map_method` is "umap" and umap-learn is not installed, or the pool is too small for it.
    """
    distinct = distinct_best(record)
    cost, total = tables.cost_rows(record)
    described, elements, rules = descriptors(record), elements_of(record), rule_histories(record)
    return Contents(
        record=record,
        goal=_goal(record),
        title=record.target.property.replace("_", " "),
        cards=_cards(record, distinct[0] if distinct else None, total),
        drawings=drawings(record, map_method=map_method, described=described, elements=elements, rules=rules),
        described=described,
        best=best_table(record, N_BEST),
        n_distinct=len(distinct),
        elements=elements,
        rules=rules,
        rounds=tables.round_tables(record),
        columns=log_columns(record),
        decisions=decisions(record),
        calibration=calibration_of(record),
        control=control_sentences(record),
        confusions=confusions(record),
        searches=found_settings(record),
        failures=tables.failure_groups(record),
        outliers=tables.outlier_rows(record),
        not_featurized=tables.not_featurized_reasons(record),
        dropped=tuple(sorted(record.dropped.items(), key=lambda item: (-item[1], item[0]))),
        cost=cost,
        total=total,
        surrogate=str(record.spec.get("surrogate", {}).get("kind", "")),
        spec=tables.spec_text(record),
    )


def _goal(record: CampaignRecord) -> str:
    target = record.target
    if target.goal is Goal.WITHIN:
        return f"within {target.low:g} to {target.high:g} {target.unit}".strip()
    return _GOALS[target.goal]


def _cards(record: CampaignRecord, best: BestMaterial | None, total: tables.CostRow) -> tuple[Card, ...]:
    n_open = sum(request.is_open for request in candidate_requests(record))
    held = "" if total.core_s is None else f"{numbers.duration(total.core_s)} of core time"
    failed = len(given_up(record))
    cards = [
        Card("candidates", f"{len(record.candidate_ids):,}", f"{record.read:,} read"),
        Card("labels", f"{len(record.target_labels):,}", f"{n_open} in flight"),
        Card(
            "rounds",
            str(sum(1 for r in record.rounds if r.n_picks)),
            "first design included" if design_rounds(record) else "no first design",
        ),
        Card("failed", str(failed), "candidates given up"),
        Card("jobs", f"{total.n_jobs:,}", held),
    ]
    if best is not None:
        value = f"{numbers.with_error(best.label.value, best.label.std)} {best.label.unit}".strip()
        cards.insert(0, Card("best material", best.formula, value))
    return (*cards, *_model_cards(record))


def _model_cards(record: CampaignRecord) -> list[Card]:
    cards = []
    for key, name, note in (("mae", "model error", "out-of-fold MAE"), ("accuracy", "accuracy", "out of fold")):
        newest = next((r for r in reversed(record.rounds) if key in r.metrics), None)
        if newest is not None:
            unit = f"{record.target.unit}, " if record.target.unit and key == "mae" else ""
            cards.append(Card(name, numbers.plain(newest.metrics[key], 3), unit + note))
    faster = acceleration_text(record)
    if faster is not None:
        cards.append(Card("faster", *faster))
    return cards
