"""`motherlode backtest` as a user meets it: what it writes, how it ends, and that nothing is run twice."""

from __future__ import annotations

import csv
import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from active_learning.testing.fakes import PROPERTY, TinyPool, tiny_campaign, true_value

N = 40
COLUMNS = ["strategy", "seed", "round", "n_labels", "best_value", "fraction_found", "mae"]
SLOW = """
import time
from pathlib import Path
from active_learning.testing.fakes import NearestLabel

HERE = Path(__file__).parent

class Slow(NearestLabel):
    def fit(self, X, y, *, rng):
        with (HERE / "fits.log").open("a") as file:
            file.write("fit\\n")
        time.sleep(0.15)
        if (HERE / "breaks").exists() and len(y) > 6:
            raise ValueError("told to break")
        return super().fit(X, y, rng=rng)
"""


def write_campaign(folder: Path, **changes: Any) -> Path:
    """A tiny campaign, and `values.csv` beside it with values of all its candidates but two."""
    pool = {"kind": "active_learning.testing.fakes:TinyPool", "n": N}
    path = tiny_campaign(folder, **{"pool": pool, "submitter": {"kind": "inline"}, **changes})
    (folder / "slow.py").write_text(SLOW)
    with (folder / "values.csv").open("w", newline="") as file:
        rows = [(c.formula, true_value(c)) for c in TinyPool(TinyPool.Options(n=N)).read()]  # type: ignore[union-attr, arg-type]
        csv.writer(file).writerows([("formula", PROPERTY), *rows[2:]])
    return path


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, motherlode: Any) -> Any:
    """The end of a backtest, and its folder."""
    folder = tmp_path_factory.mktemp("backtest")
    path = write_campaign(folder)
    return motherlode("backtest", path, "--labels", folder / "values.csv", "--seeds", 2, cwd=folder), folder


def test_it_replays_the_files_own_strategy_and_random_and_says_what_came_out(ended: Any) -> None:
    end, folder = ended
    assert end.status == 0, end.err
    assert end.err == ""
    assert "2 strategies (upper_confidence_bound, random) x 2 seeds: 4 replays" in end.out
    assert "38 candidates with a value (left out: 2 with no value)" in end.out
    assert re.search(r"^  upper_confidence_bound +2 seeds, found \d+%", end.out, re.MULTILINE)
    assert str(folder / "tiny.backtest" / "report.html") in end.out
    assert {entry.name for entry in folder.iterdir()} == {"tiny.toml", "slow.py", "values.csv", "tiny.backtest"}


def test_the_curves_have_the_columns_that_are_promised_and_a_line_for_each_round(ended: Any) -> None:
    rows = rows_of(ended[1] / "tiny.backtest")
    assert list(rows[0])[:7] == COLUMNS
    assert {(row["strategy"], row["seed"]) for row in rows} == {
        (strategy, seed) for strategy in ("upper_confidence_bound", "random") for seed in ("3", "4")
    }
    one = [row for row in rows if (row["strategy"], row["seed"]) == ("random", "3")]
    assert [row["round"] for row in one] == [str(n) for n in range(len(one))]
    counts = [int(row["n_labels"]) for row in one]
    assert counts == sorted(counts)
    assert counts[-1] == 10
    assert one[0]["mae"] == ""
    assert all(float(row["mae"]) > 0 for row in one[1:])
    values = [float(row["best_value"]) for row in one[1:]]
    assert values == sorted(values, reverse=True)
    assert 0 <= float(one[-1]["fraction_found"]) <= 1


def test_the_summary_and_the_page_are_there(ended: Any) -> None:
    folder = ended[1] / "tiny.backtest"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["strategies"]["upper_confidence_bound"]["against"]["baseline"] == "random"
    assert (summary["n_candidates"], summary["seeds"], summary["failed"]) == (38, [3, 4], [])
    page = (folder / "report.html").read_text()
    assert "tiny: backtest" in page
    assert not (folder / "scratch").exists()


