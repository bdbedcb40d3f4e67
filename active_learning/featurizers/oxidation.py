"""Oxidation states: guessed once for each composition, as matminer guesses them, and remembered in a small file."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from math import gcd
from pathlib import Path
from typing import Any

from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Species

from active_learning.errors import ContractError, StoreError

__all__ = ["MAX_ATOMS", "OxidationGuess", "OxidationMemory", "whole_amounts"]

MAX_ATOMS = 50
"""Atoms of the largest reduced formula whose states are guessed, as in matminer: beyond it there are too many ways."""

_FILE = "oxidation_states.db"
_BUSY_S = 60.0
_MOST_PARTS = 100
_SCHEMA = """
CREATE TABLE IF NOT EXISTS oxidation_states (
    formula TEXT NOT NULL,
    guesser TEXT NOT NULL,
    states TEXT NOT NULL,
    PRIMARY KEY (formula, guesser)
) WITHOUT ROWID
"""


def whole_amounts(amounts: Mapping[str, float]) -> dict[str, float]:
    """The smallest whole amounts in the same proportions, or, where there are none, the amounts as they are.

    Proportions of up to a hundred parts of the rarest element are recognized.

    >>> whole_amounts({"Al": 0.25, "Cu": 0.75})
    {'Al': 1.0, 'Cu': 3.0}
    """
    least = min(amounts.values())
    for parts in range(1, _MOST_PARTS + 1):
        scaled = {symbol: amount / least * parts for symbol, amount in amounts.items()}
        if all(abs(amount - round(amount)) < 1e-9 * amount for amount in scaled.values()):
            divisor = gcd(*(round(amount) for amount in scaled.values()))
            return {symbol: float(round(amount) // divisor) for symbol, amount in scaled.items()}
    return dict(amounts)


@dataclass(frozen=True)
class OxidationGuess:
    """The likeliest oxidation states of a formula's atoms.

    Parameters
    ----------
    sites : element -> the state of each of its atoms in the reduced formula; empty if no states are neutral together
    amounts : element -> number of atoms in the reduced formula
    """

    sites: Mapping[str, tuple[int, ...]]
    amounts: Mapping[str, float]

    @property
    def means(self) -> dict[str, float]:
        """Mean state of each element; zero for a pure element, and where no states are neutral together.

        They are what ``Structure.add_oxidation_state_by_guess`` of pymatgen assigns.
        """
        if len(self.amounts) == 1 or not self.sites:
            return dict.fromkeys(self.amounts, 0.0)
        return {symbol: sum(states) / len(states) for symbol, states in self.sites.items()}

    @property
    def composition(self) -> Composition:
        """The reduced formula of ions: what ``Composition.add_charges_from_oxi_state_guesses`` of pymatgen gives."""
        if not self.sites:
            return Composition({Species(symbol, 0): amount for symbol, amount in self.amounts.items()})
        return Composition(Counter(Species(symbol, state) for symbol, states in self.sites.items() for state in states))

    @property
    def mean_composition(self) -> Composition:
        """The reduced formula with one ion of each element, in its mean state: a decorated crystal's composition."""
        return Composition({Species(symbol, state): self.amounts[symbol] for symbol, state in self.means.items()})


