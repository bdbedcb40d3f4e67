"""What the tests of featurizers share: real crystals, and a comparison with matminer called plainly."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matminer.featurizers.conversions import CompositionToOxidComposition, StructureToOxidStructure
from pymatgen.core.lattice import Lattice
from pymatgen.core.periodic_table import get_el_sp
from pymatgen.core.structure import Structure

from active_learning.domain.candidate import Candidate, Crystal
from active_learning.featurizers.matminer import Matminer

_DATA = Path(__file__).parents[1] / "data" / "crystals.json.gz"


@cache
def _records() -> list[dict[str, Any]]:
    with gzip.open(_DATA, "rt", encoding="utf-8") as file:
        records: list[dict[str, Any]] = json.load(file)
    return sorted(records, key=lambda record: len(record["crystal"]["species"]))


def _structures(n: int) -> list[Structure]:
    crystals = [record["crystal"] for record in _records()[:n]]
    return [Structure(Lattice(c["lattice"]), c["species"], c["frac_coords"]) for c in crystals]


def _inputs(takes: str, n: int) -> list[Any]:
    structures = _structures(n)
    match takes:
        case "composition":
            return [structure.composition for structure in structures]
        case "reduced composition":
            return [structure.composition.reduced_composition for structure in structures]
        case "charged composition":
            return [CompositionToOxidComposition().featurize(s.composition)[0] for s in structures]
        case "composition of charged crystal":
            return [StructureToOxidStructure().featurize(s)[0].composition for s in structures]
        case "charged crystal":
            return [StructureToOxidStructure().featurize(s)[0] for s in structures]
    assert takes == "crystal"
    return structures


def _answers(theirs: Callable[[], Any], takes: str, n: int, columns: Any) -> tuple[list[str], list[Any]]:
    """Matminer's labels, and for each crystal its features or the exception that it raised."""

    def taken(values: Sequence[Any]) -> np.ndarray:
        return np.array(values, dtype=object)[slice(None) if columns is None else columns]

    rows: list[Any] = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        featurizer = theirs()
        for value in _inputs(takes, n):
            try:
                rows.append(taken(featurizer.featurize(value)).astype(np.float64))
            except Exception as error:  # noqa: BLE001 - that it raises is its answer
                rows.append(error)
        return list(taken(featurizer.feature_labels())), rows


def _compare(
    item: Any, theirs: Callable[[], Any], takes: str, *, n: int = 50, columns: Any = None, fast: bool = True
) -> None:
    """Our features are matminer's, NaN for NaN and a failure where it raises.

    Parameters
    ----------
    item : of `sets`
    theirs : builds matminer's featurizer
    takes : what it is given; "charged" with oxidation states that matminer guesses
    n : how many of the crystals, the smallest
    columns : of matminer's, where we take some of them only
    """
    # pymatgen takes Al3+ for the Al3.0+ that some pool asked for before, and matminer slices by that number.
    get_el_sp.cache_clear()
    ours = Matminer(Matminer.Options(sets=[item], fast=fast))
    candidates = [Candidate.of(Crystal.from_json(record["crystal"])) for record in _records()[:n]]
    block = ours.featurize(candidates)
    labels, rows = _answers(theirs, takes, n, columns)
    assert list(ours.names) == labels
    n_compared = 0
    for number, row in enumerate(rows):
        if isinstance(row, Exception):
            assert np.isnan(block.values[number]).all()
            assert number in block.failures
            continue
        n_compared += 1
        expected = np.where(np.isfinite(row), row, np.nan)
        np.testing.assert_allclose(block.values[number], expected, rtol=1e-9, atol=1e-9, equal_nan=True)
        assert (number in block.failures) == bool(np.isnan(expected).any())
    assert n_compared >= min(n, 20), (
        f"matminer raised for most of them: {[r for r in rows if isinstance(r, Exception)][:1]!r}"
    )


@pytest.fixture(scope="session")
def compare() -> Callable[..., None]:
    return _compare


@pytest.fixture(scope="session")
def crystals() -> list[Candidate]:
    """Fifty real crystals, the smallest first."""
    return [Candidate.of(Crystal.from_json(record["crystal"])) for record in _records()]


@pytest.fixture(scope="session")
def structures() -> list[Structure]:
    """The same as pymatgen's structures, made without us."""
    return _structures(50)
