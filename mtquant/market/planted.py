"""Planted markets: seeded laws whose best policy and its worth are known.

Whether an agent learns all there is to learn, and nothing else, can only be told where the answer
is known. Each law moves a price in units of one bar's volatility, and some of the move can be
expected from what an observer is told. What the optimum earns after cost is solved in
:mod:`mtquant.research.optimum`; real markets offer less and never say how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np

from mtquant.errors import ConfigError, unknown
from mtquant.market.bars import Float
from mtquant.market.factor_laws import BlurredAlpha, FactorLaw, LeadLag, Leak, OUPrice, SlowAlpha
from mtquant.market.gaussian import noise_signals, normal_semivariances
from mtquant.market.martingales import Garch, Iid, Martingale, Seasonal, Shuffled, StudentT
from mtquant.market.planted_history import PlantedHistory, PlantedLaw, Sample, require

__all__ = [
    "LAWS",
    "PRESETS",
    "BlurredAlpha",
    "FactorLaw",
    "HiddenRegime",
    "LeadLag",
    "Leak",
    "Martingale",
    "OUPrice",
    "PlantedHistory",
    "PlantedLaw",
    "Season",
    "SlowAlpha",
    "noise_signals",
    "planted",
]

HOURS = 24


@dataclass(frozen=True, kw_only=True)
class HiddenRegime(PlantedLaw):
    """A drift up or down that nobody is told and that flips rarely.

    ::

        z = mu s + e;  s = +-1 flips with probability q before every bar

    The ideal observer's belief is the filter of Hamilton (1989). Moves have the variance
    ``1 + mu^2``.

    Attributes:
        mu: Size of the drift.
        q: Probability of a flip.
    """

    cost: float = 0.10
    mu: float = 0.10
    q: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "mu", self.mu, 1e-3, 2.0)
        require(self, "q", self.q, 1e-5, 0.49)

    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        """Regime, moves and the belief in the regime, see :meth:`PlantedLaw.sample`."""
        flips = np.cumsum(rng.random(n_bars) < self.q) + rng.integers(2)
        moves = self.mu * (1.0 - 2.0 * (flips % 2)) + rng.standard_normal(n_bars)
        log_odds = self.filter(moves)
        return Sample(moves, *self.moments(log_odds), log_odds, {"belief": log_odds})

    def filter(self, moves: Float) -> Float:
        """Log odds of an upward drift in the *next* bar at each close, ``[T]``; from even odds.

        ::

            odds of this bar's regime   l + 2 mu z
            after a possible flip       b' = (1 - q) b + q (1 - b)

        Source: Hamilton (1989), A New Approach to the Economic Analysis of Nonstationary Time
        Series and the Business Cycle.
        """
        stay, flip, exp, log = 1.0 - self.q, self.q, math.exp, math.log

        def after(l: float, evidence: float) -> float:  # noqa: E741
            odds = exp(l + evidence)
            return log((stay * odds + flip) / (flip * odds + stay))

        evidence = (2.0 * self.mu * moves).tolist()
        return np.array(list(accumulate(evidence, after, initial=0.0)))[1:]

    def moments(self, log_odds: Float) -> tuple[Float, Float, Float]:
        """Mean and semivariances of the next move at some log odds, a mixture of two normals."""
        up = 1.0 / (1.0 + np.exp(-log_odds))
        fall, rise = normal_semivariances(np.array([self.mu, -self.mu]), 1.0)
        mixed = (up * side[0] + (1.0 - up) * side[1] for side in (fall, rise))
        return self.mu * (2.0 * up - 1.0), *mixed


@dataclass(frozen=True, kw_only=True)
class Season(PlantedLaw):
    """A drift that follows the hour of the day; for some hours the best position is flat.

    ::

        z = a sin(2 pi h / 24) + d sin(4 pi h / 24) + e,   h the hour (UTC) that the bar opens

    Moves have the variance ``1 + (a^2 + d^2) / 2``.

    Attributes:
        a: Amplitude of the wave of a day.
        d: Amplitude of the wave of half a day.
    """

    cost: float = 0.10
    a: float = 0.08
    d: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "a", self.a, -2.0, 2.0)
        require(self, "d", self.d, -2.0, 2.0)

    def drift(self, hour: Float) -> Float:
        """Expected move of bars that open at some hours."""
        day = day_angle(hour)
        return np.asarray(self.a * np.sin(day) + self.d * np.sin(2.0 * day))

    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        """Noise on the day's wave, see :meth:`PlantedLaw.sample`; the state is the next hour."""
        hours = np.arange(n_bars + 1, dtype=np.float64) % HOURS
        moves = self.drift(hours[:-1]) + rng.standard_normal(n_bars)
        hour = hours[1:]
        day = day_angle(hour)
        mean = self.drift(hour)
        clock = {"day_sin": np.sin(day), "day_cos": np.cos(day)}
        return Sample(moves, mean, *normal_semivariances(mean, 1.0), hour, clock)


def day_angle(hour: Float) -> Float:
    """Hours as an angle, ``[0, 2 pi)``."""
    return np.multiply(hour, 2.0 * math.pi / HOURS)


#: Laws by name; each has defaults for all but ``shuffled``, which needs the sizes of its moves.
LAWS: dict[str, type[PlantedLaw]] = {
    "iid": Iid,
    "student_t": StudentT,
    "garch": Garch,
    "seasonal": Seasonal,
    "shuffled": Shuffled,
    "lead_lag": LeadLag,
    "slow_alpha": SlowAlpha,
    "blurred_alpha": BlurredAlpha,
    "ou_price": OUPrice,
    "hidden_regime": HiddenRegime,
    "season": Season,
    "leak": Leak,
}

#: Markets by name: every law with its defaults, and variants. The easy ones expect about twice as
#: much of the next move (its standard deviation: .20 after .10, .10 after .06, .10 after .05, .13
#: after .07), so that less of it goes to cost.
PRESETS: dict[str, PlantedLaw] = {
    **{name: law() for name, law in LAWS.items() if law is not Shuffled},
    "lead_lag_easy": LeadLag(rho=0.20),
    "quadratic": SlowAlpha(cost=0.0, cost_quadratic=0.20, rho=0.10),
    "slow_alpha_easy": SlowAlpha(rho=0.10),
    "slow_alpha_slow": SlowAlpha(cost=0.20, phi=0.97, rho=0.05),
    "ou_price_easy": OUPrice(k=0.02),
    "season_easy": Season(a=0.16, d=0.10),
    "leak_blind": Leak(shown=False),
}


def planted(name: str, **changes: Any) -> PlantedLaw:
    """The planted market called ``name``, with parameters of its law changed.

    Args:
        name: One of :data:`PRESETS`, or ``shuffled``.
        changes: Fields of the law.

    Raises:
        ConfigError: No market or no parameter is called so, or a value is out of range.
    """
    if name not in PRESETS and name not in LAWS:
        raise ConfigError(unknown("planted market", name, {*PRESETS, *LAWS}))
    law = PRESETS[name] if name in PRESETS else LAWS[name]
    parameters = law.__dataclass_fields__
    for change in changes:
        if change not in parameters:
            raise ConfigError(unknown(f"parameter of planted market '{name}'", change, parameters))
    if isinstance(law, PlantedLaw):
        return replace(law, **changes)
    if missing := parameters.keys() - changes.keys() - {"cost", "cost_quadratic"}:
        raise ConfigError(f"planted market '{name}' needs the parameter {', '.join(missing)}")
    return law(**changes)
