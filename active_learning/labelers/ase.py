"""Labels from any ASE calculator: energy, formation energy, volume, bulk modulus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from ase.calculators import emt
from ase.calculators.calculator import names as calculator_names
from pydantic import AfterValidator, Field, FiniteFloat

from active_learning.domain import options
from active_learning.domain.candidate import Candidate
from active_learning.domain.hints import did_you_mean
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, Measurement
from active_learning.errors import UserError
from active_learning.labelers.against_elements import ENERGY, FORMATION, UNIT, Element, energies_for, energies_from
from active_learning.labelers.calculator_versions import calculator_version
from active_learning.labelers.elemental_crystals import elemental_crystals
from active_learning.labelers.machine_learned import POTENTIALS
from active_learning.labelers.results import check_property, measurement_from, read_result

__all__ = ["Ase"]

_BULK_MODULUS = "bulk_modulus"
_UNITS: Mapping[str, str] = {
    ENERGY: UNIT,
    FORMATION: UNIT,
    "volume_per_atom": "Angstrom^3/atom",
    _BULK_MODULUS: "GPa",
}
# Names that ase.calculators.calculator.get_calculator_class knows beside its list.
_CALCULATORS = frozenset(calculator_names) | {"ace", "mace_mp", "mattersim"} | POTENTIALS.keys()
_ELEMENTS: Mapping[str, frozenset[str]] = {"emt": frozenset(emt.parameters)}


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """A campaign file can say `nan`, `inf` and dates; a job's inputs are hashed and are plain JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"only text, true, false, finite numbers, lists and tables of them are allowed: {error}"
        ) from error
    return value


PlainTable = Annotated[dict[str, Any], AfterValidator(_plain)]


