"""Planted markets with nothing to learn: whatever is known, the next move has mean 0.

Their volatility may cluster, follow the clock or come from real bars, but signs are fair coins, so
that the best anybody can do is to stay flat. An agent that trades here has learnt noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from mtquant.errors import ConfigError
from mtquant.market.bars import Float, Int
from mtquant.market.planted_history import PlantedLaw, Sample, require


@dataclass(frozen=True, kw_only=True)
class Martingale(PlantedLaw):
    """A law of moves with mean 0 given the past; flat is optimal."""

    @property
    def martingale(self) -> bool:
        """Always."""
        return True

    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        """Moves, and half their conditional variance on either side."""
        moves, variance = self.symmetric(rng, n_bars)
        nothing = np.zeros(n_bars)
        return Sample(moves, nothing, 0.5 * variance, 0.5 * variance, nothing, {})

    def symmetric(self, rng: np.random.Generator, n_bars: int) -> tuple[Float, Float]:
        """Moves of symmetric laws ``[T]``, and the variance of the *next* one at each close."""
        return rng.standard_normal(n_bars), np.ones(n_bars)


@dataclass(frozen=True, kw_only=True)
class Iid(Martingale):
    """Independent normal moves."""


@dataclass(frozen=True, kw_only=True)
class StudentT(Martingale):
    """Independent moves with fat tails, Student's t scaled to unit variance.

    Attributes:
        freedom: Degrees of freedom, above 2.
    """

    freedom: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "freedom", self.freedom, 2.01, 1e6)

    def symmetric(self, rng: np.random.Generator, n_bars: int) -> tuple[Float, Float]:
        """See :meth:`Martingale.symmetric`."""
        unit = (1.0 - 2.0 / self.freedom) ** 0.5
        return unit * rng.standard_t(self.freedom, n_bars), np.ones(n_bars)


@dataclass(frozen=True, kw_only=True)
class Garch(Martingale):
    r"""GARCH(1,1) with unit variance on average, Bollerslev (1986).

    ::

        v' = (1 - alpha - beta) + alpha z^2 + beta v

    Attributes:
        alpha: Weight of the last squared move.
        beta: Weight of the last variance; ``alpha + beta < 1``.
    """

    alpha: float = 0.08
    beta: float = 0.90

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "alpha", self.alpha, 0.0, 1.0)
        require(self, "beta", self.beta, 0.0, 0.999 - self.alpha)

    def symmetric(self, rng: np.random.Generator, n_bars: int) -> tuple[Float, Float]:
        """See :meth:`Martingale.symmetric`."""
        shocks = rng.standard_normal(n_bars)
        variance = self.variances(shocks)
        return shocks * np.sqrt(variance[:-1]), variance[1:]

    def variances(self, shocks: Float) -> Float:
        """Of the move of each shock and of the one after the last, ``[T + 1]``, from 1 on."""
        gains = (self.alpha * shocks**2 + self.beta).tolist()
        level = 1.0 - self.alpha - self.beta
        return np.array(list(accumulate(gains, lambda v, gain: level + gain * v, initial=1.0)))


@dataclass(frozen=True, kw_only=True)
class Seasonal(Garch):
    """Moves under random signs whose size clusters (GARCH) and follows the hour of the day."""

    def symmetric(self, rng: np.random.Generator, n_bars: int) -> tuple[Float, Float]:
        """See :meth:`Martingale.symmetric`."""
        shocks = rng.standard_normal(n_bars)
        signs = coins(rng, n_bars)
        hour = np.arange(n_bars + 1, dtype=np.int64)
        variance = self.variances(shocks) * activity(hour)
        return signs * np.abs(shocks) * np.sqrt(variance[:-1]), variance[1:]


def coins(rng: np.random.Generator, length: int) -> Float:
    """Fair signs, 1 or -1."""
    return np.where(rng.integers(2, size=length) == 1, 1.0, -1.0)


def activity(hour: Int) -> Float:
    """Variance by the hour of the day, UTC, mean 1: humps at 8 and, higher, at 14."""
    day = np.arange(24, dtype=np.float64)
    humps = 0.5 * np.exp(-(((day - 8.0) / 2.5) ** 2)) + np.exp(-(((day - 14.0) / 2.5) ** 2))
    variance = (0.5 + humps) ** 2
    return np.asarray(variance / variance.mean())[hour % 24]


@dataclass(frozen=True, eq=False, kw_only=True)
class Shuffled(Martingale):
    """Given sizes of moves, such as real ones, in their order under random signs.

    The sizes are scaled to a root mean square of 1. A history is a stretch of them that begins
    anywhere. Its observer is taken to know the size of the next move and not its sign.

    Attributes:
        sizes: Absolute returns in any unit, ``[N]``, not all 0.
    """

    sizes: Float

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        given = np.abs(np.asarray(self.sizes, np.float64))
        if given.ndim != 1 or not np.isfinite(given).all() or not given.any():
            raise ConfigError(
                "the planted market Shuffled needs sizes: one row of finite returns, not all 0"
            )
        given /= np.sqrt(np.mean(given**2))
        given.flags.writeable = False
        object.__setattr__(self, "sizes", given)

    def symmetric(self, rng: np.random.Generator, n_bars: int) -> tuple[Float, Float]:
        """See :meth:`Martingale.symmetric`."""
        if n_bars >= self.sizes.size:
            raise ConfigError(
                f"{n_bars} bars of Shuffled need {n_bars + 1} sizes, {self.sizes.size} are given; "
                "draw fewer bars"
            )
        first = int(rng.integers(self.sizes.size - n_bars))
        sizes = self.sizes[first : first + n_bars + 1]
        signs = coins(rng, n_bars)
        return signs * sizes[:-1], sizes[1:] ** 2
