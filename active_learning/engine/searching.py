"""When hyper-parameters are searched for, and which ones hold until then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from active_learning.domain.models import HasSettings
from active_learning.domain.seeds import rng_for
from active_learning.engine.assembly import Kit
from active_learning.engine.learning import Lesson, known_rows
from active_learning.learning.search import search
from active_learning.store import Facts

__all__ = ["settings_for"]


def settings_for(kit: Kit, facts: Facts, lesson: Lesson, folder: Path) -> Mapping[str, Any] | None:
    """The settings of this round: found now, if a search is due, or those found before; None if nothing was searched.

    The first search is as soon as there are labels enough for it, the next ones every so many rounds. It is a JSON
    object: what `SearchResult.to_json` gives, the `round` it was found in, and the `surrogate` whose options they are:
    once the campaign file has another one there, they are no answer any more.

    Parameters
    ----------
    folder : where a search notes its trials, so that it goes on after a kill
    """
    options = kit.spec.search
    if not options.every:
        return None
    surrogate = kit.spec.surrogate.model_dump(mode="json")
    found = next((record.settings for record in reversed(facts.rounds) if record.settings is not None), None)
    if found is not None and found["surrogate"] != surrogate:
        found = None
    is_due = found is None or lesson.round_number - found["round"] >= options.every
    if not is_due or len(lesson.train) < 2 * kit.spec.training.folds:
        return found
    assert isinstance(kit.surrogate, HasSettings)  # the assembly saw to it
    rows, y = known_rows(lesson.features, lesson.train)
    result = search(
        lambda settings: kit.surrogate_for(lesson.features.names, settings),
        kit.surrogate.settings,
        lesson.features.rows(rows),
        y,
        n_folds=kit.spec.training.folds,
        seconds=options.seconds,
        n_trials=options.trials,
        seed=int(rng_for(lesson.seed, lesson.round_number, "search").integers(2**31)),
        log=folder / f"round-{lesson.round_number}.json",
        about=[surrogate, kit.spec.preparation.model_dump(mode="json")],
    )
    return result.to_json() | {"round": lesson.round_number, "surrogate": surrogate}
