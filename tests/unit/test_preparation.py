"""What happens to features inside a fit: filled in, left out, combined, and kept, with reasons."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import PolynomialFeatures

from active_learning.errors import ContractError
from active_learning.preparation import choosing, columns
from active_learning.preparation.columns import combined_terms, most_sources, n_combinations
from active_learning.preparation.fitting import FittedPreparation, Preparation
from active_learning.preparation.options import PreparationOptions
from active_learning.preparation.record import PreparationRecord

NAN = float("nan")


def _data(n: int = 60, n_features: int = 5, seed: int = 0) -> tuple[Any, Any]:
    X = np.random.default_rng(seed).normal(size=(n, n_features))
    return X, 2.0 * X[:, 0] + X[:, 1] ** 2


def _names(n: int) -> list[str]:
    return [f"f{i}" for i in range(n)]


def _fit(X: Any, y: Any, *, impute: bool = False, seed: int = 1, names: Any = None, **options: Any) -> Any:
    preparation = Preparation(PreparationOptions(**options), impute=impute)
    return preparation.fit(X, y, names=names or _names(X.shape[1]), rng=np.random.default_rng(seed))


# Options


def test_nothing_is_asked_for_by_default() -> None:
    assert PreparationOptions().is_off
    assert Preparation(PreparationOptions(), impute=False).is_off
    assert not Preparation(PreparationOptions(), impute=True).is_off


@pytest.mark.parametrize("option", [{"polynomial": 2}, {"drop_constant": True}, {"max_correlation": 0.9}, {"keep": 3}])
def test_each_option_alone_is_something_to_do(option: Any) -> None:
    assert not PreparationOptions(**option).is_off


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("polynomial", 0),
        ("polynomial", 5),
        ("max_correlation", 0.0),
        ("max_correlation", 1.0),
        ("max_correlation", NAN),
        ("keep", 0),
        ("rank_by", "luck"),
        ("max_combinations", 0),
        ("top_k", 3),
    ],
)
def test_values_out_of_range_and_unknown_keys_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=key):
        PreparationOptions(**{key: value})


def test_interactions_without_combinations_are_refused() -> None:
    with pytest.raises(ValidationError, match="polynomial = 2 or more"):
        PreparationOptions(interactions_only=True)


def test_every_option_is_described() -> None:
    assert all(field.description for field in PreparationOptions.model_fields.values())


# Nothing to do


def test_without_options_the_features_come_out_as_they_are() -> None:
    X, y = _data()
    fitted = _fit(X, y)
    np.testing.assert_array_equal(fitted.transform(X), X)
    assert fitted.names == ("f0", "f1", "f2", "f3", "f4")
    assert fitted.record.dropped == {}
    assert fitted.record.measure == ""


# Missing values


def test_missing_values_become_medians_as_scikit_learn_has_them() -> None:
    X, y = _data()
    X[np.random.default_rng(1).random(X.shape) < 0.3] = NAN
    new = _data(seed=5)[0]
    new[::3, 1] = NAN
    reference = SimpleImputer(strategy="median").fit(X)
    np.testing.assert_array_equal(_fit(X, y, impute=True).transform(new), reference.transform(new))


def test_the_record_counts_what_was_filled_in() -> None:
    X, y = _data(4, 2)
    X[:, 1] = [1.0, NAN, 5.0, NAN]
    filled = _fit(X, y, impute=True).record.filled
    assert {name: (value.median, value.n_labels) for name, value in filled.items()} == {"f1": (3.0, 2)}


def test_a_feature_that_no_label_has_is_dropped_and_may_come_back_later() -> None:
    X, y = _data()
    X[:, 2] = NAN
    fitted = _fit(X, y, impute=True)
    assert fitted.names == ("f0", "f1", "f3", "f4")
    assert fitted.record.dropped == {"f2": "no value: no label has one"}
    assert np.isfinite(fitted.transform(_data(seed=3)[0])).all()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e39])
def test_what_no_32_bits_hold_is_missing(bad: float) -> None:
    X, y = _data()
    fitted = _fit(X, y, impute=True)
    new = X.copy()
    new[3, 1] = bad
    assert fitted.transform(new)[3, 1] == np.median(X[:, 1])


def test_without_a_single_value_there_is_nothing_to_train_on() -> None:
    with pytest.raises(ContractError, match="none of the 3 features has a value for any of the 2 labels"):
        _fit(np.full((2, 3), NAN), np.arange(2.0), impute=True)


@pytest.mark.parametrize("bad", [NAN, np.inf, 1e39])
def test_unless_filled_in_what_is_not_finite_is_refused_and_its_row_named(bad: float) -> None:
    X, y = _data()
    fitted = _fit(X, y)
    X[7, 2] = bad
    with pytest.raises(ContractError, match=r"row 7, column 2 .*missing = \"impute\""):
        _fit(X, y)
    with pytest.raises(ContractError, match="row 107"):
        fitted.transform(X, first_row=100)


# Constant features


def test_constant_features_go_and_rounding_is_no_variation() -> None:
    X, y = _data()
    X[:, 1] = 0.1
    X[:, 3] = 1e6 * (1 + 1e-15 * np.arange(len(X)))
    fitted = _fit(X, y, drop_constant=True)
    assert fitted.names == ("f0", "f2", "f4")
    assert fitted.record.dropped == {"f1": "constant: 0.1", "f3": "constant: 1e+06"}


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1e30])
def test_the_unit_of_a_feature_does_not_make_it_constant(size: float) -> None:
    X, y = _data()
    assert len(_fit(X * size, y, drop_constant=True).names) == 5


def test_where_all_is_constant_one_feature_stays_and_the_record_says_so() -> None:
    fitted = _fit(np.ones((4, 3)), np.arange(4.0), drop_constant=True)
    assert fitted.names == ("f0",)
    assert "the first was kept" in fitted.record.notes[0]


# Correlated features


def test_of_correlated_features_the_more_telling_stays() -> None:
    X = _data(200)[0]
    X[:, 3] = X[:, 0] + 0.01 * np.random.default_rng(1).normal(size=200)
    X[:, 4] = -X[:, 0] + 0.3 * np.random.default_rng(2).normal(size=200)
    fitted = _fit(X, X[:, 0], max_correlation=0.9, rank_by="correlation")
    assert fitted.names == ("f0", "f1", "f2")
    reason = fitted.record.dropped["f4"]
    r = abs(np.corrcoef(X[:, 0], X[:, 4])[0, 1])
    assert reason.startswith(f"correlated: {r:.3f} with 'f0', which tells more about the target (|Spearman")
    assert fitted.record.dropped_kinds == {"correlated": 2}


def test_no_two_that_stay_are_more_alike_than_allowed_and_each_that_goes_has_a_rival() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(80, 12)) @ rng.normal(size=(12, 300)) + 0.2 * rng.normal(size=(80, 300))
    fitted = _fit(X, X[:, 0], max_correlation=0.7)
    frame = pd.DataFrame(X, columns=_names(300)).corr().abs()
    kept = frame.loc[list(fitted.names), list(fitted.names)].to_numpy()
    assert (kept[~np.eye(len(kept), dtype=bool)] <= 0.7 + 1e-12).all()
    for name, reason in fitted.record.dropped.items():
        rival = reason.split("'")[1]
        assert rival in fitted.names
        assert frame.loc[name, rival] > 0.7
    assert len(fitted.names) + len(fitted.record.dropped) == 300


def test_of_features_that_tell_as_much_the_first_stays() -> None:
    X, y = _data()
    fitted = _fit(np.column_stack([X, X[:, ::-1]]), y, max_correlation=0.99)
    assert fitted.names == ("f0", "f1", "f2", "f3", "f4")
    assert fitted.record.dropped["f9"].startswith("correlated: 1.000 with 'f0', which tells as much")


# Combinations


@pytest.mark.parametrize("interactions_only", [False, True])
@pytest.mark.parametrize("degree", [2, 3, 4])
def test_combinations_are_those_of_scikit_learn_in_a_unit_of_a_power_of_two(
    degree: int, interactions_only: bool
) -> None:
    X, y = _data(n_features=4)
    X *= [1.0, 1e5, 1e-7, 30.0]
    fitted = _fit(X, y, polynomial=degree, interactions_only=interactions_only)
    reference = PolynomialFeatures(degree, interaction_only=interactions_only, include_bias=False).fit(X)
    named = [name.replace(" ", " * ") for name in reference.get_feature_names_out(_names(4))]
    assert list(fitted.names) == named
    new = _data(seed=9, n_features=4)[0] * [1.0, 1e5, 1e-7, 30.0]
    ratio = reference.transform(new) / fitted.transform(new)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-14)
    np.testing.assert_array_equal(np.log2(ratio[0]).round(9) % 1, 0.0)
    np.testing.assert_array_equal(fitted.transform(new)[:, :4], new)
    combined = np.abs(fitted.transform(X)[:, 4:])
    assert combined.max() <= 1.0


@pytest.mark.parametrize("interactions_only", [False, True])
@pytest.mark.parametrize(("n", "degree"), [(1, 2), (5, 2), (5, 4), (12, 3)])
def test_the_number_of_combinations_is_known_before_they_are_made(n: int, degree: int, interactions_only: bool) -> None:
    terms = combined_terms(range(n), degree, interactions_only=interactions_only)
    assert len(terms) == n_combinations(n, degree, interactions_only=interactions_only)
    assert len(np.unique(terms, axis=0)) == len(terms)
    most = most_sources(len(terms), degree, interactions_only=interactions_only)
    assert most == n or not len(terms)


def test_a_target_that_only_a_product_explains_is_found() -> None:
    X = np.random.default_rng(0).normal(size=(150, 8))
    fitted = _fit(X, X[:, 2] * X[:, 6], polynomial=2, keep=3)
    assert next(iter(fitted.record.values)) == "f2 * f6"
    assert fitted.record.n_combinations == 36
    assert fitted.record.combinations_dropped["rank"] >= 33
    assert all(reason.startswith("rank: ") for reason in fitted.record.dropped.values())


def test_combinations_that_are_constant_or_like_a_feature_go() -> None:
    X, y = _data()
    X[:, 0] = 100 + X[:, 0]
    X[:, 1] = np.sign(X[:, 1])
    fitted = _fit(X[:, :2], y, polynomial=2, drop_constant=True, max_correlation=0.95)
    # f0^2 is like f0, f0 * f1 like f1, and f1^2 is 1.
    assert fitted.names == ("f0", "f1")
    assert fitted.record.combinations_dropped == {"correlated": 2, "constant": 1}


def test_too_many_combinations_are_made_of_the_most_telling_features_only_and_the_record_says_so() -> None:
    X, y = _data(n_features=30)
    fitted = _fit(X, y, polynomial=2, max_combinations=6, rank_by="correlation")
    assert fitted.record.n_combinations == 6
    told = {
        name: abs(r) for name, r in fitted.record.target_correlations.items() if "*" not in name and "^" not in name
    }
    combined = {part.split("^")[0] for name in fitted.names[30:] for part in name.split(" * ")}
    assert combined == set(sorted(told, key=lambda name: -told[name])[:3])
    assert "would have 465 combinations, more than max_combinations = 6" in fitted.record.notes[0]


def test_a_combination_never_takes_the_name_of_a_feature() -> None:
    X, y = _data(n_features=2)
    names = _fit(np.column_stack([X, X[:, 0]]), y, polynomial=2, names=["a", "b", "a * b"]).names
    assert len(set(names)) == len(names) == 9
    assert "(a * b)" in names


def test_only_the_columns_that_are_kept_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = _data(n_features=40)
    fitted = _fit(X, y, polynomial=2, keep=5)
    assert fitted.columns.terms.shape == (5, 2)
    made: list[int] = []
    monkeypatch.setattr(columns, "_products", _counting(made))
    fitted.transform(X)
    assert sum(made) <= 5


def _counting(made: list[int]) -> Any:
    original = columns._products

    def products(scaled: Any, factors: Any) -> Any:
        made.append(len(factors))
        return original(scaled, factors)

    return products


def test_far_outside_the_labels_a_product_stays_a_number_of_32_bits() -> None:
    X, y = _data()
    X[:, 0] *= 1e-36
    X[:, 2] = 1e-300
    fitted = _fit(X, y, polynomial=4)
    new = np.full((3, 5), 3e38)
    new[1] = -3e38
    new[2] = [3e38, 0.0, 0.0, 0.0, 0.0]
    assert np.isfinite(fitted.transform(new).astype(np.float32)).all()


# The most telling


def test_the_most_telling_are_kept_in_the_order_of_the_columns() -> None:
    X = _data(300, 10)[0]
    fitted = _fit(X, X[:, 0] + X[:, 1] ** 2, keep=2)
    assert fitted.names == ("f0", "f1")
    record = fitted.record
    assert record.measure == "mutual information"
    assert list(record.values) == sorted(record.values, key=lambda name: -record.values[name])
    places = sorted(int(reason.split()[1]) for reason in record.dropped.values())
    assert places == list(range(3, 11))
    assert all(" of 10 by mutual information (" in reason for reason in record.dropped.values())


def test_what_tells_without_being_correlated_is_found_by_mutual_information_and_not_by_correlation() -> None:
    X = np.random.default_rng(2).normal(size=(300, 20))
    y = X[:, 7] ** 2
    assert _fit(X, y, keep=1).names == ("f7",)
    assert _fit(X, y, keep=1, rank_by="permutation_importance").names == ("f7",)
    assert _fit(X, y, keep=1, rank_by="correlation").names != ("f7",)


def test_more_is_kept_than_there_is() -> None:
    X, y = _data()
    assert len(_fit(X, y, keep=50).names) == 5


def test_many_combinations_are_narrowed_down_before_they_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MOST_MEASURED", 10)
    X, y = _data(n_features=8)
    record = _fit(X, y, polynomial=2, keep=4).record
    assert record.combinations_dropped["not among the 10 strongest by |Spearman correlation|"] == 26
    record = _fit(X, y, polynomial=2, keep=4, rank_by="permutation_importance").record
    assert len(record.values) == 4
    assert [r for r in record.dropped.values() if "by mutual information" in r]
    record = _fit(X, y, polynomial=2, max_correlation=0.9).record
    assert record.measure == ""
    assert "by |Spearman correlation|" in record.notes[0]


@pytest.mark.parametrize("rank_by", ["mutual_information", "permutation_importance"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 19])
def test_few_labels_are_ranked_by_correlation_and_the_record_says_so(n: int, rank_by: Any) -> None:
    X, y = _data(n)
    fitted = _fit(X, y, polynomial=2, drop_constant=True, max_correlation=0.9, keep=3, rank_by=rank_by)
    assert 1 <= len(fitted.names) <= 3
    if n > 1:
        assert f"{n} labels are too few" in fitted.record.notes[0]
        assert fitted.record.measure == "|Spearman correlation|"


@pytest.mark.parametrize("rank_by", ["mutual_information", "permutation_importance", "correlation"])
def test_labels_that_are_all_equal_tell_nothing_and_the_first_features_stay(rank_by: Any) -> None:
    X, _y = _data()
    fitted = _fit(X, np.full(60, -1.7), keep=2, max_correlation=0.9, polynomial=2, rank_by=rank_by)
    assert fitted.names == ("f0", "f1")
    assert "All labels are equal" in fitted.record.notes[0]


# Honesty


@pytest.mark.parametrize("rank_by", ["mutual_information", "permutation_importance", "correlation"])
def test_the_same_labels_and_seed_give_the_same_preparation(rank_by: Any) -> None:
    X, y = _data()
    options = {"polynomial": 2, "max_correlation": 0.9, "keep": 6, "rank_by": rank_by}
    one, two = (_fit(X.copy(), y.copy(), **options) for _ in range(2))
    assert one.record == two.record
    assert one.names == two.names


def test_the_data_are_left_as_they_were() -> None:
    X, y = _data()
    X[2, 1] = NAN
    before = X.copy()
    _fit(X, y, impute=True, polynomial=2, keep=3, max_correlation=0.9).transform(X)
    np.testing.assert_array_equal(X, before)


def test_a_row_depends_on_itself_only() -> None:
    X, y = _data()
    X[::7, 1] = NAN
    fitted = _fit(X, y, impute=True, polynomial=3, keep=8)
    whole = fitted.transform(X)
    np.testing.assert_array_equal(fitted.transform(X[::-1])[::-1], whole)
    np.testing.assert_array_equal(np.concatenate([fitted.transform(row[None]) for row in X]), whole)
    assert fitted.transform(X[:0]).shape == (0, 8)


# The record


def test_the_correlations_of_the_record_are_those_of_pandas() -> None:
    X, y = _data()
    X[:, 4] = X[:, 3] + 0.05 * X[:, 2]
    record = _fit(X, y, max_correlation=0.9, drop_constant=True).record
    frame = pd.DataFrame(X, columns=_names(5))
    names = list(record.correlations.names)
    assert sorted(names) == _names(5)
    np.testing.assert_allclose(record.correlations.values, frame[names].corr().to_numpy(), atol=5.1e-5)
    reference = frame.corrwith(pd.Series(y), method="spearman")
    for name, value in record.target_correlations.items():
        assert value == pytest.approx(reference[name], abs=5.1e-5)


def test_the_map_holds_at_most_forty_and_some_of_those_that_went() -> None:
    X, y = _data(n_features=90)
    fitted = _fit(X, y, keep=50)
    names = fitted.record.correlations.names
    assert len(names) == 40
    assert sum(name in fitted.names for name in names) == 28
    assert names[0] == next(iter(fitted.record.values))


def test_a_record_survives_json() -> None:
    X, y = _data()
    X[3, 2] = NAN
    record = _fit(X, y, impute=True, polynomial=2, keep=4, max_correlation=0.9, drop_constant=True).record
    text = json.dumps(record.to_json(), allow_nan=False)
    assert PreparationRecord.from_json(json.loads(text)) == record


def test_a_record_that_is_none_is_refused() -> None:
    with pytest.raises(ContractError, match=r"unknown keys \['color'\], missing keys \['kept'\]"):
        PreparationRecord.from_json({"n_labels": 3, "n_given": 2, "color": "red"})


def test_a_preparation_survives_being_written_down_as_arrays() -> None:
    X, y = _data()
    X[3, 2] = NAN
    for impute, start in ((True, 0), (False, 4)):
        fitted = _fit(X[start:], y[start:], impute=impute, polynomial=3, keep=7, max_correlation=0.9)
        arrays = fitted.to_arrays()
        assert not [name for name, array in arrays.items() if array.dtype.hasobject]
        again = FittedPreparation.from_arrays(arrays)
        np.testing.assert_array_equal(again.transform(X[start:]), fitted.transform(X[start:]))
        assert again.names == fitted.names
        assert again.record == fitted.record


# Contracts


def test_shapes_and_names_that_do_not_fit_are_refused() -> None:
    X, y = _data()
    with pytest.raises(ContractError, match=r"got \(60,\)"):
        _fit(X[:, 0], y, names=["a"])
    with pytest.raises(ContractError, match="each of the 60 rows"):
        _fit(X, y[1:])
    with pytest.raises(ContractError, match="no labels"):
        _fit(X[:0], y[:0])
    with pytest.raises(ContractError, match="2 names for 5 features"):
        _fit(X, y, names=["a", "b"])
    with pytest.raises(ContractError, match="two features are called 'b'"):
        _fit(X, y, names=["a", "b", "c", "b", "d"])
    with pytest.raises(ContractError, match="3 features; the preparation was fitted on 5"):
        _fit(X, y).transform(X[:, :3])
    with pytest.raises(ContractError, match="y is nan in row 4"):
        _fit(X, np.where(np.arange(60) == 4, NAN, y))
