"""The tape: bars, contracts and rules as the columns that kernels read.

Whatever depends on the bar alone (ticks, ATR, conversion rate, nights of swap, broker day) is
computed here once and shared by all lanes. Everything in it is causal and, but for the conversion
rate, whole-number arithmetic: a live window of bars gives the very same values as whole history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor
from types import MappingProxyType
from typing import get_args

import numpy as np
import numpy.typing as npt

from mtquant.errors import ConfigError, DataError
from mtquant.jit import Structured
from mtquant.market.bars import Bars, Float, Int
from mtquant.market.clock import Clock
from mtquant.market.panel import Panel
from mtquant.market.rollover import swap_nights
from mtquant.market.symbols import AssetClass, SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.risk.gates import Gates, banded_codes, barred_codes, bars_per_day
from mtquant.sim.costs import SWAP_MODES
from mtquant.sim.records import BAR, CONTRACT, OPTIONAL_RULES, RULES

NO_GATES = Gates()
ASSET_CLASSES = get_args(AssetClass)
MOST_TICKS_OF_A_BAR = 2**31 - 1
STOPS = ("stop_atr", "take_atr", "trail_atr", "break_even_atr")


def to_ticks(prices: Float, spec: SymbolSpec) -> Int:
    """Nearest whole number of ticks of each price."""
    numerator, denominator = spec.tick_fraction
    return np.rint(prices * denominator / numerator).astype(np.int64)


def spread_ticks(bars: Bars, spec: SymbolSpec) -> Int:
    """Spread of each bar in ticks; where none was recorded (0), the symbol's typical one."""
    points = np.where(bars.spread > 0.0, bars.spread, spec.typical_spread_points)
    return np.maximum(np.rint(points * spec.point / spec.tick_size), 1.0).astype(np.int64)


def average_true_range(high: Int, low: Int, close: Int, length: int) -> Float:
    """Simple mean of the last ``length`` true ranges, 0 before there are enough.

    A mean of whole ticks, not Wilder's recursion: sizing then depends on exactly ``length + 1``
    bars and is the same, bit for bit, from a live window and from whole history.

    Args:
        high: Of each bar in ticks, int64 ``[T]``.
        low: As ``high``.
        close: As ``high``.
        length: Bars.
    """
    before = np.concatenate([close[:1], close[:-1]])
    ranges = np.maximum(high, before) - np.minimum(low, before)
    total = np.concatenate([[0], np.cumsum(ranges)])
    atr = np.zeros(len(close))
    if len(close) > length:
        atr[length:] = (total[length + 1 :] - total[1:-length]) / length
    return atr


def average_volume(bars: Bars, length: int) -> Float:
    """Mean volume of the last ``length`` bars, 0 before there are enough; summed afresh."""
    total = np.zeros(len(bars))
    if len(bars) >= length and bars.volume.any():
        for lag in range(length):
            total[length - 1 :] += bars.volume[length - 1 - lag : len(bars) - lag]
    return total / length


def conversion_rates(panel: Panel, specs: Sequence[SymbolSpec], currency: str) -> Float:
    """Account currency per unit of each symbol's quote currency, ``[T, S, 2]``: open and close.

    A pair that has no bar converts at its last close, at the open as at the close.

    Raises:
        ConfigError: A quote currency that no symbol of the panel converts.
    """
    prices = panel.place([np.stack([bars.open, bars.close], axis=1) for bars in panel.bars])
    prices[:, :, 0] = np.where(panel.tradable, prices[:, :, 0], prices[:, :, 1])
    rates = np.ones((len(panel), len(specs), 2))
    for s, spec in enumerate(specs):
        if spec.quote == currency:
            continue
        for o, other in enumerate(specs):
            if (other.base, other.quote) == (spec.quote, currency):
                rates[:, s] = prices[:, o]
                break
            if (other.base, other.quote) == (currency, spec.quote):
                rates[:, s] = 1.0 / prices[:, o]
                break
        else:
            raise ConfigError(
                f"{spec.name} is quoted in {spec.quote} and the account is in {currency}: add "
                f"{spec.quote}{currency} or {currency}{spec.quote} to the env's symbols, or "
                f"set account.currency to {spec.quote}"
            )
    return rates


def own_columns(bars: Bars, spec: SymbolSpec, atr_bars: int, gates: Gates) -> Structured:
    """``BAR[T]`` of one symbol on its own bars; both values are left at 0."""
    rows = np.zeros(len(bars), BAR)
    prices = (bars.open, bars.high, bars.low, bars.close)
    open_, high, low, close = (to_ticks(column, spec) for column in prices)
    rows["open"], rows["close"] = open_, close
    for name, ticks in (
        ("above", high - open_),
        ("below", open_ - low),
        ("spread", spread_ticks(bars, spec)),
    ):
        rows[name] = _narrow(ticks, bars, spec)
    rows["atr"] = average_true_range(high, low, close, atr_bars)
    rows["volume"] = average_volume(bars, atr_bars)
    following = np.append(bars.time[1:], bars.time[-1:] + bars.timeframe.nanoseconds)
    rows["nights"] = swap_nights(bars.time, following, spec)
    rows["tradable"] = 1
    rows["barred"] = barred_codes(gates, bars, spec, rows["volume"].astype(np.float64))
    rows["banded"] = banded_codes(gates, bars)
    return rows


