"""The dominant cycle of the price, read as quantum phase estimation would read it, or none at all.

The quantum Fourier transform of an amplitude-encoded window yields exactly its periodogram, so no
circuit is simulated. A random walk's prices have a peak in every window; its returns do not, so the
peak is sought, tested and fitted in log returns, and the phase is turned back into one of price.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.returns import log_return
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float

#: Bars of the shortest cycle sought; faster ones drown in the bounce between bid and ask.
SHORTEST = 6

#: Half cycles in the window of the longest one sought: a little more than a third of the window.
FEWEST = 5

#: Gauss-Newton steps of the fitted frequency; a third would change less than noise does.
_STEPS = 2

#: Root mean square of log returns below which they are the rounding of prices.
_ROUNDING = 1e-15

_HIGHEST_CONFIDENCE = 0.95


@dataclass(frozen=True, config=PARAMETERS)
class PhaseEstimation(SymbolFeature):
    """Period, phase and strength of the dominant cycle, and where it turns the price next.

    The usual recipe takes the largest peak of the prices' spectrum, which always exists, and its
    phase at the window's first bar. Here "no period" is an answer, zero in every column: the peak
    of the log returns, less their mean, must pass the level that white noise passes in at most
    ``false_alarm`` of all windows. Removing that mean removes the price's linear trend. A parabola
    over the peak and two Gauss-Newton steps of least squares find the period.

    Phase is in turns at the newest bar and counts like a sine: 0 is half way up, 0.25 the top,
    0.5 half way down, 0.75 the bottom; quarters 1 and 4 are the rising half. With ``direction:
    horizon`` the signal is the sign of the cycle's change over the next ``horizon`` bars, and
    confidence is strength times that change as a share of the full swing. With ``quarter`` (preset
    ``seed``) the signal is up in quarters 1 and 4, down in 2 and 3, whatever the horizon, and
    confidence is the strength.

    Formula:
        power(f) = |sum (r - mean) exp(-2 pi i f t)|^2, f in half cycles a window, from 2.5 cycles
        a window to 6 bars a cycle; n frequencies
        a period if max power > -ln(1 - (1 - false_alarm)^(1/n)) * sum (r - mean)^2
        strength = share of the returns' variance that the fitted sine explains
        change = (sin(phase + horizon / period) - sin(phase)) / 2, angles in turns
        signal = sign(change), confidence = min(strength * |change|, 0.95)
    Source:
        Kitaev (1995), Quantum measurements and the Abelian stabilizer problem; Fisher (1929), Tests
        of significance in harmonic analysis; Rife and Boorstyn (1974), Single-tone parameter
        estimation; mtquant (the gate on returns, the horizon rule).
    Weakness:
        A sine of amplitude A in a random walk of s a bar is found by 128 bars, at a period of 14,
        in 28 % of windows for A = s and in 99.6 % for A = 2 s; at a period of 20 in 5 % and 78 %.
        A random walk gets a period in 0.7 % of windows, but returns with an autocorrelation of 0.1
        or 0.2 in 2 % or 6 %: persistence looks like a cycle. A cycle must keep its period for the
        whole window; that markets have such cycles is not known.

    Attributes:
        window: Log returns in the window.
        horizon: Bars ahead that the signal is about.
        direction: Rule of the signal, by the change over the horizon or by the quarter now.
        false_alarm: Share of white-noise windows that may be given a period.
    """

    key: ClassVar[str] = "qpe"
    group: ClassVar[str] = "quantum"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "seed": {"window": 64, "horizon": 10, "direction": "quarter"}
    }

    window: Annotated[int, Field(ge=64, le=512)] = 128
    horizon: Annotated[int, Field(ge=1, le=500)] = 10
    direction: Literal["horizon", "quarter"] = "horizon"
    false_alarm: Annotated[float, Field(gt=0.0, le=0.5)] = 0.01

    @property
    def columns(self) -> tuple[Column, ...]:
        """Cycle, signal and confidence; zeros where there is no period."""
        return (
            Column("qpe_period", "bars of the cycle, 0: none", 0.0, self.window / 2, fitted=False),
            Column("qpe_phase", "turns at the newest bar, 0: rising", 0.0, 1.0, fitted=False),
            Column("qpe_phase_sin", "height in the cycle", -1.0, 1.0, fitted=False),
            Column("qpe_phase_cos", "slope of the cycle", -1.0, 1.0, fitted=False),
            Column("qpe_strength", "share of the returns' variance", 0.0, 1.0, fitted=False),
            Column("qpe_signal", "direction of the cycle", -1.0, 1.0, fitted=False),
            Column("qpe_confidence", "trust in the signal", 0.0, _HIGHEST_CONFIDENCE, fitted=False),
        )

    @property
    def lookback(self) -> int:
        """The window's returns and the close before the first."""
        return self.window + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """Spectrum, gate and fit of each window of log returns."""
        cosines, sines = _sought(self.window)
        sought = cosines.shape[1] - FEWEST
        gate = -math.log(-math.expm1(math.log1p(-self.false_alarm) / sought))
        horizon = self.horizon if self.direction == "horizon" else 0
        return list(_estimate(log_return(bars.close, 1), cosines, sines, gate, horizon))


