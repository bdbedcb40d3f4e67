"""Results of one decision, stored and computed again: picks, records of rounds, predictions, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.api.provenance.comparing import Comparison
from active_learning.api.provenance.stage import Shelf
from active_learning.domain.campaign import RoundRecord, Verdict
from active_learning.domain.request import Request

__all__ = ["compare_picks", "compare_records", "compare_verdicts"]

_OF_ITS_OWN = frozenset({"number", "opened_at", "predictions", "settings"})
"""Of a round's record: what is no result, or is compared in a way of its own."""
_OF_A_PICK = ("formula", "attempt", "arm", "rule", "reason", "score", "mean", "std", "novelty")


def compare_picks(found: Comparison, stored: Sequence[Request], computed: Sequence[Request]) -> None:
    """Which candidates were asked for, in which order; if they are the same, why and with which beliefs."""
    names = [[f"{r.formula} ({r.candidate_id})" for r in requests] for requests in (stored, computed)]
    if names[0] != names[1]:
        found.add("picks", ", ".join(names[0]), ", ".join(names[1]))
        return
    for one, other in zip(stored, computed, strict=True):
        told = [{key: getattr(request, key) for key in _OF_A_PICK} for request in (one, other)]
        found.add(f"pick {one.formula} ({one.candidate_id})", *told)


def compare_records(found: Comparison, stored: RoundRecord, computed: RoundRecord | None, shelf: Shelf) -> None:
    """What was learned: on which labels, how good the model is, and what it believes of all candidates."""
    if computed is None:
        found.add("training", f"on {stored.n_labels} labels", "none")
        return
    for key in sorted(set(asdict(stored)) - _OF_ITS_OWN):
        found.add(key, getattr(stored, key), getattr(computed, key))
    found.add("settings", _without_time(stored.settings), _without_time(computed.settings))
    _compare_predictions(found, stored.predictions, computed.predictions, shelf)


def _without_time(settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a search found, without the seconds that it took."""
    return None if settings is None else {key: value for key, value in settings.items() if key != "seconds"}


def _compare_predictions(found: Comparison, stored: str | None, computed: str | None, shelf: Shelf) -> None:
    """Files of the same name hold the same digits; of others, the farthest apart are named."""
    if stored == computed:
        shelf.put([stored] if stored else [])  # a link again, in the place of what was computed
        return
    theirs, mine = _load(shelf, stored), _load(shelf, computed)
    if theirs is None or mine is None or theirs.shape != mine.shape:
        found.add("predictions", stored, computed)
    else:
        for column in range(theirs.shape[1]):
            what = ("mean", "std")[column] if column < 2 else f"probability of class {column - 2}"
            worst = int(np.argmax(np.abs(theirs[:, column] - mine[:, column])))
            found.add(f"predicted {what}, row {worst}", float(theirs[worst, column]), float(mine[worst, column]))
    if computed is not None:
        shelf.drop(computed)


def _load(shelf: Shelf, name: str | None) -> NDArray[np.float64] | None:
    path: Path | None = None if name is None else shelf.files / name
    if path is None or not path.is_file():
        return None
    loaded: NDArray[np.float64] = np.load(path, mmap_mode="r", allow_pickle=False)
    return loaded


def compare_verdicts(
    found: Comparison, stored: Mapping[str, Any], computed: Verdict | None, later: Verdict | None
) -> None:
    """Why it ended. What is said of time is not compared: when exactly it was said, nobody noted.

    Parameters
    ----------
    stored : `kind`, `reason` and `evidence`
    later : what would be said at another time
    """
    found.add("kind of the end", stored.get("kind"), None if computed is None else computed.kind)
    if computed is None or stored.get("kind") != computed.kind:
        return
    theirs, mine = dict(_flat(stored["evidence"])), dict(_flat(computed.evidence))
    another = mine if later is None or later.kind != computed.kind else dict(_flat(later.evidence))
    timed = {key for key, value in mine.items() if another.get(key) != value}
    found.add("evidence", *({key: v for key, v in side.items() if key not in timed} for side in (theirs, mine)))


def _flat(evidence: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in evidence.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", value
