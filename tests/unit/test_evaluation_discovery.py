"""Discovery curves on tables small enough to count by hand, and their bootstrap against theory."""

from __future__ import annotations

import numpy as np
import pytest

from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.evaluation.discovery import discovery_area, discovery_curve, summarize_curves

LOW = Target("energy", Goal.MINIMIZE, "eV/atom")
VALUES = {"a": -3.0, "b": -2.0, "c": -1.0, "d": 0.0, "e": 1.0}


def test_the_curve_counts_the_best_found_after_each_label():
    curve = discovery_curve(["e", "b", "c", "a"], VALUES, {}, LOW, k=2)
    assert curve.tolist() == [0.0, 0.5, 0.5, 1.0]


def test_the_goal_decides_what_is_best():
    high = discovery_curve(["e", "a"], VALUES, {}, Target("energy", Goal.MAXIMIZE), k=1)
    assert high.tolist() == [1.0, 1.0]
    within = discovery_curve(["a", "c"], VALUES, {}, Target("energy", Goal.WITHIN, "", -1.5, -0.5), k=1)
    assert within.tolist() == [0.0, 1.0]


def test_candidates_that_are_one_material_count_once_and_any_of_them_finds_it():
    materials = {"a": "m", "b": "m"}
    # The best two distinct materials are m (a and b) and c.
    assert discovery_curve(["b", "a", "c"], VALUES, materials, LOW, k=2).tolist() == [0.5, 0.5, 1.0]


def test_materials_that_tie_with_the_last_of_the_best_count_and_never_give_more_than_all():
    values = {"a": -3.0, "b": -1.0, "c": -1.0, "d": 0.0}
    assert discovery_curve(["c", "a", "b"], values, {}, LOW, k=2).tolist() == [0.5, 1.0, 1.0]


def test_no_labels_give_an_empty_curve():
    assert discovery_curve([], VALUES, {}, LOW, k=1).shape == (0,)


def test_the_area_is_the_mean_height_and_a_shorter_campaign_stays_where_it_ended():
    curve = np.array([0.0, 0.5, 1.0])
    assert discovery_area(curve) == pytest.approx(0.5)
    assert discovery_area(curve, n_labels=2) == pytest.approx(0.25)
    assert discovery_area(curve, n_labels=5) == pytest.approx((0 + 0.5 + 3 * 1.0) / 5)


def test_random_order_has_the_area_that_theory_says():
    rng = np.random.default_rng(5)
    values = {f"c{i:02}": float(i) for i in range(40)}
    areas = [
        discovery_area(discovery_curve(rng.permutation(sorted(values)).tolist(), values, {}, LOW, k=4))
        for _ in range(600)
    ]
    # After i of n random labels a fraction i / n of the best is expected: on average (n + 1) / (2 n).
    assert np.mean(areas) == pytest.approx(41 / 80, abs=0.02)


@pytest.mark.parametrize(
    ("labeled", "values", "k", "message"),
    [
        (["x"], VALUES, 1, "no true value of labeled candidate x"),
        (["a"], VALUES, 6, r"k lies in \[1, 5\]"),
        (["a"], VALUES, 0, r"k lies in \[1, 5\]"),
        (["a"], {"a": float("nan")}, 1, "must be finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(labeled, values, k, message):
    with pytest.raises(ContractError, match=message):
        discovery_curve(labeled, values, {}, LOW, k=k)


def test_a_goal_without_a_best_has_no_discovery():
    with pytest.raises(ContractError, match="no better and worse"):
        discovery_curve(["a"], VALUES, {}, Target("energy", Goal.LEARN), k=1)


def test_an_area_needs_a_label():
    with pytest.raises(ContractError, match="at least one label"):
        discovery_area(np.array([]))


def test_the_summary_of_one_seed_is_that_seed_without_width():
    curve = np.array([0.0, 0.5, 1.0])
    summary = summarize_curves([curve], n_labels=3, rng=np.random.default_rng(0))
    assert summary.mean.tolist() == summary.low.tolist() == summary.high.tolist() == curve.tolist()
    assert (summary.area_low, summary.area, summary.area_high) == (0.5, 0.5, 0.5)


def test_the_interval_of_the_area_has_the_width_of_the_normal_theory():
    rng = np.random.default_rng(8)
    curves = [np.full(10, height) for height in rng.uniform(0.2, 0.8, 60)]
    summary = summarize_curves(curves, n_labels=10, rng=rng, n_resamples=4000)
    heights = np.array([c[0] for c in curves])
    half = 1.96 * heights.std() / np.sqrt(60)
    assert summary.area == pytest.approx(heights.mean())
    assert summary.area_high - summary.area_low == pytest.approx(2 * half, rel=0.08)
    assert summary.low[3] == pytest.approx(summary.area_low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(200):
        curves = [np.array([height]) for height in rng.uniform(0, 1, 30)]
        summary = summarize_curves(curves, n_labels=1, rng=rng, n_resamples=400, level=0.9)
        hits += summary.area_low <= 0.5 <= summary.area_high
    assert 0.83 <= hits / 200 <= 0.95


def test_the_same_generator_gives_the_same_interval():
    curves = [np.linspace(0, h, 5) for h in (0.2, 0.5, 0.9)]
    one, two = (summarize_curves(curves, n_labels=5, rng=np.random.default_rng(4)) for _ in range(2))
    assert (one.area_low, one.area_high) == (two.area_low, two.area_high)


def test_a_summary_needs_curves_and_a_level():
    with pytest.raises(ContractError, match="no discovery curve"):
        summarize_curves([], n_labels=1, rng=np.random.default_rng(0))
    with pytest.raises(ContractError, match="level lies in"):
        summarize_curves([np.ones(1)], n_labels=1, rng=np.random.default_rng(0), level=1.0)