def periodogram(window: Float) -> Float:
    """Probabilities of what the quantum Fourier transform of an amplitude-encoded window yields.

    Args:
        window: ``[N]`` amplitudes before their normalisation.

    Returns:
        ``[N]``, ``|sum x exp(-2 pi i k t / N)|^2 / (N sum x^2)`` for k = 0 to N - 1; they sum to 1.
        Zeros for a window of zeros, which is no state.
    """
    cosines, sines = _waves(window.size, np.arange(float(window.size)))
    real, imaginary = np.zeros(window.size), np.zeros(window.size)
    _transform(window, 0.0, cosines, sines, real, imaginary)
    norm = window.size * float(np.sum(window**2))
    return (real**2 + imaginary**2) / norm if norm else np.zeros(window.size)


def _waves(window: int, cycles: Float) -> tuple[Float, Float]:
    """Cosines and sines ``[window, frequency]`` of so many cycles, phase 0 at the middle."""
    time = np.arange(window) - (window - 1) / 2
    angle = 2.0 * np.pi / window * np.outer(time, cycles)
    return np.cos(angle), np.sin(angle)


@cache
def _sought(window: int) -> tuple[Float, Float]:
    """The waves of 1, 2, 3 half cycles and so on, up to one above the shortest cycle sought."""
    most = math.ceil(2 * window / SHORTEST) + 1
    return _waves(window, np.arange(1, most + 2) / 2)


@kernel
def _transform(
    values: Float, mean: float, cosines: Float, sines: Float, real: Float, imaginary: Float
) -> None:
    """Adds the transform of ``values - mean`` to ``real`` and ``imaginary``."""
    for i in range(values.size):
        value = values[i] - mean
        for k in range(real.size):
            real[k] += value * cosines[i, k]
            imaginary[k] -= value * sines[i, k]


@kernel
def _peak(power: Float, level: float) -> float:
    """Half cycles a window at the highest power, by a parabola; 0 if that is no cycle sought.

    Slower swings than those sought also compete: a bend of the trend is theirs to explain.
    """
    top = 0
    for k in range(power.size - 1):
        if power[k] > power[top]:
            top = k
    if power[top] <= level or top + 1 < FEWEST or power[top] < power[top + 1]:
        return 0.0
    left, middle, right = power[top - 1], power[top], power[top + 1]
    bend = 2.0 * middle - left - right
    return top + 1.0 + (0.5 * (right - left) / bend if bend > 0.0 else 0.0)