def _narrow(ticks: Int, bars: Bars, spec: SymbolSpec) -> npt.NDArray[np.int32]:
    """Ticks within a bar in the 32 bits that they are kept in."""
    widest = int(np.argmax(np.abs(ticks))) if len(ticks) else 0
    if len(ticks) and abs(ticks[widest]) > MOST_TICKS_OF_A_BAR:
        raise DataError(
            f"{spec.name}: the bar of {np.datetime64(int(bars.time[widest]), 'ns')} spans "
            f"{abs(ticks[widest]):,} ticks of {spec.tick_size}, at most {MOST_TICKS_OF_A_BAR:,} "
            f"can be held; repair the bar, or give {spec.name} a larger tick_size"
        )
    return ticks.astype(np.int32)


def market_columns(
    panel: Panel,
    specs: Sequence[SymbolSpec],
    currency: str,
    atr_bars: int,
    gates: Gates = NO_GATES,
) -> Structured:
    """``BAR[T, S]``: where a symbol has no bar its last close stands and nothing can be traded."""
    market = np.zeros((len(panel), len(specs)), BAR)
    for s, (bars, spec) in enumerate(zip(panel.bars, specs, strict=True)):
        own = own_columns(bars, spec, atr_bars, gates)
        market[:, s] = own[np.maximum(panel.row[:, s], 0)]
        absent = ~panel.tradable[:, s]
        market["open"][absent, s] = market["close"][absent, s]
        for name in ("above", "below", "nights", "tradable"):
            market[name][absent, s] = 0
    values = conversion_rates(panel, specs, currency) * [[tick_worth(s)] for s in specs]
    market["open_value"], market["value"] = values[:, :, 0], values[:, :, 1]
    return market


def tick_worth(spec: SymbolSpec) -> float:
    """Quote currency of one tick and lot step."""
    numerator, denominator = spec.tick_fraction
    return spec.contract_size * spec.lot_step * numerator / denominator


def broker_days(panel: Panel, spec: SymbolSpec) -> npt.NDArray[np.int32]:
    """Broker day of each bar's open, int32 ``[T]``; the first symbol's clock is the account's."""
    return Clock.parse(spec.clock).day_number(panel.time).astype(np.int32)


def contract_rows(
    specs: Sequence[SymbolSpec],
    leverage: float,
    slippage_points: float,
    commission_per_lot: float | None = None,
    *,
    timeframe: Timeframe = Timeframe.H1,
    most_leverage: Mapping[str, float] = MappingProxyType({}),
) -> Structured:
    """``CONTRACT[S]`` of the specs.

    Args:
        specs: One per symbol.
        leverage: Of the account.
        slippage_points: Against every market order, both ways.
        commission_per_lot: Account currency per lot and side; None takes each symbol's own.
        timeframe: Of the bars; says how many make a day.
        most_leverage: Largest notional over equity of single symbols, by name.
    """
    rows = np.zeros(len(specs), CONTRACT)
    for row, spec in zip(rows, specs, strict=True):
        row["tick_n"], row["tick_d"] = spec.tick_fraction
        row["min_steps"] = round(spec.lot_min / spec.lot_step)
        most = min(spec.lot_max, spec.volume_limit or spec.lot_max)
        row["max_steps"] = _steps(most, spec)
        row["stops_ticks"] = _ticks_up(spec.stops_level_points, spec)
        row["slippage_ticks"] = _ticks_up(slippage_points, spec)
        charged = spec.commission_per_lot if commission_per_lot is None else commission_per_lot
        row["commission"] = charged * spec.lot_step
        row["margin_share"] = spec.margin_rate / (1.0 if spec.margin_mode == "cfd" else leverage)
        row["swap_mode"] = SWAP_MODES[spec.swap_mode]
        unit = _swap_unit(spec)
        row["step_lots"] = spec.lot_step
        row["bars_per_day"] = bars_per_day(spec, timeframe)
        row["asset_class"] = ASSET_CLASSES.index(spec.asset_class)
        row["leverage"] = most_leverage.get(spec.name, 0.0)
        row["swap_long"], row["swap_short"] = spec.swap_long * unit, spec.swap_short * unit
    return rows


def _steps(lots: float, spec: SymbolSpec) -> int:
    """Whole lot steps that are no more than some lots."""
    return floor(lots / spec.lot_step + 1e-9)


def _ticks_up(points: float, spec: SymbolSpec) -> int:
    """Whole ticks that are no less than some points."""
    return ceil(points * spec.point / spec.tick_size - 1e-9)


def _swap_unit(spec: SymbolSpec) -> float:
    """What one unit of a symbol's swap is per lot step and night, see ``nightly_swap``."""
    units = {
        "none": 0.0,
        "points": spec.point / spec.tick_size,
        "percent": 1.0 / 100.0 / 360.0,
        "money": spec.lot_step,
    }
    return units[spec.swap_mode]


def rules_row(numbers: Mapping[str, float]) -> Structured:
    """``RULES[1]`` of a mapping that leaves out optional rules at most.

    Raises:
        ConfigError: A rule is missing or is not one.
    """
    assert RULES.names is not None
    wrong = (set(RULES.names) ^ set(numbers)) - (OPTIONAL_RULES - set(numbers))
    if wrong:
        raise ConfigError(f"rules must be exactly those of the kernel; check {sorted(wrong)}")
    row = np.zeros(1, RULES)
    for name, value in numbers.items():
        row[name] = value
    row["managed"] = any(row[name][0] > 0.0 for name in STOPS)
    row["loss_unit"] = row["loss_unit"][0] or row["daily_loss_level_3"][0]
    return row
