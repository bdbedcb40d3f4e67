"""Find what can be wrong before anything is spent: build the pool, featurize a sample, ask the labeler."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from active_learning.api.campaign import Campaign
from active_learning.api.estimating import described, estimate_features, in_words
from active_learning.config import read_campaign_file
from active_learning.domain.candidate import Candidate
from active_learning.domain.job import Resources
from active_learning.domain.label import Failure
from active_learning.domain.protocols import AnsweredByPeople, Greets, KnowsLabels, Labeler, References
from active_learning.domain.seeds import rng_for
from active_learning.engine.assembly import Kit, assemble
from active_learning.engine.pool_file import PoolFile, write_pool
from active_learning.engine.rehearsal import rehearse
from active_learning.engine.workbench import ENERGY
from active_learning.errors import BackendError, ContractError, SpecChanged, UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute
from active_learning.store import Blobs

__all__ = ["Finding", "check"]

_SAMPLE = 32


@dataclass(frozen=True)
class Finding:
    """One thing `check` found. A fault must be put right; otherwise it is good to know."""

    what: str
    message: str
    is_fault: bool = False


def check(path: Path, *, try_label: bool = False) -> Iterator[Finding]:
    """Yield findings, one after another, since some take seconds.

    Raises
    ------
    SpecError
        With every fault of the file itself; there is no point in going on with those.
    """
    file = read_campaign_file(path)
    kit = assemble(file)
    yield Finding(
        "file", f"campaign '{kit.spec.name}': {kit.target.goal} {kit.target.property} in {kit.target.unit or '?'}"
    )
    if (fault := _workdir(file.workdir())) is not None:
        yield fault
        return
    if kit.spec.store == "sqlite" and (file.workdir() / "campaign.db").is_file():
        yield _begun(path)
    if not (kit.rules.any or kit.rules.all):
        yield Finding("stopping", "no rule: the campaign ends when the whole pool is labeled")
    with tempfile.TemporaryDirectory(prefix=".check-", dir=_place(file.workdir())) as folder:
        note, finding = _pool(kit, Blobs(Path(folder)))
        yield finding
        if not note["n_candidates"]:
            return
        pool = PoolFile(Path(folder) / note["file"])
        sample = _sample(kit, pool)
        yield from _known(kit, pool)
        yield from _labeler(kit, note["elements"], sample)
        yield from _features(kit, pool, sample, Path(folder))
        yield _rehearsed(kit, Path(folder))
        yield from _submitter(kit)
        if try_label and isinstance(kit.submitter, AnsweredByPeople):
            yield Finding("label", "people answer: there is no calculation to try")
        elif try_label:
            yield from _one_label(kit, sample)


def _place(workdir: Path) -> Path:
    """The folder that is there, and in which the workdir lies or will lie."""
    return next(folder for folder in (workdir, *workdir.parents) if folder.exists())


def _workdir(workdir: Path) -> Finding | None:
    place = _place(workdir)
    try:
        # Rights say little: root, a file in the way, a disk mounted read-only. So it is tried.
        with tempfile.TemporaryDirectory(dir=place):
            return None
    except OSError as error:
        message = f"nothing can be written in {place} ({error.strerror}), and the workdir {workdir} lies in it"
        return Finding("workdir", message, True)


def _begun(path: Path) -> Finding:
    """Whether the campaign, which has started, may go on with this file."""
    with Campaign.open(path) as campaign:
        try:
            campaign.refuse_fixed_changes()
        except SpecChanged as error:
            return Finding("file", str(error), True)
        return Finding("file", f"the campaign has started, and may go on: {len(campaign.store.read().labels)} labels")


def _pool(kit: Kit, blobs: Blobs) -> tuple[dict[str, Any], Finding]:
    started = time.perf_counter()
    note = write_pool(kit.pool.read(), blobs)
    listed = ", ".join(f"{count:,} {reason}" for reason, count in note["dropped"].items())
    message = f"{note['n_candidates']:,} candidates in {time.perf_counter() - started:.1f} s"
    message += f"; dropped: {listed}" if listed else ""
    if note["n_candidates"] < kit.settings.initial:
        fault = not note["n_candidates"]
        return note, Finding("pool", f"{message}; the first design asks for {kit.settings.initial}", fault)
    return note, Finding("pool", message)


def _labeler(kit: Kit, elements: Sequence[str], sample: list[Candidate]) -> Iterator[Finding]:
    unsupported: Mapping[str, str] = getattr(kit.labeler, "unsupported", lambda _elements: {})(elements)
    for reason in dict.fromkeys(unsupported.values()):
        symbols = ", ".join(symbol for symbol, why in unsupported.items() if why == reason)
        yield Finding("labeler", f"{symbols}: {reason}", True)
    if isinstance(kit.labeler, References) and not unsupported:
        try:
            references = kit.labeler.references(elements)
        except UserError as error:
            yield Finding("labeler", str(error), True)
            return
        if references:
            crystals = ", ".join(crystal.formula for crystal in references.values())
            yield Finding("labeler", f"{len(references)} reference calculations come first: {crystals}")
    if not unsupported:
        yield from _preparing(kit, sample)


def _refusal(kit: Kit, candidate: Candidate) -> str | None:
    """Why no job for a candidate can be prepared; None if one can."""
    try:
        _for_trial(kit, candidate).prepare(candidate)
    except UserError as error:
        return str(error)
    return None


def _known(kit: Kit, pool: PoolFile) -> Iterator[Finding]:
    """The labels that the pool brings along."""
    if not isinstance(kit.pool, KnowsLabels):
        return
    try:
        known = [(c, m.values[kit.target.property]) for c, m in kit.pool.known_labels(kit.target.property) if c in pool]
    except UserError as error:
        yield Finding("labels", str(error), True)
        return
    units = sorted({unit for _, (_, unit) in known if unit and kit.target.unit and unit != kit.target.unit})
    if units:
        said = f"the pool's labels are in '{units[0]}', and {kit.target.property} is in '{kit.target.unit}'"
        yield Finding("labels", said, True)
    elif known:
        said = f"{len(known):,} of {len(pool):,} candidates have a known label, which counts in [rounds] and [stopping]"
        yield Finding("labels", said, is_fault=len(known) == len(pool))


def _preparing(kit: Kit, sample: list[Candidate]) -> Iterator[Finding]:
    """Whether jobs can be prepared: a calculator of an unknown name is found here."""
    reasons = [reason for candidate in sample if (reason := _refusal(kit, candidate)) is not None]
    if len(reasons) == len(sample):
        yield Finding("labeler", f"no candidate of a sample can be labeled: {reasons[0]}", True)
    elif reasons:
        yield Finding("labeler", f"{len(reasons) / len(sample):.0%} of a sample cannot be labeled: {reasons[0]}")


def _sample(kit: Kit, pool: PoolFile) -> list[Candidate]:
    rows = rng_for(kit.spec.seed, 0, "check").choice(len(pool), min(_SAMPLE, len(pool)), replace=False)
    return [candidate for row in np.sort(rows).tolist() for candidate in pool.candidates(row, row + 1)]


def _for_trial(kit: Kit, candidate: Candidate) -> Labeler:
    """The labeler, asked for what costs no references."""
    labeler = kit.labeler
    if isinstance(labeler, References) and labeler.references(candidate.elements):
        labeler = labeler.for_property(ENERGY)  # type: ignore[attr-defined]
    return labeler


def _submitter(kit: Kit) -> Iterator[Finding]:
    """Whether the backend is there."""
    if isinstance(kit.submitter, Greets):
        try:
            yield Finding("submitter", kit.submitter.greet())
        except BackendError as error:
            yield Finding("submitter", str(error), True)


def _features(kit: Kit, pool: PoolFile, sample: list[Candidate], folder: Path) -> Iterator[Finding]:
    n_workers = kit.spec.execution.workers or os.cpu_count() or 1
    estimate = estimate_features(kit, pool, sample, folder, n_workers)
    if estimate.n_lost == len(sample):
        said = estimate.failures[0] if estimate.failures else "a feature is not a finite number, and nobody says why"
        yield Finding("features", f"every candidate of a sample failed: {said}", True)
        return
    for line in described(estimate):
        yield Finding("features", line)
    yield Finding(
        "features",
        f"{estimate.n_features} in all: {in_words(estimate.seconds)} on {n_workers} cores,"
        f" {_size(estimate.n_workers * estimate.worker_bytes + estimate.own_bytes)} of memory,"
        f" {_size(estimate.disk_bytes)} on disk while it works and {_size(estimate.kept_bytes)} afterwards",
        is_fault=estimate.disk_bytes > estimate.free_bytes,
    )
    if estimate.failures:
        what = {"drop_candidate": "is dropped", "drop_feature": "drops features", "impute": "lacks features"}
        n = estimate.n_lost if kit.spec.features.missing == "drop_candidate" else estimate.n_lacking
        share = f"{n / len(sample):.0%} of a sample {what[kit.spec.features.missing]}"
        yield Finding("features", f"{share}: {estimate.failures[0]}")


def _rehearsed(kit: Kit, folder: Path) -> Finding:
    """Whether model, acquisition and selection work together."""
    kinds = ", ".join((kit.spec.surrogate.kind, kit.spec.acquisition.kind, kit.spec.selection.kind))
    try:
        rehearse(kit, folder)
    except ContractError as error:
        return Finding("model", f"a rehearsal with {kinds} failed: {error}", True)
    return Finding("model", f"{kinds}: a rehearsal on invented numbers went well")


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _one_label(kit: Kit, candidates: list[Candidate]) -> Iterator[Finding]:
    """One real calculation, in this process, of what costs no references."""
    able = [candidate for candidate in candidates if _refusal(kit, candidate) is None]
    if not able:
        yield Finding("label", f"{candidates[0].formula}: {_refusal(kit, candidates[0])}", True)
        return
    sizes = [0 if c.crystal is None else len(c.crystal.species) for c in able]
    candidate = able[int(np.argsort(sizes, kind="stable")[len(sizes) // 2])]
    labeler = _for_trial(kit, candidate)
    with tempfile.TemporaryDirectory() as folder:
        directory = JobDirectory(Path(folder) / "job")
        spec = labeler.prepare(candidate)
        directory.prepare(spec, "check", Resources(kit.spec.requests.timeout), python_path=kit.python_path)
        started = time.perf_counter()
        execute(directory.path)
        seconds = time.perf_counter() - started
        result = labeler.parse(directory.path)
    if isinstance(result, Failure):
        yield Finding("label", f"{candidate.formula} failed, {result.kind}: {result.detail}", True)
        return
    values = ", ".join(f"{name} = {value:.5g} {unit}" for name, (value, unit) in result.values.items())
    yield Finding("label", f"{candidate.formula}: {values}, in {seconds:.1f} s")
