"""What becomes of features that could not be computed, and of labels that were known: whole small campaigns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_learning.api.campaign import Campaign
from active_learning.api.checking import check
from active_learning.domain import options
from active_learning.domain.campaign import Phase
from active_learning.domain.candidate import Candidate
from active_learning.domain.label import Measurement
from active_learning.domain.protocols import FeatureBlock
from active_learning.engine.feature_file import FeatureFile
from active_learning.errors import CampaignFailed, SpecChanged, SpecError, UserError
from active_learning.store import Blobs
from active_learning.testing.fakes import PROPERTY, FakeClock, TinyPool, tiny_campaign, true_value, without_workers

HERE = "test_feature_policies"


class Holes:
    """Two parts, one of the composition; `gap` is missing for candidates with gold, `odd` for one of silver."""

    class Options(options.Options):
        """None."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.parts = (_Share(), _Gap())

    @property
    def names(self) -> tuple[str, ...]:
        return ("share", "gap", "odd", "never")

    def featurize(self, candidates: Any) -> FeatureBlock:
        blocks = [part.featurize(candidates) for part in self.parts]
        failures = {row: why for block in blocks for row, why in block.failures.items()}
        return FeatureBlock(np.concatenate([block.values for block in blocks], axis=1), failures)


class _Share:
    label, of_composition, is_batched, names = "share", True, True, ("share",)

    def featurize(self, candidates: Any) -> FeatureBlock:
        assert all(candidate.crystal is None for candidate in candidates)
        return FeatureBlock(np.array([[c.amounts[min(c.amounts)] / sum(c.amounts.values())] for c in candidates]))


class _Gap:
    label, of_composition, is_batched, names = "gap", False, False, ("gap", "odd", "never")

    def featurize(self, candidates: Any) -> FeatureBlock:
        values = np.array([[float(len(c.formula)), float(sum(c.amounts.values())), np.nan] for c in candidates])
        failures = dict.fromkeys(range(len(candidates)), "gap: 'never' is not a finite number")
        for row, candidate in enumerate(candidates):
            if "Au" in candidate.amounts:
                values[row, 0] = np.nan
            if candidate.formula == "AgAl":
                values[row, 1] = np.inf
        return FeatureBlock(values, failures)


class OnlyGap(Holes):
    """Nothing that every candidate has."""

    def __init__(self, options: Holes.Options) -> None:
        super().__init__(options)
        self.parts = (_Gap(),)  # type: ignore[assignment]

    @property
    def names(self) -> tuple[str, ...]:
        return ("gap", "odd", "never")


class Known(TinyPool):
    """A pool that knows some labels."""

    class Options(TinyPool.Options):
        known: int = 3
        unit: str = "eV"

    def known_labels(self, property_name: str) -> Iterator[tuple[str, Measurement]]:
        for number, candidate in enumerate(self.read()):
            if isinstance(candidate, Candidate) and number < self.options.known:
                value = (true_value(candidate), self.options.unit)
                yield candidate.id, Measurement({property_name: value}, "table", {"row": number})


def _features(campaign: Campaign) -> FeatureFile:
    facts = campaign.store.read()
    assert facts.features is not None
    return FeatureFile(facts.features, Blobs(campaign.workdir / "files"))


def _campaign(folder: Path, missing: str, **changes: Any) -> Campaign:
    forest = {"kind": "random_forest", "n_trees": 10}
    features = {"kind": f"{HERE}:Holes", "missing": missing}
    path = tiny_campaign(folder, **({"features": features, "surrogate": forest} | changes))
    return without_workers(Campaign.create(path, clock=FakeClock()))


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_drop_feature_keeps_all_candidates_and_only_what_all_of_them_have(tmp_path: Path) -> None:
    with _campaign(tmp_path, "drop_feature") as campaign:
        status = campaign.run()
        features = _features(campaign)
        assert status["n_candidates"] == 30
        assert features.names == ("share",)
        assert set(features.dropped) == {"gap", "odd", "never"}
        assert features.dropped["odd"] == "missing for 1 candidates"
        assert np.isfinite(features.X).all()


def test_impute_keeps_all_candidates_and_each_fit_fills_in_the_median_of_its_labels(tmp_path: Path) -> None:
    with _campaign(tmp_path, "impute") as campaign:
        status = campaign.run()
        features = _features(campaign)
        record = campaign.record()
        assert (status["n_candidates"], status["n_labels"]) == (30, 10)
        assert features.names == ("share", "gap", "odd"), "what nobody has is no feature"
        n_gold = sum("Au" in formula for formula in record.formulas)
        assert features.missing == {"gap": n_gold, "odd": 1}
        assert int(np.isnan(features.X).sum()) == n_gold + 1
        prepared = record.rounds[-1].preparation
        assert prepared is not None
        labeled = [features.ids.row(label.candidate_id) for label in record.target_labels]
        gaps = features.rows(labeled)[:, 1]
        assert np.isnan(gaps).any()
        assert prepared["filled"]["gap"] == {"median": np.nanmedian(gaps), "n_labels": int(np.isnan(gaps).sum())}


