"""A campaign whose names are markup, formulas and addresses with passwords: the report shows text, and no secret."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from learning_campaigns import FOREST, run
from markdown_it import MarkdownIt

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import Verdict
from active_learning.domain.label import Failure
from active_learning.domain.secrets import without_secrets, without_secrets_in
from active_learning.reporting.contents import contents_of
from active_learning.reporting.markdown_report import markdown_of
from active_learning.reporting.numbers import brief
from active_learning.reporting.report import page_of, render_html
from active_learning.reporting.writing import write_report
from active_learning.testing.records import example_record

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "'-alert(3)-'",
    "</script><svg onload=alert(4)>",
    "</title></style><iframe src=//evil.example>",
    "[click](javascript:alert(5)) ![x](http://evil.example/x.png)",
    "| a | b |\n|---|---|\n# heading",
    "``` <b>fence</b> ```",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}${alert(6)}",
    "https://evil.example www.evil.example a@evil.example",
    "x" * 5000,
    '=HYPERLINK("http://evil.example")\r\n\x00\x1b[31m\u202e',
)
SECRET = "hunter2-is-the-password"


class Seen(HTMLParser):
    """The tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    @property
    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> CampaignRecord:
    """A real campaign on the user's own table, with failures and a label taken back."""
    folder = tmp_path_factory.mktemp("<b>hostile & 'quoted'")
    table = folder / "my <img src=x onerror=alert(7)> 'table'.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["formula", "name", "value"])
        pairs = [(a, n) for n in range(1, 5) for a in ("Al", "Ni", "Ag", "Au", "Pt", "Ti")]
        for row, (element, n) in enumerate(pairs):
            # Some rows have no value: they are rejected, and the table's name stands in what is said of them.
            writer.writerow([f"Cu{element}{n}", PAYLOADS[row % 10], "" if row % 6 == 5 else f"{(7 * row % 11) / 10}"])
    tables = {
        "target": {"property": PAYLOADS[0], "goal": "minimize"},
        "pool": {"kind": "table", "path": str(table), "name": "name"},
        "surrogate": FOREST,
        "submitter": {"kind": "inline"},
        "rounds": {"initial": 6, "batch_size": 4, "max_in_flight": 4},
        "labeler": {
            "kind": "table",
            "path": str(table),
            "value": "value",
            "unit": PAYLOADS[1],
            "fidelity": PAYLOADS[3],
        },
        "stopping": {"any": [{"kind": "labels", "max": 14}, {"kind": "no_improvement", "rounds": 8}]},
    }
    campaign = run(folder, **tables).campaign
    first = campaign.store.read().labels[0].candidate_id
    campaign.retract(first, reason=f"{PAYLOADS[4]} {PAYLOADS[2]}")
    return campaign.record()


def _everywhere(record: CampaignRecord, text: str) -> CampaignRecord:
    """Every text of a record that anybody may choose, replaced."""
    return replace(
        record,
        target=replace(record.target, property=text, unit=text),
        verdict=Verdict(text, text, {text: [text, {"a": text}]}),
        spec={text: text, "stopping": {"any": [{"kind": text}]}, "surrogate": {"kind": text}},
        versions={text: text},
        formulas=tuple(text for _ in record.formulas),
        origins=tuple(text for _ in record.origins),
        dropped={text: 3},
        not_featurized={text: text},
        requests=tuple(
            replace(
                r,
                formula=text,
                reason=text,
                rule=text,
                failure=None if r.failure is None else Failure(r.failure.kind, text),
            )
            for r in record.requests
        ),
        labels=tuple(replace(label, property=text, unit=text, fidelity=text) for label in record.labels),
        rounds=tuple(
            replace(r, metrics=dict(r.metrics) | {text: 1.0}, importances={text: 1.0} if r.importances else {})
            for r in record.rounds
        ),
        feature_names=tuple(f"{text}{n}" for n in range(len(record.feature_names))),
    )


def _is_harmless_page(page: str) -> Seen:
    seen = Seen(page)
    assert [tag for tag, _ in seen.tags].count("script") == 1
    assert not {"iframe", "object", "embed", "form", "link", "svg", "base"} & seen.names
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        addresses = [attributes[name] for name in ("src", "srcset", "href") if attributes.get(name)]
        assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses), tag
    return seen


def _is_harmless_markdown(text: str, folder: str) -> Seen:
    seen = Seen(MarkdownIt("commonmark").enable("table").enable("strikethrough").render(text))
    assert not {"script", "iframe", "svg", "a", "b", "style", "form"} & seen.names
    pictures = [attributes for tag, attributes in seen.tags if tag == "img"]
    assert pictures
    assert all(set(one) <= {"src", "alt"} for one in pictures)
    assert all(re.fullmatch(rf"{re.escape(folder)}/[a-z_]+\.png", unquote(one["src"] or "")) for one in pictures)
    assert [tag for tag, _ in seen.tags].count("h1") == 1
    others = [attributes for tag, attributes in seen.tags if tag != "img"]
    assert all(one.keys() <= {"style"} or one == {"class": "language-json"} for one in others)
    return seen


