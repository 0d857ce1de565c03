"""Ledger: what an agent's account went through, bar by bar.

It is the one record that every face of the simulator (backtest, validation, paper) hands over and
that metrics, charts and reports read. A row belongs to one bar, is labelled by the bar's *open*
and holds the state at the bar's *close*. Nothing here is derived: whatever can be computed from
the columns is computed in :mod:`mtquant.backtest.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from mtquant.errors import DataError
from mtquant.market.bars import Float, Int
from mtquant.market.clock import utc_text
from mtquant.market.timeframe import Timeframe

PER_BAR = (
    "equity",
    "exposure",
    "spread_cost",
    "slippage_cost",
    "commission",
    "swap",
    "traded_notional",
)
PER_SYMBOL = ("position_lots", "price")


class Event(NamedTuple):
    """Something a reader of the result must know: a breaker that tripped, a stop-out.

    Attributes:
        time_ns: Open of the bar in which it happened, ns since the epoch, UTC.
        text: One short sentence.
    """

    time_ns: int
    text: str


@dataclass(frozen=True)
class Trade:
    """One position from its opening until it was flat again or turned over.

    Attributes:
        symbol: Standard name.
        side: Direction of the position.
        entry_time_ns: Open of the bar of the first fill, ns since the epoch, UTC.
        exit_time_ns: Open of the bar of the last fill.
        bars_held: Bars from the first to the last fill.
        volume_lots: Largest volume held.
        entry_price: Mean of the entry fills, weighted by volume.
        exit_price: Mean of the exit fills, weighted by volume.
        profit: Account currency, net of all costs.
        costs: Account currency, paid in spread, slippage, commission and swap.
        exit_reason: Why it ended, ``signal``, ``stop``, ``target``, ``stop_out`` or ``breaker``.
    """

    symbol: str
    side: Literal["long", "short"]
    entry_time_ns: int
    exit_time_ns: int
    bars_held: int
    volume_lots: float
    entry_price: float
    exit_price: float
    profit: float
    costs: float
    exit_reason: str


@dataclass(frozen=True, eq=False)
class Ledger:
    """The account over ``T`` bars of ``S`` symbols; money is in account currency.

    Attributes:
        symbols: Standard names, the order of the columns.
        timeframe: Length of one bar.
        start_equity: Equity before the first bar; positive.
        time_ns: Bar opens, int64 ns since the epoch, UTC, strictly increasing. ``[T]``.
        equity: Marked at the close of each bar's bid and spread. ``[T]``.
        position_lots: Signed position at the close. ``[T, S]``.
        exposure: Notional over equity at the close: signed for one symbol, gross for several, 0
            where equity is not positive. ``[T]``.
        price: Bid close; NaN before a symbol's first bar. ``[T, S]``.
        spread_cost: Spread paid by this bar's buys (sells get the bid), positive = paid. ``[T]``.
        slippage_cost: As ``spread_cost``.
        commission: As ``spread_cost``.
        swap: As ``spread_cost``; a credit is negative.
        traded_notional: Value of this bar's fills. ``[T]``.
        trades: Closed positions, by exit time.
        events: What interrupted the run, by time.

    Raises:
        DataError: No bar, a column of another shape, a value that is not finite, a start equity
            that is not positive, or times that do not increase.
    """

    symbols: tuple[str, ...]
    timeframe: Timeframe
    start_equity: float
    time_ns: Int
    equity: Float
    position_lots: Float
    exposure: Float
    price: Float
    spread_cost: Float
    slippage_cost: Float
    commission: Float
    swap: Float
    traded_notional: Float
    trades: tuple[Trade, ...] = ()
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start_equity) and self.start_equity > 0):
            raise DataError(f"start_equity is {self.start_equity}; an account starts above 0")
        bars = len(self.time_ns)
        if not bars:
            raise DataError("the ledger has no bars; a result needs at least one")
        self._freeze("time_ns", (bars,), np.int64)
        for name in PER_BAR:
            self._freeze(name, (bars,), np.float64)
        for name in PER_SYMBOL:
            self._freeze(name, (bars, len(self.symbols)), np.float64)
        if bars > 1 and np.diff(self.time_ns).min() <= 0:
            raise DataError("the ledger's times do not increase; one row belongs to one bar")

    def _freeze(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        """Own a read-only copy of a column of the right shape."""
        column = np.array(getattr(self, name), dtype=dtype)
        if column.shape != shape:
            raise DataError(f"ledger column '{name}' has shape {column.shape}, not {shape}")
        if name != "price" and not np.isfinite(column).all():
            row = int(np.argwhere(~np.isfinite(column))[0][0])
            raise DataError(
                f"ledger column '{name}' is not finite at {utc_text(self.time_ns[row])}"
            )
        column.flags.writeable = False
        object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return int(self.time_ns.size)
