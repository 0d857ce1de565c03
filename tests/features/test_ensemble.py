from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.features.eigen import eigenvalues
from mtquant.features.ensemble import EnsembleCompression, ensemble, tree_sum
from mtquant.market.panel import Panel

FLAT = 0.5


def diagonalise(matrix, vector):
    """Eigenvalues in ascending order and the vector's squared components, by our kernel."""
    size = vector.size
    components, values = vector.copy(), np.empty(size)
    eigenvalues(matrix.copy(), components, values, np.empty((3, size)))
    order = np.argsort(values)
    return values[order], components[order] ** 2


def by_numpy(returns, row, size, length):
    """Energy of the stretch that ends at a row, novelty of its window, by their definitions."""

    def density(end):
        windows = [returns[k - size + 1 : k + 1] for k in range(end - length + 1, end + 1)]
        states = [window / np.linalg.norm(window) for window in windows]
        return sum(np.outer(state, state) for state in states) / length

    energy = np.linalg.eigvalsh(density(row))[size // 2 :].sum()
    kept = np.linalg.eigh(density(row - 1))[1][:, size // 2 :]
    window = returns[row - size + 1 : row + 1]
    return energy, 1.0 - ((kept.T @ window / np.linalg.norm(window)) ** 2).sum()


def autoregression(phi, size, seed):
    rng = np.random.default_rng(seed)
    values = np.zeros(size + 100)
    for t in range(1, values.size):
        values[t] = phi * values[t - 1] + rng.standard_normal()
    return values[100:]


def from_returns(bars_of, returns):
    return bars_of(100.0 * np.exp(np.cumsum(np.append(0.0, returns))))


@pytest.mark.nojit
@pytest.mark.parametrize("size", [2, 3, 4, 8, 16])
def test_eigenvalues_and_components_are_those_of_lapack(size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        square = rng.standard_normal((size, size))
        matrix, vector = square + square.T, rng.standard_normal(size)
        values, components = diagonalise(matrix, vector)
        expected, vectors = np.linalg.eigh(matrix)
        np.testing.assert_allclose(values, expected, atol=1e-12 * size)
        np.testing.assert_allclose(components, (vectors.T @ vector) ** 2, atol=1e-9)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((8, 8)),
        np.eye(8),
        np.ones((8, 8)),
        np.diag([3.0, 3.0, 1.0, 0.0, 0.0, 1e-300, 2.0, 1.0]),
        np.outer(np.arange(8.0), np.arange(8.0)) + 1e-13 * np.eye(8),
        np.kron(np.array([[2.0, 1.0], [1.0, 2.0]]), np.eye(4)),
    ],
    ids=["zero", "identity", "ones", "diagonal", "nearly rank one", "repeated"],
)
def test_degenerate_matrices_keep_their_moments(matrix):
    """Eigenvectors are free within a repeated eigenvalue; these sums are not."""
    vector = np.linspace(-1.0, 2.0, 8)
    values, components = diagonalise(matrix, vector)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), atol=1e-12)
    for power in range(3):
        moment = vector @ np.linalg.matrix_power(matrix, power) @ vector
        assert (components * values**power).sum() == pytest.approx(moment, rel=1e-11, abs=1e-11)


