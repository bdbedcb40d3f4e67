"""The report in Markdown: the same as the page, as text and tables, with the figures as files beside it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from active_learning.reporting import markdown_sections as sections
from active_learning.reporting.contents import Contents
from active_learning.reporting.markdown import code_block, escape_markdown, markdown_table
from active_learning.reporting.report import evidence_text, moment_text

__all__ = ["markdown_of"]


def markdown_of(contents: Contents, folder: str) -> str:
    """The report as Markdown (CommonMark with tables); all text of the record is escaped, and secrets blotted out.

    Parameters
    ----------
    folder : of the figures, as seen from the report, with slashes
    """
    where = escape_markdown(folder)
    beside = f"Every figure is also an .svg, with its numbers as .csv, in {where}; decisions.csv there is the log."
    parts = [
        _headline(contents),
        beside,
        *_section("Progress", _figures(contents, folder, "discovery")),
        *_section("Best materials", sections.best(contents)),
        *_section(
            "Elements: what was tried, and where the best lie",
            [*_figures(contents, folder, "elements_tried", "elements_best"), *sections.elements(contents)],
        ),
        *_section(
            "Model",
            [
                *_figures(contents, folder, "parity", "importances", "errors", "calibration", "honesty"),
                *sections.model(contents),
            ],
        ),
        *_section("Descriptors", [*_figures(contents, folder, "correlations"), *sections.kept_descriptors(contents)]),
        *_section("Map of the pool", _figures(contents, folder, "map")),
        *_section(
            "Stopping: how near each rule is",
            [*sections.stopping(contents), *_figures(contents, folder, "stopping")] if contents.rules else [],
        ),
        *_section("Rounds", sections.rounds(contents)),
        *_section("Decisions: the full log", sections.decisions(contents)),
        *_section("Failures and pool", sections.failures(contents)),
        *_section("Labels in doubt", sections.doubts(contents)),
        *_section("Cost, and what it brought", [*_figures(contents, folder, "gain"), *sections.cost(contents)]),
        *_section("Provenance", [sections.versions(contents), code_block(contents.spec, "json")]),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, parts: Iterable[str]) -> list[str]:
    """A heading and what stands below it; nothing without any."""
    there = [part for part in parts if part]
    return [f"## {escape_markdown(title)}", *there] if there else []


def _figures(contents: Contents, folder: str, *names: str) -> list[str]:
    found = [contents.drawings[name] for name in names if name in contents.drawings]
    parts = []
    for drawing in found:
        # Any path may stand in an address once it is quoted.
        address = quote(f"{folder}/{drawing.name}.png", safe="/.-_")
        parts += [f"![{escape_markdown(drawing.alt)}]({address})", f"*{escape_markdown(drawing.caption)}*"]
    return parts


def _headline(contents: Contents) -> str:
    record, unit = contents.record, contents.record.target.unit
    target = f"**{escape_markdown(contents.title)}**" + (f" in {escape_markdown(unit)}" if unit else "")
    lines = [
        f"# {escape_markdown(record.name)} – campaign report",
        f"Target: {target}, goal: **{escape_markdown(contents.goal)}**; the campaign is **{record.phase}**.",
        f"As of {moment_text(record.now)}, begun {moment_text(record.created_at)}.",
    ]
    verdict = record.verdict
    if verdict is not None:
        word = "Stopped" if record.phase == "stopped" else "Verdict"
        lines.append(f"> **{word}:** {escape_markdown(verdict.reason)} (rule: {escape_markdown(verdict.kind)})")
        evidence = [(key, evidence_text(value)) for key, value in verdict.evidence.items()]
        if evidence:
            lines.append(markdown_table(["evidence", ""], [":--", ":--"], evidence))
    cards = [(card.name, card.value, card.note) for card in contents.cards]
    return "\n\n".join([*lines, markdown_table(["", "", ""], [":--", ":--", ":--"], cards)])
