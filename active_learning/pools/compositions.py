"""The pool `compositions`: bare compositions on a grid over a chemical system, of alloys or of compounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations, product
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, field_validator, model_validator

from active_learning.crystals.charges import is_charge_neutral
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.elements import reduced_formula
from active_learning.domain.options import Options as PluginOptions
from active_learning.errors import UserError
from active_learning.pools.filters import Elements

__all__ = ["MOST_CANDIDATES", "Compositions", "FractionGrid", "IntegerGrid"]

MOST_CANDIDATES = 20_000_000
"""A larger grid is refused."""
_MOST_STEPS = 1000
"""The finest grid: fractions of it differ in the digits that a formula keeps."""
_CAP = 2**50
"""Counts stop here: the sums stay exact in 64 bits."""
_NEAR = 1e-9


def _pair(value: Any) -> Any:
    if not (isinstance(value, list | tuple) and len(value) == 2):
        raise ValueError(f"write the least and the most atomic fraction, such as [0.0, 0.3], not {value!r}")
    return value


Bounds = Annotated[tuple[float, float], BeforeValidator(_pair)]


class FractionGrid:
    """All compositions whose atomic fractions are multiples of ``1 / n_steps``, within bounds; in whole steps.

    Parameters
    ----------
    bounds : element -> least and most of it, in steps
        A least of 1 or more: the element is in every composition. Otherwise it may be absent.
    n_steps : the sum of all amounts
    n_elements : how many elements a composition has, each one an own part of the grid
    """

    def __init__(self, bounds: Mapping[str, tuple[int, int]], n_steps: int, n_elements: Sequence[int]) -> None:
        self.n_steps = n_steps
        self._symbols = tuple(bounds)
        self._bounds = tuple(bounds.values())
        self._n_elements = tuple(n_elements)

    @cached_property
    def _ways(self) -> NDArray[np.int64]:
        """In how many ways the grid goes on: (element + 1, elements still to come, steps still to share out)."""
        most = max(self._n_elements)
        ways = np.zeros((len(self._bounds) + 1, most + 1, self.n_steps + 1), dtype=np.int64)
        ways[-1, 0, 0] = 1
        for i in reversed(range(len(self._bounds))):
            low, high = self._bounds[i]
            later = ways[i + 1]
            if low == 0:
                ways[i] = later
            # The element takes `low` to `high` steps: a window of the counts without it, as a difference of sums.
            sums = np.zeros((most + 1, self.n_steps + 2 + high), dtype=np.int64)
            sums[:, high + 1 :] = np.cumsum(later, axis=1)
            taken = sums[:, high + 1 - max(low, 1) :][:, : self.n_steps + 1] - sums[:, : self.n_steps + 1]
            ways[i, 1:] += taken[:-1]
            np.minimum(ways[i], _CAP // _MOST_STEPS, out=ways[i])
        return ways

    def count(self) -> int:
        """How many compositions there are, without making them; 10^12 stands for that and more."""
        return int(sum(min(int(self._ways[0, k, self.n_steps]), 10**12) for k in self._n_elements))

    def __iter__(self) -> Iterator[dict[str, int]]:
        """Element -> steps: by number of elements, then in the order of the elements, amounts ascending."""
        for k in self._n_elements:
            yield from self._from(0, k, self.n_steps, self._open)

    @cached_property
    def _open(self) -> list[list[bytes]]:
        """Where the grid goes on at all; bytes, because numpy's own look-up is slow for one number."""
        return [[row.tobytes() for row in layer] for layer in (self._ways > 0)]

    def _from(self, start: int, k: int, steps: int, is_open: list[list[bytes]]) -> Iterator[dict[str, int]]:
        """Ways to share `steps` out to `k` elements from the `start`-th on; no dead ends are walked."""
        if k == 0:
            yield {}
            return
        for i in range(start, len(self._bounds)):
            low, high = self._bounds[i]
            onward = is_open[i + 1][k - 1]
            for amount in range(max(low, 1), min(high, steps) + 1):
                if onward[steps - amount]:
                    for rest in self._from(i + 1, k - 1, steps - amount, is_open):
                        yield {self._symbols[i]: amount, **rest}
            if low > 0 or not is_open[i + 1][k][steps]:
                return


