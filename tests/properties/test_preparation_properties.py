"""What holds for preparations whatever the features."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from active_learning.preparation.fitting import FittedPreparation, Preparation
from active_learning.preparation.options import PreparationOptions
from active_learning.preparation.record import PreparationRecord

# Few values, so that columns are constant, equal and tied; some of them at the ends of what 32 bits hold.
coarse = st.sampled_from([-3e38, -1.0, 0.0, 1e-12, 1e-300, 1.0, 2.5, 1e6])
numbers = st.one_of(coarse, st.floats(-1e6, 1e6))
holes = st.one_of(numbers, st.sampled_from([np.nan, np.inf]))

options = st.builds(
    PreparationOptions,
    polynomial=st.integers(1, 3),
    max_combinations=st.sampled_from([1, 5, 10_000]),
    drop_constant=st.booleans(),
    max_correlation=st.sampled_from([None, 0.5, 0.99]),
    keep=st.sampled_from([None, 1, 4]),
    rank_by=st.sampled_from(["mutual_information", "correlation"]),
)


@st.composite
def labels(draw: Any) -> tuple[Any, Any, Any]:
    n_rows, n_features = draw(st.one_of(st.integers(1, 8), st.just(22))), draw(st.integers(1, 4))
    X = draw(arrays(np.float64, (n_rows, n_features), elements=holes))
    X[0, 0] = draw(numbers)
    new = draw(arrays(np.float64, (draw(st.integers(1, 5)), n_features), elements=holes))
    return X, draw(arrays(np.float64, n_rows, elements=numbers)), new


def _fit(options: PreparationOptions, X: Any, y: Any) -> FittedPreparation:
    names = [f"f{i}" for i in range(X.shape[1])]
    return Preparation(options, impute=True).fit(X, y, names=names, rng=np.random.default_rng(0))


@settings(max_examples=80, deadline=None)
@given(options=options, data=labels())
def test_what_comes_out_is_finite_by_row_and_as_wide_as_its_names(options: PreparationOptions, data: Any) -> None:
    X, y, new = data
    fitted = _fit(options, X, y)
    both = fitted.transform(np.concatenate([X, new]))
    assert both.shape == (len(X) + len(new), len(fitted.names))
    assert np.isfinite(both.astype(np.float32)).all()
    np.testing.assert_array_equal(fitted.transform(X), both[: len(X)])
    np.testing.assert_array_equal(fitted.transform(new[::-1])[::-1], both[len(X) :])


@settings(max_examples=80, deadline=None)
@given(options=options, data=labels())
def test_every_feature_is_kept_or_has_a_reason(options: PreparationOptions, data: Any) -> None:
    X, y, _new = data
    fitted = _fit(options, X, y)
    record = fitted.record
    given_names = {f"f{i}" for i in range(X.shape[1])}
    assert 1 <= len(fitted.names) == len(set(fitted.names))
    assert options.keep is None or len(fitted.names) <= options.keep
    assert set(record.dropped) == given_names - set(fitted.names)
    assert record.kept == fitted.names
    n_combined = len(set(fitted.names) - given_names)
    assert record.n_combinations == n_combined + sum(record.combinations_dropped.values())
    assert not record.measure or set(record.values) == set(fitted.names)
    assert all(-1.0 <= value <= 1.0 for row in record.correlations.values for value in row)
    assert np.shape(record.correlations.values) == (len(record.correlations.names),) * 2


@settings(max_examples=40, deadline=None)
@given(options=options, data=labels())
def test_it_survives_arrays_and_json(options: PreparationOptions, data: Any) -> None:
    X, y, new = data
    fitted = _fit(options, X, y)
    again = FittedPreparation.from_arrays(fitted.to_arrays())
    np.testing.assert_array_equal(again.transform(new), fitted.transform(new))
    text = json.dumps(fitted.record.to_json(), allow_nan=False)
    assert PreparationRecord.from_json(json.loads(text)) == fitted.record == again.record
