"""What a person sees of a campaign in a browser: Prefect's pages, the form that approves a round, and the report."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from browser import DULL_TEXTS, THEMES, Theme, Visit, picture, visit
from PIL import Image, ImageStat
from playwright.sync_api import Browser, Locator, Page, Response, expect
from pymatgen.core import Composition
from watched_campaign import ATTACK, NAME, Watched

from active_learning.domain.approval import ApprovalState
from active_learning.domain.request import RequestState
from active_learning.reporting.drawings import NAMES

PATIENCE_MS = 300_000
UIS = {"first-ui": "", "second-ui": "/v2"}
"""Prefect has two: the links that Motherlode prints lead to the first, and the bare address to the second."""

NOTE = f"go on, <b>please</b> {ATTACK}"
FIELDS = (
    "The campaign file: its absolute path, as the worker sees it.",
    "Approve it, or reject all of it, now and later.",
    "Candidates (ids) that shall not be calculated, now or later.",
    "Which round; the oldest that waits, if you name none.",
    "What you have to say; kept with the round.",
    "Who you are; kept with the answer.",
)
MADE_OF_TEXT = "document.querySelectorAll('[onerror], img[src=\"x\"]').length"
"""Elements that a candidate's name or a failure's text would have become."""


def shows(page: Page | Locator, text: str) -> None:
    """Wait until a text is to be seen."""
    expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MS)


def look(seen: Visit, name: str, folder: Path) -> None:
    """Take a picture; it must be of the theme, and hold nothing that was made of a text."""
    assert seen.page.evaluate(MADE_OF_TEXT) == 0
    with Image.open(picture(seen.page, f"{name} {seen.theme}", folder)) as image:
        brightness = ImageStat.Stat(image.convert("L")).median[0]
    assert (brightness > 127) == (seen.theme == "light"), f"{name} is not {seen.theme}"


def after(page: Page, description: str, what: str) -> Locator:
    """What stands next after the description of a field."""
    return page.locator(f'xpath=//*[normalize-space(text())="{description}"]/following::{what}').first


# The form


def open_form(page: Page, watched: Watched, ui: str) -> None:
    """From the list of deployments to the form of the one that approves."""
    deployment = watched.deployment("approve")
    page.goto(f"{watched.ui}{ui}/deployments")
    for flow in ("tick", "approve"):
        expect(page.get_by_role("link", name=flow, exact=True)).to_be_visible(timeout=PATIENCE_MS)
    page.locator(f'a[href$="/deployments/deployment/{deployment}"]').first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").first.click()
    for description in FIELDS:
        shows(page, description)


def submit(page: Page) -> None:
    """Press the button; an overloaded server answers 503, and a person presses again."""

    def is_answer(reply: Response) -> bool:
        # The first UI has the values looked at before it sends them.
        return reply.url.endswith("/create_flow_run") or (reply.url.endswith("/schemas/validate") and not reply.ok)

    status = 503
    while status == 503:
        with page.expect_response(is_answer) as answer:
            page.get_by_role("button", name="Submit", exact=True).click()
        status = answer.value.status
    assert status == 201, answer.value.text()


def first_candidate(page: Page, watched: Watched, ui: str, number: int) -> str:
    """What a person reads in the table of a round that waits."""
    page.goto(f"{watched.ui}{ui}/artifacts/artifact/{watched.artifact(f'round-{number}')['latest_id']}")
    shows(page, f"{NAME}, round {number}")
    return page.locator("table").first.locator("tbody tr").first.locator("td").last.inner_text().strip()


@pytest.mark.parametrize(("ui", "theme", "by"), [("first-ui", "dark", "Prefect UI"), ("second-ui", "light", "Ada")])
def test_a_round_is_approved_through_the_form(
    ui: str, theme: Theme, by: str, watched: Watched, chromium: Browser, tmp_path: Path
) -> None:
    watched.next_round()
    (number,) = watched.waiting()
    n_labels = watched.status()["n_labels"]
    with visit(chromium, theme) as seen:
        unwanted = first_candidate(seen.page, watched, UIS[ui], number)
        open_form(seen.page, watched, UIS[ui])
        expect(after(seen.page, FIELDS[0], "textarea")).to_have_value(str(watched.path))
        n_boxes = seen.page.locator("textarea").count()
        after(seen.page, FIELDS[2], "button[contains(., 'Add item')]").click()
        expect(seen.page.locator("textarea")).to_have_count(n_boxes + 1)
        after(seen.page, FIELDS[2], "textarea").fill(unwanted)
        after(seen.page, FIELDS[4], "textarea").fill(NOTE)
        after(seen.page, FIELDS[5], "textarea").fill(by)
        look(seen, f"{ui} form filled in", tmp_path)
        submit(seen.page)
    watched.until("the answer", lambda: number not in watched.waiting())
    (approval,) = (one for one in watched.facts().approvals if one.round == number)
    assert (approval.state, approval.by, approval.note) == (ApprovalState.APPROVED, by, NOTE)
    assert approval.dropped == (unwanted,)
    watched.tick()
    watched.until("labels", lambda: watched.status()["n_labels"] > n_labels)
    (dropped,) = (one for one in watched.facts().requests if one.candidate_id == unwanted)
    assert dropped.state is RequestState.CANCELLED


# Prefect's pages


@pytest.fixture(params=[(ui, theme) for ui in UIS for theme in THEMES], ids=lambda param: "-".join(param))
def tour(request: pytest.FixtureRequest, ended: Watched, chromium: Browser) -> Iterator[tuple[str, Visit]]:
    ui, theme = request.param
    with visit(chromium, theme) as seen:
        yield ui, seen


def test_prefects_pages_show_the_campaign(tour: tuple[str, Visit], ended: Watched, tmp_path: Path) -> None:
    ui, seen = tour
    page, root = seen.page, f"{ended.ui}{UIS[ui]}"

    page.goto(f"{root}/dashboard")
    shows(page, "Active Work Pools")
    shows(page, "motherlode")
    look(seen, f"{ui} dashboard", tmp_path)

    page.goto(f"{root}/deployments/deployment/{ended.deployment('approve')}/run")
    for description in FIELDS:
        shows(page, description)
    look(seen, f"{ui} form", tmp_path)

    requests = ended.facts().requests
    labeled = next(one for one in requests if one.state is RequestState.SUCCEEDED)
    failed = next(one for one in requests if one.state is RequestState.FAILED)
    run = _followed(ended, f"{labeled.formula} · {labeled.id}", "COMPLETED")
    page.goto(f"{root}/runs/flow-run/{run['flow_run_id']}")
    shows(page, f"{NAME} · round {labeled.round}")
    shows(page, f"request {labeled.id}: candidate {labeled.candidate_id} ({labeled.formula}), round {labeled.round}")
    look(seen, f"{ui} tick", tmp_path)

    run = _followed(ended, f"{failed.formula} · {failed.id}", "FAILED")
    assert {NAME, f"round {failed.round}"} <= set(run["tags"])
    page.goto(f"{root}/runs/task-run/{run['id']}")
    shows(page, failed.formula)
    shows(page, f"round {failed.round}")
    shows(page, f"{ATTACK} the charge density <b>sloshes</b>")
    look(seen, f"{ui} failed request", tmp_path)


def _followed(watched: Watched, name: str, state: str) -> dict[str, Any]:
    """The task run that saw a request's end; earlier ticks have others."""
    wanted = {"name": {"any_": [name]}, "state": {"type": {"any_": [state]}}}
    return watched.team.ask("task_runs", task_runs=wanted)[0]