class IntegerGrid:
    """All formulas with whole coefficients from 1 to `most` and no common divisor.

    Parameters
    ----------
    symbols : the elements
    most : the largest coefficient
    n_elements : how many elements a formula has, each one an own part of the grid
    """

    def __init__(self, symbols: Sequence[str], most: int, n_elements: Sequence[int]) -> None:
        self._symbols = tuple(symbols)
        self._most = most
        self._n_elements = tuple(n_elements)

    def count(self) -> int:
        """How many formulas there are: for k elements, sum over d of mu(d) (most // d)^k, for each choice of them."""
        return sum(math.comb(len(self._symbols), k) * self._coprime(k) for k in self._n_elements)

    def _coprime(self, k: int) -> int:
        by_divisor = {d: (self._most // d) ** k for d in range(1, self._most + 1)}
        for d in sorted(by_divisor, reverse=True):
            by_divisor[d] -= sum(by_divisor[m] for m in range(2 * d, self._most + 1, d))
        return int(by_divisor[1])

    def __iter__(self) -> Iterator[dict[str, int]]:
        """Element -> coefficient: by number of elements, then in the order of the elements, coefficients ascending."""
        for k in self._n_elements:
            for symbols in combinations(self._symbols, k):
                for coefficients in product(range(1, self._most + 1), repeat=k):
                    if math.gcd(*coefficients) == 1:
                        yield dict(zip(symbols, coefficients, strict=True))


class Compositions:
    """Candidates without a structure: every composition on a grid.

    With ``amounts = "fractions"`` (alloys) the atomic fractions are multiples of `step`: with k elements present and
    N = 1 / step, there are C(n, k) C(N - 1, k - 1) without bounds. With ``amounts = "integers"`` (compounds) they are
    formulas with coefficients from 1 to `max_coefficient` that have no common divisor.

    The order is by number of elements, then that of `elements`, then amounts ascending. Nothing is kept in memory.
    """

    class Options(PluginOptions):
        """Keys of the table `[pool]` with ``kind = "compositions"``."""

        elements: Elements = Field(description="Chemical symbols of the chemical system.")
        n_elements: tuple[int, ...] | None = Field(
            default=None, min_length=1, description="How many elements a candidate has; without it, any number."
        )
        amounts: Literal["fractions", "integers"] = Field(
            default="fractions",
            description="Atomic fractions in equal steps (alloys), or formulas with whole coefficients (compounds).",
        )
        step: float = Field(default=0.05, ge=0.001, le=1.0, description="Step of the atomic fractions; it divides 1.")
        max_coefficient: int = Field(default=6, ge=1, le=100, description="Largest coefficient in a formula.")
        bounds: dict[str, Bounds] = Field(
            default={},
            description=(
                "Least and most atomic fraction of an element, such as {Al = [0.0, 0.3]}. With a least above 0, it is "
                "in every candidate."
            ),
        )
        charge_neutral: bool = Field(
            default=False,
            description=(
                "Take only compositions whose elements have known oxidation states that sum to zero (smact's rules). "
                "Elements and alloys pass."
            ),
        )

        @field_validator("step")
        @classmethod
        def _divides_one(cls, step: float) -> float:
            if abs(step * round(1 / step) - 1) > 1e-6:
                finer = max(s for s in _DIVISORS if s <= step)
                coarser = min(s for s in _DIVISORS if s >= step)
                raise ValueError(f"{step:g} does not divide 1; the nearest that do are {finer:g} and {coarser:g}")
            return step

        @model_validator(mode="after")
        def _can_be(self) -> Self:
            faults = [*self._faults_of_n_elements(), *self._faults_of_bounds(), *self._faults_of_kind()]
            if faults:
                raise ValueError("; ".join(faults))
            return self

        def _faults_of_n_elements(self) -> Iterator[str]:
            counts = self.n_elements or ()
            wrong = [n for n in counts if not 1 <= n <= len(self.elements)]
            if wrong:
                yield f"n_elements lie between 1 and {len(self.elements)} (elements), not {', '.join(map(str, wrong))}"
            if len(set(counts)) < len(counts):
                yield f"a number of n_elements is named more than once: {', '.join(map(str, counts))}"

        def _faults_of_bounds(self) -> Iterator[str]:
            strangers = [symbol for symbol in self.bounds if symbol not in self.elements]
            if strangers:
                yield f"bounds of {', '.join(strangers)}, not one of elements: {', '.join(self.elements)}"
            for symbol, (low, high) in self.bounds.items():
                if not 0.0 <= low <= high <= 1.0:
                    yield f"bounds of {symbol} must be 0 <= least <= most <= 1, not [{low:g}, {high:g}]"
            least = sum(low for low, _ in self.bounds.values())
            if least > 1.0 + _NEAR:
                yield f"the least fractions in bounds add up to {least:g}, more than 1"

        def _faults_of_kind(self) -> Iterator[str]:
            other = {"fractions": "max_coefficient", "integers": "step"}[self.amounts]
            if other in self.model_fields_set and getattr(self, other) != type(self).model_fields[other].default:
                yield f'{other} has no meaning with amounts = "{self.amounts}": leave it out'

    def __init__(self, options: Options) -> None:
        self.options = options

    def count(self) -> int:
        """How many compositions the grid has, before it is walked; for formulas, bounds are not taken into account."""
        return self._grid.count()

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every composition on the grid; of formulas, those out of bounds or charged as `Dropped`.

        Raises
        ------
        UserError
            If the grid has no composition, or more than 20 million.
        """
        self._check(self.count())
        n_steps = self._n_steps
        for amounts in self._grid:
            if self.options.amounts == "fractions":
                yield self._taken({symbol: n / n_steps for symbol, n in amounts.items()})
            else:
                yield self._out_of_bounds(amounts) or self._taken({s: float(n) for s, n in amounts.items()})

    def _taken(self, amounts: dict[str, float]) -> Candidate | Dropped:
        if self.options.charge_neutral and not is_charge_neutral(amounts):
            formula = reduced_formula(amounts)
            return Dropped(f"grid: {formula}", f"not charge neutral: {formula}")
        return Candidate(amounts, origin=self._origin)

    def _out_of_bounds(self, amounts: Mapping[str, int]) -> Dropped | None:
        total = sum(amounts.values())
        for symbol, (low, high) in self.options.bounds.items():
            fraction = amounts.get(symbol, 0) / total
            if not low - _NEAR <= fraction <= high + _NEAR:
                formula = reduced_formula(amounts)
                return Dropped(
                    f"grid: {formula}", f"out of bounds: {fraction:.3g} of {symbol}, not {low:g} to {high:g}"
                )
        return None

    @cached_property
    def _n_steps(self) -> int:
        return round(1 / self.options.step)

    @cached_property
    def _origin(self) -> str:
        options = self.options
        grid = (
            f"step {options.step:g}"
            if options.amounts == "fractions"
            else f"coefficients 1 to {options.max_coefficient}"
        )
        return f"grid over {'-'.join(options.elements)}, {grid}"

    @cached_property
    def _grid(self) -> FractionGrid | IntegerGrid:
        options = self.options
        n_elements = options.n_elements or tuple(range(1, len(options.elements) + 1))
        if options.amounts == "integers":
            return IntegerGrid(options.elements, options.max_coefficient, n_elements)
        bounds = {symbol: self._in_steps(options.bounds.get(symbol, (0.0, 1.0))) for symbol in options.elements}
        return FractionGrid(bounds, self._n_steps, n_elements)

    def _in_steps(self, bounds: Bounds) -> tuple[int, int]:
        low, high = bounds
        return math.ceil(low * self._n_steps - _NEAR), math.floor(high * self._n_steps + _NEAR)

    def _check(self, count: int) -> None:
        if count > MOST_CANDIDATES:
            size = "more than 10^12" if count >= 10**12 else f"{count:,}"
            coarser = "a larger step" if self.options.amounts == "fractions" else "a smaller max_coefficient"
            raise UserError(
                f"the grid of compositions has {size} candidates, more than {MOST_CANDIDATES:,}; take {coarser}, "
                "narrower bounds, or fewer elements (elements, n_elements)"
            )
        if count == 0:
            raise UserError(
                "no composition lies on the grid: the bounds and n_elements leave none; widen the bounds, or take a "
                "smaller step"
            )


_DIVISORS = tuple(1 / n for n in range(1, _MOST_STEPS + 1) if len(f"{1 / n:.10f}".rstrip("0")) <= 6)
"""Steps that divide 1 and are short to write."""
