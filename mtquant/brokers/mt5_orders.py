"""The half of the adapter that sends: market orders, stops, limit and stop orders.

Each is sent once. A symbol's rules are read when the adapter connects; what they forbid is not sent
at all, and what the server answers is what :mod:`mtquant.brokers.retcodes` says it proves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from mtquant.brokers import constants as mt5
from mtquant.brokers.approval import Approved, action_of, withheld
from mtquant.brokers.base import Instrument, MarketOrder, OrderResult, Outcome, Quote, StopChange
from mtquant.brokers.mt5_requests import (
    Request,
    cancel_request,
    change_request,
    market_filling,
    modify_request,
    not_sent,
    order_request,
    place_request,
    result_of,
)
from mtquant.brokers.odd import number, understood, whole
from mtquant.brokers.orders import OrderKind, PendingCancel, PendingChange, PendingOrder
from mtquant.brokers.retcodes import outcome_of, outcome_of_change, outcome_of_placing
from mtquant.errors import BrokerUnavailable


@dataclass(frozen=True)
class TradeRules:
    """What a symbol's server allows.

    Attributes:
        filling: Of market orders, ``ORDER_FILLING_*``.
        stops: Least distance of a working order from the market, in price.
        freeze: Distance from the market inside which nothing may be changed, in price; 0 for none.
    """

    filling: int
    stops: float
    freeze: float

    @classmethod
    def of(cls, info: Any) -> Self:
        """Of a ``SymbolInfo``.

        Raises:
            ConfigError: It allows no market order that is known.
        """
        return cls(
            market_filling(info.trade_exemode, info.filling_mode),
            info.trade_stops_level * info.point,
            info.trade_freeze_level * info.point,
        )


class MT5Orders:
    """Orders over one connected module."""

    def __init__(self, module: Any) -> None:
        """Know nothing of any symbol yet."""
        self._module = module
        self._rules: dict[str, TradeRules] = {}

    def quote(self, instrument: Instrument) -> Quote:
        """The last quote.

        Raises:
            BrokerUnavailable: There is none yet.
        """
        with understood("symbol_info_tick"):
            tick = self._read("symbol_info_tick", instrument.broker_name)
            quote = Quote(number(tick.bid), number(tick.ask))
        if not 0.0 < quote.bid <= quote.ask:
            raise BrokerUnavailable(
                f"{instrument.broker_name} is quoted {quote.bid} / {quote.ask}; wait for a quote"
            )
        return quote

    def send(self, approved: Approved) -> OrderResult:
        """Send one market order, once; whatever goes wrong from then on is ambiguous."""
        order, quote = action_of(approved, MarketOrder), None
        instrument = order.instrument
        try:
            if order.stop_distance or order.take_distance:
                quote = self.quote(instrument)
            request = order_request(order, self._rules_of(instrument).filling, quote)
        except Exception as problem:
            return not_sent(problem)
        answer, error, kept_back = self._ask(approved, request)
        if kept_back:
            return not_sent(kept_back, Outcome.WITHHELD)
        outcome = outcome_of(answer, error[0])
        result = result_of(outcome, answer, error, instrument, int(order.steps))
        if result.retcode == mt5.TRADE_RETCODE_INVALID_FILL:
            # What connecting has read is no longer so: read it again before the next order.
            self._rules.pop(instrument.broker_name, None)
        return result

    def change_stops(self, approved: Approved) -> OrderResult:
        """Set the levels, see :meth:`mtquant.brokers.base.Broker.change_stops`.

        A position whose levels lie inside the freeze level is left alone.
        """
        change = action_of(approved, StopChange)
        instrument = change.instrument
        try:
            freeze = self._rules_of(instrument).freeze
            if freeze > 0.0 and self._frozen_levels(change, freeze):
                return not_sent(f"its levels are within {freeze:g} of the market, which is frozen")
        except Exception as problem:
            return not_sent(problem)
        return self._settle(approved, change_request(change), outcome_of_change, instrument)

    def place(self, approved: Approved) -> OrderResult:
        """Place a limit or stop order, once: ``PLACED`` with its ticket where it works now."""
        order = action_of(approved, PendingOrder)
        instrument = order.instrument
        try:
            request, quote = place_request(order), self.quote(instrument)
            if why := self._too_near(order, instrument.ticks(request["price"]), quote):
                return not_sent(why)
        except Exception as problem:
            return not_sent(problem)
        return self._settle(approved, request, outcome_of_placing, instrument)

    def modify(self, approved: Approved) -> OrderResult:
        """Change a working order; ``EXECUTED`` where it stands so, even if already.

        As with stops a repetition does no harm, and :meth:`MT5Adapter.open_orders` tells.
        """
        change = action_of(approved, PendingChange)
        try:
            request = modify_request(change)
        except Exception as problem:
            return not_sent(problem)
        return self._settle(approved, request, outcome_of_change, change.instrument)

    def cancel(self, approved: Approved) -> OrderResult:
        """Cancel a working order; ``EXECUTED`` where it works no more.

        ``NOT_EXECUTED`` also where there is no such order: it may have been filled before.
        """
        gone = action_of(approved, PendingCancel)
        request = cancel_request(gone.instrument, gone.ticket)
        return self._settle(approved, request, outcome_of_change, gone.instrument)

    def _settle(
        self,
        approved: Approved,
        request: Request,
        outcome: Callable[[object, object], Outcome],
        instrument: Instrument,
    ) -> OrderResult:
        """Send what executes nothing by itself."""
        answer, error, kept_back = self._ask(approved, request)
        if kept_back:
            return not_sent(kept_back, Outcome.WITHHELD)
        return result_of(outcome(answer, error[0]), answer, error, instrument, 0)

    def _frozen_levels(self, change: StopChange, freeze: float) -> bool:
        """Whether a position's present levels are too near to the market to be changed."""
        for held in self._read("positions_get"):
            if whole(held.ticket) == change.ticket:
                quote, ticks = self.quote(change.instrument), change.instrument.ticks
                quoted = quote.bid if held.type == mt5.POSITION_TYPE_BUY else quote.ask
                levels = [level for level in (held.sl, held.tp) if level]
                return any(abs(ticks(quoted) - ticks(one)) <= ticks(freeze) for one in levels)
        return False

    def _too_near(self, order: PendingOrder, price_ticks: int, quote: Quote) -> str:
        """Why the server would refuse an order's price, or nothing."""
        instrument, buys = order.instrument, order.steps > 0
        quoted = instrument.ticks(quote.ask if buys else quote.bid)
        room = price_ticks - quoted
        if buys == (order.kind is OrderKind.LIMIT):
            room = -room
        least = max(instrument.ticks(self._rules_of(instrument).stops), 1)
        if room >= least:
            return ""
        return (
            f"a {order.kind.value} at {order.price:g} must stand {instrument.price(least):g} off "
            f"the market at {instrument.price(quoted):g}"
        )

    def _rules_of(self, instrument: Instrument) -> TradeRules:
        """A symbol's rules, read where they are not known."""
        name = instrument.broker_name
        if name not in self._rules:
            with understood("symbol_info"):
                self._rules[name] = TradeRules.of(self._read("symbol_info", name))
        return self._rules[name]

    def _ask(self, approved: Approved, request: Request) -> tuple[Any, tuple[int, str], str]:
        """The answer to a request and ``last_error()`` right after it, or why it was kept back."""
        kept_back = withheld(approved)
        if kept_back:
            return None, (mt5.RES_S_OK, ""), kept_back
        try:
            answer = self._module.order_send(request)
            code, text = self._module.last_error()
            return answer, (code, text), ""
        except Exception as problem:
            # Whether the request left is not known, whatever broke.
            return None, (mt5.RES_E_FAIL, repr(problem)), ""

    def _read(self, function: str, *args: object) -> Any:
        answer = self._call(function, *args)
        if answer is None:
            raise self._unavailable(function)
        return answer

    def _call(self, function: str, *args: object, **named: object) -> Any:
        """The module's answer; a connection may break in any way, and then nothing is known."""
        try:
            return getattr(self._module, function)(*args, **named)
        except Exception as problem:
            raise BrokerUnavailable(
                f"{function} failed: {problem!r}; is the terminal running?"
            ) from problem

    def _last_error(self) -> tuple[int, str]:
        with understood("last_error"):
            code, text = self._call("last_error")
            return code, text

    def _unavailable(self, function: str) -> BrokerUnavailable:
        code, text = self._last_error()
        return BrokerUnavailable(f"{function} failed: {text} ({code}); is the terminal running?")
