"""Eigenvalues of a small symmetric matrix, and how a vector falls onto the eigenvectors.

Householder's reduction to three diagonals and implicit QL steps (Wilkinson and Reinsch 1971). The
eigenvectors themselves are never formed: each rotation is applied to the one vector whose
components are asked for, as Golub and Welsch (1969) do, which saves most of the work. There is no
LAPACK in it, so that a row has the same bits whatever else is computed beside it.
"""

from __future__ import annotations

import math

import numpy as np

from mtquant.jit import kernel
from mtquant.market.bars import Float

#: Far more QL steps than an eigenvalue ever needs (two or three).
MAX_STEPS = 60
_EPSILON = float(np.finfo(np.float64).eps)


@kernel
def eigenvalues(matrix: Float, vector: Float, values: Float, work: Float) -> None:
    """Diagonalises in place.

    Args:
        matrix: ``[n, n]``, symmetric; overwritten.
        vector: ``[n]``; replaced by its components along the eigenvectors (signs are arbitrary).
        values: ``[n]``; receives the eigenvalues, in no order.
        work: ``[3, n]``; overwritten.
    """
    tridiagonalise(matrix, vector, work)
    size = values.size
    below = work[0]
    for i in range(size):
        values[i] = matrix[i, i]
        below[i] = matrix[i + 1, i] if i + 1 < size else 0.0
    ql(values, below, vector)


@kernel
def tridiagonalise(matrix: Float, vector: Float, work: Float) -> None:
    """Reflects ``matrix`` to three diagonals and ``vector`` along with it.

    Args:
        matrix: ``[n, n]``, symmetric; its diagonal and the one below hold the result.
        vector: ``[n]``.
        work: ``[3, n]``; the last two rows are overwritten.
    """
    for k in range(vector.size - 2):
        rest = 0.0
        for i in range(k + 2, vector.size):
            rest += matrix[i, k] * matrix[i, k]
        if rest > 0.0:
            head = matrix[k + 1, k]
            length = math.copysign(math.sqrt(head * head + rest), head)
            reflect(matrix, vector, k + 1, length, work[1], work[2])
            matrix[k + 1, k] = -length


@kernel
def reflect(
    matrix: Float, vector: Float, first: int, length: float, mirror: Float, image: Float
) -> None:
    """Turns the column left of the block ``first ..`` onto its head, ``H A H`` and ``H v``.

    Args:
        matrix: ``[n, n]``; its block from ``first`` on is overwritten.
        vector: ``[n]``, likewise.
        first: Where the block begins, 1 or more.
        length: Norm of the column, with the sign of its head.
        mirror: ``[n]``; overwritten.
        image: ``[n]``; overwritten.
    """
    size = vector.size
    for i in range(first, size):
        mirror[i] = matrix[i, first - 1]
        image[i] = 0.0
    mirror[first] += length
    scale = 1.0 / (length * mirror[first])
    for j in range(first, size):
        for i in range(first, size):
            image[i] += matrix[j, i] * mirror[j]
    along = across = 0.0
    for i in range(first, size):
        image[i] *= scale
        along += mirror[i] * image[i]
        across += mirror[i] * vector[i]
    for i in range(first, size):
        image[i] -= 0.5 * scale * along * mirror[i]
        vector[i] -= scale * across * mirror[i]
    for j in range(first, size):
        for i in range(first, size):
            matrix[j, i] -= mirror[j] * image[i] + image[j] * mirror[i]


@kernel
def ql(values: Float, below: Float, vector: Float) -> None:
    """Diagonalises three diagonals by implicit QL steps.

    What is smaller than rounding in the largest entry counts as 0.

    Args:
        values: ``[n]``, the diagonal; receives the eigenvalues.
        below: ``[n]``, the diagonal below it, then 0; overwritten.
        vector: ``[n]``, turned along.
    """
    largest = 0.0
    for i in range(values.size):
        largest = max(largest, abs(values[i]), abs(below[i]))
    for first in range(values.size):
        for _ in range(MAX_STEPS):
            last = first
            while last < values.size - 1 and abs(below[last]) > _EPSILON * largest:
                last += 1
            if last == first:
                break
            ql_step(values, below, vector, first, last)


@kernel
def ql_step(values: Float, below: Float, vector: Float, first: int, last: int) -> None:
    """One step with Wilkinson's shift on the block ``first .. last``."""
    half = (values[first + 1] - values[first]) / (2.0 * below[first])
    root = math.copysign(math.sqrt(half * half + 1.0), half)
    bulge = values[last] - values[first] + below[first] / (half + root)
    sine = cosine = 1.0
    moved = 0.0
    for i in range(last - 1, first - 1, -1):
        over, beside = sine * below[i], cosine * below[i]
        norm = math.sqrt(over * over + bulge * bulge)
        below[i + 1] = norm
        if norm == 0.0:
            values[i + 1] -= moved
            below[last] = 0.0
            return
        sine, cosine = over / norm, bulge / norm
        bulge = values[i + 1] - moved
        norm = (values[i] - bulge) * sine + 2.0 * cosine * beside
        moved = sine * norm
        values[i + 1] = bulge + moved
        bulge = cosine * norm - beside
        upper, lower = vector[i + 1], vector[i]
        vector[i + 1] = sine * lower + cosine * upper
        vector[i] = cosine * lower - sine * upper
    values[first] -= moved
    below[first] = bulge
    below[last] = 0.0
