"""SymbolFeed: what the simulated terminal shows of one symbol as simulated time goes on.

Times are epoch seconds *of the server's wall clock*, as everywhere in MetaTrader. Of the forming
bar only its open is known; high, low and close are the future and are not shown.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.growth import Rows
from mtquant.brokers.terminal.records import RATES, TICKS, SymbolInfo, Tick
from mtquant.jit import Structured
from mtquant.market.bars import Bars
from mtquant.market.clock import SECOND_NS, Clock
from mtquant.market.rollover import WEEKDAYS
from mtquant.market.symbols import SymbolSpec

_CALC_MODES = {
    "forex": mt5.SYMBOL_CALC_MODE_FOREX,
    "cfd": mt5.SYMBOL_CALC_MODE_CFD,
    "cfd_leverage": mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
}
_SWAP_MODES = {
    "none": mt5.SYMBOL_SWAP_MODE_DISABLED,
    "points": mt5.SYMBOL_SWAP_MODE_POINTS,
    "percent": mt5.SYMBOL_SWAP_MODE_INTEREST_CURRENT,
    "money": mt5.SYMBOL_SWAP_MODE_CURRENCY_DEPOSIT,
}
_ORDER_KINDS = (
    mt5.SYMBOL_ORDER_MARKET
    | mt5.SYMBOL_ORDER_LIMIT
    | mt5.SYMBOL_ORDER_STOP
    | mt5.SYMBOL_ORDER_SL
    | mt5.SYMBOL_ORDER_TP
)
_QUOTED = mt5.TICK_FLAG_BID | mt5.TICK_FLAG_ASK


class SymbolFeed:
    """Bars, quote and contract of one symbol, up to a row of its own bars."""

    def __init__(self, bars: Bars, spec: SymbolSpec, name: str) -> None:
        """Tabulate the bars on the server's clock.

        Args:
            bars: The symbol's whole history.
            spec: Its contract.
            name: What the broker calls it.
        """
        self.spec = spec
        self.name = name
        self._rows = Rows(self._tabulated(bars))
        self._rates: Structured = self._rows.all

    def extend(self, first: int, bars: Bars) -> None:
        """Take bars in the place of rows ``first`` and later."""
        self._rows.put(first, self._tabulated(bars))
        self._rates = self._rows.all

    def _tabulated(self, bars: Bars) -> Structured:
        rates = np.zeros(len(bars), RATES)
        rates["time"] = Clock.parse(self.spec.clock).from_utc(bars.time) // SECOND_NS
        for column in ("open", "high", "low", "close"):
            rates[column] = getattr(bars, column)
        rates["tick_volume"] = np.rint(bars.volume)
        rates["spread"] = np.rint(bars.spread)
        return rates

    def seconds(self, row: int) -> int:
        """Server time of a bar's open."""
        return int(self._rates["time"][row])

    def rates(self, first: int, newest: int, forming: bool, last: int) -> Structured:
        """Rows ``first`` to ``last`` of what is known when row ``newest`` is the newest.

        Args:
            first: First row; clipped to the history.
            newest: Newest row that has begun.
            forming: Whether the newest row is still open.
            last: Last row, included; clipped to ``newest``.
        """
        shown = self._rates[max(first, 0) : min(last, newest) + 1].copy()
        if forming and last >= newest and shown.size:
            for column in ("high", "low", "close"):
                shown[column][-1] = shown["open"][-1]
            shown["tick_volume"][-1] = 1
        return shown

    def rows_until(self, seconds: int) -> int:
        """How many bars open at or before a server time."""
        return int(np.searchsorted(self._rates["time"], seconds, side="right"))

    def tick(self, row: int, bid: float, ask: float) -> Tick:
        """The quote at the open of ``row``."""
        seconds = self.seconds(row)
        return Tick.of(time=seconds, bid=bid, ask=ask, time_msc=seconds * 1000, flags=_QUOTED)

    def ticks(self, first: int, last: int) -> Structured:
        """The opens of rows ``first`` to ``last``, both included and clipped to the history."""
        rows = self._rates[max(first, 0) : max(last + 1, 0)]
        ticks = np.zeros(len(rows), TICKS)
        ticks["time"], ticks["time_msc"] = rows["time"], rows["time"] * 1000
        ticks["bid"] = rows["open"]
        ticks["ask"] = np.round(rows["open"] + rows["spread"] * self.spec.point, self.spec.digits)
        ticks["flags"] = _QUOTED
        return ticks

    def info(self, row: int, bid: float, ask: float, trade_mode: int) -> SymbolInfo:
        """Contract and quote."""
        spec = self.spec
        triple = spec.swap_triple_day
        return SymbolInfo.of(
            select=True,
            visible=True,
            time=self.seconds(row),
            digits=spec.digits,
            spread=round((ask - bid) / spec.point),
            spread_float=True,
            trade_calc_mode=_CALC_MODES[spec.margin_mode],
            trade_mode=trade_mode,
            trade_stops_level=int(spec.stops_level_points),
            trade_freeze_level=int(spec.freeze_level_points),
            trade_exemode=mt5.SYMBOL_TRADE_EXECUTION_MARKET,
            swap_mode=_SWAP_MODES[spec.swap_mode],
            swap_rollover3days=0 if triple is None else (WEEKDAYS.index(triple) + 1) % 7,
            expiration_mode=mt5.SYMBOL_EXPIRATION_GTC | mt5.SYMBOL_EXPIRATION_DAY,
            filling_mode=mt5.SYMBOL_FILLING_FOK | mt5.SYMBOL_FILLING_IOC,
            order_mode=_ORDER_KINDS,
            bid=bid,
            ask=ask,
            point=spec.point,
            trade_tick_value=spec.tick_size * spec.contract_size,
            trade_tick_size=spec.tick_size,
            trade_contract_size=spec.contract_size,
            volume_min=spec.lot_min,
            volume_max=spec.lot_max,
            volume_step=spec.lot_step,
            volume_limit=spec.volume_limit or 0.0,
            swap_long=spec.swap_long,
            swap_short=spec.swap_short,
            currency_base=spec.base,
            currency_profit=spec.quote,
            currency_margin=spec.base if spec.margin_mode == "forex" else spec.quote,
            description=spec.description,
            name=self.name,
            path=f"{spec.asset_class}\\{self.name}",
        )

    def steps(self, volume_lots: float) -> int | None:
        """Lot steps of an order's volume; None where it is off the grid or out of bounds."""
        spec = self.spec
        if not spec.lot_min <= volume_lots <= spec.lot_max:  # NaN as well
            return None
        steps = Decimal(str(float(volume_lots))) / Decimal(str(spec.lot_step))
        whole = steps.to_integral_value()
        return int(whole) if abs(steps - whole) < Decimal("1e-6") else None
