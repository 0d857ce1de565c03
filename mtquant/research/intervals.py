"""How far an average of dependent rows can be trusted, and how many of many findings are chance.

Returns over ``h`` bars overlap, columns persist and volatility clusters, so rows are far from
independent. The error of a mean is taken from the mean square of its moving block sums, which is
the estimator of Newey and West (1987) and the variance that a moving-block bootstrap converges to
(Kuensch 1989). It needs no random numbers, costs one pass, and gives the small p-values that a
correction for many columns asks for, where a bootstrap would need as many resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np

from mtquant.market.bars import Float
from mtquant.market.clock import Mask

#: Share of intervals that hold the true value.
LEVEL = 0.95

#: Share of the findings that may be false.
FALSE_DISCOVERIES = 0.10

#: A block holds this many of the longest horizons; with one, a third of the variance is missed.
HORIZONS_A_BLOCK = 5


@dataclass(frozen=True, eq=False)
class Estimates:
    """Averages with their errors, arrays of one shape.

    Attributes:
        value: What was measured.
        error: Its standard error; 0 where nothing could be measured.
        freedom: Degrees of freedom of the error.
        null: The value that says nothing.
    """

    value: Float
    error: Float
    freedom: Float
    null: float = 0.0

    @cached_property
    def low(self) -> Float:
        """Lower ends of the intervals."""
        return self.value - self._reach

    @cached_property
    def high(self) -> Float:
        """Upper ends of the intervals."""
        return self.value + self._reach

    @cached_property
    def beyond(self) -> Mask:
        """Where the interval leaves the value out that says nothing."""
        return (self.error > 0.0) & (np.abs(self.value - self.null) > self._reach)

    @cached_property
    def score(self) -> Float:
        """Distance from the value that says nothing, in errors, 0 or more."""
        distance = np.abs(self.value - self.null)
        return np.divide(distance, self.error, out=np.zeros_like(distance), where=self.error > 0.0)

    @cached_property
    def p(self) -> Float:
        """Chance of a value as far off or farther if there is nothing, two-sided."""
        # Student's t as a normal score (Wallace 1959), good to the third digit from 10 on.
        normal = np.sqrt(self.freedom * np.log1p(self.score**2 / self.freedom)) * self._squeeze
        chance: Float = np.vectorize(math.erfc, otypes=[np.float64])(normal / math.sqrt(2.0))
        return chance

    @property
    def _squeeze(self) -> Float:
        return (8.0 * self.freedom + 1.0) / (8.0 * self.freedom + 3.0)

    @cached_property
    def _reach(self) -> Float:
        normal = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0) / self._squeeze
        return self.error * np.sqrt(self.freedom * np.expm1(normal**2 / self.freedom))

    def __getitem__(self, at: Any) -> Estimates:
        """Some of them, as arrays are indexed."""
        return self._each(lambda array: np.asarray(array[at]))

    def reshaped(self, *shape: int) -> Estimates:
        """The same in another shape."""
        return self._each(lambda array: array.reshape(shape))

    def _each(self, change: Callable[[Float], Float]) -> Estimates:
        value, error, freedom = map(change, (self.value, self.error, self.freedom))
        return Estimates(value, error, freedom, self.null)

    @classmethod
    def of(cls, value: Float, influence: Float, block: int, null: float = 0.0) -> Estimates:
        """Averages over dependent rows.

        Args:
            value: What was measured, any shape.
            influence: What each row adds to it, ``[n, *shape]``; its mean over the rows is 0.
            block: Rows up to which they depend on each other.
            null: The value that says nothing.
        """
        freedom = np.full(np.shape(value), 1.5 * len(influence) / block)
        return cls(np.asarray(value, np.float64), newey_west(influence, block), freedom, null)

    @classmethod
    def pooled(cls, parts: Sequence[Estimates]) -> Estimates:
        """The mean of independent estimates of the same thing."""
        errors = np.sqrt(np.mean([part.error**2 for part in parts], axis=0) / len(parts))
        freedom = np.sum([part.freedom for part in parts], axis=0)
        return cls(np.mean([part.value for part in parts], axis=0), errors, freedom, parts[0].null)

    @classmethod
    def joined(cls, parts: Sequence[Estimates], axis: int = 0) -> Estimates:
        """Several estimates of one shape along a new axis."""
        return cls._merged(parts, lambda arrays: np.stack(arrays, axis))

    @classmethod
    def concatenated(cls, parts: Sequence[Estimates]) -> Estimates:
        """Several estimates along their first axis."""
        return cls._merged(parts, np.concatenate)

    @classmethod
    def _merged(
        cls, parts: Sequence[Estimates], merge: Callable[[list[Float]], Float]
    ) -> Estimates:
        value, error, freedom = (
            merge([getattr(part, name) for part in parts]) for name in ("value", "error", "freedom")
        )
        return cls(value, error, freedom, parts[0].null)


def block_length(rows: int, horizon: int) -> int:
    """Rows of a block: some of the longest horizons, and no less than the root of the rows."""
    return max(HORIZONS_A_BLOCK * horizon, math.isqrt(rows))


def newey_west(influence: Float, block: int) -> Float:
    """Standard error of the mean of dependent rows, by their moving block sums.

    Args:
        influence: ``[n, ...]``, any mean.
        block: Rows of a block.

    Returns:
        One error per column, ``[...]``.
    """
    rows = len(influence)
    centred = influence - influence.mean(axis=0)
    edge = (block, *centred.shape[1:])
    sums = np.concatenate([np.zeros(edge), np.cumsum(centred, axis=0), np.zeros(edge)[1:]])
    sums = sums[block:] - sums[:-block]
    # The rows were centred by their own mean, which takes this share of the variance away.
    kept = 1.0 - block / rows + (block / rows) ** 2 / 3.0
    variance: Float = np.einsum("i...,i...->...", sums, sums) / (block * rows * kept)
    return np.sqrt(variance / rows)


def benjamini_hochberg(p: Float, rate: float = FALSE_DISCOVERIES) -> Mask:
    """Which findings survive when a share ``rate`` of the survivors may be false.

    Args:
        p: Of all that was tried, any shape.
        rate: Share of false ones among the survivors, on average.

    Returns:
        True for the survivors, the shape of ``p``.
    """
    ordered = np.sort(p, axis=None)
    passed = ordered <= rate * np.arange(1, ordered.size + 1) / ordered.size
    limit = ordered[np.flatnonzero(passed)[-1]] if passed.any() else -1.0
    return np.asarray(p <= limit)
