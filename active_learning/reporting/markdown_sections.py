"""The parts of the report in Markdown that are tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from active_learning.reporting.contents import Contents
from active_learning.reporting.markdown import escape_markdown, markdown_table
from active_learning.reporting.numbers import brief, duration, percent, plain, with_error, z_text
from active_learning.reporting.picks import LogColumns, Pick
from active_learning.reporting.report import moment_text
from active_learning.reporting.tables import CostRow, RoundTable

__all__ = [
    "best",
    "cost",
    "decisions",
    "doubts",
    "elements",
    "failures",
    "kept_descriptors",
    "model",
    "rounds",
    "stopping",
    "versions",
]

_LEFT, _RIGHT = ":--", "--:"


def _columns(*columns: tuple[str, str, bool], rows: Sequence[Sequence[str]]) -> str:
    """A table of those columns (name, alignment, whether it is there); each row has a cell for every one of them."""
    there = [place for place, (*_, is_there) in enumerate(columns) if is_there]
    cells = [[row[place] for place in there] for row in rows]
    return markdown_table([columns[i][0] for i in there], [columns[i][1] for i in there], cells)


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def best(contents: Contents) -> list[str]:
    """The best materials."""
    if not contents.best:
        return []
    unit = contents.record.target.unit
    rows = [
        [
            *(str(row["rank"]), brief(row["formula"]), with_error(row["value"], row["std"]), brief(row["fidelity"])),
            *(brief(row["origin"]), row["chosen_by"], _number(row["round"])),
            *(with_error(row["predicted_mean"], row["predicted_std"]), z_text(row["z"])),
            *(str(row["n_candidates"]), row["candidate"]),
        ]
        for row in contents.best
    ]
    head = ["#", "formula", f"value ({unit})" if unit else "value", "level", "came from", "chosen by", "round"]
    head += ["predicted at choice", "z", "candidates", "candidate"]
    alignment = [_RIGHT, _LEFT, _RIGHT, _LEFT, _LEFT, _LEFT, *[_RIGHT] * 4, _LEFT]
    note = f"{contents.n_distinct} distinct materials; candidates that relaxed to one crystal count once."
    return [markdown_table(head, alignment, rows), note]


def elements(contents: Contents) -> list[str]:
    """What was tried, element by element."""
    found, has_best = contents.elements, bool(contents.elements.n_best)
    if not found.rows:
        return []
    rows = [
        [
            *(row.symbol, str(row.n_labels), percent(row.n_labels / found.n_labels)),
            *(plain(row.best.label.value if row.best else None), brief(row.best.formula) if row.best else ""),
            *(str(row.n_best), percent(row.n_best / found.n_best) if has_best else ""),
        ]
        for row in found.rows
    ]
    columns = [("element", _LEFT, True), ("labeled candidates", _RIGHT, True), ("share of all", _RIGHT, True)]
    columns += [("best value", _RIGHT, has_best), ("of", _LEFT, has_best)]
    columns += [(f"among the best {found.n_best}", _RIGHT, has_best), ("share of these", _RIGHT, has_best)]
    untried = ", ".join(found.untried)
    return [
        _columns(*columns, rows=rows),
        f"In the pool, and in no labeled candidate yet: {untried}." if untried else "",
    ]


def model(contents: Contents) -> list[str]:
    """Confusion, control, calibration, and settings found."""
    parts = []
    for table in contents.confusions:
        head = [f"{table.name}: true class", *(f"predicted {name}" for name in table.classes), "right"]
        counts = zip(table.classes, table.counts, table.shares, strict=True)
        rows = [[name, *map(str, row), share] for name, row, share in counts]
        parts.append(markdown_table(head, [_LEFT, *[_RIGHT] * (len(head) - 1)], rows))
    parts += [escape_markdown(sentence) for sentence in contents.control]
    known = contents.calibration
    if known is not None:
        head = [f"round {known.number}, {known.n} held-out labels", "as the model says", "with the correction"]
        parts.append(markdown_table([*head, "right is"], [_LEFT, _RIGHT, _RIGHT, _LEFT], known.rows))
        parts.append(f"Correction (std × slope + offset): {escape_markdown(known.correction)}.")
    if contents.searches:
        head = ["round", "settings", "before", "after", "tried", "took"]
        rows = [
            [str(s.round), s.settings, s.given_error, s.error, str(s.n_trials), duration(s.seconds)]
            for s in contents.searches
        ]
        parts.append(markdown_table(head, [_RIGHT, _LEFT, *[_RIGHT] * 4], rows))
    return parts


def kept_descriptors(contents: Contents) -> list[str]:
    """What the preparation kept, and how many it left out."""
    found = contents.described
    prepared = None if found is None else found.record
    if found is None or prepared is None:
        return []
    rows = [list(row) for row in found.rows]
    measure = prepared.measure or "value"
    parts = [f"Of {prepared.n_given:,} descriptors the model of round {found.number} saw {len(prepared.kept):,}."]
    if rows:
        parts.append(markdown_table(["descriptor", measure, "rank correlation"], [_LEFT, _RIGHT, _RIGHT], rows))
    left_out = [[group.kind, f"{group.n:,}"] for group in found.dropped]
    return [*parts, markdown_table(["left out", "descriptors"], [_LEFT, _RIGHT], left_out) if left_out else ""]


def stopping(contents: Contents) -> list[str]:
    """Every rule with its limit and its newest value."""
    rows = []
    for rule in contents.rules:
        compared = "what a plug-in compares, only itself knows" if rule.measure is None else rule.measure.what
        says = "" if rule.measure is None else "stop" if rule.is_met else "go on" if rule.last is not None else "–"
        alone = "alone" if rule.is_alone else "with the others of its list"
        rows.append([rule.kind, compared, rule.limit_text, rule.text(rule.last), says, alone])
    head = ["rule", "what it compares", "stops at", "newest value", "says", "counts"]
    return [markdown_table(head, [_LEFT, _LEFT, _RIGHT, _RIGHT, _LEFT, _LEFT], rows)]


def _pick_columns(log: LogColumns) -> list[tuple[str, str, bool]]:
    return [
        ("score", _RIGHT, True),
        ("predicted", _RIGHT, True),
        ("novelty", _RIGHT, log.novelty),
        ("outcome", _LEFT, True),
        ("right or wrong", _LEFT, log.classes),
        ("error", _RIGHT, not log.classes),
        ("z", _RIGHT, not log.classes),
        ("candidate", _LEFT, True),
    ]


def _pick_cells(pick: Pick) -> list[str]:
    outcome = f"{pick.outcome} (attempt {pick.attempt})" if pick.attempt > 1 else pick.outcome
    outcome = f"{outcome}: {brief(pick.detail)}" if pick.detail else outcome
    return [pick.score, pick.predicted, pick.novelty, outcome, pick.error, pick.error, pick.z, pick.candidate]


def rounds(contents: Contents) -> list[str]:
    """One row a round, the newest first; what each chose stands in the log of decisions."""

    def row(table: RoundTable) -> list[str]:
        metrics = "; ".join(f"{name} {value}" for name, value in table.metrics[:4])
        counts = [str(table.round.n_labels), str(len(table.picks)), str(table.n_labels)]
        counts += [str(table.n_failed), str(table.n_withdrawn), str(table.n_open)]
        return [str(table.round.number), *counts, metrics, table.forecast]

    outcomes = ["labeled", "failed", "withdrawn", "open"]
    head = ["round", "trained on", "asked for", *outcomes, "model", "forecast when it was chosen"]
    if not contents.rounds:
        return []
    return [markdown_table(head, [*[_RIGHT] * 7, _LEFT, _LEFT], [row(table) for table in contents.rounds])]


def decisions(contents: Contents) -> list[str]:
    """Every candidate that was asked for, and every label."""
    log = contents.columns
    rows = [
        [
            *(str(n), _number(decision.round), brief(decision.pick.formula), brief(decision.pick.reason)),
            *(decision.pick.arm, decision.pick.rule, decision.model, *_pick_cells(decision.pick)),
        ]
        for n, decision in enumerate(contents.decisions, start=1)
    ]
    columns = [("#", _RIGHT, True), ("round", _RIGHT, True), ("formula", _LEFT, True), ("why", _LEFT, True)]
    columns += [("arm", _LEFT, True), ("rule", _LEFT, log.rule), ("model", _LEFT, True), *_pick_columns(log)]
    kind = f"The model is of the kind {escape_markdown(contents.surrogate)}. " if contents.surrogate else ""
    how = "" if log.classes else "Error = value − predicted mean; z = error / predicted std."
    return [f"{kind}{how}".strip(), _columns(*columns, rows=rows)] if rows else []


def failures(contents: Contents) -> list[str]:
    """Failed attempts by kind, and what became of the pool."""
    rows = [
        [group.kind, brief(name), str(number), brief(detail), fate, request]
        for group in contents.failures
        for request, name, number, detail, fate in group.rows
    ]
    head = ["failure", "formula", "round", "what happened", "the candidate was", "request"]
    record = contents.record
    pool = [["read", f"{record.read:,}"], *([f"dropped: {why}", f"{n:,}"] for why, n in contents.dropped)]
    pool += [["not featurized", f"{len(record.not_featurized):,}"], ["candidates", f"{len(record.candidate_ids):,}"]]
    why = [[reason, f"{n:,}", examples] for reason, n, examples in contents.not_featurized]
    return [
        markdown_table(head, [_LEFT, _LEFT, _RIGHT, _LEFT, _LEFT, _LEFT], rows) if rows else "No attempt failed.",
        markdown_table(["pool", ""], [_LEFT, _RIGHT], pool),
        markdown_table(["not featurized", "candidates", "such as"], [_LEFT, _RIGHT, _LEFT], why) if why else "",
    ]


def doubts(contents: Contents) -> list[str]:
    """Labels far from their prediction, and those taken back."""
    far = [
        [row.candidate, brief(row.formula), plain(row.value), plain(row.mean), plain(row.std)]
        for row in contents.outliers
    ]
    back = [
        [r.candidate_id, r.property, f"{plain(r.value)} {r.unit}".strip(), brief(r.reason)]
        for r in contents.record.retractions
    ]
    head = ["candidate", "formula", "label", "predicted", "std"]
    return [
        markdown_table(head, [_LEFT, _LEFT, _RIGHT, _RIGHT, _RIGHT], far) if far else "",
        markdown_table(["taken back", "property", "value", "reason"], [_LEFT, _LEFT, _RIGHT, _LEFT], back)
        if back
        else "",
    ]


def cost(contents: Contents) -> list[str]:
    """What each round cost, and all together."""
    if not contents.cost:
        return ["No job was submitted yet."]

    def row(found: CostRow, name: str) -> list[str]:
        times = (found.core_s, found.per_label_s, found.queued_s, found.turnaround_s, found.wall_s)
        return [name, str(found.n_jobs), str(found.n_labels), *map(duration, times), plain(found.best)]

    head = ["round", "jobs", "labels", "core time", "median of a label", "in queues", "median turnaround"]
    columns = [(name, _RIGHT, True) for name in (*head, "first submission to last end")]
    columns.append(("best after it", _RIGHT, bool(contents.best)))
    rows = [*(row(found, str(found.round)) for found in contents.cost), row(contents.total, "all")]
    return [_columns(*columns, rows=rows)]


def versions(contents: Contents) -> str:
    """Seed and versions."""
    record = contents.record
    rows = [["seed", str(record.seed)], ["report of", moment_text(record.now)], *map(list, record.versions.items())]
    return markdown_table(["", ""], [_LEFT, _LEFT], rows)
