"""Scores for the goal `classify`: where the model cannot tell which class it is, or its members do not agree."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import entr, rel_entr

from active_learning.acquisition.beliefs import class_probabilities
from active_learning.domain.choosing import Scoring
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal
from active_learning.errors import ContractError

__all__ = ["ClassEntropy", "ClassMargin", "ClassUncertainty", "Disagreement", "MembersClassify", "member_probabilities"]

Floats = NDArray[np.float64]

_BLOCK = 8192
"""Candidates whose members are asked at once."""


@runtime_checkable
class MembersClassify(Protocol):
    """A trained classifier made of several that can be asked one by one: trees, members of a committee, networks."""

    def member_probabilities(self, X: Floats) -> Floats:
        """What each member says, (n_members, n_candidates, n_classes), the classes in the order of `predict`.

        Law: each sums to 1 over the classes; a row does not depend on its company.
        """


class ClassUncertainty:
    """How likely the most probable class is wrong: ``1 - max_c p_c``.

    References
    ----------
    Lewis & Gale (1994), doi:10.1007/978-1-4471-2099-5_1.
    """

    class Options(Options):
        """Keys of ``[acquisition]``: none."""

    goals = frozenset({Goal.CLASSIFY})
    scores_by_row = True
    scores_are_gains = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), 0 to 1.

        Raises
        ------
        ContractError
            If the prediction has no probabilities, or is not one of `scoring`'s candidates.
        """
        _classes, probabilities = class_probabilities(prediction, scoring.n_candidates)
        # Probabilities may add up to a little more than 1.
        score: Floats = np.maximum(1.0 - probabilities.max(axis=1), 0.0)
        return score


class ClassMargin:
    """By how little the most probable class leads the second: minus the difference of their probabilities.

    References
    ----------
    Scheffer, Decomain & Wrobel (2001), doi:10.1007/3-540-44816-0_31.
    """

    class Options(Options):
        """Keys of ``[acquisition]``: none."""

    goals = frozenset({Goal.CLASSIFY})
    scores_by_row = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), -1 to 0; 0 for all where there is one class only.

        Raises
        ------
        ContractError
            If the prediction has no probabilities, or is not one of `scoring`'s candidates.
        """
        _classes, probabilities = class_probabilities(prediction, scoring.n_candidates)
        if probabilities.shape[1] == 1:
            return np.zeros(len(probabilities))
        ordered = np.partition(probabilities, -2, axis=1)
        score: Floats = ordered[:, -2] - ordered[:, -1]
        return score


class ClassEntropy:
    """How much a label would tell about the class on average, if it is right: ``-sum_c p_c log p_c``.

    References
    ----------
    Shannon (1948), doi:10.1002/j.1538-7305.1948.tb01338.x.
    """

    class Options(Options):
        """Keys of ``[acquisition]``: none."""

    goals = frozenset({Goal.CLASSIFY})
    scores_by_row = True
    scores_are_gains = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), 0 to log(n_classes), in nats.

        Raises
        ------
        ContractError
            If the prediction has no probabilities, or is not one of `scoring`'s candidates.
        """
        _classes, probabilities = class_probabilities(prediction, scoring.n_candidates)
        score: Floats = entr(probabilities / probabilities.sum(axis=1, keepdims=True)).sum(axis=1)
        return score


class Disagreement:
    """How much the members of the model contradict each other: doubt that more labels can settle.

    `vote_entropy` is the entropy of the members' votes; `divergence` the Kullback-Leibler divergence of the member that
    is farthest from the mean of all members, which also sees how sure they are.

    References
    ----------
    Dagan & Engelson (1995), doi:10.1016/B978-1-55860-377-6.50027-X; McCallum & Nigam (1998), Proc. ICML, 350.
    """

    class Options(Options):
        """Keys of ``[acquisition]``."""

        measure: Literal["vote_entropy", "divergence"] = Field(
            "vote_entropy", description="Entropy of the members' votes, or the largest divergence from their mean."
        )

    goals = frozenset({Goal.CLASSIFY})
    scores_are_gains = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), >= 0, in nats.

        Raises
        ------
        ContractError
            If the model has no members to ask or they answer in another shape, the prediction has no probabilities, or
            it is not one of `scoring`'s candidates.
        """
        classes, probabilities = class_probabilities(prediction, scoring.n_candidates)
        measure = _vote_entropy if self.options.measure == "vote_entropy" else _divergence
        scores = np.zeros(len(probabilities))
        for start in range(0, len(scores), _BLOCK):
            X = scoring.X[start : start + _BLOCK]
            scores[start : start + _BLOCK] = measure(member_probabilities(scoring.model, X, len(classes)))
        return scores


def member_probabilities(model: object, X: Floats, n_classes: int) -> Floats:
    """What each member of a model says, (n_members, n_candidates, n_classes).

    Raises
    ------
    ContractError
        If the model has no members to ask, or they answer in another shape or with what is not finite.
    """
    if not isinstance(model, MembersClassify):
        raise ContractError(
            f"disagreement is that of the members of a model, and {type(model).__name__} has none that can be asked: "
            "take a surrogate that has, such as random_forest or committee, or the acquisition class_uncertainty"
        )
    members = np.asarray(model.member_probabilities(X), dtype=np.float64)
    if members.ndim != 3 or members.shape[1:] != (len(X), n_classes) or len(members) < 1:
        raise ContractError(
            f"the members of {type(model).__name__} answer with shape {members.shape}; "
            f"(n_members, {len(X)}, {n_classes}) is needed"
        )
    if not np.isfinite(members).all():
        raise ContractError(f"the members of {type(model).__name__} give probabilities that are not finite")
    return members


def _vote_entropy(members: Floats) -> Floats:
    votes = members.argmax(axis=2)
    shares = [(votes == number).mean(axis=0) for number in range(members.shape[2])]
    entropy: Floats = entr(np.array(shares)).sum(axis=0)
    return entropy


def _divergence(members: Floats) -> Floats:
    # Of numbers that nearly agree, rounding can leave a divergence of -1e-17.
    divergence: Floats = np.maximum(rel_entr(members, members.mean(axis=0)).sum(axis=2).max(axis=0), 0.0)
    return divergence
