"""Machine-learned potentials in the labeler `ase`: by stand-ins, and for real where their packages are installed.

The real ones need ``pip install torch==2.13.0`` and then ``pip install chgnet==0.4.2 sevenn==0.13.0``.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Candidate
from active_learning.domain.job import Resources
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.errors import ContractError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute
from active_learning.labelers import machine_learned
from active_learning.labelers.ase import Ase

# What the packages warn of while they load is theirs to repair.
pytestmark = pytest.mark.filterwarnings("default")

ENERGIES = {"chgnet": {"Cu": -4.083, "NaCl": -3.666}, "sevennet": {"Cu": -4.096, "NaCl": -3.383}}
"""eV/atom, of `bulk("Cu")` and rocksalt with a = 5.64, from the packages themselves, without this labeler."""


def ase(calculator: str, **rest: Any) -> Ase:
    return Ase(Ase.Options.model_validate({"calculator": calculator} | rest))


def label(labeler: Ase, atoms: Atoms | Candidate, folder: Path) -> Measurement | Failure:
    candidate = atoms if isinstance(atoms, Candidate) else Candidate.of(from_atoms(atoms))
    directory = JobDirectory(folder / candidate.id)
    directory.prepare(labeler.prepare(candidate), "job", Resources(600.0))
    execute(directory.path)
    return labeler.parse(directory.path)


def measured(labeler: Ase, atoms: Atoms | Candidate, folder: Path) -> Measurement:
    found = label(labeler, atoms, folder)
    assert isinstance(found, Measurement), found
    return found


def installed(name: str) -> str:
    module = machine_learned.POTENTIALS[name].calculator.partition(".")[0]
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install {machine_learned.POTENTIALS[name].package}")
    return name


class FakePotential(LennardJones):
    """Takes what the real ones take."""

    built: tuple[dict[str, Any], ...] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(epsilon=0.4, sigma=2.3, rc=6.0)
        FakePotential.built = (*FakePotential.built, options)


class FakeLoader:
    @staticmethod
    def load(**asked: Any) -> dict[str, Any]:
        return asked


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stand-ins for the packages; how many threads PyTorch was told to take."""
    threads: list[int] = []
    modules: dict[str, dict[str, Any]] = {
        "torch": {"set_num_threads": threads.append},
        "chgnet": {},
        "chgnet.model": {"CHGNet": FakeLoader},
        "chgnet.model.dynamics": {"CHGNetCalculator": FakePotential},
        "sevenn": {},
        "sevenn.calculator": {"SevenNetCalculator": FakePotential},
        "mace": {},
        "mace.calculators": {"mace_mp": FakePotential},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        for key, value in content.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(FakePotential, "built", ())
    return threads


@pytest.mark.parametrize(
    ("name", "options", "built", "fidelity"),
    [
        (
            "chgnet",
            {},
            {
                "model": {"model_name": "0.3.0", "use_device": None, "verbose": False},
                "on_isolated_atoms": "error",
            },
            "chgnet-0.3.0",
        ),
        (
            "chgnet",
            {"model": "r2scan", "use_device": "cpu", "on_isolated_atoms": "ignore"},
            {
                "model": {"model_name": "r2scan", "use_device": "cpu", "verbose": False},
                "on_isolated_atoms": "ignore",
                "use_device": "cpu",
            },
            "chgnet-r2scan",
        ),
        ("sevennet", {}, {"model": "7net-0"}, "sevennet-7net-0"),
        (
            "sevennet",
            {"model": "7net-mf-ompa", "modal": "mpa"},
            {"model": "7net-mf-ompa", "modal": "mpa"},
            "sevennet-7net-mf-ompa",
        ),
        ("mace", {"model": "small"}, {"model": "small", "default_dtype": "float64"}, "mace-small"),
    ],
)
def test_a_short_name_builds_the_calculator_and_names_its_model(
    name: str, options: dict[str, Any], built: dict[str, Any], fidelity: str, fakes: list[int], tmp_path: Path
) -> None:
    found = measured(ase(name, calculator_options=options), bulk("Cu"), tmp_path)
    assert FakePotential.built == (built,)
    assert found.fidelity == fidelity
    assert found.provenance["calculator"] == name


def test_other_calculators_keep_their_fidelity() -> None:
    assert ase("emt").fidelity == "emt"
    assert ase("my.module:Potential").fidelity == "Potential"
    assert ase("my.module:Potential", calculator_options={"model": "large"}).fidelity == "Potential-large"
    assert ase("my.module:Potential", calculator_options={"model": 3}).fidelity == "Potential"
    assert ase("chgnet", fidelity="mine").fidelity == "mine"


def test_energies_of_two_models_are_never_mixed() -> None:
    labeler = ase("sevennet").for_property("formation_energy_per_atom")
    other = Measurement({"energy_per_atom": (-4.08, "eV/atom")}, ase("chgnet").fidelity)
    with pytest.raises(ContractError, match=r"the reference of Cu is 'chgnet-0\.3\.0', not 'sevennet-7net-0'"):
        labeler.with_references({"Cu": other})


def test_pytorch_takes_the_jobs_cores_unless_somebody_said_how_many(
    fakes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    measured(ase("sevennet"), bulk("Cu"), tmp_path)
    assert fakes == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    measured(ase("sevennet"), bulk("Ag"), tmp_path)
    assert fakes == [1]
    assert os.environ["MOTHERLODE_CORES"] == "1"


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sevenn.calculator", None)
    found = label(ase("sevennet"), bulk("Cu"), tmp_path)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.CRASHED
    assert found.detail.startswith("ModuleNotFoundError: ")
    assert found.detail.endswith("this calculator comes with `pip install sevenn`")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chgnet", "sevennet"])
def test_a_real_potential_gives_the_energies_of_its_package(name: str, tmp_path: Path) -> None:
    labeler = ase(installed(name))
    salt = bulk("NaCl", "rocksalt", a=5.64)
    for formula, atoms in (("Cu", bulk("Cu")), ("NaCl", salt)):
        energy, unit = measured(labeler, atoms, tmp_path).values["energy_per_atom"]
        assert (energy, unit) == (pytest.approx(ENERGIES[name][formula], abs=2e-3), "eV/atom")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "volume"), [("chgnet", (42, 49)), ("sevennet", (42, 49))])
