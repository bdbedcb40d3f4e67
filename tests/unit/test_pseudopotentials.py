"""UPF files, meshes of k-points and namelists: what goes into a calculation."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import kptdensity2monkhorstpack
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Crystal
from active_learning.errors import UserError
from active_learning.labelers.kpoints import mesh
from active_learning.labelers.namelists import Namelists, for_species, merged
from active_learning.labelers.pseudopotentials import (
    choose,
    functional_name,
    needs_more_density,
    of_one_functional,
    read_upf,
    refusal,
)

VERSION_2 = """<UPF version="2.0.1">
<PP_INFO> made by "somebody" <x@y.org> </PP_INFO>
<PP_HEADER generated='Generated using "atomic" code' author="A <a@b.c>" element="{element}"
  pseudo_type="{kind}" functional="{functional}" z_valence="{z}" wfc_cutoff="0.0"/>
<PP_MESH></PP_MESH></UPF>
"""
VERSION_1 = """<PP_INFO>
</PP_INFO>
<PP_HEADER>
   0                   Version Number
  {element}                   Element
   {kind}                   Ultrasoft pseudopotential
    T                  Nonlinear Core Correction
 {functional}    PBE  Exchange-Correlation functional
    {z}      Z valence
  -56.67805286533      Total energy
</PP_HEADER>
"""


def upf(
    folder: Path, name: str, element: str = "Al", functional: str = "SLA PZ NOGX NOGC", kind: str = "NC",
    z: str = "3.000000000000e0", text: str = VERSION_2,
) -> Path:  # fmt: skip
    path = folder / name
    path.write_text(text.format(element=element, functional=functional, kind=kind, z=z))
    return path


def test_headers_of_both_versions_are_read(tmp_path: Path) -> None:
    second = read_upf(upf(tmp_path, "a.UPF", element="al", functional=" SLA  PW   PBX  PBC", kind="PAW"))
    first = read_upf(
        upf(tmp_path, "b.UPF", element="Co", functional="SLA  PW   PBX  PBC", kind="US", z="9.0", text=VERSION_1)
    )
    assert (second.element, second.functional, second.z_valence, second.conserves_norm) == ("Al", "PBE", 3.0, False)
    assert (first.element, first.functional, first.z_valence, first.conserves_norm) == ("Co", "PBE", 9.0, False)
    assert second.md5 == hashlib.md5((tmp_path / "a.UPF").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (" SLA  PZ   NOGX NOGC", "PZ"), ("LDA                 ", "PZ"), ("PZ", "PZ"), ("PBE", "PBE"),
        (" SLA  PW   PBE  PBE", "PBE"), (" SLA  PW   PBX  PBC ", "PBE"), ("sla+pw+psx+psc", "PBESOL"),
        (" SLA  LYP  B88  BLYP", "BLYP"), ("PBESOL", "PBESOL"), ("XC-000i-001i", "XC 000I 001I"),
    ],
)  # fmt: skip
def test_a_functional_has_one_name_however_it_is_spelled(words: str, name: str) -> None:
    assert functional_name(words) == name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no header at all", "has no header of the UPF format"),
        (VERSION_2.replace('element="{element}"', ""), "no usable 'element'"),
        (VERSION_2.replace("{z}", "many"), "could not convert string to float: 'many'"),
    ],
)
def test_what_is_no_pseudopotential_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_upf(upf(tmp_path, "a.UPF", text=text))


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = upf(tmp_path, "a.UPF")
    before = read_upf(path)
    upf(tmp_path, "a.UPF", functional="PBE")
    os.utime(path, ns=(1, 1))
    assert (before.functional, read_upf(path).functional) == ("PZ", "PBE")
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.UPF cannot be read: No such file"):
        read_upf(path)


def test_the_only_file_of_an_element_is_its_pseudopotential(tmp_path: Path) -> None:
    upf(tmp_path, "aluminium.upf")
    upf(tmp_path, "Al.UPF", element="Mg")
    (tmp_path / "Al.broken.UPF").write_text("rubbish")
    (tmp_path / "Al.txt").write_text("rubbish")
    assert {element: found.file for element, found in choose(["Al", "Mg"], tmp_path, {}).items()} == {
        "Al": "aluminium.upf", "Mg": "Al.UPF"
    }  # fmt: skip


def test_a_choice_is_left_to_the_user_and_a_file_of_another_element_is_refused(tmp_path: Path) -> None:
    upf(tmp_path, "Al.pz.UPF")
    upf(tmp_path, "Al.pbe.UPF", functional="PBE")
    with pytest.raises(UserError, match=r"2 pseudopotentials of Al: Al.pbe.UPF \(PBE\), Al.pz.UPF \(PZ\)\. Choose"):
        choose(["Al"], tmp_path, {})
    assert choose(["Al"], tmp_path, {"Al": "Al.pz.UPF"})["Al"].file == "Al.pz.UPF"
    assert refusal("Al", tmp_path, {"Al": "Al.pz.UPF"}) is None
    assert refusal("Mg", tmp_path, {"Mg": "Al.pz.UPF"}) == "the pseudopotential of Mg, Al.pz.UPF, is one of Al"
    assert "has no pseudopotential (.UPF) of Cu" in str(refusal("Cu", tmp_path, {}))
    assert "No such file" in str(refusal("Cu", tmp_path, {"Cu": "Cu.UPF"}))


def test_functionals_that_differ_and_densities_that_are_too_coarse_are_told(tmp_path: Path) -> None:
    upf(tmp_path, "Al.UPF")
    upf(tmp_path, "Cu.UPF", element="Cu", functional="PBE", kind="USPP")
    chosen = choose(["Al", "Cu"], tmp_path, {})
    assert "different functionals, so their energies do not add up: Al PZ (Al.UPF), Cu PBE (Cu.UPF)" in str(
        of_one_functional(chosen)
    )
    assert "Cu.UPF (ultrasoft or PAW) needs `ecutrho`" in str(needs_more_density(chosen))
    assert of_one_functional({"Al": chosen["Al"]}) is None
    assert needs_more_density({"Al": chosen["Al"]}) is None


@pytest.mark.parametrize("atoms", [bulk("Al"), bulk("Mg"), bulk("Si", cubic=True), bulk("Al").repeat((1, 2, 3))])
@pytest.mark.parametrize("spacing", [0.9, 0.31, 0.13])
def test_a_mesh_has_the_spacing_that_is_asked_for(atoms: Any, spacing: float) -> None:
    found = mesh(from_atoms(atoms), spacing)
    lengths = 2 * np.pi * np.linalg.norm(np.asarray(atoms.cell.reciprocal()), axis=1)
    for n, length in zip(found, lengths, strict=True):
        assert length / n <= spacing * (1 + 1e-6)
        assert n == 1 or length / (n - 1) > spacing
    # ASE's density is the inverse of our spacing.
    assert found == tuple(kptdensity2monkhorstpack(atoms, 1 / spacing, even=False))


@given(st.integers(1, 12), st.floats(2.0, 9.0))
def test_rounding_adds_no_division(n: int, a: float) -> None:
    cube = Crystal(((a, 0, 0), (0, a, 0), (0, 0, a)), ("Al",), ((0, 0, 0),))
    assert mesh(cube, 2 * np.pi / a / n) == (n, n, n)


NAMELISTS: TypeAdapter[Any] = TypeAdapter(Namelists)


def test_namelists_hold_text_numbers_truth_and_tables_of_elements() -> None:
    tables = {
        "electrons": {"mixing_beta": 0.3, "electron_maxstep": 80, "mixing_mode": "local-TF"},
        "system": {"Hubbard_U": {"Fe": 4}, "lda_plus_u": True},
    }
    read = NAMELISTS.validate_python(tables)
    assert read["electrons"] == tables["electrons"]
    assert for_species(read, ["O", "Fe", "Co"])["system"] == {"hubbard_u(2)": 4, "lda_plus_u": True}


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        (7, "a table of namelists"),
        ({"electron": {}}, "no namelist 'electron' .*Did you mean 'electrons'"),
        ({"fcp": {}}, "no namelist 'fcp' that may be set here"),
        ({"electrons": 0.3}, "namelist electrons is a table"),
        ({"electrons": {"mixing beta": 1}}, "no name of a namelist's variable"),
        ({"system": {"hubbard_u(1)": 4.0}}, "numbers by species is given by element"),
        ({"system": {"x=1\n/\n&ions y": 4.0}}, "no name of a namelist's variable"),
        ({"system": {"hubbard_u": {"Fx": 4.0}}}, "'Fx' is not a chemical symbol"),
        ({"system": {"hubbard_u": {"Fe": True}}}, "hubbard_u.Fe is a number, got True"),
        ({"system": {"hubbard_u": {"Fe": float("nan")}}}, "hubbard_u.Fe is nan"),
        ({"electrons": {"mixing_beta": float("inf")}}, "mixing_beta is inf"),
        ({"electrons": {"mixing_beta": [1]}}, "is text, true, false or a number"),
        ({"electrons": {"mixing_mode": "a' /"}}, "without quotes"),
        ({"electrons": {"mixing_mode": "a\n"}}, "without quotes"),
        ({"electrons": {"mixing_mode": 'a"'}}, "without quotes"),
        ({"electrons": {"mixing_mode": "a\\n"}}, "without quotes"),
        ({"electrons": {"mixing_mode": "a" * 5000}}, "at most 200"),
        ({"control": {"calculation": "md"}}, "control.calculation is not set here: say `relax`"),
        ({"control": {"OUTDIR": "/tmp"}}, "control.OUTDIR is not set here: the job has its own directories"),
        ({"system": {"noncolin": True}}, "cannot read such results"),
        ({"system": {"ecutwfc": 30}}, "say `ecutwfc`"),
        ({"system": {"A": 3.0}}, "the candidate's crystal says it"),
    ],
)
def test_namelists_that_make_no_sense_are_refused(tables: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        NAMELISTS.validate_python(tables)


def test_the_users_variables_go_over_ours() -> None:
    ours = {"system": {"ecutwfc": 30.0}, "electrons": {"conv_thr": 1e-8}}
    found = merged(ours, {"electrons": {"conv_thr": 1e-10}, "ions": {"upscale": 10}})
    assert found == {"system": {"ecutwfc": 30.0}, "electrons": {"conv_thr": 1e-10}, "ions": {"upscale": 10}}
    assert ours["electrons"] == {"conv_thr": 1e-8}
