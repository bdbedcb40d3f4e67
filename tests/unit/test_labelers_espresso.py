"""The labeler `espresso` and its job, with recorded outputs in the place of pw.x (the real one: tests/hpc)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recorded_pw
from ase import Atoms
from ase.build import bulk
from ase.io.espresso import read_espresso_in
from ase.units import GPa, Ry

from active_learning.crystals.ase import from_atoms
from active_learning.crystals.symmetry import symmetry_of
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.job import Resources
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.domain.protocols import Labeler, References, SaysProtocol
from active_learning.errors import ContractError, UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute
from active_learning.labelers.espresso import Espresso
from active_learning.testing.labelers import LabelerContract

DATA = Path(__file__).parents[1] / "data" / "espresso"
CASES = json.loads((DATA / "cases.json").read_text())
UPF = """<UPF version="2.0.1"><PP_HEADER element="{}" pseudo_type="{}" functional="{}" z_valence="{}"/></UPF>"""
VALENCE = {"Si": 4.0, "Al": 3.0, "Ni": 10.0, "Mg": 2.0, "Fe": 8.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pseudo; touch $(oops) 'and' more"
    path.mkdir()
    for element, valence in VALENCE.items():
        functional = "PBE" if element == "Fe" else "SLA PZ NOGX NOGC"
        kind = "USPP" if element == "Ni" else "NC"
        (path / f"{element} x.UPF").write_text(UPF.format(element, kind, functional, valence))
    return path


def recorded(case: str, *more: str) -> list[str]:
    return ["{python}", recorded_pw.__file__, case, *more]


def espresso(folder: Path, case: str = "insulator", **options: Any) -> Espresso:
    known = {"pseudo_dir": folder, "ecutwfc": 12, "ecutrho": 100, "command": recorded(case), "kspacing": 1.0}
    return Espresso(Espresso.Options.model_validate(known | options))


def crystal_of(case: str) -> Candidate:
    return Candidate.of(Crystal.from_json(CASES[case]["crystal"]))


def run(labeler: Labeler, candidate: Candidate, place: Path, cores: int = 1) -> Path:
    directory = JobDirectory(place / "jobs" / candidate.id)
    directory.prepare(labeler.prepare(candidate), "job", Resources(60, cores=cores))
    execute(directory.path)
    return directory.path


def label(labeler: Labeler, candidate: Candidate, place: Path) -> Measurement | Failure:
    return labeler.parse(run(labeler, candidate, place))


def measured(labeler: Labeler, candidate: Candidate, place: Path) -> Measurement:
    found = label(labeler, candidate, place)
    assert isinstance(found, Measurement), found
    return found


class TestContract(LabelerContract):
    @pytest.fixture
    def labeler(self, folder: Path) -> Labeler:
        return espresso(folder)

    @pytest.fixture
    def candidate(self) -> Candidate:
        return crystal_of("insulator")


class TestContractOfBandGaps(LabelerContract):
    @pytest.fixture
    def labeler(self, folder: Path) -> Labeler:
        return espresso(folder).for_property("band_gap")

    @pytest.fixture
    def candidate(self) -> Candidate:
        return crystal_of("insulator")


class TestContractOfMagneticMoments(LabelerContract):
    @pytest.fixture
    def labeler(self, folder: Path) -> Labeler:
        return espresso(folder, "magnet", spin=True).for_property("magnetic_moment_per_atom")

    @pytest.fixture
    def candidate(self) -> Candidate:
        return crystal_of("magnet")


class TestContractOfFormationEnergies(LabelerContract):
    @pytest.fixture
    def labeler(self, folder: Path) -> Labeler:
        return espresso(folder, "cell", relax="cell", references={"Si": -106.0}).for_property(
            "formation_energy_per_atom"
        )

    @pytest.fixture
    def candidate(self) -> Candidate:
        return crystal_of("cell")


class TestContractOfBulkModuli(LabelerContract):
    @pytest.fixture
    def labeler(self, folder: Path) -> Labeler:
        return espresso(folder, "curve").for_property("bulk_modulus")

    @pytest.fixture
    def candidate(self) -> Candidate:
        return crystal_of("insulator")


def test_energy_and_volume_are_those_that_pw_x_printed(folder: Path, tmp_path: Path) -> None:
    found = measured(espresso(folder), crystal_of("insulator"), tmp_path)
    assert found.values == {
        "energy_per_atom": (pytest.approx(-15.61687 * Ry / 2, abs=1e-3), "eV/atom"),
        "volume_per_atom": (pytest.approx(5.43**3 / 8), "Angstrom^3/atom"),
    }
    assert found.fidelity == "espresso"


def test_provenance_tells_how_the_number_came_about(folder: Path, tmp_path: Path) -> None:
    labeler = espresso(folder, version="6.7MaX", fidelity="lda", input={"electrons": {"mixing_beta": 0.3}})
    found = measured(labeler, crystal_of("insulator"), tmp_path)
    told = found.provenance
    assert (told["code"], told["version"], told["n_scf"], told["n_steps"]) == ("pw.x", "6.7MaX", 1, 0)
    assert told["namelists"]["electrons"] == {"conv_thr": 1e-8, "mixing_beta": 0.3}
    assert told["namelists"]["system"]["ecutwfc"] == 12
    content = (folder / "Si x.UPF").read_bytes()
    assert told["pseudopotentials"] == {
        "Si": {"file": "Si x.UPF", "functional": "PZ", "md5": hashlib.md5(content).hexdigest()}
    }
    assert told["crystal_key"] == "Si|227|Si:a"
    assert told["wall_s"] > 0
    assert found.fidelity == "lda"
    json.dumps(dict(told), allow_nan=False)


def test_a_relaxed_crystal_is_told_with_its_energy(folder: Path, tmp_path: Path) -> None:
    found = measured(espresso(folder, "cell", relax="cell"), crystal_of("cell"), tmp_path)
    final = Crystal.from_json(found.provenance["crystal"])
    assert abs(np.linalg.det(final.lattice)) == pytest.approx(41.30193, abs=1e-4)
    assert found.values["volume_per_atom"][0] == pytest.approx(41.30193 / 2, abs=1e-4)
    assert (found.provenance["n_steps"], found.provenance["n_scf"]) == (3, 5)


def test_a_cell_that_grew_out_of_all_proportion_is_no_result(folder: Path, tmp_path: Path) -> None:
    found = label(espresso(folder, "cell", relax="cell"), Candidate.of(from_atoms(bulk("Si", a=3.0))), tmp_path)
    assert found == Failure(FailureKind.UNCONVERGED, "the cell came to 6.12 of its volume in 3 steps")


def test_a_relaxation_that_lost_its_symmetry_goes_on_from_where_it_was(folder: Path, tmp_path: Path) -> None:
    labeler, candidate = espresso(folder, "symmetry_lost", relax="cell", max_steps=50), crystal_of("symmetry_lost")
    path = run(labeler, candidate, tmp_path)
    found = labeler.parse(path)
    assert isinstance(found, Measurement), found
    told = found.provenance
    texts = [(DATA / f"{name}.pwo").read_text() for name in ("symmetry_lost", "symmetry_lost_2")]
    n_lost, n_last = texts[0].count("number of bfgs steps"), texts[1].count("number of bfgs steps")
    assert (told["n_restarts"], told["n_steps"]) == (1, n_lost + n_last)
    assert told["n_scf"] == sum(len(re.findall(r"(?m)^!", text)) for text in texts)
    assert told["crystal_key"] == "AlSi|187|Al:a Si:d"
    second = read_espresso_in(path / "espresso-2.pwi")
    broken = [float(word) for word in texts[0].rpartition("CELL_PARAMETERS (angstrom)")[2].split()[:9]]
    # Where it was, to within the drift, and with the symmetry that it had.
    assert np.allclose(second.cell.array.ravel(), broken, atol=0.05)
    assert not np.allclose(second.cell.array.ravel(), broken, atol=1e-5)
    assert symmetry_of(from_atoms(second), 1e-5).number == 187
    assert f"nstep            = {50 - n_lost}" in (path / "espresso-2.pwi").read_text()


@pytest.mark.parametrize(("max_steps", "n_runs"), [(100, 5), (4, 1)])
def test_a_relaxation_that_keeps_losing_its_symmetry_is_unconverged(
    max_steps: int, n_runs: int, folder: Path, tmp_path: Path
) -> None:
    labeler = espresso(folder, command=recorded("symmetry_lost", "--again"), relax="cell", max_steps=max_steps)
    path = run(labeler, crystal_of("symmetry_lost"), tmp_path)
    found = labeler.parse(path)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.UNCONVERGED
    assert re.search("steps, and lost their symmetry: Error in routine checkallsym", found.detail)
    assert len(list(path.glob("espresso*.pwo"))) == n_runs


def test_relaxing_positions_keeps_the_cell_to_the_last_digit(folder: Path, tmp_path: Path) -> None:
    labeler = espresso(folder, "positions", relax="positions")
    skewed = np.array(CASES["positions"]["crystal"]["lattice"])
    skewed[0, 0] += 1e-4
    crystal = Crystal.from_json(CASES["positions"]["crystal"] | {"lattice": skewed.tolist()})
    found = measured(labeler, Candidate.of(crystal), tmp_path)
    assert found.provenance["crystal"]["lattice"] == [list(row) for row in crystal.lattice]
    assert found.provenance["crystal"]["frac_coords"] != crystal.to_json()["frac_coords"]


@pytest.mark.parametrize(
    ("case", "relax", "kind", "detail"),
    [
        ("unconverged", "none", FailureKind.UNCONVERGED, "the electrons did not converge"),
        ("unconverged_with_status_0", "none", FailureKind.UNCONVERGED, "the electrons did not converge: accuracy"),
        ("steps_ran_out", "positions", FailureKind.UNCONVERGED, "the atoms did not come to rest"),
        ("charge_is_wrong", "none", FailureKind.CRASHED, "Error in routine electrons (1): charge is wrong"),
        ("time_ran_out", "none", FailureKind.TIMEOUT, "pw.x came to its max_seconds"),
        ("memory_ran_out", "none", FailureKind.OUT_OF_MEMORY, "In file 'recvec.f90', around line 98: Error alloc"),
        ("insulator", "positions", FailureKind.UNCONVERGED, "the atoms did not come to rest: no word"),
    ],
)
def test_a_run_that_failed_fails_the_candidate_and_leaves_no_scratch(
    case: str, relax: str, kind: FailureKind, detail: str, folder: Path, tmp_path: Path
) -> None:
    labeler = espresso(folder, case, relax=relax)
    path = run(labeler, crystal_of(case), tmp_path)
    found = labeler.parse(path)
    assert isinstance(found, Failure), found
    assert found.kind is kind
    assert found.detail.startswith(detail)
    assert not (path / "scratch").exists()
    assert (path / "espresso.pwo").stat().st_size > 0


def test_files_of_the_run_are_their_owners_and_scratch_is_gone(folder: Path, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = run(espresso(folder, "insulator"), crystal_of("insulator"), tmp_path)
    finally:
        os.umask(old)
    for name in ("espresso.pwi", "espresso.pwo", "espresso.err"):
        assert stat.S_IMODE((path / name).stat().st_mode) == 0o600
    assert not (path / "scratch").exists()


def test_the_input_describes_the_crystal_and_holds_nothing_of_the_users_paths(folder: Path, tmp_path: Path) -> None:
    atoms = Atoms(
        "NiFeNi", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.51), (0.5, 0, 0.3)], cell=[3.1, 4.2, 5.3], pbc=True
    )
    labeler = espresso(
        folder, spin=True, starting_magnetization={"Fe": -0.4}, relax="positions", fmax=0.05,
        input={"system": {"hubbard_u": {"Fe": 4.5}, "input_dft": "PBE", "lda_plus_u": True}, "ions": {"upscale": 50}},
        smearing="gaussian", degauss=0.01,
    )  # fmt: skip
    path = run(labeler, Candidate.of(from_atoms(atoms)), tmp_path)
    text = (path / "espresso.pwi").read_text()
    assert "touch" not in text
    data, cards = read_espresso_in(path / "espresso.pwi"), " ".join(text.split())
    assert np.allclose(data.get_positions(), atoms.get_positions(), atol=1e-6)
    assert data.get_chemical_symbols() == ["Ni", "Fe", "Ni"]
    for expected in (
        "calculation = 'relax'", "nstep = 100", "forc_conv_thr = 0.0019446", "outdir = 'scratch/out'", "ecutwfc = 12.0",
        "ecutrho = 100.0", "occupations = 'smearing'", "smearing = 'gaussian'", "degauss = 0.01", "nspin = 2",
        "starting_magnetization(1) = 0.1", "starting_magnetization(2) = -0.4", "hubbard_u(2) = 4.5",
        "lda_plus_u = .true.", "upscale = 50", "conv_thr = 1e-08", "K_POINTS automatic 3 2 2 0 0 0",
        "Ni 58.6934 Ni.UPF Fe 55.845 Fe.UPF",
    ):  # fmt: skip
        assert expected in cards, expected
    assert "nbnd" not in text


def test_cores_of_the_job_reach_the_command(folder: Path, tmp_path: Path) -> None:
    path = run(espresso(folder, command=recorded("insulator", "{cores}")), crystal_of("insulator"), tmp_path, cores=3)
    assert (path / "cores").read_text() == "3"


def test_a_bulk_modulus_is_that_of_the_curve_behind_the_energies(folder: Path, tmp_path: Path) -> None:
    labeler = espresso(folder, "curve", n_volumes=5, volume_range=0.08).for_property("bulk_modulus")
    found = measured(labeler, crystal_of("insulator"), tmp_path)
    assert found.values["bulk_modulus"] == (pytest.approx(recorded_pw.CURVE["b0"] * Ry / GPa, rel=1e-3), "GPa")
    told = found.provenance["equation_of_state"]
    assert np.allclose(np.array(told["volumes"]) / (5.43**3 / 4), np.linspace(0.92, 1.08, 5))
    # The volume in the middle is the candidate's own, which is not run again.
    assert found.provenance["n_scf"] == 5


def test_a_bulk_modulus_far_from_the_minimum_is_not_extrapolated(folder: Path, tmp_path: Path) -> None:
    labeler = espresso(folder, "curve", n_volumes=5).for_property("bulk_modulus")
    found = label(labeler, Candidate.of(from_atoms(bulk("Si", a=5.0))), tmp_path)
    assert isinstance(found, Failure)
    assert (found.kind, found.detail[:46]) == (
        FailureKind.UNCONVERGED, "no bulk modulus: the energy has no minimum bet"
    )  # fmt: skip


def test_a_band_gap_is_computed_with_empty_bands_and_only_if_it_is_wanted(folder: Path, tmp_path: Path) -> None:
    labeler = espresso(folder).for_property("band_gap")
    path = run(labeler, crystal_of("insulator"), tmp_path)
    found = labeler.parse(path)
    assert isinstance(found, Measurement)
    assert "nbnd             = 8" in (path / "espresso.pwi").read_text()
    assert found.values["band_gap"][0] > 0.3
    assert "band_gap" not in measured(espresso(folder), crystal_of("insulator"), tmp_path / "again").values
    metal = measured(espresso(folder, "metal").for_property("band_gap"), crystal_of("metal"), tmp_path)
    assert metal.values["band_gap"] == (0.0, "eV")


def test_the_users_number_of_bands_stands(folder: Path, tmp_path: Path) -> None:
    labeler = espresso(folder, input={"system": {"nbnd": 12}}).for_property("band_gap")
    path = run(labeler, crystal_of("insulator"), tmp_path)
    assert "nbnd             = 12" in (path / "espresso.pwi").read_text()


def test_a_magnetic_moment_is_the_total_one_in_full_precision(folder: Path, tmp_path: Path) -> None:
    labeler = espresso(folder, "magnet", spin=True)
    found = measured(labeler, crystal_of("magnet"), tmp_path)
    moment = found.values["magnetic_moment_per_atom"]
    assert moment == (pytest.approx(found.provenance["magnetization"][0], abs=0.006), "mu_B/atom")
    assert moment[0] != round(moment[0], 2)


def test_a_calculation_without_spin_that_should_have_had_it_is_no_result(folder: Path, tmp_path: Path) -> None:
    found = label(espresso(folder, "insulator", spin=True), crystal_of("insulator"), tmp_path)
    assert found == Failure(FailureKind.UNPARSABLE, "a calculation with spin printed no magnetization")


def test_a_magnetic_moment_needs_spin(folder: Path) -> None:
    assert "magnetic_moment_per_atom" not in espresso(folder).units
    with pytest.raises(UserError, match="cannot give the property 'magnetic_moment_per_atom' without spin: say spin"):
        espresso(folder).for_property("magnetic_moment_per_atom")


def test_another_version_of_pw_x_than_the_one_asked_for_is_refused(folder: Path, tmp_path: Path) -> None:
    found = label(espresso(folder, version="7.2"), crystal_of("insulator"), tmp_path)
    assert found == Failure(FailureKind.REJECTED, "this is version 6.7MaX of pw.x, asked for was 7.2")


def test_a_program_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    found = label(espresso(folder, command=["no-such-pw.x"]), crystal_of("insulator"), tmp_path)
    assert found == Failure(FailureKind.CRASHED, "no-such-pw.x cannot be run: No such file or directory")


def test_a_program_that_prints_something_else_is_unparsable(folder: Path, tmp_path: Path) -> None:
    found = label(espresso(folder, command=["echo", "JOB DONE."]), crystal_of("insulator"), tmp_path)
    assert found == Failure(
        FailureKind.UNPARSABLE, "this is no output of pw.x: it does not say which version wrote it"
    )  # fmt: skip


def test_pseudopotentials_that_change_between_campaign_and_job_are_noticed(folder: Path, tmp_path: Path) -> None:
    labeler, candidate = espresso(folder), crystal_of("insulator")
    directory = JobDirectory(tmp_path / "job")
    directory.prepare(labeler.prepare(candidate), "job", Resources(60))
    (folder / "Si x.UPF").write_text(UPF.format("Si", "NC", "PZ", 4.25))
    execute(directory.path)
    found = labeler.parse(directory.path)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.REJECTED
    assert found.detail.startswith("Si x.UPF is another file where the job ran (MD5 ")


def test_a_pseudopotential_that_is_not_where_the_job_runs_is_told(folder: Path, tmp_path: Path) -> None:
    labeler, candidate = espresso(folder), crystal_of("insulator")
    directory = JobDirectory(tmp_path / "job")
    directory.prepare(labeler.prepare(candidate), "job", Resources(60))
    (folder / "Si x.UPF").unlink()
    execute(directory.path)
    found = labeler.parse(directory.path)
    assert isinstance(found, Failure)
    assert (found.kind, found.detail[:56]) == (
        FailureKind.CRASHED, "no pseudopotential of Si where the job ran: " + str(folder)[:12]
    )  # fmt: skip


def test_pseudopotentials_that_pw_x_found_elsewhere_are_noticed(folder: Path, tmp_path: Path) -> None:
    # Recorded with --keep, the sums printed are those of the real file.
    found = label(espresso(folder, command=recorded("insulator", "--keep-md5")), crystal_of("insulator"), tmp_path)
    assert found == Failure(FailureKind.CRASHED, "pw.x read other pseudopotentials than it was given")


def remote(tmp_path: Path, **options: Any) -> Espresso:
    return espresso(tmp_path / "on the cluster", **options)


def test_a_folder_that_is_elsewhere_needs_names_and_its_files_are_looked_at_by_the_job(
    folder: Path, tmp_path: Path
) -> None:
    candidate = crystal_of("insulator")
    with pytest.raises(UserError, match=r"Si cannot be labeled: .*not on this machine, so .* must name the file of Si"):
        remote(tmp_path).prepare(candidate)
    labeler = remote(tmp_path, pseudopotentials={"Si": "Si x.UPF"})
    directory = JobDirectory(tmp_path / "job")
    spec = labeler.prepare(candidate)
    assert spec.inputs["pseudopotentials"] == {"Si": {"file": "Si x.UPF", "md5": None}}
    directory.prepare(spec, "job", Resources(60))
    folder.rename(tmp_path / "on the cluster")
    execute(directory.path)
    assert isinstance(labeler.parse(directory.path), Measurement)


def test_the_job_refuses_what_only_it_can_see(folder: Path, tmp_path: Path) -> None:
    files = {"Ni": "Ni x.UPF", "Si": "Si x.UPF", "Fe": "Fe x.UPF", "Al": "Si x.UPF"}
    atoms = {"Ni": bulk("Ni"), "SiFe": Atoms("SiFe", positions=[(0, 0, 0), (1.4, 1.4, 1.4)], cell=[2.8] * 3, pbc=True)}
    cases = [
        (bulk("Ni"), {"ecutrho": None}, "Ni x.UPF (ultrasoft or PAW) needs `ecutrho`"),
        (atoms["SiFe"], {}, "the pseudopotentials are of different functionals"),
        (bulk("Al"), {}, "Si x.UPF is a pseudopotential of Si, not Al"),
    ]
    specs = [
        remote(tmp_path, pseudopotentials=files, **more).prepare(Candidate.of(from_atoms(a))) for a, more, _ in cases
    ]
    folder.rename(tmp_path / "on the cluster")
    for n, (spec, (_, _, detail)) in enumerate(zip(specs, cases, strict=True)):
        directory = JobDirectory(tmp_path / f"job-{n}")
        directory.prepare(spec, "job", Resources(60))
        execute(directory.path)
        found = remote(tmp_path).parse(directory.path)
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.REJECTED
        assert found.detail.startswith(detail)


def test_what_cannot_be_labeled_is_told_beforehand(folder: Path) -> None:
    labeler = espresso(folder, ecutwfc={"Si": 12, "Al": 10, "Fe": 40, "Au": 20}, ecutrho=None)
    assert labeler.unsupported(["Si", "Al"]) == {}
    told = labeler.unsupported(["Si", "Al", "Au", "Mg"])
    assert told["Mg"] == "[labeler.ecutwfc] has no cut-off for Mg"
    assert "has no pseudopotential (.UPF) of Au" in told["Au"]
    assert set(told) == {"Mg", "Au"}
    mixed = labeler.unsupported(["Si", "Fe"])
    assert set(mixed) == {"Si", "Fe"}
    assert "different functionals" in mixed["Si"]
    assert espresso(folder, input={"system": {"input_dft": "PBE"}}).unsupported(["Si", "Fe"]) == {}
    assert "needs `ecutrho`" in espresso(folder, ecutrho=None).unsupported(["Ni"])["Ni"]
    with pytest.raises(UserError, match=r"Au cannot be labeled: .*no pseudopotential \(.UPF\) of Au"):
        espresso(folder).prepare(Candidate.of(from_atoms(bulk("Au"))))


def test_formation_energies_are_refused_where_functionals_differ(folder: Path) -> None:
    with pytest.raises(UserError, match="different functionals, so their energies do not add up"):
        espresso(folder).for_property("formation_energy_per_atom").references(["Al", "Fe"])


def test_a_crystal_takes_the_largest_cut_off_of_its_elements(folder: Path) -> None:
    labeler = espresso(folder, ecutwfc={"Si": 12, "Al": 10, "Mg": 30}, ecutrho={"Si": 60, "Al": 80, "Mg": 200})

    def cutoffs(labeler: Labeler, *species: str) -> tuple[float, float]:
        atoms = Atoms(
            species, cell=[3.0] * 3, scaled_positions=np.linspace(0, 0.5, len(species))[:, None] * [1, 1, 1], pbc=True
        )
        system = labeler.prepare(Candidate.of(from_atoms(atoms))).inputs["namelists"]["system"]
        return system["ecutwfc"], system["ecutrho"]

    assert cutoffs(labeler, "Si", "Al") == (12, 80)
    assert cutoffs(labeler, "Al") == (10, 80)
    # Energies that are subtracted are of one cut-off, those of the references too.
    formation = espresso(
        folder, ecutwfc={"Si": 12, "Al": 10, "Mg": 30}, ecutrho=250, references={"Al": -57.0, "Si": -107.0}
    ).for_property("formation_energy_per_atom")
    assert cutoffs(formation, "Si", "Al") == (30, 250)
    assert cutoffs(formation.for_property("energy_per_atom"), "Al") == (30, 250)
    assert cutoffs(formation.with_references({}), "Al") == (30, 250)


def test_a_formation_energy_is_measured_against_the_elements(folder: Path, tmp_path: Path) -> None:
    labeler = espresso(folder, "metal").for_property("formation_energy_per_atom")
    assert isinstance(labeler, References)
    crystals = labeler.references(["Al", "Mg"])
    assert {e: c.formula for e, c in crystals.items()} == {"Al": "Al", "Mg": "Mg"}
    energy = measured(labeler.for_property("energy_per_atom"), crystals["Al"], tmp_path)
    told = measured(labeler.with_references({"Al": energy}), crystals["Al"], tmp_path / "again")
    assert told.values["formation_energy_per_atom"] == (pytest.approx(0.0, abs=1e-12), "eV/atom")
    with pytest.raises(ContractError, match="needs the elements' energies first: Mg"):
        labeler.with_references({"Al": energy}).prepare(crystals["Mg"])
    with pytest.raises(ContractError, match="the reference of Al is 'espresso', not 'pbe'"):
        espresso(folder, fidelity="pbe").for_property("formation_energy_per_atom").with_references({"Al": energy})
    assert espresso(folder).for_property("volume_per_atom").references(["Al", "O"]) == {}


def test_bare_compositions_and_unknown_properties_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="AlCu3 is a bare composition; labeler 'espresso' needs a crystal structure"):
        espresso(folder).prepare(Candidate({"Al": 1, "Cu": 3}))
    with pytest.raises(UserError, match=r"'bulk_modulu'\. Did you mean 'bulk_modulus'\?"):
        espresso(folder).for_property("bulk_modulu")


def test_the_protocol_says_code_and_version(folder: Path) -> None:
    labeler = espresso(folder, version="7.2")
    assert isinstance(labeler, SaysProtocol)
    assert labeler.protocol() == {"code": "pw.x", "version": "7.2"}
    with pytest.raises(UserError, match=r"say which by `version` in \[labeler\] \(espresso\)"):
        espresso(folder).protocol()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"command": []}, "command"),
        ({"command": ["pw.x", "{core}"]}, "is not a placeholder"),
        ({"pseudopotentials": {"Si": "../Si.UPF"}}, "not the name of a file in `pseudo_dir`"),
        ({"pseudopotentials": {"Si": ".."}}, "not the name of a file"),
        ({"pseudopotentials": {"Silicon": "Si.UPF"}}, "'Silicon' is not a chemical symbol"),
        ({"ecutwfc": 0}, "ecutwfc"),
        ({"ecutwfc": {"Si": -1}}, "ecutwfc"),
        ({"ecutwfc": {"Sx": 10}}, "'Sx' is not a chemical symbol"),
        ({"ecutwfc": {}}, "names at least one element"),
        ({"ecutwfc": float("inf")}, "ecutwfc"),
        ({"ecutrho": "many"}, "ecutrho"),
        ({"kspacing": 0}, "kspacing"),
        ({"smearing": "wide"}, "smearing"),
        ({"degauss": 0}, "degauss"),
        ({"starting_magnetization": {"Fe": 2.0}}, "starting_magnetization"),
        ({"relax": "all"}, "relax"),
        ({"fmax": 0}, "fmax"),
        ({"max_steps": 0}, "max_steps"),
        ({"input": {"electrons": {"mixing_beta": None}}}, "mixing_beta is text, true, false or a number"),
        ({"fidelity": ""}, "fidelity"),
        ({"references": {"Si": float("nan")}}, "references"),
        ({"n_volumes": 4}, "n_volumes"),
        ({"volume_range": 0.5}, "volume_range"),
        ({"ecut": 30}, "ecut"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], complaint: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        espresso(folder, **options)


def test_a_starting_magnetization_without_spin_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="starting_magnetization means nothing without spin = true"):
        espresso(folder, starting_magnetization={"Fe": 0.4})


def test_paths_are_beside_the_campaign_file(tmp_path: Path) -> None:
    options = {"pseudo_dir": "pseudo", "ecutwfc": 12}
    assert Espresso.Options.model_validate(options, context={"base": tmp_path}).pseudo_dir == tmp_path / "pseudo"
