"""Every featurizer of ours keeps the laws of featurizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ase.build import bulk

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Candidate
from active_learning.featurizers.matminer import Matminer
from active_learning.testing.featurizers import FeaturizerContract

ALUMINUM, COPPER, HELIUM, SALT = (
    Candidate.of(from_atoms(atoms))
    for atoms in (bulk("Al"), bulk("Cu", cubic=True), bulk("He", "fcc", a=4.2), bulk("NaCl", "rocksalt", a=5.64))
)


class TestMatminer(FeaturizerContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Matminer

    @pytest.fixture
    def good(self) -> Sequence[Candidate]:
        return [ALUMINUM, COPPER, SALT]

    @pytest.fixture
    def bad(self) -> Sequence[Candidate]:
        return [HELIUM, Candidate({"Al": 1.0, "Cu": 3.0})]


class TestMatminerOnCompositions(TestMatminer):
    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"sets": ["magpie"]}

    @pytest.fixture
    def good(self) -> Sequence[Candidate]:
        # The same formula twice, as a whole number of atoms and as fractions.
        return [Candidate({"Al": 2.0, "Cu": 6.0}), Candidate({"Al": 0.25, "Cu": 0.75}), Candidate({"Ni": 1.0}), SALT]

    @pytest.fixture
    def bad(self) -> Sequence[Candidate]:
        return [HELIUM, Candidate({"Ts": 1.0})]


class TestMatminerWithItsOwnCompositions(TestMatminerOnCompositions):
    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"sets": ["magpie", "stoichiometry"], "fast": False}


class TestMatminerWithOptions(FeaturizerContract):
    """Descriptors of all kinds: labels, options, oxidation states, sites, and one by import path."""

    @pytest.fixture
    def plugin(self) -> Any:
        return Matminer

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {
            "sets": [
                {"name": "radial_distribution", "cutoff": 5.0},
                {"name": "radial_distribution", "cutoff": 4.0, "bin_size": 0.5, "label": "coarse"},
                {"name": "ion_property", "oxidation_states": True},
                "oxidation_states",
                {"name": "ewald_energy", "label": "charges"},
                "generalized_radial_distribution",
                {"name": "sine_coulomb_matrix", "max_atoms": 4},
                {"name": "matminer.featurizers.structure:StructuralComplexity", "symprec": 0.01},
                {"name": "soap", "compression": "mu2", "n_max": 3, "l_max": 2},
            ]
        }

    @pytest.fixture
    def good(self) -> Sequence[Candidate]:
        return [ALUMINUM, COPPER, SALT]

    @pytest.fixture
    def bad(self) -> Sequence[Candidate]:
        return [Candidate({"Al": 1.0, "Cu": 3.0}), Candidate({"Fe": 0.123456, "O": 0.876544})]


class TestMatminerOfGivenNumbers(FeaturizerContract):
    @pytest.fixture
    def plugin(self) -> Any:
        return Matminer

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"sets": [{"name": "given", "columns": ["band gap", "hardness"]}]}

    @pytest.fixture
    def good(self) -> Sequence[Candidate]:
        return [
            Candidate({"Al": 1.0}, given={"band gap": 0.0, "hardness": 1.5}),
            Candidate({"Si": 1.0}, given={"band gap": 1.1, "hardness": 11.0, "price": 1.0}),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Candidate]:
        return [Candidate({"C": 1.0}), Candidate({"B": 1.0}, given={"band gap": 1.6, "hardness": float("nan")})]
