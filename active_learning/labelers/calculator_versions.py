"""Which version of a calculator's code computes: labels are shared only among those of one version."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from active_learning.errors import UserError
from active_learning.labelers.machine_learned import POTENTIALS

__all__ = ["calculator_version"]

_ASE_OWN = frozenset({"emt", "lj", "morse", "eam"})
"""Calculators of ASE that are ASE's own code, and run no other program."""


def calculator_version(calculator: str) -> Mapping[str, str]:
    """Package -> version behind a calculator; empty for ASE's own.

    Raises
    ------
    UserError
        If it is not known here.
    """
    if calculator in _ASE_OWN:
        return {}
    module, is_elsewhere, _ = calculator.partition(":")
    if calculator in POTENTIALS:
        packages = [POTENTIALS[calculator].package]
    elif is_elsewhere:
        packages = packages_distributions().get(module.partition(".")[0], [])
    else:
        packages = []
    try:
        found = {package: version(package) for package in sorted(set(packages))}
    except PackageNotFoundError as error:
        raise UserError(_unknown(calculator, f"{error.name} is not installed here")) from error
    if not found:
        raise UserError(_unknown(calculator, "it comes from no installed package"))
    return found


def _unknown(calculator: str, why: str) -> str:
    return (
        f"Labels of the calculator {calculator!r} cannot be shared: which version of its code computes is not known"
        f" ({why}). Leave [cache] out, or take a labeler of its own for the program."
    )
