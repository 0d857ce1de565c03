from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.quantum import QuantumState
from mtquant.market.panel import Panel

NORMAL_QUARTILE = 0.674489750196082


def rows(feature, bars):
    """The warm rows of the feature's columns, ``[rows, 7]``."""
    return feature.compute(Panel([bars]), {})[feature.lookback - 1 :, 0]


def last(feature, bars):
    return dict(zip(feature.names, rows(feature, bars)[-1], strict=True))


def closes(returns, start=100.0):
    return start * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))


def independent(returns):
    """The seven measures of one window by numpy, another way round."""
    edge = NORMAL_QUARTILE * np.sqrt(np.mean(returns**2))
    cells = np.digitize(returns, [-edge, 0.0, edge])
    p = np.histogram2d(cells[:-1], cells[1:], bins=np.arange(5) - 0.5)[0] / (returns.size - 1)
    weights = np.linalg.svd(np.sqrt(p), compute_uv=False) ** 2
    angle = np.angle(returns[:-1] + 1j * returns[1:])
    some, weight = p[p > 0.0], weights[weights > 1e-14]
    number = np.arange(16)
    mean = np.sum(p.ravel() * number)
    return [
        -np.sum(some * np.log2(some)) / 4.0,
        p.max(),
        (1.0 - np.sum(p**2)) / (1.0 - 1.0 / 16.0),
        np.abs(np.mean(np.exp(1j * (angle[2:] - angle[:-2])))),
        -np.sum(weight * np.log2(weight)) / 2.0,
        np.sum(p.ravel() * (number - mean) ** 2) / np.var([0, 15]),
        np.sum(p >= 1.0 / 16.0),
    ]


@pytest.mark.nojit
def test_up_and_down_in_turn_is_an_entangled_pair(bars_of):
    bars = bars_of(closes([0.01, -0.01, 0.01, -0.01, 0.01]))
    # (outermost up, outermost down) and its mirror, states 12 and 3, half each: a Bell state of
    # one of the two pairs of qubits, one bit of the two that there could be.
    expected = {
        "quantum_entropy": 0.25,
        "dominant_state_prob": 0.5,
        "superposition_measure": 0.5 * 16 / 15,
        "phase_coherence": 1.0,
        "entanglement_degree": 0.5,
        "quantum_variance": (4.5 / 7.5) ** 2,
        "num_significant_states": 2.0,
    }
    assert last(QuantumState(window=5), bars) == pytest.approx(expected, abs=1e-12)


@pytest.mark.nojit
def test_a_market_at_rest_is_one_state(bars_of):
    expected = {
        "quantum_entropy": 0.0,
        "dominant_state_prob": 1.0,
        "superposition_measure": 0.0,
        "phase_coherence": 0.0,
        "entanglement_degree": 0.0,
        "quantum_variance": 0.0,
        "num_significant_states": 1.0,
    }
    assert last(QuantumState(), bars_of(np.full(40, 1.1))) == expected


def test_a_product_of_past_and_present_is_not_entangled(bars_of):
    # Cells whose 16 pairs, read around a ring, come once each: a de Bruijn sequence.
    ring = [0, 0, 1, 0, 2, 0, 3, 1, 1, 2, 1, 3, 2, 2, 3, 3, 0]
    returns = np.array([-0.02, -0.001, 0.001, 0.02])[ring]
    row = last(QuantumState(window=17), bars_of(closes(returns)))
    assert row["entanglement_degree"] == pytest.approx(0.0, abs=1e-12)
    assert row["quantum_entropy"] == pytest.approx(1.0)
    assert row["superposition_measure"] == pytest.approx(1.0)
    assert row["dominant_state_prob"] == 1 / 16
    assert row["num_significant_states"] == 16
    assert row["quantum_variance"] == pytest.approx(np.var(np.arange(16)) / 7.5**2)


@pytest.mark.parametrize("window", [4, 7, 30, 64])
def test_every_row_equals_numpy_by_another_way(walk, window):
    bars = walk(160, seed=5)
    result = rows(QuantumState(window=window), bars)
    returns = np.log(bars.close[1:] / bars.close[:-1])
    windows = np.lib.stride_tricks.sliding_window_view(returns, window)
    np.testing.assert_allclose(result, [independent(w) for w in windows], rtol=1e-11, atol=1e-12)


def test_independent_normal_returns_fill_the_states_evenly(walk):
    row = last(QuantumState(window=2000), walk(2001, seed=3))
    assert row["quantum_entropy"] > 0.995
    assert row["entanglement_degree"] < 0.01
    assert row["phase_coherence"] < 0.06
    assert row["quantum_variance"] == pytest.approx(np.var(np.arange(16)) / 7.5**2, rel=0.05)


def test_a_cycle_turns_steadily_and_depends_on_its_past(bars_of):
    returns = 0.01 * np.sin(2 * np.pi * np.arange(60) / 8 + 0.3)
    row = last(QuantumState(), bars_of(closes(returns)))
    assert row["phase_coherence"] > 0.8
    assert row["entanglement_degree"] > 0.6


