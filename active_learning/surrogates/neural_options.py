"""The options of a neural network, and which of their values are worth trying."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from active_learning.domain.options import Options

__all__ = ["NeuralNetworkOptions", "settings_of"]

Width = Annotated[int, Field(ge=1, le=4096)]


class NeuralNetworkOptions(Options):
    """Keys of ``[surrogate]`` for ``kind = "neural_network"``."""

    hidden: tuple[Width, ...] = Field(
        (64, 64), min_length=1, max_length=10, description="Units of each hidden layer, first layer first."
    )
    uncertainty: Literal["mc_dropout", "deep_ensemble"] = Field(
        "deep_ensemble",
        description="Where the doubt comes from: 'mc_dropout', one network that keeps dropping units when it predicts; "
        "'deep_ensemble', several networks that began differently.",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="Share of the hidden units dropped: in training, and with 'mc_dropout' at prediction too. With "
        "'mc_dropout' it is 0.1 if nothing is said.",
    )
    n_draws: int = Field(100, ge=2, le=10_000, description="With 'mc_dropout': how often units are dropped.")
    n_members: int = Field(10, ge=2, le=100, description="With 'deep_ensemble': how many networks.")
    loss: Literal["mse", "mae", "gaussian_nll"] = Field(
        "mse",
        description="What training makes small: 'mse' finds the mean; 'mae' the median, little moved by wild labels; "
        "'gaussian_nll' mean and noise of the labels, and the noise is in the std then. For classes it is always the "
        "cross-entropy.",
    )
    learning_rate: float = Field(5e-3, gt=0, le=1, description="Step of the optimizer (AdamW).")
    weight_decay: float = Field(
        0.1, ge=0, le=10, description="Decay of the weights: a step takes this, times the learning rate, of each away."
    )
    epochs: int = Field(400, ge=1, le=100_000, description="How often training sees every label, at most.")
    validation: float = Field(
        0.15,
        ge=0,
        le=0.5,
        description="Share of the labels that is kept back to stop training in time; 0: train all epochs. With fewer "
        "than 20 labels none are kept back.",
    )
    patience: int = Field(
        30, ge=1, description="Epochs without a better error on the labels kept back; then the best weights are taken."
    )
    batch_size: int = Field(64, ge=1, description="Labels in a step of the optimizer, at most.")

    @model_validator(mode="before")
    @classmethod
    def _drop_units_if_that_is_the_doubt(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("uncertainty") == "mc_dropout":
            return {"dropout": 0.1, **given}
        return given

    @model_validator(mode="after")
    def _has_doubt(self) -> Self:
        if self.uncertainty == "mc_dropout" and not self.dropout:
            raise ValueError(
                "uncertainty = 'mc_dropout' is the doubt that dropped units cause: dropout = 0 leaves none. Take a "
                "dropout above 0, such as 0.1, or uncertainty = 'deep_ensemble'"
            )
        return self


def settings_of(options: NeuralNetworkOptions) -> Mapping[str, tuple[Any, ...]]:
    """Option -> values worth trying, in order; the default is among them.

    A network that doubts by dropout is never tried without it: it would have no doubt.
    """
    return {
        "hidden": ((32, 32), (64, 64), (128, 128), (256, 256)),
        "dropout": (0.05, 0.1, 0.2, 0.3) if options.uncertainty == "mc_dropout" else (0.0, 0.05, 0.1, 0.2),
        "learning_rate": (1e-3, 2e-3, 5e-3, 1e-2),
        "weight_decay": (1e-2, 1e-1, 1.0),
    }
