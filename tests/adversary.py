"""Plug-ins for campaigns under attack. Copied beside a campaign file, as a user's own module would lie there.

What `MoodyEMT` does depends on the formula, so a test knows whom it hits.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.emt import EMT

from active_learning.domain import options
from active_learning.domain.candidate import Candidate
from active_learning.domain.protocols import FeatureBlock

LAUNCHED = "launched.log"
"""In the workdir: one line a job that really ran, the name of its directory."""


def _log_launch() -> None:
    directory = Path.cwd()
    handle = os.open(directory.parents[1] / LAUNCHED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, f"{directory.name}\n".encode())
    os.close(handle)


class LoggingEMT(EMT):  # type: ignore[misc] # ASE has no types
    """EMT that notes each job it is used in, and takes its time."""

    def __init__(self, seconds: float = 0.0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._seconds = seconds
        _log_launch()

    def calculate(self, *arguments: Any, **named: Any) -> None:
        """As EMT does, later."""
        time.sleep(self._seconds)
        super().calculate(*arguments, **named)


class MoodyEMT(LoggingEMT):
    """EMT that does to each formula what `moods` says: raise, nan, hang, exit or kill; anything else is calculated."""

    def __init__(self, moods: dict[str, str], seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self._moods = moods

    def calculate(self, atoms: Any, *arguments: Any, **named: Any) -> None:
        """As EMT does, or not."""
        formula = atoms.get_chemical_formula(mode="metal", empirical=True)
        mood = self._moods.get(formula, self._moods.get("*", ""))
        if mood == "raise":
            raise RuntimeError("the charge density sloshes")
        if mood == "hang":
            time.sleep(3600)
        if mood == "exit":
            os._exit(7)
        if mood == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        super().calculate(atoms, *arguments, **named)
        if mood == "nan":
            self.results["energy"] = self.results["free_energy"] = float("nan")


class TalkativeEMT(LoggingEMT):
    """EMT of a service that wants a key, and says it aloud where it should not."""

    def __init__(self, api_key: str) -> None:
        super().__init__()
        self._api_key = api_key

    def calculate(self, atoms: Any, *arguments: Any, **named: Any) -> None:
        """As EMT does; one formula is refused."""
        address = f"https://me:{self._api_key}@potentials.example/v1?api_key={self._api_key}"
        print(f"asking {address}")
        if atoms.get_chemical_formula(mode="metal", empirical=True) == "AuCu3":
            raise RuntimeError(f"refused by {address}")
        super().calculate(atoms, *arguments, **named)


class Fractions:
    """Features without matminer: fractions of a few elements and the volume of an atom; quick to load.

    It refuses candidates that hold an element of `refuse`, and dies of one whose origin holds the text `die`.
    """

    class Options(options.Options):
        """Keys of the table `[features]`."""

        seconds: float = 0.0
        refuse: tuple[str, ...] = ()
        die: str = ""

    names = ("Al", "Cu", "Ag", "Au", "volume_per_atom")

    def __init__(self, options: Options) -> None:
        self.options = options

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """A row for each."""
        values, failures = np.zeros((len(candidates), len(self.names))), {}
        for row, candidate in enumerate(candidates):
            time.sleep(self.options.seconds)
            if self.options.die and self.options.die in candidate.origin:
                sys.exit(9)
            if refused := sorted(set(self.options.refuse) & set(candidate.elements)):
                failures[row] = f"nothing is known of {refused[0]}"
            assert candidate.crystal is not None
            n_atoms = len(candidate.crystal.species)
            volume = abs(np.linalg.det(np.asarray(candidate.crystal.lattice))) / n_atoms
            values[row] = [*(candidate.amounts.get(name, 0.0) / n_atoms for name in self.names[:-1]), volume]
        return FeatureBlock(values, failures)
