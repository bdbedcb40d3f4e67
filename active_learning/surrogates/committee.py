"""Several surrogates that answer together: where they differ, the committee doubts."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from active_learning.domain.models import (
    Classifies,
    FittedSurrogate,
    HasDraws,
    HasHeldOut,
    HasImportances,
    KnowsCovariance,
    Portable,
    Surrogate,
)
from active_learning.domain.options import Options, tables_with_kind
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal
from active_learning.errors import ContractError

__all__ = ["Committee", "FittedCommittee", "total_variance"]

Floats = NDArray[np.float64]

Doubt = Literal["total", "disagreement"]

# Bagged, so that both know without further training what they would have said of each label without it.
_FORESTS = (
    {"kind": "random_forest", "n_trees": 100},
    {"kind": "extra_trees", "n_trees": 100, "bootstrap": True},
)
_REGRESSORS = (*_FORESTS, {"kind": "gaussian_process"})


def total_variance(means: Floats, stds: Floats) -> tuple[Floats, Floats]:
    r"""Mean and standard deviation of an even mixture of beliefs, by the law of total variance.

    ``mean = <m>`` and ``std^2 = <s^2> + <m^2> - <m>^2``, averaged over the members.

    Parameters
    ----------
    means, stds : (n_members, n)

    >>> total_variance(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]]))[1].round(4).tolist()
    [1.4142]
    """
    mean = means.mean(axis=0)
    return mean, np.sqrt(np.square(stds).mean(axis=0) + np.square(means - mean).mean(axis=0))


@dataclass(frozen=True, eq=False)
class FittedCommittee:
    """Trained members. What else they all can do, `fitted_committee` adds.

    Parameters
    ----------
    members : at least one
    doubt : see `Committee.Options`
    classifies : whether they were trained on classes
    """

    members: tuple[FittedSurrogate, ...]
    doubt: Doubt = "total"
    classifies: bool = False

    def predict(self, X: Floats) -> Prediction:
        """The mean over the members, and how much they doubt and differ; of classes, the mean probabilities."""
        return _joined([member.predict(X) for member in self.members], self.doubt)


def _joined(parts: Sequence[Prediction], doubt: Doubt) -> Prediction:
    if parts[0].probabilities is not None:
        classes, tables = parts[0].classes, [np.asarray(p.probabilities) for p in parts]
        assert classes is not None
        return Prediction.of_classes(classes, np.mean(tables, axis=0))
    means = np.stack([p.mean[:, 0] for p in parts])
    stds = np.stack([p.std[:, 0] for p in parts]) if doubt == "total" else np.zeros_like(means)
    mean, std = total_variance(means, stds)
    return Prediction(mean[:, None], std[:, None])


def _held_out(self: FittedCommittee) -> Prediction | None:
    """As `HasHeldOut`; None if one of the members cannot tell."""
    parts = [cast(HasHeldOut, member).held_out for member in self.members]
    known = [part for part in parts if part is not None]
    return _joined(known, self.doubt) if len(known) == len(parts) else None


def _draws(self: FittedCommittee, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
    """As `HasDraws`: each draw is a draw of one member, or its mean where the members' own doubt does not count; the
    members take turns in random order."""
    turns = rng.permutation(np.arange(n) % len(self.members))
    drawn = np.empty((n, len(X)))
    for place, member in enumerate(self.members):
        mine = np.flatnonzero(turns == place)
        if self.doubt == "disagreement":
            drawn[mine] = member.predict(X).mean[:, 0]
        elif len(mine):
            drawn[mine] = cast(HasDraws, member).draws(X, len(mine), rng=rng)
    return drawn


def _covariance_factor(self: FittedCommittee, X: Floats) -> Floats:
    """As `KnowsCovariance`: that within the members, and that of their means."""
    means = np.stack([member.predict(X).mean[:, 0] for member in self.members], axis=1)
    parts = [means - means.mean(axis=1, keepdims=True)]
    if self.doubt == "total":
        parts += [cast(KnowsCovariance, member).covariance_factor(X) for member in self.members]
    factor: Floats = np.concatenate(parts, axis=1) / np.sqrt(len(self.members))
    return factor


def _importances(self: FittedCommittee) -> Floats:
    """As `HasImportances`: the mean over the members."""
    values = np.mean([cast(HasImportances, member).importances for member in self.members], axis=0)
    return np.asarray(values / values.sum() if values.sum() > 0 else values)


def _member_probabilities(self: FittedCommittee, X: Floats) -> Floats:
    """(n_members, n_candidates, n_classes): what each member believes."""
    tables = [member.predict(X).probabilities for member in self.members]
    if any(table is None for table in tables):
        raise ContractError("this committee was not trained on classes")
    return np.stack([np.asarray(table, dtype=np.float64) for table in tables])


_ABILITIES: tuple[tuple[Any, Mapping[str, Any]], ...] = (
    (HasHeldOut, {"held_out": property(_held_out)}),
    (HasDraws, {"draws": _draws}),
    (KnowsCovariance, {"covariance_factor": _covariance_factor}),
    (HasImportances, {"importances": property(_importances)}),
)
"""What a committee can do if all of its members can -> how."""


@cache
def _class_with(names: tuple[str, ...], classifies: bool) -> type[FittedCommittee]:
    # A method that is there only if the members have it: that is how a capability is recognized.
    added = {name: how for _, methods in _ABILITIES for name, how in methods.items() if name in names}
    added |= {"member_probabilities": _member_probabilities} if classifies else {}
    base = PortableCommittee if "to_arrays" in names else FittedCommittee
    # Whoever writes a model down names its class, and only one that stands in this module can be found again.
    return type(base.__name__, (base,), added | {"__module__": __name__, "__qualname__": base.__qualname__})


class PortableCommittee(FittedCommittee):
    """A committee of members that can be written down."""

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """As `Portable`: the arrays of each member behind its number, and its class."""
        written: dict[str, NDArray[Any]] = {
            "doubt": np.array(self.doubt),
            "classifies": np.array(self.classifies),
            "n_members": np.array(len(self.members)),
        }
        for place, member in enumerate(self.members):
            written[f"{place}/class"] = np.array(f"{type(member).__module__}:{type(member).__qualname__}")
            arrays = cast(Portable, member).to_arrays()
            written |= {f"{place}/model/{name}": array for name, array in arrays.items()}
        return written

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """As `Portable`.

        Raises
        ------
        ContractError
            If the class of a member cannot be found, or is not `Portable`.
        """
        members = []
        for place in range(int(arrays["n_members"])):
            name, prefix = str(arrays[f"{place}/class"]), f"{place}/model/"
            kind = _class_named(name)
            members.append(
                kind.from_arrays({k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)})
            )
        doubt = cast(Doubt, str(arrays["doubt"]))
        return cast(Self, fitted_committee(tuple(members), doubt, classifies=bool(arrays["classifies"])))


def _class_named(name: str) -> Any:
    try:
        kind = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ContractError(
            f"a member of the committee is a {name!r}, which cannot be imported here: {error}"
        ) from error
    if not (inspect.isclass(kind) and issubclass(kind, Portable)):
        raise ContractError(f"{name!r} is not the class of a trained model that can be written down")
    return kind


def fitted_committee(members: tuple[FittedSurrogate, ...], doubt: Doubt, *, classifies: bool) -> FittedCommittee:
    """A committee that can do what all of its members can."""
    names = [name for kind, methods in _ABILITIES if all(isinstance(m, kind) for m in members) for name in methods]
    names += ["to_arrays"] if all(isinstance(m, Portable) for m in members) else []
    kind = _class_with(tuple(names), classifies)
    return kind(members, doubt, classifies)


class Committee:
    """Several surrogates, each trained on all labels; the committee's belief is their even mixture.

    A committee of unlike models is rarely the best on a table, and rarely far from it. modAL's `CommitteeRegressor` is
    the case ``doubt = "disagreement"``.

    References
    ----------
    Seung, Opper & Sompolinsky (1992), doi:10.1145/130385.130417: query by committee.
    """

    class Options(Options):
        """Keys of ``[surrogate]``."""

        members: tuple[dict[str, Any], ...] | None = Field(
            None,
            min_length=1,
            description="The members: tables like [surrogate] itself, each with its kind and options. Without it: "
            "random_forest and extra_trees, bagged, 100 trees each, and gaussian_process; for classes the forests.",
        )
        doubt: Doubt = Field(
            "total",
            description="total: the members' own uncertainty and their differences; disagreement: their differences "
            "alone, as modAL has it.",
        )

        @field_validator("members")
        @classmethod
        def _each_has_a_kind(cls, members: tuple[dict[str, Any], ...] | None) -> tuple[dict[str, Any], ...] | None:
            return None if members is None else tables_with_kind(members)

    members_key = "members"

    def __init__(self, options: Options, members: Sequence[Surrogate] = (), *, classifies: bool = False) -> None:
        self.options, self.members, self.classifies = options, tuple(members), classifies

    def member_tables(self, goal: Goal) -> tuple[dict[str, Any], ...]:
        """The tables of the members, each with its `kind`."""
        return self.options.members or (_FORESTS if goal is Goal.CLASSIFY else _REGRESSORS)

    def with_members(self, members: Sequence[Surrogate]) -> Committee:
        """The committee of these surrogates: who builds plug-ins builds those of `member_tables`."""
        return Committee(self.options, members)

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedCommittee:
        """Train every member anew, one after another with the same generator.

        Raises
        ------
        ContractError
            If the committee has no members yet; or as the members.
        """
        if not self.members:
            raise ContractError("a committee needs its members: with_members")
        fitted = tuple(member.fit(X, y, rng=rng) for member in self.members)
        return fitted_committee(fitted, self.options.doubt, classifies=self.classifies)

    def classifier(self) -> Committee:
        """The committee of the members' classifiers.

        Raises
        ------
        ContractError
            If a member cannot tell classes apart.
        """
        unable = [type(member).__name__ for member in self.members if not isinstance(member, Classifies)]
        if unable:
            names = ", ".join(unable)
            raise ContractError(f"of this committee {names} cannot tell classes apart, and must be left out;")
        members = [cast(Classifies, member).classifier() for member in self.members]
        return Committee(self.options, members, classifies=True)
