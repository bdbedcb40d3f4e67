"""Machine-learned interatomic potentials by short names. Their packages are the user's to install."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["POTENTIALS", "Potential", "build"]


@dataclass(frozen=True)
class Potential:
    """How a calculator is built, and which of its models it is without a word.

    Parameters
    ----------
    package : to install with pip
    calculator : "module:attribute", called with the user's options
    model : the default of the option `model`
    options : others that are not the calculator's own defaults
    loader : "module:attribute" with a method ``load(model_name=...)``, where the calculator takes no model by its name
    """

    package: str
    calculator: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    loader: str | None = None


POTENTIALS: Mapping[str, Potential] = {
    # It would only warn of atoms without neighbors, and its energies of them mean nothing.
    "chgnet": Potential(
        "chgnet",
        "chgnet.model.dynamics:CHGNetCalculator",
        "0.3.0",
        {"on_isolated_atoms": "error"},
        loader="chgnet.model:CHGNet",
    ),
    "sevennet": Potential("sevenn", "sevenn.calculator:SevenNetCalculator", "7net-0"),
    "mace": Potential("mace-torch", "mace.calculators:mace_mp", "medium", {"default_dtype": "float64"}),
}
"""Short name -> potential."""


def _named(path: str, package: str) -> Any:
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; this calculator comes with `pip install {package}`") from error


def _limit_threads() -> None:
    """PyTorch takes all cores of the machine unless told how many; a job has its own number."""
    if "OMP_NUM_THREADS" not in os.environ:
        importlib.import_module("torch").set_num_threads(int(os.environ.get("MOTHERLODE_CORES", "1")))


def build(name: str, options: Mapping[str, Any]) -> Any:
    """The ASE calculator of a short name.

    Parameters
    ----------
    name : one of `POTENTIALS`
    options : for the calculator; `model` is which of its models to take, by its name or file

    Raises
    ------
    ModuleNotFoundError
        If its package is not installed.
    """
    known = POTENTIALS[name]
    make = _named(known.calculator, known.package)
    _limit_threads()
    chosen = {"model": known.model} | dict(known.options) | dict(options)
    if known.loader is not None:
        load = _named(known.loader, known.package).load
        chosen["model"] = load(model_name=chosen["model"], use_device=chosen.get("use_device"), verbose=False)
    return make(**chosen)
