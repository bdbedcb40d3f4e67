"""The featurizer `matminer`: its numbers are matminer's, and what it cannot describe it says."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from matminer.featurizers.composition import ElementProperty
from matminer.featurizers.structure import DensityFeatures
from pydantic import ValidationError
from pymatgen.core.composition import Composition

from active_learning.crystals.ase import from_atoms
from active_learning.crystals.pymatgen import to_structure
from active_learning.domain.candidate import Candidate
from active_learning.errors import ContractError
from active_learning.featurizers import matminer
from active_learning.featurizers.matminer import Matminer


def featurizer(*sets: str) -> Matminer:
    return Matminer(Matminer.Options(sets=sets))


def column(block, names: tuple[str, ...], name: str) -> np.ndarray:
    return block.values[:, names.index(name)]


def test_the_default_sets_are_magpie_and_density_under_matminers_names() -> None:
    built = Matminer(Matminer.Options())
    labels = ElementProperty.from_preset("magpie").feature_labels() + DensityFeatures().feature_labels()
    assert built.names == tuple(labels)
    assert len(built.names) == 135


def test_sets_come_in_the_order_they_are_named() -> None:
    assert featurizer("density", "magpie").names[:3] == ("density", "vpa", "packing fraction")


@pytest.mark.parametrize("amounts", [{"Al": 2.0, "Cu": 6.0}, {"Li": 7.0, "Fe": 1.0, "O": 12.0}, {"Ni": 0.5, "Pt": 0.5}])
def test_magpie_values_are_matminers(amounts: dict[str, float]) -> None:
    ours = featurizer("magpie").featurize([Candidate(amounts)])
    theirs = ElementProperty.from_preset("magpie").featurize(Composition(amounts))
    assert ours.values[0] == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def test_magpie_values_are_those_worked_out_by_hand() -> None:
    built = featurizer("magpie")
    block = built.featurize([Candidate({"Al": 1.0, "Cu": 3.0})])
    for statistic, value in {
        "minimum": 13,
        "maximum": 29,
        "range": 16,
        "mean": 25,
        "avg_dev": 0.25 * 12 + 0.75 * 4,
        "mode": 29,
    }.items():
        assert column(block, built.names, f"MagpieData {statistic} Number") == pytest.approx([value])


def test_density_is_mass_over_volume() -> None:
    built = featurizer("density")
    block = built.featurize([Candidate.of(from_atoms(bulk("Cu", a=3.615)))])
    assert column(block, built.names, "density") == pytest.approx([63.546 * 4 / (0.602214076 * 3.615**3)], rel=1e-6)
    assert column(block, built.names, "vpa") == pytest.approx([3.615**3 / 4])


def test_polymorphs_of_one_formula_share_magpie_and_differ_in_density() -> None:
    iron = [Candidate.of(from_atoms(bulk("Fe", "bcc", a=2.87))), Candidate.of(from_atoms(bulk("Fe", "fcc", a=3.4)))]
    values = featurizer("magpie", "density").featurize(iron).values
    assert np.array_equal(values[0, :132], values[1, :132])
    assert (values[0, 132:] != values[1, 132:]).all()
    assert values[1, 132:] == pytest.approx(DensityFeatures().featurize(to_structure(iron[1].crystal)))


def test_a_bare_composition_has_no_density_and_says_so() -> None:
    block = featurizer("magpie", "density").featurize([Candidate({"Al": 1.0})])
    assert block.failures == {0: "density needs a crystal, and this is a bare composition"}


def test_an_element_that_the_tables_do_not_know_is_a_failure_that_names_the_feature_and_nothing_is_imputed() -> None:
    block = featurizer("magpie").featurize([Candidate({"He": 1.0, "Al": 1.0}), Candidate({"Al": 1.0})])
    assert list(block.failures) == [0]
    assert "'MagpieData minimum MeltingT' is not a finite number (nor are" in block.failures[0]


def test_a_featurizer_that_raises_costs_its_candidate_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky:
        def feature_labels(self) -> list[str]:
            return ["n"]

        def featurize(self, composition: Composition) -> list[float]:
            if "Cu" in composition:
                raise RuntimeError("copper\nis not for me")
            return [float(len(composition))]

    monkeypatch.setitem(matminer._SETS, "picky", matminer._FeatureSet(Picky, needs_structure=False))
    block = featurizer("picky").featurize([Candidate({"Cu": 1.0}), Candidate({"Al": 1.0, "Ni": 1.0})])
    assert block.failures == {0: "picky: RuntimeError: copper is not for me"}
    assert block.values[1].tolist() == [2.0]


def test_two_sets_that_give_a_feature_of_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(matminer._SETS, "again", matminer._SETS["density"])
    with pytest.raises(ContractError, match="density, again give density, packing fraction, vpa"):
        _ = featurizer("density", "again").names


def test_all_faults_of_the_sets_are_named_at_once_with_what_was_meant() -> None:
    with pytest.raises(ValidationError, match=r"no feature set named 'magpi'. Did you mean 'magpie'\?.*more than once"):
        featurizer("magpi", "density", "density")


def test_no_sets_are_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Matminer.Options(sets=[])
