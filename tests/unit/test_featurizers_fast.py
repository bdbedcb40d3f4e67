"""Fast composition descriptors: matminer's numbers, whatever the composition, its order, its scale or its neighbors."""

from __future__ import annotations

import gzip
import json
import math
import tarfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import matminer.featurizers.composition as theirs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matminer.featurizers.base import BaseFeaturizer
from pymatgen.core.composition import Composition

from active_learning.domain.elements import SYMBOLS, fractions_of
from active_learning.errors import ContractError, UserError
from active_learning.featurizers import fast_compositions
from active_learning.featurizers.fast_compositions import FastComposition, fast

Amounts = Mapping[str, float]

PRESETS = ("magpie", "deml", "matminer", "matscholar_el", "megnet_el")
CUSTOM = {
    "data_source": "magpie",
    "features": ["AtomicRadius", "Density"],
    "stats": ["std_dev", "mode", "avg_dev", "range"],
}
KINDS: list[tuple[str, dict[str, Any]]] = [
    *(("ElementProperty", {"preset": preset}) for preset in PRESETS),
    ("ElementProperty", {"preset": "magpie", "impute_nan": True}),
    ("ElementProperty", {"preset": "deml", "impute_nan": True}),
    ("ElementProperty", CUSTOM),
    ("Stoichiometry", {}),
    ("Stoichiometry", {"p_list": [0, 1, 4]}),
    ("ValenceOrbital", {}),
    ("ValenceOrbital", {"orbitals": ["p", "f"], "props": ["frac"]}),
    ("ElementFraction", {}),
    ("TMetalFraction", {}),
    ("BandCenter", {}),
    ("BandCenter", {"impute_nan": True}),
    ("Meredig", {}),
]
IMPUTES = ("ElementProperty", "ValenceOrbital", "BandCenter", "Meredig")


each_kind = pytest.mark.parametrize("kind", range(len(KINDS)), ids=[f"{name} {options}" for name, options in KINDS])


@cache
def both(kind: int) -> tuple[FastComposition, BaseFeaturizer]:
    """Ours and matminer's."""
    name, options = KINDS[kind]
    ours = fast(name, options)
    assert ours is not None
    arguments = {"impute_nan": False, **options} if name in IMPUTES else dict(options)
    build = getattr(theirs, name)
    return ours, build.from_preset(arguments.pop("preset"), **arguments) if "preset" in arguments else build(
        **arguments
    )


def matminers_values(featurizer: BaseFeaturizer, compositions: Sequence[Composition]) -> np.ndarray:
    """NaN in the whole row where matminer raises because it does not know an element."""
    values = np.full((len(compositions), len(featurizer.feature_labels())), np.nan)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for row, composition in enumerate(compositions):
            try:
                values[row] = featurizer.featurize(composition)
            except KeyError as error:
                if error.args[0] not in SYMBOLS:
                    raise
    return values


def assert_equal(ours: np.ndarray, matminers: np.ndarray) -> None:
    assert ours.shape == matminers.shape
    assert np.array_equal(np.isnan(ours), np.isnan(matminers))
    known = ~np.isnan(ours)
    difference = np.abs(ours[known] - matminers[known])
    assert (difference <= 1e-9 * np.maximum(1.0, np.abs(matminers[known]))).all()


def magpie() -> FastComposition:
    return both(0)[0]


def column(name: str, *compositions: Amounts) -> list[float]:
    built = magpie()
    return list(built.values(compositions)[:, built.names.index(f"MagpieData {name}")])


@pytest.fixture(scope="module")
def real() -> list[Composition]:
    """5,500 formulas: 2,135 experimental compounds, all pure elements, and computed compounds, rare elements first."""
    file = resources.files("pymatgen.analysis") / "compatibility" / "exp_compounds.json.gz"
    measured = {row["formula"] for row in json.loads(gzip.decompress(file.read_bytes()))}
    folder = resources.files("matminer.utils.data_files") / "mp_transport"
    with (folder / "transport_database.tar.xz").open("rb") as stream, tarfile.open(fileobj=stream, mode="r:xz") as tar:
        table = tar.extractfile("transport_database.csv")
        assert table is not None
        computed = {line.split(b",")[1].decode() for line in table.readlines()[1:]} - measured
    rare = [
        f"{symbol}{n}{other}" for symbol in ("He", "Ne", "Ar", "Og", "Lr", "Am") for n, other in ((1, "O"), (3, "Al"))
    ]
    certain = dict.fromkeys([*sorted(measured), *SYMBOLS, *rare])
    order = np.random.default_rng(20).permutation(sorted(computed - set(certain)))
    actinides = ("Ac", "Th", "Pa", "U", "Np", "Pu", "Xe", "Kr")
    by_rarity = sorted(map(str, order), key=lambda formula: not any(symbol in formula for symbol in actinides))
    formulas = [*certain, *by_rarity[:600], *by_rarity[-(5500 - 600 - len(certain)) :]]
    assert len(set(formulas)) == 5500
    return [Composition(formula) for formula in formulas]


