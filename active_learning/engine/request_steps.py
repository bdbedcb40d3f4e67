"""The steps of a request's life: planned, promised, launched, collected, tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from active_learning.domain.campaign import Phase
from active_learning.domain.job import Job, JobPhase, JobReport, Resources
from active_learning.domain.label import Failure, FailureKind, Label, Measurement
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.engine.deciding import newest_attempts
from active_learning.engine.workbench import Workbench, reference_id
from active_learning.errors import BackendError, LabelConflict, TransientSubmitError, UserError
from active_learning.jobs import JobDirectory
from active_learning.store import Facts, Writer

__all__ = ["cancel_planned", "collect", "new_request", "plan_references", "reconcile", "retry", "submit"]

_S = RequestState
_SUBMIT_TRIES = 3


def new_request(
    campaign: str,
    candidate_id: str,
    formula: str,
    *,
    round_number: int,
    purpose: Purpose,
    reason: str,
    attempt: int = 1,
) -> Request:
    """A planned request; its job's name says all that is needed to find the job again."""
    return Request(
        candidate_id=candidate_id,
        formula=formula,
        attempt=attempt,
        round=round_number,
        state=_S.PLANNED,
        job_name=f"{campaign}-{candidate_id}-{attempt}",
        purpose=purpose,
        reason=reason,
    )


def plan_references(bench: Workbench) -> str:
    """Plan the elements whose energies are measured against; again those that were withdrawn."""
    facts = bench.store.read()
    newest = newest_attempts(facts.requests)
    requests = []
    for element, crystal in bench.references(facts).items():
        old = newest.get(reference_id(element))
        if old is not None and old.state is not _S.CANCELLED:
            continue
        requests.append(
            new_request(
                facts.name,
                reference_id(element),
                crystal.formula,
                round_number=0,
                purpose=Purpose.REFERENCE,
                reason=f"reference energy of {element}",
                attempt=1 if old is None else old.attempt + 1,
            )
        )
    with bench.write() as writer:
        writer.plan(requests)
    return f"references: {', '.join(request.formula for request in requests)}"


def _directory(bench: Workbench, request: Request) -> JobDirectory:
    return JobDirectory(bench.jobs / request.id)


def _job(bench: Workbench, request: Request) -> Job:
    return _directory(bench, request).job(request.job_name, Resources(bench.kit.spec.requests.timeout))


def reconcile(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Look for the jobs of requests in doubt: adopt those that were launched, plan the others again."""
    requests = {request.id: request for request in bench.store.read().requests}
    adopted = 0
    bench.polled_at = bench.clock.now()
    for request_id in request_ids:
        handle = bench.kit.submitter.find(_job(bench, requests[request_id]))
        with bench.write() as writer:
            if handle is None:
                writer.move(request_id, _S.SUBMITTING, _S.PLANNED)
            else:
                writer.move(request_id, _S.SUBMITTING, _S.RUNNING, handle=handle)
                adopted += 1
    return f"in doubt: {adopted} adopted, {len(request_ids) - adopted} never launched"


def submit(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Promise, launch and note, one after another; a crash anywhere in between leaves a promise to look after."""
    for done, request_id in enumerate(request_ids):
        # Launching takes long where jobs run at once; what a person said meanwhile must not wait for the last of them.
        facts = bench.store.read()
        if facts.phase is not Phase.ACTIVE:
            return f"submitted {done} of {len(request_ids)}: the campaign is {facts.phase}"
        _submit_one(bench, facts, next(r for r in facts.requests if r.id == request_id))
    return f"submitted {len(request_ids)}"


def _submit_one(bench: Workbench, facts: Facts, request: Request) -> None:
    try:
        spec = bench.labeler(facts, request.purpose).prepare(bench.candidate(facts, request.candidate_id))
    except UserError as error:
        with bench.write() as writer:
            writer.move(request.id, _S.PLANNED, _S.SUBMITTING)
            rejected = Failure(FailureKind.REJECTED, str(error))
            writer.move(request.id, _S.SUBMITTING, _S.FAILED, failure=rejected)
        return
    job = _directory(bench, request).prepare(
        spec, request.job_name, Resources(bench.kit.spec.requests.timeout), python_path=bench.kit.python_path
    )
    with bench.write() as writer:
        writer.move(request.id, _S.PLANNED, _S.SUBMITTING)
    try:
        handle = _launch(bench, job)
    except TransientSubmitError:
        # Certainly not launched: the promise is taken back, and the error says what the backend said.
        with bench.write() as writer:
            writer.move(request.id, _S.SUBMITTING, _S.PLANNED)
        raise
    with bench.write() as writer:
        writer.move(request.id, _S.SUBMITTING, _S.RUNNING, handle=handle)


def _launch(bench: Workbench, job: Job) -> str:
    for wait_s in [2.0**n for n in range(_SUBMIT_TRIES - 1)]:
        try:
            return bench.kit.submitter.submit(job)
        except TransientSubmitError:
            bench.clock.sleep(wait_s)
    return bench.kit.submitter.submit(job)


def collect(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Ask once for all that run, then read each job's directory: the files decide, the backend advises."""
    facts = bench.store.read()
    requests = {r.id: r for r in facts.requests if r.id in set(request_ids) and r.state is _S.RUNNING}
    handles = [request.handle for request in requests.values() if request.handle]
    reports = bench.kit.submitter.poll(handles)
    bench.polled_at = bench.clock.now()
    settled = 0
    for request in requests.values():
        report = reports.get(request.handle or "")
        if report is None:
            raise BackendError(f"the submitter said nothing of {request.handle}, the job of request {request.id}")
        result = _result(bench, facts, request, report)
        if result is not None:
            with bench.write() as writer:
                _settle(writer, request, result)
            settled += 1
    return f"collected {settled} of {len(requests)}"


_LOST = Failure(FailureKind.NODE, "the job ended without a word: its process, node or campaign died")


def _result(bench: Workbench, facts: Facts, request: Request, report: JobReport) -> Measurement | Failure | None:
    """What a job gave; None while it may still give something."""
    directory = _directory(bench, request)
    if directory.outcome() is not None:
        return bench.labeler(facts, request.purpose).parse(Path(directory.path))
    if report.phase is not JobPhase.ENDED:
        return None
    return report.failure or _LOST


def _settle(writer: Writer, request: Request, result: Measurement | Failure) -> None:
    """The request's end and its labels, in one transaction."""
    if result is _LOST:
        writer.move(request.id, _S.RUNNING, _S.LOST)
        return
    if isinstance(result, Failure):
        writer.move(request.id, _S.RUNNING, _S.FAILED, failure=result)
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


def retry(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Plan one more attempt each."""
    facts = bench.store.read()
    newest = {request.id: request for request in newest_attempts(facts.requests).values()}
    with bench.write() as writer:
        writer.plan(_again(facts.name, newest[request_id]) for request_id in request_ids)
    return f"trying again: {', '.join(newest[request_id].formula for request_id in request_ids)}"


def _again(campaign: str, old: Request) -> Request:
    attempt = old.attempt + 1
    return replace(
        old,
        attempt=attempt,
        state=_S.PLANNED,
        job_name=f"{campaign}-{old.candidate_id}-{attempt}",
        handle=None,
        failure=None,
        planned_at=None,
        submitted_at=None,
        settled_at=None,
    )


def cancel_planned(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Withdraw requests that were never submitted."""
    with bench.write() as writer:
        for request_id in request_ids:
            writer.move(request_id, _S.PLANNED, _S.CANCELLED)
    return f"withdrew {len(request_ids)} planned requests"