def test_drop_candidate_drops_whoever_lacks_anything(tmp_path: Path) -> None:
    said = r"No candidate of 30 could be featurized\. For example \w+ \([0-9a-f]{16}\): gap: 'never' is not a finite"
    with _campaign(tmp_path, "drop_candidate") as campaign, pytest.raises(CampaignFailed, match=said):
        campaign.run()


def test_when_no_feature_is_left_the_campaign_says_what_to_change(tmp_path: Path) -> None:
    features = {"kind": f"{HERE}:OnlyGap", "missing": "drop_feature"}
    said = 'Every feature is missing for some candidate.* Choose other descriptors, or missing = "impute"'
    with _campaign(tmp_path, "", features=features) as campaign, pytest.raises(CampaignFailed, match=said):
        campaign.run()


def test_labels_that_a_pool_knows_come_first_and_count_towards_the_first_design(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, pool={"kind": f"{HERE}:Known", "known": 3})
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        known = campaign.store.read().labels
        assert [(label.property, label.fidelity, label.provenance["row"]) for label in known] == [
            (PROPERTY, "table", row) for row in range(3)
        ]
        status = campaign.run()
        facts = campaign.store.read()
        assert status["n_labels"] == 10
        assert facts.rounds[0].n_picks == 1, "four were asked for, three are known"
        assert not {r.candidate_id for r in facts.requests} & {label.candidate_id for label in known}


def test_with_enough_known_labels_the_first_round_is_the_models(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, pool={"kind": f"{HERE}:Known", "known": 6})
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        campaign.run()
        first = campaign.store.read().rounds[0]
        assert (first.number, first.n_labels, first.n_picks) == (0, 6, 2)
        assert first.predictions is not None
        assert campaign.store.read().phase is Phase.STOPPED


def test_known_labels_in_another_unit_are_refused_and_no_pool_is_stored(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, pool={"kind": f"{HERE}:Known", "unit": "Hartree"})
    with Campaign.create(path, clock=FakeClock()) as campaign:
        with pytest.raises(UserError, match="The pool's labels are in 'Hartree', and energy is in 'eV'"):
            campaign.run()
        assert campaign.store.read().pool is None


def test_features_that_all_fail_may_be_changed_since_nothing_stored_depends_on_them(tmp_path: Path) -> None:
    kind = "active_learning.testing.fakes:TinyFeaturizer"
    pool = {"kind": "active_learning.testing.fakes:TinyPool", "n": 2}
    with (
        _campaign(tmp_path, "", pool=pool, features={"kind": kind, "fails": ["AgAl", "AgAl2"]}) as campaign,
        pytest.raises(CampaignFailed, match="told to fail"),
    ):
        campaign.run()
    path = tiny_campaign(tmp_path, pool=pool, features={"kind": kind}, stopping={})
    with Campaign.create(path, clock=FakeClock()) as campaign:
        assert campaign.run()["phase"] == "stopped"
    tiny_campaign(tmp_path, pool=pool, features={"kind": kind, "fails": ["AgAl"]}, stopping={})
    with pytest.raises(SpecChanged, match=r"\[features\] changed"):
        Campaign.create(path, clock=FakeClock())


def test_a_campaign_of_an_older_version_can_be_looked_at_before_it_is_worked_on(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        campaign.run()
        database = campaign.workdir / "campaign.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE rounds DROP COLUMN preparation")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()
    with Campaign.open(path, clock=FakeClock()) as campaign:
        assert campaign.status()["n_labels"] == 10
        assert {r.preparation for r in campaign.record().rounds} == {None}


def test_check_says_what_is_known_and_refuses_labels_in_another_unit(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path, pool={"kind": f"{HERE}:Known", "known": 3})
    said = {finding.what: finding for finding in check(path)}
    assert said["labels"].message.startswith("3 of 30 candidates have a known label")
    assert not said["labels"].is_fault
    path = tiny_campaign(tmp_path, pool={"kind": f"{HERE}:Known", "known": 3, "unit": "meV"})
    said = {finding.what: finding for finding in check(path)}
    assert said["labels"].message == "the pool's labels are in 'meV', and energy is in 'eV'"
    assert said["labels"].is_fault
    path = tiny_campaign(tmp_path, pool={"kind": f"{HERE}:Known", "known": 30})
    said = {finding.what: finding for finding in check(path)}
    assert said["labels"].is_fault, "nothing is left to ask"


def test_a_misspelled_key_of_the_engine_gets_its_hint(tmp_path: Path) -> None:
    features = {"kind": "active_learning.testing.fakes:TinyFeaturizer", "mising": "impute"}
    with pytest.raises(SpecError, match=r"features\.mising.*Did you mean 'missing'\?"):
        Campaign.create(tiny_campaign(tmp_path, features=features), clock=FakeClock())
