"""Descriptors by import path: matminer's others, and a user's own beside the campaign file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matminer.featurizers.composition import YangSolidSolution
from matminer.featurizers.site import ChemEnvSiteFingerprint, IntersticeDistribution
from matminer.featurizers.structure import GlobalSymmetryFeatures, SiteStatsFingerprint
from matminer.featurizers.structure.misc import EwaldEnergy
from pydantic import ValidationError
from pymatgen.core.composition import Composition
from pymatgen.core.structure import Structure

from active_learning.domain.candidate import Candidate
from active_learning.errors import UserError
from active_learning.featurizers.matminer import Matminer

_OWN = """
from matminer.featurizers.base import BaseFeaturizer
from pymatgen.core import Composition


class Elements(BaseFeaturizer):
    def __init__(self, power=1):
        self.power = power

    def feature_labels(self):
        return ["n", "heaviest"]

    def featurize(self, composition: Composition):
        if "Cu" in composition:
            raise RuntimeError("copper\\nis not for me")
        return [len(composition) ** self.power, max(e.Z for e in composition)]

    def citations(self):
        return []

    def implementors(self):
        return []


class Doubtful(Elements):
    def featurize(self, x):
        return [x.num_sites, x.volume]


class Greedy(Elements):
    def __init__(self, needed):
        raise RuntimeError("nothing works")


class Longer(Elements):
    def featurize(self, composition):
        return [1.0, 2.0, 3.0]


class NotOne:
    pass