def test_a_real_potential_relaxes_salt_and_finds_it_stable(name: str, volume: tuple[int, int], tmp_path: Path) -> None:
    references = {"Na": -1.31, "Cl": -1.84}  # PBE, Materials Project, before corrections
    options: dict[str, Any] = {"relax": "cell", "fmax": 0.05, "references": references}
    labeler = ase(installed(name), **options).for_property("formation_energy_per_atom")
    found = measured(labeler, bulk("NaCl", "rocksalt", a=5.5), tmp_path)
    assert volume[0] < 2 * found.values["volume_per_atom"][0] < volume[1]
    assert -2.6 < found.values["formation_energy_per_atom"][0] < -1.6
    assert found.provenance["n_steps"] > 0
    assert found.provenance["crystal_key"] == "ClNa|225|Cl:a Na:b"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chgnet", "sevennet"])
def test_a_real_potential_gives_a_bulk_modulus_of_copper(name: str, tmp_path: Path) -> None:
    labeler = ase(installed(name), relax="cell", fmax=0.01, n_volumes=5).for_property("bulk_modulus")
    value, unit = measured(labeler, bulk("Cu"), tmp_path).values["bulk_modulus"]
    assert unit == "GPa"
    assert 90 < value < 190  # 137 measured


def test_chgnet_refuses_atoms_without_neighbors(tmp_path: Path) -> None:
    alone = Atoms("Cu", cell=[20.0] * 3, pbc=True)
    found = label(ase(installed("chgnet")), alone, tmp_path)
    assert isinstance(found, Failure)
    assert "isolated atom" in found.detail
