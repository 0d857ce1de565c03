from __future__ import annotations

import math
import warnings
import zlib
from functools import reduce

import numpy as np
import pytest

from mtquant.features.circuit import fidelities, gram_of_turn, ring, rotate
from mtquant.features.compression import (
    CompressionRegime,
    ZlibRatio,
    gate_finding,
    label_shares,
    noise_fidelity,
)
from mtquant.market.panel import Panel

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "matplotlib not found")  # it draws nothing here
    import qutip

SEED = CompressionRegime(**CompressionRegime.presets["seed"])
FEATURES = [CompressionRegime(), SEED, ZlibRatio(), ZlibRatio(numbers="returns", needed=3.5)]


def from_returns(bars_of, returns):
    return bars_of(100.0 * np.exp(np.cumsum(np.append(0.0, returns))))


def states(count, qubits, seed=0):
    drawn = np.random.default_rng(seed).standard_normal((count, 2**qubits))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def rotation(angle):
    return (-0.5j * angle * qutip.sigmay()).expm()


def cnot(qubits, control, target):
    """``|0><0| 1 + |1><1| X``, from its definition."""
    off, on = [qutip.qeye(2)] * qubits, [qutip.qeye(2)] * qubits
    off[control] = qutip.basis(2, 0).proj()
    on[control], on[target] = qutip.basis(2, 1).proj(), qutip.sigmax()
    return qutip.tensor(off) + qutip.tensor(on)


def cnot_ring(qubits):
    gates = [cnot(qubits, k, (k + 1) % qubits) for k in range(qubits)]
    return reduce(lambda done, gate: gate * done, gates)


def qutip_state(state):
    qubits = state.size.bit_length() - 1
    return qutip.Qobj(state, dims=[[2] * qubits, [1] * qubits])


class Dense:
    """The encoder as plain matrices: RY on every qubit, then ring and RY once more or not."""

    def __init__(self, qubits, layers):
        self.ring = cnot_ring(qubits).full().real
        self.shape = (layers, qubits)

    def fidelity(self, state, angles):
        for layer, turns in enumerate(angles):
            state = self.ring @ state if layer else state
            state = reduce(np.kron, [self.turn(angle) for angle in turns]) @ state
        return (state[::2] ** 2).sum()

    @staticmethod
    def turn(angle):
        c, s = np.cos(angle / 2), np.sin(angle / 2)
        return np.array([[c, -s], [s, c]])

    def best(self, state, rng, starts, passes):
        """Best of random starts; each angle in turn to the top of the sine through three points."""
        found = 0.0
        for _ in range(starts):
            angles = rng.uniform(-np.pi, np.pi, self.shape)
            for _ in range(passes):
                for place in np.ndindex(self.shape):
                    heights = []
                    for angle in (0.0, np.pi / 2, -np.pi / 2):
                        angles[place] = angle
                        heights.append(self.fidelity(state, angles))
                    middle = (heights[1] + heights[2]) / 2
                    angles[place] = np.arctan2((heights[1] - heights[2]) / 2, heights[0] - middle)
            found = max(found, self.fidelity(state, angles))
        return found


@pytest.mark.parametrize("qubits", [2, 3, 4])
def test_rotations_and_ring_are_those_of_qutip(qubits):
    state = states(1, qubits)[0]
    angles = np.linspace(-2.0, 2.5, qubits)
    expected = qutip.tensor([rotation(angle) for angle in angles]) * qutip_state(state)
    for qubit, angle in enumerate(angles):
        rotate(state, 2 ** (qubits - 1 - qubit), angle)
    np.testing.assert_allclose(state, expected.full()[:, 0], atol=1e-14)
    entangled = (cnot_ring(qubits) * expected).full()[:, 0]
    np.testing.assert_allclose(state[ring(qubits)], entangled, atol=1e-14)


def test_trash_qubit_has_the_fidelity_of_qutip():
    """After two layers, for any angles; qutip's fidelity is the unsquared one."""
    state, angles, trash = states(1, 4)[0], (0.3, -1.2, 2.0, 0.9), 0.7
    layer = qutip.tensor([rotation(angle) for angle in angles])
    last = qutip.tensor([qutip.qeye(2)] * 3 + [rotation(trash)])
    final = last * cnot_ring(4) * layer * qutip_state(state)
    expected = qutip.fidelity(final.ptrace(3), qutip.basis(2, 0).proj())
    for qubit, angle in enumerate(angles):
        rotate(state, 8 >> qubit, angle)
    here, _, _ = gram_of_turn(state, ring(4), 1, trash)
    assert math.sqrt(here) == pytest.approx(expected, abs=1e-7)


