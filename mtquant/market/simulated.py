"""A made-up market with real manners, for when there are no data.

Prices follow a seeded law: stochastic volatility that clusters, jumps, the day's and the week's
rhythm, gaps over closed hours, spreads that widen at the rollover, and a weak hidden regime that
drifts up or down by a fraction of a bar's volatility and flips rarely. The regime is all there is
to learn (its optimal belief is the two-state filter of Hamilton 1989); with ``drift`` 0 the market
is a martingale. Nothing learnt here says anything about the real symbol of that name.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from mtquant.errors import ConfigError
from mtquant.market.bars import Bars, Float, Int
from mtquant.market.clock import HOUR_NS, Clock, Mask
from mtquant.market.hours import WEEK_MINUTES, TradingHours
from mtquant.market.symbols import AssetClass, SymbolSpec
from mtquant.market.timeframe import MINUTE_NS, Timeframe

LAW = "hidden-regime-1"
LAST_NS = int(np.iinfo(np.int64).max)  # in the year 2262
LATEST_START_NS = 9 * 10**18  # in the year 2255
MONDAY_2015_NS = int(np.datetime64("2015-01-05", "ns").astype(np.int64))

_ANNUAL_VOLATILITY: dict[AssetClass, float] = {
    "forex": 0.08,
    "metal": 0.15,
    "crypto": 0.60,
    "index": 0.17,
    "energy": 0.35,
    "stock": 0.28,
}
_START_PRICE = {
    "XAUUSD": 2000.0,
    "EURUSD": 1.1,
    "GBPUSD": 1.27,
    "USDJPY": 145.0,
    "BTCUSD": 40000.0,
    "ETHUSD": 2500.0,
    "US500": 4500.0,
    "NAS100": 15000.0,
    "USOIL": 75.0,
    "SPY": 450.0,
}
_START_TICKS = 15_000  # of a symbol without an entry above
_PATH_STEPS = 16  # inside a bar, for its high and low
_LOG_VOLATILITY_SD = 0.40
_LOG_VOLATILITY_HOURS = 60.0  # of trading, until a shock has faded to 1/e
_JUMP_RATE, _JUMP_SIZE = 0.003, 4.0  # a bar; in its volatilities
_CLOSED_HOUR_VARIANCE = 0.04  # of a trading hour's
_WEEKEND_ACTIVITY = 0.7  # where trading goes on
_ROLLOVER_WIDENING, _ROLLOVER_MINUTES = 2.0, 40.0
_REOPENING_WIDENING = 1.5  # after a weekend


@dataclass(frozen=True)
class SimulatedMarket:
    """A market that can be made again from its record.

    Attributes:
        symbol: Whose contract, hours and spread it copies.
        timeframe: Name of the bar length, D1 at most.
        n_bars: How many bars.
        seed: Of every random number.
        start_ns: No bar opens before this, ns UTC.
        drift: Mean move of a bar in its own volatilities, up or down by the hidden regime.
        flip_probability: That the regime changes with a bar.
        law: Version of the law; another version makes other bars.
    """

    symbol: str
    timeframe: str
    n_bars: int
    seed: int
    start_ns: int = MONDAY_2015_NS
    drift: float = 0.11
    flip_probability: float = 0.01
    law: str = LAW

    def __post_init__(self) -> None:
        if self.n_bars < 1 or self.seed < 0 or not 0 <= self.start_ns <= LATEST_START_NS:
            raise ConfigError(
                "a simulated market needs n_bars >= 1, seed >= 0 and start_ns up to 2255, not "
                f"{self.n_bars}, {self.seed} and {self.start_ns}"
            )
        if not (0 <= self.drift <= 1 and 0 <= self.flip_probability <= 1):
            raise ConfigError(
                f"drift {self.drift} and flip_probability {self.flip_probability} of a simulated "
                "market must lie in 0..1"
            )
        if Timeframe.parse(self.timeframe).minutes > Timeframe.D1.minutes:
            raise ConfigError(
                f"cannot simulate {self.timeframe} bars; simulate D1 or less and resample"
            )
        if self.law != LAW:
            raise ConfigError(f"unknown law '{self.law}' of a simulated market; known: {LAW}")

    def to_dict(self) -> dict[str, Any]:
        """The record for a manifest; ``SimulatedMarket(**record)`` makes the same market."""
        return asdict(self)

    def bars(self, spec: SymbolSpec) -> Bars:
        """The bars, on the tick grid and within the trading hours of ``spec``."""
        return self.run(spec).bars

    def run(self, spec: SymbolSpec) -> SimulatedHistory:
        """The bars together with what is hidden from an agent.

        Raises:
            ConfigError: ``spec`` is another symbol's.
        """
        if spec.name != self.symbol:
            raise ConfigError(f"the simulated market is {self.symbol}, the contract {spec.name}")
        rng = np.random.default_rng(self.seed)
        timeframe = Timeframe.parse(self.timeframe)
        time = trading_times(spec, timeframe, self.n_bars, self.start_ns)
        sigma, calm = _volatility(rng, time, spec, timeframe)
        flips = rng.random(time.size) < self.flip_probability
        regime = np.where((np.cumsum(flips) + rng.integers(2)) % 2 == 0, 1, -1).astype(np.int64)
        path = _paths(rng, time, sigma, np.float64(self.drift) * regime, timeframe)
        columns = _prices(path, spec)
        columns["volume"] = np.ceil(
            200
            * timeframe.minutes**0.5
            * (sigma / calm)
            * np.exp(0.3 * rng.standard_normal(time.size))
        )
        columns["spread"] = _spreads(rng, time, sigma / calm, spec, timeframe)
        bars = Bars(spec.name, timeframe, time=time, **columns)
        return SimulatedHistory(bars, regime, sigma)


@dataclass(frozen=True, eq=False)
class SimulatedHistory:
    """A simulated market with its secrets, for oracles and tests.

    Attributes:
        bars: What an agent may see.
        regime: Sign of the drift, +1 or -1, int64 ``[T]``.
        sigma: Standard deviation of the bar's log return without jumps, float64 ``[T]``.
    """

    bars: Bars
    regime: Int
    sigma: Float


def simulate(spec: SymbolSpec, timeframe: Timeframe, n_bars: int, seed: int, **law: Any) -> Bars:
    """Bars of a simulated market; ``law`` as the fields of :class:`SimulatedMarket`."""
    return SimulatedMarket(spec.name, timeframe.name, n_bars, seed, **law).bars(spec)


def trading_times(spec: SymbolSpec, timeframe: Timeframe, n_bars: int, start_ns: int) -> Int:
    """The first ``n_bars`` opens from ``start_ns`` on that hold a trading minute, int64 ``[T]``."""
    hours = TradingHours.of(spec)
    clock, length = hours.clock, timeframe.nanoseconds
    opening = int(clock.from_utc(np.array([start_ns]))[0])
    first = -(-opening // length) * length
    slots_a_week = WEEK_MINUTES // timeframe.minutes
    monday = np.arange(slots_a_week, dtype=np.int64) * length
    open_a_week = int(hours.trades_in(clock.locate(monday).utc, timeframe).sum())
    if not open_a_week:
        raise ConfigError(f"{spec.name} has no trading hours; add some to configs/symbols.yaml")
    weeks = n_bars // open_a_week + 2
    if first + weeks * WEEK_MINUTES * MINUTE_NS > LAST_NS:
        raise ConfigError(
            f"{n_bars} bars of {timeframe.name} from {np.datetime64(start_ns, 'ns'):.10} reach "
            "beyond the year 2262; simulate fewer"
        )
    located = clock.locate(first + np.arange(weeks * slots_a_week, dtype=np.int64) * length)
    times = np.unique(located.utc[~located.missing])
    return times[hours.trades_in(times, timeframe)][:n_bars]


def _bars_a_year(spec: SymbolSpec, timeframe: Timeframe) -> float:
    return 365.25 / 7 * float(TradingHours.of(spec).open_minutes.sum()) / timeframe.minutes


def _rhythm(time: Int, spec: SymbolSpec) -> Float:
    """Activity by New York's hour: a hump when London opens, a higher one when New York does."""
    wall = Clock.parse("America/New_York").from_utc(time)
    hour = wall / HOUR_NS % 24
    london, new_york = (np.exp(-(((hour - at) / 2.5) ** 2)) for at in (3.5, 10.0))
    humps: Float = 0.5 * london + 1.0 * new_york
    level: Float = 0.5 + humps * (0.4 if spec.asset_class == "crypto" else 1.0)
    return np.where(_weekend(time, spec), _WEEKEND_ACTIVITY, 1.0) * level


