"""A quantum autoencoder of one window: how far the best circuit empties its last qubit.

A window of ``2 ** n`` numbers, divided by its norm, is a real state of ``n`` qubits: the number at
place ``i`` is the amplitude of the bits of ``i``, qubit 0 the highest. The encoder is one or two
layers of RY rotations with a ring of CNOTs (0 to 1, 1 to 2, ..., last to 0) between the two; the
last qubit is the trash, and the fidelity is the largest probability of finding it in state 0
(Romero, Olson and Aspuru-Guzik 2017). A ring after the last layer is left out: it would make the
trash qubit the parity of all qubits, which is another question.
"""

from __future__ import annotations

import math

import numpy as np

from mtquant.jit import kernel
from mtquant.market.bars import Float, Int

#: Points from which the search for the angles of the first of two layers begins.
STARTS = 8

#: Passes over all angles from one start, at most, and the gain below which a pass is the last.
PASSES = 40
GAIN = 1e-7

#: Fidelity of a window without any motion, and the least that there can be.
FLOOR = 0.5

_IRRATIONALS = (2.0, 3.0, 5.0, 7.0, 11.0, 13.0)


def fidelities(values: Float, qubits: int, layers: int, path: bool = False) -> Float:
    """Fidelity of every window of ``2 ** qubits`` values.

    One layer is solved in closed form: only the trash qubit's angle matters, and the best one turns
    the even and the odd amplitudes onto each other as far as they are alike. Two layers are
    searched from fixed starting points, one angle at a time, each to its exact optimum.

    Args:
        values: ``[T]``.
        qubits: 2 to 6.
        layers: 1 or 2.
        path: Whether the amplitudes are the values' sums since the window began.

    Returns:
        ``[T]`` within ``[0.5, 1]``, NaN before the first full window, 0.5 for one of zeros.
    """
    return _fidelities(values, ring(qubits), starting_angles(qubits), layers, path)


def ring(qubits: int) -> Int:
    """Where the CNOT ring takes each amplitude from: ``after[i] = before[ring[i]]``."""
    places = np.arange(2**qubits)
    for control in reversed(range(qubits)):
        target = (control + 1) % qubits
        on = places >> (qubits - 1 - control) & 1
        places ^= on << (qubits - 1 - target)
    return places


def starting_angles(qubits: int) -> Float:
    """Angles ``[STARTS, qubits]`` spread evenly over the circle by multiples of irrationals."""
    steps = np.sqrt(np.array(_IRRATIONALS[:qubits]))
    angles: Float = 2.0 * math.pi * (np.arange(STARTS)[:, None] * steps % 1.0)
    return angles


@kernel(allocates=True)
def _fidelities(values: Float, source: Int, starts: Float, layers: int, path: bool) -> Float:
    size = source.size
    window, state = np.empty(size), np.empty(size)
    in_order = np.arange(size)
    result = np.full(values.size, np.nan)
    for row in range(size - 1, values.size):
        square = 0.0
        for i in range(size):
            window[i] = values[row - size + 1 + i]
            if path and i:
                window[i] += window[i - 1]
            square += window[i] * window[i]
        best = FLOOR
        if square > 0.0:
            norm = math.sqrt(square)
            for i in range(size):
                window[i] /= norm
            if layers == 1:
                best = larger_eigenvalue(gram(window, in_order))
            else:
                for k in range(starts.shape[0]):
                    state[:] = window
                    best = max(best, two_layers(state, source, starts[k]))
        result[row] = min(max(best, FLOOR), 1.0)
    return result


@kernel
def two_layers(state: Float, source: Int, angles: Float) -> float:
    """The fidelity that one start reaches; ``state`` is left as it stands after the first layer.

    Args:
        state: The window's amplitudes.
        source: From :func:`ring`.
        angles: Of the first layer, at the start.

    Returns:
        A local optimum, within about ``GAIN``.
    """
    for qubit in range(angles.size):
        rotate(state, state.size >> (qubit + 1), angles[qubit])
    fidelity = 0.0
    for _ in range(PASSES):
        before = fidelity
        even, odd, both = gram(state, source)
        trash = math.atan2(-2.0 * both, even - odd)
        for qubit in range(angles.size):
            stride = state.size >> (qubit + 1)
            along = gram_of_turn(state, source, stride, trash)
            rotate(state, stride, math.atan2(2.0 * along[2], along[0] - along[1]))
            fidelity = larger_eigenvalue(along)
        if fidelity - before < GAIN:
            break
    return fidelity


@kernel
def rotate(state: Float, stride: int, angle: float) -> None:
    """RY in place on the qubit that pairs amplitudes ``stride`` apart."""
    cosine, sine = math.cos(angle / 2.0), math.sin(angle / 2.0)
    for i in range(state.size):
        if not i & stride:
            zero, one = state[i], state[i + stride]
            state[i] = cosine * zero - sine * one
            state[i + stride] = sine * zero + cosine * one


@kernel
def gram(state: Float, source: Int) -> tuple[float, float, float]:
    """``|even|^2``, ``|odd|^2`` and ``even . odd`` of the amplitudes by their trash bit."""
    even = odd = both = 0.0
    for i in range(0, state.size, 2):
        zero, one = state[source[i]], state[source[i + 1]]
        even += zero * zero
        odd += one * one
        both += zero * one
    return even, odd, both


@kernel
def gram_of_turn(
    state: Float, source: Int, stride: int, trash: float
) -> tuple[float, float, float]:
    """What the trash qubit's state 0 holds as things stand, with one qubit turned by pi, and both.

    Along the angle of one RY the fidelity is ``A + B cos + C sin``; these three numbers fix it
    (Ostaszewski, Grant and Benedetti 2021, "Rotosolve").

    Args:
        state: After the first layer.
        source: From :func:`ring`.
        stride: Of the qubit that is to turn.
        trash: Angle of the trash qubit in the second layer.

    Returns:
        Squared norm of the one, of the other, and their product.
    """
    cosine, sine = math.cos(trash / 2.0), math.sin(trash / 2.0)
    here = turned = both = 0.0
    for i in range(0, state.size, 2):
        zero, one = source[i], source[i + 1]
        u = cosine * state[zero] - sine * state[one]
        zero_turned = state[zero ^ stride] if zero & stride else -state[zero ^ stride]
        one_turned = state[one ^ stride] if one & stride else -state[one ^ stride]
        w = cosine * zero_turned - sine * one_turned
        here += u * u
        turned += w * w
        both += u * w
    return here, turned, both


@kernel
def larger_eigenvalue(matrix: tuple[float, float, float]) -> float:
    """That of ``[[a, c], [c, b]]``, given as ``(a, b, c)``."""
    a, b, c = matrix
    return (a + b + math.sqrt((a - b) * (a - b) + 4.0 * c * c)) / 2.0
