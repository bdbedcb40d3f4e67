"""BoTorch 0.18.1: a Gaussian process with (the logarithm of) expected improvement, jointly for the batch.

Source: BoTorch's documentation, "Getting Started" (`SingleTaskGP` with `Normalize`, fitted by `fit_gpytorch_mll` of the
exact marginal log likelihood; priors and `Standardize` of the outcome are the class's defaults) and the reference:
`qLogExpectedImprovement` for batches, `qNegIntegratedPosteriorVariance` for active learning, `optimize_acqf_discrete`
over a pool, which fills a batch one by one, conditioned on those chosen.

`Normalize` has the pool's bounds; constant columns are left out, since they have none. The variance is integrated over
`INTEGRATION_POINTS` candidates drawn each round (the reference: "usually qMC samples on the whole design space").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.active_learning import qNegIntegratedPosteriorVariance
from botorch.acquisition.logei import qLogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize
from botorch.optim import optimize_acqf_discrete
from botorch.utils.sampling import manual_seed
from gpytorch.mlls import ExactMarginalLogLikelihood

from peers.base import Floats, Goal, Rows, seed_of, unlabeled_rows

__all__ = ["BotorchGaussianProcess"]

INTEGRATION_POINTS = 64
"""More cost in proportion and learned no better where it was tried (the README beside says where)."""

AT_ONCE = 64
"""Candidates evaluated together when the variance is integrated: bounds memory, changes nothing else."""


@dataclass(frozen=True)
class BotorchGaussianProcess:
    """Log expected improvement of the batch (maximize) or its reduction of the integrated variance (learn)."""

    goal: Goal

    def choose(self, X: Floats, labeled: Rows, merits: Floats, n: int, rng: np.random.Generator) -> Rows:
        """Choose as `Peer.choose` says."""
        pool = torch.as_tensor(X[:, np.ptp(X, axis=0) > 0], dtype=torch.double)
        targets = torch.as_tensor(merits, dtype=torch.double).unsqueeze(-1)
        rest = unlabeled_rows(len(X), labeled)
        with manual_seed(seed_of(rng)):
            model = _fitted(pool, pool[labeled], targets)
            rule = self._rule(model, pool, targets, rng)
            at_once = 2048 if self.goal == "maximize" else AT_ONCE
            chosen, _ = optimize_acqf_discrete(
                rule, q=n, choices=pool[rest], max_batch_size=at_once, return_acq_values=False
            )
        return _rows_of(chosen, pool[rest], rest)

    def _rule(
        self, model: SingleTaskGP, pool: torch.Tensor, targets: torch.Tensor, rng: np.random.Generator
    ) -> AcquisitionFunction:
        if self.goal == "maximize":
            return qLogExpectedImprovement(model, best_f=targets.max())
        drawn = rng.choice(len(pool), size=min(INTEGRATION_POINTS, len(pool)), replace=False)
        return qNegIntegratedPosteriorVariance(model, mc_points=pool[drawn])


def _fitted(pool: torch.Tensor, known: torch.Tensor, targets: torch.Tensor) -> SingleTaskGP:
    bounds = torch.stack([pool.min(dim=0).values, pool.max(dim=0).values])
    model = SingleTaskGP(known, targets, input_transform=Normalize(d=pool.shape[-1], bounds=bounds))
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def _rows_of(chosen: torch.Tensor, choices: torch.Tensor, rows: Rows) -> Rows:
    """Which rows these features are of; of candidates with equal features, the first not taken yet."""
    taken: list[int] = []
    for features in chosen:
        equal = torch.nonzero((choices == features).all(dim=-1)).flatten().tolist()
        taken.append(next(i for i in equal if i not in taken))
    return rows[taken]