class OxidationMemory:
    """Oxidation states, guessed when first asked for.

    Several processes may share the file: each reads and writes in transactions of its own, and waits for the others.

    Parameters
    ----------
    folder : where the file is kept, and made if it is not there; without one, this object alone remembers

    Raises
    ------
    StoreError
        If the file is damaged, or cannot be read or written. Also by `guess`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = None if folder is None else folder / _FILE
        # Another version may guess otherwise, and then must not be answered from this file.
        self._guesser = f"pymatgen {version('pymatgen')}"
        self._known: dict[str, OxidationGuess] = {}
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._connection() as connection:
                self._check(connection)
                connection.execute(_SCHEMA)

    def guess(self, amounts: Mapping[str, float]) -> OxidationGuess:
        """The states of a composition.

        Raises
        ------
        ContractError
            If its amounts are not in proportions of whole numbers, or its reduced formula has too many atoms.
        """
        whole = whole_amounts(amounts)
        if not all(amount.is_integer() for amount in whole.values()):
            raise ContractError("oxidation states are guessed for whole numbers of atoms only")
        # Pymatgen counts two atoms of what is a molecule: O2, Li2O2.
        whole = Composition(whole).reduced_composition.get_el_amt_dict()
        n_atoms = sum(whole.values())
        if n_atoms > MAX_ATOMS:
            raise ContractError(
                f"oxidation states are guessed for up to {MAX_ATOMS} atoms in the reduced formula, here are {n_atoms:g}"
            )
        formula = _formula(whole)
        if formula not in self._known:
            sites = self._recall(formula, whole)
            if sites is None:
                sites = _guessed(whole)
                self._note(formula, sites)
            self._known[formula] = OxidationGuess(sites, whole)
        return self._known[formula]

    def _recall(self, formula: str, whole: Mapping[str, float]) -> dict[str, tuple[int, ...]] | None:
        if self._path is None:
            return None
        with self._connection() as connection:
            row = connection.execute(
                "SELECT states FROM oxidation_states WHERE formula = ? AND guesser = ?", (formula, self._guesser)
            ).fetchone()
        return None if row is None else self._read(str(row[0]), formula, whole)

    def _note(self, formula: str, sites: Mapping[str, tuple[int, ...]]) -> None:
        if self._path is None:
            return
        states = json.dumps(sites, sort_keys=True) if sites else "none"
        with self._connection() as connection:
            # Whoever was first wrote the same.
            connection.execute(
                "INSERT OR IGNORE INTO oxidation_states (formula, guesser, states) VALUES (?, ?, ?)",
                (formula, self._guesser, states),
            )

    def _read(self, text: str, formula: str, whole: Mapping[str, float]) -> dict[str, tuple[int, ...]]:
        if text == "none":
            return {}
        try:
            sites = {str(symbol): tuple(map(int, states)) for symbol, states in json.loads(text).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise self._damaged(f"its row for {formula} cannot be read") from error
        if {symbol: float(len(states)) for symbol, states in sites.items()} != dict(whole):
            raise self._damaged(f"its row for {formula} is about other atoms")
        return {symbol: sites[symbol] for symbol in whole}

    def _check(self, connection: sqlite3.Connection) -> None:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()
        if answer != ("ok",):
            raise self._damaged(str(answer[0]).splitlines()[0])

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open for one statement: no handle is inherited by a process that is started meanwhile."""
        try:
            with closing(sqlite3.connect(str(self._path), timeout=_BUSY_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=DELETE")  # a write-ahead log does not work on network disks
                yield connection
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StoreError(f"The oxidation states in {self._path} cannot be read or written: {error}.") from error
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> StoreError:
        return StoreError(
            f"The oxidation states in {self._path} are damaged: {what}. Remove the file; they are guessed anew."
        )


def _formula(whole: Mapping[str, float]) -> str:
    return "".join(f"{symbol}{whole[symbol]:g}" for symbol in sorted(whole))


def _guessed(whole: Mapping[str, float]) -> dict[str, tuple[int, ...]]:
    """The likeliest states that are neutral together, by pymatgen; empty if there are none."""
    charged: Any = Composition(whole).add_charges_from_oxi_state_guesses(max_sites=-MAX_ATOMS)
    sites: dict[str, list[int]] = {symbol: [] for symbol in whole}
    for species, amount in charged.items():
        sites[species.symbol] += [int(species.oxi_state)] * round(amount)
    if all(not any(states) for states in sites.values()):
        return {}
    return {symbol: tuple(sorted(states)) for symbol, states in sites.items()}
