"""The ground of a campaign file's backtest: pool and features by the engine's own steps, built once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np

from active_learning.domain.candidate import content_hash
from active_learning.engine.assembly import Kit
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.feature_steps import featurize
from active_learning.engine.pool_file import PoolFile
from active_learning.engine.pool_steps import build_pool
from active_learning.engine.spreading import Threads
from active_learning.engine.workbench import Workbench
from active_learning.evaluation.fingerprints import files_of, fingerprint, own_modules
from active_learning.evaluation.ground import Ground, store_values
from active_learning.evaluation.known_values import KnownPool, ValueTable
from active_learning.evaluation.memory_store import MemoryStore
from active_learning.evaluation.virtual import START, VirtualClock
from active_learning.store import CampaignStore, Lease, this_process

__all__ = ["ground_of", "what_it_is_made_of"]

Progress = Callable[[str, int, int], None]

_BLOCK = 4096


def what_it_is_made_of(kit: Kit, table: ValueTable) -> dict[str, Any]:
    """What a ground depends on, as a JSON value."""
    spec = kit.spec.model_dump(mode="json")
    pool, features = spec["pool"], spec["features"]
    modules = [one for folder in kit.python_path for one in own_modules(Path(folder), pool, features)]
    return {
        "pool": pool,
        "features": features,
        "files": files_of(pool),
        "code": fingerprint(modules),
        "table": table.to_json(),
        "motherlode": version("motherlode"),
    }


def ground_of(kit: Kit, table: ValueTable, folder: Path, *, n_workers: int, progress: Progress) -> tuple[Ground, bool]:
    """The ground of a campaign, and whether it was there already, of the same file and table.

    Candidates without a value are left out before they are featurized.

    Parameters
    ----------
    folder : a folder in it is named by what goes into the ground
    n_workers : processes that featurize

    Raises
    ------
    UserError
        If the pool or the table cannot be read, or they have no candidate in common.
    CampaignFailed
        If no candidate could be featurized.
    """
    made_of = what_it_is_made_of(kit, table)
    place = folder / f"ground-{content_hash(made_of)}"
    found = Ground.load(place)
    if found is not None:
        return found, True
    place.mkdir(parents=True, exist_ok=True)
    return _built(kit, table, place, made_of, n_workers, progress), False


def _built(
    kit: Kit, table: ValueTable, place: Path, made_of: dict[str, Any], n_workers: int, progress: Progress
) -> Ground:
    pool = KnownPool(kit.pool, table)
    bench = Workbench(
        kit=replace(kit, pool=pool),
        store=cast(CampaignStore, MemoryStore(kit.spec.name, START)),
        workdir=place,
        clock=VirtualClock(),
        lease=Lease(this_process(), 1, START),
        progress=progress,
        spread=Threads(n_workers),
        is_asked=True,
    )
    build_pool(bench)
    featurize(bench)
    facts = bench.store.read()
    features = bench.features(facts)
    values = _values(bench.pool(facts), features, table)
    left_out = dict(pool.left_out)
    if features.failures:
        left_out["no features"] = len(features.failures)
    note = Ground(
        place, dict(facts.pool or {}), dict(facts.features or {}), store_values(values, bench.blobs), left_out, made_of
    )
    return note.save()


def _values(pool: PoolFile, features: FeatureFile, table: ValueTable) -> Any:
    """The true value of each row of the features."""
    values = np.full(len(features.ids), np.nan)
    for start in range(0, len(pool), _BLOCK):
        for candidate in pool.candidates(start, start + _BLOCK):
            if candidate.id in features.ids:
                values[features.ids.row(candidate.id)] = table.value_of(candidate)
    return values
