"""Labels from VASP: energy, formation energy, volume, band gap, magnetic moment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, PositiveFloat

from active_learning.domain import options
from active_learning.domain.candidate import Candidate
from active_learning.domain.hints import did_you_mean
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.errors import UserError
from active_learning.labelers.against_elements import ENERGY, FORMATION, UNIT, Element, energies_for, energies_from
from active_learning.labelers.ase import PlainTable
from active_learning.labelers.elemental_crystals import elemental_crystals
from active_learning.labelers.programs import CORES, PYTHON, checked_command
from active_learning.labelers.results import check_property, measurement_from, read_result, said_version
from active_learning.labelers.vasp_inputs import INCAR_TAGS, INPUT_SETS, VaspFiles, vasp_files

__all__ = ["Vasp"]

_MOMENT = "magnetic_moment_per_atom"
_UNITS: Mapping[str, str] = {
    ENERGY: UNIT,
    FORMATION: UNIT,
    "volume_per_atom": "Angstrom^3/atom",
    "band_gap": "eV",
    _MOMENT: "mu_B/atom",
}
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")


def _set_name(name: str) -> str:
    if name not in INPUT_SETS:
        raise ValueError(f"no input set {name!r}.{did_you_mean(name, INPUT_SETS)} There are: {', '.join(INPUT_SETS)}")
    return name


def _tags(incar: dict[str, Any]) -> dict[str, Any]:
    for tag in incar:
        if tag not in INCAR_TAGS:
            # VASP ignores what it does not know, and goes on without a word.
            raise ValueError(f"INCAR has no tag {tag!r}, as far as pymatgen knows.{did_you_mean(tag, INCAR_TAGS)}")
    return incar


def _potentials(names: dict[str, str]) -> dict[str, str]:
    for element, name in names.items():
        if not _SYMBOL.fullmatch(name) or re.match(r"[A-Z][a-z]?", name) is None:
            raise ValueError(f"{name!r} is not the name of a pseudopotential, such as {element}_pv")
    return names


class Vasp:
    """Label crystals with VASP, by an input set of pymatgen.

    The program and its licensed pseudopotentials are the user's. The job runs it on the files of the input set, and
    gives numbers only if `vasprun.xml` is whole, the electrons of its last step converged, and the atoms came to rest.

    Every label holds energy and volume per atom; the band gap between the bands at the run's own k-points (0 for
    metals); and, of runs with spin, the cell's total magnetic moment, without its sign (0 for antiferromagnets, too).

    Parameters
    ----------
    options
    wanted : the property that must come out
    references : element -> energy per atom, eV; computed with these same options
    """

    class Options(options.Options):
        """Keys of ``[labeler]`` with ``kind = "vasp"``."""

        command: Annotated[tuple[str, ...], AfterValidator(checked_command((CORES, PYTHON)))] = Field(
            ("mpirun", "-np", CORES, "vasp_std"),
            description="The program and its arguments, one by one; {cores} is the job's number of cores.",
        )
        input_set: Annotated[str, AfterValidator(_set_name)] = Field(
            "MPRelaxSet", description=f"Input set of pymatgen: {', '.join(INPUT_SETS)}."
        )
        incar: Annotated[PlainTable, AfterValidator(_tags)] = Field(
            {}, description="INCAR settings that replace those of the input set."
        )
        kpoints: dict[Literal["reciprocal_density", "grid_density", "length"], PositiveFloat] = Field(
            {}, max_length=1, description="One measure of pymatgen for a mesh that replaces the input set's."
        )
        potcar: Annotated[dict[Element, str], AfterValidator(_potentials)] = Field(
            {}, description="Pseudopotentials that replace those of the input set: element -> name."
        )
        potcar_functional: Literal["PBE", "PBE_52", "PBE_54", "PBE_64", "LDA", "LDA_52", "LDA_54", "PW91"] | None = (
            Field(None, description="Family of pseudopotentials; without it, the input set's.")
        )
        potcar_dir: options.FilePath | None = Field(
            None, description="Your library of pseudopotentials; without it, PMG_VASP_PSP_DIR of pymatgen's settings."
        )
        fidelity: str | None = Field(
            None, min_length=1, description="Name of the level of theory; without it, 'vasp-' and the input set."
        )
        version: str | None = Field(
            None,
            min_length=1,
            description="VASP's version, such as '6.4.2'; another one's results are refused. Needed to share labels.",
        )
        references: dict[Element, FiniteFloat] = Field(
            {}, description="Energy per atom (eV) of elements, by the same settings, for formation energies."
        )
        reference_structures: dict[Element, options.FilePath] = Field(
            {}, description="Structure files of elements whose crystal ASE does not know, for formation energies."
        )

    def __init__(
        self, options: Options, *, wanted: str = ENERGY, references: Mapping[str, float] | None = None
    ) -> None:
        self.options = options
        self.wanted = wanted
        if options.kpoints and "KSPACING" in options.incar:
            raise UserError("the mesh of k-points is given twice: `kpoints`, and KSPACING in `incar`")
        self._references = dict(options.references) | dict(references or {})

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of each property this labeler can give."""
        return _UNITS

    @property
    def fidelity(self) -> str:
        """The level of theory: what the user calls it, else the input set."""
        return self.options.fidelity or f"vasp-{self.options.input_set}"

    def protocol(self) -> Mapping[str, Any]:
        """What the values depend on beside a job's inputs and files.

        Raises
        ------
        UserError
            If the file does not say VASP's version.
        """
        return {"code": "vasp", "version": said_version(self.options.version, "vasp"), "fidelity": self.fidelity}

    def for_property(self, name: str) -> Vasp:
        """The same labeler, whose results must hold the property `name`.

        Raises
        ------
        UserError
            If it cannot give that property.
        """
        check_property(name, _UNITS, "vasp")
        return Vasp(self.options, wanted=name, references=self._references)

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

    def with_references(self, energies: Mapping[str, Measurement]) -> Vasp:
        """A labeler that measures formation energies against these elemental energies.

        Raises
        ------
        ContractError
            If a measurement holds no energy per atom, or is of another fidelity.
        """
        found = energies_from(energies, self.fidelity)
        return Vasp(self.options, wanted=self.wanted, references=self._references | found)

    def prepare(self, candidate: Candidate) -> JobSpec:
        """The job that labels a crystal.

        Raises
        ------
        UserError
            If the candidate has no structure, a pseudopotential is missing, the input set refuses the crystal or the
            settings, or the settings cannot give what is wanted.
        ContractError
            If a formation energy is wanted and an element's energy is not known.
        """
        if candidate.crystal is None:
            raise UserError(f"{candidate.formula} is a bare composition; labeler 'vasp' needs a crystal structure")
        chosen = self.options
        files = vasp_files(
            candidate.crystal,
            chosen.input_set,
            incar=chosen.incar,
            kpoints={str(key): value for key, value in chosen.kpoints.items()},
            potcar=chosen.potcar,
            functional=chosen.potcar_functional,
            library=chosen.potcar_dir,
        )
        self._check(candidate, files)
        inputs = {
            "command": list(chosen.command),
            "amounts": dict(candidate.amounts),
            "references": energies_for(candidate, self._references) if self.wanted == FORMATION else None,
        }
        return JobSpec("active_learning.labelers.vasp_job:run", inputs | dict(files.settings), dict(files.texts))

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """The measurement that a job left, or why it left none."""
        result = read_result(job_dir)
        if isinstance(result, Failure):
            return result
        wanted, found = self.options.version, str(result.get("version"))
        if wanted is not None and not found.startswith(wanted):
            return Failure(FailureKind.REJECTED, f"this is version {found} of VASP, asked for was {wanted}")
        return measurement_from(result, self.wanted, _UNITS, self.fidelity)

    def _check(self, candidate: Candidate, files: VaspFiles) -> None:
        incar = files.settings["incar"]
        if self.wanted == FORMATION and incar.get("LDAU"):
            raise UserError(
                f"{self.options.input_set} gives atoms in {candidate.formula} a Hubbard U, and none to the elements:"
                " such energies do not compare. Say LDAU = false in [labeler.incar], or seek energy_per_atom"
            )
        if self.wanted == _MOMENT and (incar.get("ISPIN", 1) != 2 or incar.get("LNONCOLLINEAR")):
            raise UserError(f"{_MOMENT} needs a collinear calculation with spin: ISPIN = 2 in [labeler.incar]")
