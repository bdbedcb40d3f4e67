"""The labeler `ase` and its job."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, SCFError, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.data import chemical_symbols
from ase.eos import EquationOfState as AseEquationOfState
from ase.filters import StrainFilter
from ase.optimize import BFGSLineSearch
from ase.units import GPa
from hypothesis import given
from hypothesis import strategies as st

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.job import Resources
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.domain.protocols import References
from active_learning.errors import ContractError, UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute
from active_learning.labelers.ase import Ase
from active_learning.labelers.equation_of_state import fit_birch_murnaghan


def l1_2(one: str, three: str, a: float, **kwargs: Any) -> Atoms:
    sites = [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    return Atoms([one, three, three, three], scaled_positions=sites, cell=[a] * 3, pbc=True, **kwargs)


def ase(calculator: str = "emt", **rest: Any) -> Ase:
    return Ase(Ase.Options.model_validate({"calculator": calculator} | rest))


def label(labeler: Ase, atoms: Atoms | Candidate, folder: Path) -> Measurement | Failure:
    candidate = atoms if isinstance(atoms, Candidate) else Candidate.of(from_atoms(atoms))
    directory = JobDirectory(folder / candidate.id)
    directory.prepare(labeler.prepare(candidate), "job", Resources(60.0))
    execute(directory.path)
    return labeler.parse(directory.path)


def measured(labeler: Ase, atoms: Atoms | Candidate, folder: Path) -> Measurement:
    found = label(labeler, atoms, folder)
    assert isinstance(found, Measurement), found
    return found


class Scripted(Calculator):
    """A calculator whose energy is a function of the volume, and which can misbehave."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, energy: float | str | None = None, stress: float = 0.0, raises: str = "") -> None:
        super().__init__()
        self._energy, self._stress, self._raises = None if energy is None else float(energy), stress, raises
        self._n_calls = 0

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self._n_calls += 1
        errors = {"scf": SCFError("after 60 cycles"), "memory": MemoryError("12 GB"), "crash": ValueError("two\nlines")}
        if self._raises == "later" and self._n_calls > 2:
            self._energy = float("nan")
        elif self._raises in errors:
            raise errors[self._raises]
        energy = float(atoms.get_volume()) * 6 * self._stress if self._energy is None else self._energy
        forces = np.full((len(atoms), 3), 0.0 if np.isfinite(energy) else np.nan)
        stress = np.array([self._stress] * 3 + [0.0] * 3)
        self.results = {"energy": energy, "forces": forces, "stress": stress}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("scripted_calculators")
    module.Scripted = Scripted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return "scripted_calculators:Scripted"


def test_an_energy_is_that_of_the_calculator(tmp_path: Path) -> None:
    atoms = l1_2("Au", "Cu", 3.75)
    found = measured(ase(), atoms, tmp_path)
    atoms.calc = EMT()
    assert found.values["energy_per_atom"] == (pytest.approx(atoms.get_potential_energy() / 4, abs=1e-12), "eV/atom")
    assert found.values["volume_per_atom"] == (pytest.approx(3.75**3 / 4), "Angstrom^3/atom")
    assert set(found.values) == {"energy_per_atom", "volume_per_atom"}
    assert found.fidelity == "emt"


def test_options_reach_the_calculator(tmp_path: Path) -> None:
    options = {"sigma": 2.3, "epsilon": 0.4, "rc": 6.0}
    found = measured(ase("lj", calculator_options=options, fidelity="toy"), bulk("Cu"), tmp_path)
    atoms = bulk("Cu")
    atoms.calc = LennardJones(**options)
    assert found.values["energy_per_atom"][0] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    assert found.fidelity == "toy"
    assert found.provenance["calculator_options"] == options


