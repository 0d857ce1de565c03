"""Planted markets whose next move is led by one observed factor, a normal AR(1)."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mtquant.market.bars import Float
from mtquant.market.gaussian import autoregression, normal_semivariances
from mtquant.market.planted_history import PlantedLaw, Sample, require


@dataclass(frozen=True)
class Factor:
    """How one standard normal AR(1) factor leads the moves: ``z' = edge f + noise e``.

    Attributes:
        phi: Share of the factor that stays for the next bar.
        edge: Expected move of a factor of 1.
        noise: Standard deviation of the rest of the move.
    """

    phi: float
    edge: float
    noise: float


@dataclass(frozen=True, kw_only=True)
class FactorLaw(PlantedLaw):
    """A law with one observed factor, which is the state of its optimum."""

    #: What the factor is called among the signals.
    signal: ClassVar[str]

    @property
    @abstractmethod
    def factor(self) -> Factor:
        """How the factor leads the moves."""

    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        """Factor and noise drawn apart, see :meth:`PlantedLaw.sample`."""
        factor = self.factor
        f = autoregression(rng, factor.phi, n_bars + 1)  # from the close before the first bar
        moves = factor.edge * f[:-1] + factor.noise * rng.standard_normal(n_bars)
        return self.told(moves, f[1:])

    def told(self, moves: Float, f: Float) -> Sample:
        """A sample of moves and of the factor at each close, ``[T]``."""
        mean = self.factor.edge * f
        return Sample(
            moves, mean, *normal_semivariances(mean, self.factor.noise), f, {self.signal: f}
        )


@dataclass(frozen=True, kw_only=True)
class LeadLag(FactorLaw):
    """A leader whose independent moves are followed a bar later, by a share.

    ::

        z' = rho u + sqrt(1 - rho^2) e

    Attributes:
        rho: Correlation of the next move with the leader's.
    """

    rho: float = 0.10

    signal = "leader"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "rho", self.rho, 0.0, 1.0)

    @property
    def factor(self) -> Factor:
        """Without memory."""
        return Factor(0.0, self.rho, (1.0 - self.rho**2) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class SlowAlpha(FactorLaw):
    """A signal that fades slowly, so that it pays to hold on and not to chase it.

    ::

        z' = rho f + sqrt(1 - rho^2) e;  f' = phi f + sqrt(1 - phi^2) n

    Attributes:
        phi: Share of the signal that stays for the next bar.
        rho: Correlation of the next move with the signal.
    """

    cost: float = 0.10
    phi: float = 0.90
    rho: float = 0.06

    signal = "alpha"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "phi", self.phi, 0.0, 0.999)
        require(self, "rho", self.rho, 0.0, 1.0)

    @property
    def factor(self) -> Factor:
        """The signal itself."""
        return Factor(self.phi, self.rho, (1.0 - self.rho**2) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class BlurredAlpha(SlowAlpha):
    """A slow alpha that is told several times over, each time with noise of its own.

    The optimum sees the signal itself, so nobody who is told the copies reaches all of it.

    Attributes:
        copies: How many there are.
        blur: Standard deviation of each one's noise; the signal's own is 1.
    """

    cost: float = 0.30
    phi: float = 0.98
    rho: float = 0.05
    copies: int = 4
    blur: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "copies", self.copies, 1, 100)
        require(self, "blur", self.blur, 0.0, 100.0)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the copies among the signals."""
        return tuple(f"copy_{k}" for k in range(1, self.copies + 1))

    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        """As :class:`SlowAlpha`, and the copies after it."""
        sample = super().sample(rng, n_bars)
        signal = sample.signals[self.signal]
        noise = self.blur * rng.standard_normal((self.copies, n_bars))
        copies = dict(zip(self.names, signal + noise, strict=True))
        return replace(sample, signals=copies)


@dataclass(frozen=True, kw_only=True)
class OUPrice(FactorLaw):
    """A price that is pulled back to its mean: ``p' = (1 - k) p + e``, and ``z' = p' - p``.

    Moves have the variance ``2 / (2 - k)``, a little more than 1.

    Attributes:
        k: Share of the deviation that is undone in a bar.
    """

    cost: float = 0.10
    k: float = 0.005

    signal = "deviation"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "k", self.k, 0.001, 1.0)

    @property
    def deviation(self) -> float:
        """Standard deviation of the price, in bar volatilities."""
        return 1.0 / math.sqrt(self.k * (2.0 - self.k))

    @property
    def factor(self) -> Factor:
        """The price in its own standard deviations."""
        return Factor(1.0 - self.k, -self.k * self.deviation, 1.0)

    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        """Here the noise of the move is also the factor's, see :meth:`PlantedLaw.sample`."""
        f = autoregression(rng, self.factor.phi, n_bars + 1)
        return self.told(self.deviation * np.diff(f), f[1:])


@dataclass(frozen=True, kw_only=True)
class Leak(FactorLaw):
    """The next move told beforehand, by which a test for leaks is tested.

    Attributes:
        shown: Whether it is told; the same seed makes the same bars without it, a martingale.
    """

    shown: bool = True

    signal = "next_return"

    @property
    def martingale(self) -> bool:
        """Where it is not told."""
        return not self.shown

    @property
    def factor(self) -> Factor:
        """All of the move."""
        return Factor(0.0, 1.0, 0.0)

    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        """Moves, and the same a bar early, see :meth:`PlantedLaw.sample`."""
        moves = rng.standard_normal(n_bars + 1)
        if self.shown:
            return self.told(moves[:-1], moves[1:])
        nothing, half = np.zeros(n_bars), np.full(n_bars, 0.5)
        return Sample(moves[:-1], nothing, half, half, nothing, {})
