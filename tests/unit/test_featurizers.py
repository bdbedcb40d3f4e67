"""The featurizer `matminer`: its numbers are matminer's, and what it cannot describe it says."""

from __future__ import annotations

import math
import warnings
from typing import Any

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
from active_learning.errors import UserError
from active_learning.featurizers.matminer import Matminer
from active_learning.featurizers.registry import DESCRIPTORS


def featurizer(*sets: Any, **options: Any) -> Matminer:
    return Matminer(Matminer.Options(sets=sets, **options))


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


def test_a_row_keeps_the_features_that_are_numbers() -> None:
    built = featurizer("magpie", "density")
    block = built.featurize([Candidate({"He": 1.0, "Al": 1.0}), Candidate({"Al": 1.0})])
    assert column(block, built.names, "MagpieData mean Number").tolist() == [7.5, 13.0]
    assert np.isnan(column(block, built.names, "MagpieData mean MeltingT")).tolist() == [True, False]
    assert np.isnan(column(block, built.names, "density")).all()
    assert block.failures[0].startswith("magpie: 'MagpieData minimum MeltingT' is not a finite number (nor are ")
    assert block.failures[0].endswith("; density needs a crystal, and this is a bare composition")
    assert block.failures[1] == "density needs a crystal, and this is a bare composition"


@pytest.mark.parametrize("name", sorted(set(DESCRIPTORS) - {"mp_transport"}))
def test_every_descriptor_of_crystals_says_that_a_bare_composition_has_none(name: str) -> None:
    needed: dict[str, Any] = {
        "given": {"columns": ["price"]},
        "bond_fractions": {"elements": ["Al"]},
        "partial_radial_distribution": {"elements": ["Al"]},
        "soap": {"species": ["Al"], "n_max": 2, "l_max": 1},
    }
    built = featurizer({"name": name, **needed.get(name, {})})
    (part,) = built.parts
    block = built.featurize([Candidate({"Al": 1.0, "Cu": 1.0})])
    if part.of_composition:
        assert np.isfinite(block.values).any() or block.failures
    elif name == "given":
        assert block.failures[0].startswith("given: no 'price' came along with it: the pool 'table' brings")
    else:
        assert block.failures == {0: f"{name} needs a crystal, and this is a bare composition"}
        assert np.isnan(block.values).all()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", ["magpie", "deml", "meredig", "valence_orbital", "band_center", "miedema"])
def test_an_element_that_a_table_does_not_know_is_nan_with_a_reason(name: str, fast: bool) -> None:
    block = featurizer(name, fast=fast).featurize([Candidate({"Og": 1.0}), Candidate({"Al": 1.0, "Ni": 1.0})])
    assert np.isnan(block.values[0]).any()
    assert list(block.failures) == [0]
    assert block.failures[0].startswith(f"{name}: ")


def test_gaps_of_a_table_are_filled_where_the_options_say_so() -> None:
    helium = [Candidate({"He": 1.0, "Al": 1.0})]
    block = featurizer({"name": "magpie", "impute_nan": True}).featurize(helium)
    assert block.failures == {}
    theirs = ElementProperty.from_preset("magpie", impute_nan=True).featurize(Composition("HeAl"))
    assert block.values[0] == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def test_compositions_are_the_same_many_at_once_and_by_matminer_itself(crystals: list[Candidate]) -> None:
    fast, slow = (featurizer("magpie", "stoichiometry", fast=way).featurize(crystals) for way in (True, False))
    np.testing.assert_allclose(fast.values, slow.values, rtol=1e-9, atol=1e-9)
    assert fast.failures == slow.failures


def test_what_may_hang_is_computed_one_candidate_at_a_time() -> None:
    built = featurizer("magpie", "oxidation_states", "density", "crystal_nn", {"name": "given", "columns": ["x"]})
    assert [(part.of_composition, part.is_batched) for part in built.parts] == [
        (True, True),
        (True, False),
        (False, True),
        (False, False),
        (False, True),
    ]


def test_matminers_warnings_are_silenced_here_and_nowhere_else(crystals: list[Candidate]) -> None:
    before = list(warnings.filters)
    assert featurizer("crystal_nn").featurize(crystals[:2]).failures == {}
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", stacklevel=1)


def test_a_label_names_a_part_and_begins_its_features_names() -> None:
    built = featurizer("radial_distribution", {"name": "radial_distribution", "cutoff": 2.0, "label": "near"})
    assert [part.label for part in built.parts] == ["radial_distribution", "near"]
    assert built.names[0] == "rdf [0.00000 - 0.25000]A"
    assert built.names[24:26] == ("near: rdf [0.00000 - 0.25000]A", "near: rdf [0.25000 - 0.50000]A")
    values = built.featurize([Candidate.of(from_atoms(bulk("Cu", a=3.615)))]).values[0]
    assert values[:8] == pytest.approx(values[24:])


def test_two_descriptors_that_give_a_feature_of_the_same_name_are_refused_with_the_remedy() -> None:
    with pytest.raises(
        UserError, match="Both 'valence_orbital' and 'meredig' give a feature 'avg s valence electrons'"
    ):
        _ = featurizer("valence_orbital", "meredig").names
    labeled = featurizer("valence_orbital", {"name": "meredig", "label": "meredig"})
    assert len(set(labeled.names)) == 8 + 135


