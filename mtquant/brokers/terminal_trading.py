"""The simulated terminal's calls about positions, orders, deals and money.

Market orders on a netting account. Each is checked as a server would (symbol, session, volume
grid, money) and then executed by the kernel; a refusal is an answer with a retcode, not a failure.
"""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TypeVar

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal_records import (
    OrderCheckResult,
    OrderSendResult,
    TradeDeal,
    TradeOrder,
    TradePosition,
    TradeRequest,
)
from mtquant.brokers.terminal_requests import epoch_seconds, invalid, parse_request
from mtquant.brokers.terminal_state import TerminalState, api, not_found

Entry = TypeVar("Entry", TradeDeal, TradeOrder, TradePosition)

_FILLINGS = (mt5.ORDER_FILLING_FOK, mt5.ORDER_FILLING_IOC)
_TEXTS = {
    mt5.TRADE_RETCODE_DONE: "Request executed",
    mt5.TRADE_RETCODE_DONE_PARTIAL: "Request executed partially",
    mt5.TRADE_RETCODE_INVALID: "Invalid request",
    mt5.TRADE_RETCODE_INVALID_VOLUME: "Invalid volume",
    mt5.TRADE_RETCODE_TRADE_DISABLED: "Trade is disabled",
    mt5.TRADE_RETCODE_MARKET_CLOSED: "Market closed",
    mt5.TRADE_RETCODE_NO_MONEY: "No money",
    mt5.TRADE_RETCODE_INVALID_FILL: "Unsupported filling mode",
}


