"""Tables of how well campaigns choose and how right their uncertainty is; see make_tables.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from page_parts import result, sentences, table

__all__ = ["TABLES"]

OURS = "motherlode"

Json = Mapping[str, Any]


def _interval(found: Sequence[float], sign: str = "") -> str:
    value, low, high = (f"{number:{sign}.3f}" for number in found[:3])
    return f"{value} ({low} to {high})"


def _compared(goal: str) -> Iterator[str]:
    """Methods by table, the best by their mean over the tables first; below them ours against the best peer."""
    found = result("science")
    tables = list(found["tables"])
    cells = {table: found["cells"][f"{table} / {goal}"] for table in tables}
    names = {name for cell in cells.values() for name in cell["means"]}

    def overall(name: str) -> float:
        values: list[float] = [cell["means"][name][0] for cell in cells.values() if name in cell["means"]]
        return sum(values) / len(values)

    rows = []
    for name in sorted(names, key=overall, reverse=goal == "maximize"):
        shown = f"**{name}**" if name == OURS else f"`{name}`"
        each = [cells[t]["means"].get(name) for t in tables]
        rows.append((shown, *("" if one is None else _interval(one) for one in each), f"{overall(name):.3f}"))
    yield from table(("method", *tables, "mean"), rows)
    yield ""
    rows = []
    for what in ("best peer", "random"):
        others = [cells[t]["best peer"] if what == "best peer" else "random" for t in tables]
        each = [(cells[t]["ours minus"].get(other), other) for t, other in zip(tables, others, strict=True)]
        named = [("" if one is None else f"{_interval(one, '+')}", other) for one, other in each]
        rows.append(
            (f"better than {what} by", *(f"{text}, `{o}`" if what == "best peer" else text for text, o in named))
        )
    yield from table((OURS, *tables), rows)
    yield sentences(_verdict(cells, tables, found))


def _verdict(cells: Mapping[str, Json], tables: Sequence[str], found: Json) -> str:
    """Where ours is ahead of, level with and behind the best peer, and how many seeds say so."""
    ahead: list[str] = []
    level: list[str] = []
    behind: list[str] = []
    no_better: list[str] = []
    for name in tables:
        against = cells[name]["ours minus"]
        _value, low, high = against[cells[name]["best peer"]]
        (ahead if low > 0 else behind if high < 0 else level).append(name)
        if against["random"][1] <= 0:
            no_better.append(name)
    seeds = {entry[3] for cell in cells.values() for entry in cell["means"].values()}
    said = [
        f"{text} on {', '.join(which)}"
        for text, which in (("ahead", ahead), ("level within the interval", level), ("behind", behind))
        if which
    ]
    chance = f" Not clear of random on {', '.join(no_better)}." if no_better else " Clear of random on all."
    sizes = ", ".join(f"{name} {n:,}" for name, (n, _best, _unit) in found["tables"].items())
    number = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    return (
        f"Against the best peer of each table Motherlode is {'; '.join(said)}.{chance} {number} seeds; 95 % intervals "
        f"of the mean, and of the mean difference on the same seeds. Candidates: {sizes}."
    )


def _maximize() -> Iterator[str]:
    yield from _compared("maximize")


def _learn() -> Iterator[str]:
    yield from _compared("learn")


def _choice() -> Iterator[str]:
    found = result("science")["choice"]
    for goal in ("maximize", "learn"):
        cells = {key.split(" / ")[0]: means for key, means in found.items() if key.endswith(f"/ {goal}")}
        if not cells:
            continue
        names = set.intersection(*(set(means) for means in cells.values()))
        overall = {name: sum(means[name][0] for means in cells.values()) / len(cells) for name in names}
        ranked = sorted(names, key=lambda name: overall[name], reverse=goal == "maximize")
        rows = [(n, *(_interval(means[n]) for means in cells.values()), f"{overall[n]:.3f}") for n in ranked]
        yield f"\nGoal `{goal}`:\n"
        yield from table(("surrogate, acquisition, selection", *cells, "mean"), rows)


def _calibration() -> Iterator[str]:
    for kind, ways in result("calibration").items():
        tables = list(dict.fromkeys(table for cells in ways.values() for table in cells))
        yield f"\n`{kind}`; mean z², and miscalibration area, before → after:\n"
        rows = []
        for way, cells in sorted(ways.items(), key=lambda item: (len(item[0]), item[0])):
            each = [_right(cells[table]) if table in cells else "" for table in tables]
            rows.append((way, *each, f"{sum(cell['is_within'] for cell in cells.values())} of {len(cells)}"))
        yield from table(("labels", *tables, "within"), rows)


def _right(cell: Json) -> str:
    z2, area = (
        f"{cell['before'][key][0]:.2f} → {cell['after'][key][0]:.2f}" for key in ("mean_z2", "miscalibration_area")
    )
    return f"{z2}, {area}"


def _asynchrony() -> Iterator[str]:
    found = result("asynchrony")
    rows = []
    for name, told in found["tables"].items():
        for setting, one in told["settings"].items():
            busy, days, more = one["utilization"], one["days"], one["more_labels"]
            grown = "" if setting == "one at a time" else _percent(more)
            rows.append((name, setting, f"{busy['value']:.1%}", f"{days['value']:.2f}", grown))
    yield from table(("table", "setting", "workers busy", "days", "more labels to the same discovery"), rows)


def _percent(found: Json) -> str:
    return f"{found['value']:+.0%} ({found['low']:+.0%} to {found['high']:+.0%})"


TABLES = {
    "science_maximize": _maximize,
    "science_learn": _learn,
    "science_choice": _choice,
    "calibration": _calibration,
    "asynchrony": _asynchrony,
}
