"""The steps of a request's life until its job runs, and from a failure to the next attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from active_learning.domain.campaign import Phase
from active_learning.domain.job import Job, JobSpec, Resources
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.engine import caching
from active_learning.engine.deciding import newest_attempts
from active_learning.engine.remedies import resources_for
from active_learning.engine.workbench import Workbench, reference_id
from active_learning.errors import TransientSubmitError, UserError
from active_learning.jobs import JobDirectory
from active_learning.store import Facts

__all__ = ["cancel_planned", "new_request", "plan_references", "reconcile", "retry", "submit"]

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
    candidate = bench.candidate(facts, request.candidate_id)
    try:
        spec = bench.labeler_for(facts, request).prepare(candidate)
    except UserError as error:
        with bench.write() as writer:
            writer.move(request.id, _S.PLANNED, _S.SUBMITTING)
            rejected = Failure(FailureKind.REJECTED, str(error))
            writer.move(request.id, _S.SUBMITTING, _S.FAILED, failure=rejected)
        return
    resources = resources_for(candidate, bench.change_for(facts, request), bench.kit.spec.requests)
    job = _directory(bench, request).prepare(spec, request.job_name, resources, python_path=bench.kit.python_path)
    if _is_known(bench, facts, request, spec):
        return
    with bench.write() as writer:
        writer.note_resources(request.id, resources.cores, resources.timeout_s)
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


def _is_known(bench: Workbench, facts: Facts, request: Request, spec: JobSpec) -> bool:
    """Whether somebody ran this job before: then its result is put where the job would have left it."""
    found = caching.look_up(bench, facts, request, spec)
    if found is None:
        return False
    caching.adopt(_directory(bench, request), *found)
    with bench.write() as writer:
        writer.move(request.id, _S.PLANNED, _S.SUBMITTING)
        writer.move(request.id, _S.SUBMITTING, _S.RUNNING, handle=caching.handle_of(found[0]))
    return True


def _launch(bench: Workbench, job: Job) -> str:
    for wait_s in [2.0**n for n in range(_SUBMIT_TRIES - 1)]:
        try:
            return bench.kit.submitter.submit(job)
        except TransientSubmitError:
            bench.clock.sleep(wait_s)
    return bench.kit.submitter.submit(job)


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
        cores=1,
        asked_s=None,
        queued_s=None,
        ran_s=None,
        backend=None,
        backend_since=None,
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
