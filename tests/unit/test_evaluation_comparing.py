"""Comparisons of strategies against closed forms and brute force over all resamples."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError, UserError
from active_learning.evaluation.comparing import (
    Curves,
    Estimate,
    acceleration,
    difference,
    enhancement,
    labels_to_reach,
    mean_of,
    resamples,
)
from active_learning.evaluation.discovery import discovery_curve
from active_learning.evaluation.measures import COLUMNS, Measures, n_best_of
from active_learning.evaluation.replayed import LabelTaken, Replayed, RoundSeen
from active_learning.evaluation.summary import compare, summarize

RNG = np.random.default_rng


def curves(*rows: list[float], first: int = 0) -> Curves:
    return Curves(np.arange(first, first + len(rows[0])), np.array(rows))


def replay(strategy: str, seed: int, rows: list[int], errors: dict[int, float] | None = None, **more: Any) -> Replayed:
    """A replay that labels these rows, one an hour; `errors` of the models by number of labels."""
    rounds = [RoundSeen(n, 0.0, at, 0, 1, {"mae": e}) for n, (at, e) in enumerate((errors or {}).items())]
    labels = tuple(LabelTaken(row, 3600.0 * (n + 1), n) for n, row in enumerate(rows))
    usage = {"busy_s": 3.0, "horizon_s": 4.0, "n_workers": 1}
    return Replayed(strategy, seed, labels, tuple(rounds), 0, more.pop("usage", usage), "enough", 1.0, **more)


def test_the_interval_of_a_mean_is_that_of_all_resamples() -> None:
    """Three seeds have 27 resamples: their exact distribution is known."""
    values = np.array([1.0, 2.0, 6.0])
    means = np.array([np.mean(drawn) for drawn in product(values, repeat=3)])
    found = mean_of(values, resamples(3, RNG(0), n=200_000, level=0.5))
    assert found.value == 3.0
    expected = np.quantile(means, [0.25, 0.75], method="inverted_cdf")
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)


def test_the_interval_of_a_mean_of_many_seeds_is_that_of_the_normal() -> None:
    values = RNG(1).normal(size=400)
    found = mean_of(values, resamples(400, RNG(0), n=20_000))
    half = stats.norm.ppf(0.975) * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.004)
    assert found.high == pytest.approx(values.mean() + half, abs=0.004)


def test_what_the_seeds_have_in_common_is_no_part_of_a_paired_interval() -> None:
    luck = RNG(0).normal(size=10)
    found = difference(luck + 0.5, luck, resamples(10, RNG(0)))
    assert found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5)
    assert found.high == pytest.approx(0.5)
    alone = mean_of(luck, resamples(10, RNG(0)))
    assert alone.low is not None
    assert alone.high is not None
    assert alone.high - alone.low > 0.5


def test_labels_to_reach_a_height_by_hand() -> None:
    n, curve = np.array([0, 10, 20, 30]), np.array([0.0, 0.5, 0.5, 0.9])
    assert labels_to_reach(n, curve, 0.25) == 5.0
    assert labels_to_reach(n, curve, 0.5) == 10.0
    assert labels_to_reach(n, curve, 0.7) == 25.0
    assert labels_to_reach(n, curve, 0.91) == np.inf
    assert labels_to_reach(n, curve, 0.0) == 0.0


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(0.01, 1))
def test_a_curve_is_as_high_as_asked_where_it_is_said_to_be_and_not_before(steps: list[float], level: float) -> None:
    curve = np.sort(np.array(steps))
    n = np.arange(len(curve))
    found = labels_to_reach(n, curve, level)
    if found == np.inf:
        assert curve.max() < level
    else:
        assert np.interp(found, n, curve) >= level - 1e-9
        assert (curve[n < found - 1e-9] < level).all()


def test_the_acceleration_of_straight_curves_is_the_ratio_of_their_slopes() -> None:
    n = np.arange(51.0)
    fast, slow = Curves(n, np.stack([n / 50] * 4)), Curves(n, np.stack([n / 200] * 4))
    drawn = resamples(4, RNG(0))
    for level in (None, 0.1, 0.25):
        found = acceleration(fast, slow, drawn, level=level)
        assert found is not None
        assert (found.value, found.low, found.high) == pytest.approx((4.0, 4.0, 4.0))
        back = acceleration(slow, fast, drawn, level=level)
        assert back is not None
        assert back.value == pytest.approx(0.25)
    assert acceleration(fast, slow, drawn, level=0.3) is None, "the slow one never comes so high"
    found = enhancement(fast, slow, drawn, at=50)
    assert found is not None
    assert found.value == pytest.approx(4.0)


def test_the_interval_of_an_acceleration_is_that_of_all_resamples() -> None:
    mine = curves([0.0, 0.4, 0.8, 1.0], [0.0, 0.2, 0.3, 0.9], [0.0, 0.0, 0.6, 0.6])
    theirs = curves([0.0, 0.1, 0.2, 0.3], [0.0, 0.2, 0.2, 0.5], [0.0, 0.0, 0.1, 0.2])
    found = acceleration(mine, theirs, resamples(3, RNG(0), n=100_000))
    all_of_them = []
    for drawn in product(range(3), repeat=3):
        a, b = mine.table[list(drawn)].mean(axis=0), theirs.table[list(drawn)].mean(axis=0)
        level = min(a.max(), b.max())
        all_of_them.append(labels_to_reach(mine.n_labels, b, level) / labels_to_reach(mine.n_labels, a, level))
    expected = np.quantile(all_of_them, [0.025, 0.975], method="inverted_cdf")
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_there_is_no_acceleration_over_those_who_find_nothing() -> None:
    mine, theirs = curves([0.0, 0.5, 1.0]), curves([0.0, 0.0, 0.0])
    assert acceleration(mine, theirs, resamples(1, RNG(0)), least=0.0) is None
    assert enhancement(mine, theirs, resamples(1, RNG(0)), at=2) is None


def test_there_is_no_interval_where_too_many_resamples_have_no_number() -> None:
    """One seed of four found anything: a third of the resamples are without it."""
    mine = curves(*[[0.0, 0.5, 1.0]] * 4)
    theirs = curves([0.0, 0.5, 0.5], *[[0.0, 0.0, 0.0]] * 3)
    assert acceleration(mine, theirs, resamples(4, RNG(0)), least=0.0) == Estimate(4.0, None, None)
    assert enhancement(mine, theirs, resamples(4, RNG(0)), at=2) == Estimate(8.0, None, None)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: resamples(0, RNG(0)), "n_seeds >= 1"),
        (lambda: resamples(3, RNG(0), level=1.0), "level in"),
        (lambda: Curves(np.array([1, 1]), np.zeros((1, 2))), "numbers of labels ascend"),
        (lambda: Curves(np.array([1, 2]), np.array([[1.0, np.nan]])), "finite"),
        (lambda: Curves(np.array([1, 2]), np.zeros((0, 2))), "not empty"),
        (lambda: acceleration(curves([0.0, 1.0]), curves([0.0, 1.0], first=1), resamples(1, RNG(0))), "same seeds"),
    ],
)
def test_what_cannot_be_compared_is_refused(act: Any, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        act()


MAXIMIZE = Target("gap", Goal.MAXIMIZE, "eV")


def test_the_fraction_found_is_that_of_the_discovery_curve() -> None:
    values = RNG(0).integers(0, 12, size=40).astype(float)  # with ties
    measures = Measures(MAXIMIZE, values, 5)
    rows = RNG(1).permutation(40).tolist()
    ids = [f"c{row}" for row in rows]
    expected = discovery_curve(ids, {f"c{i}": v for i, v in enumerate(values.tolist())}, {}, MAXIMIZE, k=5)
    found = measures.found(replay("a", 0, rows))
    np.testing.assert_array_equal(found[1:], expected)
    assert found[0] == 0.0


def test_within_bounds_all_that_lie_in_them_are_the_best() -> None:
    target = Target("gap", Goal.WITHIN, "eV", 1.0, 2.0)
    measures = Measures(target, np.array([0.9, 1.0, 1.5, 2.0, 2.1]), 1)
    assert measures.n_to_find == 3
    assert measures.found(replay("a", 0, [0, 2, 3, 1])).tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])
    assert measures.best_values(replay("a", 0, [0, 4, 2, 1])).tolist() == [0.9, 0.9, 1.5, 1.5]
    with pytest.raises(UserError, match="No candidate has its gap within 1 to 2 eV"):
        Measures(target, np.array([0.0, 3.0]), 1).is_best  # noqa: B018 - raises


def test_the_error_at_a_number_of_labels_is_that_of_the_newest_model() -> None:
    measures = Measures(MAXIMIZE, np.arange(10.0), 1)
    one = replay("a", 0, [0, 1, 2, 3, 4, 5], {2: 0.8, 4: 0.5})
    np.testing.assert_array_equal(measures.errors(one, np.arange(1, 7)), [np.nan, 0.8, 0.8, 0.5, 0.5, 0.5])
    other = replay("a", 1, [0, 1, 2, 3, 4, 5], {3: 0.6})
    found = measures.learning([one, other], 3, 6)
    assert found is not None
    np.testing.assert_allclose(-found.table, [[0.8, 0.5, 0.5, 0.5], [0.6, 0.6, 0.6, 0.6]])
    assert measures.learning([one, replay("a", 2, [1])], 3, 6) is None, "one never trained a model"


def test_of_classes_the_error_is_the_share_of_wrong_ones() -> None:
    measures = Measures(Target("metal", Goal.CLASSIFY), np.array([0.0, 1.0] * 5), 1)
    assert measures.error_of({"accuracy": 0.75, "log_loss": 2.0}) == 0.25
    assert measures.error_of({}) is None


def test_a_round_is_a_row_with_what_was_known_when_it_was_opened() -> None:
    measures = Measures(Target("energy", Goal.MINIMIZE, "eV"), np.array([3.0, 1.0, 2.0, 0.0]), 2)
    rounds = (
        RoundSeen(0, 0.0, 0, 0, 2),
        RoundSeen(1, 60.0, 2, 1, 1, {"mae": 0.5, "rmse": 0.6, "r2": -0.1, "mean_z2": 1.5, "other": 9.0}),
    )
    one = Replayed("a", 7, (LabelTaken(0, 30.0, 0), LabelTaken(1, 60.0, 0)), rounds, 1, {}, "enough", 1.0)
    table = [dict(zip(COLUMNS, row, strict=True)) for row in measures.rows(one)]
    assert table[0] == dict.fromkeys(COLUMNS) | {
        "strategy": "a",
        "seed": 7,
        "round": 0,
        "n_labels": 0,
        "fraction_found": 0.0,
        "time_s": 0.0,
        "n_failed": 0,
    }
    assert (table[1]["best_value"], table[1]["fraction_found"], table[1]["mae"], table[1]["n_failed"]) == (
        1.0,
        0.5,
        0.5,
        1,
    )


@pytest.mark.parametrize("best", ["0", "11", "-3", "0%", "-1%", "101%", "many", "1.5", "nan%", ""])
def test_the_best_are_a_number_or_a_share(best: str) -> None:
    with pytest.raises(UserError, match="a number or a share of 10 candidates"):
        n_best_of(best, 10)


def two_strategies(n_seeds: int = 4) -> list[Replayed]:
    """`good` finds the 5 best of 50 with its first labels, `random` with every tenth."""
    found = []
    for seed in range(n_seeds):
        good = [49, 48, 47, 46, 45, *range(35)]
        slow = [row for n in range(4) for row in (*range(9 * n, 9 * n + 9), 49 - n)]
        found.append(replay("good", seed, good, {1: 0.5, 20: 0.2}))
        found.append(replay("random", seed, slow, {1: 0.5, 40: 0.2}))
    return found


def test_the_summary_says_what_can_be_counted_by_hand() -> None:
    measures = Measures(MAXIMIZE, np.arange(50.0), 5)
    found = summarize(two_strategies(), measures, rng=RNG(0))
    good, slow = found["strategies"]["good"], found["strategies"]["random"]
    assert (found["n_labels"], found["n_best"], found["best_value"], found["baseline"]) == (40, 5, 49.0, "random")
    assert good["found"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert slow["found"]["value"] == pytest.approx(0.8)
    assert good["area"]["value"] == pytest.approx((0.2 + 0.4 + 0.6 + 0.8 + 36) / 40)
    assert slow["area"]["value"] == pytest.approx((0.2 * 10 + 0.4 * 10 + 0.6 * 10 + 0.8) / 40)
    assert good["over_chance"]["value"] == pytest.approx(1.0 / 0.8)
    assert (good["true_best_found"], good["best_value"]["value"]) == (1.0, 49.0)
    assert good["utilization"]["value"] == 0.75
    assert good["time_s"]["value"] == 40 * 3600.0
    assert (good["error"]["value"], slow["error"]["value"]) == (0.2, 0.2)
    assert good["error_area"]["value"] == pytest.approx((19 * 0.5 + 21 * 0.2) / 40)
    assert "against" not in slow
    against = good["against"]
    assert against["acceleration"]["value"] == pytest.approx(40 / 4)
    assert against["acceleration"]["at"] == pytest.approx(0.8)
    assert against["enhancement"]["end"]["value"] == pytest.approx(1.25)
    assert against["enhancement"]["max"] == {"n_labels": 10, "value": 5.0, "low": 5.0, "high": 5.0}
    assert against["error_acceleration"]["value"] == pytest.approx(40 / 20)
    assert against["area"]["value"] == pytest.approx(good["area"]["value"] - slow["area"]["value"])


def test_only_seeds_that_both_have_are_compared() -> None:
    measures = Measures(MAXIMIZE, np.arange(50.0), 5)
    replays = [one for one in two_strategies() if (one.strategy, one.seed) != ("random", 2)]
    against = summarize(replays, measures, rng=RNG(0))["strategies"]["good"]["against"]
    assert against["seeds"] == [0, 1, 3]


def test_without_the_baseline_nothing_is_compared() -> None:
    measures = Measures(MAXIMIZE, np.arange(50.0), 5)
    found = summarize([one for one in two_strategies() if one.strategy == "good"], measures, rng=RNG(0))
    assert found["baseline"] is None
    assert "against" not in found["strategies"]["good"]


def test_a_strategy_compared_with_itself_gains_nothing() -> None:
    measures = Measures(MAXIMIZE, np.arange(50.0), 5)
    mine = [one for one in two_strategies() if one.strategy == "random"]
    found = compare(mine, mine, measures, rng=RNG(0))
    assert found["area"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["acceleration"]["value"] == found["enhancement"]["end"]["value"] == 1.0


def test_where_nothing_is_best_only_errors_are_summed_up() -> None:
    measures = Measures(Target("gap", Goal.LEARN, "eV"), np.arange(50.0), 5)
    found = summarize(two_strategies(), measures, rng=RNG(0))
    assert (found["n_best"], found["best_value"]) == (None, None)
    good = found["strategies"]["good"]
    assert "found" not in good
    assert good["against"]["error_acceleration"]["value"] == pytest.approx(2.0)
