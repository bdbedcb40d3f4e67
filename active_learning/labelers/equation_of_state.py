"""The third-order Birch-Murnaghan equation of state, fitted to energies at some volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

__all__ = ["EquationOfState", "fit_birch_murnaghan"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EquationOfState:
    """A fitted curve: volume (cubic Angstrom) and energy (eV) at its minimum, bulk modulus there (GPa).

    `rmse` is the fit's root-mean-square residual, in eV.
    """

    volume: float
    energy: float
    bulk_modulus: float
    rmse: float


def fit_birch_murnaghan(volumes: Floats, energies: Floats) -> EquationOfState:
    """Least-squares fit; the equation is a cubic polynomial in ``x = V**(-2/3)``, so the fit is linear.

    At the minimum ``dE/dx = 0`` and ``B = V d2E/dV2 = (4/9) V**(-7/3) d2E/dx2``.

    Parameters
    ----------
    volumes : (n,), cubic Angstrom, n >= 5
    energies : (n,), eV

    Raises
    ------
    ValueError
        If the curve has no minimum among the sampled volumes: then its curvature would be extrapolated.

    References
    ----------
    Birch (1947), doi:10.1103/PhysRev.71.809.
    """
    # In units of the mean volume x is near 1, and the polynomial well conditioned.
    unit = float(np.mean(volumes))
    x = (np.asarray(volumes) / unit) ** (-2 / 3) - 1.0
    curve = np.polynomial.Polynomial.fit(x, energies, 3, domain=[-1, 1], window=[-1, 1])
    slopes = curve.deriv().roots()
    minima = [float(root.real) for root in slopes if abs(root.imag) < 1e-12 and curve.deriv(2)(root.real) > 0]
    inside = [root for root in minima if x.min() <= root <= x.max()]
    if len(inside) != 1:
        raise ValueError(
            f"the energy has no minimum between {np.min(volumes):.4g} and {np.max(volumes):.4g} cubic Angstrom"
        )
    relative = (1.0 + inside[0]) ** -1.5
    curvature = float(curve.deriv(2)(inside[0]))
    bulk_modulus = 4 / 9 * relative ** (-7 / 3) * curvature / unit / GPa
    rmse = float(np.sqrt(np.mean((curve(x) - energies) ** 2)))
    return EquationOfState(relative * unit, float(curve(inside[0])), float(bulk_modulus), rmse)
