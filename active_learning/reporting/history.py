"""What the stopping rules saw as a campaign went on, made again from its record by the engine's own counting.

Labels that were taken back since are not among those of any moment.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from active_learning.api.record import CampaignRecord
from active_learning.config.spec import Requests, Rounds
from active_learning.domain.campaign import Phase, Progress, RoundRecord, Settings
from active_learning.domain.request import Request, RequestState
from active_learning.engine.ids import CandidateIds
from active_learning.engine.observing import progress_of
from active_learning.store import Facts

__all__ = ["Moment", "moments"]

_MOST, _FEWEST = 200, 20
_MOST_VISITS = 200_000
"""Each moment looks at every request: a long campaign is looked at in fewer of its rounds."""


@dataclass(frozen=True)
class Moment:
    """What the rules saw when a round had trained its model and before it chose; `round` is None for the newest state
    of all, after the last round chose."""

    round: int | None
    progress: Progress


def moments(record: CampaignRecord) -> tuple[Moment, ...]:
    """The moments at which the rules were asked, in order: each round's, and the newest.

    Of many rounds some, evenly spread, the first and the last among them. Empty before the first round.
    """
    rounds = sorted(record.rounds, key=lambda r: r.number)
    if not rounds:
        return ()
    most = int(np.clip(_MOST_VISITS / (len(record.requests) + 1), _FEWEST, _MOST))
    shown = range(len(rounds)) if len(rounds) <= most else np.unique(np.linspace(0, len(rounds) - 1, most).astype(int))
    past = _Past(record, tuple(rounds))
    found = [Moment(rounds[place].number, past.at_opening(int(place))) for place in shown]
    if rounds[-1].n_picks:
        found.append(Moment(None, past.newest()))
    return tuple(found)


class _Past:
    """A record as it was."""

    def __init__(self, record: CampaignRecord, rounds: tuple[RoundRecord, ...]) -> None:
        self._record, self._rounds = record, rounds
        self._round_of = {request.id: request.round for request in record.requests}
        # Halving finds an id in a large pool; of others a set is made once.
        ids = record.candidate_ids
        self._featurized: Container[str] = ids if isinstance(ids, CandidateIds) else frozenset(ids)
        requests = Requests.model_validate(record.spec.get("requests", {}))
        rules = Rounds.model_validate(record.spec.get("rounds", {}))
        self._settings = Settings(
            initial=rules.initial,
            batch_size=rules.batch_size,
            max_in_flight=rules.max_in_flight,
            retries=requests.retries,
            lost_retries=requests.lost_retries,
            poll_s=requests.poll,
            retries_after={kind: r.retries for kind, r in requests.on.items() if r.retries is not None},
        )

    def at_opening(self, place: int) -> Progress:
        """With the fresh model of a round, none of whose candidates is chosen yet."""
        opened = self._rounds[place]
        number, time = opened.number, opened.opened_at
        requests = tuple(
            _as_it_was(request, time)
            for request in self._record.requests
            if request.round < number and (request.planned_at is None or request.planned_at <= time)
        )
        return self._progress((*self._rounds[:place], replace(opened, n_picks=0)), requests, time, before=number)

    def newest(self) -> Progress:
        """As it stands; of a campaign that has ended, as it ended."""
        record = self._record
        time = record.now
        if record.phase in (Phase.STOPPED, Phase.FAILED):
            ends = [request.settled_at for request in record.requests if request.settled_at is not None]
            time = max([self._rounds[-1].opened_at, *ends, *(label.time for label in record.labels)])
        return self._progress(self._rounds, record.requests, time, before=None)

    def _progress(
        self, rounds: tuple[RoundRecord, ...], requests: tuple[Request, ...], time: datetime, *, before: int | None
    ) -> Progress:
        record = self._record
        labels = tuple(
            label
            for label in record.labels
            if label.time <= time and (before is None or self._round_of.get(label.request_id or "", -1) < before)
        )
        facts = Facts(
            name=record.name,
            version=0,
            phase=record.phase,
            created_at=record.created_at,
            spec=record.spec,
            pool=None,
            features={"n_candidates": len(record.candidate_ids)},
            verdict=record.verdict,
            versions=record.versions,
            requests=requests,
            labels=labels,
            rounds=rounds,
            retractions=tuple(r for r in record.retractions if r.time <= time),
        )
        return progress_of(facts, record.target, self._settings, self._featurized, now=time)


def _as_it_was(request: Request, time: datetime) -> Request:
    """A request that settled later was open."""
    if request.settled_at is None or request.settled_at <= time:
        return request
    return replace(
        request, state=RequestState.PLANNED, handle=None, failure=None, ran_s=None, queued_s=None, settled_at=None
    )
