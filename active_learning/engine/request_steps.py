"""The steps of a request's life until its job runs, and from a failure to the next attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from active_learning.domain.campaign import Phase
from active_learning.domain.job import Job, JobPhase, JobSpec, Resources
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.protocols import Cancels, SubmitsMany
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.engine import caching
from active_learning.engine.deciding import newest_attempts
from active_learning.engine.remedies import resources_for
from active_learning.engine.workbench import Workbench, reference_id
from active_learning.errors import BackendSilent, ContractError, TransientSubmitError, UserError
from active_learning.jobs import JobDirectory
from active_learning.store import Facts

__all__ = ["cancel_jobs", "cancel_planned", "new_request", "plan_references", "reconcile", "retry", "submit"]

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
    for done, request_id in enumerate(request_ids):
        try:
            handle = bench.kit.submitter.find(_job(bench, requests[request_id]))
        except BackendSilent as silence:
            _note_silence(bench, [requests[one] for one in request_ids[done:]], str(silence))
            return f"in doubt: {adopted} adopted, {len(request_ids) - done} still in doubt: {silence}"
        with bench.write() as writer:
            if handle is None:
                writer.move(request_id, _S.SUBMITTING, _S.PLANNED)
            else:
                writer.move(request_id, _S.SUBMITTING, _S.RUNNING, handle=handle)
                adopted += 1
    return f"in doubt: {adopted} adopted, {len(request_ids) - adopted} never launched"


def _note_silence(bench: Workbench, requests: Sequence[Request], detail: str) -> None:
    with bench.write() as writer:
        for request in requests:
            writer.note_backend(request, JobPhase.UNKNOWN, detail)


def submit(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Promise, launch and note; a crash anywhere in between leaves promises to look after.

    All at once where the backend takes many jobs with one call, one after another elsewhere.
    """
    if isinstance(bench.kit.submitter, SubmitsMany) and len(request_ids) > 1:
        return _submit_together(bench, bench.kit.submitter, request_ids)
    for done, request_id in enumerate(request_ids):
        # Launching takes long where jobs run at once; what a person said meanwhile must not wait for the last of them.
        facts = bench.store.read()
        if (halt := _halt(facts)) is not None:
            return f"submitted {done} of {len(request_ids)}: {halt}"
        prepared = _prepared(bench, facts, next(r for r in facts.requests if r.id == request_id))
        if prepared is None:
            continue
        try:
            _submit_one(bench, prepared)
        except BackendSilent as silence:
            # Launched or not: the promise stands, and the job is looked for when the backend answers again.
            bench.polled_at = bench.clock.now()
            _note_silence(bench, [prepared.request], str(silence))
            return f"submitted {done} of {len(request_ids)}, one in doubt: {silence}"
    return f"submitted {len(request_ids)}"


def _halt(facts: Facts) -> str | None:
    """Why nothing more is to be submitted, by a person's word."""
    if facts.ending is not None:
        return "the campaign is to end"
    return None if facts.phase is Phase.ACTIVE else f"the campaign is {facts.phase}"


@dataclass(frozen=True)
class _Prepared:
    """A request whose job lies ready."""

    request: Request
    job: Job


def _prepared(bench: Workbench, facts: Facts, request: Request) -> _Prepared | None:
    """The request with its job; None if there is nothing to launch: it was rejected, or its label is known."""
    candidate = bench.candidate(facts, request.candidate_id)
    try:
        spec = bench.labeler_for(facts, request).prepare(candidate)
    except UserError as error:
        with bench.write() as writer:
            writer.move(request.id, _S.PLANNED, _S.SUBMITTING)
            rejected = Failure(FailureKind.REJECTED, str(error))
            writer.move(request.id, _S.SUBMITTING, _S.FAILED, failure=rejected)
        return None
    resources = resources_for(candidate, bench.change_for(facts, request), bench.kit.spec.requests)
    job = _directory(bench, request).prepare(spec, request.job_name, resources, python_path=bench.kit.python_path)
    return None if _is_known(bench, facts, request, spec) else _Prepared(request, job)


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


