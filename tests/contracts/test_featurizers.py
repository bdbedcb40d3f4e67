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
