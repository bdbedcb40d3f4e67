"""The report: one self-contained HTML page of a campaign, pictures inside and nothing from outside.

Its one script sorts and filters tables; it is part of the page, and the page's policy lets no other run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from active_learning.api.record import CampaignRecord
from active_learning.domain.secrets import without_secrets_in
from active_learning.reporting import numbers, style
from active_learning.reporting.classes import MOST_CLASSES
from active_learning.reporting.contents import N_BEST, Contents, contents_of
from active_learning.reporting.drawings import NAMES, Drawing
from active_learning.reporting.maps import MapMethod

__all__ = ["N_BEST", "evidence_text", "moment_text", "page_of", "render_html"]

_PER_INCH = 96
"""Pixels of a page."""


@dataclass(frozen=True)
class _Picture:
    name: str
    light: str
    dark: str
    alt: str
    caption: str
    shape: str
    width: int
    height: int


def _picture(drawing: Drawing) -> _Picture:
    light, dark = style.svg_data_uris(drawing.figure)
    width, height = (round(float(inches) * _PER_INCH) for inches in drawing.figure.get_size_inches())
    return _Picture(drawing.name, light, dark, drawing.alt, drawing.caption, drawing.shape, width, height)


def moment_text(time: datetime) -> str:
    """A moment to the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def evidence_text(value: Any) -> str:
    """One piece of a verdict's evidence on one line."""
    if isinstance(value, float):
        return numbers.plain(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(evidence_text, value))
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("active_learning.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        brief=numbers.brief,
        plain=numbers.plain,
        percent=numbers.percent,
        duration=numbers.duration,
        formula_parts=numbers.formula_parts,
        with_error=numbers.with_error,
        z_text=numbers.z_text,
        moment=moment_text,
        evidence=evidence_text,
    )
    return environment


def _script(environment: Environment) -> tuple[str, str]:
    """The page's script, and its hash, by which the page's policy knows it."""
    assert environment.loader is not None
    text, _, _ = environment.loader.get_source(environment, "report/script.js")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, f"sha256-{digest}"


def page_of(contents: Contents) -> str:
    """The page."""
    environment = _environment()
    script, script_hash = _script(environment)
    pictures: dict[str, _Picture | None] = dict.fromkeys(NAMES)
    pictures |= {name: _picture(drawing) for name, drawing in contents.drawings.items()}
    text = environment.get_template("report/page.html.j2").render(
        {field.name: getattr(contents, field.name) for field in fields(contents)},
        pictures=pictures,
        retracted=contents.record.retractions,
        n_classes=contents.n_classes,
        most_classes=MOST_CLASSES,
        # A file of this package, with nothing of the record in it.
        script=Markup(script),
        script_hash=script_hash,
    )
    return without_secrets_in(text)


def render_html(record: CampaignRecord, *, map_method: MapMethod = "pca") -> str:
    """A campaign's report as one HTML page that needs nothing else: no network, no other file.

    The same record gives the same text, byte for byte. All text of the record is escaped, and passwords in it are
    blotted out.

    Parameters
    ----------
    map_method : how the descriptor map is made; "umap" needs the extra `motherlode[umap]` and takes minutes

    Raises
    ------
    UserError
        If `map_method` is "umap" and umap-learn is not installed, or the pool is too small for it.
    """
    return page_of(contents_of(record, map_method=map_method))
