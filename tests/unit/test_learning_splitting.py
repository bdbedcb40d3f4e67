"""Test sets have the share of each group of like candidates that the pool has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from active_learning.errors import ContractError
from active_learning.learning.splitting import GROUPS, Groups, representative_rows

Floats = NDArray[np.float64]

SIZES = (50, 30, 15, 5)
NONE = np.empty(0, dtype=np.intp)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _blobs(sizes: tuple[int, ...] = SIZES) -> tuple[Floats, NDArray[np.intp]]:
    """Groups that lie far apart, mixed; and the group of each row."""
    group = _rng(5).permutation(np.repeat(np.arange(len(sizes)), sizes))
    X = 100.0 * np.eye(len(sizes))[group] + _rng(6).normal(size=(len(group), len(sizes)))
    return X, group


def _counts(group: NDArray[np.intp], rows: NDArray[np.intp]) -> list[int]:
    return np.bincount(group[rows], minlength=len(SIZES)).tolist()


def test_groups_are_those_that_lie_apart_whatever_the_units() -> None:
    X, group = _blobs()
    found = Groups(X * [1e-9, 1.0, 1e3, 1e9], rng=_rng(), n_groups=4).group
    assert len({(int(a), int(b)) for a, b in zip(found, group, strict=True)}) == 4


@pytest.mark.parametrize("n", [20, 40, 60, 100])
def test_each_group_has_its_share_of_what_is_taken(n: int) -> None:
    X, group = _blobs()
    rows = Groups(X, rng=_rng(), n_groups=4).take(n, taken=NONE, free=np.arange(100), rng=_rng(1))
    assert len(set(rows.tolist())) == n
    expected = np.array(SIZES) * n / 100
    assert np.abs(np.array(_counts(group, rows)) - expected).max() < 1


def test_a_set_that_grew_step_by_step_has_the_shares_of_one_taken_at_once() -> None:
    X, group = _blobs()
    groups = Groups(X, rng=_rng(), n_groups=4)
    taken = NONE
    for step, n in enumerate((1, 3, 1, 7, 8, 20)):
        free = np.setdiff1d(np.arange(100), taken)
        taken = np.concatenate([taken, groups.take(n, taken=taken, free=free, rng=_rng(step))])
    assert _counts(group, taken) == [20, 12, 6, 2]


def test_where_a_group_has_nothing_left_the_others_take_its_place() -> None:
    X, group = _blobs()
    free = np.flatnonzero(group != 0)
    rows = Groups(X, rng=_rng(), n_groups=4).take(30, taken=NONE, free=free, rng=_rng())
    assert len(set(rows.tolist())) == 30
    assert set(rows.tolist()) <= set(free.tolist())
    assert (np.array(_counts(group, rows))[1:] >= np.array([9, 4, 1])).all()
    assert _counts(group, rows)[0] == 0


def test_no_more_is_taken_than_there_is() -> None:
    X, _group = _blobs()
    free = np.array([4, 9, 17])
    rows = Groups(X, rng=_rng()).take(8, taken=NONE, free=free, rng=_rng())
    assert sorted(rows.tolist()) == [4, 9, 17]
    assert Groups(X, rng=_rng()).take(8, taken=free, free=NONE, rng=_rng()).shape == (0,)


def test_rows_of_a_group_are_taken_at_random_and_the_same_generator_gives_the_same() -> None:
    X, _group = _blobs()
    free = np.arange(100)
    first, again, other = (
        Groups(X, rng=_rng(), n_groups=4).take(10, taken=NONE, free=free, rng=_rng(seed)).tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert set(first) != set(other)
    shuffled = _rng(9).permutation(free)
    assert Groups(X, rng=_rng(), n_groups=4).take(10, taken=NONE, free=shuffled, rng=_rng(1)).tolist() == first


def test_candidates_that_are_all_alike_are_taken_too() -> None:
    groups = Groups(np.ones((12, 3)), rng=_rng())
    assert sorted(groups.take(12, taken=NONE, free=np.arange(12), rng=_rng()).tolist()) == list(range(12))


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_hardly_any_rows_are_no_trouble(n_rows: int) -> None:
    groups = Groups(np.zeros((n_rows, 2)), rng=_rng())
    assert len(groups.take(5, taken=NONE, free=np.arange(n_rows), rng=_rng())) == n_rows


def test_a_row_that_is_not_finite_is_named() -> None:
    X, _group = _blobs()
    X[31, 2] = np.nan
    with pytest.raises(ContractError, match="row 31"):
        Groups(X, rng=_rng())


def test_representative_rows_have_the_shares_of_all() -> None:
    X, group = _blobs()
    rows = representative_rows(X, 20, rng=_rng(3))
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert np.abs(np.array(_counts(group, rows)) - [10, 6, 3, 1]).max() <= 1


def test_a_few_representatives_stand_for_as_many_groups() -> None:
    X, group = _blobs((25, 25, 25, 25))
    rows = representative_rows(X, 4, rng=_rng(2))
    assert set(group[rows].tolist()) == {0, 1, 2, 3}
    assert representative_rows(X, 0, rng=_rng()).shape == (0,)


@pytest.mark.parametrize("n", [-1, 101])
def test_more_representatives_than_rows_are_refused(n: int) -> None:
    with pytest.raises(ContractError, match=f"{n} of 100 rows"):
        representative_rows(_blobs()[0], n, rng=_rng())


@given(
    n_rows=st.integers(1, 40),
    n=st.integers(0, 50),
    n_groups=st.integers(1, GROUPS),
    share_taken=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_what_is_taken_is_free_and_taken_once(
    n_rows: int, n: int, n_groups: int, share_taken: float, seed: int
) -> None:
    rng = _rng(seed)
    X = rng.integers(3, size=(n_rows, 2)).astype(np.float64)
    is_taken = rng.random(n_rows) < share_taken
    taken, free = np.flatnonzero(is_taken), np.flatnonzero(~is_taken)
    groups = Groups(X, rng=rng, n_groups=n_groups)
    rows = groups.take(n, taken=taken, free=free, rng=rng)
    assert len(rows) == len(set(rows.tolist())) == min(n, len(free))
    assert set(rows.tolist()) <= set(free.tolist())


@given(steps=st.lists(st.integers(1, 9), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_however_it_grows_no_group_is_a_whole_row_off_its_share_for_each_group(steps: list[int], seed: int) -> None:
    X, _group = _blobs((40, 40, 40, 40))
    groups = Groups(X, rng=_rng(seed), n_groups=4)
    taken = NONE
    for n in steps:
        free = np.setdiff1d(np.arange(160), taken)
        taken = np.concatenate([taken, groups.take(n, taken=taken, free=free, rng=_rng(seed))])
        counts = np.bincount(groups.group[taken], minlength=4)
        assert np.abs(counts - len(taken) / 4).max() < 1
