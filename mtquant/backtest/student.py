"""The mean of a few independent numbers and its 95 % interval, by Student's law, exactly.

For results over seeds, of which there are few: an approximation that is fine from ten on would be
too narrow for three.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, inf, pi, sin, sqrt, tan
from statistics import fmean, stdev
from typing import NamedTuple

LEVEL = 0.95
HALVINGS = 60


class MeanInterval(NamedTuple):
    """A mean and the interval that holds the true one; infinite from a single number.

    Attributes:
        mean: Of the numbers.
        low: Lower end.
        high: Upper end.
        numbers: How many.
    """

    mean: float
    low: float
    high: float
    numbers: int


def mean_interval(values: Sequence[float], level: float = LEVEL) -> MeanInterval:
    """Mean and interval of independent, roughly normal numbers.

    Args:
        values: One or more.
        level: Share of intervals that hold the true mean.
    """
    count, mean = len(values), fmean(values)
    if count < 2:
        return MeanInterval(mean, -inf, inf, count)
    reach = student_quantile(count - 1, level) * stdev(values) / sqrt(count)
    return MeanInterval(mean, mean - reach, mean + reach, count)


def student_quantile(freedom: int, level: float = LEVEL) -> float:
    """The t with ``P(|T| <= t) = level``.

    Args:
        freedom: Degrees of freedom, 1 or more.
        level: Between 0 and 1.
    """
    low, high = 0.0, pi / 2.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return sqrt(freedom) * tan(low)


def _within(angle: float, freedom: int) -> float:
    """``P(|T| <= sqrt(freedom) tan(angle))`` (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    odd = freedom % 2
    term = total = cos(angle) if odd else 1.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cos(angle) ** 2 * (k - 1) / k
        total += term
    if not odd:
        return sin(angle) * total
    return 2.0 / pi * (angle + (sin(angle) * total if freedom > 1 else 0.0))
