"""Magnetization and band gap from pw.x's XML file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_learning.domain.label import FailureKind
from active_learning.labelers.crystal_jobs import NoResult
from active_learning.labelers.espresso_bands import Electrons, band_gap, bands_needed, read_electrons

DATA = Path(__file__).parents[1] / "data" / "espresso"


def energy(case: str) -> float:
    return float(re.findall(r"(?m)^! .*= +(\S+) Ry", (DATA / f"{case}.pwo").read_text())[-1])


def electrons(case: str) -> Electrons:
    return read_electrons(DATA / f"{case}.xml", energy(case))


def test_the_gap_of_an_insulator_is_the_one_between_the_levels_that_pw_x_prints() -> None:
    levels = re.search(
        r"highest occupied, lowest unoccupied level.*: +(\S+) +(\S+)", (DATA / "insulator.pwo").read_text()
    )
    assert levels
    assert band_gap(electrons("insulator")) == pytest.approx(float(levels[2]) - float(levels[1]), abs=2e-4)
    assert band_gap(electrons("insulator")) > 0.3


def test_metals_and_magnets_have_no_gap() -> None:
    assert band_gap(electrons("metal")) == 0.0
    assert band_gap(electrons("magnet")) == 0.0


def test_bands_and_magnetization_are_those_that_pw_x_prints() -> None:
    found, text = electrons("magnet"), (DATA / "magnet.pwo").read_text()
    assert [channel.shape for channel in found.channels] == [(4, 10), (4, 10)]
    total = re.findall(r"total magnetization +=\s+(\S+)", text)[-1]
    assert found.magnetization == pytest.approx(float(total), abs=0.006)
    assert found.n_electrons == 10.0
    for channel, heading in zip(found.channels, ("SPIN UP", "SPIN DOWN"), strict=True):
        printed = text[text.rindex(heading) :]
        first = re.search(r"bands \(ev\):\s+([-\d. ]+)\n", printed)
        assert first
        assert np.allclose(channel[0, :8], [float(word) for word in first[1].split()], atol=1e-4)


def bands(*channels: list[list[float]], n_electrons: float, top: float = 0.0) -> Electrons:
    return Electrons(n_electrons, tuple(np.array(channel) for channel in channels), top, 0.0)


def test_the_gap_may_be_indirect() -> None:
    assert band_gap(bands([[-1.0, 0.0, 3.0], [-2.0, -1.0, 1.5]], n_electrons=4)) == 1.5


def test_bands_that_overlap_make_a_metal_though_each_k_point_has_a_gap() -> None:
    assert band_gap(bands([[-1.0, 0.0, 3.0], [-3.0, -2.0, -0.5]], n_electrons=4)) == 0.0


def test_an_odd_number_of_electrons_without_spin_makes_a_metal() -> None:
    assert band_gap(bands([[-1.0, 0.0, 3.0]], n_electrons=3)) == 0.0
    assert band_gap(bands([[-1.0, 0.0, 3.0]], n_electrons=3.98)) == 0.0


def test_a_magnetic_insulator_has_a_gap_between_the_spins() -> None:
    up, down = [[-2.0, -1.0, 4.0], [-2.2, -1.2, 4.1]], [[1.0, 2.0, 3.0], [0.7, 2.0, 3.0]]
    assert band_gap(bands(up, down, n_electrons=2)) == pytest.approx(1.7)


def test_a_half_metal_has_no_gap() -> None:
    up, down = [[-2.0, -1.0, 4.0], [-2.2, 2.5, 4.1]], [[-3.0, 2.0, 3.0], [-3.0, 2.0, 3.0]]
    assert band_gap(bands(up, down, n_electrons=3)) == 0.0


def test_bands_that_are_all_occupied_give_no_gap_but_a_failure() -> None:
    with pytest.raises(NoResult, match=r"no band gap: the highest of 2 bands is occupied; compute more") as caught:
        band_gap(bands([[-1.0, 0.0]], n_electrons=4, top=0.2))
    assert caught.value.kind is FailureKind.UNPARSABLE
    with pytest.raises(NoResult, match=r"no band gap: the highest of 2 bands is occupied"):
        band_gap(bands([[-1.0, 0.0]], n_electrons=4))


@given(st.data())
def test_the_gap_of_any_insulator_is_found_and_no_other(data: st.DataObject) -> None:
    n_channels, n_k = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 4))
    gap = data.draw(st.floats(0.01, 8.0))
    level, channels, filled = data.draw(st.floats(-5.0, 5.0)), [], []
    for _ in range(n_channels):
        n = data.draw(st.integers(1, 4))
        low = data.draw(st.lists(st.floats(0, 6), min_size=n_k * n, max_size=n_k * n))
        high = data.draw(st.lists(st.floats(0, 6), min_size=n_k * 3, max_size=n_k * 3))
        # The highest filled and the lowest empty state, somewhere in the mesh.
        low[data.draw(st.integers(0, len(low) - 1))] = high[data.draw(st.integers(0, len(high) - 1))] = 0.0
        below, above = level - np.array(low).reshape(n_k, n), level + gap + np.array(high).reshape(n_k, 3)
        channels.append(np.sort(np.hstack([below, above]), axis=1))
        filled.append(n)
    total = 2.0 * filled[0] if n_channels == 1 else float(sum(filled))
    assert band_gap(Electrons(total, tuple(channels), 0.0, 0.0)) == pytest.approx(gap)


@given(st.integers(1, 400), st.floats(-50, 50))
def test_some_bands_are_always_empty(n_electrons: int, magnetization: float) -> None:
    n_bands = bands_needed(n_electrons, magnetization)
    assert n_bands >= (n_electrons + abs(magnetization)) / 2 + 4
    assert n_bands >= 1.2 * n_electrons / 2


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        (r"<etot>-7", "<etot>-8", "its energy is -17"),
        (r"<etot>.*?</etot>", "", "no finite total_energy/etot"),
        (r"<output>.*</output>", "", "it has no output"),
        (r"</output>", "", "mismatched tag"),
        (r"<band_structure>.*</band_structure>", "", "no band_structure"),
        (r"<nelec>.*?</nelec>", "<nelec>NaN</nelec>", "no finite nelec"),
        (r"<ks_energies>.*</ks_energies>", "", "not as many finite eigenvalues"),
        (r"(<eigenvalues size=\"8\">\s+)\S+", r"\1 *******", "could not convert"),
        (r"(<eigenvalues size=\"8\">\s+)\S+", r"\1 NaN", "not as many finite eigenvalues"),
        (r"(<eigenvalues size=\"8\">\s+)\S+", r"\1", "not as many finite eigenvalues"),
        (r"<occupations size.*?</occupations>", "", "not as many finite occupations"),
    ],
)
def test_a_file_that_is_not_whole_is_unparsable(pattern: str, replacement: str, complaint: str, tmp_path: Path) -> None:
    text, n_changed = re.subn(pattern, replacement, (DATA / "insulator.xml").read_text(), flags=re.DOTALL, count=1)
    assert n_changed
    (tmp_path / "pwscf.xml").write_text(text)
    with pytest.raises(NoResult, match=f"the XML file of pw.x cannot be used: .*{complaint}") as caught:
        read_electrons(tmp_path / "pwscf.xml", energy("insulator"))
    assert caught.value.kind is FailureKind.UNPARSABLE


def test_a_file_that_is_missing_is_unparsable(tmp_path: Path) -> None:
    with pytest.raises(NoResult, match=r"cannot be used: .*No such file"):
        read_electrons(tmp_path / "pwscf.xml", -1.0)


def test_the_file_of_another_run_is_refused() -> None:
    with pytest.raises(NoResult, match=r"its energy is -15\.\d+ Ry, printed was -15\.6000"):
        read_electrons(DATA / "insulator.xml", -15.6)
