"""The HTML report: complete for any campaign, self-contained, and safe."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import Phase, Verdict
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.target import Goal
from active_learning.reporting.report import render_html
from active_learning.testing.records import example_record

VOID = {"meta", "img", "source", "br"}


class Page(HTMLParser):
    """The tags, the addresses and the visible text of a page; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href", "action")]
        self.ids |= {value for name, value in attrs if name == "id"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


CASES: dict[str, CampaignRecord] = {
    "no rounds": example_record(n_rounds=0),
    "first design only": example_record(n_rounds=1, is_stopped=False),
    "in flight": example_record(n_rounds=3, in_flight=4, is_stopped=False),
    "no failures": example_record(failure_rate=0.0),
    "nothing but failures": example_record(failure_rate=1.0),
    "maximize": example_record(goal=Goal.MAXIMIZE),
    "within": example_record(goal=Goal.WITHIN),
    "learn": example_record(goal=Goal.LEARN),
    "classify": example_record(goal=Goal.CLASSIFY),
    "one candidate": example_record(n_candidates=1, n_features=1, initial=1, n_rounds=1, failure_rate=0.0),
    "two candidates": example_record(n_candidates=2, initial=1, batch_size=1, n_rounds=2, failure_rate=0.0),
}


@pytest.fixture(scope="module")
def full() -> Page:
    return Page(render_html(example_record()))


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_campaign_has_a_report(name):
    page = Page(render_html(CASES[name]))
    for section in ("progress", "model", "map", "rounds", "failures", "cost", "provenance"):
        assert section in page.ids
    assert ("best" in page.ids) == bool(CASES[name].labels and CASES[name].target.goal.has_best)
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", page.text)


def test_a_pool_without_any_candidate_has_a_report():
    record = example_record(n_rounds=0)
    empty = replace(
        record, candidate_ids=(), formulas=(), origins=(), X=np.zeros((0, 0)), feature_names=(), read=0, dropped={}
    )
    assert "No candidate with descriptors yet." in Page(render_html(empty)).text


def test_the_page_needs_nothing_from_outside(full):
    assert full.addresses
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in full.addresses)
    assert not {"link", "iframe", "object", "embed", "form"} & set(full.tags)
    assert not [name for name in full.attributes if name.startswith("on")]
    style = re.search(r"<style>(.*?)</style>", render_html(example_record(n_rounds=0)), re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style


def test_the_only_script_is_the_one_that_the_policy_of_the_page_knows():
    record = example_record(n_rounds=2)
    text = render_html(record)
    page = Page(text)
    assert page.tags.count("script") == len(page.scripts) == 1
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert [part for part in policy.split("; ") if part.startswith("script-src")] == [f"script-src 'sha256-{digest}'"]
    assert "default-src 'none'" in policy
    # Nothing of the record may come into it.
    assert page.scripts[0] in render_html(replace(record, name="another"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|fetch|XMLHttp", page.scripts[0])


def test_every_link_of_the_page_leads_somewhere(full):
    assert {address[1:] for address in full.addresses if address.startswith("#")} <= full.ids


def test_every_figure_has_a_light_and_a_dark_picture(full):
    assert full.tags.count("picture") == full.tags.count("source") == full.tags.count("img") == 11


def test_the_page_says_what_matters():
    record = example_record()
    text = Page(render_html(record)).text
    for part in (
        "fcc-alloys",
        "stopped",
        "goal: minimize",
        "the best label has not improved for 4 rounds",
        "duplicate",
        "no covalent radius",
        "scikit-learn",
        '"kind": "prototypes"',
        "largest std in the pool",
    ):
        assert part in text
    for request in record.requests:
        assert request.candidate_id in text
        assert request.reason in text
    for failure in {r.failure for r in record.requests if r.failure}:
        assert failure.detail in text


def test_markup_in_the_record_shows_as_text():
    payload = "<script>alert('x')</script><b onmouseover=\"y()\">&amp;</b></table>{{ 7 * 7 }}"
    record = example_record(n_rounds=3, failure_rate=0.5)
    calm = Page(render_html(record))
    nasty = replace(
        record,
        name=payload,
        target=replace(record.target, property=payload, unit=payload),
        verdict=Verdict(payload, payload, {payload: [payload, 1.5, None, {"a": payload}]}),
        spec={payload: payload},
        versions={payload: payload},
        formulas=tuple(payload for _ in record.formulas),
        origins=tuple(payload for _ in record.formulas),
        dropped={payload: 3},
        not_featurized={payload: payload},
        requests=tuple(
            replace(r, formula=payload, reason=payload, failure=r.failure and Failure(FailureKind.CRASHED, payload))
            for r in record.requests
        ),
        labels=tuple(replace(label, property=payload, unit=payload, fidelity=payload) for label in record.labels),
        rounds=tuple(
            replace(r, metrics={**r.metrics, payload: 1.0}, importances={payload: 1.0} if r.importances else {})
            for r in record.rounds
        ),
    )
    page = Page(render_html(nasty))
    assert page.scripts == calm.scripts
    assert page.tags.count("script") == 1
    assert page.tags.count("b") <= calm.tags.count("b")
    assert not [name for name in page.attributes if name.startswith("on")]
    assert payload in page.text
    assert "49" not in page.text.split("Provenance")[0].split("Best materials")[0]


def test_formulas_are_set_with_subscripts():
    record = example_record()
    record = replace(record, requests=tuple(replace(r, formula="Al2Cu") for r in record.requests))
    assert '<span class="formula">Al<sub>2</sub>Cu</span>' in render_html(record)


def test_a_failed_campaign_shows_its_verdict_without_calling_it_stopped():
    record = replace(example_record(n_rounds=1), phase=Phase.FAILED)
    text = Page(render_html(record)).text
    assert "Verdict:" in text
    assert "Stopped:" not in text


def test_the_same_record_gives_the_same_page_also_in_threads():
    records = [example_record(n_candidates=60, n_rounds=n, seed=n) for n in (1, 3)]
    alone = [render_html(record) for record in records]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(render_html, records)) == alone


def test_four_thousand_candidates_take_seconds():
    record = example_record(n_candidates=4000, n_features=132, n_rounds=12)
    start = time.process_time()
    page = render_html(record)
    # About 1.2 s; the allowance is for slow machines.
    assert time.process_time() - start < 6.0
    assert len(page) < 3_000_000
