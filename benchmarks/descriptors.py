"""Which features explain the demo's property: R² on held-out candidates, by set of features and number of labels.

    python benchmarks/descriptors.py             # about a minute

Needs benchmarks/data/fcc_alloys_emt.csv (label_all.py). Random training sets, the rest held out.
"""

from __future__ import annotations

import csv
import itertools

import numpy as np
from label_all import CAMPAIGN, TRUTH

from active_learning.config import read_campaign_file
from active_learning.domain.candidate import Candidate
from active_learning.domain.metrics import r2
from active_learning.engine.assembly import assemble
from active_learning.featurizers.matminer import Matminer
from active_learning.surrogates.forest import ExtraTrees, RandomForest

SETS = (("magpie",), ("magpie", "density"), ("magpie", "density", "radial_distribution"))
N_LABELS = (100, 1000)
SEEDS = 3


def main() -> None:
    """Print a table."""
    rows = {row["id"]: row["formation_energy_per_atom"] for row in csv.DictReader(TRUTH.open(newline=""))}
    pool = assemble(read_campaign_file(CAMPAIGN)).pool.read()
    candidates = [item for item in pool if isinstance(item, Candidate) and rows.get(item.id)]
    y = np.array([float(rows[candidate.id]) for candidate in candidates])
    X = {name: Matminer(Matminer.Options(sets=(name,))).featurize(candidates).values for name in SETS[-1]}
    forests = {"random_forest": RandomForest, "extra_trees": ExtraTrees}
    print(f"{len(y)} candidates; R² on those held out, mean of {SEEDS} random training sets")
    for names, (kind, forest), n in itertools.product(SETS, forests.items(), N_LABELS):
        features = np.hstack([X[name] for name in names])
        scores = []
        for seed in range(SEEDS):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(y))
            model = forest(forest.Options(n_trees=100)).fit(features[order[:n]], y[order[:n]], rng=rng)
            held_out = order[n:]
            scores.append(r2(y[held_out], model.predict(features[held_out]).mean[:, 0]))
        print(f"  {' + '.join(names):<40} {kind:<14} {n:>5} labels  R² {np.mean(scores):6.2f}", flush=True)


if __name__ == "__main__":
    main()