def _weekend(time: Int, spec: SymbolSpec) -> Mask:
    return np.asarray((Clock.parse(spec.clock).day_number(time) + 3) % 7 >= 5)


def _volatility(
    rng: np.random.Generator, time: Int, spec: SymbolSpec, timeframe: Timeframe
) -> tuple[Float, float]:
    """Volatility of each bar's log return ``[T]``, and its usual level."""
    calm = _ANNUAL_VOLATILITY[spec.asset_class] / _bars_a_year(spec, timeframe) ** 0.5
    fade = float(np.exp(-timeframe.minutes / 60 / _LOG_VOLATILITY_HOURS))
    shocks = rng.standard_normal(time.size) * _LOG_VOLATILITY_SD * (1 - fade**2) ** 0.5
    shocks[0] = rng.standard_normal() * _LOG_VOLATILITY_SD
    level = np.array(list(accumulate(shocks.tolist(), lambda h, shock: fade * h + shock)))
    rhythm = _rhythm(time, spec) if timeframe.minutes < Timeframe.D1.minutes else np.ones(time.size)
    rhythm = rhythm / np.mean(rhythm**2) ** 0.5
    # E[exp(2h)] = exp(2 sd^2): keep the mean variance at the symbol's.
    return calm * rhythm * np.exp(level - _LOG_VOLATILITY_SD**2), calm