def test_the_artifacts_show_the_science(tour: tuple[str, Visit], ended: Watched, tmp_path: Path) -> None:
    ui, seen = tour
    page, root = seen.page, f"{ended.ui}{UIS[ui]}"
    facts, status = ended.facts(), ended.status()
    failed = [one for one in facts.requests if one.state is RequestState.FAILED]
    number = max(one.round for one in failed)

    page.goto(f"{root}/artifacts")
    for key in ("labels", "best", *(f"round-{one.number}" for one in facts.rounds)):
        shows(page, f"{NAME}-{key}")
    look(seen, f"{ui} artifacts", tmp_path)

    page.goto(f"{root}/artifacts/artifact/{ended.artifact(f'round-{number}')['latest_id']}")
    shows(page, f"{NAME}, round {number}")
    shows(page, "Best so far:")
    picks = page.locator("table").first
    for request in (one for one in facts.requests if one.round == number):
        row = picks.locator("tr", has_text=request.candidate_id)
        expect(row).to_contain_text(request.formula)
        expect(row).to_contain_text(request.reason.split(":")[0])
    shows(picks, f"{ATTACK} the charge density <b>sloshes</b>")
    assert page.locator("b", has_text="sloshes").count() == 0
    shows(page, "of core time")
    for figure in ("values of the labels", "predicted against", "coverage of", "the pool in two"):
        if number > 0 or figure.startswith(("values", "the pool")):
            shown = page.locator(f'img[alt^="{figure}"]')
            expect(shown).to_be_visible(timeout=PATIENCE_MS)
            assert shown.evaluate("one => one.naturalWidth") > 300
    look(seen, f"{ui} round", tmp_path)

    page.goto(f"{root}/artifacts/artifact/{ended.artifact('best')['latest_id']}")
    best = page.locator("tbody tr").first
    expect(best).to_contain_text(status["best"]["formula"], timeout=PATIENCE_MS)
    expect(best).to_contain_text(status["best"]["candidate"])
    expect(best).to_contain_text(f"{status['best']['value']:.6g}")
    expect(best).to_contain_text(ATTACK)
    look(seen, f"{ui} best", tmp_path)

    page.goto(f"{root}/artifacts/artifact/{ended.artifact('labels')['latest_id']}")
    shows(page, f"{NAME}: {status['n_labels']} of at most {status['n_labels']} labels")
    shows(page, "100")
    look(seen, f"{ui} progress", tmp_path)


