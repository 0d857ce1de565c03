"""A window of returns as a quantum state: how spread, how steady in phase, how entangled.

Four qubits name sixteen states: two hold the quarter of the normal law in which one return fell,
two that of the return before it. The bipartition into these pairs of qubits sets the present
against the past; where they are independent the state is a product, and its entanglement zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.returns import log_return
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float

STATES = 16

#: Quartile of the standard normal law.
QUARTILE = 0.6744897501960817

#: Density above which a state is significant to the seed formulas.
SEED_SIGNIFICANT = 0.03

#: Jacobi sweeps; the fourth of a 4 x 4 matrix already leaves rounding only.
_SWEEPS = 5


@dataclass(frozen=True, config=PARAMETERS)
class QuantumState(SymbolFeature):
    """Seven measures of how pairs of neighbouring returns spread over 16 states.

    The naive recipe takes ``np.histogram(prices, 16, density=True)`` for probabilities: densities,
    which depend on the price's unit and do not sum to 1, so its entropy, "probability" and
    "superposition" have no bounds, and the order of the prices is lost. Here a bar's state is the
    pair (previous return, return), each in one of four cells that a normal law of the window's own
    mean square fills equally; p is the share of the window's pairs in each state and sqrt(p) the
    amplitude. All columns are free of scale and bounded.

    ``formula: seed`` keeps the naive formulas on the window's closes x with the densities p (a
    constant window is 1 wide, as in numpy): entropy -sum p log2(p + 1e-12), dominant max p,
    superposition 1 - max p, coherence |mean exp(i x)|, entanglement |correlation of neighbours|,
    variance var(p), significant states: number of p > 0.03.

    Formula:
        quantum_entropy = -sum p log2 p / 4; dominant_state_prob = max p
        superposition_measure = (1 - sum p^2) * 16 / 15
        phase_coherence = |mean exp(i (a[t] - a[t - 2]))|, a = angle of (previous return, return)
        entanglement_degree = -sum w log2 w / 2, w = squared singular values of sqrt(p) as 4 x 4
        quantum_variance = variance of 4 * previous cell + cell, over 7.5^2
        num_significant_states = number of states with p >= 1/16
    Source:
        Nielsen and Chuang (2000), Quantum Computation and Quantum Information, 2.5 and 11.3: the
        Schmidt decomposition and entropy; mtquant (the states, the angles, the normalisation).
    Weakness:
        29 pairs fill 16 states thinly. Independent normal returns give, as mean and deviation over
        windows: entropy 0.90 and 0.04, superposition 0.97 and 0.01, coherence 0.20 and 0.11,
        entanglement 0.32 and 0.11. Entropy, dominance and superposition nearly repeat each other;
        an autocorrelation of 0.3 or -0.3 moves any column by 0.7 deviations at most, and none sees
        volatility, which the scaling removes. Markets on a coarse tick have fewer states.

    Attributes:
        window: Log returns in the window; closes with ``seed``.
        formula: ``proper``, or ``seed`` for the naive formulas.
    """

    key: ClassVar[str] = "quantum_state"
    group: ClassVar[str] = "quantum"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"seed": {"formula": "seed"}}

    window: Annotated[int, Field(ge=4, le=2000)] = 30
    formula: Literal["proper", "seed"] = "proper"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The seven measures; those of the naive recipe have few bounds."""
        inf = np.inf
        bounds = {
            "quantum_entropy": ("spread over the states", (0.0, 1.0), (-inf, inf)),
            "dominant_state_prob": ("share of the commonest state", (1 / STATES, 1.0), (0.0, inf)),
            "superposition_measure": ("how far from one state", (0.0, 1.0), (-inf, 1.0)),
            "phase_coherence": ("steadiness of the turning", (0.0, 1.0), (0.0, 1.0)),
            "entanglement_degree": ("dependence on the bar before", (0.0, 1.0), (0.0, 1.0)),
            "quantum_variance": ("variance of the state's number", (0.0, 1.0), (0.0, inf)),
            "num_significant_states": ("states above 1/16", (1.0, STATES), (0.0, STATES)),
        }
        seed = self.formula == "seed"
        return tuple(Column(name, meaning, *b[seed]) for name, (meaning, *b) in bounds.items())

    @property
    def lookback(self) -> int:
        """The window's returns and the close before the first; ``seed`` reads closes only."""
        return self.window + (self.formula == "proper")

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """The measures of each trailing window."""
        if self.formula == "seed":
            return list(_seed(bars.close, self.window))
        return list(_proper(log_return(bars.close, 1), self.window))


@kernel
def _cell(value: float, edge: float) -> int:
    """Quarter of the normal law, 0 the lowest; no move at all is 2."""
    return int(value >= -edge) + int(value >= 0.0) + int(value > edge)


@kernel
def _count_pairs(returns: Float, counts: Float) -> None:
    """Number of (previous, next) pairs in each state."""
    square = 0.0
    for i in range(returns.size):
        square += returns[i] * returns[i]
    edge = QUARTILE * math.sqrt(square / returns.size)
    counts[:] = 0.0
    before = _cell(returns[0], edge)
    for i in range(1, returns.size):
        now = _cell(returns[i], edge)
        counts[4 * before + now] += 1.0
        before = now


