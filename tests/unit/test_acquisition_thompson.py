"""Thompson sampling, against a loop over the draws and the chance of being the best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from active_learning.acquisition import thompson
from active_learning.acquisition.thompson import Thompson
from active_learning.domain.choosing import Scoring
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.testing.acquisition import scoring_for

RULE = Thompson(Thompson.Options())


@dataclass(frozen=True)
class GivenDraws:
    """A model whose functions are a table: the value of a row is that in the column its feature names."""

    table: Any

    def predict(self, X: Any) -> Prediction:
        columns = self.table[:, X[:, 0].astype(int)]
        return Prediction(columns.mean(axis=0)[:, None], columns.std(axis=0)[:, None])

    def draws(self, X: Any, n: int, *, rng: np.random.Generator) -> Any:
        return self.table[:n, X[:, 0].astype(int)]


def _of_table(table: Any, goal: Goal = Goal.MAXIMIZE, n: int = 3, model: Any = None) -> tuple[Prediction, Scoring]:
    X = np.arange(float(table.shape[1]))[:, None]
    bounds = (0.0, 1.0) if goal is Goal.WITHIN else (None, None)
    model = model or GivenDraws(table)
    target = Target("property", goal, "eV", *bounds)
    scoring = Scoring(target, 0.0, n, len(X), lambda: X, X[:1], np.zeros(1), model, np.random.default_rng(0))
    return GivenDraws(table).predict(X), scoring


def test_each_function_has_its_favourite_and_duplicates_fall_to_the_next_best() -> None:
    table = np.array([[0.0, 9.0, 5.0, 1.0], [7.0, 9.0, 8.0, 2.0], [1.0, 9.0, 8.0, 3.0]])
    scores = RULE.score(*_of_table(table))
    # The second function's favourite is taken, so it takes row 2; the third's next is taken too, so it takes row 3.
    np.testing.assert_array_equal(scores, [-2.0, 3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("goal", "favourite"), [(Goal.MAXIMIZE, 3), (Goal.MINIMIZE, 0), (Goal.WITHIN, 1)], ids=lambda value: str(value)
)
def test_the_favourite_is_that_of_the_goal(goal: Goal, favourite: int) -> None:
    scores = RULE.score(*_of_table(np.array([[-3.0, 0.5, 2.0, 9.0]]), goal, n=1))
    assert np.argmax(scores) == favourite
    assert (scores > 0).sum() == 1


def test_what_a_function_likes_equally_goes_by_the_mean_and_then_by_row() -> None:
    table = np.array([[1.0, 1.0, 1.0, 0.0], [0.0, 4.0, 4.0, 4.0]])
    scores = RULE.score(*_of_table(table, n=1))
    np.testing.assert_array_equal(scores, [0.0, 1.0, 0.0, -1.0])


@pytest.mark.parametrize("goal", [Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN])
@pytest.mark.parametrize("n", [1, 4, 30, 50])
def test_the_top_are_the_favourites_of_a_plain_loop(goal: Goal, n: int) -> None:
    prediction, scoring = scoring_for(goal, n=n)
    n_draws = min(n, 30)
    seed = int(scoring_for(goal)[1].rng.integers(2**63))
    drawn = scoring.model.draws(scoring.X, n_draws, rng=np.random.default_rng(seed))  # type: ignore[attr-defined]
    expected: list[int] = []
    for function in scoring.target.merit(drawn):
        liked = sorted(range(30), key=lambda row: (-function[row], -scoring.target.merit(prediction.mean[row])[0]))
        expected.append(next(row for row in liked if row not in expected))
    scores = RULE.score(prediction, scoring)
    assert np.argsort(-scores, kind="stable")[:n_draws].tolist() == expected


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RULE.score(*scoring_for(Goal.MAXIMIZE, n_rows=300, n=20))
    monkeypatch.setattr(thompson, "_BLOCK", 7)
    np.testing.assert_array_equal(RULE.score(*scoring_for(Goal.MAXIMIZE, n_rows=300, n=20)), whole)


@dataclass(frozen=True)
class Independent:
    """A model that believes in three candidates independently."""

    mean: Any
    std: Any

    def predict(self, X: Any) -> Prediction:
        return Prediction(self.mean[:, None], self.std[:, None])

    def draws(self, X: Any, n: int, *, rng: np.random.Generator) -> Any:
        return rng.normal(self.mean, self.std, size=(n, 3))


def test_a_candidate_is_the_favourite_as_often_as_it_may_be_the_best() -> None:
    model = Independent(np.array([0.0, 0.5, -1.0]), np.array([1.0, 0.3, 2.0]))
    prediction, scoring = _of_table(np.zeros((1, 3)), n=1, model=model)
    rng = np.random.default_rng(5)
    firsts = [int(np.argmax(RULE.score(model.predict(scoring.X), replace(scoring, n=1, rng=rng)))) for _ in range(3000)]
    # The chance that row i is the best: over its value, that both others are below.
    x = np.linspace(-12, 12, 4001)
    cdf = [norm.cdf(x, m, s) for m, s in zip(model.mean, model.std, strict=True)]
    chances = [
        np.trapezoid(norm.pdf(x, model.mean[i], model.std[i]) * cdf[(i + 1) % 3] * cdf[(i + 2) % 3], x)
        for i in range(3)
    ]
    assert sum(chances) == pytest.approx(1.0)
    np.testing.assert_allclose(np.bincount(firsts, minlength=3) / 3000, chances, atol=0.035)
    assert prediction.mean.shape == (3, 1)


class OnlyPredicts:
    def predict(self, X: Any) -> Prediction:
        return Prediction(np.zeros((len(X), 1)), np.ones((len(X), 1)))


def test_a_model_that_cannot_draw_is_refused_with_what_to_do() -> None:
    with pytest.raises(ContractError, match=r"OnlyPredicts cannot draw any: take a surrogate that can, such as random"):
        RULE.score(*_of_table(np.zeros((1, 3)), model=OnlyPredicts()))


def test_draws_of_another_shape_are_refused() -> None:
    with pytest.raises(ContractError, match=r"GivenDraws draws \(1, 3\); \(3, 3\) is needed"):
        RULE.score(*_of_table(np.zeros((1, 3))))


def test_a_draw_that_is_not_finite_is_refused_and_its_row_named() -> None:
    prediction, scoring = _of_table(np.zeros((3, 4)))
    table = np.zeros((3, 4))
    table[1, 2] = np.nan
    with pytest.raises(ContractError, match=r"a draw of row 2 is not finite \(1 rows in all\)"):
        RULE.score(prediction, replace(scoring, model=GivenDraws(table)))


def test_huge_draws_give_finite_scores() -> None:
    table = np.array([[1.7e308, -1.7e308, 0.0], [-1.7e308, -1.7e308, 1.0]])
    prediction, scoring = _of_table(np.zeros((2, 3)), n=2)
    scores = RULE.score(prediction, replace(scoring, model=GivenDraws(table)))
    assert np.isfinite(scores).all()
    assert np.argsort(-scores).tolist() == [0, 2, 1]