def _promise(bench: Workbench, all_prepared: Sequence[_Prepared]) -> None:
    with bench.write() as writer:
        for one in all_prepared:
            writer.note_resources(one.request.id, one.job.resources.cores, one.job.resources.timeout_s)
            writer.move(one.request.id, _S.PLANNED, _S.SUBMITTING)


def _note_launched(bench: Workbench, all_prepared: Sequence[_Prepared], handles: Mapping[str, str]) -> None:
    """Handles by the names of their jobs. The others were certainly not launched: their promise is taken back."""
    with bench.write() as writer:
        for one in all_prepared:
            if (handle := handles.get(one.job.name)) is not None:
                writer.move(one.request.id, _S.SUBMITTING, _S.RUNNING, handle=handle)
            else:
                writer.move(one.request.id, _S.SUBMITTING, _S.PLANNED)


def _submit_one(bench: Workbench, one: _Prepared) -> None:
    _promise(bench, [one])
    try:
        handle = _persistently(bench, lambda: bench.kit.submitter.submit(one.job))
    except TransientSubmitError:
        # The error says what the backend said.
        _note_launched(bench, [one], {})
        raise
    _note_launched(bench, [one], {one.job.name: handle})


def _submit_together(bench: Workbench, submitter: SubmitsMany, request_ids: Sequence[str]) -> str:
    facts = bench.store.read()
    if (halt := _halt(facts)) is not None:
        return f"submitted none of {len(request_ids)}: {halt}"
    wanted = [r for r in facts.requests if r.id in set(request_ids)]
    ready = [one for one in (_prepared(bench, facts, request) for request in wanted) if one is not None]
    if not ready:
        return f"submitted {len(request_ids)}"
    _promise(bench, ready)
    try:
        handles = _persistently(bench, lambda: submitter.submit_many([one.job for one in ready]))
    except TransientSubmitError:
        _note_launched(bench, ready, {})
        raise
    except BackendSilent as silence:
        bench.polled_at = bench.clock.now()
        _note_silence(bench, [one.request for one in ready], str(silence))
        return f"submitted {len(ready)} together, all in doubt: {silence}"
    _note_launched(bench, ready, handles)
    return f"submitted {len(handles)} of {len(request_ids)} together"


def _persistently(bench: Workbench, launch: Callable[[], Any]) -> Any:
    for wait_s in [2.0**n for n in range(_SUBMIT_TRIES - 1)]:
        try:
            return launch()
        except TransientSubmitError:
            bench.clock.sleep(wait_s)
    return launch()


def retry(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Plan one more attempt each."""
    facts = bench.store.read()
    newest = {request.id: request for request in newest_attempts(facts.requests).values()}
    with bench.write() as writer:
        writer.plan(_again(facts.name, newest[request_id]) for request_id in request_ids)
    return f"trying again: {', '.join(newest[request_id].formula for request_id in request_ids)}"


def _again(campaign: str, old: Request) -> Request:
    attempt = old.attempt + 1
    return replace(old.as_planned(), attempt=attempt, job_name=f"{campaign}-{old.candidate_id}-{attempt}")


def cancel_jobs(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Have jobs that run ended. How they end is collected like any end: one may have come to its own meanwhile."""
    submitter = bench.kit.submitter
    if not isinstance(submitter, Cancels):
        raise ContractError(f"a {type(submitter).__name__} cannot end jobs")
    facts = bench.store.read()
    running = [r for r in facts.requests if r.id in set(request_ids) and r.state is _S.RUNNING]
    submitter.cancel([r.handle for r in running if r.handle and not caching.is_cached(r)])
    with bench.write() as writer:
        writer.note_cancel(r.id for r in running)
    return f"cancelled the calculations of {', '.join(r.formula for r in running)}"


def cancel_planned(bench: Workbench, request_ids: Sequence[str]) -> str:
    """Withdraw requests that were never submitted."""
    with bench.write() as writer:
        for request_id in request_ids:
            writer.move(request_id, _S.PLANNED, _S.CANCELLED)
    return f"withdrew {len(request_ids)} planned requests"
