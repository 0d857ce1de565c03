"""Instruments, accounts and bars at random, with a script of actions to play on them.

Everything follows from the seed. About half of the accounts are wild: leveraged up to what margin
allows, so that stop-outs and refusals happen. The others live long enough for swaps and brakes.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from physics import roughened, takes_any_volume, with_physics

from mtquant.config.data import MarketData
from mtquant.config.schema import EnvConfig
from mtquant.envs.scenario import Scenario
from mtquant.market.bars import Bars
from mtquant.market.clock import DAY_NS, Clock
from mtquant.market.panel import Panel
from mtquant.market.rollover import WEEKDAYS, weekday
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

Rng = np.random.Generator
Float = npt.NDArray[np.float64]
Trait = Literal["", "pause", "autumn"]

ASSETS = ("forex", "metal", "crypto", "index", "energy", "stock")
TICKS = (
    (0.00001, 5),
    (0.0005, 4),
    (0.001, 3),
    (0.005, 3),
    (0.025, 3),
    (0.01, 2),
    (0.25, 2),
    (0.1, 1),
    (0.5, 1),
    (1.0, 0),
)
LONGEST_MINUTES = 30 * 365 * 24 * 60  # times in nanoseconds end in 2262
TIMEFRAMES = (Timeframe.M15, Timeframe.H1, Timeframe.H1, Timeframe.H4, Timeframe.D1)
REWARDS = ("sortino", "log_return", "sortino_ratio", "differential_sharpe", "differential_downside")
# Where markets never rest, a gap can hide which of autumn's two equal hours a bar belongs to.
STEADY_CLOCKS, CLOCKS = ("utc", "utc+3"), ("utc", "utc-5", "ny+7", "eet")
AUTUMN_NS = np.datetime64("2023-10-27", "ns").astype(np.int64)
LONGEST_LOOKBACK = 4
LOOSE = (0.97, 0.98, 0.99)


class Case(NamedTuple):
    """A scenario of one instrument, and an action for each row of its panel."""

    scenario: Scenario
    actions: npt.NDArray[np.float32]


class _Law(NamedTuple):
    """What the parts of one instrument have to agree on."""

    tick: float
    digits: int
    ticks: float  # level of the price
    sigma: float  # of one bar
    contract_size: float

    @property
    def lot_value(self) -> float:
        return self.ticks * self.tick * self.contract_size


def random_case(seed: int, n_bars: int, trait: Trait = "") -> Case:
    """The instrument of a seed over ``n_bars`` bars.

    Args:
        seed: Decides everything.
        n_bars: Warm-up included.
        trait: ``pause``: more than a day lies between the first row and the next. ``autumn``: a
            market without rest, hour by hour, a few days before its server's clock goes back.
    """
    rng = np.random.default_rng([seed, n_bars])
    tick, digits = TICKS[rng.integers(len(TICKS))]
    law = _Law(
        tick,
        digits,
        ticks=10.0 ** rng.uniform(3.0, 5.0),
        sigma=10.0 ** rng.uniform(-3.2, -1.8),
        contract_size=1.0,
    )
    sizes = [n for n in (1, 10, 50, 100, 1000, 5000, 100_000) if n * law.lot_value >= 1000.0]
    law = law._replace(contract_size=float(rng.choice(sizes)))
    spec = _spec(rng, f"RANDOM{seed}", ASSETS[seed % len(ASSETS)], law)
    timeframe = TIMEFRAMES[rng.integers(len(TIMEFRAMES))]
    if n_bars * timeframe.minutes > LONGEST_MINUTES:
        timeframe = Timeframe.H1
    if trait == "autumn":
        timeframe, always = Timeframe.H1, {"clock": "eet", "asset_class": "crypto"}
        spec = spec.model_copy(update=always)
    physics = np.random.default_rng([seed, n_bars, 1])
    rough = takes_any_volume(spec) and physics.random() < 0.5
    env = with_physics(physics, _env(rng, spec, law, timeframe), spec, law.sigma, rough)
    times = _times(rng, spec, timeframe, 2 * n_bars)
    if trait == "autumn":
        times = AUTUMN_NS + np.arange(n_bars) * timeframe.nanoseconds
    first = max(LONGEST_LOOKBACK, env.sizing.atr_bars + 1) - 1
    start = int(np.argmax((np.diff(times[first:]) > DAY_NS) == (trait == "pause")))
    bars = _bars(rng, spec, law, times[start : start + n_bars], timeframe)
    market = MarketData(Panel([bars]), (spec,), "random bars")
    scenario = Scenario.fit_all(env, market)
    return Case(roughened(physics, scenario) if rough else scenario, _script(rng, n_bars))


def _spec(rng: Rng, name: str, asset: str, law: _Law) -> SymbolSpec:
    crypto = asset == "crypto"
    step = float(rng.choice([0.001, 0.01, 0.01, 0.05, 0.1, 1.0]))
    least = int(rng.choice([1, 1, 2, 5]))
    margin = str(rng.choice(["forex", "cfd_leverage", "cfd"]))
    swap = str(rng.choice(["points", "points", "money", "percent", "none"]))
    size = {"points": 20.0, "percent": 8.0, "money": 1e-4 * law.lot_value, "none": 1.0}[swap]
    days = WEEKDAYS if crypto else WEEKDAYS[:5]
    point = 10.0**-law.digits
    return SymbolSpec.model_validate(
        {
            "name": name,
            "asset_class": asset,
            "base": "XXX",
            "quote": str(rng.choice(["USD", "EUR", "JPY"])),
            "contract_size": law.contract_size,
            "tick_size": law.tick,
            "digits": law.digits,
            "pip_size": 10.0 * law.tick,
            "lot_min": round(step * least, 6),
            "lot_step": step,
            "lot_max": round(step * float(rng.choice([60, 1000, 100_000])), 6),
            "margin_mode": margin,
            "margin_rate": float(
                rng.choice([0.05, 0.2, 1.0] if margin == "cfd" else [0.5, 1.0, 1.5])
            ),
            "swap_mode": swap,
            "swap_long": round(float(rng.normal(0.0, size)), 4),
            "swap_short": round(float(rng.normal(0.0, size)), 4),
            "swap_triple_day": None if rng.random() < 0.15 else str(rng.choice(days)),
            "swap_weekend": crypto,
            "commission_per_lot": round(float(rng.choice([0.0, 3e-5])) * law.lot_value, 3),
            "typical_spread_points": float(max(round(law.tick / point * rng.uniform(0.4, 6.0)), 1)),
            "clock": str(rng.choice(STEADY_CLOCKS if crypto else CLOCKS)),
            "hours": {"mon-sun" if crypto else "mon-fri": "00:00-24:00"},
        }
    )


def _times(rng: Rng, spec: SymbolSpec, timeframe: Timeframe, n_bars: int) -> npt.NDArray[np.int64]:
    """Opens without weekends (crypto has them), single missing bars and long gaps."""
    start = np.datetime64("2008-01-07", "ns").astype(np.int64) + rng.integers(2000) * DAY_NS
    grid = start + np.arange(3 * n_bars + 200) * timeframe.nanoseconds
    if spec.asset_class != "crypto":
        grid = grid[weekday(Clock.parse(spec.clock).day_number(grid)) < 5]
    kept = rng.random(grid.size) > 0.03
    for gap in rng.choice(grid.size, grid.size // 150, replace=False):
        kept[gap : gap + rng.integers(2, 40)] = False
    return grid[kept][:n_bars]


def _bars(
    rng: Rng, spec: SymbolSpec, law: _Law, time: npt.NDArray[np.int64], timeframe: Timeframe
) -> Bars:
    count, sigma = time.size, law.sigma
    moves = sigma * np.clip(rng.standard_t(3, count), -12, 12)
    moves *= np.where(rng.random(count) < 0.01, 8.0, 1.0)
    gaps = (
        sigma * rng.standard_normal(count) * rng.choice([0.0, 0.3, 3.0], count, p=[0.6, 0.37, 0.03])
    )
    reach = sigma * rng.exponential(0.7, (2, count))
    still = np.zeros(count, np.bool_)
    for start in rng.choice(count, count // 60, replace=False):
        still[start : start + rng.integers(1, 25)] = True
    for column in (moves, gaps, *reach):
        column[still] = 0.0
    path = np.cumsum(moves + gaps)
    # The walk turns back at its edges instead of leaving what a tick can express.
    path = np.abs((path + 1.5) % 6.0 - 3.0) - 1.5
    close = np.maximum(np.rint(law.ticks * np.exp(path)), 60.0)
    opened = np.maximum(np.rint(np.append(close[:1], close[:-1]) * np.exp(gaps)), 60.0)
    high = np.rint(np.maximum(opened, close) * (1.0 + reach[0]))
    low = np.maximum(np.rint(np.minimum(opened, close) * (1.0 - reach[1])), 20.0)
    spread = np.ceil(spec.typical_spread_points * rng.lognormal(0.0, 0.4, count))
    spread *= np.where(rng.random(count) < 0.03, rng.integers(5, 40, count), 1)
    spread[rng.random(count) < 0.1] = 0.0
    volume = np.rint(rng.lognormal(6.0, 1.0, count)) * (rng.random() < 0.8)
    volume[rng.random(count) < 0.05] = 0.0
    numerator, denominator = spec.tick_fraction
    prices = {"open": opened, "high": high, "low": low, "close": close}
    columns = {name: ticks * numerator / denominator for name, ticks in prices.items()}
    return Bars(spec.name, timeframe, time, **columns, volume=volume, spread=spread)


def _env(rng: Rng, spec: SymbolSpec, law: _Law, timeframe: Timeframe) -> EnvConfig:
    leverage = float(rng.choice([1, 10, 30, 100, 500, 500]))
    gearing = (1.0 if spec.margin_mode == "cfd" else leverage) / spec.margin_rate
    wild = rng.random() < 0.45
    fraction = (
        gearing * rng.uniform(0.7, 1.3) if wild else min(gearing, 3.0) * rng.uniform(0.1, 0.9)
    )
    capital = law.lot_value * spec.lot_min / fraction * 10.0 ** rng.uniform(0.6, 2.5)
    digits = [d for d in (0, 2, 2, 3, 8) if 1e5 < capital * 10.0**d < 1e14]
    money_digits = int(rng.choice(digits))
    capital = round(capital, money_digits)
    # Just below the gearing a gap until the next open is enough to be refused for lack of money.
    exposures = [0.99 * gearing / fraction, 1.5, 3.0] if wild else [0.7, 1.5, 3.0]
    exposure = fraction * float(rng.choice(exposures))
    return EnvConfig.model_validate(
        {
            "name": spec.name,
            "symbols": (spec.name,),
            "timeframe": timeframe.name,
            "features": ("hour", "weekday", {"returns": {"horizons": [1, 3]}}),
            "account": {
                "currency": spec.quote,
                "capital": capital,
                "leverage": leverage,
                "stop_out_level": float(rng.uniform(0.2, 0.95)),
                "money_digits": money_digits,
            },
            "sizing": _sizing(rng, law, fraction, wild),
            "costs": _costs(rng, law, spec, capital),
            "limits": {"max_exposure": exposure},
            "breaker": {"daily_loss": LOOSE} if wild else _breaker(rng, law, fraction, timeframe),
            "reward": {"kind": str(rng.choice(REWARDS))},
        }
    )


def _sizing(rng: Rng, law: _Law, fraction: float, wild: bool) -> dict[str, Any]:
    methods = ("volatility", "kelly", "volatility_target")
    risk = min(max(4.0 * fraction * law.sigma, 1e-4), 1.0)
    return {
        "method": "fixed_fractional" if wild else str(rng.choice(methods)),
        "notional_fraction": fraction,
        "risk_fraction": risk,
        "atr_bars": int(rng.choice([1, 5, 14])),
        "rebalance_band": float(rng.choice([0.0, 0.1, 0.3])),
        "min_change_steps": int(rng.choice([0, 0, 3])),
        "kelly": {"fraction": 1.0, "max_risk_fraction": risk, "prior_trades": 300.0},
        "target_volatility": fraction * law.sigma,
        "max_volume_share": None if rng.random() < 0.8 else 0.1,
    }


def _costs(rng: Rng, law: _Law, spec: SymbolSpec, capital: float) -> dict[str, Any]:
    own = rng.random() < 0.6
    return {
        "slippage": str(rng.choice(["none", "points", "range", "volume", "sqrt"])),
        "slippage_points": float(rng.choice([0.0, 1.0, 2.5, 7.0])),
        "slippage_coefficient": float(rng.uniform(0.01, 0.2)),
        "commission_per_lot": None if own else float(law.lot_value * 1.23e-5),
        "commission_per_fill": float(rng.choice([0.0, 1.7e-5])) * capital,
        "commission_fraction": float(rng.choice([0.0, 2.9e-5])),
        "randomise": (0.5, 2.0),  # of training alone: no face that is compared may draw it
    }


def _breaker(rng: Rng, law: _Law, fraction: float, timeframe: Timeframe) -> dict[str, Any]:
    """Losses that a day, a week and a long time of this account reach now and then."""
    day = fraction * law.sigma * np.sqrt(max(1440 / timeframe.minutes, 1.0))

    def loss(deviations: float) -> float:
        return float(min(deviations * day * rng.uniform(0.8, 1.5), 0.9))

    daily = loss(1.5)
    chosen: dict[str, Any] = {
        "daily_loss": (daily, daily * 1.05, 0.95),
        "shrink": float(rng.uniform(0.3, 0.9)),
    }
    brakes: tuple[dict[str, Any], ...] = (
        {"weekly_loss": loss(3.0), "weekly_loss_level": 2},
        {"drawdown": loss(12.0), "drawdown_level": int(rng.integers(1, 4))},
        {"start_loss": loss(25.0)},
        {"losing_run": 6, "losing_run_level": int(rng.integers(1, 3))},
    )
    for brake in brakes:
        if rng.random() < 0.4:
            chosen |= brake
    return chosen


def _script(rng: Rng, n_bars: int) -> npt.NDArray[np.float32]:
    """Full size, flips, partial closes, hair's breadths, flat, out of bounds, and NaN."""
    actions, last = np.zeros(n_bars), 0.0
    kinds = rng.choice(7, n_bars, p=[0.15, 0.15, 0.15, 0.15, 0.05, 0.1, 0.25])
    noise = rng.uniform(-1.0, 1.0, n_bars)
    for t, (kind, x) in enumerate(zip(kinds, noise, strict=True)):
        if kind < 6:
            last = (np.sign(x), -last or x, last * abs(x), last + 0.02 * x, 0.0, 1.5 * x)[kind]
        actions[t] = last if kind < 6 else np.nan
    return actions.astype(np.float32)
