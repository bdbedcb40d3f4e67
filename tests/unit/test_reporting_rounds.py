"""A round in Markdown: pictures small enough, text that stays text."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.target import Goal
from active_learning.errors import ContractError
from active_learning.reporting.markdown import escape_markdown
from active_learning.reporting.numbers import duration
from active_learning.reporting.rounds import round_markdown
from active_learning.testing.records import example_record


def _pictures(text: str) -> list[str]:
    return re.findall(r"!\[[^]]*\]\((data:image/png;base64,[A-Za-z0-9+/=]+)\)", text)


def test_a_round_has_headline_pictures_picks_with_reasons_and_metrics():
    record = example_record()
    text = round_markdown(record, 3)
    assert text.startswith("# fcc-alloys, round 3\n")
    assert len(_pictures(text)) == 4
    for request in (r for r in record.requests if r.round == 3):
        assert any(request.candidate_id in line and request.reason in line for line in text.splitlines())
    assert "| out-of-fold MAE | " in text
    assert "Best so far: **" in text


def test_the_first_design_has_a_map_but_no_parity_no_calibration_and_no_metrics():
    text = round_markdown(example_record(n_rounds=1, is_stopped=False), 0)
    assert re.findall(r"!\[([^]]*)\]", text) == [
        "values of the labels in order",
        "the pool in two dimensions, and what was chosen of it",
    ]
    assert "first design" in text
    assert "MAE" not in text


def test_a_round_says_what_it_has_spent():
    record = example_record()
    timed = [replace(r, ran_s=90.0 / r.cores) for r in record.requests]
    mine = sum(r.round == 2 for r in timed)
    text = round_markdown(replace(record, requests=tuple(timed)), 2)
    of_mine = f"Spent: {mine} jobs, {duration(90.0 * mine)} of core time; {len(timed)} in all, "
    assert of_mine + f"{duration(90.0 * len(timed))} of core time." in text
    untimed = tuple(replace(r, ran_s=None, settled_at=None) for r in record.requests)
    assert "core time not known yet" in round_markdown(replace(record, requests=untimed), 2)
    nothing = replace(record, requests=tuple(replace(r, submitted_at=None) for r in untimed))
    assert "Spent" not in round_markdown(nothing, 2)


def test_the_last_round_that_only_trained_says_so():
    text = round_markdown(example_record(n_rounds=3), 3)
    assert "nothing was chosen" in text
    assert "| formula |" not in text


def test_a_goal_without_a_best_has_no_best():
    assert "Best so far" not in round_markdown(example_record(goal=Goal.LEARN), 2)


def test_pictures_stay_small_with_many_labels():
    record = example_record(n_candidates=2000, n_rounds=26, batch_size=40)
    assert len(record.labels) > 900
    assert max(map(len, _pictures(round_markdown(record, 25)))) < 60_000


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    record = example_record(failure_rate=0.5)
    nasty = Failure(FailureKind.CRASHED, "a | b\nc || `d` \\| e")
    record = replace(record, requests=tuple(replace(r, failure=nasty if r.failure else None) for r in record.requests))
    for table in re.findall(r"(?:^\|.*\n)+", round_markdown(record, 2), flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    cells = [token.content for token in _tokens(round_markdown(record, 2))]
    assert any("a | b c" in cell for cell in cells)


def _tokens(text: str) -> list[Token]:
    return [token for token in MarkdownIt("commonmark").enable("table").parse(text) if token.type == "inline"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[a](javascript:x)",
        "![x](y)",
        "**b**",
        "`c`",
        "a|b",
        "https://x.y",
        "www.x.y",
        "a@b.c",
    ],
)
def test_text_of_the_record_is_never_markup(text):
    record = example_record()
    record = replace(record, name=text, requests=tuple(replace(r, reason=text, formula=text) for r in record.requests))
    markdown = round_markdown(record, 2)
    assert escape_markdown(text) in markdown
    kinds = {child.type for token in _tokens(markdown) for child in token.children or ()}
    assert kinds <= {"text", "text_special", "image", "strong_open", "strong_close"}, "the report's own markup only"
    (shown,) = _tokens(escape_markdown(text))
    assert "".join(child.content for child in shown.children or ()) == text
    assert not re.search(r"https?://|(?<!\\)www\.", escape_markdown(text)), (
        "a bare address becomes a link in GitHub's dialect"
    )


def test_escaping_leaves_plain_text_alone():
    plain = "AlCu3, -0.31 ± 0.02 eV/atom (attempt 2): high score"
    assert escape_markdown(plain) == plain
    assert escape_markdown("two\nlines\r\n") == "two lines"


def test_a_round_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ContractError, match="no round 9; its rounds: 0, 1, 2"):
        round_markdown(example_record(n_rounds=2), 9)