class TradingCalls(TerminalState):
    """``positions_*``, ``orders_*``, ``history_*`` and ``order_*``."""

    @api
    def positions_total(self) -> int | None:
        """How many positions are open."""
        return len(self.account.positions())

    @api
    def positions_get(
        self, *, symbol: str | None = None, ticket: int | None = None, group: str | None = None
    ) -> tuple[TradePosition, ...] | None:
        """Open positions; a ticket outranks a symbol, a symbol a group."""
        positions = self.account.positions()
        if ticket is not None:
            return tuple(p for p in positions if p.ticket == ticket)
        if symbol is not None:
            return tuple(p for p in positions if p.symbol == symbol)
        return tuple(p for p in positions if fnmatch(p.symbol, group or "*"))

    @api
    def orders_total(self) -> int | None:
        """How many orders are working; market orders are executed or refused at once."""
        return 0

    @api
    def orders_get(
        self, *, symbol: str | None = None, ticket: int | None = None, group: str | None = None
    ) -> tuple[TradeOrder, ...] | None:
        """Working orders; none, see :meth:`orders_total`."""
        return ()

    @api
    def history_deals_total(self, date_from: object, date_to: object, /) -> int | None:
        """How many deals lie between two dates."""
        return len(self.account.history(epoch_seconds(date_from), epoch_seconds(date_to)))

    @api
    def history_deals_get(
        self,
        *dates: object,
        group: str | None = None,
        ticket: int | None = None,
        position: int | None = None,
    ) -> tuple[TradeDeal, ...] | None:
        """Deals between two dates, of an order (``ticket``) or of a position."""
        if ticket is not None:
            return tuple(d for d in self.account.deals if d.order == ticket)
        if position is not None:
            return tuple(d for d in self.account.deals if d.position_id == position)
        return _grouped(self.account.history(*_between(dates)), group)

    @api
    def history_orders_total(self, date_from: object, date_to: object, /) -> int | None:
        """How many past orders lie between two dates."""
        return len(self.account.order_history(epoch_seconds(date_from), epoch_seconds(date_to)))

    @api
    def history_orders_get(
        self,
        *dates: object,
        group: str | None = None,
        ticket: int | None = None,
        position: int | None = None,
    ) -> tuple[TradeOrder, ...] | None:
        """Past orders between two dates, by ticket, or of a position."""
        if ticket is not None:
            return tuple(o for o in self.account.orders if o.ticket == ticket)
        if position is not None:
            return tuple(o for o in self.account.orders if o.position_id == position)
        return _grouped(self.account.order_history(*_between(dates)), group)

    @api
    def order_calc_margin(
        self, action: int, symbol: str, volume: float, price: float, /
    ) -> float | None:
        """Margin of a market order, account currency, open positions left aside."""
        s = self._symbol(symbol)
        if not self._traded(s) or action not in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL):
            raise invalid("Invalid arguments")
        share = float(self.account.tape.contracts["margin_share"][s])
        return self._value(s, volume) * price * share

    @api
    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float, /
    ) -> float | None:
        """Profit of a position between two prices, account currency."""
        s = self._symbol(symbol)
        if not self._traded(s) or action not in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL):
            raise invalid("Invalid arguments")
        move = price_close - price_open
        return self._value(s, volume) * (move if action == mt5.ORDER_TYPE_BUY else -move)

    def _value(self, s: int, volume_lots: float) -> float:
        """Account currency per 1.0 of price."""
        return volume_lots / self._feeds[s].spec.lot_step * self.account.step_value(s)

    @api
    def order_check(self, request: object, /) -> OrderCheckResult | None:
        """What stands against a request now; 0 is nothing."""
        parsed = parse_request(request)
        retcode, s, steps = self._judge(parsed)
        equity, margin = self.account.equity_and_margin()
        if retcode == 0:
            bid, ask = self.account.quote(s)
            share = float(self.account.tape.contracts["margin_share"][s])
            price = ask if steps > 0 else bid
            margin += abs(steps) * price * self.account.step_value(s) * share
        return OrderCheckResult.of(
            retcode=retcode,
            balance=float(self.account.book.account["balance"][0]),
            equity=equity,
            margin=margin,
            margin_free=equity - margin,
            margin_level=100.0 * equity / margin if margin > 0.0 else 0.0,
            comment=_TEXTS.get(retcode, "Done"),
            request=parsed,
        )

    @api
    def order_send(self, request: object, /) -> OrderSendResult | None:
        """Execute a market order at the forming bar's open, or say why not."""
        parsed = parse_request(request)
        retcode, s, steps = self._judge(parsed)
        if retcode != 0:
            return self._answer(parsed, retcode)
        done = self.account.execute(s, steps, parsed)
        if done.steps == 0:
            return self._answer(parsed, mt5.TRADE_RETCODE_NO_MONEY)
        part = done.steps != steps
        bid, ask = self.account.quote(s)
        return self._answer(
            parsed,
            mt5.TRADE_RETCODE_DONE_PARTIAL if part else mt5.TRADE_RETCODE_DONE,
            deal=done.deal,
            order=done.order,
            volume=self.account.lots(s, abs(done.steps)),
            price=done.price,
            bid=bid,
            ask=ask,
        )

    def _answer(self, request: TradeRequest, retcode: int, **values: float) -> OrderSendResult:
        self._requests += 1
        return OrderSendResult.of(
            retcode=retcode,
            comment=_TEXTS[retcode],
            request_id=self._requests,
            request=request,
            **values,
        )

    def _judge(self, request: TradeRequest) -> tuple[int, int, int]:
        """``(retcode or 0, symbol, signed lot steps)`` of a request."""
        if request.symbol not in self._index:
            raise not_found()
        s = self._index[request.symbol]
        if not self._traded(s):
            return mt5.TRADE_RETCODE_TRADE_DISABLED, s, 0
        if request.action != mt5.TRADE_ACTION_DEAL or request.type > mt5.ORDER_TYPE_SELL:
            return mt5.TRADE_RETCODE_INVALID, s, 0
        if request.type_filling not in _FILLINGS:
            return mt5.TRADE_RETCODE_INVALID_FILL, s, 0
        steps = self._feeds[s].steps(request.volume)
        if steps is None:
            return mt5.TRADE_RETCODE_INVALID_VOLUME, s, 0
        if not self.account.tradable(s):
            return mt5.TRADE_RETCODE_MARKET_CLOSED, s, 0
        return 0, s, steps if request.type == mt5.ORDER_TYPE_BUY else -steps


def _between(dates: tuple[object, ...]) -> tuple[int, int]:
    if len(dates) != 2:
        raise invalid("Invalid arguments")
    return epoch_seconds(dates[0]), epoch_seconds(dates[1])


def _grouped(entries: list[Entry], group: str | None) -> tuple[Entry, ...]:
    if group is None:
        return tuple(entries)
    return tuple(entry for entry in entries if fnmatch(entry.symbol, group))