@pytest.mark.nojit
@pytest.mark.parametrize("qubits", [2, 3, 4, 5])
def test_closed_form_is_the_best_that_one_layer_can_do(qubits):
    circuit, rng = Dense(qubits, layers=1), np.random.default_rng(1)
    for state in states(8, qubits):
        best = circuit.best(state, rng, starts=2, passes=2)
        assert fidelities(state, qubits, 1)[-1] == pytest.approx(best, abs=1e-9)


def test_two_layers_are_searched_to_the_best_that_an_independent_search_finds():
    circuit, rng = Dense(4, layers=2), np.random.default_rng(2)
    for state in states(3, 4, seed=11):
        best = circuit.best(state, rng, starts=5, passes=12)
        assert best - 2e-3 < fidelities(state, 4, 2)[-1] <= 1.0


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ((1.0, 2.0, 3.0, 4.0), (1 + math.sqrt((10 - 20) ** 2 + 4 * 14**2) / 30) / 2),
        ((1.0, -2.0, 3.0, -6.0), 1.0),
        ((5.0, 0.0, 0.0, 0.0), 1.0),
        ((1.0, 0.0, 0.0, 1.0), 0.5),
        ((0.0, 0.0, 0.0, 0.0), 0.5),
    ],
    ids=["by hand", "odd is a multiple of even", "one jump", "Bell state", "flat"],
)
def test_closed_form_by_hand(window, expected):
    result = fidelities(np.array(window), 2, 1)
    assert np.isnan(result[:3]).all()
    assert result[3] == pytest.approx(expected, abs=1e-15)


@pytest.mark.nojit
def test_path_is_the_price_since_the_window_began():
    steps = np.array([9.0, 1.0, 1.0, 1.0, 1.0])
    path = fidelities(np.array([1.0, 2.0, 3.0, 4.0]), 2, 1)[-1]
    assert fidelities(steps, 2, 1, path=True)[-1] == path


@pytest.mark.parametrize("window", [8, 16])
@pytest.mark.parametrize("share", [0.2, 1 / 3, 0.8])
def test_noise_exceeds_its_fidelity_as_often_as_it_should(window, share):
    drawn = np.random.default_rng(4).standard_normal(40_000)
    fidelity = fidelities(drawn, window.bit_length() - 1, 1)[window - 1 :]
    assert np.mean(fidelity > noise_fidelity(window, share)) == pytest.approx(share, abs=0.015)


def test_labels_follow_the_thresholds_and_confidence_the_distance(bars_of):
    """Windows of 4, by hand: (1, 2, 3, 4) and (2, 1, 0, 1), and (4, 3, -3, 4) at right angles."""
    returns = 0.01 * np.array([1.0, 2.0, 3.0, 4.0, 3.0, -3.0, 4.0, 2.0, 1.0, 0.0, 1.0])
    feature = CompressionRegime(window=4, clean=0.9, volatile=0.6)
    table = feature.compute(Panel([from_returns(bars_of, returns)]), {})[[4, 7, 11], 0]
    clean = (1 + math.sqrt((10 - 20) ** 2 + 4 * 14**2) / 30) / 2
    volatile = (1 + math.sqrt((4 - 2) ** 2 + 4 * 2**2) / 6) / 2
    confidence = 0.95 * (clean - 0.9) / 0.1
    expected = [[clean, 1, 0, 0, 1, confidence], [0.5, 0, 0, 1, 0, 0], [volatile, 0, 1, 0, 0, 0]]
    np.testing.assert_allclose(table, expected, atol=1e-7)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("numbers", ["returns", "path"])
def test_fitted_thresholds_give_each_label_its_share(walk, layers, numbers):
    feature = CompressionRegime(layers=layers, numbers=numbers, clean_share=0.2, choppy_share=0.5)
    bars = walk(1500)
    shares = label_shares(feature, bars, feature.learn(bars))
    assert shares == {
        "regime_clean": pytest.approx(0.2, abs=0.01),
        "regime_volatile": pytest.approx(0.3, abs=0.01),
        "regime_choppy": pytest.approx(0.5, abs=0.01),
        "trade_allowed": pytest.approx(0.2, abs=0.01),
    }
    assert gate_finding(feature, bars, feature.learn(bars)) is None


def test_with_nothing_learnt_noise_has_the_shares_too(walk):
    feature, bars = CompressionRegime(), walk(8000)
    assert feature.learn(bars[:16]) == {}
    assert label_shares(feature, bars, {}) == {
        label: pytest.approx(1 / 3, abs=0.03) for label in feature.labels
    }


