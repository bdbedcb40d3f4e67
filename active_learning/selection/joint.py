"""What is believed of candidates together, and what is left of it once some of them are labeled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.choosing import Batch
from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError

__all__ = ["JointBelief", "beliefs", "joint_belief", "rescored"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_ROUNDING = 1e-20
"""A variance that fell to this share of what it was is 0: what is left is rounding, and points anywhere."""

_KNOWING = "random_forest, extra_trees or gaussian_process"


@dataclass(frozen=True, eq=False)
class JointBelief:
    """A joint normal belief about the labels of some candidates.

    Every row is in units of its own std, so that stds of 1e-160 beside one of 1 lose no digit.

    Parameters
    ----------
    unit : (n_rows,), the std of each label before anything was learned, in the target's unit
    loadings : (n_rows, rank)
        The covariance factor of the function, each row divided by its `unit`: the square of a row is the share of
        the label's variance that comes of not knowing the function.
    noise : (n_rows,), the share that no other label can tell of
    at_first : (n_rows,), `shares` before anything was learned
    """

    unit: Floats
    loadings: Floats
    noise: Floats
    at_first: Floats

    @classmethod
    def of(cls, factor: Floats, std: Floats) -> Self:
        """From a covariance factor, (n_rows, rank), and the std of the labels, (n_rows,).

        What the square of a std exceeds the variance of the function by is noise. A row of the factor that claims
        more than the std is shortened to it: the std may have been corrected since, and it is what the scores go by.
        """
        peak = np.abs(factor).max(axis=1, initial=0.0)
        knows = (peak > 0) & (std > 0)
        direction = np.divide(factor, peak[:, None], out=np.zeros_like(factor), where=knows[:, None])
        length = np.sqrt(np.einsum("ij,ij->i", direction, direction))
        share = np.zeros(len(std))
        with np.errstate(over="ignore"):
            np.divide(peak, std, out=share, where=knows)
            share = np.minimum(share * length, 1.0)
        scale = np.divide(share, length, out=np.zeros_like(share), where=knows)
        loadings = direction * scale[:, None]
        at_first = np.einsum("ij,ij->i", loadings, loadings)
        return cls(std, loadings, np.maximum(1.0 - at_first, 0.0), at_first)

    @property
    def shares(self) -> Floats:
        """(n_rows,), the variance of the function at each row, in units of the label's variance at first."""
        shares: Floats = np.einsum("ij,ij->i", self.loadings, self.loadings)
        return shares

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """(n_rows,), where nothing is left to learn about the function."""
        known: NDArray[np.bool_] = self.shares <= _ROUNDING * self.at_first
        return known

    @property
    def std(self) -> Floats:
        """(n_rows,), of the labels, in the target's unit; exactly `unit` where nothing was learned."""
        std: Floats = self.unit * np.sqrt(np.minimum(self.shares + self.noise, 1.0))
        return std

    def given_label(self, row: int) -> Self:
        """What is believed once the label of a row is known; the stds do not depend on its value."""
        return self._given(row, float(self.noise[row]))

    def given_function(self, row: int) -> Self:
        """What is believed once the function is known at a row, without noise."""
        return self._given(row, 0.0)

    def covariance_with(self, row: int) -> Floats:
        """(n_rows,), of the function at each row with that at `row`, each in units of its label's std at first."""
        # einsum adds up each row in the same order, whatever the rows beside it and the number of threads: equal rows
        # stay equal to the last digit.
        covariance: Floats = np.einsum("ij,j->i", self.loadings, self.loadings[row])
        return covariance

    def first(self, n_rows: int) -> Self:
        """The belief about the first rows only."""
        return type(self)(self.unit[:n_rows], self.loadings[:n_rows], self.noise[:n_rows], self.at_first[:n_rows])

    def _given(self, row: int, noise: float) -> Self:
        r"""Condition on a row's value.

        With ``f`` the row's loadings, ``F' = F - (1 - s) (F f) f^T / |f|^2``, ``s = sqrt(noise / (|f|^2 + noise))``:
        then ``F' F'^T = F F^T - (F f)(F f)^T / (|f|^2 + noise)``, because ``(1 - s)(1 + s) = |f|^2 / (|f|^2 + noise)``.
        This is Potter's square-root form of the Kalman filter: no variance can turn out negative.

        References
        ----------
        Bierman (1977), Factorization Methods for Discrete Sequential Estimation, on Potter's algorithm.
        """
        f = self.loadings[row]
        variance = float(np.einsum("i,i->", f, f))
        if variance <= _ROUNDING * self.at_first[row]:
            return self
        direction = f / np.sqrt(variance)
        kept = np.sqrt(noise / (variance + noise))
        along = self.covariance_with(row) / np.sqrt(variance)
        return replace(self, loadings=self.loadings - along[:, None] * ((1.0 - kept) * direction))


