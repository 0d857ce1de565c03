"""The simulated terminal's calls about symbols, bars and ticks.

Bars ascend; position 0 is the forming bar and the last row. A terminal holds one timeframe, that
of the bars it was given. Of each bar one tick is known, its open: a bar tells no order of its other
prices. No symbol has a depth of market.
"""

from __future__ import annotations

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.records import BookInfo, SymbolInfo, Tick
from mtquant.brokers.terminal.requests import chosen, epoch_seconds, in_group, invalid, whole
from mtquant.brokers.terminal.state import TerminalState, api, not_found
from mtquant.jit import Structured

_TICK_FLAGS = (mt5.COPY_TICKS_ALL, mt5.COPY_TICKS_INFO, mt5.COPY_TICKS_TRADE)


class MarketCalls(TerminalState):
    """``symbol*``, ``copy_*`` and ``market_book_*``."""

    @api
    def symbols_total(self) -> int | None:
        """How many symbols there are."""
        return len(self._feeds)

    @api
    def symbols_get(self, group: str | None = None) -> tuple[SymbolInfo, ...] | None:
        """Symbols of a group such as ``"*USD*, !XAU*"``."""
        chosen(None, group=group)
        return tuple(self._info(s) for name, s in self._index.items() if in_group(name, group))

    @api
    def symbol_info(self, symbol: str, /) -> SymbolInfo | None:
        """Contract and quote."""
        return self._info(self._symbol(symbol))

    @api
    def symbol_info_tick(self, symbol: str, /) -> Tick | None:
        """Quote."""
        s = self._symbol(symbol)
        return self._feeds[s].tick(self._row(s), *self._quote(s))

    @api
    def symbol_select(self, symbol: str, enable: bool = True, /) -> bool:
        """Show a symbol; all are shown."""
        self._symbol(symbol)
        if not isinstance(enable, int):
            raise invalid('Invalid "enable" argument')
        return True

    def _row(self, s: int) -> int:
        return max(self._newest(s)[0], 0)

    def _info(self, s: int) -> SymbolInfo:
        mode = mt5.SYMBOL_TRADE_MODE_FULL if self._traded(s) else mt5.SYMBOL_TRADE_MODE_DISABLED
        return self._feeds[s].info(self._row(s), *self._quote(s), mode)

    @api
    def copy_rates_from_pos(
        self, symbol: str, timeframe: int, start_pos: int, count: int, /
    ) -> Structured | None:
        """``count`` bars back from position ``start_pos``; 0 is the forming bar."""
        s = self._history_of(symbol, timeframe)
        newest, forming = self._newest(s)
        last = newest - whole(start_pos)
        return self._feeds[s].rates(last - whole(count) + 1, newest, forming, last)

    @api
    def copy_rates_from(
        self, symbol: str, timeframe: int, date_from: object, count: int, /
    ) -> Structured | None:
        """``count`` bars back from the one that holds the date."""
        s = self._history_of(symbol, timeframe)
        newest, forming = self._newest(s)
        last = self._feeds[s].rows_until(epoch_seconds(date_from)) - 1
        last = min(last, newest)
        return self._feeds[s].rates(last - whole(count) + 1, newest, forming, last)

    @api
    def copy_rates_range(
        self, symbol: str, timeframe: int, date_from: object, date_to: object, /
    ) -> Structured | None:
        """Bars that open between two dates, both included."""
        s = self._history_of(symbol, timeframe)
        newest, forming = self._newest(s)
        feed = self._feeds[s]
        first = feed.rows_until(epoch_seconds(date_from) - 1)
        return feed.rates(first, newest, forming, feed.rows_until(epoch_seconds(date_to)) - 1)

    @api
    def copy_ticks_from(
        self, symbol: str, date_from: object, count: int, flags: int, /
    ) -> Structured | None:
        """``count`` ticks from a date on."""
        s, first = self._symbol(symbol), epoch_seconds(date_from)
        wanted, quotes = whole(count), _wants_quotes(flags)
        begin = self._feeds[s].rows_until(first - 1)
        return self._ticks(s, begin, begin + wanted - 1 if quotes else begin - 1)

    @api
    def copy_ticks_range(
        self, symbol: str, date_from: object, date_to: object, flags: int, /
    ) -> Structured | None:
        """Ticks between two dates, both included."""
        s, quotes = self._symbol(symbol), _wants_quotes(flags)
        feed = self._feeds[s]
        begin = feed.rows_until(epoch_seconds(date_from) - 1)
        end = feed.rows_until(epoch_seconds(date_to)) - 1
        return self._ticks(s, begin, end if quotes else begin - 1)

    def _ticks(self, s: int, first: int, last: int) -> Structured:
        return self._feeds[s].ticks(first, min(last, self._newest(s)[0]))

    @api
    def market_book_add(self, symbol: str, /) -> bool:
        """Subscribe to a symbol's depth."""
        self._books.add(self._symbol(symbol))
        return True

    @api
    def market_book_release(self, symbol: str, /) -> bool:
        """Unsubscribe; False where nobody had subscribed."""
        s = self._symbol(symbol)
        if s not in self._books:
            raise not_found()
        self._books.remove(s)
        return True

    @api
    def market_book_get(self, symbol: str, /) -> tuple[BookInfo, ...] | None:
        """The depth of a symbol that was subscribed to: there is none."""
        if self._symbol(symbol) not in self._books:
            raise not_found()
        return ()

    def _history_of(self, symbol: object, timeframe: object) -> int:
        s = self._symbol(symbol)
        if not isinstance(timeframe, int):
            raise invalid("Invalid arguments")
        if timeframe != getattr(mt5, f"TIMEFRAME_{self._panel.timeframe.name}"):
            raise not_found()
        return s


def _wants_quotes(flags: object) -> bool:
    """Whether ticks of bid and ask are asked for; there are no others."""
    if not isinstance(flags, int) or flags not in _TICK_FLAGS:
        raise invalid("Invalid arguments")
    return flags != mt5.COPY_TICKS_TRADE
