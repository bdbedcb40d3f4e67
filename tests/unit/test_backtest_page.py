"""The page of a backtest needs nothing but itself, shows what the summary says, and escapes what it is given."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.domain.target import Goal, Target
from active_learning.errors import UserError
from active_learning.evaluation.measures import Measures
from active_learning.evaluation.replayed import LabelTaken, Replayed, RoundSeen
from active_learning.evaluation.summary import summarize
from active_learning.reporting.backtest_figures import error_figure, factors_figure, utilization_figure
from active_learning.reporting.backtest_page import render_backtest, write_backtest_page

N = 60
NAMES = ("<b>mine</b> $x$", "expected_improvement", "random")


def replays(names: tuple[str, ...] = NAMES, n_seeds: int = 3, *, seconds: float = 9.0) -> list[Replayed]:
    found = []
    for n, name in enumerate(names):
        for seed in range(n_seeds):
            rng = np.random.default_rng([n, seed])
            rows = rng.permutation(N)[:30] if name == "random" else np.argsort(-np.arange(N) + rng.normal(0, 9, N))[:30]
            labels = tuple(LabelTaken(int(row), 60.0 * i, i // 5) for i, row in enumerate(rows))
            rounds = tuple(RoundSeen(i, 0.0, 5 * i, 0, 5, {"mae": 1 / (i + n), "accuracy": 0.9}) for i in range(1, 7))
            usage = {"busy_s": 0.5 * seconds, "horizon_s": seconds, "n_workers": 1}
            found.append(Replayed(name, seed, labels, rounds, 1, usage, "enough <i>", 1.0))
    return found


def summary(goal: Goal = Goal.MAXIMIZE, **changes: Any) -> dict[str, Any]:
    bounds = {"low": 10.0, "high": 20.0} if goal is Goal.WITHIN else {"low": None, "high": None}
    target = Target("band_gap", goal, "eV", **bounds)
    what = {
        "motherlode": "9.9",
        "campaign": "oxides & co",
        "target": {"property": "band_gap", "goal": goal.value, "unit": "eV", **bounds},
        "table": "values.csv",
        "n_candidates": N,
        "left_out": {"no value": 1200},
        "seeds": [0, 1, 2],
        "best": "10%",
        "labeling": {"median_s": 3600.0, "spread": 1.0, "failure_rate": 0.1, "decision_s": 60.0},
        "initial": "design",
        "failed": [{"strategy": "a", "seed": 1, "error": "<script>alert(1)</script>"}],
    }
    rng = np.random.default_rng(0)
    runs = changes.pop("replays", None) or replays()
    return what | summarize(runs, Measures(target, np.arange(float(N)), 6), rng=rng) | changes


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("goal", list(Goal))
def test_the_page_of_every_goal_is_whole_and_loads_nothing(goal: Goal) -> None:
    page = render_backtest(summary(goal))
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert {tag for tag, _ in tags.seen} & {"script", "link", "iframe", "object", "a"} == set()
    for _, attributes in tags.seen:
        for name in ("src", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:image/svg+xml;base64,"[:5])
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page
    has_best = goal.has_best
    assert ("Discovery" in page, "Acceleration and enhancement" in page) == (has_best, has_best)
    assert "Error of the model" in page


def test_what_it_is_given_is_escaped_in_the_page_and_in_its_pictures() -> None:
    page = render_backtest(summary())
    assert "<b>mine</b>" not in page
    assert "&lt;b&gt;mine&lt;/b&gt; $x$" in page
    assert "<script>" not in page
    assert "oxides &amp; co" in page
    pictures = [base64.b64decode(data).decode() for data in re.findall(r"svg\+xml;base64,([A-Za-z0-9+/=]+)", page)]
    assert len(pictures) == 8, "four figures, each for a light and a dark page"
    assert all("<b>" not in picture for picture in pictures)


def test_the_numbers_of_the_summary_stand_in_its_tables() -> None:
    found = summary()
    page = render_backtest(found)
    one = found["strategies"]["expected_improvement"]
    assert f"{one['found']['value']:.0%}<small>{one['found']['low']:.0%} to {one['found']['high']:.0%}</small>" in page
    factor = one["against"]["acceleration"]
    assert f">{factor['value']:.3g}"[:4] in page
    assert "1,200 with no value" in page
    assert "10% of the attempts fail; a decision takes 1 min. This is virtual time." in page


def test_the_same_summary_gives_the_same_page() -> None:
    assert render_backtest(summary()) == render_backtest(summary())


def test_without_a_baseline_nothing_is_compared() -> None:
    found = summary(replays=replays(NAMES[:2]))
    assert factors_figure(found) is None
    page = render_backtest(found)
    assert "Against" not in page
    assert "add the strategy random" in page


def test_where_nothing_can_be_drawn_there_is_no_figure() -> None:
    bare = [
        Replayed("random", 0, (LabelTaken(1, 0.0, 0),), (), 0, {"busy_s": 0, "horizon_s": 0, "n_workers": 1}, "", 1)
    ]
    found = summary(replays=bare)
    assert error_figure(found) is None
    assert utilization_figure(found) is None
    assert "Workers" in render_backtest(found)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"report\.html cannot be written: No such file"):
        write_backtest_page(summary(), tmp_path / "nosuch" / "report.html")