def test_a_real_campaign_with_hostile_names_shows_text_in_the_page(hostile):
    seen = _is_harmless_page(render_html(hostile))
    for payload in (*PAYLOADS[:2], PAYLOADS[3], PAYLOADS[4]):
        assert payload in seen.text
    assert any(request.failure is not None for request in hostile.requests)
    assert "my <img src=x onerror=alert(7)> 'table'.csv" in seen.text
    assert hostile.retractions[0].reason in seen.text


def test_a_real_campaign_with_hostile_names_shows_text_in_markdown(hostile, tmp_path):
    path = write_report(hostile, tmp_path / "a b" / "re(p)ort.md", form="md")
    seen = _is_harmless_markdown(path.read_text(encoding="utf-8"), "re(p)ort_figures")
    for payload in (*PAYLOADS[:2], PAYLOADS[3], PAYLOADS[4]):
        assert payload in seen.text
    assert hostile.retractions[0].reason in seen.text


@pytest.mark.parametrize(
    "payload", [" ".join(PAYLOADS[:5]), "\n".join(PAYLOADS[5:10]), PAYLOADS[10], PAYLOADS[11]], ids=range(4)
)
def test_no_text_of_a_record_becomes_markup_anywhere(payload):
    record = example_record(n_candidates=40, n_rounds=3, failure_rate=0.4, n_features=4)
    contents = contents_of(_everywhere(record, payload), map_method="pca")
    page = _is_harmless_page(page_of(contents))
    text = _is_harmless_markdown(markdown_of(contents, "r_figures"), "r_figures")
    shown = " ".join(payload.replace("\x00", "�").split())[:250]
    for seen in (page, text):
        assert shown in seen.text.replace("\x00", "�")
    assert "49" not in page.text.partition("Campaign file")[0].partition("Rounds")[0].partition("Best")[0]


def test_every_row_of_the_markdown_tables_has_as_many_cells_as_its_head():
    record = example_record(n_candidates=40, n_rounds=3, failure_rate=0.4, n_features=4)
    contents = contents_of(_everywhere(record, " ".join(PAYLOADS[6:8]) + " \\| \\\\|"), map_method="pca")
    tables = re.findall(r"(?:^\|.*\|\n)+", markdown_of(contents, "r").partition("````")[0], re.MULTILINE)
    assert len(tables) > 6
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table[:300]


def _with_secrets() -> CampaignRecord:
    address = f"postgresql+psycopg://me:{SECRET}/a@b@db.example:5432/motherlode?sslpassword={SECRET}"
    record = example_record(failure_rate=0.4, n_rounds=3)
    said = f"could not connect to {address} (password={SECRET})"
    return replace(
        record,
        spec={
            "store": address,
            "pool": {"kind": "mine:Pool", "api_key": SECRET, "key_env": "MP_API_KEY", "headers": [{"token": SECRET}]},
            "labeler": {"kind": "script", "environment": {"DB_PASSWORD": SECRET}},
        },
        verdict=Verdict("failed", said, {"store": address}),
        not_featurized={"c": said},
        requests=tuple(
            replace(r, reason=said, failure=None if r.failure is None else Failure(r.failure.kind, said))
            for r in record.requests
        ),
    )


def test_no_password_is_in_the_page_the_markdown_or_a_file_beside_them(tmp_path):
    record = _with_secrets()
    write_report(record, tmp_path / "report.md", form="md")
    (tmp_path / "report.html").write_text(render_html(record))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert [path.name for path in files if SECRET.encode() in path.read_bytes()] == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "me:***@db.example:5432/motherlode" in page
    assert "MP_API_KEY" in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:p@ss/w:rd@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:pw@host/db", "postgresql://:***@host/db"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("https://host:8080/a?b=c", "https://host:8080/a?b=c"),
        ("host=db password=abc user=me", "host=db password=*** user=me"),
        ("?a=1&PASSWORD=abc&b=2", "?a=1&PASSWORD=***&b=2"),
        ("mail to a@b.example", "mail to a@b.example"),
        ("three tokens, no secrets", "three tokens, no secrets"),
    ],
)
def test_what_counts_as_a_password_in_a_text(text, shown):
    assert without_secrets_in(text) == shown


def test_a_password_is_blotted_out_before_a_long_text_is_cut():
    assert brief(f"postgresql://me:{SECRET}{'x' * 400}@host/db") == "postgresql://me:***@host/db"


def test_what_counts_as_a_secret_in_a_campaign_file():
    spec = {"a": [{"secret": "x", "n": 1}], "key": "kept", "password": "", "token_env": "NAME", "apikey": "y"}
    assert without_secrets(spec) == {
        "a": [{"secret": "***", "n": 1}],
        "key": "kept",
        "password": "",
        "token_env": "NAME",
        "apikey": "***",
    }
    assert json.dumps(without_secrets({"x": (1, 2.5, None, True)})) == '{"x": [1, 2.5, null, true]}'


def test_a_name_that_is_no_utf_8_does_not_stop_the_report(tmp_path: Path):
    record = example_record(n_rounds=2)
    record = replace(record, origins=tuple("a\udcff.cif" for _ in record.origins))
    assert "a?.cif" in write_report(record, tmp_path / "r.html").read_text(encoding="utf-8")
