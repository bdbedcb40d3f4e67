"""A round is trained, judged by held-out labels, corrected, and remembered: the same whoever carries it out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_campaigns import FOREST, POOL, SPY, Run, SpyForest, run, run_in_parts, run_told, steps
from numpy.typing import NDArray

from active_learning.api.campaign import Campaign
from active_learning.config.spec import Training
from active_learning.domain.campaign import Phase, RoundRecord
from active_learning.domain.label import Label
from active_learning.domain.metrics import regression_metrics
from active_learning.domain.prediction import Prediction
from active_learning.domain.seeds import rng_for
from active_learning.engine.feature_file import FeatureFile, FeatureIndex, write_features
from active_learning.engine.ids import CandidateIds
from active_learning.engine.learning import Lesson, known_rows, learn
from active_learning.learning import search as searching
from active_learning.learning.calibration import fit_recalibration
from active_learning.learning.validation import fold_of_each
from active_learning.preparation.fitting import Preparation
from active_learning.preparation.options import PreparationOptions
from active_learning.preparation.surrogate import prepared
from active_learning.store import Blobs
from active_learning.surrogates.committee import Committee
from active_learning.surrogates.forest import RandomForest
from active_learning.testing.fakes import START, FakeClock, tiny_campaign

Floats = NDArray[np.float64]

FOREST_OF_TEN = RandomForest(RandomForest.Options(n_trees=30, n_jobs=1))
N = 60


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureFile:
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    X = np.random.default_rng(0).normal(size=(N, 3))
    ids = CandidateIds.of(f"{n:016x}" for n in range(N))
    return FeatureFile(write_features(ids, [X], FeatureIndex(("a", "b", "c"), {}, {}, {}), blobs), blobs)


def _labels(features: FeatureFile, rows: Any, values: Any = None) -> tuple[Label, ...]:
    X = features.rows(np.asarray(rows))
    values = X[:, 0] - X[:, 1] ** 2 if values is None else np.broadcast_to(values, len(X))
    return tuple(
        Label(features.ids[row], "energy", float(value), "eV", START, "fake")
        for row, value in zip(rows, values, strict=True)
    )


def _lesson(features: FeatureFile, n: int = 40, *, values: Any = None, **more: Any) -> Lesson:
    train = _labels(features, range(n), values)
    return Lesson(features, train, more.pop("test", ()), seed=1, round_number=2, **more)


def test_the_order_in_which_labels_came_does_not_matter(features: FeatureFile) -> None:
    lesson = _lesson(features)
    first = learn(FOREST_OF_TEN, lesson, Training())
    second = learn(FOREST_OF_TEN, replace(lesson, train=lesson.train[::-1]), Training())
    assert first.metrics == second.metrics
    assert first.correction == second.correction
    np.testing.assert_array_equal(first.rows, np.arange(40))
    np.testing.assert_array_equal(first.model.predict(features.X).std, second.model.predict(features.X).std)


def test_labels_of_candidates_without_features_are_left_out(features: FeatureFile) -> None:
    strange = Label("f" * 16, "energy", 1e9, "eV", START, "fake")
    rows, y = known_rows(features, (strange, *_labels(features, [4, 2])))
    assert rows.tolist() == [2, 4]
    assert y.max() < 1e9


def test_the_std_of_a_held_out_label_is_that_of_a_map_which_was_not_fitted_to_it(features: FeatureFile) -> None:
    learned = learn(FOREST_OF_TEN, _lesson(features), Training())
    assert learned.calibration is not None
    assert learned.calibration["validation"] == "out_of_sample"
    slope, offset = learned.correction
    assert (slope, offset) != (1.0, 0.0)
    assert (learned.calibration["slope"], learned.calibration["offset"]) == (slope, offset)
    held_out = learned.model.held_out  # type: ignore[attr-defined]
    pairs = np.array([learned.out_of_fold[features.ids[row]] for row in range(40)])
    np.testing.assert_array_equal(pairs[:, 0], held_out.mean[:, 0])
    assert learned.calibration["source"] == "fitted"
    folds = fold_of_each(40, 5, rng_for(1, 2, "folds"))
    for fold in range(5):
        mine = folds == fold
        refitted = fit_recalibration(learned.y[~mine], held_out.mean[~mine, 0], held_out.std[~mine, 0])
        np.testing.assert_allclose(pairs[mine, 1], refitted(held_out.std[mine, 0]))
    assert not np.allclose(pairs[:, 1], slope * held_out.std[:, 0] + offset)
    assert learned.metrics == regression_metrics(learned.y, pairs[:, 0], pairs[:, 1])
    assert learned.metrics["mean_z2"] == learned.calibration["after"]["mean_z2"]


def test_the_test_set_is_judged_with_the_corrected_std(features: FeatureFile) -> None:
    test = _labels(features, range(45, 60))
    learned = learn(FOREST_OF_TEN, _lesson(features, test=test), Training())
    slope, offset = learned.correction
    believed = learned.model.predict(features.rows(np.arange(45, 60)))
    y = np.array([label.value for label in test])
    z = (y - believed.mean[:, 0]) / (slope * believed.std[:, 0] + offset)
    assert learned.test_metrics["mean_z2"] == pytest.approx(np.mean(z**2))
    assert learned.test_metrics["rmse"] == pytest.approx(np.sqrt(np.mean((y - believed.mean[:, 0]) ** 2)))
    assert learn(FOREST_OF_TEN, _lesson(features), Training()).test_metrics == {}


def test_without_recalibration_the_std_is_the_models_own(features: FeatureFile) -> None:
    learned = learn(FOREST_OF_TEN, _lesson(features), Training(recalibrate=False))
    assert learned.correction == (1.0, 0.0)
    held_out = learned.model.held_out  # type: ignore[attr-defined]
    z = (learned.y - held_out.mean[:, 0]) / held_out.std[:, 0]
    assert learned.metrics["mean_z2"] == pytest.approx(np.mean(z**2))
    assert learned.calibration is not None, "how honest it is is noted all the same"


def test_folds_are_always_trained_if_they_are_asked_for(features: FeatureFile) -> None:
    auto, folds = (
        learn(FOREST_OF_TEN, _lesson(features), Training(validation=v))
        for v in ("auto", "folds")  # type: ignore[arg-type]
    )
    assert auto.calibration is not None
    assert folds.calibration is not None
    assert (auto.calibration["validation"], folds.calibration["validation"]) == ("out_of_sample", "folds")
    assert auto.metrics["mae"] != folds.metrics["mae"]
    np.testing.assert_array_equal(auto.model.predict(features.X).mean, folds.model.predict(features.X).mean)


def test_with_too_few_labels_nothing_is_judged(features: FeatureFile) -> None:
    learned = learn(FOREST_OF_TEN, _lesson(features, 9), Training(folds=5))
    assert (learned.metrics, learned.out_of_fold, learned.calibration) == ({}, {}, None)
    assert learned.correction == (1.0, 0.0)
    assert len(learned.model.predict(features.X)) == N


def _record(calibration: dict[str, Any] | None) -> RoundRecord:
    return RoundRecord(1, START, 9, 2, predictions="x", calibration=calibration)


def test_the_last_good_map_is_kept_while_there_are_too_few_labels_for_a_new_one(features: FeatureFile) -> None:
    good = learn(FOREST_OF_TEN, _lesson(features), Training()).calibration
    assert good is not None
    previous = _record(json.loads(json.dumps(dict(good))))
    few = learn(FOREST_OF_TEN, _lesson(features, 8, previous=previous), Training(folds=4))
    assert few.correction == (good["slope"], good["offset"])
    assert few.calibration is not None
    assert few.calibration["source"] == "kept"


@pytest.mark.parametrize("calibration", [None, {"source": "none", "slope": 1.0, "offset": 0.2}])
def test_of_a_round_that_had_no_map_none_is_kept(features: FeatureFile, calibration: Any) -> None:
    """Rounds of a campaign that an older version began have no calibration at all."""
    few = learn(FOREST_OF_TEN, _lesson(features, 8, previous=_record(calibration)), Training(folds=4))
    assert few.correction == (1.0, 0.0)
    assert few.calibration is not None
    assert few.calibration["source"] == "none"


def test_a_map_is_not_kept_where_no_recalibration_is_wanted(features: FeatureFile) -> None:
    good = dict(learn(FOREST_OF_TEN, _lesson(features), Training()).calibration or {})
    off = Training(recalibrate=False, folds=4)
    assert learn(FOREST_OF_TEN, _lesson(features, 8, previous=_record(good)), off).correction == (1.0, 0.0)


def test_constant_labels_are_no_trouble(features: FeatureFile) -> None:
    for validation in ("auto", "folds"):
        learned = learn(FOREST_OF_TEN, _lesson(features, values=1.25), Training(validation=validation))  # type: ignore[arg-type]
        assert learned.metrics["mae"] == 0
        np.testing.assert_array_equal(learned.model.predict(features.X).mean, 1.25)
        assert np.isfinite(list(learned.metrics.values())).all()


def test_a_prepared_surrogate_is_judged_as_a_whole_by_folds(features: FeatureFile) -> None:
    whole = prepared(FOREST_OF_TEN, Preparation(PreparationOptions(polynomial=2, keep=3), impute=False), features.names)
    learned = learn(whole, _lesson(features), Training())
    assert learned.calibration is not None
    assert learned.calibration["validation"] == "folds"
    assert learned.preparation is not None
    assert len(learned.importances) == 3
    assert set(learned.importances) == set(learned.model.preparation.names)  # type: ignore[attr-defined]


def test_a_committee_is_judged_by_what_all_of_its_members_know(features: FeatureFile) -> None:
    committee = Committee(Committee.Options()).with_members([FOREST_OF_TEN, FOREST_OF_TEN])
    learned = learn(committee, _lesson(features), Training())
    assert learned.calibration is not None
    assert learned.calibration["validation"] == "out_of_sample"
    assert set(learned.importances) == {"a", "b", "c"}


def test_classes_are_judged_as_classes_and_have_no_correction(features: FeatureFile) -> None:
    values = (features.rows(np.arange(40))[:, 0] > 0).astype(float)
    test = _labels(features, range(45, 60), (features.rows(np.arange(45, 60))[:, 0] > 0).astype(float))
    learned = learn(FOREST_OF_TEN.classifier(), _lesson(features, values=values, test=test), Training())
    assert set(learned.metrics) >= {"accuracy", "log_loss", "roc_auc"}
    assert set(learned.test_metrics) >= {"accuracy", "log_loss"}
    assert "rmse" not in learned.metrics
    assert (learned.correction, learned.calibration) == ((1.0, 0.0), None)


def test_a_test_label_of_a_class_that_was_never_trained_on_is_an_error_and_no_trouble(features: FeatureFile) -> None:
    test = _labels(features, range(45, 60), 7.0)
    learned = learn(FOREST_OF_TEN.classifier(), _lesson(features, values=1.0, test=test), Training())
    assert learned.test_metrics["accuracy"] == 0
    assert np.isfinite(list(learned.test_metrics.values())).all()
    assert learned.metrics["accuracy"] == 1


# Whole campaigns.

TABLES: dict[str, Any] = {
    "pool": POOL,
    "surrogate": FOREST,
    "rounds": {"initial": 10, "batch_size": 4, "max_in_flight": 4},
    "training": {"test_fraction": 0.2},
    "control": {"fraction": 0.25},
    "acquisition": {"kind": "expected_improvement", "weigh_success": True, "per_cost": True},
    "labeler": {"kind": "active_learning.testing.fakes:FakeLabeler", "fates": {"Al2Ag": "raises", "CuAg": "nan"}},
    "selection": {"kind": "fantasies"},
    "stopping": {"any": [{"kind": "labels", "max": 26}]},
}


def test_a_campaign_that_is_opened_anew_for_each_step_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    # A new process asks at once how its jobs do, so that time passes otherwise, and with it what run times teach.
    tables = TABLES | {"acquisition": {"kind": "expected_improvement", "weigh_success": True}}
    whole, parts = run(tmp_path / "whole", **tables), run_in_parts(tmp_path / "parts", **tables)
    assert whole.facts.phase is parts.facts.phase is Phase.STOPPED
    assert parts.asked == whole.asked
    for one, other in zip(whole.facts.rounds, parts.facts.rounds, strict=True):
        for name in ("n_labels", "n_picks", "metrics", "out_of_fold", "max_std", "test_metrics", "calibration"):
            assert getattr(one, name) == getattr(other, name)
    assert len({r.arm for r in whole.facts.requests}) == 4


def test_another_number_of_threads_learns_and_chooses_the_same(tmp_path: Path) -> None:
    committee = {"kind": "committee", "members": [dict(FOREST), {"kind": "extra_trees", "n_trees": 10}]}
    runs = []
    for n_jobs in (1, 2):
        members = [dict(member) | {"n_jobs": n_jobs} for member in committee["members"]]  # type: ignore[arg-type]
        runs.append(run_told(tmp_path / str(n_jobs), **TABLES | {"surrogate": committee | {"members": members}}))
    assert runs[0].asked == runs[1].asked
    assert runs[0].learned == runs[1].learned


SEARCH: dict[str, Any] = TABLES | {
    "search": {"every": 2, "trials": 4, "seconds": 1e6},
    "acquisition": {"kind": "expected_improvement"},
    "training": {"folds": 3},
    "control": {"fraction": 0},
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_told(tmp_path_factory.mktemp("searched"), **SEARCH)


def _found(run_: Run) -> list[Any]:
    return [record.settings for record in run_.facts.rounds]


def test_what_a_search_found_stands_in_the_record_until_the_next_one(searched: Run) -> None:
    found = _found(searched)
    assert found[0] is None
    assert [settings["round"] for settings in found[1:]] == [1, 1, 3, 3, 5]
    assert found[1] == found[2]
    assert found[3] == found[4]
    assert all(settings["n_trials"] == 4 for settings in found[1:])
    assert all(settings["error"] <= settings["given_error"] for settings in found[1:])


def test_the_model_of_a_round_has_the_settings_that_were_found(searched: Run) -> None:
    kit, facts = searched.campaign.kit, searched.facts
    record = facts.rounds[-1]
    assert record.settings is not None
    labels = tuple(x for x in facts.labels)
    lesson = Lesson(searched.features, labels, (), kit.spec.seed, record.number, facts.rounds[-2])
    for settings, is_same in ((record.settings["settings"], True), ({"min_samples_leaf": 5}, False)):
        learned = learn(kit.surrogate_for(searched.features.names, settings), lesson, kit.spec.training)
        assert (dict(learned.metrics) == dict(record.metrics)) is is_same


def test_a_search_by_trials_finds_the_same_again(searched: Run, tmp_path: Path) -> None:
    again = run_told(tmp_path, **SEARCH)
    assert again.asked == searched.asked
    without_time = [
        [{k: v for k, v in (s or {}).items() if k != "seconds"} for s in _found(r)] for r in (again, searched)
    ]
    assert without_time[0] == without_time[1]


def test_campaigns_that_share_a_workdir_do_not_write_over_each_others_searches(searched: Run) -> None:
    """One would begin its own anew after a kill, and might find something else."""
    folder = searched.campaign.workdir / "search"
    assert [path.name for path in folder.iterdir()] == ["tiny"]
    assert sorted(path.name for path in (folder / "tiny").iterdir()) == [f"round-{n}.json" for n in (1, 3, 5)]


class _Killed(BaseException):
    pass


def test_a_search_that_died_half_way_goes_on_in_the_next_process(
    searched: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SpyForest.given.clear()
    real = searching._note

    def dies(log: Path, key: str, trials: Any) -> None:
        real(log, key, trials)
        if len(trials) == 2:
            raise _Killed

    monkeypatch.setattr(searching, "_note", dies)
    tables = SEARCH | {"surrogate": SPY}
    with pytest.raises(_Killed):
        run_told(tmp_path, 2, **tables)
    n_fits = len(SpyForest.given)
    assert n_fits == 2 * 3
    monkeypatch.setattr(searching, "_note", real)
    with Campaign.open(tmp_path / "tiny.toml", clock=FakeClock()) as campaign:
        campaign.ask()
        record = campaign.store.read().rounds[1]
    assert len(SpyForest.given) == n_fits + 2 * 3 + 1 + 3, "two trials more, the model itself, and its folds"
    expected = searched.facts.rounds[1].settings
    assert record.settings is not None
    assert expected is not None
    assert {k: record.settings[k] for k in ("settings", "error", "n_trials")} == {
        k: expected[k] for k in ("settings", "error", "n_trials")
    }


@pytest.mark.parametrize("surrogate", [{"kind": "gaussian_process"}, dict(FOREST) | {"n_trees": 12}])
def test_settings_of_another_surrogate_do_not_hold(tmp_path: Path, surrogate: dict[str, Any]) -> None:
    """The table may change at any time: what was found for the old one is no answer for the new one."""
    tables = SEARCH | {"search": {"every": 50, "trials": 2, "seconds": 1e6}}
    first = run_told(tmp_path, 3, **tables)
    before = first.facts.rounds[-1].settings
    assert before is not None
    changed = tiny_campaign(
        tmp_path, **tables | {"surrogate": surrogate, "stopping": {"any": [{"kind": "labels", "max": 14}]}}
    )
    with Campaign.create(changed, clock=FakeClock()) as campaign, campaign.work() as bench:
        list(steps(bench))
        record = campaign.store.read().rounds[-1]
    assert record.settings is not None
    assert record.settings["round"] > before["round"]
    assert record.settings["surrogate"]["kind"] == surrogate["kind"]


CLASSES: dict[str, Any] = TABLES | {
    "target": {"property": "energy", "goal": "classify"},
    "acquisition": {"kind": "random"},
    "selection": {"kind": "diverse"},
    "labeler": {"kind": "learning_campaigns:ClassLabeler"},
    "stopping": {"any": [{"kind": "labels", "max": 22}]},
}


def _believed(run_: Run, record: RoundRecord) -> Floats:
    assert record.predictions is not None
    found: Floats = np.load(run_.campaign.workdir / "files" / record.predictions)
    return found


@pytest.mark.parametrize(
    ("acquisition", "surrogate"),
    [
        ("random", FOREST),
        ("active_learning.acquisition.classes:ClassEntropy", {"kind": "extra_trees", "n_trees": 10}),
        (
            "active_learning.acquisition.classes:Disagreement",
            {"kind": "committee", "members": [dict(FOREST), {"kind": "extra_trees", "n_trees": 10}]},
        ),
    ],
    ids=["random", "entropy", "disagreement of a committee"],
)
def test_a_campaign_tells_classes_apart(tmp_path: Path, acquisition: str, surrogate: Any) -> None:
    found = run(tmp_path, **CLASSES | {"acquisition": {"kind": acquisition}, "surrogate": surrogate})
    assert found.facts.phase is Phase.STOPPED
    values = {x.candidate_id: x.value for x in found.facts.labels}
    assert set(values.values()) == {0.0, 1.0}
    for record in found.facts.rounds[1:]:
        believed = _believed(found, record)
        assert record.classes == (0.0, 1.0)
        assert believed.shape == (75, 4)
        np.testing.assert_allclose(believed[:, 2:].sum(axis=1), 1.0)
        np.testing.assert_allclose(believed[:, 0], believed[:, 3])
        np.testing.assert_allclose(believed[:, 1], np.sqrt(believed[:, 3] * believed[:, 2]))
    last = found.facts.rounds[-1]
    assert set(last.metrics) >= {"accuracy", "log_loss", "brier"}
    assert set(last.test_metrics) >= {"accuracy"}
    assert last.calibration is None
    assert last.metrics["accuracy"] > 0.6
    record = found.campaign.record()
    assert record.prediction is not None


def test_one_class_alone_goes_through(tmp_path: Path) -> None:
    labeler = {"kind": "learning_campaigns:ClassLabeler", "above": 100.0}
    found = run(tmp_path, **CLASSES | {"labeler": labeler, "stopping": {"any": [{"kind": "labels", "max": 15}]}})
    assert found.facts.phase is Phase.STOPPED
    last = found.facts.rounds[-1]
    assert last.classes == (0.0,)
    np.testing.assert_array_equal(_believed(found, last), np.tile([0.0, 0.0, 1.0], (75, 1)))
    assert last.metrics["accuracy"] == 1.0


@pytest.mark.parametrize("acquisition", ["expected_improvement", "upper_confidence_bound", "uncertainty"])
def test_a_campaign_of_constant_labels_goes_through(tmp_path: Path, acquisition: str) -> None:
    tables = TABLES | {"labeler": {"kind": "learning_campaigns:ConstantLabeler"}, "acquisition": {"kind": acquisition}}
    found = run(tmp_path, **tables | {"stopping": {"any": [{"kind": "labels", "max": 14}]}})
    assert found.facts.phase is Phase.STOPPED
    np.testing.assert_array_equal(_believed(found, found.facts.rounds[-1])[:, 0], 1.25)
    assert found.facts.rounds[-1].metrics["mae"] == 0


def test_a_campaign_with_gaps_and_a_preparation_is_judged_by_folds_of_the_whole(tmp_path: Path) -> None:
    tables = TABLES | {
        "features": {"kind": "learning_campaigns:GappyFeaturizer", "missing": "impute"},
        "preparation": {"polynomial": 2, "keep": 4},
    }
    found = run_told(tmp_path, **tables)
    assert found.features.missing
    last = found.facts.rounds[-1]
    assert last.calibration is not None
    assert last.calibration["validation"] == "folds"
    assert last.preparation is not None
    assert len(last.importances) == 4
    assert all(r.novelty is not None for r in found.facts.requests if r.round)


def test_a_campaign_without_recalibration_believes_the_model(tmp_path: Path) -> None:
    found = run_told(tmp_path, **TABLES | {"training": {"recalibrate": False}})
    last = found.facts.rounds[-1]
    kit = found.campaign.kit
    lesson = Lesson(found.features, found.facts.labels, (), kit.spec.seed, last.number)
    learned = learn(kit.surrogate_for(found.features.names), lesson, kit.spec.training)
    believed: Prediction = learned.model.predict(found.features.X)
    np.testing.assert_array_equal(_believed(found, last), np.column_stack([believed.mean, believed.std]))
