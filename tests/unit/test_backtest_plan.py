"""What can be wrong with a backtest is found before anything runs; and the values that a pool brings along stay out."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.config import read_campaign_file
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.engine.assembly import assemble
from active_learning.errors import SpecError, UserError
from active_learning.evaluation import backtest
from active_learning.evaluation.backtest import Backtest, plan_of, run_backtest
from active_learning.evaluation.ground import Ground
from active_learning.evaluation.grounding import ground_of
from active_learning.evaluation.known_values import KnownPool, ValueTable
from active_learning.evaluation.replay import kit_of, replay
from active_learning.evaluation.replayed import Order, Replayed
from active_learning.evaluation.replaying import FailedReplay, Replays
from active_learning.testing.fakes import PROPERTY, TinyPool, tiny_campaign, true_value

N = 20


def candidates() -> list[Candidate]:
    return [c for c in TinyPool(TinyPool.Options(n=N)).read() if isinstance(c, Candidate)]


def write(path: Path, rows: list[tuple[Any, ...]], header: tuple[str, ...] = ("formula", PROPERTY)) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def values(folder: Path) -> ValueTable:
    return ValueTable(write(folder / "values.csv", [(c.formula, true_value(c)) for c in candidates()]), PROPERTY)


def wanted(folder: Path, **changes: Any) -> Backtest:
    campaign = tiny_campaign(
        folder, pool={"kind": "active_learning.testing.fakes:TinyPool", "n": N}, **changes.pop("tables", {})
    )
    made = Backtest(campaign, values(folder), folder / "out", n_seeds=2)
    return replace(made, **changes)


def test_the_strategies_are_the_files_own_and_random_if_none_are_named(tmp_path: Path) -> None:
    plan = plan_of(wanted(tmp_path))
    assert list(plan.tables) == ["upper_confidence_bound", "random"]
    assert plan.seeds == (3, 4)
    assert "acquisition" not in plan.tables["upper_confidence_bound"][0]
    assert plan.tables["random"][0]["acquisition"] == {"kind": "random"}


def test_the_files_own_acquisition_keeps_its_options_and_others_have_their_defaults(tmp_path: Path) -> None:
    own = {"kind": "upper_confidence_bound", "n_sigma": 2.5}
    names = ("upper_confidence_bound", "expected_improvement")
    plan = plan_of(wanted(tmp_path, strategies=names, tables={"acquisition": own}))
    tables = [dict(one["acquisition"]) for one, _ in plan.tables.values()]
    assert tables == [own, {"kind": "expected_improvement"}]


def test_a_limit_of_labels_takes_the_place_of_all_stopping_rules(tmp_path: Path) -> None:
    plan = plan_of(wanted(tmp_path, max_labels=12))
    assert {json.dumps(one["stopping"]) for one, _ in plan.tables.values()} == {
        '{"any": [{"kind": "labels", "max": 12}]}'
    }


def other_file(folder: Path, **tables: Any) -> Path:
    pool = {"kind": "active_learning.testing.fakes:TinyPool", "n": N}
    return tiny_campaign(folder / "other", **{"pool": pool, **tables})


def test_a_variant_may_differ_in_all_but_target_pool_and_features(tmp_path: Path) -> None:
    path = other_file(tmp_path, selection={"kind": "diverse"}, rounds={"initial": 4, "batch_size": 1}, seed=9)
    plan = plan_of(wanted(tmp_path, variants={"one by one": path}))
    assert list(plan.tables) == ["upper_confidence_bound", "random", "one by one"]
    kit = kit_of(Order("x", 3, *plan.tables["one by one"], unit="eV"))
    assert (kit.settings.batch_size, kit.spec.seed) == (1, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strategies": ("randm", "uncertainty", "margn")}, r"(?s)'randm': No acquisition.*mean 'random'.*'margn': No"),
        ({"strategies": ("margin",)}, r"strategy 'margin': this acquisition cannot serve the goal 'minimize'"),
        ({"strategies": ("random", "random")}, "Two strategies have one name: random"),
        ({"n_seeds": 0}, "at least one seed, got 0"),
        ({"labels": ValueTable(Path("nosuch.csv"), PROPERTY)}, r"cannot read the table nosuch\.csv"),
        ({"campaign": Path("nosuch.toml")}, r"No campaign file at nosuch\.toml"),
        ({"tables": {"surrogate": {"kind": "forrest"}}}, "No surrogate named 'forrest'"),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(tmp_path: Path, changes: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan_of(wanted(tmp_path, **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"target": {"property": PROPERTY, "goal": "maximize"}}, r"variant 'v' .* has another \[target\]"),
        ({"pool": {"kind": "active_learning.testing.fakes:TinyPool", "n": 3}}, r"has another \[pool\]"),
        ({"acquisition": {"kind": "margin"}}, "strategy 'v': this acquisition cannot serve the goal"),
        ({"rounds": {"batch_size": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_variant_of_another_ground_or_with_faults_is_refused(tmp_path: Path, tables: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan_of(wanted(tmp_path, variants={"v": other_file(tmp_path, **tables)}))


def test_a_variant_may_not_be_called_as_a_strategy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Two strategies have one name: random"):
        plan_of(wanted(tmp_path, variants={"random": other_file(tmp_path)}))


def test_two_modules_of_one_name_are_refused_since_a_process_would_load_only_one(tmp_path: Path) -> None:
    path = other_file(tmp_path, surrogate={"kind": "mine:Model"})
    for folder in (tmp_path, path.parent):
        (folder / "mine.py").write_text("from active_learning.testing.fakes import NearestLabel as Model\n")
        (folder / "setup.py").touch()
    with pytest.raises(UserError, match=r"Two files are called mine\.py"):
        plan_of(wanted(tmp_path, variants={"v": path}))


def test_what_was_replayed_with_another_text_of_the_users_own_module_is_replayed_again(tmp_path: Path) -> None:
    own = tmp_path / "model_of_its_user.py"
    own.write_text("from active_learning.testing.fakes import NearestLabel as Model\n")
    (tmp_path / "unnamed.py").touch()
    given = wanted(tmp_path, strategies=("random",), tables={"surrogate": {"kind": "model_of_its_user:Model"}})
    ground = Ground.of_arrays(tmp_path / "ground", ["a", "b"], np.ones((2, 1)), np.ones(2))

    def keys() -> list[str]:
        return [order.key("g") for order in plan_of(given).orders(ground)]

    before = keys()
    (tmp_path / "unnamed.py").write_text("another = 1\n")
    assert keys() == before
    own.write_text(own.read_text() + "Model.n_sigma = 3\n")
    assert not set(keys()) & set(before)


def test_a_column_that_is_missing_and_a_value_that_is_none_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "v.csv", [("AgAl", "1.0"), ("AgAu", "much")])
    with pytest.raises(UserError, match=r"v\.csv, column 'energy': row 2"):
        plan_of(wanted(tmp_path, labels=ValueTable(path, "")))
    with pytest.raises(UserError, match="has no column 'gap'"):
        plan_of(wanted(tmp_path, labels=ValueTable(path, "gap")))


def read(pool: KnownPool) -> tuple[list[str], list[str]]:
    items = list(pool.read())
    return [i.formula for i in items if isinstance(i, Candidate)], [i.kind for i in items if isinstance(i, Dropped)]


def test_candidates_without_one_value_are_left_out_and_counted(tmp_path: Path) -> None:
    a, b, c, d = candidates()[:4]
    rows = [(a.formula, 1.0), (b.formula, 2.0), (b.formula, 4.0), (c.formula, ""), (d.formula, 3.0), (d.formula, 3.0)]
    table = ValueTable(write(tmp_path / "v.csv", rows), PROPERTY)
    pool = KnownPool(TinyPool(TinyPool.Options(n=N, n_dropped=1)), table)
    taken, dropped = read(pool)
    assert taken == [a.formula, d.formula]
    assert dropped.count("too big") == 1
    assert pool.left_out == {"no value": N - 3, "different values": 1}
    median = KnownPool(TinyPool(TinyPool.Options(n=N)), replace(table, duplicates="median"))
    assert read(median)[0] == [a.formula, b.formula, d.formula]
    assert median.table.value_of(b) == 3.0


def test_candidates_are_looked_up_by_what_is_asked_for(tmp_path: Path) -> None:
    rows = [(c.id, c.origin, n) for n, c in enumerate(candidates())]
    path = write(tmp_path / "v.csv", rows, ("id", "came from", PROPERTY))
    by_id = ValueTable(path, PROPERTY, "id")
    by_origin = ValueTable(path, PROPERTY, "origin", "came from")
    assert [by_id.value_of(c) for c in candidates()] == [by_origin.value_of(c) for c in candidates()] == [*range(N)]
    assert by_id.to_json() != by_origin.to_json()


def test_no_overlap_shows_what_stands_on_both_sides(tmp_path: Path) -> None:
    table = ValueTable(write(tmp_path / "v.csv", [("NaCl", 1.0)]), PROPERTY)
    with pytest.raises(UserError, match=r"No candidate of the pool \(20\) has one value in .*'AgAl'.*'Cl0.5000 Na"):
        read(KnownPool(TinyPool(TinyPool.Options(n=N)), table))


def test_labels_that_the_pool_brings_along_are_not_known_to_a_replay(tmp_path: Path) -> None:
    """A pool from a table with labels, of which the file's own campaign would start with all of them."""
    rows = [(c.formula, 0.1 * n, true_value(c), -1000.0) for n, c in enumerate(candidates())]
    write(tmp_path / "pool.csv", rows, ("formula", "x", PROPERTY, "known"))
    pool = {"kind": "table", "path": str(tmp_path / "pool.csv"), "descriptors": ["x"], "label": "known", "unit": "eV"}
    features = {"kind": "matminer", "sets": [{"name": "given", "columns": ["x"]}]}
    path = tiny_campaign(tmp_path, pool=pool, features=features)
    kit = assemble(read_campaign_file(path))
    table = ValueTable(tmp_path / "pool.csv", PROPERTY)
    ground, _ = ground_of(kit, table, tmp_path, n_workers=1, progress=lambda *_: None)
    assert len(ground) == N
    assert sorted(ground.values.tolist()) == sorted(true_value(c) for c in candidates())
    found = replay(ground, Order("own", 3, read_campaign_file(path).tables, path, "eV"), tmp_path / "scratch")
    assert found.rounds[0].n_labels == 0
    assert -1 not in found.picks


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """Replays are run here, and a ground of arrays takes the place of one that is featurized."""
    asked: list[Order] = []

    def replay_here(ground: Ground, orders: Any, folder: Path, **_: Any) -> Replays:
        asked.extend(orders)
        done: list[Replayed] = []
        for order in orders:
            scratch = folder / f"{order.strategy}-{order.seed}"
            done.append(replay(ground, order, scratch))
        return Replays(tuple(done), (FailedReplay("unlucky", 3, "no reason"),))

    def ground_here(_kit: Any, table: ValueTable, folder: Path, **_: Any) -> tuple[Ground, bool]:
        X = np.arange(N, dtype=np.float64)[:, None]
        y = np.array([table.value_of(c) for c in candidates()])
        return Ground.of_arrays(folder / "ground", [c.formula for c in candidates()], X, y), True

    monkeypatch.setattr(backtest, "replay_all", replay_here)
    monkeypatch.setattr(backtest, "ground_of", ground_here)
    return asked


