"""From jobs that ended to labels, failures, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from active_learning.domain.job import JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind, Label, Measurement
from active_learning.domain.protocols import AnsweredByPeople
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.engine import caching
from active_learning.engine.workbench import Workbench
from active_learning.errors import BackendError, LabelConflict
from active_learning.jobs import JobDirectory
from active_learning.store import Facts, Writer

__all__ = ["collect", "settle"]

_S = RequestState
_DIED = Failure(FailureKind.NODE, "the job ended without a word: its process, node or campaign died")
_GONE = Failure(FailureKind.NODE, "its backend does not know the job any more, and it left no outcome")


def collect(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Ask once for all that run, then read each job's directory: the files decide, the backend advises."""
    facts = bench.store.read()
    requests = [r for r in facts.requests if r.id in set(request_ids) and r.state is _S.RUNNING]
    reports = _reports(bench, requests)
    bench.polled_at = bench.clock.now()
    answered = _answered_by_people(bench, facts)
    settled = 0
    for request in requests:
        if request.candidate_id in answered:
            _close(bench, request)
            settled += 1
            continue
        result = _result(bench, facts, request, reports[request.id])
        with bench.write() as writer:
            if result is not None:
                settle(bench, writer, request, result)
                settled += 1
            else:
                writer.note_backend(request, reports[request.id].phase, reports[request.id].detail)
        if isinstance(result, Measurement):
            caching.share(bench, facts, request)
    return f"collected {settled} of {len(requests)}"


def _reports(bench: Workbench, requests: Sequence[Request]) -> Mapping[str, JobReport]:
    """Request id -> what is said of its job. A label from the cache has no job, and is there."""
    asked = {r.id: r.handle for r in requests if r.handle and not caching.is_cached(r)}
    said = bench.kit.submitter.poll(list(asked.values())) if asked else {}
    found = {r.id: JobReport(JobPhase.ENDED) for r in requests if r.id not in asked}
    for request_id, handle in asked.items():
        if (report := said.get(handle)) is None:
            raise BackendError(f"the submitter said nothing of {handle}, the job of request {request_id}")
        found[request_id] = report
    return found


def _answered_by_people(bench: Workbench, facts: Facts) -> frozenset[str]:
    """Candidates whose label a person told, where it is people who are asked: their requests are done."""
    if not isinstance(bench.kit.submitter, AnsweredByPeople):
        return frozenset()
    name = bench.kit.target.property
    return frozenset(x.candidate_id for x in facts.labels if x.property == name and x.request_id is None)


def _close(bench: Workbench, request: Request) -> None:
    assert isinstance(bench.kit.submitter, AnsweredByPeople)
    bench.kit.submitter.cancel([request.handle or ""])
    with bench.write() as writer:
        # People's time is no core time.
        writer.note_use(request.id, queued_s=None, ran_s=0.0)
        writer.move(request.id, _S.RUNNING, _S.SUCCEEDED)


def _result(bench: Workbench, facts: Facts, request: Request, report: JobReport) -> Measurement | Failure | None:
    """What a job gave; None while it may still give something."""
    directory = JobDirectory(bench.jobs / request.id)
    if directory.outcome() is not None:
        result = bench.labeler_for(facts, request).parse(Path(directory.path))
        if isinstance(result, Measurement) and caching.is_cached(request):
            result = replace(result, provenance={**result.provenance, "cache": caching.origin_of(directory)})
        return _checked(bench, request, result)
    if report.phase is JobPhase.ENDED:
        return report.failure or _DIED
    if report.phase is JobPhase.GONE and _is_gone_for_good(bench, request):
        return replace(_GONE, detail=f"{_GONE.detail} ({report.detail})") if report.detail else _GONE
    return None


def _is_gone_for_good(bench: Workbench, request: Request) -> bool:
    """Whether the backend has not known the job for the grace period, in which it may still write its files."""
    if request.backend is not JobPhase.GONE or request.backend_since is None:
        return False
    return bench.clock.now() - request.backend_since >= timedelta(seconds=bench.kit.spec.requests.grace)


def _checked(bench: Workbench, request: Request, result: Measurement | Failure) -> Measurement | Failure:
    """A value of the target that the user does not believe is a calculation that went astray."""
    bounds, name = bench.kit.spec.requests.plausible, bench.kit.target.property
    if (
        bounds is None
        or isinstance(result, Failure)
        or request.purpose is Purpose.REFERENCE
        or name not in result.values
    ):
        return result
    value, unit = result.values[name]
    if bounds[0] <= value <= bounds[1]:
        return result
    said = f"{name} is {value:.6g} {unit}, outside of what [requests] calls plausible: {bounds[0]:g} to {bounds[1]:g}"
    return Failure(FailureKind.UNPARSABLE, said)


def settle(bench: Workbench, writer: Writer, request: Request, result: Measurement | Failure) -> None:
    """The request's end, what it cost, and its labels, in one transaction."""
    _note_use(bench, writer, request)
    if isinstance(result, Failure) and request.cancel_asked_at is not None:
        # It failed because we wanted its end, which says nothing of the candidate either.
        writer.move(request.id, _S.RUNNING, _S.CANCELLED)
        return
    if isinstance(result, Failure):
        # What died with its machine says nothing of the candidate.
        state = _S.LOST if result.kind is FailureKind.NODE else _S.FAILED
        writer.move(request.id, _S.RUNNING, state, failure=result)
        return
    writer.move(request.id, _S.RUNNING, _S.SUCCEEDED)
    for name, (value, unit) in result.values.items():
        label = Label(
            candidate_id=request.candidate_id,
            property=name,
            value=value,
            unit=unit,
            time=writer.now,
            fidelity=result.fidelity,
            std=result.std.get(name),
            request_id=request.id,
            provenance=result.provenance,
        )
        try:
            writer.add_label(label)
        except LabelConflict as conflict:
            # A person told another value meanwhile: theirs stands, and the history says so.
            writer.event("conflict", request=request.id, property=name, value=value, unit=unit, refused=str(conflict))


def _note_use(bench: Workbench, writer: Writer, request: Request) -> None:
    """How long the job waited and ran: by its own word, else by when it began, which its directory knows."""
    directory = JobDirectory(bench.jobs / request.id)
    usage, began = directory.usage(), directory.started_at
    if caching.is_cached(request) or (usage is None and began is None):
        writer.note_use(request.id, queued_s=None, ran_s=0.0)
        return
    start = usage.started if usage is not None else began or 0.0
    end = usage.ended if usage is not None else writer.now.timestamp()
    submitted = request.submitted_at
    # Clocks of two hosts may differ by more than a short wait.
    waited = None if submitted is None else max(0.0, start - submitted.timestamp())
    writer.note_use(request.id, queued_s=waited, ran_s=max(0.0, end - start))
