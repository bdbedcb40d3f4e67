"""Fill the tables of the pages in docs/ that come from the code and from measurements.

python docs/make_tables.py            # write them into the pages
python docs/make_tables.py --check    # exit status 1 if a page is out of date

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. Measured numbers are read from
benchmarks/results/NAME.json, which the script of that name writes; nothing is measured here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import learning_tables
from make_reference import rows_of
from page_parts import result, sentences, table

from active_learning.featurizers.descriptor import Decorable, Descriptor
from active_learning.featurizers.registry import DESCRIPTORS

DOCS = Path(__file__).parent

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

Json = Mapping[str, Any]


def _number(value: float) -> str:
    """With two or three digits that mean something, and without an exponent."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _descriptors() -> Iterator[str]:
    measured = {row["descriptor"]: row for row in result("descriptor_rates")["descriptors"]}
    head = ("descriptor", "what it is", "of", "states", "source", "features", "a second", "matminer", "described")
    yield from table(head, (_descriptor_row(n, m, measured[n]) for n, m in DESCRIPTORS.items()), n_words=5)


def _descriptor_row(name: str, model: type[Descriptor], measured: Json) -> tuple[str, ...]:
    plain = model.model_construct()
    states = "guessed" if plain.is_decorated else "if asked" if issubclass(model, Decorable) else ""
    of = "composition" if plain.of_composition else "crystal" if measured["needs_crystal"] else "table"
    what = re.sub(r"(?<!\.)\.$", "", (model.__doc__ or "").splitlines()[0])
    theirs = _number(measured["matminer_per_second"]) if "matminer_per_second" in measured else ""
    rate, share = _number(measured["per_second"]), f"{measured['described_percent']} %"
    return (f"`{name}`", what, of, states, _source(model), str(measured["n_features"]), rate, theirs, share)


def _source(model: type[Descriptor]) -> str:
    """The paper, as a link if it has an address."""
    text, _, doi = model.reference.partition(", doi:")
    if doi:
        return f"[{text}](https://doi.org/{doi})"
    text, _, preprint = model.reference.partition(", arXiv:")
    return f"[{text}](https://arxiv.org/abs/{preprint})" if preprint else text


def _descriptor_options() -> Iterator[str]:
    common = {*Descriptor.model_fields, *Decorable.model_fields}
    for name, model in DESCRIPTORS.items():
        own = {key: field for key, field in model.model_fields.items() if key not in common}
        if own:
            yield f"\n#### `{name}`\n"
            yield from rows_of(model, own)
    yield ""


def _magpie() -> Iterator[str]:
    found = result("magpie")
    words = {
        "ours": "Motherlode, all at once",
        "ours_by_10000": "Motherlode, by 10,000 rows",
        "matminer_featurize": "matminer, from ready compositions",
        "matminer_from_formulas": "matminer, from formulas",
        "matminer_dataframe": "matminer, `featurize_dataframe`",
        "matminer_dataframe_2_processes": "matminer, `featurize_dataframe`, two processes",
    }
    head = ("way", "CPU, µs a composition", "wall, µs", "CPU, times ours by 10,000 rows")
    faster = found["times_faster"]["ours_by_10000"]
    rows = (
        (words[way], f"{took['cpu']:,.1f}", f"{took['wall']:,.1f}", f"{faster[way]['cpu']:,}" if way in faster else "")
        for way, took in found["us_per_candidate"].items()
    )
    yield from table(head, rows)
    yield sentences(
        f"{int(found['compositions'].partition(':')[0]):,} compositions (matminer: {found['matminer_sample']:,} of"
        f" them), medians of {found['repeats']}. The largest relative difference between the two is"
        f" {found['largest_difference']:.1g}."
    )


def _scoring() -> Iterator[str]:
    found = result("scoring")
    words = {
        "ours": "Motherlode",
        "threads": "scikit-learn's trees on threads, tree by tree",
        "threads_rows": "scikit-learn's trees on threads, by 8,192 rows",
        "stack": "predictions of all trees in one array",
    }
    faster = found["times_faster"]
    rows = (
        (
            words[way],
            f"{took['wall_s']:,.1f}",
            f"{took['cpu_s']:,.1f}",
            f"{took['peak_rss_mb'] - took['rss_before_mb']:,.0f}",
            *((f"{faster[way]['wall_s']:g}", f"{faster[way]['cpu_s']:g}") if way in faster else ("", "")),
        )
        for way, took in found["ways"].items()
    )
    yield from table(("way", "wall, s", "CPU, s", "memory, MB", "wall, times ours", "CPU, times ours"), rows)
    yield sentences(
        f"{found['rows']:,} candidates, {found['features']} features, {found['trees']} trees, {found['cores']} cores;"
        f" memory is what was added. The one array was {found['stack']}. The largest difference between the ways is"
        f" {max(found['largest_difference'].values()):.1g}."
    )


