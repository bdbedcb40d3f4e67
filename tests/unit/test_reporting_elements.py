"""Elements: which were tried, where the best lie, and the periodic table that says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element

from active_learning.domain.elements import SYMBOLS
from active_learning.domain.label import Label
from active_learning.domain.target import Goal
from active_learning.reporting import elements as module
from active_learning.reporting import style
from active_learning.reporting.best import distinct_best
from active_learning.reporting.element_figures import best_elements_figure, place_of, tried_elements_figure
from active_learning.reporting.elements import Elements, elements_of
from active_learning.testing.records import START, example_record


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_element_stands_where_pymatgen_has_it(symbol):
    element = Element(symbol)
    row, column = place_of(symbol)
    if element.is_lanthanoid or element.is_actinoid:
        first = "La" if element.is_lanthanoid else "Ac"
        assert (row, column) == (8 if element.is_lanthanoid else 9, 3 + element.Z - Element(first).Z)
    else:
        assert (row, column) == (element.row, element.group)


def test_no_two_elements_share_a_place():
    assert len({place_of(symbol) for symbol in SYMBOLS}) == len(SYMBOLS) == 118


def test_counts_and_best_values_are_those_of_the_labels():
    record = example_record()
    found = elements_of(record)
    formulas = dict(zip(record.candidate_ids, record.formulas, strict=True))
    held: dict[str, list[float]] = {}
    for label in record.labels:
        for element in Composition(formulas[label.candidate_id]).elements:
            held.setdefault(element.symbol, []).append(label.value)
    assert {row.symbol: row.n_labels for row in found.rows} == {s: len(v) for s, v in held.items()}
    assert {row.symbol: row.best.label.value for row in found.rows} == {s: min(v) for s, v in held.items()}
    assert [row.n_labels for row in found.rows] == sorted((len(v) for v in held.values()), reverse=True)
    assert (found.n_labels, found.n_unread) == (len(record.labels), 0)


def test_the_best_are_a_tenth_of_the_distinct_materials_and_five_at_least():
    record = example_record()
    found, distinct = elements_of(record), distinct_best(record)
    assert found.n_best == 5
    of_best = [{e.symbol for e in Composition(material.formula).elements} for material in distinct[:5]]
    assert {row.symbol: row.n_best for row in found.rows} == {
        row.symbol: sum(row.symbol in symbols for symbols in of_best) for row in found.rows
    }
    many = example_record(n_candidates=800, n_rounds=14, batch_size=12, failure_rate=0.0)
    assert elements_of(many).n_best == int(np.ceil(len(distinct_best(many)) / 10)) > 5


def test_a_goal_without_a_best_has_counts_only():
    record = example_record(goal=Goal.LEARN)
    found = elements_of(record)
    assert found.rows
    assert found.n_best == 0
    assert all(row.best is None for row in found.rows)
    assert best_elements_figure(found, record.target) is None


def test_a_name_that_is_no_formula_is_counted_and_harms_nothing():
    record = example_record()
    target = record.target
    odd = Label("x", target.property, -0.5, "eV/atom", START, "told", provenance={"source": "a", "formula": "<b>&'"})
    found = elements_of(replace(record, labels=(*record.labels, odd)))
    assert (found.n_labels, found.n_unread) == (len(record.labels), 1)
    assert [row.n_labels for row in found.rows] == [row.n_labels for row in elements_of(record).rows]


def test_elements_of_the_pool_that_were_not_tried_are_named():
    record = example_record(n_rounds=1)
    formulas = tuple("NaCl" if row == 0 else f for row, f in enumerate(record.formulas))
    first = record.candidate_ids[0]
    record = replace(record, formulas=formulas, labels=tuple(x for x in record.labels if x.candidate_id != first))
    assert {"Na", "Cl"} <= set(elements_of(record).untried)
    assert not {row.symbol for row in elements_of(record).rows} & set(elements_of(record).untried)


def test_of_a_large_pool_a_sample_is_read_the_same_each_time(monkeypatch):
    monkeypatch.setattr(module, "_POOL_ROWS", 3)
    record = replace(example_record(n_rounds=0), formulas=tuple(SYMBOLS[i % 90] for i in range(400)))
    once = elements_of(record).untried
    assert len(once) == 3
    assert elements_of(record).untried == once


def _texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_table_of_what_was_tried_shows_every_element_and_the_counts():
    found = elements_of(example_record())
    texts = _texts(tried_elements_figure(found))
    assert set(SYMBOLS) <= set(texts)
    assert [texts[texts.index(row.symbol) + 1] for row in found.rows] == [str(row.n_labels) for row in found.rows]


@pytest.mark.parametrize("goal", [Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN])
def test_the_strongest_color_is_that_of_the_best_value(goal):
    record = example_record(goal=goal)
    found = elements_of(record)
    figure = best_elements_figure(found, record.target)
    strength = {
        tuple(patch.get_xy()): patch.get_facecolor()[3]
        for patch in figure.axes[0].patches
        if to_hex(patch.get_facecolor()) == style.BEST and patch.get_facecolor()[3] > 0
    }
    merit = {row.symbol: float(record.target.merit(np.array(row.best.label.value))) for row in found.rows}

    def of(symbol: str) -> float:
        row, column = place_of(symbol)
        return strength[column + 0.04, row + 0.04]

    assert len(strength) == len(found.rows)
    ordered = sorted(merit, key=merit.__getitem__)
    assert [of(symbol) for symbol in ordered] == sorted(of(symbol) for symbol in ordered)
    # Of `within`, all have a value inside of the bounds.
    assert (of(ordered[-1]) > of(ordered[0])) == (merit[ordered[-1]] > merit[ordered[0]]) == (goal is not Goal.WITHIN)


def test_one_element_alone_is_the_best_and_no_division_by_zero():
    record = example_record(n_rounds=1, failure_rate=0.0, is_stopped=False)
    record = replace(record, formulas=("Al",) * 400, requests=tuple(replace(r, formula="Al") for r in record.requests))
    assert _texts(best_elements_figure(elements_of(record), record.target))
    assert tried_elements_figure(Elements()) is None