class Ase:
    """Label crystals with an ASE calculator.

    Every label holds energy and volume per atom. Formation energies need the elements' energies
    (`with_references`); the bulk modulus costs `n_volumes` more calculations and is computed only if it is wanted
    (`for_property`). Atoms start without magnetic moments.

    Parameters
    ----------
    options
    wanted : the property that must come out
    references : element -> energy per atom, eV; computed with these same options
    """

    class Options(options.Options):
        """Keys of ``[labeler]`` with ``kind = "ase"``."""

        calculator: str = Field(
            description='A calculator of ASE by its name there ("emt", "lj", ...), a machine-learned potential'
            ' ("chgnet", "sevennet", "mace"), or "module:Class".'
        )
        calculator_options: PlainTable = Field({}, description="Arguments for the calculator.")
        relax: Literal["none", "positions", "cell"] = Field(
            "none", description="What moves before the energy is taken: nothing, the atoms, or atoms and cell."
        )
        fmax: float = Field(0.02, gt=0, description="Relax until the largest force is below this, in eV/Angstrom.")
        max_steps: int = Field(300, ge=1, description="Steps of relaxation before the candidate counts as unconverged.")
        fidelity: str | None = Field(
            None,
            min_length=1,
            description="Name of the level of theory; without it, the calculator's name and that of its `model`.",
        )
        references: dict[Element, FiniteFloat] = Field(
            {}, description="Energy per atom (eV) of elements, by the same calculator, for formation energies."
        )
        reference_structures: dict[Element, options.FilePath] = Field(
            {}, description="Structure files of elements whose crystal ASE does not know, for formation energies."
        )
        n_volumes: int = Field(7, ge=5, le=51, description="Volumes in the equation of state behind a bulk modulus.")
        volume_range: float = Field(
            0.06, gt=0, le=0.3, description="How far they reach: 0.06 is from -6 % to +6 % of the volume."
        )

    def __init__(
        self, options: Options, *, wanted: str = ENERGY, references: Mapping[str, float] | None = None
    ) -> None:
        self.options = options
        self.wanted = wanted
        self._references = dict(options.references) | dict(references or {})

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of each property this labeler can give."""
        return _UNITS

    @property
    def fidelity(self) -> str:
        """The level of theory: what the user calls it, else the calculator's name and its model's, where it has one."""
        chosen = self.options
        default = POTENTIALS[chosen.calculator].model if chosen.calculator in POTENTIALS else None
        parts = (chosen.calculator.rpartition(":")[2], chosen.calculator_options.get("model", default))
        return chosen.fidelity or "-".join(part for part in parts if isinstance(part, str))

    def protocol(self) -> Mapping[str, Any]:
        """ASE's version, and that of the package that the calculator comes from.

        Raises
        ------
        UserError
            If that is not known here: a calculator that runs another program, or a package that is not installed.
        """
        return {"ase": version("ase"), **calculator_version(self.options.calculator)}

    def for_property(self, name: str) -> Ase:
        """The same labeler, which computes the property `name` too.

        Raises
        ------
        UserError
            If it cannot give that property.
        """
        check_property(name, _UNITS, "ase")
        return Ase(self.options, wanted=name, references=self._references)

    def unsupported(self, elements: Sequence[str]) -> Mapping[str, str]:
        """Elements that the calculator certainly cannot do, with the reason; empty where that is not known."""
        known = _ELEMENTS.get(self.options.calculator)
        if known is None:
            return {}
        reason = f"{self.options.calculator} has no parameters for it; it knows {', '.join(sorted(known))}"
        return {element: reason for element in elements if element not in known}

    def references(self, elements: Sequence[str]) -> Mapping[str, Candidate]:
        """The elemental crystals behind a formation energy; empty for other properties and for energies given.

        Raises
        ------
        UserError
            If the crystal of some element is not known.
        """
        if self.wanted != FORMATION:
            return {}
        missing = [element for element in elements if element not in self._references]
        return elemental_crystals(missing, self.options.reference_structures)

    def with_references(self, energies: Mapping[str, Measurement]) -> Ase:
        """A labeler that measures formation energies against these elemental energies.

        Raises
        ------
        ContractError
            If a measurement holds no energy per atom, or is of another fidelity.
        """
        found = energies_from(energies, self.fidelity)
        return Ase(self.options, wanted=self.wanted, references=self._references | found)

    def prepare(self, candidate: Candidate) -> JobSpec:
        """The job that labels a crystal.

        Raises
        ------
        UserError
            If the candidate has no structure or an element that the calculator does not know, or if there is no
            such calculator.
        ContractError
            If a formation energy is wanted and an element's energy is not known.
        """
        self._check(candidate)
        assert candidate.crystal is not None
        chosen = self.options
        curve = {"n_volumes": chosen.n_volumes, "volume_range": chosen.volume_range}
        inputs = {
            "crystal": candidate.crystal.to_json(),
            "calculator": chosen.calculator,
            "calculator_options": chosen.calculator_options,
            "relax": chosen.relax,
            "fmax": chosen.fmax,
            "max_steps": chosen.max_steps,
            "references": energies_for(candidate, self._references) if self.wanted == FORMATION else None,
            "equation_of_state": curve if self.wanted == _BULK_MODULUS else None,
        }
        return JobSpec("active_learning.labelers.ase_job:run", inputs)

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """The measurement that a job left, or why it left none."""
        result = read_result(job_dir)
        if isinstance(result, Failure):
            return result
        return measurement_from(result, self.wanted, _UNITS, self.fidelity)

    def _check(self, candidate: Candidate) -> None:
        name = self.options.calculator
        if ":" not in name and name not in _CALCULATORS:
            raise UserError(
                f"ASE has no calculator named {name!r}.{did_you_mean(name, _CALCULATORS)} "
                'A calculator from elsewhere is named as "module:Class".'
            )
        if candidate.crystal is None:
            raise UserError(f"{candidate.formula} is a bare composition; labeler 'ase' needs a crystal structure")
        for element, reason in self.unsupported(candidate.elements).items():
            raise UserError(f"{candidate.formula} holds {element}: {reason}")