def test_descriptors_that_share_a_name_are_refused_before_one_of_them_is_computed() -> None:
    with pytest.raises(UserError, match="Both 'yang_solid_solution' and 'wen_alloys' give a feature 'Yang delta'"):
        _ = featurizer("yang_solid_solution", "wen_alloys").parts


def test_all_faults_of_the_sets_are_named_at_once_with_what_was_meant() -> None:
    with pytest.raises(ValidationError) as caught:
        featurizer("magpi", "density", {"name": "voronoi", "cutof": 5.0, "symm_weights": "mass"}, 7)
    messages = {error["loc"]: error["msg"] for error in caught.value.errors()}
    assert messages == {
        ("sets", 0): "Value error, no descriptor named 'magpi'. Did you mean 'magpie'?",
        ("sets", 2): "Value error, voronoi: symm_weights: Input should be 'solid_angle', 'area', 'volume' or"
        " 'face_dist', got 'mass'; voronoi has no option 'cutof'. Did you mean 'cutoff'?",
        ("sets", 3): "Value error, a descriptor is a name or a table with a name and options, not 7",
    }


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("CrystalNNFingerprint", "no descriptor named 'CrystalNNFingerprint'. Did you mean 'crystal_nn'"),
        ("qwxz", "no descriptor named 'qwxz'. There are: magpie, deml, .*its import path"),
        ({"cutoff": 3.0}, "a descriptor is a name, or a table with a name"),
        ({"name": "radial_distribution", "cutoff": -1.0}, "cutoff: Input should be greater than 0, got -1.0"),
        ({"name": "radial_distribution", "bin_size": 0.0}, "bin_size: .* greater than or equal to 0.01, got 0.0"),
        ({"name": "element_property", "preset": "magpy"}, "preset: Input should be 'magpie', .*got 'magpy'"),
        ({"name": "density", "zz": 1}, "density has no option 'zz'. It has: label"),
        ({"name": "voronoi", "stats": ["average"]}, "no statistic named 'average'; there are: minimum, maximum"),
        ({"name": "voronoi", "stats": ["holder_mean"]}, "write it with a number, such as 'holder_mean::2'"),
        ({"name": "bond_fractions"}, "needs the option 'elements': .*; write { name = 'bond_fractions', elements = "),
        ("nowhere:Mine", "Value error, nowhere:Mine: there is no module 'nowhere'"),
        ({"name": "bond_fractions", "elements": ["Xx"]}, "no such element: 'Xx'"),
        ({"name": "given", "columns": ["a", "a"]}, "named more than once: a"),
        ({"name": "soap"}, "the elements must be known in advance"),
        ({"name": "crystal_nn", "label": ""}, "label: .* at least 1 character"),
    ],
)
def test_a_faulty_descriptor_is_refused_with_what_is_allowed(item: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        featurizer(item)


def test_the_same_descriptor_twice_needs_a_label() -> None:
    with pytest.raises(ValidationError, match="'density' is there 2 times: give each a label of its own"):
        featurizer("density", {"name": "density"})


def test_a_property_that_a_table_does_not_have_is_refused() -> None:
    built = featurizer({"name": "element_property", "features": ["Numbr"]}, fast=False)
    with pytest.raises(UserError, match=r"MagpieData has no property 'Numbr'\. Did you mean 'Number'\?"):
        _ = built.names


def test_no_sets_are_refused() -> None:
    with pytest.raises(ValidationError, match="name at least one descriptor, such as 'magpie'"):
        Matminer.Options(sets=[])


def test_where_no_item_is_right_nobody_complains_that_there_is_none() -> None:
    with pytest.raises(ValidationError) as caught:
        featurizer("densty")
    assert [error["loc"] for error in caught.value.errors()] == [("sets", 0)]


@pytest.mark.parametrize("name", sorted(DESCRIPTORS))
def test_every_descriptor_and_every_option_is_described(name: str) -> None:
    model = DESCRIPTORS[name]
    assert model.__doc__
    assert [option for option, field in model.model_fields.items() if not field.description] == []


def test_given_numbers_are_taken_as_they_came_and_a_missing_one_is_a_reason() -> None:
    built = featurizer({"name": "given", "columns": ["gap", "price"]})
    assert built.names == ("gap", "price")
    block = built.featurize(
        [
            Candidate({"Al": 1.0}, given={"gap": 0.5, "price": 2.0}),
            Candidate({"Ni": 1.0}, given={"gap": 0.25}),
            Candidate({"Cu": 1.0}, given={"gap": math.nan, "price": math.nan}),
        ]
    )
    np.testing.assert_array_equal(block.values, [[0.5, 2.0], [0.25, math.nan], [math.nan, math.nan]])
    assert block.failures == {
        1: "given: no 'price' came along with it: the pool 'table' brings the columns that its `descriptors` name",
        2: "given: 'gap' is empty in its row (and 1 more)",
    }
