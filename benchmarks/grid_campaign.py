"""A campaign over alloys on a grid, of any size: for the benchmarks of speed and memory."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from active_learning.pools.compositions import Compositions

__all__ = ["BATCH", "N_TREES", "grid_of", "hardness", "write_campaign"]

ELEMENTS = ("Al", "Co", "Cr", "Cu", "Fe", "Hf", "Mn", "Mo", "Nb", "Ni", "Re", "Ru", "Sc", "Ta", "Ti", "V", "W", "Y")
STEPS = (0.1, 0.05, 0.04, 0.025)
PROPERTY = "hardness"
N_TREES = 500
BATCH = 50

_FILE = """\
name = "grid"
seed = 0
workdir = "grid.campaign"

[target]
property = "{target}"
goal = "maximize"

[pool]
kind = "compositions"
elements = {elements}
n_elements = {n_elements}
step = {step}

[features]
kind = "matminer"
sets = ["magpie"]

[surrogate]
kind = "random_forest"
n_trees = {n_trees}

[acquisition]
kind = "upper_confidence_bound"
n_sigma = 1.0

[selection]
kind = "diverse"

[rounds]
initial = {batch}
batch_size = {batch}
max_in_flight = {batch}

# Every label is told; the table only says that there is such a property.
[labeler]
kind = "table"
path = "labels.csv"
key = "id"

[submitter]
kind = "inline"

[[stopping.any]]
kind = "labels"
max = 100000
"""


@cache
def grid_of(size: int) -> dict[str, Any]:
    """The smallest grid with at least `size` compositions of up to five elements, as keys of ``[pool]``."""
    grids = [
        {"elements": list(ELEMENTS[:m]), "n_elements": list(range(1, most + 1)), "step": step}
        for m, most, step in itertools.product(range(3, len(ELEMENTS) + 1), range(2, 6), STEPS)
        if most <= m
    ]
    counts = [Compositions(Compositions.Options.model_validate(grid)).count() for grid in grids]
    fitting = [(count, number) for number, count in enumerate(counts) if count >= size]
    if not fitting:
        raise SystemExit(f"no grid has {size:,} compositions; the largest has {max(counts):,}")
    return grids[min(fitting)[1]]


def write_campaign(folder: Path, size: int) -> Path:
    """The campaign file of a pool of at least `size` alloys."""
    (folder / "labels.csv").write_text(f"id,{PROPERTY}\nnone,0\n")
    file = folder / "campaign.toml"
    file.write_text(_FILE.format(**grid_of(size), target=PROPERTY, n_trees=N_TREES, batch=BATCH))
    return file


def hardness(amounts: Mapping[str, float]) -> float:
    """A smooth made-up property: the elements' own values, mixed, and what each pair adds."""
    rng = np.random.default_rng(0)
    own, pairs = rng.normal(size=len(ELEMENTS)), rng.normal(size=(len(ELEMENTS), len(ELEMENTS)))
    total = sum(amounts.values())
    x = np.array([amounts.get(symbol, 0.0) / total for symbol in ELEMENTS])
    return float(x @ own + 2.0 * x @ pairs @ x)
