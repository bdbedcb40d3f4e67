"""A replay is the campaign: it chooses what a real one with the same labels chooses, whatever process it runs in."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.api import Campaign
from active_learning.config import read_campaign_file
from active_learning.domain.campaign import Phase
from active_learning.domain.label import Label
from active_learning.domain.metrics import mae
from active_learning.domain.request import Arm
from active_learning.engine.assembly import assemble
from active_learning.engine.observing import target_labels
from active_learning.errors import CampaignFailed, ContractError
from active_learning.evaluation.fingerprints import files_of
from active_learning.evaluation.ground import Ground
from active_learning.evaluation.grounding import ground_of, what_it_is_made_of
from active_learning.evaluation.known_values import ValueTable
from active_learning.evaluation.replay import replay
from active_learning.evaluation.replayed import Order, Replayed
from active_learning.evaluation.replaying import replay_all
from active_learning.evaluation.virtual import Labeling
from active_learning.testing.fakes import PROPERTY, FakeClock, TinyPool, tiny_campaign, true_value, without_workers

N = 60
FOREST: Mapping[str, Any] = {"kind": "random_forest", "n_trees": 10, "n_jobs": 1}
TABLES: Mapping[str, Any] = {
    "pool": {"kind": "active_learning.testing.fakes:TinyPool", "n": N},
    "surrogate": FOREST,
    "rounds": {"initial": 5, "batch_size": 4, "max_in_flight": 4},
    "stopping": {"any": [{"kind": "labels", "max": 21}]},
    "submitter": {"kind": "inline"},
}


def write_values(path: Path, *, without: int = 0) -> Path:
    candidates = list(TinyPool(TinyPool.Options(n=N)).read())[without:]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["formula", PROPERTY])
        writer.writerows([c.formula, true_value(c)] for c in candidates)  # type: ignore[union-attr, arg-type]
    return path


def campaign_file(folder: Path, **changes: Any) -> Path:
    labeler = {"kind": "table", "path": str(folder / "values.csv"), "unit": "eV"}
    path = tiny_campaign(folder, **{**TABLES, "labeler": labeler, **changes})
    write_values(folder / "values.csv")
    return path


def order_of(path: Path, *, seed: int = 3, **changes: Any) -> Order:
    file = read_campaign_file(path)
    return Order(**{"strategy": "own", "seed": seed, "tables": file.tables, "base": path, "unit": "eV", **changes})


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    kit = assemble(read_campaign_file(campaign_file(folder)))
    table = ValueTable(folder / "values.csv", PROPERTY)
    found, was_there = ground_of(kit, table, folder, n_workers=1, progress=lambda *_: None)
    assert not was_there
    assert ground_of(kit, table, folder, n_workers=1, progress=lambda *_: pytest.fail("built again"))[1]
    return found


def test_a_pool_whose_file_changed_is_built_again(tmp_path: Path) -> None:
    pool = tmp_path / "pool.csv"
    pool.write_text("formula\nCu3Au\nCuAu\n", encoding="utf-8")
    path = campaign_file(tmp_path, pool={"kind": "table", "path": str(pool), "formula": "formula"})
    kit, table = assemble(read_campaign_file(path)), ValueTable(tmp_path / "values.csv", PROPERTY)
    first = what_it_is_made_of(kit, table)
    assert what_it_is_made_of(kit, table) == first
    pool.write_text("formula\nCu3Au\nCuAu\nAg\n", encoding="utf-8")
    assert what_it_is_made_of(kit, table)["files"] != first["files"]


@pytest.mark.parametrize("path", ["cifs", "cifs/*.cif", "c*/*.cif"])
def test_the_files_of_a_folder_or_a_pattern_are_known_by_what_they_are_like(tmp_path: Path, path: str) -> None:
    (tmp_path / "cifs").mkdir()
    (tmp_path / "cifs" / "one.cif").write_text("data_one", encoding="utf-8")
    pool = {"path": str(tmp_path / path)}
    first = files_of(pool)
    assert [Path(name).name for name, _size, _time in first] == ["one.cif"]
    (tmp_path / "cifs" / "two.cif").write_text("data_two", encoding="utf-8")
    assert len(files_of(pool)) == 2
    assert files_of({"kind": "compositions"}) == []


def really_run(path: Path) -> tuple[dict[int, list[str]], tuple[Label, ...], Any]:
    """Round -> candidates that it chose, in order; the labels; and all facts, of a campaign that ran."""
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        campaign.run()
        facts = campaign.store.read()
        picks: dict[int, list[str]] = {}
        for request in facts.requests:
            picks.setdefault(request.round, []).append(request.candidate_id)
        return picks, target_labels(facts, campaign.kit.target), facts


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"acquisition": {"kind": "expected_improvement"}, "selection": {"kind": "diverse"}},
        {"control": {"fraction": 0.3}, "training": {"test_fraction": 0.2}},
        {"target": {"property": PROPERTY, "goal": "learn"}, "acquisition": {"kind": "uncertainty"}},
        {"acquisition": {"kind": "random"}, "seed": 8},
    ],
    ids=["as it is", "expected improvement", "control and test set", "learn", "random"],
)
def test_a_replay_chooses_what_the_real_campaign_chooses(
    ground: Ground, tmp_path: Path, changes: Mapping[str, Any]
) -> None:
    path = campaign_file(tmp_path, **changes)
    picks, labels, facts = really_run(path)
    assert facts.phase is Phase.STOPPED
    found = replay(ground, order_of(path, seed=changes.get("seed", 3)), tmp_path / "scratch")
    assert len(found.labels) == 21
    assert {n: sorted(ground.ids.row(c) for c in chosen) for n, chosen in picks.items()} == found.picks
    assert [ground.ids.row(label.candidate_id) for label in labels] == found.rows.tolist()
    assert [label.value for label in labels] == ground.values[found.rows].tolist()
    if "control" in changes:
        assert {request.arm for request in facts.requests} == set(Arm)


def test_the_same_order_gives_the_same_in_another_process_and_beside_others(ground: Ground, tmp_path: Path) -> None:
    path = campaign_file(tmp_path)
    labeling = Labeling(spread=1.0, failure_rate=0.2)
    orders = [order_of(path, seed=seed, labeling=labeling) for seed in (3, 4)]
    here = [replay(ground, order, tmp_path / f"{order.seed}") for order in orders]
    there = replay_all(ground, orders, tmp_path, n_workers=2)
    assert not there.failed
    assert [(r.labels, r.rounds, r.usage, r.n_failed) for r in there.done] == [
        (r.labels, r.rounds, r.usage, r.n_failed) for r in here
    ]
    assert here[0].picks != here[1].picks
    assert here[0].n_failed > 0


def test_what_is_written_is_read_as_it_was(ground: Ground, tmp_path: Path) -> None:
    found = replay(ground, order_of(campaign_file(tmp_path)), tmp_path / "scratch")
    assert Replayed.from_text(found.to_text()) == found


def test_the_error_of_a_round_is_that_of_its_model_on_all_candidates_without_a_label(
    ground: Ground, tmp_path: Path
) -> None:
    """Against a model that believes in the nearest label, computed here from the labels that each round had."""
    path = campaign_file(tmp_path, surrogate={"kind": "active_learning.testing.fakes:NearestLabel"})
    found = replay(ground, order_of(path), tmp_path / "scratch")
    X = np.load(ground.blobs.path(ground.features["file"]), allow_pickle=False)
    assert [(r.number, r.n_labels, r.n_picks) for r in found.rounds] == [
        (0, 0, 5),
        (1, 5, 4),
        (2, 9, 4),
        (3, 13, 4),
        (4, 17, 4),
        (5, 21, 0),
    ]
    assert found.rounds[0].errors == {}
    for seen in found.rounds[1:]:
        known = found.rows[: seen.n_labels]
        rest = np.setdiff1d(np.arange(N), known)
        known = np.sort(known)
        nearest = np.linalg.norm(X[rest][:, None] - X[known][None], axis=2).argmin(axis=1)
        expected = mae(ground.values[rest], ground.values[known][nearest])
        assert seen.errors["mae"] == pytest.approx(expected, abs=1e-12)


def test_of_the_rounds_predictions_only_the_last_are_kept(ground: Ground, tmp_path: Path) -> None:
    replay(ground, order_of(campaign_file(tmp_path)), tmp_path / "scratch")
    names = [entry.name for entry in (tmp_path / "scratch" / "files").iterdir()]
    assert sum(name.startswith("predictions-") for name in names) == 1
    assert sorted(name for name in names if not name.startswith("predictions-")) == sorted(ground.file_names)


def test_labels_told_beforehand_take_the_place_of_the_first_design(ground: Ground, tmp_path: Path) -> None:
    told = (7, 30, 2, 41, 12)
    found = replay(ground, order_of(campaign_file(tmp_path), told=told), tmp_path / "scratch")
    assert found.picks[-1] == sorted(told)
    assert tuple(found.rows[:5]) == told
    assert found.rounds[0].n_labels == 5
    assert found.rounds[0].errors["mae"] > 0, "the first round has a model"
    assert len(set(found.rows.tolist())) == len(found.labels) == 21


def test_every_strategy_meets_the_same_fate_for_the_same_candidate(ground: Ground, tmp_path: Path) -> None:
    labeling = Labeling(spread=1.0, failure_rate=0.3)
    stopping = {"any": [{"kind": "labels", "max": 50}]}
    path = campaign_file(tmp_path, requests={"retries": 0}, stopping=stopping)
    other = campaign_file(
        tmp_path / "other", requests={"retries": 0}, stopping=stopping, acquisition={"kind": "random"}
    )
    runs = [
        replay(ground, order_of(p, labeling=labeling), tmp_path / f"scratch {n}") for n, p in enumerate((path, other))
    ]
    tried = [set(run.rows.tolist()) for run in runs]
    failed = [row for row in range(N) if labeling.fails(ground.ids[row], 1, 3)]
    assert len(failed) > 5
    for run, rows in zip(runs, tried, strict=True):
        assert not rows & set(failed)
        assert run.n_failed > 0


def test_a_failed_attempt_is_tried_again_and_counts_as_failed(ground: Ground, tmp_path: Path) -> None:
    path = campaign_file(tmp_path, requests={"retries": 3})
    found = replay(ground, order_of(path, labeling=Labeling(failure_rate=0.4)), tmp_path / "scratch")
    assert found.n_failed >= 3
    assert found.rounds[-1].n_failed == found.n_failed
    assert len(found.labels) == 21


def test_a_campaign_that_cannot_go_on_says_why(ground: Ground, tmp_path: Path) -> None:
    order = order_of(campaign_file(tmp_path, requests={"retries": 0}), labeling=Labeling(failure_rate=0.999))
    with pytest.raises(CampaignFailed, match=r"own, seed 3: 0 of the first 5 requests gave a label"):
        replay(ground, order, tmp_path / "scratch")


def test_a_ground_of_arrays_keeps_the_order_of_its_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    ground = Ground.of_arrays(tmp_path, ["AgCo", "CoAg"] * 20, X, y)
    tables = {
        "target": {"property": "barrier", "goal": "maximize"},
        "surrogate": FOREST,
        "acquisition": {"kind": "random"},
        "rounds": {"initial": 4, "batch_size": 6, "max_in_flight": 6},
    }
    found = replay(ground, Order("all", 0, tables, tmp_path / "none.toml", told=(3, 1)), tmp_path / "scratch")
    assert sorted(found.rows.tolist()) == list(range(40)), "without a rule to stop, the whole pool is labeled"
    assert found.stopped == "every candidate of the pool was labeled or given up"
    loaded = Ground.load(tmp_path)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.values, y)
    assert loaded.fingerprint == ground.fingerprint
    y[0] += 1
    assert Ground.of_arrays(tmp_path / "other", ["x"] * 40, X, y).fingerprint != ground.fingerprint


def arrays(folder: Path, y: Any = None, *, n: int = 200) -> Ground:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(n, 3))
    return Ground.of_arrays(folder, ["x"] * n, X, X[:, 0] + 0.3 * rng.normal(size=n) if y is None else y(X))


@pytest.mark.parametrize(
    ("batch_size", "in_flight", "least", "most"), [(1, 8, 0.95, 1.0), (8, 8, 0.15, 0.6), (1, 1, 0.95, 1.0)]
)
def test_with_heavy_tails_workers_are_busy_where_nobody_waits_for_the_slowest(
    tmp_path: Path, batch_size: int, in_flight: int, least: float, most: float
) -> None:
    """The time that one worker needs for all is known; with eight the utilization follows from when the last began."""
    ground = arrays(tmp_path)
    tables = {
        "target": {"property": "p", "goal": "maximize"},
        "surrogate": {"kind": "active_learning.testing.fakes:NearestLabel"},
        "rounds": {"initial": 8, "batch_size": batch_size, "max_in_flight": in_flight},
        "stopping": {"any": [{"kind": "labels", "max": 100}]},
    }
    labeling = Labeling(3600.0, 1.0, decision_s=60.0)
    order = Order("a", 1, tables, tmp_path / "x.toml", labeling=labeling, told=tuple(range(8)))
    found = replay(ground, order, tmp_path / "scratch")
    assert len(found.labels) == 100
    assert found.utilization is not None
    assert least <= found.utilization <= most
    times = [labeling.time_s(ground.ids[label.row], 1, 1) for label in found.labels[8:]]
    starts = [label.time_s - time_s for label, time_s in zip(found.labels[8:], times, strict=True)]
    assert found.usage["busy_s"] <= sum(times)
    if in_flight == 1:
        # Each label is followed by a decision; the last one is not waited for.
        assert found.usage["horizon_s"] == pytest.approx(sum(times[:-1]) + 60.0 * 92, abs=1.0)
        assert found.usage["horizon_s"] == pytest.approx(max(starts), abs=1.0)


def test_classes_are_replayed_and_their_error_is_that_of_the_rest(tmp_path: Path) -> None:
    """The third class is so rare that the first models do not know it."""
    ground = arrays(tmp_path, lambda X: (X[:, 0] > 0) + (X[:, 0] > 2).astype(float))
    tables = {
        "target": {"property": "metal", "goal": "classify"},
        "surrogate": FOREST,
        "acquisition": {"kind": "margin"},
        "rounds": {"initial": 6, "batch_size": 6, "max_in_flight": 6},
        "stopping": {"any": [{"kind": "labels", "max": 18}]},
    }
    found = replay(ground, Order("a", 1, tables, tmp_path / "x.toml", told=(0, 1, 2, 3, 4, 5)), tmp_path / "scratch")
    assert set(ground.values[found.rows[:6]]) == {0.0, 1.0}
    assert 2.0 in ground.values
    shares = [seen.errors["accuracy"] for seen in found.rounds]
    assert len(shares) == 3
    assert all(0.5 < share < 1.0 for share in shares)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"y": np.array([1.0, np.nan])}, "the value of row 1 is nan"),
        ({"y": np.ones(3)}, "do not fit together"),
        ({"names": ["a"]}, "do not fit together"),
        ({"feature_names": ["a", "b"]}, "do not fit together"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path: Path, changed: Mapping[str, Any], said: str) -> None:
    given = {"names": ["a", "b"], "X": np.ones((2, 1)), "y": np.ones(2)} | dict(changed)
    with pytest.raises(ContractError, match=said):
        Ground.of_arrays(tmp_path, **given)


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        (lambda o: {"strategy": "another name"}, True),
        (lambda o: {"base": Path("elsewhere.toml")}, True),
        (lambda o: {"tables": {**o.tables, "name": "other", "workdir": "w", "labeler": {"kind": "ase"}}}, True),
        (lambda o: {"tables": {**o.tables, "acquisition": {"kind": "random"}}}, False),
        (lambda o: {"seed": 4}, False),
        (lambda o: {"told": (1,)}, False),
        (lambda o: {"labeling": Labeling(failure_rate=0.1)}, False),
        (lambda o: {"unit": "meV"}, False),
        (lambda o: {"code": "0123"}, False),
    ],
)
def test_a_result_is_named_by_what_it_depends_on(
    tmp_path: Path, change: Callable[[Order], Mapping[str, Any]], is_same: bool
) -> None:
    order = order_of(campaign_file(tmp_path))
    other = Order(**{**vars(order), **change(order)})
    assert (other.key("g") == order.key("g")) is is_same
    assert order.key("g") != order.key("h")
    assert Order.from_json(other.to_json()) == other