def _paths(
    rng: np.random.Generator, time: Int, sigma: Float, drift: Float, timeframe: Timeframe
) -> Float:
    """Log price relative to the start at each step of each bar, ``[T, steps + 1]``."""
    bars = time.size
    steps = rng.standard_normal((bars, _PATH_STEPS)) * (sigma / _PATH_STEPS**0.5)[:, None]
    steps += ((drift * sigma - sigma**2 / 2) / _PATH_STEPS)[:, None]
    jumps = np.flatnonzero(rng.random(bars) < _JUMP_RATE)
    at = rng.integers(_PATH_STEPS, size=jumps.size)
    steps[jumps, at] += _JUMP_SIZE * sigma[jumps] * rng.standard_normal(jumps.size)
    closed_hours = np.diff(time, prepend=time[0] - timeframe.nanoseconds) - timeframe.nanoseconds
    hourly = sigma / timeframe.minutes**0.5 * 60**0.5
    gaps = hourly * np.sqrt(_CLOSED_HOUR_VARIANCE * np.maximum(closed_hours, 0) / HOUR_NS)
    gaps = gaps * rng.standard_normal(bars)
    inside = np.cumsum(steps, axis=1)
    closes = np.cumsum(inside[:, -1] + gaps)
    opens = closes - inside[:, -1]
    return np.concatenate([opens[:, None], opens[:, None] + inside], axis=1)


def _prices(path: Float, spec: SymbolSpec) -> dict[str, Float]:
    numerator, denominator = spec.tick_fraction
    start = _START_PRICE.get(spec.name, _START_TICKS * spec.tick_size)
    corners = {
        "open": path[:, 0],
        "high": path.max(axis=1),
        "low": path.min(axis=1),
        "close": path[:, -1],
    }
    ticks = {
        name: np.maximum(np.rint(start * np.exp(log) / spec.tick_size), 1.0)
        for name, log in corners.items()
    }
    return {name: count * numerator / denominator for name, count in ticks.items()}


def _spreads(
    rng: np.random.Generator, time: Int, activity: Float, spec: SymbolSpec, timeframe: Timeframe
) -> Float:
    """Spread in whole points ``[T]``: wider when volatile, at the rollover and after a weekend."""
    wide = spec.typical_spread_points * np.exp(0.15 * rng.standard_normal(time.size))
    wide *= np.maximum(activity, 0.5) ** 0.3
    if timeframe.minutes < Timeframe.D1.minutes:
        day = Clock.parse(spec.clock).day_number(time)
        first = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
        opened = np.repeat(time[first], np.diff(np.append(first, time.size)))
        minutes = (time - opened) / MINUTE_NS
        wide *= 1 + _ROLLOVER_WIDENING * np.exp(-minutes / _ROLLOVER_MINUTES)
        after_weekend = np.diff(day, prepend=day[0])[first] > 1
        wide[first[after_weekend]] *= _REOPENING_WIDENING
    return np.maximum(np.rint(wide), 1.0)
