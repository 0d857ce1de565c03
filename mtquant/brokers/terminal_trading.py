"""The simulated terminal's calls about positions, orders, deals and money.

Market orders and changes of stops. Each is judged as a server would (``terminal_judge``) and then
executed by the kernel, which has the last word about money; a refusal is an answer with a retcode,
not a failure. A server that takes only a part of an order says ``DONE_PARTIAL``, whatever the
filling: that is what a lane's own draws of ``partial_probability`` are for.
"""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TypeVar

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal_judge import RETCODES, Verdict, judge
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

_TEXTS = {
    mt5.TRADE_RETCODE_REQUOTE: "Requote",
    mt5.TRADE_RETCODE_REJECT: "Request rejected",
    mt5.TRADE_RETCODE_PLACED: "Order placed",
    mt5.TRADE_RETCODE_DONE: "Request executed",
    mt5.TRADE_RETCODE_DONE_PARTIAL: "Request executed partially",
    mt5.TRADE_RETCODE_ERROR: "Request processing error",
    mt5.TRADE_RETCODE_TIMEOUT: "Request timed out",
    mt5.TRADE_RETCODE_INVALID: "Invalid request",
    mt5.TRADE_RETCODE_INVALID_VOLUME: "Invalid volume",
    mt5.TRADE_RETCODE_INVALID_STOPS: "Invalid stops",
    mt5.TRADE_RETCODE_TRADE_DISABLED: "Trade is disabled",
    mt5.TRADE_RETCODE_MARKET_CLOSED: "Market closed",
    mt5.TRADE_RETCODE_NO_MONEY: "No money",
    mt5.TRADE_RETCODE_PRICE_CHANGED: "Price changed",
    mt5.TRADE_RETCODE_PRICE_OFF: "Off quotes",
    mt5.TRADE_RETCODE_NO_CHANGES: "No changes",
    mt5.TRADE_RETCODE_SERVER_DISABLES_AT: "Autotrading disabled by server",
    mt5.TRADE_RETCODE_CLIENT_DISABLES_AT: "Autotrading disabled by client",
    mt5.TRADE_RETCODE_LOCKED: "Request locked",
    mt5.TRADE_RETCODE_INVALID_FILL: "Unsupported filling mode",
    mt5.TRADE_RETCODE_CONNECTION: "No connection",
    mt5.TRADE_RETCODE_POSITION_CLOSED: "Position is closed",
    mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME: "Close volume exceeds the position",
    mt5.TRADE_RETCODE_LIMIT_POSITIONS: "Too many positions",
    mt5.TRADE_RETCODE_HEDGE_PROHIBITED: "Opposite positions are prohibited",
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
        return len(
            self.account.history.deals_between(epoch_seconds(date_from), epoch_seconds(date_to))
        )

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
        return _grouped(self.account.history.deals_between(*_between(dates)), group)

    @api
    def history_orders_total(self, date_from: object, date_to: object, /) -> int | None:
        """How many past orders lie between two dates."""
        return len(
            self.account.history.orders_between(epoch_seconds(date_from), epoch_seconds(date_to))
        )

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
        return _grouped(self.account.history.orders_between(*_between(dates)), group)

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
        s, verdict = self._judge(parsed)
        equity, margin = self.account.equity_and_margin()
        if verdict.retcode == 0:
            bid, ask = self.account.quote(s)
            share = float(self.account.tape.contracts["margin_share"][s])
            price = ask if verdict.steps > 0 else bid
            margin += abs(verdict.steps) * price * self.account.step_value(s) * share
        return OrderCheckResult.of(
            retcode=verdict.retcode,
            balance=float(self.account.book.account["balance"][0]),
            equity=equity,
            margin=margin,
            margin_free=equity - margin,
            margin_level=100.0 * equity / margin if margin > 0.0 else 0.0,
            comment=_TEXTS.get(verdict.retcode, "Done"),
            request=parsed,
        )

    @api
    def order_send(self, request: object, /) -> OrderSendResult | None:
        """Execute a market order in the forming bar or move stops, or say why not."""
        return self._serve(parse_request(request))

    def _serve(self, request: TradeRequest, order: int = 0) -> OrderSendResult:
        """What the server does with a request; ``order`` is a ticket that it has already."""
        s, verdict = self._judge(request)
        if verdict.retcode != 0:
            return self._answer(request, verdict.retcode)
        if request.action == mt5.TRADE_ACTION_SLTP:
            self.account.move_stops(s, verdict.levels)
            return self._answer(request, mt5.TRADE_RETCODE_DONE)
        return self._execute(request, s, verdict.steps, verdict.steps, order)

    def _execute(
        self, request: TradeRequest, s: int, asked: int, taken: int, order: int = 0
    ) -> OrderSendResult:
        """Execute ``taken`` of the ``asked`` signed lot steps under an order ticket, 0 for new."""
        done = self.account.execute(s, taken, request, order)
        if done.steps == 0:
            reason = self.account.refusal(s)
            return self._answer(request, RETCODES.get(reason, mt5.TRADE_RETCODE_REJECT))
        part = done.steps != asked
        bid, ask = self.account.quote(s)
        return self._answer(
            request,
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
            comment=_TEXTS.get(retcode, ""),
            request_id=self._requests,
            request=request,
            **values,
        )

    def _judge(self, request: TradeRequest) -> tuple[int, Verdict]:
        """The symbol of a request, and what stands against it."""
        if request.symbol not in self._index:
            raise not_found()
        s = self._index[request.symbol]
        if not self._traded(s):
            return s, Verdict(mt5.TRADE_RETCODE_TRADE_DISABLED)
        return s, judge(self.account, self._feeds[s], s, request)


def _between(dates: tuple[object, ...]) -> tuple[int, int]:
    if len(dates) != 2:
        raise invalid("Invalid arguments")
    return epoch_seconds(dates[0]), epoch_seconds(dates[1])


def _grouped(entries: list[Entry], group: str | None) -> tuple[Entry, ...]:
    if group is None:
        return tuple(entries)
    return tuple(entry for entry in entries if fnmatch(entry.symbol, group))