def beliefs(batch: Batch, kind: str) -> tuple[Floats, Floats]:
    """Mean and std of the candidates and of those pending below them, (n_candidates + n_pending,) each.

    Parameters
    ----------
    kind : name of the selection that asks, for the message

    Raises
    ------
    ContractError
        If the batch does not tell, or tells of classes or of several targets.
    """
    parts = [
        ("candidates", batch.prediction, len(batch.X)),
        ("pending candidates", batch.pending, len(batch.X_pending)),
    ]
    means, stds = [], []
    for what, prediction, n_rows in parts:
        if prediction is None and (what == "candidates" or n_rows):
            raise ContractError(
                f"the selection '{kind}' needs what is believed of the {what}, and this batch does not tell; "
                "'diverse' does without"
            )
        if prediction is None or (not n_rows and not len(prediction)):
            continue
        if prediction.mean.shape != (n_rows, 1):
            raise ContractError(
                f"the prediction of the {what} has shape {prediction.mean.shape}; ({n_rows}, 1) is needed: one target"
            )
        if prediction.probabilities is not None:
            raise ContractError(
                f"the selection '{kind}' works on numbers, and the prediction of the {what} is of classes; 'diverse' "
                "works on both"
            )
        means.append(prediction.mean[:, 0])
        stds.append(prediction.std[:, 0])
    return np.concatenate([np.empty(0), *means]), np.concatenate([np.empty(0), *stds])


def joint_belief(batch: Batch, rows: Indices, std: Floats, kind: str) -> JointBelief:
    """The belief about some candidates, and about all pending ones below them.

    Parameters
    ----------
    std : (n_candidates + n_pending,), as `beliefs` gives it

    Raises
    ------
    ContractError
        If nobody knows the covariance, or its factor has another shape or is not finite (the row is named).
    """
    if batch.factor is None:
        raise ContractError(
            f"the selection '{kind}' needs a surrogate that knows the covariance of its beliefs, such as {_KNOWING}; "
            "'diverse' does without"
        )
    n_rows = len(rows) + len(batch.X_pending)
    factor = np.asarray(batch.factor(rows), dtype=np.float64)
    if factor.ndim != 2 or len(factor) != n_rows:
        raise ContractError(
            f"the covariance factor has shape {factor.shape}; ({n_rows}, rank) is needed, {len(rows)} candidates and "
            f"{len(batch.X_pending)} pending"
        )
    bad = np.flatnonzero(~np.isfinite(factor).all(axis=1))
    if bad.size:
        raise ContractError(f"the covariance factor is not finite in row {bad[0]} ({bad.size} rows in all)")
    return JointBelief.of(factor, np.concatenate([std[rows], std[len(batch.X) :]]))


def rescored(batch: Batch, mean: Floats, std: Floats, rows: Indices, kind: str) -> Floats:
    """The scores of some rows if this mean and std, (n_rows,) each, were believed of them, (n_rows,).

    Raises
    ------
    ContractError
        If nobody can tell, or there is not one finite score for each row.
    """
    if batch.rescore is None:
        raise ContractError(
            f"the selection '{kind}' needs an acquisition that can score again what would be believed, such as "
            "upper_confidence_bound or expected_improvement; 'diverse' does without"
        )
    scores = np.asarray(batch.rescore(Prediction(mean[:, None], std[:, None]), rows), dtype=np.float64)
    if scores.shape != rows.shape:
        raise ContractError(f"scored again, {len(rows)} candidates have scores of shape {scores.shape}")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise ContractError(f"scored again, the score of row {rows[bad[0]]} is {scores[bad[0]]}")
    return scores