def test_still_windows_are_choppy_and_teach_nothing(walk, bars_of):
    feature, flat = CompressionRegime(), bars_of(np.full(60, 3.0))
    assert feature.learn(flat) == {}
    half = bars_of(np.append(np.full(900, 2000.0), walk(600).close))
    learnt = feature.learn(half)
    assert learnt["volatile"] > 0.6
    for params in ({}, learnt, {"clean": 0.5, "volatile": 0.5}):
        last = feature.compute(Panel([flat]), {"XAUUSD": params})[-1, 0]
        np.testing.assert_array_equal(last, [0.5, 0, 0, 1, 0, 0])


def test_every_row_has_exactly_one_label(walk):
    table = CompressionRegime().compute(Panel([walk(500)]), {})[16:, 0]
    np.testing.assert_array_equal(table[:, 1:4].sum(axis=1), 1.0)
    np.testing.assert_array_equal(table[:, 4], table[:, 1])
    assert ((table[:, 5] > 0) <= (table[:, 1] == 1)).all()


def test_gate_of_the_documents_never_closes(walk):
    """Two layers fit a random walk almost perfectly: median 0.993, and 0.95 is CLEAN."""
    bars = walk(1500)
    fidelity = SEED.compute(Panel([bars]), {})[16:, 0, 0]
    assert 0.99 < np.median(fidelity) < 0.996
    assert SEED.learn(bars) == {}
    finding = gate_finding(SEED, bars, {})
    assert finding is not None
    assert finding.startswith("the gate 'trade_allowed' of 'compression' hardly ever closes: open")


def test_two_layers_leave_no_information_in_returns_either(walk):
    feature = CompressionRegime(layers=2, squared=False)
    fidelity = feature.compute(Panel([walk(1500)]), {})[16:, 0, 0]
    assert np.median(fidelity) > 0.98


def test_zlib_gate_of_the_documents_never_opens(walk):
    feature = ZlibRatio(**ZlibRatio.presets["seed"])
    bars = walk(1500, volatility=1e-4)
    ratio, allowed = feature.compute(Panel([bars]), {})[63:, 0].T
    assert 1.05 < np.median(ratio) < ratio.max() < 1.4
    assert not allowed.any()
    assert np.ptp(ZlibRatio(numbers="returns").on_bars(bars, {})[0][64:]) < 0.02
    finding = gate_finding(feature, bars, {})
    assert finding is not None and "'zlib_allowed' of 'zlib_ratio' hardly ever opens" in finding


def test_zlib_ratio_is_bytes_before_over_bytes_after(bars_of):
    bars = bars_of(np.append(np.full(20, 5.0), [6.0, 7.0]))
    ratio = ZlibRatio(window=10).compute(Panel([bars]), {})[:, 0, 0]
    content = np.append(np.full(8, 5.0), [6.0, 7.0]).astype(np.float32).tobytes()
    assert np.isnan(ratio[:9]).all()
    assert ratio[-1] == 40 / len(zlib.compress(content))
    assert ratio[9] == ratio[19] == 40 / len(zlib.compress(np.full(10, 5, np.float32).tobytes()))


def test_zlib_opens_its_gate_to_a_market_that_stands_still_and_survives_any_price(bars_of):
    feature = ZlibRatio(needed=3.5)
    for price in (1e-5, 1.0, 1e300):
        ratio, allowed = feature.compute(Panel([bars_of(np.full(70, price))]), {})[-1, 0]
        assert 3.5 < ratio <= feature.columns[0].high
        assert allowed == 1.0


def test_without_a_gate_or_bars_there_is_nothing_to_find(walk):
    assert gate_finding(ZlibRatio(), walk(100), {}) is None
    assert label_shares(CompressionRegime(), walk(16), {}) == {}


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.key)
def test_a_live_row_has_the_bits_of_the_whole_history(walk, bars_of, feature):
    close = walk(400).close.copy()
    close[150:250] = close[150]
    bars, need = bars_of(close), feature.lookback
    params = {"XAUUSD": feature.learn(bars)}
    whole = feature.compute(Panel([bars]), params)
    assert np.isnan(whole[: need - 1]).all() and np.isfinite(whole[need - 1 :]).all()
    for end in (need, need + 1, 155, 160, 200, 251, 255, 399, 400):
        live = feature.compute(Panel([bars[end - need : end]]), params, last=1)
        np.testing.assert_array_equal(live[-1], whole[end - 1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clean": 0.9}, "both of the thresholds"),
        ({"clean": 0.7, "volatile": 0.8}, "clean 0.7 must not be below volatile 0.8"),
        ({"clean_share": 0.7, "choppy_share": 0.4}, "exceed 1"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CompressionRegime(**wrong)