"""


def featurizer(*sets: Any) -> Matminer:
    return Matminer(Matminer.Options(sets=sets))


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_featurizers.py").write_text(_OWN, encoding="utf-8")
    (tmp_path / "broken_featurizers.py").write_text("import nowhere_to_be_found", encoding="utf-8")
    (tmp_path / "wrong_featurizers.py").write_text("1 +", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("separator", [":", "."])
def test_a_featurizer_of_compositions(separator: str) -> None:
    built = featurizer({"name": f"matminer.featurizers.composition{separator}YangSolidSolution", "impute_nan": False})
    assert [(part.label, part.of_composition) for part in built.parts] == [("YangSolidSolution", True)]
    values = built.featurize([Candidate({"Al": 1.0, "Ni": 3.0})]).values[0]
    assert values == pytest.approx(YangSolidSolution(impute_nan=False).featurize(Composition("AlNi3")))


def test_a_featurizer_of_crystals_with_some_of_its_columns(
    crystals: list[Candidate], structures: list[Structure]
) -> None:
    path = "matminer.featurizers.structure:GlobalSymmetryFeatures"
    built = featurizer({"name": path, "columns": ["n_symmetry_ops", "spacegroup_num"]})
    assert built.names == ("n_symmetry_ops", "spacegroup_num")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [GlobalSymmetryFeatures().featurize(structure) for structure in structures[:10]]
    expected = [[row[4], row[0]] for row in theirs]
    np.testing.assert_array_equal(built.featurize(crystals[:10]).values, expected)


def test_text_among_its_features_is_no_number_and_says_so(crystals: list[Candidate]) -> None:
    built = featurizer("matminer.featurizers.structure:GlobalSymmetryFeatures")
    block = built.featurize(crystals[:1])
    assert np.isnan(block.values[0]).tolist() == [False, True, False, False, False]
    assert block.failures == {0: "GlobalSymmetryFeatures: 'crystal_system' is not a finite number"}


def test_a_featurizer_of_sites_becomes_statistics_over_the_sites(
    crystals: list[Candidate], structures: list[Structure]
) -> None:
    path = "matminer.featurizers.site:IntersticeDistribution"
    built = featurizer({"name": path, "interstice_types": ["dist"], "impute_nan": False, "stats": ["mean", "maximum"]})
    theirs = SiteStatsFingerprint(
        IntersticeDistribution(interstice_types=["dist"], impute_nan=False), ["mean", "maximum"]
    )
    assert built.names == tuple(theirs.feature_labels())
    block = built.featurize(crystals[5:8])
    np.testing.assert_allclose(block.values, [theirs.featurize(s) for s in structures[5:8]], rtol=1e-9)


def test_a_featurizer_by_its_preset(crystals: list[Candidate], structures: list[Structure]) -> None:
    built = featurizer({"name": "matminer.featurizers.site:ChemEnvSiteFingerprint", "preset": "simple"})
    theirs = SiteStatsFingerprint(ChemEnvSiteFingerprint.from_preset("simple"))
    assert built.featurize(crystals[:1]).values[0] == pytest.approx(theirs.featurize(structures[0]), rel=1e-9)


def test_oxidation_states_are_guessed_where_the_options_say_so(
    crystals: list[Candidate], structures: list[Structure]
) -> None:
    path = "matminer.featurizers.structure.misc.EwaldEnergy"
    bare, charged = featurizer(path), featurizer({"name": path, "oxidation_states": True})
    assert "oxidation state decorated" in bare.featurize(crystals[10:11]).failures[0]
    structure = structures[10].copy()
    structure.add_oxidation_state_by_guess()
    assert charged.featurize(crystals[10:11]).values[0] == pytest.approx(EwaldEnergy().featurize(structure))


@pytest.mark.usefixtures("beside")
def test_a_users_own_beside_the_campaign_file() -> None:
    built = featurizer("magpie", {"name": "own_featurizers:Elements", "power": 2, "label": "mine"})
    assert built.names[-2:] == ("mine: n", "mine: heaviest")
    block = built.featurize([Candidate({"Al": 1.0, "Ni": 1.0}), Candidate({"Cu": 1.0})])
    assert block.values[0, -2:].tolist() == [4.0, 28.0]
    assert block.failures == {1: "mine: RuntimeError: copper is not for me"}


@pytest.mark.usefixtures("beside")
def test_one_that_gives_more_features_than_it_names_is_a_failure() -> None:
    block = featurizer({"name": "own_featurizers:Longer"}).featurize([Candidate({"Al": 1.0})])
    assert block.failures == {0: "Longer: gave 3 features instead of 2"}


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("nowhere.to:Be", "nowhere.to:Be: there is no module 'nowhere'"),
        ("broken_featurizers:Any", "there is no module 'nowhere_to_be_found'"),
        ("wrong_featurizers:Any", "importing wrong_featurizers raised SyntaxError"),
        ("own_featurizers:Element", "has no 'Element'. Did you mean 'Elements'"),
        ("own_featurizers:Qwxz", "has no 'Qwxz'. Its featurizers: BaseFeaturizer, Doubtful, Elements"),
        ("own_featurizers:NotOne", "is not a featurizer: a class with the methods featurize and feature_labels"),
        ("own_featurizers:", "is no import path; write it as 'module:Class'"),
        ("own_featurizers:Doubtful", "it cannot be seen whether own_featurizers:Doubtful looks at a composition"),
        ({"name": "own_featurizers:Elements", "powr": 2}, "has no argument 'powr'. Did you mean 'power'"),
        ({"name": "own_featurizers:Elements", "takes": "molecule"}, "takes: Input should be 'composition'"),
        ({"name": "own_featurizers:Elements", "preset": "all"}, "own_featurizers:Elements has no presets"),
        ("own_featurizers:Greedy", "own_featurizers:Greedy needs needed"),
        (
            {"name": "matminer.featurizers.site:AGNIFingerprints", "stats": ["average"]},
            "no statistic named 'average'",
        ),
    ],
)
def test_what_is_wrong_with_an_import_path_is_said_before_anything_runs(item: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        featurizer(item)


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"name": "own_featurizers:Greedy", "needed": 1}, "'own_featurizers:Greedy' cannot be built: .*nothing works"),
        ({"name": "own_featurizers:Elements", "columns": ["N"]}, "Elements has no feature 'N'. It has: n, heaviest"),
        ("matminer.featurizers.structure:BagofBonds", "'matminer.featurizers.structure:BagofBonds' must be fitted"),
    ],
)
def test_what_cannot_be_built_is_the_users_to_change(item: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _ = featurizer(item).names


@pytest.mark.usefixtures("beside")
def test_what_it_looks_at_may_be_said(crystals: list[Candidate], structures: list[Structure]) -> None:
    built = featurizer({"name": "own_featurizers:Doubtful", "takes": "crystal"})
    assert built.featurize(crystals[:1]).values[0] == pytest.approx([structures[0].num_sites, structures[0].volume])
