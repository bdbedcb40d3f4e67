"""The documentation as a site: it builds without a warning, holds every page, needs no other host; its guides run.

`tests/docs/test_blocks.py` runs the Python and the tables of every page; here the commands of the tutorial and of the
how-to pages are run as well, in their order, in one folder for each page.
"""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GUIDES = (DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md")))
_BLOCK = re.compile(r"^(?P<not_run><!-- not run: [^\n]+ -->\n)?```(?P<language>\w+)\n(?P<body>.*?)^```$", re.S | re.M)
_FILE = re.compile(r"# (\S+\.(?:py|toml))\n")
_FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
_NOT_FETCHED = {"canonical", "next", "prev"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `mkdocs build --strict` makes it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"[-3000:]
    return folder


def _page_of(site: Path, source: Path) -> Path:
    relative = source.relative_to(DOCS)
    return site / relative.parent / ("" if relative.stem == "index" else relative.stem) / "index.html"


class _Resources(HTMLParser):
    """What a browser fetches to show a page, and the links of its navigation."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.navigation: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in _FETCHED and values.get("rel") not in _NOT_FETCHED and values.get(_FETCHED[tag]):
            self.fetched.append(values[_FETCHED[tag]])
        if tag == "a" and "md-nav__link" in values.get("class", ""):
            self.navigation.append(values.get("href", ""))


def _read(page: Path) -> _Resources:
    found = _Resources()
    found.feed(page.read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_every_page_of_the_docs_is_in_the_navigation(site: Path) -> None:
    home = site / "index.html"
    linked = {(site / link / "index.html").resolve() for link in _read(home).navigation if "#" not in link}
    wanted = {_page_of(site, page).resolve() for page in DOCS.rglob("*.md")} | {(site / "limits/index.html").resolve()}
    assert len(wanted) > 40
    assert sorted(map(str, wanted - linked)) == []


@pytest.mark.slow
def test_the_site_fetches_nothing_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    found = {page: _read(page).fetched for page in pages}
    assert all(found.values()), "a page without style"
    foreign = [f"{page.relative_to(site)}: {it}" for page in pages for it in found[page] if re.match(r"(\w+:)?//", it)]
    assert foreign == []
    styles = {style: style.read_text(encoding="utf-8") for style in site.rglob("*.css")}
    assert styles
    called = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")
    assert [style.name for style, text in styles.items() if called.search(text)] == []


@pytest.mark.slow
def test_the_reference_has_the_docstrings_of_the_public_modules(site: Path) -> None:
    for page, names in {
        "campaign": ("active_learning.api.campaign.Campaign", "active_learning.api.campaign.Campaign.create"),
        "protocols": (
            "active_learning.domain.protocols.Submitter.submit",
            "active_learning.domain.protocols.Acquisition",
        ),
        "testing": ("active_learning.testing.submitters.SubmitterContract",),
    }.items():
        text = (site / "api" / page / "index.html").read_text(encoding="utf-8")
        assert [name for name in names if f'id="{name}"' not in text] == []


@pytest.mark.slow
def test_the_limits_are_those_of_the_readme(site: Path) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What it does not do yet\n")[2]
    wanted = section.partition("\n## ")[0].count("\n- ")
    article = (site / "limits" / "index.html").read_text(encoding="utf-8").partition("<article")[2]
    assert wanted > 3
    assert article.partition("</article>")[0].count("<li>") == wanted


@pytest.mark.slow
def test_angle_brackets_that_a_page_escapes_are_shown(site: Path) -> None:
    text = (site / "campaign-file" / "index.html").read_text(encoding="utf-8")
    assert "&lt;name&gt;.campaign" in text or "&lt;name>.campaign" in text


def _run(line: str, motherlode: Any, folder: Path) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "motherlode":
        done = motherlode(*words[1:], cwd=folder, seconds=300.0)
        assert done.status == 0, f"{line}\n{done.out}{done.err}"
        return
    shell = subprocess.run(["bash", "-ec", f'python() {{ "{sys.executable}" "$@"; }}\n{line}'], cwd=folder, timeout=300)
    assert shell.returncode == 0, line


@pytest.fixture(scope="module")
def followed(request: pytest.FixtureRequest, motherlode: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where every file of a page was saved and every command typed."""
    page: Path = request.param
    folder = tmp_path_factory.mktemp(page.stem)
    blocks = [block for block in _BLOCK.finditer(page.read_text(encoding="utf-8")) if block["not_run"] is None]
    for block in blocks:
        if name := _FILE.match(block["body"]):
            (folder / name[1]).parent.mkdir(parents=True, exist_ok=True)
            (folder / name[1]).write_text(block["body"], encoding="utf-8")
    for block in blocks:
        for line in block["body"].splitlines() if block["language"] == "bash" else ():
            if line.strip():
                _run(line, motherlode, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("followed", GUIDES, ids=lambda page: page.stem, indirect=True)
def test_who_follows_a_guide_word_by_word_ends_with_a_finished_campaign(followed: Path) -> None:
    (file,) = followed.glob("*/campaign.toml")
    (budget,) = re.findall(r"^max = (\d+)$", file.read_text(encoding="utf-8"), re.M)
    (report,) = followed.glob("*/*.campaign/report.html")
    assert f"{budget} labels" in re.sub(r"\s+", " ", report.read_text(encoding="utf-8"))
    for table in followed.glob("*/known.csv"):
        with table.open(newline="") as rows:
            assert len(list(csv.DictReader(rows))) >= 10
        (summary,) = followed.glob("*/*.backtest/summary.json")
        assert summary.stat().st_size > 0
