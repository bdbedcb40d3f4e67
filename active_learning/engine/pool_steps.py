"""The step that builds the pool."""

from __future__ import annotations

from collections.abc import Iterator

from active_learning.domain.label import Label
from active_learning.domain.protocols import KnowsLabels
from active_learning.engine.pool_file import PoolFile, write_pool
from active_learning.engine.workbench import Workbench
from active_learning.errors import UserError

__all__ = ["build_pool"]


def build_pool(bench: Workbench) -> str:
    """Read the pool and store it, with the labels it brings along.

    Raises
    ------
    UserError
        If nothing is left of it, or a label it brings is in another unit than the target's.
    """
    note = write_pool(bench.kit.pool.read(), bench.blobs, lambda count: bench.progress("reading the pool", count, 0))
    if note["n_candidates"] == 0:
        dropped = ", ".join(f"{count} × {reason}" for reason, count in note["dropped"].items()) or "nothing was read"
        raise UserError(f"The pool is empty: {dropped}. Widen the [pool] table of the campaign file.")
    pool = PoolFile(bench.blobs.path(note["file"]))
    n_labels = 0
    # In one transaction: a pool without its labels would never get them.
    with bench.write() as writer:
        writer.set_pool(note)
        for n_labels, label in enumerate(_known(bench, pool), start=1):  # noqa: B007 - counts what came
            writer.add_label(label)
    known = f", {n_labels:,} labels known" if n_labels else ""
    dropped = ", ".join(f"{count} {reason}" for reason, count in note["dropped"].items())
    return f"pool: {note['n_candidates']:,} candidates{known}" + (f" (dropped: {dropped})" if dropped else "")


def _known(bench: Workbench, pool: PoolFile) -> Iterator[Label]:
    """The labels of the target that the pool brings along."""
    source, target = bench.kit.pool, bench.kit.target
    if not isinstance(source, KnowsLabels):
        return
    found = [(candidate, measured) for candidate, measured in source.known_labels(target.property) if candidate in pool]
    formulas = pool.formulas([candidate for candidate, _ in found])
    for (candidate, measured), formula in zip(found, formulas, strict=True):
        value, unit = measured.values[target.property]
        if unit and target.unit and unit != target.unit:
            raise UserError(
                f"The pool's labels are in '{unit}', and {target.property} is in '{target.unit}': say the same unit in"
                " [pool] and [labeler], and convert the table if need be."
            )
        yield Label(
            candidate,
            target.property,
            value,
            target.unit or unit,
            bench.clock.now(),
            measured.fidelity,
            provenance={"formula": formula, **measured.provenance},
        )
