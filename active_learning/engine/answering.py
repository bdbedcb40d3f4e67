"""Which request a label answers: that of its job, or the one that a person answered by telling it; and its round."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from active_learning.domain.campaign import RoundRecord
from active_learning.domain.label import Label
from active_learning.domain.request import Purpose, Request, RequestState
from active_learning.engine.deciding import newest_attempts

__all__ = ["answered", "rounds_of", "standing"]


def answered(requests: tuple[Request, ...], labels: Iterable[Label]) -> Mapping[str, Request]:
    """Candidate id -> the request that its label answers; candidates that nobody asked for are left out.

    A label of a job answers the job's request. A told one answers the newest request for its candidate: a caller that
    labels by itself tells all labels, and they must count for what they were asked for. A candidate that has a label
    is never asked for again, so that its requests are all older than the label.
    """
    by_id = {request.id: request for request in requests}
    newest = newest_attempts(requests)
    found = {x.candidate_id: by_id.get(x.request_id or "") or newest.get(x.candidate_id) for x in labels}
    return {candidate: request for candidate, request in found.items() if request is not None}


def rounds_of(
    requests: tuple[Request, ...], rounds: Sequence[RoundRecord], labels: Iterable[Label]
) -> Mapping[str, int]:
    """Candidate id -> the round that its label was asked for in; of a label that nobody asked for, the newest round
    that was open when it came, -1 before the first."""
    labels = tuple(labels)
    asked = answered(requests, labels)
    opened = [record for record in rounds if record.n_picks]
    # Clocks may go back: a round counts as open once it and all later ones were opened.
    times = list(accumulate((record.opened_at for record in reversed(opened)), min))[::-1]
    numbers = [-1, *(record.number for record in opened)]
    return {
        x.candidate_id: asked[x.candidate_id].round if x.candidate_id in asked else numbers[bisect_right(times, x.time)]
        for x in labels
    }


def standing(requests: tuple[Request, ...], labels: Iterable[Label]) -> tuple[Request, ...]:
    """The newest request for each candidate, but for those that were withdrawn and never answered."""
    labeled = {label.candidate_id for label in labels}
    return tuple(
        request
        for request in newest_attempts(requests).values()
        if request.purpose is Purpose.CANDIDATE
        and (request.state is not RequestState.CANCELLED or request.candidate_id in labeled)
    )
