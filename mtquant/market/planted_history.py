"""Histories of planted markets: ordinary bars together with what only the maker of them can know.

A law draws *moves*, the returns of bars in units of one bar's volatility, and states what an ideal
observer expects of the next one. This module turns moves into bars that open where the last one
closed, hands signals over as instruments of context, and keeps the conditional moments by which a
policy is scored without the noise of its realised profit.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from mtquant.errors import ConfigError
from mtquant.market.bars import Bars, Float
from mtquant.market.clock import HOUR_NS
from mtquant.market.simulated import MONDAY_2015_NS
from mtquant.market.timeframe import Timeframe

SYMBOL = "PLANTED"

#: Standard deviation of a bar's return, of which every move is a multiple.
VOLATILITY = 1e-3

START_PRICE = 100.0
TICKS_A_UNIT = 100_000  # of price
LOWEST_PRICE = 1.0  # below it one tick would be more than a hundredth of a bar's volatility
VOLUME = 100.0
MOST_BARS = 2_000_000  # hours from 2015 until int64 ns run out

CONTEXT_LEVEL, CONTEXT_SCALE, CONTEXT_FLOOR = 1000.0, 100.0, 1.0
_NAME = re.compile(r"^[A-Z0-9]{2,15}$")


@dataclass(frozen=True, eq=False)
class Sample:
    """What a law draws, one value a bar.

    Attributes:
        moves: Return of the bar in units of :data:`VOLATILITY`, float64 ``[T]``.
        mean: Expected next move, given all that an ideal observer knows at the close, ``[T]``.
        down_long: Expected square of the next move's fall, ``E[min(z, 0)^2]``, ``[T]``.
        down_short: Expected square of its rise, ``E[max(z, 0)^2]``, ``[T]``.
        state: What the optimum looks at besides the position held, ``[T]``; 0 of a martingale.
        signals: What an observer is told at the close, by name, ``[T]`` each.
    """

    moves: Float
    mean: Float
    down_long: Float
    down_short: Float
    state: Float
    signals: Mapping[str, Float]


#: Of a sample, float64 ``[T]`` each.
COLUMNS = ("moves", "mean", "down_long", "down_short", "state")


@dataclass(frozen=True, kw_only=True)
class PlantedLaw(ABC):
    """A law of moves; a seed makes a history of it.

    A change of the position by ``d`` costs ``cost |d| + cost_quadratic / 2 d^2``; one of the two
    is 0. The position 1 is full size.

    Attributes:
        cost: Of a change by 1, in bar volatilities.
        cost_quadratic: Twice the cost of a change by 1 where it grows with the square.
    """

    cost: float = 0.05
    cost_quadratic: float = 0.0

    def __post_init__(self) -> None:
        require(self, "cost", self.cost, 0.0, 100.0)
        require(self, "cost_quadratic", self.cost_quadratic, 0.0, 100.0)
        if self.cost and self.cost_quadratic:
            raise ConfigError(
                f"planted market {type(self).__name__} has cost {self.cost} and cost_quadratic "
                f"{self.cost_quadratic}; set one of them to 0"
            )

    def draw(self, n_bars: int, seed: int) -> PlantedHistory:
        """A history; the same seed makes the same bits.

        Args:
            n_bars: How many bars, 2 or more.
            seed: Of every random number, 0 or more.

        Raises:
            ConfigError: ``n_bars`` or ``seed`` is out of range.
        """
        if not 2 <= n_bars <= MOST_BARS or seed < 0:
            raise ConfigError(
                f"a planted history needs 2..{MOST_BARS} bars and a seed >= 0, "
                f"not {n_bars} and {seed}"
            )
        sample = self.sample(np.random.default_rng(seed), n_bars)
        return PlantedHistory(**vars(sample), law=self, bars=bars_of(sample.moves))

    @property
    def martingale(self) -> bool:
        """Whether nothing can be expected of any move, so that flat is optimal."""
        return False

    @abstractmethod
    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        """Moves and what is known of them.

        Args:
            rng: Where every random number comes from.
            n_bars: How many.
        """


@dataclass(frozen=True, eq=False)
class PlantedHistory(Sample):
    """Bars of a planted market with their secrets, rows as in ``bars``.

    Attributes:
        law: That drew it.
        bars: Hourly bars of ``PLANTED``, round the clock from 2015-01-05 UTC.
    """

    law: PlantedLaw
    bars: Bars

    def __len__(self) -> int:
        return len(self.bars)

    def __getitem__(self, rows: slice) -> PlantedHistory:
        """A stretch of it, such as what comes after the training split."""
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        signals = {name: signal[rows] for name, signal in self.signals.items()}
        return PlantedHistory(**columns, signals=signals, law=self.law, bars=self.bars[rows])

    def as_context(self, signals: Mapping[str, Float] | None = None) -> list[Bars]:
        """Signals as bars of instruments that are watched and not traded.

        Args:
            signals: Columns ``[T]`` by name, such as noise; by default the history's own.

        Returns:
            One record a signal, called by its name in capitals without underscores, whose price is
            ``1000 + 100 x signal``, at least 1.

        Raises:
            ConfigError: A name makes no symbol, two names make one, or a column is too short.
        """
        mine, nothing = self.bars, self.bars.spread
        context: dict[str, Bars] = {}
        for name, signal in (self.signals if signals is None else signals).items():
            symbol = name.replace("_", "").upper()
            if not _NAME.match(symbol) or symbol in context or symbol == SYMBOL:
                raise ConfigError(
                    f"signal '{name}' cannot be the symbol '{symbol}'; "
                    "give every signal a name of its own of 2 to 15 letters and digits"
                )
            if np.shape(signal) != mine.time.shape:
                raise ConfigError(
                    f"signal '{name}' has shape {np.shape(signal)}; it needs one value for each of "
                    f"the {len(self)} bars"
                )
            price = np.maximum(CONTEXT_LEVEL + CONTEXT_SCALE * signal, CONTEXT_FLOOR)
            price.flags.writeable = False  # so that the four columns share it
            context[symbol] = Bars(
                symbol, mine.timeframe, mine.time, price, price, price, price, mine.volume, nothing
            )
        return list(context.values())


def bars_of(moves: Float) -> Bars:
    """Bars whose returns are some moves.

    ::

        close = open (1 + VOLATILITY z), rounded to a tick;  the next open is this close

    Args:
        moves: In units of :data:`VOLATILITY`, ``[T]``.

    Raises:
        ConfigError: The price falls so low that ticks would swallow the moves.
    """
    growth = (1.0 + VOLATILITY * moves).tolist()
    start = round(START_PRICE * TICKS_A_UNIT)
    ticks = np.array(list(accumulate(growth, lambda p, g: round(p * g), initial=start)))
    if ticks.min() < LOWEST_PRICE * TICKS_A_UNIT:
        raise ConfigError(
            f"the planted price falls below {LOWEST_PRICE} within {moves.size} bars; draw fewer "
            "bars or another seed"
        )
    price = ticks / TICKS_A_UNIT
    opened, closed = price[:-1], price[1:]
    return Bars(
        SYMBOL,
        Timeframe.H1,
        time=MONDAY_2015_NS + HOUR_NS * np.arange(moves.size, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, closed),
        low=np.minimum(opened, closed),
        close=closed,
        volume=np.full(moves.size, VOLUME),
        spread=np.zeros(moves.size),
    )


def require(law: object, name: str, value: float, low: float, high: float) -> None:
    """Refuse a parameter that lies outside ``low..high``, ends included.

    Raises:
        ConfigError: With the law, the parameter and the range.
    """
    if not low <= value <= high:
        raise ConfigError(
            f"{name} {value} of planted market {type(law).__name__} must lie in {low}..{high}"
        )