def test_a_relaxed_cell_is_where_another_optimizer_ends(tmp_path: Path) -> None:
    start = l1_2("Ni", "Al", 3.9)
    found = measured(ase(relax="cell", fmax=0.001), start, tmp_path)
    reference = start.copy()
    reference.calc = EMT()
    # By symmetry only the strain is free: an independent filter and optimizer.
    BFGSLineSearch(StrainFilter(reference), logfile=None).run(fmax=1e-5, steps=200)
    assert found.values["energy_per_atom"][0] == pytest.approx(reference.get_potential_energy() / 4, abs=1e-5)
    assert found.values["volume_per_atom"][0] == pytest.approx(reference.get_volume() / 4, rel=2e-3)
    assert found.provenance["max_force_ev_per_angstrom"] <= 0.001
    assert found.provenance["crystal_key"] == "Al3Ni|221|Al:c Ni:a"
    final = Crystal.from_json(found.provenance["crystal"])
    assert np.linalg.det(final.lattice) / 4 == pytest.approx(found.values["volume_per_atom"][0])


def test_relaxing_positions_keeps_the_cell(tmp_path: Path) -> None:
    start = l1_2("Ni", "Al", 3.9)
    start.rattle(0.1, seed=3)
    found = measured(ase(relax="positions"), start, tmp_path)
    assert found.values["volume_per_atom"][0] == pytest.approx(3.9**3 / 4)
    start.calc = EMT()
    assert found.values["energy_per_atom"][0] < start.get_potential_energy() / 4 - 0.01
    assert found.provenance["n_steps"] > 0


def test_an_ideal_crystal_needs_no_step(tmp_path: Path) -> None:
    found = measured(ase(relax="positions"), bulk("Cu"), tmp_path)
    assert found.provenance["n_steps"] == 0


def test_provenance_tells_how_the_number_came_about(tmp_path: Path) -> None:
    found = measured(ase(relax="cell"), bulk("Cu"), tmp_path)
    told = found.provenance
    assert {key: told[key] for key in ("code", "calculator", "calculator_options", "relax", "fmax", "max_steps")} == {
        "code": "ase", "calculator": "emt", "calculator_options": {}, "relax": "cell", "fmax": 0.02, "max_steps": 300
    }  # fmt: skip
    assert told["version"].startswith("3.")
    assert told["wall_s"] > 0
    json.dumps(dict(told), allow_nan=False)


def test_a_formation_energy_is_measured_against_the_elements_by_the_same_settings(tmp_path: Path) -> None:
    labeler = ase(relax="cell", fmax=0.005).for_property("formation_energy_per_atom")
    assert isinstance(labeler, References)
    crystals = labeler.references(["Au", "Cu"])
    energies = {
        element: measured(labeler.for_property("energy_per_atom"), crystal, tmp_path)
        for element, crystal in crystals.items()
    }
    found = measured(labeler.with_references(energies), l1_2("Au", "Cu", 3.75), tmp_path)
    e_au, e_cu = (energies[element].values["energy_per_atom"][0] for element in ("Au", "Cu"))
    expected = found.values["energy_per_atom"][0] - 0.25 * e_au - 0.75 * e_cu
    assert found.values["formation_energy_per_atom"] == (pytest.approx(expected, abs=1e-12), "eV/atom")
    # An element against itself is zero.
    zero = measured(labeler.with_references(energies), crystals["Cu"], tmp_path / "zero")
    assert zero.values["formation_energy_per_atom"][0] == pytest.approx(0.0, abs=1e-12)


def test_a_formation_energy_without_references_is_a_broken_contract() -> None:
    labeler = ase(references={"Au": 0.0}).for_property("formation_energy_per_atom")
    with pytest.raises(ContractError, match="needs the elements' energies first: Cu"):
        labeler.prepare(Candidate.of(from_atoms(l1_2("Au", "Cu", 3.75))))


def test_energies_that_the_user_gives_are_not_computed() -> None:
    labeler = ase("lj", references={"O": -4.93, "H": -3.4}).for_property("formation_energy_per_atom")
    assert set(labeler.references(["H", "Cu", "O"])) == {"Cu"}
    given = ase("lj", references={"Cu": -1.0}).for_property("formation_energy_per_atom")
    assert given.references(["Cu"]) == {}
    assert given.prepare(Candidate.of(from_atoms(bulk("Cu")))).inputs["references"] == {"Cu": -1.0}


