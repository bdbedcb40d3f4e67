"""The steps that happen once: build the pool, featurize it."""

from __future__ import annotations

from importlib.metadata import version

from active_learning.engine.feature_file import write_features
from active_learning.engine.featurizing import ChunkCache, FeaturizerAddress, featurize_pool
from active_learning.engine.pool_file import write_pool
from active_learning.engine.workbench import Workbench
from active_learning.errors import CampaignFailed, UserError

__all__ = ["build_pool", "chunk_cache", "featurize"]


def build_pool(bench: Workbench) -> str:
    """Read the pool and store it.

    Raises
    ------
    UserError
        If nothing is left of it.
    """
    note = write_pool(bench.kit.pool.read(), bench.blobs)
    if note["n_candidates"] == 0:
        dropped = ", ".join(f"{count} × {reason}" for reason, count in note["dropped"].items()) or "nothing was read"
        raise UserError(f"The pool is empty: {dropped}. Widen the [pool] table of the campaign file.")
    with bench.write() as writer:
        writer.set_pool(note)
    dropped = ", ".join(f"{count} {reason}" for reason, count in note["dropped"].items())
    return f"pool: {note['n_candidates']:,} candidates" + (f" (dropped: {dropped})" if dropped else "")


def featurize(bench: Workbench) -> str:
    """Compute the features of the whole pool and store them.

    Raises
    ------
    CampaignFailed
        If no candidate could be featurized.
    """
    facts = bench.store.read()
    pool = bench.pool(facts)
    names = bench.kit.featurizer.names
    X, failures = featurize_pool(
        pool.path,
        pool.ids,
        chunk_cache(bench),
        len(names),
        workers=bench.workers,
        progress=lambda done, total: bench.progress("featurizing", done, total),
    )
    if not len(X):
        example = next(iter(failures.items()))
        raise CampaignFailed(
            f"No candidate of {len(pool):,} could be featurized. For example {pool.formulas([example[0]])[0]}"
            f" ({example[0]}): {example[1]}."
        )
    ids = [candidate for candidate in pool.ids if candidate not in failures]
    note = write_features(ids, X, names, failures, bench.blobs)
    with bench.write() as writer:
        writer.set_features(note)
    failed = f", {len(failures):,} candidates failed" if failures else ""
    return f"features: {X.shape[0]:,} × {X.shape[1]}{failed}"


def chunk_cache(bench: Workbench) -> ChunkCache:
    """Where the features of this campaign's featurizer are kept, chunk by chunk."""
    kind = bench.kit.spec.features.kind
    address = FeaturizerAddress(kind, bench.kit.featurizer_options, _version(kind), bench.kit.python_path)
    return ChunkCache(bench.workdir / "features", address)


def _version(kind: str) -> str:
    """What a cached chunk depends on beside the options: our version, and matminer's where it computes."""
    return f"motherlode {version('motherlode')}" + (f", matminer {version('matminer')}" if kind == "matminer" else "")
