"""Find what can be wrong before anything is spent: build the pool, featurize a sample, ask the labeler."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from active_learning.config import read_campaign_file
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.domain.label import Failure
from active_learning.domain.protocols import Labeler, References
from active_learning.domain.seeds import rng_for
from active_learning.engine.assembly import Kit, assemble
from active_learning.engine.workbench import ENERGY
from active_learning.errors import UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute

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
    yield from _workdir(file.workdir())
    if not (kit.rules.any or kit.rules.all):
        yield Finding("stopping", "no rule: the campaign ends when the whole pool is labeled")
    candidates, finding = _pool(kit)
    yield finding
    if not candidates:
        return
    yield from _labeler(kit, candidates)
    yield from _features(kit, candidates)
    if try_label:
        yield from _one_label(kit, candidates)


def _workdir(workdir: Path) -> Iterator[Finding]:
    place = next(folder for folder in (workdir, *workdir.parents) if folder.exists())
    try:
        # Rights say little: root, a file in the way, a disk mounted read-only. So it is tried.
        with tempfile.TemporaryDirectory(dir=place):
            return
    except OSError as error:
        message = f"nothing can be written in {place} ({error.strerror}), and the workdir {workdir} lies in it"
        yield Finding("workdir", message, True)


def _pool(kit: Kit) -> tuple[list[Candidate], Finding]:
    started = time.perf_counter()
    found = list(kit.pool.read())
    candidates = [item for item in found if isinstance(item, Candidate)]
    dropped = Counter(item.kind for item in found if isinstance(item, Dropped))
    listed = ", ".join(f"{count:,} {reason}" for reason, count in dropped.most_common())
    message = f"{len(candidates):,} candidates in {time.perf_counter() - started:.1f} s"
    message += f"; dropped: {listed}" if listed else ""
    if len(candidates) < kit.settings.initial:
        fault = not candidates
        return candidates, Finding("pool", f"{message}; the first design asks for {kit.settings.initial}", fault)
    return candidates, Finding("pool", message)


def _labeler(kit: Kit, candidates: list[Candidate]) -> Iterator[Finding]:
    elements = sorted({symbol for candidate in candidates for symbol in candidate.amounts})
    unsupported: Mapping[str, str] = getattr(kit.labeler, "unsupported", lambda _elements: {})(elements)
    for symbol, reason in unsupported.items():
        yield Finding("labeler", f"{symbol}: {reason}", True)
    if isinstance(kit.labeler, References):
        try:
            references = kit.labeler.references(elements)
        except UserError as error:
            yield Finding("labeler", str(error), True)
            return
        if references:
            crystals = ", ".join(crystal.formula for crystal in references.values())
            yield Finding("labeler", f"{len(references)} reference calculations come first: {crystals}")
    if not unsupported:
        yield from _preparing(kit, _sample(kit, candidates))


def _preparing(kit: Kit, sample: list[Candidate]) -> Iterator[Finding]:
    """Whether jobs can be prepared: a calculator of an unknown name is found here."""
    reasons = []
    for candidate in sample:
        try:
            _for_trial(kit, candidate).prepare(candidate)
        except UserError as error:
            reasons.append(str(error))
    if len(reasons) == len(sample):
        yield Finding("labeler", f"no candidate of a sample can be labeled: {reasons[0]}", True)
    elif reasons:
        yield Finding("labeler", f"{len(reasons) / len(sample):.0%} of a sample cannot be labeled: {reasons[0]}")


def _sample(kit: Kit, candidates: list[Candidate]) -> list[Candidate]:
    rows = rng_for(kit.spec.seed, 0, "check").choice(len(candidates), min(_SAMPLE, len(candidates)), replace=False)
    return [candidates[row] for row in np.sort(rows)]


def _for_trial(kit: Kit, candidate: Candidate) -> Labeler:
    """The labeler, asked for what costs no references."""
    labeler = kit.labeler
    if isinstance(labeler, References) and labeler.references(candidate.elements):
        labeler = labeler.for_property(ENERGY)  # type: ignore[attr-defined]
    return labeler


def _features(kit: Kit, candidates: list[Candidate]) -> Iterator[Finding]:
    sample = _sample(kit, candidates)
    names = kit.featurizer.names
    kit.featurizer.featurize(sample[:1])
    started = time.perf_counter()
    block = kit.featurizer.featurize(sample)
    each = (time.perf_counter() - started) / len(sample)
    cores = os.cpu_count() or 1
    message = (
        f"{len(names)} of each; {each * 1e3:.1f} ms a candidate, about {each * len(candidates) / cores:.0f} s for all"
        f" on {cores} cores, {len(candidates) * len(names) * 8 / 1e6:.1f} MB"
    )
    if len(block.failures) == len(sample):
        yield Finding("features", f"every candidate of a sample failed: {next(iter(block.failures.values()))}", True)
    elif block.failures:
        share = len(block.failures) / len(sample)
        yield Finding("features", f"{message}; {share:.0%} of a sample failed: {next(iter(block.failures.values()))}")
    else:
        yield Finding("features", message)


def _one_label(kit: Kit, candidates: list[Candidate]) -> Iterator[Finding]:
    """One real calculation, in this process, of what costs no references."""
    sizes = [0 if c.crystal is None else len(c.crystal.species) for c in candidates]
    candidate = candidates[int(np.argsort(sizes, kind="stable")[len(sizes) // 2])]
    labeler = _for_trial(kit, candidate)
    with tempfile.TemporaryDirectory() as folder:
        directory = JobDirectory(Path(folder) / "job")
        try:
            spec = labeler.prepare(candidate)
        except UserError as error:
            yield Finding("label", f"{candidate.formula}: {error}", True)
            return
        directory.prepare(spec, "check", kit.spec.requests.timeout, python_path=kit.python_path)
        started = time.perf_counter()
        execute(directory.path)
        seconds = time.perf_counter() - started
        result = labeler.parse(directory.path)
    if isinstance(result, Failure):
        yield Finding("label", f"{candidate.formula} failed, {result.kind}: {result.detail}", True)
        return
    values = ", ".join(f"{name} = {value:.5g} {unit}" for name, (value, unit) in result.values.items())
    yield Finding("label", f"{candidate.formula}: {values}, in {seconds:.1f} s")
