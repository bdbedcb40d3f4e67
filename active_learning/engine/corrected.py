"""A trained model as strategies see it: from the given features, with its std corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.models import FittedSurrogate
from active_learning.domain.prediction import Prediction
from active_learning.learning.calibration import Recalibration
from active_learning.preparation.surrogate import PreparedModel, unwrapped

__all__ = ["CorrectedModel", "corrected_model", "corrected_prediction"]

Floats = NDArray[np.float64]


def corrected_prediction(prediction: Prediction, recalibration: Recalibration) -> Prediction:
    """The same prediction with its std corrected; that of a classification is left as it is."""
    if prediction.probabilities is not None:
        return prediction
    return Prediction(prediction.mean, recalibration(prediction.std), prediction.draws)


@dataclass(frozen=True, eq=False)
class CorrectedModel:
    """A trained model with its preparation and its correction: `predict` takes the given features.

    `corrected_model` adds what else the inner model can do.
    """

    model: FittedSurrogate
    recalibration: Recalibration

    def predict(self, X: Floats) -> Prediction:
        """As the model's own, with the std of `recalibration`."""
        return corrected_prediction(self.model.predict(X), self.recalibration)


def _draws(self: CorrectedModel, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
    """As `HasDraws`: each draw keeps its shape and is widened about the mean as the std is."""
    inner, Z = unwrapped(self.model, X)
    drawn: Floats = inner.draws(Z, n, rng=rng)  # type: ignore[attr-defined]
    if self.recalibration.slope == 1:
        return drawn
    mean = inner.predict(Z).mean[:, 0]
    return np.asarray(mean + self.recalibration.slope * (drawn - mean))


def _covariance_factor(self: CorrectedModel, X: Floats) -> Floats:
    """As `KnowsCovariance`; the offset of the correction is noise of each candidate's own."""
    inner, Z = unwrapped(self.model, X)
    return np.asarray(self.recalibration.slope * inner.covariance_factor(Z))  # type: ignore[attr-defined]


def _member_probabilities(self: CorrectedModel, X: Floats) -> Floats:
    """As the inner model's."""
    inner, Z = unwrapped(self.model, X)
    return np.asarray(inner.member_probabilities(Z))  # type: ignore[attr-defined]


_ABILITIES: Mapping[str, Callable[..., Floats]] = {
    "draws": _draws,
    "covariance_factor": _covariance_factor,
    "member_probabilities": _member_probabilities,
}


@cache
def _class_with(name: str, abilities: tuple[str, ...]) -> type[CorrectedModel]:
    # A method that is there only if the model has it: that is how a capability is recognized.
    return type(name, (CorrectedModel,), {ability: _ABILITIES[ability] for ability in abilities})


def corrected_model(model: FittedSurrogate, recalibration: Recalibration) -> CorrectedModel:
    """The model as strategies see it, under its own name: that is what their errors tell."""
    inner: Any = model.model if isinstance(model, PreparedModel) else model
    abilities = tuple(name for name in _ABILITIES if hasattr(inner, name))
    return _class_with(type(inner).__name__, abilities)(model, recalibration)