def test_a_backtest_writes_its_curves_and_its_summary(tmp_path: Path, no_processes: list[Order]) -> None:
    lines: list[str] = []
    outcome = run_backtest(plan_of(wanted(tmp_path, best="2")), say=lines.append)
    assert [(order.strategy, order.seed) for order in no_processes] == [
        ("upper_confidence_bound", 3),
        ("random", 3),
        ("upper_confidence_bound", 4),
        ("random", 4),
    ]
    assert lines == ["20 candidates with a value; pool and features as an earlier backtest built them"]
    with outcome.curves_file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["strategy"], row["seed"]) for row in rows} == {(o.strategy, str(o.seed)) for o in no_processes}
    assert all(float(row["mae"]) > 0 for row in rows if row["round"] != "0")
    summary = json.loads(outcome.summary_file.read_text())
    assert summary == outcome.summary
    assert (summary["n_best"], summary["best"], summary["n_candidates"], summary["table"]) == (2, "2", N, "values.csv")
    assert summary["failed"] == [{"strategy": "unlucky", "seed": 3, "error": "no reason"}]
    last = {row["strategy"]: row for row in rows if row["seed"] == "4"}
    assert {float(row["n_labels"]) for row in last.values()} == {10.0}


def test_random_first_labels_are_the_same_for_every_strategy_of_a_seed(
    tmp_path: Path, no_processes: list[Order]
) -> None:
    run_backtest(plan_of(wanted(tmp_path, initial="random")))
    told = {order.seed: set() for order in no_processes}
    for order in no_processes:
        assert len(order.told) == 4
        told[order.seed].add(order.told)
    assert [len(rows) for rows in told.values()] == [1, 1]
    assert told[3] != told[4]


def test_too_few_values_and_nothing_to_find_are_said(tmp_path: Path, no_processes: list[Order]) -> None:
    with pytest.raises(UserError, match="Only 20 candidates have a value, and the first design alone asks for 20"):
        run_backtest(plan_of(wanted(tmp_path, tables={"rounds": {"initial": 20}})))
    target = {"property": PROPERTY, "goal": "within", "low": 50.0, "high": 60.0}
    with pytest.raises(UserError, match="No candidate has its energy within 50 to 60 eV"):
        run_backtest(plan_of(wanted(tmp_path, tables={"target": target}, strategies=("probability_within", "random"))))
    with pytest.raises(UserError, match="a number or a share of 20 candidates"):
        run_backtest(plan_of(wanted(tmp_path, best="21")))
    assert no_processes == []


def test_a_faulty_file_is_refused_with_all_its_faults(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"(?s)2 faults.*rounds.*surrogate"):
        plan_of(wanted(tmp_path, tables={"surrogate": {"kind": "x"}, "rounds": {"initial": 0}}))
