"""The simulated terminal's calls about symbols and bars.

Bars ascend; position 0 is the forming bar and the last row. A terminal holds one timeframe, that
of the bars it was given.
"""

from __future__ import annotations

from fnmatch import fnmatch

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal_records import SymbolInfo, Tick
from mtquant.brokers.terminal_requests import epoch_seconds, invalid, whole
from mtquant.brokers.terminal_state import TerminalState, api, not_found
from mtquant.jit import Structured


class MarketCalls(TerminalState):
    """``symbol*`` and ``copy_rates_*``."""

    @api
    def symbols_total(self) -> int | None:
        """How many symbols there are."""
        return len(self._feeds)

    @api
    def symbols_get(self, group: str | None = None) -> tuple[SymbolInfo, ...] | None:
        """Symbols that match ``group``, a pattern such as ``"*USD*"``."""
        chosen = [s for name, s in self._index.items() if fnmatch(name, group or "*")]
        return tuple(self._info(s) for s in chosen)

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

    def _history_of(self, symbol: object, timeframe: object) -> int:
        s = self._symbol(symbol)
        if not isinstance(timeframe, int):
            raise invalid("Invalid arguments")
        if timeframe != getattr(mt5, f"TIMEFRAME_{self._panel.timeframe.name}"):
            raise not_found()
        return s
