"""The pool `substitution`: which ions, which substitutions, at which volume, and what is dropped."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from pymatgen.analysis.bond_valence import BVAnalyzer
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.analysis.structure_prediction.substitution_probability import SubstitutionPredictor
from pymatgen.analysis.structure_prediction.substitutor import Substitutor
from pymatgen.analysis.structure_prediction.volume_predictor import RLSVolumePredictor
from pymatgen.core import Composition, Lattice, Species, Structure

from active_learning.crystals.geometry import volume_of
from active_learning.crystals.pymatgen import from_structure, to_structure
from active_learning.crystals.sizes import estimated_volume
from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.errors import ContractError, UserError
from active_learning.pools.ions import ions_of, likely_substitutions, volume_by_radii
from active_learning.pools.substitution import Substitution


def rocksalt(a: float, cation: str, anion: str) -> Structure:
    conventional = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return conventional.get_primitive_structure()


HALITE = rocksalt(5.640, "Na", "Cl")
PERICLASE = rocksalt(4.212, "Mg", "O")
COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
MAGNETITE = Structure.from_spacegroup(
    "Fd-3m:2",
    Lattice.cubic(8.396),
    ["Fe", "Fe", "O"],
    [[0.125, 0.125, 0.125], [0.5, 0.5, 0.5], [0.2549, 0.2549, 0.2549]],
).get_primitive_structure()


def written(folder: Path, **structures: Structure) -> Path:
    folder.mkdir(exist_ok=True)
    for name, structure in structures.items():
        structure.to(str(folder / f"{name}.vasp"), fmt="poscar")
    return folder


def read(path: Path, **options: object) -> tuple[list[Candidate], list[Dropped]]:
    items = list(Substitution(Substitution.Options.model_validate({"path": path, **options})).read())
    return [i for i in items if isinstance(i, Candidate)], [i for i in items if isinstance(i, Dropped)]


def crystal_of(candidate: Candidate) -> Crystal:
    assert candidate.crystal is not None
    return candidate.crystal


def by_formula(candidates: list[Candidate]) -> dict[str, Candidate]:
    return {candidate.formula: candidate for candidate in candidates}


@pytest.mark.parametrize(
    ("ions", "threshold"),
    [({"Na+": 1, "Cl-": 1}, 1e-2), ({"Na+": 1, "Cl-": 1}, 1e-3), ({"Fe3+": 2, "O2-": 3}, 3e-3)],
)
def test_substitutions_and_their_probabilities_are_pymatgens(ions: dict[str, int], threshold: float) -> None:
    amounts = {Species.from_str(ion): n for ion, n in ions.items()}
    ours = likely_substitutions(amounts, threshold)
    theirs = Substitutor(threshold=threshold).pred_from_comp(Composition(amounts))
    expected = {
        tuple(new[ion] for ion in amounts): p["probability"]
        for p in theirs
        if len(set((new := p["substitutions"]).values())) == len(amounts) and any(new[ion] != ion for ion in amounts)
    }
    assert len(ours) > 3
    assert {tuple(new[ion] for ion in amounts): p for p, new in ours} == pytest.approx(expected)
    assert [p for p, _ in ours] == sorted((p for p, _ in ours), reverse=True)


def test_the_substitution_predictor_gives_the_same_numbers() -> None:
    amounts = {Species("Ca", 2): 1, Species("F", -1): 2}
    predictor = SubstitutionPredictor(threshold=5e-3)
    theirs = predictor.composition_prediction(Composition(amounts), to_this_composition=True)
    # It maps new ions to old ones, and has the one in which all stay.
    expected = {frozenset(p["substitutions"].items()): p["probability"] for p in theirs}
    expected.pop(frozenset((ion, ion) for ion in amounts))
    ours = {
        frozenset((new, old) for old, new in changes.items()): p for p, changes in likely_substitutions(amounts, 5e-3)
    }
    assert len(ours) >= 3
    assert ours == pytest.approx(expected)


def test_with_elements_named_the_substitutions_are_those_of_all_that_hold_them_alone() -> None:
    amounts = {Species("Sr", 2): 1, Species("Ti", 4): 1, Species("O", -2): 3}
    elements = {"Ca", "Ba", "Sr", "Zr", "Ti", "O"}
    everything = likely_substitutions(amounts, 1e-3)
    some = likely_substitutions(amounts, 1e-3, elements)
    assert some == [(p, new) for p, new in everything if elements.issuperset(ion.symbol for ion in new.values())]
    assert 0 < len(some) < len(everything)
    assert likely_substitutions(amounts, 1e-3, {"Cu"}) == []


def test_an_ion_of_which_nothing_is_known_is_named() -> None:
    with pytest.raises(ContractError, match=r"no substitutions known: none of Cu0\+"):
        likely_substitutions({Species("Cu", 0): 1}, 1e-3)


def test_ions_are_found_by_bonds_or_by_formula() -> None:
    assert Counter(map(str, ions_of(from_structure(MAGNETITE), "bonds"))) == {"Fe3+": 4, "Fe2+": 2, "O2-": 8}
    assert Counter(map(str, ions_of(from_structure(PEROVSKITE), "formula"))) == {"Sr2+": 1, "Ti4+": 1, "O2-": 3}
    with pytest.raises(ContractError, match="no oxidation states: its formula fit no known ones"):
        ions_of(from_structure(MAGNETITE), "formula")
    stretched = from_structure(rocksalt(9.0, "Na", "Cl"))
    assert Counter(map(str, ions_of(stretched))) == {"Na+": 1, "Cl-": 1}


def test_children_have_their_parents_structure_other_ions_and_say_so(tmp_path: Path) -> None:
    candidates, _ = read(written(tmp_path, halite=HALITE), elements=["Na", "K", "Cl", "Br"])
    assert [c.formula for c in candidates] == ["ClK", "BrNa", "BrK"]
    origin = "halite.vasp: K+ for Na+ (probability 0.019)"
    assert candidates[0].origin == origin
    assert StructureMatcher().fit_anonymous(to_structure(crystal_of(candidates[0])), HALITE)
    table = Substitutor()._sp
    stay = table.cond_prob(Species("Cl", -1), Species("Cl", -1))
    assert table.cond_prob(Species("K", 1), Species("Na", 1)) * stay == pytest.approx(0.019, rel=0.02)


def test_sites_of_one_element_with_different_charges_are_replaced_apart(tmp_path: Path) -> None:
    candidates, _ = read(written(tmp_path, magnetite=MAGNETITE), elements=["Fe", "Mg", "Al", "O"])
    assert {"Al2MgO4", "Fe2MgO4", "Al2FeO4"} == by_formula(candidates).keys()


@pytest.mark.parametrize(
    ("parent", "child", "a"),
    [(HALITE, "ClK", 6.293), (HALITE, "BrNa", 5.977), (HALITE, "FNa", 4.634), (PERICLASE, "CaO", 4.811)],
)
def test_volumes_by_radii_of_ions_are_near_the_measured_ones(
    parent: Structure, child: str, a: float, tmp_path: Path
) -> None:
    candidates, _ = read(written(tmp_path, parent=parent))
    assert volume_of(crystal_of(by_formula(candidates)[child])) == pytest.approx(a**3 / 4, rel=0.05)


def test_volumes_by_radii_are_those_of_pymatgens_predictor() -> None:
    new = [Species("K", 1), Species("Br", -1)]
    old = [Species("Na", 1), Species("Cl", -1)]
    decorated = Structure(HALITE.lattice, old, HALITE.frac_coords)
    child = Structure(HALITE.lattice, new, HALITE.frac_coords)
    expected = RLSVolumePredictor(check_isostructural=False).predict(child, decorated)
    assert volume_by_radii(from_structure(HALITE), old, new) == pytest.approx(expected)
    assert volume_by_radii(from_structure(HALITE), old, [Species("Sn", 2), Species("O", -2)]) is None


def test_other_volumes_can_be_asked_for_and_a_missing_radius_is_said(tmp_path: Path) -> None:
    folder = written(tmp_path, periclase=PERICLASE)
    own, _ = read(folder, volume="parent", min_distance=0)
    assert all(volume_of(crystal_of(c)) == pytest.approx(PERICLASE.volume) for c in own)
    estimated, _ = read(folder, volume="estimate")
    assert all(volume_of(crystal_of(c)) == pytest.approx(estimated_volume(crystal_of(c))) for c in estimated)
    by_ions, _ = read(folder)
    said = [c for c in by_ions if c.origin.endswith(", volume estimated: the radius of an ion is not known")]
    assert "OSn" in by_formula(said)
    assert all(volume_of(crystal_of(c)) == pytest.approx(estimated_volume(crystal_of(c))) for c in said)


def test_the_likeliest_comes_first_and_at_most_so_many_of_each_structure(tmp_path: Path) -> None:
    folder = written(tmp_path, halite=HALITE, periclase=PERICLASE)
    candidates, _ = read(folder)
    probabilities = [float(c.origin.split("probability ")[1].split(")")[0]) for c in candidates]
    assert probabilities == sorted(probabilities, reverse=True)
    assert min(probabilities) >= 1e-3
    few, _ = read(folder, max_per_structure=3)
    assert Counter(c.origin.split(":")[0] for c in few) == {"halite.vasp": 3, "periclase.vasp": 3}
    assert {c.id for c in few} <= {c.id for c in candidates}
    assert len(read(folder, threshold=1e-2)[0]) == sum(p > 1e-2 for p in probabilities)


def test_results_that_are_one_of_the_structures_or_an_earlier_result_are_duplicates(tmp_path: Path) -> None:
    elements = ["Na", "K", "Mg", "Ca", "Cl", "O"]
    candidates, dropped = read(written(tmp_path, halite=HALITE, periclase=PERICLASE), elements=elements)
    assert "MgO" not in by_formula(candidates)
    assert "ClNa" not in by_formula(candidates)
    assert len(by_formula(candidates)) == len(candidates)
    reasons = {d.source.split(" (")[0]: d.reason for d in dropped}
    assert reasons["periclase.vasp: Na+ for Mg2+, Cl- for O2-"] == "duplicate: the same structure as halite.vasp"
    again = "duplicate: the same structure as periclase.vasp: Ca2+ for Mg2+ (probability 0.0214)"
    assert reasons["halite.vasp: O2- for Cl-, Ca2+ for Na+"] == again
    kept, _ = read(tmp_path, elements=elements, drop_duplicates=False)
    assert {"MgO", "ClNa"} <= by_formula(kept).keys()


def test_a_structure_without_oxidation_states_or_likely_substitutions_costs_itself_only(tmp_path: Path) -> None:
    alone, _ = read(written(tmp_path / "one", halite=HALITE))
    alloy = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.7), ["Cu", "Au"], [[0, 0, 0], [0, 0.5, 0.5]])
    folder = written(tmp_path / "many", halite=HALITE, copper=COPPER, alloy=alloy)
    (folder / "broken.cif").write_text("data_x\n_atom_site_fract_x\nnonsense\n", encoding="utf-8")
    candidates, dropped = read(folder)
    assert [c.id for c in candidates] == [c.id for c in alone]
    kinds = {d.source: d.kind for d in dropped if "probability" not in d.source}
    assert kinds.keys() == {"alloy.vasp", "broken.cif", "copper.vasp"}
    assert kinds["alloy.vasp"] == "no oxidation states"
    assert kinds["copper.vasp"] == "no substitutions known"
    _, dropped = read(folder, elements=["Na", "Cl"])
    assert Dropped("halite.vasp", "no likely substitution: none above threshold = 0.001") in dropped


def test_sizes_apply_to_the_structures(tmp_path: Path) -> None:
    candidates, dropped = read(written(tmp_path, halite=HALITE, perovskite=PEROVSKITE), max_atoms=4)
    assert {len(crystal_of(c).species) for c in candidates} == {2}
    assert Dropped("perovskite.vasp", "too many atoms: 5, more than max_atoms = 4") in dropped


def test_no_structures_at_all_are_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no file of a known kind"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "x", "threshold": 0.0}, "greater than or equal to 0.000001|greater than or equal to 1e-06"),
        ({"path": "x", "threshold": 1.0}, "less than 1"),
        ({"path": "x", "max_per_structure": 0}, "greater than or equal to 1"),
        ({"path": "x", "oxidation_states": "magic"}, "'bonds_or_formula', 'bonds' or 'formula'"),
        ({"path": "x", "volume": "prototype"}, "'ions', 'estimate', 'vegard', 'contact', 'dls' or 'parent'"),
        ({"path": "x", "elements": ["Na", "Xx"]}, "no such element: 'Xx'"),
        ({}, "path\n  Field required"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Substitution.Options.model_validate(options)


ALMOST_SYMMETRIC = Structure(
    [[-4.241457, 0.0, 0.0], [-1.570822, -3.963611, 0.0], [-0.054, -0.101361, 7.67879]],
    ["Ag"] * 4 + ["S"] * 2,
    [
        [0.763461, 0.720585, 0.73929],
        [0.369517, 0.321353, 0.971102],
        [0.154253, 0.119195, 0.506593],
        [0.755153, 0.714465, 0.238191],
        [0.543361, 0.510981, 0.492555],
        [0.976755, 0.92592, 0.989771],
    ],
)
"""Ag2S, mp-32884 of the Alexandria phonons (matcalc's benchmark data, BSD-3), of whose symmetry spglib is in doubt."""


def test_what_spglib_writes_to_the_terminal_by_itself_is_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    def heard(look: Callable[[], object]) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            look()
        return capfd.readouterr().err

    def directly(symm_tol: float) -> str:
        # Another tolerance each time: pymatgen remembers what it asked.
        return heard(lambda: BVAnalyzer(symm_tol=symm_tol).get_valences(ALMOST_SYMMETRIC))

    assert "spglib: " in directly(0.1001)
    assert heard(lambda: ions_of(from_structure(ALMOST_SYMMETRIC))) == ""
    assert "spglib: " in directly(0.1002)
