"""Gates: what bars alone say against an increase, computed once for every bar.

    barred_codes   decided at the close of bar t: spread, volume, value, price, hours, prohibitions
    banded_codes   found at the open of bar t: a gap beyond the price band, where nothing is opened
    read_gates     what each of them measures at the close of the newest bar, for a person

The first two give one reason code a bar, 0 where nothing is barred, and read bar t and the close
before it alone: a live window gives what the whole history gave. What the data does not record
passes no gate: where a least volume is demanded and none is known, increases are barred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtquant.jit import Structured
from mtquant.market.bars import Bars, Float, Int
from mtquant.market.hours import TradingHours
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.risk.reasons import (
    MAX_SPREAD,
    MIN_PRICE,
    MIN_VALUE,
    MIN_VOLUME,
    OUT_OF_HOURS,
    PRICE_BAND,
    PROHIBITED,
)

Codes = npt.NDArray[np.int8]

GATE_RULES = np.dtype(
    [
        ("on", "i8"),
        ("limit", "f8"),
        ("least", "i8"),  # 1: the number must be no less than the limit; 0: no more
        ("code", "i8"),  # of mtquant.risk.reasons
    ]
)
MONTHS_PER_DAY = 12.0 / 365.25
EVERY_SYMBOL = "*"


@dataclass(frozen=True)
class Prohibition:
    """A time in which nothing is opened.

    Attributes:
        symbol: Standard name, or ``*`` for all of them.
        begins_ns: First instant, ns UTC.
        ends_ns: First instant after it.
        reason: For people.
    """

    symbol: str
    begins_ns: int
    ends_ns: int
    reason: str


@dataclass(frozen=True)
class Gates:
    """Which gates there are; 0 and None leave one out.

    Attributes:
        max_spread_fraction: Spread over price.
        max_spread_points: Spread in points.
        min_volume: Average volume of a bar, lots.
        min_day_value: Average value traded in a day, the symbol's quote currency.
        min_price: Bid.
        price_band: Change from a close to the next open, a fraction.
        hours: Trading hours on the symbol's clock, as in ``SymbolSpec``; its own are not judged,
            outside them there are no bars. Empty: never open.
        prohibited: When nothing is opened.
    """

    max_spread_fraction: float = 0.0
    max_spread_points: float = 0.0
    min_volume: float = 0.0
    min_day_value: float = 0.0
    min_price: float = 0.0
    price_band: float = 0.0
    hours: Mapping[str, str] | None = None
    prohibited: tuple[Prohibition, ...] = ()


@dataclass(frozen=True, eq=False)
class _Closed:
    """Closed bars with what belongs to them."""

    bars: Bars
    spec: SymbolSpec
    average_volume: Float

    @property
    def spread_points(self) -> Float:
        recorded = self.bars.spread
        return np.where(recorded > 0.0, recorded, self.spec.typical_spread_points)

    @property
    def times(self) -> Int:
        """When each bar closed, ns UTC; a month counts 30 days."""
        return self.bars.time + self.bars.timeframe.nanoseconds


def bars_per_day(spec: SymbolSpec, timeframe: Timeframe) -> float:
    """Bars of an average day on which a symbol trades; below 1 where a bar is longer."""
    minutes = TradingHours.of(spec).open_minutes
    days = int(minutes.reshape(7, -1).any(axis=1).sum())
    if timeframe is Timeframe.MN1:
        return MONTHS_PER_DAY * 7.0 / days
    return int(minutes.reshape(-1, timeframe.minutes).any(axis=1).sum()) / days


def _over_price(amount: Float, price: Float) -> Float:
    """A share of the price; infinite where that is no positive number."""
    share: Float = np.divide(amount, price, out=np.full(price.shape, np.inf), where=price > 0.0)
    return share


def _spread_points(gates: Gates, at: _Closed) -> Float:
    return at.spread_points


def _spread_fraction(gates: Gates, at: _Closed) -> Float:
    return _over_price(at.spread_points * at.spec.point, at.bars.close)


def _volume(gates: Gates, at: _Closed) -> Float:
    return at.average_volume


def _value(gates: Gates, at: _Closed) -> Float:
    """Quote currency a day."""
    lots = at.average_volume * bars_per_day(at.spec, at.bars.timeframe)
    value: Float = lots * at.bars.close * at.spec.contract_size
    return value


def _price(gates: Gates, at: _Closed) -> Float:
    return at.bars.close


def _outside(gates: Gates, at: _Closed) -> Float:
    """1 where a bar closes outside the hours; daily and longer bars have none."""
    if gates.hours is None or at.bars.timeframe.minutes >= Timeframe.D1.minutes:
        return np.zeros(len(at.bars))
    chosen = at.spec.model_copy(update={"hours": dict(gates.hours)})
    return np.where(TradingHours.of(chosen).is_open(at.times), 0.0, 1.0)


def _prohibitions(gates: Gates, at: _Closed) -> Float:
    """How many prohibitions a bar closes in."""
    count, times = np.zeros(len(at.bars)), at.times
    for one in gates.prohibited:
        if one.symbol in (at.spec.name, EVERY_SYMBOL):
            count += (one.begins_ns <= times) & (times < one.ends_ns)
    return count


class Gate(NamedTuple):
    """One gate.

    Attributes:
        name: Its field of :class:`Gates`, and its line of ``limits:``.
        code: Of :mod:`mtquant.risk.reasons`.
        measure: ``(gates, bars) -> numbers`` at the close of bars, float64 ``[T]``; None where
            there is none before the next open.
        least: Whether the number must be no less than the limit; else no more.
    """

    name: str
    code: int
    measure: Callable[[Gates, _Closed], Float] | None
    least: bool = False

    def is_on(self, gates: Gates) -> bool:
        """Whether it is asked for."""
        return bool(getattr(gates, self.name) != getattr(Gates, self.name))

    def limit(self, gates: Gates) -> float:
        """What its number is held against; nothing is allowed of what is only counted."""
        limit = getattr(gates, self.name)
        return limit if isinstance(limit, float) else 0.0


# In order of rank: the first that bars an increase gives the reason.
GATES = (
    Gate("max_spread_points", MAX_SPREAD, _spread_points),
    Gate("max_spread_fraction", MAX_SPREAD, _spread_fraction),
    Gate("min_volume", MIN_VOLUME, _volume, least=True),
    Gate("min_day_value", MIN_VALUE, _value, least=True),
    Gate("min_price", MIN_PRICE, _price, least=True),
    Gate("hours", OUT_OF_HOURS, _outside),
    Gate("prohibited", PROHIBITED, _prohibitions),
    Gate("price_band", PRICE_BAND, None),
)


def gate_rules(gates: Gates) -> Structured:
    """``GATE_RULES``, one row per gate in the order of :data:`GATES`."""
    rows = [(one.is_on(gates), one.limit(gates), one.least, one.code) for one in GATES]
    return np.array(rows, GATE_RULES)


def read_gates(gates: Gates, bars: Bars, spec: SymbolSpec, average_volume: Float) -> Float:
    """What each gate that is on measures at the close of the newest bar.

    Args:
        gates: Which there are.
        bars: Closed bars of one symbol.
        spec: Its contract.
        average_volume: Of a bar in lots, at each bar's close, ``[T]``; 0 where not recorded.

    Returns:
        float64, one per gate in the order of :data:`GATES`; NaN for a gate that is off, and for the
        price band, whose gap shows only when the next bar opens.
    """
    at = _Closed(bars[-1:], spec, average_volume[-1:])
    read = np.full(len(GATES), np.nan)
    for k, gate in enumerate(GATES):
        if gate.measure is not None and gate.is_on(gates):
            read[k] = gate.measure(gates, at)[0]
    return read


def barred_codes(gates: Gates, bars: Bars, spec: SymbolSpec, average_volume: Float) -> Codes:
    """What bars an increase that is decided at the close of each bar.

    Args:
        gates: Which there are.
        bars: Closed bars of one symbol. A spread of 0 stands for the typical one of ``spec``.
        spec: Its contract.
        average_volume: Of a bar in lots, at each bar's close, ``[T]``; 0 where not recorded.

    Returns:
        Reason codes, int8 ``[T]``; 0 where nothing is barred.
    """
    codes = np.zeros(len(bars), np.int8)
    at = _Closed(bars, spec, average_volume)
    for gate in GATES:
        if gate.measure is not None and gate.is_on(gates):
            numbers, limit = gate.measure(gates, at), gate.limit(gates)
            inside = numbers >= limit if gate.least else numbers <= limit
            codes[(codes == 0) & ~inside] = gate.code
    return codes


def banded_codes(gates: Gates, bars: Bars) -> Codes:
    """``PRICE_BAND`` where a bar opens beyond the band around the close before it.

    Args:
        gates: Which there are.
        bars: Closed bars of one symbol.

    Returns:
        Reason codes, int8 ``[T]``: an increase that would fill at the open of such a bar is
        refused. The first bar has no close before it and is never one.
    """
    codes = np.zeros(len(bars), np.int8)
    if gates.price_band:
        before = bars.close[:-1]
        inside = np.abs(bars.open[1:] - before) <= gates.price_band * before
        codes[1:][~inside] = PRICE_BAND
    return codes