def amounts_of(compositions: Sequence[Composition]) -> list[dict[str, float]]:
    return [composition.get_el_amt_dict() for composition in compositions]


@pytest.mark.slow
def test_magpie_of_5500_real_formulas_is_matminers(real: list[Composition]) -> None:
    ours, matminers = both(0)
    values = ours.values(amounts_of(real))
    assert_equal(values, matminers_values(matminers, real))
    assert 30 < np.isnan(values).any(axis=1).sum() < 100


@each_kind
def test_every_kind_on_real_formulas_is_matminers_under_matminers_names(kind: int, real: list[Composition]) -> None:
    ours, matminers = both(kind)
    # Matminer's Meredig reads all its tables again for every composition; matscholar_el has 1,000 features.
    step = 12 if KINDS[kind][0] == "Meredig" else 3 if len(ours.names) == 1000 else 1
    some = (real[::18] + real[2050:2300])[::step]
    assert list(ours.names) == matminers.feature_labels()
    assert_equal(ours.values(amounts_of(some)), matminers_values(matminers, some))


@each_kind
def test_a_row_does_not_depend_on_its_neighbors_in_any_bit(
    kind: int, real: list[Composition], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, amounts = both(kind)[0], amounts_of(real[1::5])
    together = ours.values(amounts)
    assert np.array_equal(ours.values(amounts[100:207]), together[100:207], equal_nan=True)
    monkeypatch.setattr(fast_compositions, "_BLOCK_VALUES", 1)
    assert np.array_equal(ours.values(amounts), together, equal_nan=True)


symbols = st.sampled_from(SYMBOLS)
amount = st.one_of(
    st.integers(1, 12).map(float),
    st.floats(1e-6, 1.0),
    st.sampled_from([1e-6, 0.25, 1 / 3, 0.3333, 0.33333333, 0.5, 1e3]),
)
compositions = st.dictionaries(symbols, amount, min_size=1, max_size=9)
ordinary = st.dictionaries(st.sampled_from(SYMBOLS[2:9] + SYMBOLS[10:17]), amount, min_size=1, max_size=9)


@pytest.mark.parametrize("kind", [0, 2, 8, 10], ids=["magpie", "matminer", "Stoichiometry", "ValenceOrbital"])
@given(some=st.lists(compositions | ordinary, min_size=1, max_size=9))
def test_any_composition_is_described_as_matminer_describes_its_fractions(
    kind: int, some: list[dict[str, float]]
) -> None:
    ours, matminers = both(kind)
    fractions = [Composition(fractions_of(one)) for one in some]
    assert_equal(ours.values(some), matminers_values(matminers, fractions))


@given(composition=compositions, order=st.randoms(use_true_random=False))
def test_the_order_of_the_elements_changes_no_bit(composition: dict[str, float], order: Any) -> None:
    shuffled = list(composition.items())
    order.shuffle(shuffled)
    values = magpie().values([composition, dict(shuffled), {"Al": 1.0}])
    assert np.array_equal(values[0], values[1], equal_nan=True)


@given(composition=ordinary, factor=st.floats(1e-9, 1e9))
def test_amounts_count_relative_to_each_other_only(composition: dict[str, float], factor: float) -> None:
    scaled = {symbol: amount * factor for symbol, amount in composition.items()}
    values = magpie().values([composition, scaled])
    assert_equal(values[1:], values[:1])


@pytest.mark.parametrize("symbol", ["H", "Fe", "U"])
def test_one_element_alone_has_no_range_and_no_deviation(symbol: str) -> None:
    built = magpie()
    values = dict(zip(built.names, built.values([{symbol: 0.7}])[0], strict=True))
    spread = [value for name, value in values.items() if " range " in name or " avg_dev " in name]
    assert len(spread) == 44
    assert not any(value for value in spread if not math.isnan(value))
    assert values["MagpieData mean Number"] == values["MagpieData mode Number"] == SYMBOLS.index(symbol) + 1


def test_the_standard_deviation_of_one_element_is_0_even_where_its_property_is_unknown() -> None:
    """Matminer's own rule; the other statistics are NaN."""
    built = fast("ElementProperty", {"data_source": "magpie", "features": ["MeltingT"], "stats": ["std_dev", "mean"]})
    assert built is not None
    assert built.values([{"Og": 1.0}]).tolist() == [[0.0, pytest.approx(math.nan, nan_ok=True)]]


@pytest.mark.parametrize(
    ("amounts", "mode"),
    [
        ({"Cu": 1.0, "Al": 1.0}, 13),
        ({"Cu": 3.0, "Al": 1.0}, 29),
        ({"Cu": 1 / 3, "Fe": 0.3333, "Al": 0.3334}, 13),  # 0.3333 and 0.3334 differ
        ({"Cu": 1 / 3, "Fe": 0.33333333, "Al": 0.333333}, 13),  # the same to within 1 in 100,000
        ({"Al": 0.33333, "Cu": 0.33334, "Fe": 0.33333}, 29),  # and these just are not
        ({"Al": 0.333333, "Cu": 0.333334, "Fe": 0.333333}, 13),
        ({"Al": 0.1 + 0.2, "Cu": 0.3, "O": 0.4 - 0.1}, 8),
        ({"Al": 1e-6, "Cu": 1.0}, 29),
    ],
)
def test_elements_of_nearly_the_same_fraction_tie_in_the_mode_and_the_smallest_value_wins(
    amounts: dict[str, float], mode: int
) -> None:
    assert column("mode Number", amounts) == [mode]
    ours, matminers = both(0)
    for composition in (Composition(amounts), Composition(fractions_of(amounts))):
        assert_equal(ours.values([amounts]), matminers_values(matminers, [composition]))


def test_an_unknown_property_of_a_minor_element_leaves_the_mode_known() -> None:
    amounts = {"He": 1.0, "Al": 3.0}
    assert math.isnan(column("mean MeltingT", amounts)[0])
    assert column("mode MeltingT", amounts) == [933.47]


def test_an_element_that_is_hardly_there_is_not_there() -> None:
    assert column("maximum Number", {"Al": 1.0, "Cu": 9e-9}, {"Al": 1.0, "Cu": 2e-8}) == [13, 29]
    norms = fast("Stoichiometry", {})
    assert norms is not None
    assert norms.values([{"Al": 1e9, "Cu": 1.0}])[0, 0] == 1


def test_no_compositions_have_no_rows() -> None:
    assert magpie().values([]).shape == (0, 132)


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        ({}, r"composition 1 is empty; it needs at least one element"),
        ({"Al": 1.0, "Xx": 1.0}, r"no such element: 'Xx' \(composition 1\)"),
        ({"Al": 1.0, "Cu": 0.0}, r"needs positive, finite amounts, got .*'Cu': 0.0.* \(composition 1\)"),
        ({"Al": -1.0}, r"needs positive, finite amounts"),
        ({"Al": math.nan}, r"needs positive, finite amounts"),
        ({"Al": math.inf, "Cu": 1.0}, r"needs positive, finite amounts"),
    ],
)
def test_what_is_no_composition_is_refused(amounts: dict[str, float], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        magpie().values([{"Al": 1.0, "Cu": 2.0}, amounts, {"Fe": 1.0}])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("OxidationStates", {}),
        ("Miedema", {}),
        ("ElementProperty", {**CUSTOM, "stats": ["mean", "skewness"]}),
        ("ElementProperty", {}),
        ("Stoichiometry", {"num_atoms": True}),
        ("Stoichiometry", {"p_list": None}),
        ("ValenceOrbital", {"props": ["sum"]}),
        ("ElementFraction", {"order": "alphabetical"}),
        ("TMetalFraction", {"metals": ["Fe"]}),
        ("BandCenter", {"scale": 2.0}),
        ("Meredig", {"scale": 2.0}),
    ],
)
def test_what_only_matminer_has_is_left_to_matminer(name: str, options: dict[str, Any]) -> None:
    assert fast(name, options) is None


@pytest.mark.parametrize(
    ("source", "feature", "message"),
    [
        ("magpie", "MeltingTemp", r"'MeltingTemp' of matminer's MagpieData cannot be a feature; name one that it has"),
        ("pymatgen", "melting", r"'melting' of matminer's PymatgenData cannot be a feature; name one that it has"),
        ("magpie", "OxidationStates", r"name one that is a number: its value for Ac is not"),
    ],
)
def test_a_property_that_the_table_does_not_have_is_refused_at_once(source: str, feature: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fast(
            "ElementProperty",
            {"data_source": source, "features": ["X", feature][source == "magpie" :], "stats": ["mean"]},
        )