def test_other_properties_need_no_references() -> None:
    for name in ("energy_per_atom", "volume_per_atom", "bulk_modulus"):
        labeler = ase().for_property(name)
        assert labeler.references(["H", "O"]) == {}
        assert labeler.prepare(Candidate.of(from_atoms(bulk("Cu")))).inputs["references"] is None


def test_elements_without_a_known_crystal_are_all_named_with_the_ways_out() -> None:
    labeler = ase("lj").for_property("formation_energy_per_atom")
    with pytest.raises(UserError, match=r"known for O, Mn, U\. .*\[labeler\.references\] O = .*reference_structures"):
        labeler.references(["Al", "O", "Mn", "U"])


def test_an_elements_crystal_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "manganese.cif"
    bulk("Mn", "fcc", a=3.6).write(path)
    options = {"calculator": "lj", "reference_structures": {"Mn": "manganese.cif"}}
    labeler = Ase(Ase.Options.model_validate(options, context={"base": tmp_path}))
    (crystal,) = labeler.for_property("formation_energy_per_atom").references(["Mn"]).values()
    assert (crystal.formula, crystal.origin) == ("Mn", "manganese.cif")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot be read"), ("no structure", "cannot be read"), ("Al", "holds Al")],
)
def test_a_file_of_something_else_is_refused(content: str | None, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "manganese.cif"
    if content == "Al":
        bulk("Al").write(path)
    elif content:
        path.write_text(content)
    labeler = ase("lj", reference_structures={"Mn": path}).for_property("formation_energy_per_atom")
    with pytest.raises(UserError, match=f"the reference structure of Mn, .*manganese.cif.* {complaint}"):
        labeler.references(["Mn"])


# Angstrom^3 per atom, from lattice constants in Kittel, Introduction to Solid State Physics, 8th ed., table 1.3.
@pytest.mark.parametrize(
    ("element", "volume"),
    [("Cu", 11.81), ("Fe", 11.78), ("Mg", 23.2), ("Si", 20.0), ("Zn", 15.2), ("Sn", 27.0), ("Bi", 35.4), ("In", 26.2)],
)
def test_reference_crystals_have_the_volume_of_the_element(element: str, volume: float) -> None:
    (found,) = ase("lj").for_property("formation_energy_per_atom").references([element]).values()
    assert found.crystal is not None
    per_atom = abs(np.linalg.det(found.crystal.lattice)) / len(found.crystal.species)
    assert per_atom == pytest.approx(volume, rel=0.03)


def test_every_element_has_a_sane_crystal_or_is_refused() -> None:
    labeler = ase("lj").for_property("formation_energy_per_atom")
    known: dict[str, Candidate] = {}
    for element in chemical_symbols[1:104]:
        try:
            known |= labeler.references([element])
        except UserError as refused:
            assert f"known for {element}. " in str(refused)  # noqa: PT017 - most elements are not refused
    assert {"Al", "Fe", "Li", "W", "Pt", "Zr", "Ge"} <= set(known)
    assert not {"H", "O", "N", "U", "Np", "P", "S", "Mn"} & set(known)
    volumes = [abs(np.linalg.det(c.crystal.lattice)) / len(c.crystal.species) for c in known.values() if c.crystal]
    assert min(volumes) > 5
    assert max(volumes) < 130


@pytest.mark.parametrize(
    ("measurement", "complaint"),
    [
        (Measurement({"volume_per_atom": (11.0, "Angstrom^3/atom")}, "emt"), "Cu holds no energy_per_atom"),
        (Measurement({"energy_per_atom": (11.0, "Ry/atom")}, "emt"), "Cu holds no energy_per_atom in eV/atom"),
        (Measurement({"energy_per_atom": (11.0, "eV/atom")}, "pbe"), "Cu is 'pbe', not 'emt'"),
    ],
)
def test_references_of_another_kind_are_refused(measurement: Measurement, complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        ase().for_property("formation_energy_per_atom").with_references({"Cu": measurement})


def test_a_bulk_modulus_agrees_with_ases_own_equation_of_state(tmp_path: Path) -> None:
    labeler = ase(relax="cell", fmax=0.001).for_property("bulk_modulus")
    found = measured(labeler, bulk("Cu"), tmp_path)
    curve = found.provenance["equation_of_state"]
    assert len(curve["volumes"]) == 7
    _, _, modulus = AseEquationOfState(curve["volumes"], curve["energies"], eos="birchmurnaghan").fit(warn=False)
    assert found.values["bulk_modulus"] == (pytest.approx(modulus / GPa, rel=1e-4), "GPa")
    assert 120 < found.values["bulk_modulus"][0] < 150


def test_a_bulk_modulus_far_from_the_minimum_is_not_extrapolated(tmp_path: Path) -> None:
    found = label(ase(relax="none").for_property("bulk_modulus"), bulk("Cu", a=4.2), tmp_path)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.UNCONVERGED
    assert found.detail.startswith("no bulk modulus: the energy has no minimum between")


def birch_murnaghan(volumes: Any, e0: float, b0: float, bp: float, v0: float) -> Any:
    """Energies by the equation as it is printed (Birch 1947), b0 in eV per cubic Angstrom."""
    eta = (v0 / volumes) ** (2 / 3)
    return e0 + 9 * v0 * b0 / 16 * ((eta - 1) ** 3 * bp + (eta - 1) ** 2 * (6 - 4 * eta))


@given(
    e0=st.floats(-1e3, 1e3),
    modulus=st.floats(1.0, 500.0),
    bp=st.floats(2.0, 7.0),
    v0=st.floats(5.0, 2000.0),
    shift=st.floats(-0.03, 0.03),
)
def test_the_fit_returns_the_curve_that_made_the_points(
    e0: float, modulus: float, bp: float, v0: float, shift: float
) -> None:
    volumes = v0 * (1 + shift) * np.linspace(0.94, 1.06, 7)
    found = fit_birch_murnaghan(volumes, birch_murnaghan(volumes, e0, modulus * GPa, bp, v0))
    assert found.volume == pytest.approx(v0, rel=1e-4)
    assert found.energy == pytest.approx(e0, abs=1e-7 * max(1, abs(e0)))
    assert found.bulk_modulus == pytest.approx(modulus, rel=1e-3, abs=0.01)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_curve_without_a_minimum_is_refused(sign: float) -> None:
    volumes = np.linspace(10, 12, 7)
    with pytest.raises(ValueError, match="no minimum between 10 and 12 cubic Angstrom"):
        fit_birch_murnaghan(volumes, sign * volumes)


def test_a_calculator_that_cannot_do_an_element_rejects_the_candidate(tmp_path: Path) -> None:
    # Named by its class, the calculator's elements are not known before the job runs.
    found = label(ase("ase.calculators.emt:EMT"), bulk("Fe"), tmp_path)
    assert found == Failure(FailureKind.REJECTED, "the calculator cannot do this: No EMT-potential for Fe")


def test_known_gaps_of_a_calculator_are_told_beforehand() -> None:
    assert ase("lj").unsupported(["Fe", "Cu"]) == {}
    told = ase().unsupported(["Fe", "Cu"])
    assert set(told) == {"Fe"}
    assert told["Fe"].startswith("emt has no parameters for it; it knows Ag, Al, Au")
    with pytest.raises(UserError, match="Fe holds Fe: emt has no parameters"):
        ase().prepare(Candidate.of(from_atoms(bulk("Fe"))))


@pytest.mark.parametrize(
    ("options", "relax", "kind", "detail"),
    [
        ({"energy": "nan"}, "none", FailureKind.UNPARSABLE, "the calculator gave the energy nan"),
        ({"energy": "inf"}, "none", FailureKind.UNPARSABLE, "the calculator gave the energy inf"),
        ({"energy": "nan"}, "cell", FailureKind.UNPARSABLE, "not finite after 0 steps"),
        ({"raises": "later", "stress": 0.1}, "cell", FailureKind.UNCONVERGED, "not finite after 2 steps"),
        ({"stress": -0.5}, "cell", FailureKind.UNCONVERGED, "the cell came to 3.* of its volume in"),
        ({"stress": 0.5}, "cell", FailureKind.UNCONVERGED, "the cell came to 0.3.* of its volume in"),
        ({"raises": "scf"}, "none", FailureKind.UNCONVERGED, "the electrons did not converge: after 60 cycles"),
        ({"raises": "memory"}, "none", FailureKind.OUT_OF_MEMORY, "out of memory: 12 GB"),
        ({"raises": "crash"}, "none", FailureKind.CRASHED, "lines$"),
        ({"no_such_option": 1}, "none", FailureKind.CRASHED, "TypeError: .*no_such_option"),
    ],
)
def test_a_calculator_that_misbehaves_fails_the_candidate_and_says_how(
    options: dict[str, Any], relax: str, kind: FailureKind, detail: str, scripted: str, tmp_path: Path
) -> None:
    found = label(ase(scripted, relax=relax, calculator_options=options), bulk("Cu", cubic=True), tmp_path)
    assert isinstance(found, Failure), found
    assert found.kind is kind
    with pytest.raises(AssertionError, match=detail):
        raise AssertionError(found.detail)


def test_too_few_steps_are_not_called_a_result(tmp_path: Path) -> None:
    start = l1_2("Ni", "Al", 3.4)
    found = label(ase(relax="cell", max_steps=1), start, tmp_path)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.UNCONVERGED
    assert found.detail.startswith("the largest force is ")
    assert found.detail.endswith(" eV/Angstrom after 1 steps, wanted 0.02")


def test_memory_that_runs_out_outside_the_calculation_is_told_apart(tmp_path: Path) -> None:
    JobDirectory(tmp_path).write("stderr", "Traceback (most recent call last):\nMemoryError\n")
    JobDirectory(tmp_path).finish(1)
    assert ase().parse(tmp_path) == Failure(FailureKind.OUT_OF_MEMORY, "MemoryError")


def test_a_result_without_the_property_that_is_wanted_is_no_measurement(tmp_path: Path) -> None:
    directory = JobDirectory(tmp_path / "job")
    directory.prepare(ase().prepare(Candidate.of(from_atoms(bulk("Cu")))), "job", Resources(60.0))
    execute(directory.path)
    found = ase().for_property("bulk_modulus").parse(directory.path)
    assert found == Failure(FailureKind.UNPARSABLE, "the result holds no bulk_modulus")


def test_unknown_calculators_and_properties_are_refused_with_a_hint() -> None:
    with pytest.raises(UserError, match=r"no calculator named 'etm'\. Did you mean 'emt'\?.*module:Class"):
        ase("etm").prepare(Candidate.of(from_atoms(bulk("Cu"))))
    with pytest.raises(UserError, match=r"'formation_energy'\. Did you mean 'formation_energy_per_atom'\? It gives: "):
        ase().for_property("formation_energy")


def test_a_bare_composition_is_refused() -> None:
    with pytest.raises(UserError, match="AlCu3 is a bare composition; labeler 'ase' needs a crystal structure"):
        ase().prepare(Candidate({"Al": 1, "Cu": 3}))


@pytest.mark.parametrize(
    "options",
    [
        {"fmax": 0},
        {"max_steps": 0},
        {"relax": "all"},
        {"n_volumes": 4},
        {"fmx": 1},
        {"references": {"Oxygen": -4.9}},
        {"references": {"O": float("nan")}},
        {"reference_structures": {"oxygen": "o2.cif"}},
        {"calculator_options": {"sigma": float("inf")}},
        {"calculator_options": {"date": date(2020, 1, 1)}},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ase(**options)