def _round() -> Iterator[str]:
    found = result("round")

    def cell(took: Json | None) -> str:
        return f"{took['wall_s']:.1f} ({took['cpu_s']:.1f})" if took else ""

    contenders = found["contenders"]
    stages = dict.fromkeys(stage for took in contenders.values() for stage in took["stages"])
    rows = [(stage, *(cell(took["stages"].get(stage)) for took in contenders.values())) for stage in stages]
    rows.append(("together", *(cell(took) for took in contenders.values())))
    rows.append(("most memory, MB", *(f"{took['peak_mb']:,.0f}" for took in contenders.values())))
    yield from table(("wall s (CPU s)", *contenders), rows)
    yield sentences(
        f"{found['n_candidates']:,} candidates, {found['n_features']} features, {found['n_labels']:,} labels,"
        f" {found['n_trees']} trees, {found['cores']} cores. Only ours cross-validates, and only ours writes down what"
        f" it predicted; without the cross-validation it takes {cell(found['ours_without_cross_validation'])}."
    )


def _growth() -> Iterator[str]:
    found = result("growth")
    runs = found["runs"]
    head = ["step", *(f"{run['n_candidates']:,}: s | MB" for run in runs)]
    columns = [part for column in head for part in column.split(" | ")]
    rows = []
    for step in runs[0]["steps"]:
        cells = [
            text
            for took in (run["steps"][step] for run in runs)
            for text in (f"{took.get('seconds', took.get('process_s', 0.0)):,.1f}", f"{took['peak_mb']:,.0f}")
        ]
        rows.append((step, *cells))
    yield from table(columns, rows)
    disk = [f"{max(took.get('disk_peak_mb', 0.0) for took in run['steps'].values()):,.0f} MB" for run in runs]
    workers = max(took.get("child_peak_mb", 0.0) for run in runs for took in run["steps"].values())
    yield sentences(
        "MB is the most that the campaign's own process had, libraries and all; beside it, each process that featurizes"
        f" has up to {workers:,.0f} MB. The campaigns took at most {', '.join(disk)} on disk."
    )
    yield from _naive(found.get("naive"))


def _throughput() -> Iterator[str]:
    found = result("throughput")
    head = ("way", "jobs a second", "submitted a second", "beside", "of the wall time ours")
    ways = [(name, way) for name, way in found.items() if isinstance(way, Mapping)]
    rows = [
        (
            name if "by_hand" not in way else f"campaign, `{name}`",
            f"{way['jobs_per_s']:.2f}",
            f"{way['submitted_per_s']:.2f}" if "submitted_per_s" in way else "",
            way.get("by_hand", ""),
            f"{way['ours']:.0%}" if "ours" in way else "",
        )
        for name, way in ways
    ]
    yield from table(head, rows, n_words=1)
    yield ""
    yield f"{found['n_jobs']:,} jobs each, {found['slots']} at once."


def _naive(naive: Json | None) -> Iterator[str]:
    if naive:
        yield sentences(
            f"The naive way, at {naive['n_candidates']:,}: a list of pymatgen compositions takes"
            f" {naive['list_mb']:,.0f} MB ({naive['bytes_a_composition']:,} bytes each) and {naive['list_s']:,.0f} s to"
            f" make, matminer's data frame {naive['table_mb']:,.0f} MB and {naive['featurize_s']:,.0f} s"
            f" ({naive['featurized']})."
        )


TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "descriptors": _descriptors,
    "descriptor_options": _descriptor_options,
    "magpie": _magpie,
    "scoring": _scoring,
    "round": _round,
    "growth": _growth,
    "throughput": _throughput,
} | learning_tables.TABLES


def filled(text: str) -> str:
    """A page with its tables."""
    return _TABLE.sub(lambda found: f"{found[1]}{chr(10).join(TABLES[found[2]]())}\n{found[3]}", text)


def main() -> int:
    """Write the pages, or compare them."""
    stale = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            stale.append(page.name)
            if sys.argv[1:] != ["--check"]:
                page.write_text(new, encoding="utf-8")
    if sys.argv[1:] == ["--check"]:
        listed = f"out of date: {', '.join(stale)}: python docs/make_tables.py"
        print(listed if stale else "all tables are up to date")
        return 1 if stale else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
