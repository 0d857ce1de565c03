"""MT5Adapter: the one adapter, against the official MetaTrader5 module's API and nothing else.

The module may be the real one, a bridge's client or the simulated terminal. The adapter turns the
server's wall clock into UTC, hides the forming bar, and never guesses: None from a read is
*unknown*, raised as BrokerUnavailable and never taken for "flat"; an answer to an order is what
:mod:`mtquant.brokers.retcodes` says it proves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import (
    AccountState,
    BrokerPosition,
    Deal,
    Instrument,
    OrderRecord,
)
from mtquant.brokers.mt5_orders import MT5Orders
from mtquant.brokers.mt5_records import bars_of, deal_of, open_order, past_order, position_of
from mtquant.brokers.odd import number, understood, whole
from mtquant.brokers.orders import OpenOrder
from mtquant.brokers.reading import LOST
from mtquant.errors import BrokerUnavailable, ConfigError, DataError, RiskHalt
from mtquant.market.bars import Bars, Int
from mtquant.market.clock import DAY_NS, HOUR_NS, SECOND_NS, Clock
from mtquant.market.timeframe import Timeframe

# The end of every history request: server time runs ahead of UTC, and "now" misses the newest. Far
# enough from the module's 32 bits that no offset, nor a clock that was set back, leads past them:
# beyond is long ago, and the answer is an empty history.
_END_OF_TIME = 2**31 - 1 - 366 * 86_400
_KNOWN_TIMES = 4096
_log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R", BrokerPosition, Deal, OpenOrder)


def _margin_call(info: Any) -> float:
    """Equity over margin below which the broker warns; 0 where it counts in money instead."""
    in_percent = info.margin_so_mode == mt5.ACCOUNT_STOPOUT_MODE_PERCENT
    return float(info.margin_so_call) / 100.0 if in_percent else 0.0


class MT5Adapter(MT5Orders):
    """A Broker over one connected module; reads are here, orders in the base."""

    def __init__(
        self,
        module: Any,
        instruments: Sequence[Instrument],
        account: tuple[int, str] | None = None,
    ) -> None:
        """Do not connect yet.

        Args:
            module: ``MetaTrader5`` or what offers its functions.
            instruments: The symbols to trade.
            account: Login and server that it must be; None takes the terminal's own.

        Raises:
            ConfigError: The symbols disagree about the server's clock.
        """
        clocks = {instrument.spec.clock for instrument in instruments}
        if len(clocks) != 1:
            raise ConfigError(f"one server has one clock, the symbols name {sorted(clocks)}")
        super().__init__(module)
        self._instruments = tuple(instruments)
        self._expected = account
        self._clock = Clock.parse(clocks.pop())
        # The same few positions and deals come back at every bar.
        self._utc = lru_cache(_KNOWN_TIMES)(self._locate)
        self._lots = lru_cache(_KNOWN_TIMES)(self._rounded)
        self._instants = lru_cache(_KNOWN_TIMES)(self._meant)
        self._listings: dict[str, dict[Any, tuple[Any, Any]]] = {}

    def connect(self) -> AccountState:
        """Open the connection, select the symbols and verify the account.

        Raises:
            BrokerUnavailable: No terminal, not connected to its server, or trading is off.
            ConfigError: A symbol does not exist there.
            RiskHalt: It is another account.
        """
        login = {} if self._expected is None else {"login": self._expected[0]}
        if not self._call("initialize", **login):
            raise self._unavailable("initialize")
        with understood("terminal_info"):
            terminal = self._read("terminal_info")
            ready = terminal.connected and terminal.trade_allowed and not terminal.tradeapi_disabled
        if not ready:
            raise BrokerUnavailable(
                "the terminal is not connected or does not allow trading; log in and switch on "
                "algo trading"
            )
        for instrument in self._instruments:
            name = instrument.broker_name
            if not self._call("symbol_select", name, True):
                code, text = self._last_error()
                if code in LOST:
                    raise BrokerUnavailable(
                        f"symbol_select failed for '{name}': {text} ({code}); is the terminal "
                        "connected?"
                    )
                raise ConfigError(
                    f"the broker has no symbol '{name}' for {instrument.spec.name}; correct "
                    "'brokers' in configs/symbols.yaml"
                )
            self._rules.pop(name, None)  # the server may have changed them since
            self._rules_of(instrument)
        return self.account()

    def close(self) -> None:
        """Disconnect."""
        self._module.shutdown()

    def account(self) -> AccountState:
        """The account.

        Raises:
            BrokerUnavailable: It does not say, or says what is no number.
            RiskHalt: The terminal was switched to another account.
        """
        with understood("account_info"):
            return self._account(self._read("account_info"))

    def _account(self, info: Any) -> AccountState:
        found = (whole(info.login), str(info.server))
        if self._expected is None:
            self._expected = found
        if found != self._expected:
            raise RiskHalt(
                f"the terminal is on account {found[0]} at {found[1]}, not on {self._expected[0]} "
                f"at {self._expected[1]}; log in to the right one and start again"
            )
        return AccountState(
            login=found[0],
            server=found[1],
            currency=info.currency,
            balance=number(info.balance),
            equity=number(info.equity),
            margin=number(info.margin),
            leverage=int(info.leverage),
            is_demo=info.trade_mode == mt5.ACCOUNT_TRADE_MODE_DEMO,
            hedging=info.margin_mode == mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING,
            margin_call=_margin_call(info),
        )

    def positions(self) -> tuple[BrokerPosition, ...]:
        """All open positions; of a hedging account all tickets."""
        return self._listed(lambda p: self._on_grid(position_of(p, self._utc)), "positions_get")

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """All working orders, with their prices."""
        return self._listed(lambda o: self._on_grid(open_order(o, self._utc)), "orders_get")

    def past_orders(self, since_ns: int) -> tuple[OrderRecord, ...]:
        """Orders that ended since then."""
        return self._listed(past_order, "history_orders_get", *self._span(since_ns))

    def deals(self, since_ns: int) -> tuple[Deal, ...]:
        """Deals since then."""
        since = self._span(since_ns)
        return self._listed(
            lambda d: self._on_grid(deal_of(d, self._utc)), "history_deals_get", *since
        )

    def closed_bars(
        self,
        instrument: Instrument,
        timeframe: Timeframe,
        count: int,
        known_ns: int | None = None,
    ) -> Bars:
        """The newest closed bars in UTC, see :meth:`mtquant.brokers.base.Broker.closed_bars`.

        Raises:
            DataError: A bar has a time that the server's clock skipped: the clock is wrong.
        """
        constant = getattr(mt5, f"TIMEFRAME_{timeframe.name}")
        newest = 1 if known_ns is None else 0
        rows = self._read(
            "copy_rates_from_pos", instrument.broker_name, constant, newest, count + 1 - newest
        )
        with understood("copy_rates_from_pos"):
            bars = bars_of(rows, instrument, timeframe, self._clock)
        if known_ns is None:
            return bars
        return bars[: int(np.searchsorted(self._ends(bars), known_ns, side="right"))][-count:]

    def tick_time_ns(self, instrument: Instrument, now_ns: int) -> int:
        """When the symbol was quoted last, see :meth:`mtquant.brokers.base.Broker.tick_time_ns`."""
        with understood("symbol_info_tick"):
            seconds = whole(self._read("symbol_info_tick", instrument.broker_name).time)
            earlier, later = self._instants(seconds)
        return later if later <= now_ns else earlier

    def _ends(self, bars: Bars) -> Int:
        """When bars are over; a day of the server's lasts 25 hours where its clock goes back."""
        length = bars.timeframe.nanoseconds
        if length <= HOUR_NS:
            return bars.time + length
        return self._clock.locate(self._clock.from_utc(bars.time) + length).utc

    def _listed(self, record: Callable[[Any], T], function: str, *args: object) -> tuple[T, ...]:
        """Records of what a read lists; what a terminal lists twice is there once.

        What is listed as it was the last time is understood already.
        """
        with understood(function):
            rows = {row.ticket: row for row in self._read(function, *args)}
            known, listed = self._listings.get(function, {}), dict[Any, tuple[Any, T]]()
            for ticket, row in rows.items():
                found = known.get(ticket)
                if found is None or found[0] != row:
                    found = (row, record(row))
                listed[ticket] = found
            self._listings[function] = listed
            return tuple(made for _, made in listed.values())

    def _on_grid(self, record: R) -> R:
        lots = self._lots(record.symbol, record.volume_lots)
        return record if lots == record.volume_lots else replace(record, volume_lots=lots)

    def _rounded(self, symbol: str, volume_lots: float) -> float:
        """A volume on its symbol's grid: one beside it must not stop all else from being closed."""
        instrument = next((one for one in self._instruments if one.broker_name == symbol), None)
        if instrument is None:
            return volume_lots
        try:
            instrument.steps(volume_lots)
        except DataError as beside:
            lots = instrument.whole_lots(volume_lots)
            _log.warning("%s; counted as %g lots until then", beside, lots)
            return lots
        return volume_lots

    def _locate(self, server_seconds: int) -> int:
        wall = np.array([server_seconds * SECOND_NS], np.int64)
        return int(self._clock.locate(wall).utc[0])

    def _meant(self, server_seconds: int) -> tuple[int, int]:
        """The instant of a server time, and the later one of a time that comes twice."""
        earlier = self._utc(server_seconds)
        later = earlier + HOUR_NS
        shown = int(self._clock.from_utc(np.array([later], np.int64))[0])
        return earlier, later if shown == server_seconds * SECOND_NS else earlier

    def _span(self, since_ns: int) -> tuple[int, int]:
        """Server seconds from a day before ``since_ns`` until well after any clock's now."""
        start = int(self._clock.from_utc(np.array([since_ns - DAY_NS]))[0]) // SECOND_NS
        return max(start, 0), _END_OF_TIME
