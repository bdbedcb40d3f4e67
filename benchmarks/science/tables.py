"""The five labeled tables: where they come from, what is sought in them, and their descriptors.

Two are inside installed packages (pymatgen's experimental formation enthalpies, matminer's transport database), three
in ../shared/data beside this repository. A material that several rows speak of has the median of their values.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core.composition import Composition

from active_learning.featurizers.fast_compositions import FastComposition, fast

__all__ = ["TABLES", "Table"]

Floats = NDArray[np.float64]

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
MOST = 2_500
"""Of a larger table as many rows are drawn, always the same: what a peer takes for 50,000 is not what is asked here."""


@dataclass(frozen=True, eq=False)
class Table:
    """Candidates with descriptors and labels.

    Parameters
    ----------
    X : (n_candidates, n_features)
    y : (n_candidates,), in `unit`
    is_maximized : whether the highest values are the best; otherwise the lowest are
    """

    name: str
    names: tuple[str, ...]
    X: Floats
    y: Floats
    unit: str
    is_maximized: bool

    @property
    def merit(self) -> Floats:
        """(n_candidates,), higher is better."""
        return self.y if self.is_maximized else -self.y

    @property
    def n_best(self) -> int:
        """How many are the best 1 %, at least 3."""
        return max(3, round(len(self.y) / 100))


def _magpie() -> FastComposition:
    descriptor = fast("ElementProperty", {"preset": "magpie"})
    assert descriptor is not None
    return descriptor


def _of_formulas(name: str, formulas: list[str], values: Floats, unit: str, is_maximized: bool) -> Table:
    """Rows of one composition become one; rows with a missing descriptor or value are left out."""
    table = pd.DataFrame({"formula": [Composition(f).reduced_formula for f in formulas], "value": values})
    median = table.dropna().groupby("formula", sort=True)["value"].median()
    if len(median) > MOST:
        median = median.sample(MOST, random_state=0).sort_index()
    amounts = [Composition(formula).get_el_amt_dict() for formula in median.index]
    X = _magpie().values(amounts)
    is_whole = np.isfinite(X).all(axis=1)
    return Table(
        name=name,
        names=tuple(median.index[is_whole]),
        X=X[is_whole],
        y=median.to_numpy(dtype=np.float64)[is_whole],
        unit=unit,
        is_maximized=is_maximized,
    )


def _formation_enthalpy() -> Table:
    packed = resources.files("pymatgen.analysis.compatibility") / "exp_compounds.json.gz"
    rows = json.loads(gzip.decompress(packed.read_bytes()))
    formulas = [row["formula"] for row in rows]
    energies = [row["exp energy"] / Composition(row["formula"]).num_atoms for row in rows]
    return _of_formulas("formation enthalpy", formulas, np.array(energies), "eV/atom", is_maximized=False)


def _conductivity() -> Table:
    """Of holes, in constant relaxation time (Ricci et al., 2017). A logarithm, since it spans nine decades."""
    folder = resources.files("matminer.utils.data_files") / "mp_transport"
    packed = (folder / "transport_database.tar.xz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:xz") as tar:
        member = tar.extractfile("transport_database.csv")
        assert member is not None
        rows = pd.read_csv(member)
    rows = rows[rows["sigma_p"] > 0]
    values = np.log10(rows["sigma_p"].to_numpy())
    return _of_formulas("conductivity", list(rows["pretty_formula"]), values, "log10(S/m/s)", is_maximized=True)


def _band_gap() -> Table:
    rows = pd.read_csv(SHARED / "bandgapml_expt_gap_nonmetals.csv")
    return _of_formulas("band gap", list(rows["Composition"]), rows["Eg"].to_numpy(), "eV", is_maximized=True)


def _hardness() -> Table:
    rows = pd.read_csv(SHARED / "heabench_borg2020_mpea.csv").dropna(subset=["PROPERTY: HV"])
    formulas = [formula.replace(" ", "") for formula in rows["FORMULA"]]
    return _of_formulas("hardness", formulas, rows["PROPERTY: HV"].to_numpy(), "HV", is_maximized=True)


def _diffusion_barrier() -> Table:
    """Host and solute are not the same thing: the descriptors are the elements' properties, first the host's."""
    rows = pd.read_csv(SHARED / "mastml_dilute_solute_diffusion_barrier.csv")
    magpie = _magpie()
    is_mean = np.array([" mean " in name for name in magpie.names])
    sides = [
        magpie.values([{symbol: 1.0} for symbol in rows[f"Material compositions {side}"]])[:, is_mean]
        for side in (1, 2)
    ]
    return Table(
        name="diffusion barrier",
        names=tuple(rows["Material compositions joined"]),
        X=np.concatenate(sides, axis=1),
        y=rows["E_regression"].to_numpy(dtype=np.float64),
        unit="eV",
        is_maximized=True,
    )


TABLES: Mapping[str, Callable[[], Table]] = {
    "formation enthalpy": _formation_enthalpy,
    "conductivity": _conductivity,
    "band gap": _band_gap,
    "hardness": _hardness,
    "diffusion barrier": _diffusion_barrier,
}