def test_run_again_it_says_the_same_and_runs_nothing(ended: Any, motherlode: Any) -> None:
    end, folder = ended
    runs = {path.name: path.stat().st_mtime_ns for path in (folder / "tiny.backtest" / "runs").iterdir()}
    assert len(runs) == 4
    again = motherlode(*("backtest", folder / "tiny.toml", "--labels", folder / "values.csv", "--seeds", 2), cwd=folder)
    assert again.status == 0, again.err
    assert again.out == end.out.replace(
        "with no value)", "with no value); pool and features as an earlier backtest built them"
    )
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "tiny.backtest" / "runs").iterdir()} == runs


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_what_was_done_before_it_was_killed_is_not_done_again(how: Any, tmp_path: Path, motherlode: Any) -> None:
    path = write_campaign(tmp_path, surrogate={"kind": "slow:Slow"})
    arguments = ("backtest", path, "--labels", tmp_path / "values.csv", "--seeds", 3, "--workers", 2)
    runs, log = tmp_path / "tiny.backtest" / "runs", tmp_path / "fits.log"

    def finished() -> dict[str, int]:
        return {file.name: file.stat().st_mtime_ns for file in runs.iterdir()} if runs.is_dir() else {}

    running = motherlode.start(*arguments, cwd=tmp_path)
    running.until(lambda: len(finished()) >= 2, "two replays are done")
    running.signal(how)
    end = running.wait()
    assert end.status == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert "Traceback" not in end.err
    time.sleep(1.0)
    done, n_fits = finished(), len(log.read_text().splitlines())
    time.sleep(0.5)
    assert len(log.read_text().splitlines()) == n_fits, "whoever replayed is gone with the one who asked"
    assert 2 <= len(done) < 6
    again = motherlode(*arguments, cwd=tmp_path)
    assert again.status == 0, again.err
    assert done.items() <= finished().items()
    assert len(finished()) == 6
    assert not (tmp_path / "tiny.backtest" / "scratch").exists()
    # Each replay trains in four rounds, the last of which has labels for five folds: only those missing were run.
    assert len(log.read_text().splitlines()) - n_fits == 9 * (6 - len(done))


def test_one_replay_that_fails_does_not_lose_the_others(tmp_path: Path, motherlode: Any) -> None:
    path = write_campaign(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(path.read_text().replace("active_learning.testing.fakes:NearestLabel", "slow:Slow"))
    (tmp_path / "breaks").touch()
    end = motherlode(
        *("backtest", path, "--labels", tmp_path / "values.csv", "--seeds", 1, "--strategies", "random"),
        *("--variant", f"broken={other}"),
        cwd=tmp_path,
    )
    assert end.status == 1
    assert "Traceback" not in end.err
    assert "Failed: broken, seed 3: ValueError: told to break" in end.err
    assert "1 of 2 replays failed; the others stand." in end.err
    assert {row["strategy"] for row in rows_of(tmp_path / "tiny.backtest")} == {"random"}
    assert "told to break" in (tmp_path / "tiny.backtest" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--strategies", "randm"), "Did you mean 'random'?"),
        (("--strategies", "random,,uncertainty"), "names with commas between them"),
        (("--strategies", "margin"), "cannot serve the goal 'minimize'"),
        (("--variant", "x"), "--variant is NAME=FILE"),
        (("--label-time", "soon"), "'soon' is not a duration"),
        (("--failure-rate", "1.5"), "failure rate lies in [0, 1)"),
        (("--value", "gap"), "has no column 'gap'"),
        (("--seeds", "0"), "0 is not in the range"),
        (("--key", "id"), "has no column 'id'"),
    ],
)
def test_bad_input_costs_nothing(arguments: tuple[str, ...], said: str, tmp_path: Path, motherlode: Any) -> None:
    path = write_campaign(tmp_path)
    end = motherlode("backtest", path, "--labels", tmp_path / "values.csv", *arguments, cwd=tmp_path)
    assert end.status == 2
    assert said in end.err
    assert "Traceback" not in end.err
    assert not (tmp_path / "tiny.backtest").exists()


def test_a_table_of_labels_in_the_file_says_how_values_are_looked_up(tmp_path: Path, motherlode: Any) -> None:
    """The file's own labeler is a table with other columns: its words count where the options say nothing."""
    (tmp_path / "mine.csv").write_text("compound,E\nNaCl,1\n")
    labeler = {"kind": "table", "path": "mine.csv", "key_column": "compound", "value": "E", "unit": "eV"}
    path = write_campaign(tmp_path, labeler=labeler)
    end = motherlode("backtest", path, "--labels", tmp_path / "mine.csv", cwd=tmp_path)
    assert end.status == 2
    assert "No candidate of the pool (40) has one value in" in end.err
    assert "in column 'compound'" in end.err