def test_neither_the_price_level_nor_the_volatility_matters(walk):
    quiet = rows(QuantumState(), walk(300, seed=1, price=1e-4, volatility=1e-4))
    wild = rows(QuantumState(), walk(300, seed=1, price=1e5, volatility=0.03))
    np.testing.assert_allclose(quiet, wild, rtol=1e-9)


@pytest.mark.nojit
def test_seed_formulas_by_hand(bars_of):
    feature = QuantumState(window=4, formula="seed")
    # 1, 2, 3, 5: cells of 1/4, four with the density (1/4) / (1/4) = 1. Neighbours (1, 2, 3) and
    # (2, 3, 5) less their means: (-1, 0, 1) and (-4, -1, 5) / 3.
    coherence = abs(np.exp(1j) + np.exp(2j) + np.exp(3j) + np.exp(5j)) / 4
    spread = [0.0, 1.0, 0.0, coherence, 3 / np.sqrt(2 * 42 / 9), 0.25 - 0.0625, 4.0]
    # 1, 1, 1, 2: cells of 1/16, densities 12 and 4; one of the neighbours' series is constant.
    coherence = abs(3 * np.exp(1j) + np.exp(2j)) / 4
    entropy = -(12 * np.log2(12) + 4 * 2)
    narrow = [entropy, 12.0, -11.0, coherence, 0.0, (144 + 16) / 16 - 1.0, 2.0]
    # Constant: 1 wide, all in one cell of the density 16.
    constant = [-64.0, 16.0, -15.0, 1.0, 0.0, 16.0 - 1.0, 1.0]
    for prices, expected in (
        ([1.0, 2.0, 3.0, 5.0], spread),
        ([1.0, 1.0, 1.0, 2.0], narrow),
        ([7.0, 7.0, 7.0, 7.0], constant),
    ):
        row = rows(feature, bars_of(prices))
        np.testing.assert_allclose(row, [expected], rtol=1e-10, atol=1e-10)


def edges_and_their_neighbours(low, high):
    """Prices on the edges of a window's cells and one rounding step below them."""
    edges = np.linspace(low, high, 17)
    return np.concatenate([edges[[0, 16]], edges[1:15], np.nextafter(edges[1:15], 0.0)])


@pytest.mark.parametrize(
    "close",
    [
        lambda walk: walk(400, seed=9).close,
        lambda walk: np.round(walk(400, seed=9, price=20.0).close / 0.1) * 0.1,
        lambda walk: edges_and_their_neighbours(3.0, 3.7),
        lambda walk: edges_and_their_neighbours(0.7, 33.3),
    ],
    ids=["walk", "ticks", "rounded down", "rounded up"],
)
def test_seed_densities_are_those_of_numpy(walk, bars_of, close):
    prices = close(walk)
    result = rows(QuantumState(formula="seed"), bars_of(prices))
    windows = np.lib.stride_tricks.sliding_window_view(prices, 30)
    for row, window in zip(result, windows, strict=True):
        p = np.histogram(window, bins=16, density=True)[0]
        expected = [-np.sum(p * np.log2(p + 1e-12)), p.max(), np.var(p), np.sum(p > 0.03)]
        np.testing.assert_allclose(row[[0, 1, 5, 6]], expected, rtol=1e-9, atol=1e-9)
        correlation = np.corrcoef(window[:-1], window[1:])[0, 1]
        assert row[4] == pytest.approx(abs(correlation), abs=1e-9)


def test_seed_is_finite_where_numpy_refuses_the_bins(bars_of):
    price = 1e6
    close = np.where(np.arange(60) % 2, np.nextafter(price, np.inf), price)
    with pytest.raises(ValueError, match="Too many bins"):
        np.histogram(close, bins=16, density=True)
    assert np.isfinite(rows(QuantumState(formula="seed"), bars_of(close))).all()


@pytest.mark.parametrize("feature", [QuantumState(), QuantumState(formula="seed")])
def test_a_window_alone_gives_the_bits_of_the_whole_history(walk, feature):
    bars = walk(300, seed=2)
    whole = feature.compute(Panel([bars]), {})[:, 0]
    assert np.isnan(whole[: feature.lookback - 1]).all()
    for row in range(feature.lookback - 1, 300, 17):
        alone = feature.compute(Panel([bars[row - feature.lookback + 1 : row + 1]]), {}, last=1)
        np.testing.assert_array_equal(alone[0, 0], whole[row])


def test_the_window_and_the_seed_preset_of_the_documents():
    assert QuantumState().lookback == 31
    seed = QuantumState(**QuantumState.presets["seed"])
    assert seed.formula == "seed"
    assert seed.lookback == 30
    assert seed.names == QuantumState().names


def test_a_formula_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="formula"):
        QuantumState(formula="sead")