@kernel
def _coherence(returns: Float) -> float:
    """Length of the mean turn of the pair's direction over two bars, so that pairs share no bar.

    A pair without any move has no direction, and its turns count as 0.
    """
    real = imaginary = 0.0
    for i in range(3, returns.size):
        x, y, before_x, before_y = returns[i - 1], returns[i], returns[i - 3], returns[i - 2]
        norm = math.sqrt(x * x + y * y) * math.sqrt(before_x * before_x + before_y * before_y)
        if norm > 0.0:
            real += (x * before_x + y * before_y) / norm
            imaginary += (y * before_x - x * before_y) / norm
    return min(math.sqrt(real * real + imaginary * imaginary) / (returns.size - 3), 1.0)


@kernel
def _rotate(matrix: Float, p: int, q: int) -> None:
    """One Jacobi rotation, which makes element (p, q) of a symmetric matrix zero."""
    theta = 0.5 * (matrix[q, q] - matrix[p, p]) / matrix[p, q]
    t = math.copysign(1.0, theta) / (abs(theta) + math.sqrt(theta * theta + 1.0))
    c = 1.0 / math.sqrt(t * t + 1.0)
    s = t * c
    for k in range(4):
        kp, kq = matrix[k, p], matrix[k, q]
        matrix[k, p], matrix[k, q] = c * kp - s * kq, s * kp + c * kq
    for k in range(4):
        pk, qk = matrix[p, k], matrix[q, k]
        matrix[p, k], matrix[q, k] = c * pk - s * qk, s * pk + c * qk


@kernel
def _entanglement(p: Float, gram: Float) -> float:
    """Entropy between the two pairs of qubits, in [0, 1]; ``gram`` is scratch ``[4, 4]``."""
    for i in range(4):
        for j in range(4):
            gram[i, j] = 0.0
            for k in range(4):
                gram[i, j] += math.sqrt(p[4 * i + k] * p[4 * j + k])
    for _ in range(_SWEEPS):
        for i in range(3):
            for j in range(i + 1, 4):
                if abs(gram[i, j]) > 1e-15:
                    _rotate(gram, i, j)
    entropy = 0.0
    for i in range(4):
        if gram[i, i] > 0.0:
            entropy -= gram[i, i] * math.log2(gram[i, i])
    return min(max(0.5 * entropy, 0.0), 1.0)


@kernel(allocates=True)
def _proper(returns: Float, window: int) -> Float:
    result = np.full((7, returns.size), np.nan)
    p = np.empty(STATES)
    gram = np.empty((4, 4))
    for row in range(window, returns.size):
        values = returns[row - window + 1 : row + 1]
        _count_pairs(values, p)
        entropy = purity = mean = square = significant = dominant = 0.0
        for k in range(STATES):
            p[k] /= window - 1
            if p[k] > 0.0:
                entropy -= p[k] * math.log2(p[k])
            purity += p[k] * p[k]
            mean += p[k] * k
            square += p[k] * k * k
            significant += p[k] * STATES >= 1.0
            dominant = max(dominant, p[k])
        result[0, row] = min(max(entropy / 4.0, 0.0), 1.0)
        result[1, row] = min(dominant, 1.0)
        result[2, row] = min(max((1.0 - purity) * STATES / (STATES - 1), 0.0), 1.0)
        result[3, row] = _coherence(values)
        result[4, row] = _entanglement(p, gram)
        result[5, row] = min(max((square - mean * mean) / 7.5**2, 0.0), 1.0)
        result[6, row] = significant
    return result


@kernel
def _densities(values: Float, density: Float) -> None:
    """``np.histogram(values, density.size, density=True)``, without its limit on narrow windows."""
    low = high = values[0]
    for i in range(values.size):
        low, high = min(low, values[i]), max(high, values[i])
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = (high - low) / density.size
    density[:] = 0.0
    for i in range(values.size):
        k = min(int((values[i] - low) / step), density.size - 1)
        if values[i] < low + k * step:
            k -= 1
        elif k < density.size - 1 and values[i] >= low + (k + 1) * step:
            k += 1
        density[k] += 1.0 / (values.size * step)


@kernel
def _lag_correlation(values: Float) -> float:
    """Absolute correlation of neighbours; 0 where one of the two series is constant."""
    n = values.size - 1
    x = y = 0.0
    for i in range(n):
        x += (values[i] - values[0]) / n
        y += (values[i + 1] - values[n]) / n
    xx = yy = xy = 0.0
    for i in range(n):
        dx, dy = values[i] - values[0] - x, values[i + 1] - values[n] - y
        xx, yy, xy = xx + dx * dx, yy + dy * dy, xy + dx * dy
    norm = math.sqrt(xx) * math.sqrt(yy)
    return min(abs(xy) / norm, 1.0) if norm > 0.0 else 0.0


@kernel(allocates=True)
def _seed(closes: Float, window: int) -> Float:
    result = np.full((7, closes.size), np.nan)
    density = np.empty(STATES)
    for row in range(window - 1, closes.size):
        values = closes[row - window + 1 : row + 1]
        _densities(values, density)
        entropy = mean = dominant = significant = variance = 0.0
        for k in range(STATES):
            entropy -= density[k] * math.log2(density[k] + 1e-12)
            mean += density[k] / STATES
            dominant = max(dominant, density[k])
            significant += density[k] > SEED_SIGNIFICANT
        for k in range(STATES):
            variance += (density[k] - mean) ** 2 / STATES
        real = imaginary = 0.0
        for i in range(window):
            real += math.cos(values[i]) / window
            imaginary += math.sin(values[i]) / window
        result[0, row] = entropy
        result[1, row] = dominant
        result[2, row] = 1.0 - dominant
        result[3, row] = min(math.sqrt(real * real + imaginary * imaginary), 1.0)
        result[4, row] = _lag_correlation(values)
        result[5, row] = variance
        result[6, row] = significant
    return result
