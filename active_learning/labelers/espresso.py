"""Labels from Quantum ESPRESSO's pw.x: energies, relaxed volumes, bulk moduli, band gaps, magnetic moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from active_learning.domain.candidate import Candidate
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, Measurement
from active_learning.errors import UserError
from active_learning.labelers.against_elements import ENERGY, FORMATION, UNIT, energies_for, energies_from
from active_learning.labelers.elemental_crystals import elemental_crystals
from active_learning.labelers.espresso_inputs import known_pseudopotentials, namelists, trouble_with
from active_learning.labelers.espresso_options import UNLISTED, EspressoOptions
from active_learning.labelers.kpoints import mesh
from active_learning.labelers.results import check_property, measurement_from, read_result, said_version

__all__ = ["Espresso"]

_BULK_MODULUS = "bulk_modulus"
_BAND_GAP = "band_gap"
_MOMENT = "magnetic_moment_per_atom"
_UNITS: Mapping[str, str] = {
    ENERGY: UNIT,
    FORMATION: UNIT,
    "volume_per_atom": "Angstrom^3/atom",
    _BULK_MODULUS: "GPa",
    _BAND_GAP: "eV",
}


class Espresso:
    """Label crystals with pw.x, the plane-wave DFT code of Quantum ESPRESSO.

    Every label holds energy and volume per atom, with spin the magnetic moment too. A formation energy needs the
    elements' energies (`with_references`), a bulk modulus more runs, a band gap empty bands: these are computed only
    if they are wanted (`for_property`).

    Parameters
    ----------
    options
    wanted : the property that must come out
    references : element -> energy per atom, eV; computed with these same options
    adds_up : whether energies of different elements will be subtracted, so that all need the same cut-offs
    """

    Options = EspressoOptions

    def __init__(
        self,
        options: EspressoOptions,
        *,
        wanted: str = ENERGY,
        references: Mapping[str, float] | None = None,
        adds_up: bool = False,
    ) -> None:
        self.options = options
        self.wanted = wanted
        self._references = dict(options.references) | dict(references or {})
        self._adds_up = adds_up or wanted == FORMATION

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of each property this labeler can give; a magnetic moment needs spin."""
        return {**_UNITS, _MOMENT: "mu_B/atom"} if self.options.spin else _UNITS

    @property
    def fidelity(self) -> str:
        """The level of theory, as the user calls it."""
        return self.options.fidelity

    def protocol(self) -> Mapping[str, Any]:
        """The code and its version; all else stands in a job's inputs.

        Raises
        ------
        UserError
            If the file does not say the version.
        """
        return {"code": "pw.x", "version": said_version(self.options.version, "espresso")}

    def for_property(self, name: str) -> Espresso:
        """The same labeler, which computes the property `name` too.

        Raises
        ------
        UserError
            If it cannot give that property.
        """
        if name == _MOMENT and not self.options.spin:
            raise UserError(f"labeler 'espresso' cannot give the property {name!r} without spin: say spin = true")
        check_property(name, self.units, "espresso")
        return Espresso(self.options, wanted=name, references=self._references, adds_up=self._adds_up)

    def unsupported(self, elements: Sequence[str]) -> Mapping[str, str]:
        """Elements without a pseudopotential or a cut-off, with the reason; all, if their functionals differ."""
        return trouble_with(elements, self.options)

    def references(self, elements: Sequence[str]) -> Mapping[str, Candidate]:
        """The elemental crystals behind a formation energy; empty for other properties and for energies given.

        Raises
        ------
        UserError
            If the crystal of some element is not known, or pseudopotentials are of different functionals.
        """
        if self.wanted != FORMATION:
            return {}
        for reason in self.unsupported(elements).values():
            raise UserError(reason)
        missing = [element for element in elements if element not in self._references]
        return elemental_crystals(missing, self.options.reference_structures)

    def with_references(self, energies: Mapping[str, Measurement]) -> Espresso:
        """A labeler that measures formation energies against these elemental energies.

        Raises
        ------
        ContractError
            If a measurement holds no energy per atom, or is of another fidelity.
        """
        found = energies_from(energies, self.fidelity)
        return Espresso(self.options, wanted=self.wanted, references=self._references | found, adds_up=self._adds_up)

    def prepare(self, candidate: Candidate) -> JobSpec:
        """The job that labels a crystal.

        Raises
        ------
        UserError
            If the candidate has no structure, or an element without a cut-off or pseudopotential.
        ContractError
            If a formation energy is wanted and an element's energy is not known.
        """
        chosen = self.options
        if candidate.crystal is None:
            raise UserError(f"{candidate.formula} is a bare composition; labeler 'espresso' needs a crystal structure")
        for reason in self.unsupported(candidate.elements).values():
            raise UserError(f"{candidate.formula} cannot be labeled: {reason}")
        curve = {"n_volumes": chosen.n_volumes, "volume_range": chosen.volume_range}
        pseudopotentials = known_pseudopotentials(candidate.elements, chosen)
        start = {element: chosen.starting_magnetization.get(element, UNLISTED) for element in candidate.elements}
        inputs = {
            "crystal": candidate.crystal.to_json(),
            "command": list(chosen.command),
            "version": chosen.version,
            "pseudo_dir": str(chosen.pseudo_dir.absolute()),
            "pseudopotentials": pseudopotentials,
            "namelists": namelists(candidate.elements, chosen, adds_up=self._adds_up),
            "kpoints": list(mesh(candidate.crystal, chosen.kspacing)),
            "starting_magnetization": start if chosen.spin else None,
            "relax": chosen.relax,
            "band_gap": self.wanted == _BAND_GAP,
            "references": energies_for(candidate, self._references) if self.wanted == FORMATION else None,
            "equation_of_state": curve if self.wanted == _BULK_MODULUS else None,
        }
        # Where pseudopotentials lie does not matter as long as it is known what they are.
        are_known = all(known["md5"] for known in pseudopotentials.values())
        of_machine = frozenset({"command", "pseudo_dir"} if are_known else {"command"})
        return JobSpec("active_learning.labelers.espresso_job:run", inputs, of_machine=of_machine)

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """The measurement that a job left, or why it left none."""
        result = read_result(job_dir)
        if isinstance(result, Failure):
            return result
        return measurement_from(result, self.wanted, self.units, self.fidelity)