@kernel
def _fit(values: Float, mean: float, omega: float) -> tuple[float, float, float, float]:
    """Least squares of ``m + a cos(omega u) + b sin(omega u)``, u from the window's middle.

    Returns:
        a, b, the sum of squares that they explain, and the Gauss-Newton step of omega.
    """
    u = -0.5 * (values.size - 1)
    c, s = math.cos(omega * u), math.sin(omega * u)
    turn_c, turn_s = math.cos(omega), math.sin(omega)
    xc = xs = xuc = xus = one_c = cc = ss = us = ucs = uucc = uuss = 0.0
    for i in range(values.size):
        x = values[i] - mean
        xc, xs, xuc, xus = xc + x * c, xs + x * s, xuc + x * u * c, xus + x * u * s
        one_c, cc, ss = one_c + c, cc + c * c, ss + s * s
        us, ucs = us + u * s, ucs + u * c * s
        uucc, uuss = uucc + u * u * c * c, uuss + u * u * s * s
        c, s = c * turn_c - s * turn_s, s * turn_c + c * turn_s
        u += 1.0
    a, b = xc / (cc - one_c * one_c / values.size), xs / ss
    level = -a * one_c / values.size
    slope = b * xuc - a * (xus - level * us) - (b * b - a * a) * ucs
    bend = b * b * uucc + a * a * uuss
    return a, b, a * xc + b * xs, slope / bend if bend > 0.0 else 0.0


@kernel
def _cycle(values: Float, mean: float, total: float, peak: float) -> tuple[float, float, float]:
    """Period, the price's phase at the last value and strength, near the spectrum's peak."""
    half_cycles = peak
    scale = values.size / math.pi
    for _ in range(_STEPS):
        step = scale * _fit(values, mean, half_cycles / scale)[3]
        half_cycles = min(max(half_cycles + step, peak - 0.5, FEWEST - 1.0), peak + 0.5)
    a, b, explained, _ = _fit(values, mean, half_cycles / scale)
    # A rise peaks where the price is half way up: the phase of the returns' cosine is that of the
    # price's sine, and the newest close lies half a window, so a quarter turn a half cycle, on.
    phase = (math.atan2(-b, a) / math.pi + 0.5 * half_cycles) / 2.0
    phase -= math.floor(phase)
    strength = min(max(explained / total, 0.0), 1.0)
    return 2.0 * values.size / half_cycles, phase if phase < 1.0 else 0.0, strength


@kernel
def _change(phase: float, turns: float) -> float:
    """The cycle's change over so many turns, as a share of its swing; for 0 turns its sign."""
    if turns == 0.0:
        return 1.0 if phase < 0.25 or phase >= 0.75 else -1.0
    angle = 2.0 * math.pi * phase
    return 0.5 * (math.sin(angle + 2.0 * math.pi * turns) - math.sin(angle))


@kernel(allocates=True)
def _estimate(returns: Float, cosines: Float, sines: Float, gate: float, horizon: int) -> Float:
    window, frequencies = cosines.shape
    result = np.full((7, returns.size), np.nan)
    real, imaginary, power = np.empty(frequencies), np.empty(frequencies), np.empty(frequencies)
    for row in range(window, returns.size):
        result[:, row] = 0.0
        values = returns[row - window + 1 : row + 1]
        mean = 0.0
        for i in range(window):
            mean += values[i] / window
        total = 0.0
        for i in range(window):
            total += (values[i] - mean) * (values[i] - mean)
        real[:] = 0.0
        imaginary[:] = 0.0
        _transform(values, mean, cosines, sines, real, imaginary)
        for k in range(frequencies):
            power[k] = real[k] * real[k] + imaginary[k] * imaginary[k]
        peak = _peak(power, gate * total)
        if peak > 0.0 and total > window * _ROUNDING**2:
            period, phase, strength = _cycle(values, mean, total, peak)
            change = _change(phase, horizon / period)
            result[0, row], result[1, row] = period, phase
            result[2, row] = math.sin(2.0 * math.pi * phase)
            result[3, row] = math.cos(2.0 * math.pi * phase)
            result[4, row], result[5, row] = strength, np.sign(change)
            result[6, row] = min(strength * abs(change), _HIGHEST_CONFIDENCE)
    return result
