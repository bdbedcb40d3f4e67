"""The pages hold together: links lead somewhere, decisions are numbered, the reference is what the program does."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from active_learning.featurizers.registry import DESCRIPTORS
from active_learning.plugins import GROUPS, installed

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SECTIONS = ("## Context", "## Decision", "## Refused", "## Consequences")


def _anchors(page: Path) -> set[str]:
    """Headings, the way GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    broken = []
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    linked = set(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")}
    assert pages <= linked


def test_decisions_are_numbered_without_a_gap_and_have_all_their_sections() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    assert len(pages) >= 17
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.match(rf"# {page.name[:4]} \S", text), f"{page.name} does not begin with its number and title"
        positions = [text.find(section) for section in _SECTIONS]
        assert -1 not in positions, f"{page.name} lacks a section of {_SECTIONS}"
        assert positions == sorted(positions), f"the sections of {page.name} are not in the order of {_SECTIONS}"


def test_the_code_and_the_pages_cite_decisions_that_exist() -> None:
    there = {page.name[:4] for page in (ROOT / "docs" / "adr").glob("*.md")}
    files = [*PAGES, ROOT / "pyproject.toml"]
    for room in ("active_learning", "tasks", "flows"):
        files += sorted((ROOT / room).rglob("*.py"))
    cited = {number for file in files for number in re.findall(r"adr/(\d{4})", file.read_text(encoding="utf-8"))}
    assert cited
    assert cited <= there


def test_the_reference_of_the_campaign_file_is_up_to_date() -> None:
    source = ROOT / "docs" / "make_reference.py"
    found = importlib.util.spec_from_file_location("make_reference", source)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    page = (ROOT / "docs" / "campaign-file.md").read_text(encoding="utf-8")
    assert page == module.reference(), "run: python docs/make_reference.py"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_tables_that_come_from_code_and_measurements_are_up_to_date(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    tables = importlib.import_module("make_tables")
    text = page.read_text(encoding="utf-8")
    assert text == tables.filled(text), "run: python docs/make_tables.py"


def test_every_descriptor_and_every_pool_is_documented() -> None:
    descriptors = (ROOT / "docs" / "descriptors.md").read_text(encoding="utf-8")
    assert [name for name in DESCRIPTORS if f"| `{name}` |" not in descriptors] == []
    pools = (ROOT / "docs" / "pools.md").read_text(encoding="utf-8")
    kinds = [info.kind for info in installed("pools") if info.distribution.startswith("motherlode ")]
    assert [kind for kind in kinds if f"\n## `{kind}`\n" not in pools] == []


def test_every_kind_of_plug_in_and_every_contract_suite_is_documented() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert [group for group in GROUPS if f"`motherlode.{group}`" not in page] == []
    suites = [
        f"{file.stem}.{name}"
        for file in (ROOT / "active_learning" / "testing").glob("*.py")
        for name in re.findall(r"^class (\w+Contract)\b", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert suites
    assert [suite for suite in suites if f"`{suite}`" not in page] == []


def test_no_placeholder_is_left_outside_the_numbers_that_benchmarks_fill() -> None:
    found = {mark for page in PAGES for mark in re.findall(r"@@\w+@@", page.read_text(encoding="utf-8"))}
    assert not found