# The report


@pytest.mark.parametrize("theme", get_args(Theme))
def test_the_report_shows_every_figure_and_table_and_asks_nobody(
    theme: Theme, ended: Watched, chromium: Browser, tmp_path: Path
) -> None:
    facts, status = ended.facts(), ended.status()
    with visit(chromium, theme) as seen:
        page = seen.page
        page.goto(ended.report.as_uri())
        figures = page.locator("figure")
        assert figures.evaluate_all("all => all.map((one) => one.id)") == [f"figure-{name}" for name in NAMES]
        for source in page.locator("figure img").evaluate_all("all => all.map((one) => one.currentSrc)"):
            drawing = base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
            assert drawing.count("<path") > 10
            assert ("#171c24" in drawing) == (theme == "dark")
        assert page.locator("figure img").evaluate_all("all => Math.min(...all.map((one) => one.naturalWidth))") > 200
        for caption in page.locator("figcaption").all_inner_texts():
            assert len(caption) > 20

        best = page.locator("#best tbody tr").first
        expect(best).to_contain_text(status["best"]["candidate"])
        expect(best).to_contain_text(ATTACK)
        rows = page.locator("#decisions tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"
        )
        head = page.locator("#decisions thead th").all_inner_texts()
        by_candidate = {row[-1]: dict(zip((name.split(" ")[0] for name in head), row, strict=True)) for row in rows}
        for label in facts.labels:
            if label.property == "energy_per_atom":
                decision = by_candidate[label.candidate_id]
                assert len(decision["why"]) > 5
                assert float(decision["outcome"].replace("−", "-")) == pytest.approx(label.value, rel=1e-2)
        page.locator("summary").evaluate_all("all => all.forEach((one) => one.parentElement.open = true)")
        shows(page.locator("#failures"), f"{ATTACK} the charge density <b>sloshes</b>")
        for section in ("elements", "stopping", "rounds", "cost"):
            assert page.locator(f"#{section} tbody tr").count() > 0
        look(seen, "report", tmp_path)
    assert [url for url in seen.requests if not url.startswith("data:")] == [ended.report.as_uri()]
    assert seen.complaints == []


@pytest.mark.parametrize("theme", get_args(Theme))
def test_every_text_of_the_report_has_contrast(theme: Theme, ended: Watched, chromium: Browser) -> None:
    with visit(chromium, theme) as seen:
        seen.page.goto(ended.report.as_uri())
        seen.page.locator("summary").evaluate_all("all => all.forEach((one) => one.parentElement.open = true)")
        found = seen.page.evaluate(DULL_TEXTS, 4.5)
    assert found["seen"] > 200
    assert found["dull"] == []


@pytest.mark.parametrize("theme", get_args(Theme))
def test_the_report_fits_a_phone(theme: Theme, ended: Watched, chromium: Browser, tmp_path: Path) -> None:
    with visit(chromium, theme, width=390, height=844) as seen:
        seen.page.goto(ended.report.as_uri())
        look(seen, "phone", tmp_path)
        seen.page.locator("summary").evaluate_all("all => all.forEach((one) => one.parentElement.open = true)")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390


# What listens, and where


def test_nothing_listens_beyond_this_machine(ended: Watched) -> None:
    ended.look()
    assert ended.n_processes >= 3, "the server, the worker, and a run"
    assert ended.listening
    assert ended.listening <= {"127.0.0.1", "::1"}


def test_the_table_of_the_best_keeps_its_data_as_they_are(ended: Watched) -> None:
    rows = json.loads(ended.artifact("best")["data"])
    values = [row["value"] for row in rows]
    assert values == sorted(values)
    for row in rows:
        (origin,) = row["origin"]
        formula = origin.removeprefix(f"{ATTACK} ").removesuffix(".cif")
        assert Composition(formula) == Composition(row["formula"])
