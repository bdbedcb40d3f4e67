"""Neural networks as surrogates: dropout kept on at prediction, or deep ensembles. They need the extra `nn`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.surrogates.checks import checked_classes, checked_training
from active_learning.surrogates.neural_functions import Perceptrons, inputs_of
from active_learning.surrogates.neural_losses import LOSSES, Loss, cross_entropy
from active_learning.surrogates.neural_models import FittedNeuralClassifier, FittedNeuralNetwork
from active_learning.surrogates.neural_options import NeuralNetworkOptions, settings_of
from active_learning.surrogates.neural_training import require_torch, train
from active_learning.surrogates.settings import changed
from active_learning.surrogates.standardized import StandardFeatures, StandardTarget

__all__ = ["NeuralClassifier", "NeuralNetwork"]

Floats = NDArray[np.float64]


class _Networks:
    """What networks for numbers and for classes have in common."""

    Options = NeuralNetworkOptions

    def __init__(self, options: NeuralNetworkOptions) -> None:
        """Does not import PyTorch, which takes seconds; training does.

        Raises
        ------
        UserError
            If PyTorch is not installed: better now than when the first labels are there.
        """
        require_torch()
        self.options = options

    @property
    def settings(self) -> Mapping[str, tuple[Any, ...]]:
        """Width, dropout, learning rate and weight decay: values worth trying, in order."""
        return settings_of(self.options)

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The same surrogate with these options.

        Raises
        ------
        ContractError
            If one of them is not in `settings`, or has a value that is not there.
        """
        # A tuple that was written down as JSON comes back as a list.
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
        return type(self)(changed(self.options, values, self.settings))

    def _trained(
        self, X: Floats, y: NDArray[Any], loss: Loss, n_outputs: int, rng: np.random.Generator, *, is_class: bool
    ) -> Perceptrons:
        options = self.options
        is_ensemble = options.uncertainty == "deep_ensemble"
        features = StandardFeatures.of(X)
        layers = train(
            inputs_of(features, X),
            y,
            loss=loss,
            n_outputs=n_outputs,
            n_networks=options.n_members if is_ensemble else 1,
            options=options,
            rng=rng,
            strata=y if is_class else None,
        )
        if is_ensemble:
            return Perceptrons(features, layers)
        keep = 1.0 - options.dropout
        masks = tuple(rng.random((options.n_draws, width)) < keep for width in options.hidden)
        return Perceptrons(features, layers, masks, keep)


class NeuralNetwork(_Networks):
    """Multi-layer perceptrons that are trained anew from all labels each time.

    ``uncertainty = "deep_ensemble"`` trains several networks from different beginnings, and they differ most where no
    label tells them what to say. ``"mc_dropout"`` trains one, and drops hidden units when it predicts as it did in
    training: each draw of the units that stay is a function.

    With fewer than 20 labels none are kept back to stop training in time: all epochs are trained.

    References
    ----------
    Gal & Ghahramani (2016), arXiv:1506.02142; Lakshminarayanan, Pritzel & Blundell (2017), arXiv:1612.01474.
    """

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedNeuralNetwork:
        """Train new networks.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), in the target's unit

        Raises
        ------
        ContractError
            If shapes do not match, there is no label, or a number is not finite (its row is named).
        UserError
            If PyTorch is not installed, or training goes astray because the learning rate is too high.
        """
        X, y = checked_training(X, y)
        target, standard = StandardTarget.of(y)
        loss = self.options.loss
        n_outputs = 2 if loss == "gaussian_nll" else 1
        functions = self._trained(X, standard, LOSSES[loss], n_outputs, rng, is_class=False)
        return FittedNeuralNetwork(functions, target)

    def classifier(self) -> NeuralClassifier:
        """The same networks for classes, as `Classifies`."""
        return NeuralClassifier(self.options)


class NeuralClassifier(_Networks):
    """Multi-layer perceptrons for classes, trained on the cross-entropy; the probabilities are their mean."""

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedNeuralClassifier:
        """Train new networks.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), the class of each label, as a number

        Raises
        ------
        ContractError, UserError
            As `NeuralNetwork.fit`; or if the labels look like values of a number, see `checked_classes`.
        """
        X, y = checked_training(X, y)
        classes, places = checked_classes(y)
        functions = self._trained(X, places, cross_entropy, len(classes), rng, is_class=True)
        return FittedNeuralClassifier(functions, classes)
