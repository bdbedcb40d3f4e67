"""The options of the labeler `espresso`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from active_learning.domain import options
from active_learning.labelers.against_elements import Element
from active_learning.labelers.namelists import Namelists
from active_learning.labelers.programs import CORES, PYTHON, checked_command

__all__ = ["UNLISTED", "CutOffs", "EspressoOptions"]

UNLISTED = 0.1
"""Where magnetization starts for elements that are not listed: enough to grow where the element is magnetic."""


def _file_name(name: str) -> str:
    if Path(name).name != name or name in ("", ".", "..") or "\0" in name:
        raise ValueError(f"{name!r} is not the name of a file in `pseudo_dir`")
    return name


def _by_element(value: Any) -> Any:
    if isinstance(value, dict) and not value:
        raise ValueError("a table of cut-offs names at least one element")
    return value


Command = Annotated[tuple[str, ...], AfterValidator(checked_command((CORES, PYTHON)))]
FileName = Annotated[str, AfterValidator(_file_name)]
CutOff = Annotated[float, Field(gt=0, allow_inf_nan=False)]
CutOffs = Annotated[CutOff | dict[Element, CutOff], AfterValidator(_by_element)]


class EspressoOptions(options.Options):
    """Keys of ``[labeler]`` with ``kind = "espresso"``."""

    command: Command = Field(
        ("pw.x",),
        description='The program and its arguments, such as ["mpirun", "-np", "{cores}", "pw.x"]; {cores} is how many '
        "cores a job may use.",
    )
    version: str | None = Field(
        None, min_length=1, description='Version that pw.x must print, such as "6.7MaX"; without it, any.'
    )
    pseudo_dir: options.FilePath = Field(description="Folder of pseudopotentials, where the jobs run.")
    pseudopotentials: dict[Element, FileName] = Field(
        {}, description="File (UPF) of an element; without it, the only one in the folder that is of the element."
    )
    ecutwfc: CutOffs = Field(
        description="Cut-off of the wavefunctions in Ry: one number, or a table of elements, of which a crystal "
        "takes the largest; formation energies take the largest of the table for all."
    )
    ecutrho: CutOffs | None = Field(
        None,
        description="Cut-off of the density in Ry, likewise; without it, four times ecutwfc, which ultrasoft and "
        "PAW pseudopotentials do not allow.",
    )
    kspacing: float = Field(
        0.25,
        gt=0,
        allow_inf_nan=False,
        description="Largest distance of k-points along a reciprocal vector, in 1/Angstrom, 2 pi included; the "
        "mesh holds Gamma and may be odd or even.",
    )
    smearing: Literal["none", "gaussian", "methfessel-paxton", "marzari-vanderbilt", "fermi-dirac"] = Field(
        "marzari-vanderbilt", description="How occupations are smeared; none is for insulators only."
    )
    degauss: float = Field(0.02, gt=0, allow_inf_nan=False, description="Width of the smearing in Ry.")
    spin: bool = Field(False, description="Whether spin up and down may differ (collinear).")
    starting_magnetization: dict[Element, Annotated[float, Field(ge=-1, le=1)]] = Field(
        {},
        description=f"Part of an element's valence electrons that is polarized at the start, -1 to 1; {UNLISTED} "
        "for those that are not listed. Needs spin.",
    )
    relax: Literal["none", "positions", "cell"] = Field(
        "none", description="What moves before the energy is taken: nothing, the atoms, or atoms and cell."
    )
    fmax: float = Field(
        0.02, gt=0, allow_inf_nan=False, description="Relax until forces are below this, in eV/Angstrom."
    )
    max_steps: int = Field(100, ge=1, description="Steps of relaxation before the candidate counts as unconverged.")
    input: Namelists = Field({}, description="More variables of pw.x, by namelist: {electrons = {mixing_beta = 0.3}}.")
    fidelity: str = Field("espresso", min_length=1, description="Name of the level of theory.")
    references: dict[Element, FiniteFloat] = Field(
        {}, description="Energy per atom (eV) of elements in the same settings, for formation energies."
    )
    reference_structures: dict[Element, options.FilePath] = Field(
        {}, description="Structure files of elements whose crystal ASE does not know, for formation energies."
    )
    n_volumes: int = Field(7, ge=5, le=51, description="Volumes in the equation of state behind a bulk modulus.")
    volume_range: float = Field(
        0.06, gt=0, le=0.3, description="How far they reach: 0.06 is from -6 % to +6 % of the volume."
    )

    @model_validator(mode="after")
    def _spin_where_it_matters(self) -> EspressoOptions:
        if self.starting_magnetization and not self.spin:
            raise ValueError("starting_magnetization means nothing without spin = true")
        return self
