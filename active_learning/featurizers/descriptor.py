"""What a descriptor is: a name, options that are checked before anything runs, and something that computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator, Field

from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.domain.options import Options

__all__ = [
    "Calculator",
    "CompositionDescriptor",
    "Decorable",
    "Descriptor",
    "ElementSymbol",
    "MatminerDescriptor",
    "Statistics",
]


class Calculator(Protocol):
    """What we use of matminer's featurizers."""

    def feature_labels(self) -> Sequence[str]:
        """Names of the features."""

    def featurize(self, value: Any) -> Sequence[Any]:
        """Features of a pymatgen Composition or Structure; may raise anything."""


class Descriptor(Options):
    """One descriptor: the keys of its table in `sets`, and how it is computed.

    The first line of a subclass's docstring says what it is; `reference` where it comes from.
    """

    reference: ClassVar[str] = ""
    theirs: ClassVar[Any] = None
    """Matminer's class, if there is one."""
    is_quick: ClassVar[bool] = False
    """Whether no candidate can make it hang, need much memory, or kill its process."""
    averages_ions: ClassVar[bool] = False
    """Whether all atoms of an element in a decorated composition have their mean oxidation state."""

    label: str | None = Field(
        default=None,
        min_length=1,
        description="What to call it where one descriptor is there twice; its features' names then begin with this",
    )

    @property
    def of_composition(self) -> bool:
        """Whether it looks at the composition alone."""
        return False

    @property
    def is_decorated(self) -> bool:
        """Whether it needs oxidation states; they are guessed."""
        return False

    def calculator(self) -> Calculator:
        """What computes it. May import heavy libraries and read their tables.

        Raises
        ------
        UserError
            If what it needs is not installed, or its options contradict each other.
        """
        raise NotImplementedError

    def fast_arguments(self) -> Mapping[str, Any] | None:
        """Arguments for `fast_compositions.fast`; None if only matminer can compute it."""
        return None


class MatminerDescriptor(Descriptor):
    """A descriptor that is one of matminer's featurizers, with the names and meaning of its arguments."""

    def arguments(self) -> dict[str, Any]:
        """Arguments of matminer's class."""
        return self.model_dump(exclude={"label", "oxidation_states"})

    def calculator(self) -> Calculator:
        built: Calculator = self.theirs(**self.arguments())
        return built


class CompositionDescriptor(MatminerDescriptor):
    """A descriptor that looks at the composition alone."""

    is_quick: ClassVar[bool] = True

    @property
    def of_composition(self) -> bool:
        return True

    def fast_arguments(self) -> Mapping[str, Any] | None:
        return None if self.is_decorated else self.arguments()


class Decorable(Descriptor):
    """A descriptor that may be told oxidation states."""

    oxidation_states: bool = Field(
        default=False, description="Guess oxidation states first; they are remembered for each composition"
    )

    @property
    def is_decorated(self) -> bool:
        return self.oxidation_states


def _known_statistic(value: str) -> str:
    name, _, argument = value.partition("::")
    if name in _WITH_ARGUMENT:
        try:
            float(argument)
        except ValueError:
            raise ValueError(f"{value!r}: write it with a number, such as '{name}::{_WITH_ARGUMENT[name]}'") from None
    elif value not in _STATISTICS:
        known = ", ".join((*_STATISTICS, *(f"{n}::{a}" for n, a in _WITH_ARGUMENT.items())))
        raise ValueError(f"no statistic named {value!r}; there are: {known}")
    return value


def _known_element(symbol: str) -> str:
    if symbol not in ATOMIC_NUMBERS:
        raise ValueError(f"no such element: {symbol!r}")
    return symbol


_STATISTICS = (
    "minimum",
    "maximum",
    "range",
    "mean",
    "avg_dev",
    "std_dev",
    "mode",
    "inverse_mean",
    "geom_std_dev",
    "skewness",
    "kurtosis",
)
_WITH_ARGUMENT = {"holder_mean": "2", "quantile": "0.5"}

ElementSymbol = Annotated[str, AfterValidator(_known_element)]
"""A chemical symbol."""
Statistics = tuple[Annotated[str, AfterValidator(_known_statistic)], ...]
"""Statistics by matminer's names (`matminer.featurizers.utils.stats.PropertyStats`)."""
