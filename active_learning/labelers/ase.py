"""Labels from any ASE calculator: energy, formation energy, volume, bulk modulus."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from ase.calculators import emt
from ase.calculators.calculator import names as calculator_names
from pydantic import AfterValidator, Field, FiniteFloat

from active_learning.domain import options
from active_learning.domain.candidate import Candidate
from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.domain.hints import did_you_mean
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, Measurement
from active_learning.errors import ContractError, UserError
from active_learning.labelers.elemental_crystals import elemental_crystals
from active_learning.labelers.results import check_property, measurement_from, read_result

__all__ = ["Ase"]

_ENERGY = "energy_per_atom"
_FORMATION = "formation_energy_per_atom"
_BULK_MODULUS = "bulk_modulus"
_UNITS: Mapping[str, str] = {
    _ENERGY: "eV/atom",
    _FORMATION: "eV/atom",
    "volume_per_atom": "Angstrom^3/atom",
    _BULK_MODULUS: "GPa",
}
# Names that ase.calculators.calculator.get_calculator_class knows beside its list.
_CALCULATORS = frozenset(calculator_names) | {"ace", "mace_mp", "mattersim"}
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


def _element(symbol: str) -> str:
    if symbol not in ATOMIC_NUMBERS:
        raise ValueError(f"{symbol!r} is not a chemical symbol")
    return symbol


PlainTable = Annotated[dict[str, Any], AfterValidator(_plain)]
Element = Annotated[str, AfterValidator(_element)]


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
            description='A calculator of ASE by its name there ("emt", "lj", "espresso", ...), or "module:Class".'
        )
        calculator_options: PlainTable = Field({}, description="Arguments for the calculator.")
        relax: Literal["none", "positions", "cell"] = Field(
            "none", description="What moves before the energy is taken: nothing, the atoms, or atoms and cell."
        )
        fmax: float = Field(0.02, gt=0, description="Relax until the largest force is below this, in eV/Angstrom.")
        max_steps: int = Field(300, ge=1, description="Steps of relaxation before the candidate counts as unconverged.")
        fidelity: str | None = Field(
            None, min_length=1, description="Name of the level of theory; without it, the calculator's name."
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
        self, options: Options, *, wanted: str = _ENERGY, references: Mapping[str, float] | None = None
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
        """The level of theory: what the user calls it, else the calculator's name."""
        return self.options.fidelity or self.options.calculator.rpartition(":")[2]

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
        if self.wanted != _FORMATION:
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
        for element, measured in energies.items():
            if measured.values.get(_ENERGY, (0.0, ""))[1] != _UNITS[_ENERGY]:
                raise ContractError(f"the reference of {element} holds no {_ENERGY} in {_UNITS[_ENERGY]}")
            if measured.fidelity != self.fidelity:
                raise ContractError(f"the reference of {element} is {measured.fidelity!r}, not {self.fidelity!r}")
        found = {element: measured.values[_ENERGY][0] for element, measured in energies.items()}
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
            "references": self._energies_of(candidate) if self.wanted == _FORMATION else None,
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

    def _energies_of(self, candidate: Candidate) -> dict[str, float]:
        missing = [element for element in candidate.elements if element not in self._references]
        if missing:
            raise ContractError(f"a formation energy needs the elements' energies first: {', '.join(missing)}")
        return {element: self._references[element] for element in candidate.elements}
