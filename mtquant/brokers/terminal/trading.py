"""The simulated terminal's calls about orders to come, and what becomes of them.

Each request is judged as a server would (``terminal_judge``) and then executed by the kernel, which
has the last word about money; a refusal is an answer with a retcode, not a failure. A server that
takes only a part of an order says ``DONE_PARTIAL``, whatever the filling: that is what a lane's own
draws of ``partial_probability`` are for.
"""

from __future__ import annotations

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.judge import RETCODES, WORKING_ACTIONS, Verdict, judge
from mtquant.brokers.terminal.listing import ListingCalls
from mtquant.brokers.terminal.records import OrderCheckResult, OrderSendResult, TradeRequest
from mtquant.brokers.terminal.requests import invalid, only, parse_request
from mtquant.brokers.terminal.state import api, not_found

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
    mt5.TRADE_RETCODE_INVALID_PRICE: "Invalid price",
    mt5.TRADE_RETCODE_INVALID_EXPIRATION: "Invalid expiration",
    mt5.TRADE_RETCODE_FROZEN: "Order or position frozen",
    mt5.TRADE_RETCODE_LIMIT_ORDERS: "Too many orders",
    mt5.TRADE_RETCODE_INVALID_ORDER: "Invalid order type",
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


class TradingCalls(ListingCalls):
    """``order_*``."""

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
    def order_check(self, /, *request: object, **named: object) -> OrderCheckResult | None:
        """What stands against a request now; 0 is nothing."""
        parsed = parse_request(only(request, named))
        s, verdict = self._judge(parsed)
        equity, margin = self.account.equity_and_margin()
        if verdict.retcode == 0 and parsed.action == mt5.TRADE_ACTION_DEAL:
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
    def order_send(self, /, *request: object, **named: object) -> OrderSendResult | None:
        """Execute a market order in the forming bar or move stops, or say why not."""
        return self._serve(parse_request(only(request, named)))

    def _serve(self, request: TradeRequest, order: int = 0) -> OrderSendResult:
        """What the server does with a request; ``order`` is a ticket that it has already."""
        s, verdict = self._judge(request)
        if verdict.retcode != 0:
            return self._answer(request, verdict.retcode)
        if request.action == mt5.TRADE_ACTION_DEAL:
            return self._execute(request, s, verdict.steps, verdict.steps, order)
        if request.action == mt5.TRADE_ACTION_SLTP:
            self.account.move_stops(s, verdict.levels)
            return self._answer(request, mt5.TRADE_RETCODE_DONE)
        return self._work(request, s, verdict, order)

    def _work(self, request: TradeRequest, s: int, verdict: Verdict, order: int) -> OrderSendResult:
        """Place, change or remove a working order."""
        pending, ticket = self.account.pending, request.order
        if request.action == mt5.TRADE_ACTION_PENDING:
            steps, levels = verdict.steps, verdict.levels
            ticket = pending.place(s, steps, verdict.price, levels, request, order)
        elif request.action == mt5.TRADE_ACTION_MODIFY:
            pending.change(ticket, request, verdict.price, verdict.levels)
        else:
            pending.remove(ticket)
        return self._answer(request, mt5.TRADE_RETCODE_DONE, order=ticket, volume=request.volume)

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
        name, order = request.symbol, self.account.pending.get(request.order)
        if order is not None and name == "" and request.action in WORKING_ACTIONS:
            name = self._feeds[order.symbol].name
        if name not in self._index:
            raise not_found()
        s = self._index[name]
        if not self._traded(s):
            return s, Verdict(mt5.TRADE_RETCODE_TRADE_DISABLED)
        return s, judge(self.account, self._feeds[s], s, request)
