"""Which columns a model gets: the choice among the given features and their combinations, with its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from active_learning.preparation.columns import Columns, combined_terms, most_sources, n_combinations, plain_terms
from active_learning.preparation.options import PreparationOptions, RankBy
from active_learning.preparation.relevance import (
    MEASURES,
    is_constant,
    mutual_information,
    permutation_importances,
    spearman,
    uncorrelated,
    unit_columns,
    usable_measure,
)

__all__ = ["Choice", "choose"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

MOST_MEASURED = 500
"""More combinations than this are narrowed down by |Spearman correlation| first: for 1,000 labels it takes 0.1 ms a
column, mutual information 3 ms and permutation importance 20 ms."""

_BLOCK = 512


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns that may be kept: `terms` as in `Columns`, `values` (n_labels, n), and how much each tells, (n,)."""

    terms: Indices
    values: Floats
    told: Floats

    def only(self, rows: Indices) -> _Columns:
        return _Columns(self.terms[rows], self.values[:, rows], self.told[rows])

    def and_also(self, other: _Columns) -> _Columns:
        return _Columns(
            np.concatenate([self.terms, other.terms]),
            np.concatenate([self.values, other.values], axis=1),
            np.concatenate([self.told, other.told]),
        )


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen, and why the rest was not.

    Parameters
    ----------
    terms, values : of the kept columns, (n_columns, degree) and (n_labels, n_columns)
    measure, told : what they were ranked by and how much each tells, (n_columns,); "" and empty without a ranking
    varied : given features that are not constant
    dropped : given feature -> reason
    """

    terms: Indices
    values: Floats
    measure: str
    told: Floats
    varied: Indices
    dropped: dict[int, str]
    n_combinations: int
    combinations_dropped: dict[str, int]
    notes: tuple[str, ...]


def choose(
    options: PreparationOptions, names: tuple[str, ...], X: Floats, y: Floats, *, has_value: Flags, seed: int
) -> Choice:
    """Choose columns on these labels.

    Parameters
    ----------
    X : (n_labels, n_given), finite
    has_value : (n_given,), whether any label has a value of the feature; one at least
    """
    return _Choosing(options, names, X, y, seed).run(np.flatnonzero(has_value))


class _Choosing:
    """The steps, each of which takes what is left and notes what it leaves out."""

    def __init__(self, options: PreparationOptions, names: tuple[str, ...], X: Floats, y: Floats, seed: int) -> None:
        self.options, self.names, self.X, self.y, self.seed = options, names, X, y, seed
        self.dropped: dict[int, str] = {}
        self.lost: Counter[str] = Counter()
        self.notes: list[str] = []
        self.n_combinations = 0
        self.is_alike = True
        """Whether all columns are ranked by one measure."""
        self.measure, note = usable_measure(options.rank_by, y)
        self.is_ranked = bool(options.keep or options.max_correlation)
        if note and self.is_ranked:
            self.notes.append(note)
        # A shuffled feature is made up for by another that is like it: of correlated ones each would tell nothing.
        self.alone: RankBy = "mutual_information" if self.measure == "permutation_importance" else self.measure

    def run(self, features: Indices) -> Choice:
        for feature in np.setdiff1d(np.arange(len(self.names)), features):
            self.dropped[int(feature)] = "no value: no label has one"
        varied = np.flatnonzero(~is_constant(self.X))
        columns = self._uncorrelated(self._plain(self._varying(features)))
        if self.options.polynomial > 1:
            columns = columns.and_also(self._combinations(columns))
        columns, measure = self._top(columns)
        return Choice(
            terms=columns.terms,
            values=columns.values,
            measure=measure,
            told=columns.told if measure else np.empty(0),
            varied=np.intersect1d(varied, features),
            dropped=self.dropped,
            n_combinations=self.n_combinations,
            combinations_dropped=dict(self.lost.most_common()),
            notes=tuple(self.notes),
        )

    def _varying(self, features: Indices) -> Indices:
        if not self.options.drop_constant:
            return features
        constant = is_constant(self.X[:, features])
        if constant.all():
            self.notes.append("Every feature is the same for all labels; the first was kept, since a model needs one.")
            constant[0] = False
        for feature in features[constant]:
            self.dropped[int(feature)] = f"constant: {np.median(self.X[:, feature]):.6g}"
        return features[~constant]

    @cached_property
    def _most_sources(self) -> int:
        """The largest number of features that may be combined with each other."""
        options = self.options
        if options.polynomial == 1:
            return len(self.names)
        return most_sources(options.max_combinations, options.polynomial, interactions_only=options.interactions_only)

    def _plain(self, features: Indices) -> _Columns:
        values = self.X[:, features]
        told = self._tell(values) if self.is_ranked or len(features) > self._most_sources else np.zeros(len(features))
        return _Columns(plain_terms(features, self.options.polynomial), values, told)

    def _tell(self, values: Floats) -> Floats:
        """How much each column tells by itself, (n,)."""
        if self.alone == "mutual_information":
            return mutual_information(values, self.y, seed=self.seed)
        return np.abs(spearman(values, self.y))

    def _uncorrelated(self, columns: _Columns) -> _Columns:
        limit = self.options.max_correlation
        if limit is None:
            return columns
        found = uncorrelated(unit_columns(columns.values), _descending(columns.told), limit)
        features = columns.terms[:, 0]
        for column in np.flatnonzero(~found.is_kept):
            rival = found.rival[column]
            more, less = (f"{columns.told[i]:.3g}" for i in (rival, column))
            tells = f"tells more about the target ({MEASURES[self.alone]} {more} against {less})"
            tells = tells if more != less else f"tells as much about the target ({MEASURES[self.alone]} {more})"
            name = self.names[features[rival]]
            self.dropped[int(features[column])] = (
                f"correlated: {found.likeness[column]:.3f} with {name!r}, which {tells}"
            )
        return columns.only(np.flatnonzero(found.is_kept))

    def _combinations(self, plain: _Columns) -> _Columns:
        """Combinations worth a place beside the plain features, which come first: they are simpler to understand."""
        options = self.options
        sources = self._sources(plain)
        terms = combined_terms(sources, options.polynomial, interactions_only=options.interactions_only)
        self.n_combinations = len(terms)
        found = self._screened(terms)
        if options.max_correlation is None or not len(found.terms):
            return found
        n = len(plain.terms)
        U = unit_columns(np.concatenate([plain.values, found.values], axis=1))
        order = np.concatenate([_descending(plain.told), n + _descending(found.told)])
        is_kept = uncorrelated(U, order, options.max_correlation).is_kept[n:]
        self.lost["correlated"] += int((~is_kept).sum())
        return found.only(np.flatnonzero(is_kept))

    def _sources(self, plain: _Columns) -> Indices:
        """The features to combine: all, or those that tell most if there would be too many combinations."""
        options, features, most = self.options, plain.terms[:, 0], self._most_sources
        if len(features) <= most:
            return features
        degree, is_mixed = options.polynomial, options.interactions_only
        n_all = n_combinations(len(features), degree, interactions_only=is_mixed)
        self.notes.append(
            f"Only the {most} features that tell most by {MEASURES[self.alone]} were combined: all {len(features)} "
            f"would have {n_all:,} combinations, more than max_combinations = {options.max_combinations:,}."
        )
        return features[np.sort(_descending(plain.told)[:most])]

    def _blocks(self, terms: Indices) -> Iterator[Floats]:
        for start in range(0, len(terms), _BLOCK):
            yield Columns.of(self.X, None, terms[start : start + _BLOCK]).transform(self.X)

    def _screened(self, terms: Indices) -> _Columns:
        """Combinations that vary; no more than can be measured if only some are to be kept."""
        keep = self.options.keep
        strength = [np.empty(0)]
        for values in self._blocks(terms):
            found = np.abs(spearman(values, self.y)) if self.is_ranked else np.zeros(values.shape[1])
            strength.append(np.where(is_constant(values), -1.0, found) if self.options.drop_constant else found)
        strong = np.concatenate(strength)
        rows = np.flatnonzero(strong >= 0)
        self.lost["constant"] += len(terms) - len(rows)
        most = max(MOST_MEASURED, 2 * (keep or 0))
        if keep and len(rows) > most:
            self.lost[f"not among the {most} strongest by {MEASURES['correlation']}"] += len(rows) - most
            rows = np.sort(rows[_descending(strong[rows])[:most]])
        values = np.concatenate([np.empty((len(self.X), 0)), *self._blocks(terms[rows])], axis=1)
        if not self.is_ranked or self.alone == "correlation":
            return _Columns(terms[rows], values, strong[rows])
        if len(rows) > most:
            self.is_alike = False
            self.notes.append(f"Of correlated combinations those stayed that tell most by {MEASURES['correlation']}.")
            return _Columns(terms[rows], values, strong[rows])
        return _Columns(terms[rows], values, self._tell(values))

    def _top(self, columns: _Columns) -> tuple[_Columns, str]:
        """The columns to keep, and what their `told` is ("" if nothing had to be ranked)."""
        keep = self.options.keep
        if not self.is_ranked:
            return columns, ""
        if keep is None:
            return columns, MEASURES[self.alone] if self.is_alike else ""
        if self.measure == "permutation_importance":
            columns = self._cut(columns, max(MOST_MEASURED, keep), MEASURES[self.alone])
            told = permutation_importances(columns.values, self.y, seed=self.seed)
            columns = _Columns(columns.terms, columns.values, told)
        return self._cut(columns, keep, MEASURES[self.measure]), MEASURES[self.measure]

    def _cut(self, columns: _Columns, n: int, measure: str) -> _Columns:
        order = _descending(columns.told)
        for place, column in enumerate(order[n:], start=n + 1):
            term = columns.terms[column]
            if (term[1:] >= 0).any():
                self.lost["rank"] += 1
            else:
                self.dropped[int(term[0])] = f"rank: {place} of {len(order)} by {measure} ({columns.told[column]:.3g})"
        return columns.only(np.sort(order[:n]))


def _descending(values: Floats) -> Indices:
    """Rows from the largest to the smallest; the first of equals first."""
    return np.argsort(-values, kind="stable")