@given(length=st.integers(1, 70), rows=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_tree_sums_are_sums_and_know_nothing_of_the_rows_beside_them(length, rows, seed):
    values = np.random.default_rng(seed).standard_normal(length + rows - 1)
    result = np.empty(rows)
    tree_sum(values.copy(), np.empty(values.size), length, result)
    for row in range(rows):
        window, alone = values[row : row + length], np.empty(1)
        tree_sum(window.copy(), np.empty(length), length, alone)
        assert result[row] == alone[0]
        assert result[row] == pytest.approx(math.fsum(window), abs=1e-13 * length)


@pytest.mark.nojit
@pytest.mark.parametrize(("size", "length"), [(4, 9), (8, 20), (16, 33)])
def test_energy_and_novelty_are_those_of_the_density_matrix(size, length):
    returns = 1e-3 * np.random.default_rng(7).standard_normal(size + length + 3)
    energy, novelty = ensemble(returns, size, length)
    assert np.isnan(energy[: size + length - 2]).all()
    assert np.isnan(novelty[: size + length - 1]).all()
    for row in range(size + length - 1, returns.size):
        expected = by_numpy(returns, row, size, length)
        np.testing.assert_allclose([energy[row], novelty[row]], expected, atol=1e-9)


@pytest.mark.parametrize(("phi", "expected"), [(0.0, 0.58), (0.3, 0.66), (0.6, 0.80), (0.9, 0.94)])
def test_energy_of_autoregressions(phi, expected):
    """Published values for 8 of 16 directions; a half is the limit of white noise."""
    found = [ensemble(autoregression(phi, 256, seed), 16, 241)[0][-1] for seed in range(80)]
    assert np.mean(found) == pytest.approx(expected, abs=0.03)


def test_a_window_is_held_against_the_stretch_before_it(bars_of):
    """After a steady climb (1, 1, 1, 1) / 2 the window (1, 1, 1, -1) / 2 overlaps by a quarter."""
    feature = EnsembleCompression(qubits=2, length=8)
    panel = Panel([from_returns(bars_of, np.append(np.full(30, 0.01), -0.01))])
    energy, novelty = feature.compute(panel, {})[:, 0].T
    np.testing.assert_allclose([energy[-2], novelty[-2]], [1.0, 0.0], atol=1e-9)
    assert novelty[-1] == pytest.approx(0.75, abs=1e-9)
    assert energy[-1] == pytest.approx(1.0, abs=1e-9), "two directions, both kept"


def test_novelty_rises_where_the_market_changes_and_falls_when_it_is_known():
    calm, turned = autoregression(0.95, 600, 3), autoregression(-0.95, 600, 4)
    _, novelty = ensemble(np.append(calm, turned), 8, 249)
    assert novelty[300:600].mean() < 0.1
    assert novelty[604:612].mean() > 0.5
    assert novelty[900:].mean() < 0.1


def test_nothing_moves(bars_of):
    feature = EnsembleCompression(qubits=2, length=8)
    flat = feature.compute(Panel([bars_of(np.full(40, 7.0))]), {})[feature.lookback - 1 :, 0]
    np.testing.assert_array_equal(flat, FLAT)
    rng = np.random.default_rng(0)
    returns = np.concatenate([0.01 * rng.standard_normal(30), np.zeros(20), [0.01]])
    energy, novelty = feature.compute(Panel([from_returns(bars_of, returns)]), {})[:, 0].T
    assert novelty[30 + 4] == 1.0 - energy[30 + 3], "a still window is as new as the average one"
    assert energy[50] == novelty[50] == FLAT
    assert novelty[51] == FLAT, "nothing was known"
    assert energy[51] == 1.0


def test_scale_and_sign_do_not_matter():
    returns = np.random.default_rng(5).standard_normal(80)
    for factor in (-1.0, 2.0**-20, 1024.0):
        np.testing.assert_array_equal(ensemble(returns, 8, 40), ensemble(factor * returns, 8, 40))


@pytest.mark.parametrize("qubits", [2, 3, 4])
def test_a_live_row_has_the_bits_of_the_whole_history(walk, bars_of, qubits):
    feature = EnsembleCompression(qubits=qubits, length=50)
    close = walk(1200).close.copy()
    close[300:420] = close[300]
    bars = bars_of(close)
    whole = feature.compute(Panel([bars]), {})
    warm = feature.lookback
    assert np.isnan(whole[: warm - 1]).all() and np.isfinite(whole[warm - 1 :]).all()
    for end in (warm, warm + 1, 310, 365, 400, 425, 511, 512, 513, 600, 1200):
        live = feature.compute(Panel([bars[end - warm : end]]), {}, last=1)
        np.testing.assert_array_equal(live[-1], whole[end - 1])
