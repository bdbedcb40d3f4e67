"""A campaign whose processes die anywhere, whose scheduler misbehaves, and whose owner interferes: what always holds.

Engine and store are real (SQLite on disk, `next_action`, `perform`); only the scheduler and the clock are fakes.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from active_learning.api.telling import Told, tell
from active_learning.config import read_campaign_file
from active_learning.domain import actions as do
from active_learning.domain.campaign import Phase, Settings
from active_learning.domain.candidate import Candidate
from active_learning.domain.request import MOVES, RequestState
from active_learning.engine.assembly import Kit, assemble
from active_learning.engine.deciding import next_action
from active_learning.engine.observing import Rules
from active_learning.engine.performing import perform
from active_learning.engine.round_steps import judge_again
from active_learning.engine.workbench import Workbench
from active_learning.errors import BackendError, LeaseLost, StaleVersion
from active_learning.jobs import JobDirectory
from active_learning.stopping.rules import Labels
from active_learning.store import CampaignStore, Facts, Holder
from active_learning.testing.fakes import FakeClock, Fate, fill_chunk_cache, tiny_campaign, true_value
from active_learning.testing.faults import FakeScheduler, FaultyStore, Killed, StoreFault, SubmitFault

N_CANDIDATES = 14
_TTL_S = 60.0
_ENDS = [fate for fate in Fate if fate is not Fate.REJECTED]
# Nothing here is lost with the machine, and each commit waits for its disk: memory is ten times faster.
_SHM = Path("/dev/shm")
_FOLDER = _SHM if _SHM.is_dir() else None
_kits: list[Kit] = []
steps = st.integers(0, 6)


def _kit() -> Kit:
    """The plug-ins of the tiny campaign; one formula is always rejected, two cannot be featurized."""
    if not _kits:
        with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
            fates = {"fates": {"AgAl": "rejected"}}
            path = tiny_campaign(
                Path(folder),
                pool={"kind": "active_learning.testing.fakes:TinyPool", "n": N_CANDIDATES},
                features={"kind": "active_learning.testing.fakes:TinyFeaturizer", "fails": ["AgAu", "AgCu2"]},
                labeler={"kind": "active_learning.testing.fakes:FakeLabeler"} | fates,
            )
            _kits.append(assemble(read_campaign_file(path)))
    return _kits[0]


def _labeled(facts: Facts) -> set[str]:
    return {label.candidate_id for label in facts.labels}


class CampaignMachine(RuleBasedStateMachine):
    """`perform` is called from one process at a time; a killed one is followed by another with a new lease."""

    @initialize(
        initial=st.integers(2, 5),
        batch=st.integers(1, 3),
        more=st.integers(0, 4),
        retries=st.integers(0, 1),
        lost_retries=st.integers(0, 2),
        budget=st.integers(3, 12),
    )
    def start(self, initial: int, batch: int, more: int, retries: int, lost_retries: int, budget: int) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=_FOLDER)
        self.workdir = Path(self.folder.name)
        self.scheduler = FakeScheduler(FakeScheduler.Options(at_once=False))
        self.clock = FakeClock()
        self.budget = budget
        self.kit = replace(
            _kit(), submitter=self.scheduler, settings=Settings(initial, batch, batch + more, retries, lost_retries, 1)
        )
        self.url = f"sqlite:///{self.workdir / 'campaign.db'}"
        self.person = CampaignStore(self.url, "tiny")
        assert self.person.create(self.kit.spec.model_dump(mode="json"), self.clock.now())
        self.truth = {c.id: true_value(c) for c in self.kit.pool.read() if isinstance(c, Candidate)}
        self.ids = sorted(self.truth)
        self.told: dict[str, float] = {}
        self.labels: dict[str, float] = {}
        self.states: dict[str, str] = {}
        self.refused: set[str] = set()
        self.seen = (0, 0)
        self.n_processes = 0
        self.was_interrupted = False
        self._look()
        self._open()
        self._run_steps(2)

    def _look(self) -> None:
        """The campaign as everybody can see it now."""
        self.facts = self.person.read()

    def _open(self) -> None:
        """Another process takes over."""
        self.n_processes += 1
        store = FaultyStore(self.url, "tiny")
        lease = store.acquire(Holder(f"node-{self.n_processes}", 1, 0.0), self.clock.now(), _TTL_S)
        kit = replace(self.kit, rules=Rules((Labels(Labels.Options(max=self.budget)),)))
        self.bench = Workbench(kit, store, self.workdir, self.clock, lease, lambda *_: None)

    def _take_over(self) -> None:
        """The old process is silent until its lease ends; what it then still tries to write is refused."""
        self.clock.sleep(_TTL_S + 1)
        old = self.bench
        self._open()
        with pytest.raises(LeaseLost, match="lost its lease"), old.write() as writer:
            writer.event("zombie")

    def _step(self) -> do.Action:
        before = self.facts
        snapshot = self.bench.snapshot()
        action = next_action(snapshot)
        assert next_action(snapshot) == action
        if isinstance(action, do.Featurize):
            fill_chunk_cache(self.bench)
        self.was_interrupted = False
        try:
            perform(self.bench, action)
        except Killed:
            self._take_over()
        except BackendError:
            self._take_over()  # the run ends with this error; somebody starts the next
        except StaleVersion:
            assert self.was_interrupted, f"{action} found the campaign changed, and nobody had changed it"
        else:
            self._check_progress(action, before)
        self._look()
        self._check_requests(before, self.facts)
        return action

    def _check_progress(self, action: do.Action, before: Facts) -> None:
        """Whatever is carried out changes what the next decision sees."""
        match action:
            case do.Collect() | do.Reconcile():
                assert self.bench.polled_at == self.clock.now()
            case do.Wait(until, _):
                assert until <= self.clock.now()
            case do.Finished():
                assert self.person.read() == before
            case _:
                assert self.person.read().version > before.version, f"{action} changed nothing"

    def _check_requests(self, before: Facts, after: Facts) -> None:
        """What one step asked for was neither labeled nor on its way, and there was room for it."""
        if self.was_interrupted:
            return
        old = {r.id: r for r in before.requests}
        is_open = {r.candidate_id for r in before.requests if r.is_open}
        planned = {r.candidate_id for r in after.requests if r.id not in old}
        assert not planned & (_labeled(before) | is_open)
        featurized = () if after.features is None else self.bench.features(after).ids
        n_labels = sum(x.candidate_id in featurized for x in after.labels)
        if planned:
            assert before.phase is Phase.ACTIVE
            assert n_labels + sum(r.is_open for r in after.requests) <= self.budget
        in_flight = [r for r in after.requests if r.state in (RequestState.RUNNING, RequestState.SUBMITTING)]
        if fresh := [r for r in in_flight if old[r.id].state is RequestState.PLANNED]:
            assert before.phase is Phase.ACTIVE
            assert not {r.candidate_id for r in fresh} & _labeled(before)
            assert n_labels + len(in_flight) <= self.budget

    def _run_steps(self, n: int) -> None:
        for _ in range(n):
            if isinstance(self._step(), do.Finished | do.Wait):
                return

    @rule()
    def one_step(self) -> None:
        self._step()

    @rule(n=st.integers(2, 12))
    def several_steps_at_once(self, n: int) -> None:
        self._run_steps(n)

    @rule(n=st.integers(1, 6), fault=st.sampled_from(StoreFault), then=steps)
    def the_process_will_die_in_a_write(self, n: int, fault: StoreFault, then: int) -> None:
        store = self.bench.store
        assert isinstance(store, FaultyStore)
        store.plan[store.n_writes + n] = fault
        self._run_steps(then)

    @rule(faults=st.lists(st.sampled_from(SubmitFault), min_size=1, max_size=4), then=steps)
    def submitting_will_go_wrong(self, faults: list[SubmitFault], then: int) -> None:
        self.scheduler.faults.submit.extend(faults)
        self._run_steps(then)

    @rule(find=st.booleans(), poll=st.booleans())
    def the_scheduler_falls_silent_or_speaks_again(self, find: bool, poll: bool) -> None:
        self.scheduler.faults.find_is_silent = find
        self.scheduler.faults.poll_is_silent = poll

    @rule()
    def the_process_dies_between_steps(self) -> None:
        self._take_over()

    @precondition(lambda self: self.scheduler.running())
    @rule(pick=st.integers(0, 99), fate=st.sampled_from(_ENDS), silent_polls=st.integers(0, 2), then=steps)
    def a_job_ends(self, pick: int, fate: Fate, silent_polls: int, then: int) -> None:
        running = self.scheduler.running()
        self.scheduler.end(running[pick % len(running)], fate, silent_polls=silent_polls)
        self._run_steps(then)

    @precondition(lambda self: self.scheduler.running())
    @rule(
        fates=st.lists(st.sampled_from([Fate.OK, Fate.OK, Fate.RAISES, Fate.LOST]), min_size=1, max_size=6), then=steps
    )
    def several_jobs_end(self, fates: list[Fate], then: int) -> None:
        for handle, fate in zip(reversed(self.scheduler.running()), fates, strict=False):
            self.scheduler.end(handle, fate)
        self._run_steps(then)

    @rule(days=st.integers(1, 4))
    def all_goes_well(self, days: int) -> None:
        for _ in range(days):
            self._run_steps(12)
            for handle in self.scheduler.running():
                self.scheduler.end(handle)
        self._run_steps(4)

    def _tell(self, candidate: str, error: float) -> None:
        self.was_interrupted = True
        value = self.truth[candidate] + error
        facts = self.person.read()
        pool = self.bench.pool(facts)
        known = {x.candidate_id: x.value for x in facts.labels}
        new, same, conflicts = tell(
            self.person, self.kit.target, pool, self.clock.now(), [Told(candidate, value, fidelity="measured")]
        )
        if candidate not in known:
            self.told[candidate] = value
            assert (new, same, len(conflicts)) == (1, 0, 0)
        else:
            is_same = known[candidate] == pytest.approx(value, rel=1e-9)
            assert (new, same, len(conflicts)) == (0, int(is_same), int(not is_same))
        self._look()

    @precondition(lambda self: self.facts.pool is not None)
    @rule(pick=st.integers(0, 99), error=st.sampled_from([0.0, 1.0]), then=steps)
    def a_person_tells_a_label(self, pick: int, error: float, then: int) -> None:
        self._tell(self.ids[pick % len(self.ids)], error)
        self._run_steps(then)

    @precondition(lambda self: any(r.is_open for r in self.facts.requests))
    @rule(pick=st.integers(0, 99), error=st.sampled_from([0.0, 1.0]), ends=st.booleans(), then=steps)
    def a_person_tells_the_label_of_a_request(self, pick: int, error: float, ends: bool, then: int) -> None:
        pending = [r for r in self.facts.requests if r.is_open]
        request = pending[pick % len(pending)]
        self._tell(request.candidate_id, error)
        if ends and request.handle is not None:
            self.scheduler.end(request.handle)
        self._run_steps(then)

    @precondition(lambda self: self.facts.pool is not None)
    @rule(n=st.integers(1, 4), pick=st.integers(0, 99), then=steps)
    def a_person_will_tell_a_label_between_decision_and_write(self, n: int, pick: int, then: int) -> None:
        store = self.bench.store
        assert isinstance(store, FaultyStore)
        store.meanwhile[store.n_writes + n] = lambda: self._tell(self.ids[pick % len(self.ids)], 0.0)
        self._run_steps(then)

    def _turn(self, expected: Phase, phase: Phase) -> None:
        self.was_interrupted = True
        if self.person.read().phase is expected:
            with self.person.write(self.clock.now()) as writer:
                writer.set_phase(phase)
        self._look()

    @rule(n=st.integers(0, 4), then=steps)
    def a_person_pauses(self, n: int, then: int) -> None:
        store = self.bench.store
        assert isinstance(store, FaultyStore)
        if n:
            store.meanwhile[store.n_writes + n] = lambda: self._turn(Phase.ACTIVE, Phase.PAUSED)
        else:
            self._turn(Phase.ACTIVE, Phase.PAUSED)
        self._run_steps(then)

    @rule(then=steps)
    def a_person_resumes(self, then: int) -> None:
        self._turn(Phase.PAUSED, Phase.ACTIVE)
        self._run_steps(then)

    @rule(budget=st.integers(1, 15), then=steps)
    def the_budget_changes(self, budget: int, then: int) -> None:
        """As `Campaign.work` takes over a changed file: a new process, which may reopen what had stopped."""
        self.budget = budget
        self._take_over()
        with self.bench.write() as writer:
            writer.set_spec(self.facts.spec, ["stopping"])
            judge_again(self.bench, self.facts, writer)
        self._look()
        self._run_steps(then)

    @invariant()
    def the_law_holds(self) -> None:
        self.versions_and_events_grow_and_every_move_is_legal()
        self.a_candidate_has_one_open_request_at_most()
        self.no_job_is_launched_twice_or_forgotten()
        self.no_more_is_in_flight_than_allowed()
        self.labels_stay_as_they_are_and_come_from_a_job_or_a_person()
        self.every_success_has_its_label()

    def versions_and_events_grow_and_every_move_is_legal(self) -> None:
        facts, (version, n_events) = self.facts, self.seen
        events = self.person.events(after=n_events)
        assert [e.number for e in events] == list(range(n_events + 1, n_events + 1 + len(events)))
        assert (facts.version > version) == bool(events)
        self.seen = (facts.version, n_events + len(events))
        for event in events:
            if event.kind == "planned":
                assert not [r for r in event.data["requests"] if r in self.states]
                self.states |= dict.fromkeys(event.data["requests"], RequestState.PLANNED.value)
            elif event.kind == "moved":
                old, new = self.states[event.data["request"]], event.data["state"]
                assert RequestState(new) in MOVES[RequestState(old)]
                self.states[event.data["request"]] = new
            elif event.kind == "conflict" and "request" in event.data:
                self.refused.add(event.data["request"])
        assert self.states == {r.id: r.state.value for r in facts.requests}

    def a_candidate_has_one_open_request_at_most(self) -> None:
        pending = Counter(r.candidate_id for r in self.facts.requests if r.is_open)
        assert not [candidate for candidate, n in pending.items() if n > 1]

    def no_job_is_launched_twice_or_forgotten(self) -> None:
        assert not [directory for directory, n in self.scheduler.launches.items() if n > 1]
        requests = {r.job_name: r for r in self.facts.requests}
        for known in self.scheduler.jobs.values():
            assert requests[known.job.name].state not in (RequestState.PLANNED, RequestState.CANCELLED)

    def no_more_is_in_flight_than_allowed(self) -> None:
        states = Counter(r.state for r in self.facts.requests)
        n = states[RequestState.RUNNING] + states[RequestState.SUBMITTING]
        assert n <= self.kit.settings.max_in_flight

    def labels_stay_as_they_are_and_come_from_a_job_or_a_person(self) -> None:
        facts = self.facts
        now = {label.candidate_id: label.value for label in facts.labels}
        assert now | self.labels == now, "a label changed or vanished"
        assert len(now) == len(facts.labels)
        self.labels = now
        requests = {r.id: r for r in facts.requests}
        for label in facts.labels:
            if label.request_id is None:
                assert label.value == self.told[label.candidate_id]
                continue
            assert requests[label.request_id].state is RequestState.SUCCEEDED
            outcome = JobDirectory(self.workdir / "jobs" / label.request_id).outcome()
            assert outcome is not None
            assert outcome.result is not None
            assert outcome.result["properties"]["energy"] == label.value == self.truth[label.candidate_id]
            assert label.provenance["code"] == "fake"

    def every_success_has_its_label(self) -> None:
        facts = self.facts
        values = {label.candidate_id: label.value for label in facts.labels}
        for request in facts.requests:
            if request.state is RequestState.SUCCEEDED:
                is_true = values[request.candidate_id] == self.truth[request.candidate_id]
                assert is_true or (request.candidate_id in self.told and request.id in self.refused)

    def teardown(self) -> None:
        """With no more faults a campaign comes to its end: a verdict, or a failure that says why."""
        if not hasattr(self, "bench"):
            return
        self.scheduler.faults = type(self.scheduler.faults)()
        self._take_over()
        self._turn(Phase.PAUSED, Phase.ACTIVE)
        for _ in range(400):
            match self._step():
                case do.Finished():
                    break
                case do.Wait():
                    for handle in self.scheduler.running():
                        self.scheduler.end(handle)
        else:
            pytest.fail("no end in 400 steps")
        self._check_end(self.facts)
        self.person.close()
        self.bench.store.close()
        self.folder.cleanup()

    def _check_end(self, facts: Facts) -> None:
        assert facts.phase in (Phase.STOPPED, Phase.FAILED)
        assert facts.verdict is not None
        assert not [r for r in facts.requests if r.is_open]
        if facts.phase is Phase.FAILED:
            assert "and a model needs 2" in facts.verdict.reason
        else:
            assert facts.verdict.kind in ("labels", "pool_exhausted")
        if facts.verdict.kind == "labels":
            assert len(facts.labels) >= self.budget
        if facts.verdict.kind == "pool_exhausted":
            asked = _labeled(facts) | {r.candidate_id for r in facts.requests}
            assert not set(self.bench.features(facts).ids) - asked
        self.the_law_holds()


TestCampaign = CampaignMachine.TestCase
TestCampaign.settings = settings(stateful_step_count=30, deadline=None)
