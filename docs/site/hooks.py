"""What the site needs beside mkdocs: decisions listed by themselves, limits from the README, links out of `docs/`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LIMITS = "## What it does not do yet"
_LEAVING = re.compile(r"\[[^\]]*\]\((?P<target>(?:\.\./)+[^)\s#]+)\)")


def _listed(entry: Any, docs: Path) -> Any:
    """The navigation, with each pattern replaced by the pages that it names, in their order."""
    if isinstance(entry, dict):
        return {title: _listed(below, docs) for title, below in entry.items()}
    if isinstance(entry, list):
        listed: list[Any] = []
        for item in entry:
            if isinstance(item, str) and "*" in item:
                listed += [page.relative_to(docs).as_posix() for page in sorted(docs.glob(item))]
            else:
                listed.append(_listed(item, docs))
        return listed
    return entry


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write out the patterns of the navigation."""
    config.nav = _listed(config.nav, Path(config.docs_dir))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of limits, which is a section of the README.

    Raises
    ------
    PluginError
        If the README has no such section.
    """
    found = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n{LIMITS}\n")[2].partition("\n## ")[0]
    if not found:
        raise PluginError(f"README.md has no section '{LIMITS}'")
    text = f"# {LIMITS.lstrip('# ')}\n{found.replace('](docs/', '](')}"
    files.append(File.generated(config, "limits.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """The page as GitHub shows it; a link to a file outside `docs/`, which the site does not hold, becomes its path.

    Python-Markdown knows no escaped ``<`` and would take ``\\<name>`` for HTML.

    Raises
    ------
    PluginError
        If there is no such file.
    """
    docs, here = Path(config.docs_dir), page.file.abs_src_path
    if here is None:
        return markdown

    def shown(found: re.Match[str]) -> str:
        target = (Path(here).parent / found["target"]).resolve()
        if target.is_relative_to(docs):
            return found[0]
        if not target.exists():
            raise PluginError(f"{page.file.src_uri} links to {found['target']}, which is not there")
        return f"`{target.relative_to(ROOT).as_posix()}`"

    return _LEAVING.sub(shown, markdown).replace("\\<", "&lt;")
