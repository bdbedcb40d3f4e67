"""Train on what is known: the model, how good it is, and how its uncertainty is corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.config.spec import Training
from active_learning.domain.campaign import RoundRecord
from active_learning.domain.label import Label
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import FittedSurrogate, HasImportances, Surrogate
from active_learning.domain.seeds import rng_for
from active_learning.engine.corrected import corrected_prediction
from active_learning.engine.feature_file import FeatureFile
from active_learning.learning.calibration import Recalibration, recalibrate
from active_learning.learning.validation import HeldOut, held_out, metrics_of
from active_learning.preparation.surrogate import PreparedModel

__all__ = ["Learned", "Lesson", "known_rows", "learn"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a model is trained on and judged by.

    Parameters
    ----------
    train, test : labels of candidates that have features
    previous : the newest round that trained a model, whose correction is kept if a new one is no better
    """

    features: FeatureFile
    train: tuple[Label, ...]
    test: tuple[Label, ...]
    seed: int
    round_number: int
    previous: RoundRecord | None = None


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained model and what is known of it. `rows` are those of the labeled candidates, ascending.

    `recalibration` corrects the std of `model`; all metrics are of corrected predictions. In `out_of_fold`, and in the
    metrics of it, each label has its std under a map that was not fitted to it.
    """

    model: FittedSurrogate
    recalibration: Recalibration
    rows: Rows
    X: Floats
    y: Floats
    metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    out_of_fold: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    importances: Mapping[str, float] = field(default_factory=dict)
    preparation: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None

    @property
    def correction(self) -> tuple[float, float]:
        """Slope and offset of the std."""
        return self.recalibration.slope, self.recalibration.offset


def known_rows(features: FeatureFile, labels: tuple[Label, ...]) -> tuple[Rows, Floats]:
    """Rows of the labeled candidates, ascending, and their values: the order of arrival must not matter."""
    pairs = sorted((features.ids.row(x.candidate_id), x.value) for x in labels if x.candidate_id in features.ids)
    return np.array([row for row, _ in pairs], dtype=np.intp), np.array([value for _, value in pairs])


def learn(surrogate: Surrogate, lesson: Lesson, training: Training) -> Learned:
    """Train on all labels but those of the test set; judge the model by held-out labels and by the test set."""
    rows, y = known_rows(lesson.features, lesson.train)
    X = lesson.features.rows(rows)
    model = surrogate.fit(X, y, rng=rng_for(lesson.seed, lesson.round_number, "fit"))
    judged = held_out(
        surrogate,
        model,
        X,
        y,
        n_folds=training.folds,
        asks_model=training.validation == "auto",
        rng=rng_for(lesson.seed, lesson.round_number, "folds"),
    )
    recalibration = Recalibration.none
    known: dict[str, Any] = {}
    if judged is not None:
        recalibration, believed, known["calibration"] = _recalibrated(judged, y, training, lesson.previous)
        pairs = zip(believed.mean[:, 0].tolist(), believed.std[:, 0].tolist(), strict=True)
        known["metrics"] = metrics_of(y, believed)
        known["out_of_fold"] = {lesson.features.ids[row]: pair for row, pair in zip(rows, pairs, strict=True)}
    return Learned(
        model=model,
        recalibration=recalibration,
        rows=rows,
        X=X,
        y=y,
        test_metrics=_tested(model, recalibration, lesson),
        importances=_importances(model, lesson.features.names),
        preparation=model.preparation.record.to_json() if isinstance(model, PreparedModel) else None,
        **known,
    )


def _recalibrated(
    judged: HeldOut, y: Floats, training: Training, previous: RoundRecord | None
) -> tuple[Recalibration, Prediction, Mapping[str, Any] | None]:
    """The map to use, the held-out predictions as they may be judged by it, and what is known of it.

    Under the map that was fitted to these very labels their std would look better than it is: each has that of a map
    which was fitted without it.
    """
    held_out = judged.prediction
    if held_out.probabilities is not None:
        return Recalibration.none, held_out, None
    old = previous.calibration if previous is not None and training.recalibrate else None
    if old is not None and old["source"] == "none":
        old = None
    outcome = recalibrate(
        y,
        held_out.mean[:, 0],
        held_out.std[:, 0],
        folds=judged.folds,
        previous=None if old is None else Recalibration(old["slope"], old["offset"]),
    )
    record = dict(outcome.record.to_json()) | {"validation": judged.how, "applied": training.recalibrate}
    if not training.recalibrate:
        return Recalibration.none, held_out, record
    return outcome.recalibration, Prediction(held_out.mean, outcome.std[:, None]), record


def _tested(model: FittedSurrogate, recalibration: Recalibration, lesson: Lesson) -> Mapping[str, float]:
    rows, y = known_rows(lesson.features, lesson.test)
    if not len(rows):
        return {}
    return metrics_of(y, corrected_prediction(model.predict(lesson.features.rows(rows)), recalibration))


def _importances(model: FittedSurrogate, names: tuple[str, ...]) -> dict[str, float]:
    if isinstance(model, PreparedModel):
        names = model.preparation.names
    values = model.importances if isinstance(model, HasImportances) else ()
    return {name: float(v) for name, v in zip(names, values, strict=False)}
