"""What the best quantum autoencoder keeps of a stretch of market, and what it has not seen before.

Every window of ``2 ** qubits`` returns, divided by its norm, is a state; the density matrix of a
stretch is the mean of their outer products. An encoder that may be any unitary keeps, with one
qubit less, exactly the upper half of its eigenvalues (Romero, Olson and Aspuru-Guzik 2017): the
energy that an uncentred principal component analysis captures. Sums over the stretch are taken as
a binary tree that hangs from the newest window, so that a row needs a dozen additions for an entry
and still depends on its own windows alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mtquant.features.base import PARAMETERS, Column, Params, SymbolFeature
from mtquant.features.eigen import eigenvalues
from mtquant.features.returns import log_return
from mtquant.jit import kernel
from mtquant.market.bars import Bars, Float

#: Rows that are computed together: their sums stay in the processor's cache.
BLOCK = 512

#: Share of the energy below which a direction counts as never seen.
UNSEEN = 1e-12


@dataclass(frozen=True, config=PARAMETERS)
class EnsembleCompression(SymbolFeature):
    """What the best encoder keeps of the last stretch, and how new the newest window is to it.

    One window alone says nothing: some unitary fits it perfectly. A stretch of overlapping windows
    has a density matrix, and the upper half of its eigenvalues is what the best encoder keeps: a
    half in white noise (and a little more, as the stretch is short), up to 1 where returns repeat
    a pattern. The newest window is held against the directions of the stretch that ended one bar
    before it, never against its own. Stretches where nothing moved have energy 0.5; a window where
    nothing moved is as new as the stretch's average window, ``1 - energy``.

    Formula:
        x = 2^qubits log returns, psi = x / |x|;  rho[t] = mean of the last `length` psi psi^T
        ensemble_energy[t] = sum of the larger half of rho[t]'s eigenvalues / trace rho[t]
        ensemble_novelty[t] = 1 - sum over the larger half of rho[t-1] of (eigenvector . psi[t])^2
    Source:
        Romero, Olson, Aspuru-Guzik (2017), Quantum autoencoders; the optimum over all unitaries.
    Weakness:
        It sees linear dependence only: volatility clustering leaves it at chance (AUC 0.51), and on
        256 returns lag-1 autocorrelation tells AR(1) from noise better (AUC 0.99 against 0.92).
        Its worth is that one number answers to trends, reversals and cycles alike. The novelty of a
        single window is noisy.

    Attributes:
        qubits: A window holds 2^qubits returns. 3 tells markets from noise as well as 4 (AUC
            differs by 0.03 either way) at a quarter of the cost.
        length: Windows in a stretch, one beginning at every bar; 249 of 8 returns span 256.
    """

    key: ClassVar[str] = "ensemble"
    group: ClassVar[str] = "regime"

    qubits: Annotated[int, Field(ge=2, le=4)] = 3
    length: Annotated[int, Field(ge=8, le=2000)] = 249

    @property
    def columns(self) -> tuple[Column, ...]:
        """``ensemble_energy`` and ``ensemble_novelty``."""
        return (
            Column("ensemble_energy", "share of returns that the best half explains", 0.5, 1.0),
            Column("ensemble_novelty", "share of the newest window that is new", 0.0, 1.0),
        )

    @property
    def lookback(self) -> int:
        """The newest window, the windows before it, and the close before the first."""
        return (1 << self.qubits) + self.length + 1

    def on_bars(self, bars: Bars, params: Params) -> Sequence[Float]:
        """Energy of the stretch that ends now; novelty against the stretch that ended before."""
        energy, novelty = ensemble(log_return(bars.close, 1)[1:], 1 << self.qubits, self.length)
        return [np.append(np.nan, energy), np.append(np.nan, novelty)]


@kernel(allocates=True)
def ensemble(values: Float, size: int, length: int) -> tuple[Float, Float]:
    """Captured energy and novelty of every row.

    Args:
        values: ``[T]``, finite.
        size: Values in a window, n.
        length: Windows in a stretch, one beginning at every value.

    Returns:
        ``[T]`` energies from row ``size + length - 2`` on and ``[T]`` novelties from the next row
        on, NaN before.
    """
    energy, novelty = np.full(values.size, np.nan), np.full(values.size, np.nan)
    matrix, work = np.empty((size, size)), np.empty((3, size))
    spectrum, state = np.empty(size), np.empty(size)
    for start in range(size + length - 2, values.size, BLOCK):
        stop = min(start + BLOCK, values.size)
        piece = values[start - (size + length - 2) : stop]
        weight = inverse_energy(piece, size)
        density = densities(piece, weight, size, length)
        for row in range(start, stop):
            k = 0
            for lag in range(size):
                for i in range(size - lag):
                    matrix[i, i + lag] = matrix[i + lag, i] = density[k, row - start]
                    k += 1
            known = row + 1 < values.size
            for i in range(size):
                state[i] = values[row + 2 - size + i] if known else 0.0
            energy[row], share = captured(matrix, state, spectrum, work)
            if known:
                novelty[row + 1] = 1.0 - share
    return energy, novelty


@kernel(allocates=True)
def inverse_energy(values: Float, size: int) -> Float:
    """One over the sum of squares of each window of ``size`` values, 0 for a window of zeros."""
    result = np.zeros(values.size - size + 1)
    for start in range(result.size):
        square = 0.0
        for i in range(start, start + size):
            square += values[i] * values[i]
        if square > 0.0:
            result[start] = 1.0 / square
    return result


@kernel(allocates=True)
def densities(values: Float, weight: Float, size: int, length: int) -> Float:
    """Sums of ``weight * x[i] * x[i + lag]`` over the windows of each stretch.

    Args:
        values: ``[T]``.
        weight: ``[T - size + 1]``, one over the squared norm of each window.
        size: Values in a window.
        length: Windows in a stretch.

    Returns:
        ``[size (size + 1) / 2, T - size - length + 2]``: the diagonals, one after the other.
    """
    result = np.empty((size * (size + 1) // 2, weight.size - length + 1))
    products, spare = np.empty(weight.size), np.empty(weight.size)
    k = 0
    for lag in range(size):
        for i in range(size - lag):
            for row in range(weight.size):
                products[row] = values[row + i] * values[row + i + lag] * weight[row]
            tree_sum(products, spare, length, result[k])
            k += 1
    return result


@kernel
def tree_sum(values: Float, spare: Float, length: int, result: Float) -> None:
    """Sums of ``length`` values, added as a binary tree that hangs from the newest.

    Sums over 2, 4, 8 ... values are made from two of half the length, so a row costs a number of
    additions that grows with the logarithm of the length, and rounds less than a plain sum. Only
    sums that some row will use are made: few, where few rows are asked for.

    Args:
        values: ``[T]``; overwritten.
        spare: ``[T]``; overwritten.
        length: Values in a sum.
        result: ``[T - length + 1]``; receives the sums that end at the last so many values.
    """
    rows, first = result.size, length - 1
    result[:] = 0.0
    power, doubled = values, spare
    span = 1
    while True:
        if length & span:
            older = first - (length & -(2 * span))
            for row in range(rows):
                result[row] += power[older + row]
        if 2 * span > length:
            return
        for end in range(values.size, span, -2 * span):
            for row in range(max(span, end - min(rows, 2 * span)), end):
                doubled[row] = power[row] + power[row - span]
        power, doubled = doubled, power
        span *= 2


@kernel
def captured(matrix: Float, state: Float, spectrum: Float, work: Float) -> tuple[float, float]:
    """Shares of a density matrix and of a state within the upper half of its eigenvectors.

    Args:
        matrix: ``[n, n]``, of any trace; overwritten.
        state: ``[n]``, of any norm; overwritten.
        spectrum: ``[n]``; overwritten.
        work: ``[3, n]``; overwritten.

    Returns:
        The share of the trace; 0.5 if it is 0. The share of the state's square; that of the trace
        if the state is 0.
    """
    size = state.size
    trace = norm = 0.0
    for i in range(size):
        trace += matrix[i, i]
        norm += state[i] * state[i]
    if trace <= 0.0:
        return 0.5, 0.5
    eigenvalues(matrix, state, spectrum, work)
    kept = seen = 0.0
    for _ in range(size // 2):
        top = 0
        for i in range(1, size):
            if spectrum[i] > spectrum[top]:
                top = i
        kept += spectrum[top]
        if spectrum[top] > UNSEEN * trace:
            seen += state[top] * state[top]
        spectrum[top] = -np.inf
    energy = min(max(kept / trace, 0.5), 1.0)
    return energy, min(seen / norm, 1.0) if norm > 0.0 else energy
