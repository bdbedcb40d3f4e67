"""A surrogate whose features are prepared inside each fit."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import FittedSurrogate, HasImportances, Portable, Surrogate
from active_learning.errors import ContractError
from active_learning.preparation.fitting import FittedPreparation, Preparation

__all__ = ["PreparedModel", "PreparedSurrogate", "prepared", "unwrapped"]

Floats = NDArray[np.float64]

_BLOCK_VALUES = 4_000_000
"""Numbers prepared at once: 32 MB, however large the pool and however many columns."""

_CLASS, _INNER, _OUTER = "class", "model/", "preparation/"


@dataclass(frozen=True, eq=False)
class PreparedModel:
    """A trained model behind the preparation that was fitted with it: predicts from the given features.

    What else the inner model can do, a subclass does: it has `importances` or is `Portable` only if the model is.
    """

    preparation: FittedPreparation
    model: FittedSurrogate

    def predict(self, X: Floats) -> Prediction:
        """Mean and std of the target for each row of `X`, (n_candidates, n_given).

        Raises
        ------
        ContractError
            If `X` has another number of features; or, unless missing values are filled in, a row that is not finite (it
            is named).
        """
        if np.ndim(X) != 2:
            raise ContractError(f"X has shape (n_candidates, n_features), got {np.shape(X)}")
        rows = max(1, _BLOCK_VALUES // max(len(self.preparation.names), X.shape[1], 1))
        parts = [self._block(X[start : start + rows], start) for start in range(0, len(X), rows) or (0,)]
        return parts[0] if len(parts) == 1 else Prediction.joined(parts)

    def _block(self, X: Floats, first_row: int) -> Prediction:
        return self.model.predict(self.preparation.transform(X, first_row=first_row))


class _Knowing(PreparedModel):
    """With importances: of the prepared columns, as the model that was trained on them has them."""

    @property
    def importances(self) -> Floats:
        """(n_columns,), as `HasImportances`."""
        return cast(HasImportances, self.model).importances

    @property
    def importance_names(self) -> tuple[str, ...]:
        """(n_columns,), the columns that `importances` are of."""
        return self.preparation.names


class _Portable(PreparedModel):
    """That can be written down."""

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """As `Portable`: the arrays of the preparation and of the inner model, each with a prefix, and its class."""
        inner, own = cast(Portable, self.model).to_arrays(), self.preparation.to_arrays()
        name = f"{type(self.model).__module__}:{type(self.model).__qualname__}"
        written = {_OUTER + key: a for key, a in own.items()} | {_INNER + key: a for key, a in inner.items()}
        return written | {_CLASS: np.array(name)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """As `Portable`.

        Raises
        ------
        ContractError
            If the inner model's class cannot be found, or is not `Portable`.
        """
        name = str(arrays[_CLASS])
        try:
            kind = pkgutil.resolve_name(name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ContractError(f"the trained model is a {name!r}, which cannot be imported here: {error}") from error
        if not (inspect.isclass(kind) and issubclass(kind, FittedSurrogate) and issubclass(kind, Portable)):
            raise ContractError(f"{name!r} is not the class of a trained model that can be written down")
        preparation = FittedPreparation.from_arrays(_with_prefix(arrays, _OUTER))
        return cls(preparation, kind.from_arrays(_with_prefix(arrays, _INNER)))


class _KnowingPortable(_Knowing, _Portable):
    """With importances, and can be written down."""


def _prepared_model(preparation: FittedPreparation, model: FittedSurrogate) -> PreparedModel:
    """The class that can do what the model can."""
    kinds = {
        (False, False): PreparedModel,
        (True, False): _Knowing,
        (False, True): _Portable,
        (True, True): _KnowingPortable,
    }
    return kinds[isinstance(model, HasImportances), isinstance(model, Portable)](preparation, model)


def _with_prefix(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


class PreparedSurrogate:
    """A surrogate that first fits a preparation on the labels it is given, and trains on what comes out.

    Parameters
    ----------
    names : (n_features,), of the given features
    """

    def __init__(self, surrogate: Surrogate, preparation: Preparation, names: Sequence[str]) -> None:
        self.surrogate, self.preparation, self.names = surrogate, preparation, tuple(names)

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> PreparedModel:
        """Fit the preparation, then train a new model.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), in the target's unit
        rng : asked for one number, then handed on to the surrogate

        Raises
        ------
        ContractError
            As `Preparation.fit`.
        """
        fitted = self.preparation.fit(X, y, names=self.names, rng=rng)
        return _prepared_model(fitted, self.surrogate.fit(fitted.transform(X), y, rng=rng))


def prepared(surrogate: Surrogate, preparation: Preparation, names: Sequence[str]) -> Surrogate:
    """The surrogate with its preparation; the surrogate itself if there is nothing to prepare."""
    return surrogate if preparation.is_off else PreparedSurrogate(surrogate, preparation, names)


def unwrapped(model: FittedSurrogate, X: Floats) -> tuple[FittedSurrogate, Floats]:
    """The model behind the preparation, if there is one, and the rows as it sees them: what else the model can do is
    asked of it directly."""
    if isinstance(model, PreparedModel):
        return model.model, model.preparation.transform(X)
    return model, X
