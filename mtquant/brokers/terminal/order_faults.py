"""Faults of orders, and what others do on the same account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.fault_kinds import ORDERS, Call, Fault, changed, no_answer
from mtquant.brokers.terminal.records import TradeRequest

if TYPE_CHECKING:
    from mtquant.brokers.terminal.faults import FaultyTerminal


@dataclass(frozen=True)
class OrderFault(Fault):
    """Strikes an order or a change of one."""

    def applies(self, function: str) -> bool:
        """Orders alone."""
        return function in ORDERS


@dataclass(frozen=True)
class Unanswered(OrderFault):
    """``order_send`` gives None.

    Attributes:
        executed: Whether the server did what was asked.
        code: What ``last_error`` then says.
    """

    executed: bool = False
    code: int = mt5.RES_E_INTERNAL_FAIL_TIMEOUT

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Execute or not, and be silent."""
        if self.executed:
            call.answer()
        raise no_answer(self.code)


@dataclass(frozen=True)
class Late(OrderFault):
    """The order is executed later: in another bar, or between two later calls.

    Attributes:
        bars: How many bars later; 0 for the same.
        calls: How many calls of that bar come before it.
        code: Of ``last_error``; 0 where the answer is ``PLACED`` with a ticket.
    """

    bars: int = 1
    calls: int = 0
    code: int = mt5.RES_E_INTERNAL_FAIL_TIMEOUT

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Keep it for later, if the server would take it at all."""
        request = terminal.parsed(call)
        ticket = terminal.keep(request, self.bars, self.calls, shown=self.code == 0)
        if ticket == 0:
            return call.answer()
        if self.code:
            raise no_answer(self.code)
        return terminal.answer(request, mt5.TRADE_RETCODE_PLACED, order=ticket)


@dataclass(frozen=True)
class Answered(OrderFault):
    """``order_send`` answers with a code, whatever was done.

    Attributes:
        retcode: The code; it need not exist.
        executed: Whether the server did what was asked all the same.
    """

    retcode: int
    executed: bool = False

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Execute or not, and answer so."""
        request = terminal.parsed(call)
        if self.executed:
            call.answer()
        return terminal.answer(request, self.retcode)


@dataclass(frozen=True)
class Part(OrderFault):
    """A part of the order is executed, the rest is dead.

    Attributes:
        fraction: Of its lot steps, rounded down; what comes to none is a rejection.
    """

    fraction: float = 0.5

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Execute the part."""
        return terminal.execute_part(terminal.parsed(call), self.fraction) or call.answer()


@dataclass(frozen=True)
class CommentRewritten(OrderFault):
    """The server keeps another comment.

    Attributes:
        comment: That one.
    """

    comment: str = "[broker]"

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Execute under the other comment; the answer still quotes the request."""
        request = terminal.parsed(call)
        answer = call.run({**call.args[0], "comment": self.comment})
        return changed(answer, request=request)


@dataclass(frozen=True)
class ForeignTrade(Fault):
    """Somebody else trades on the account, just before the call.

    Attributes:
        size: Signed, in smallest orders of the symbol.
        symbol: Its place among those that are traded.
        magic: Of another program; 0 for a person.
    """

    size: int = 1
    symbol: int = 0
    magic: int = 0

    def applies(self, function: str) -> bool:
        """Any call."""
        return True

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Trade at the market, if the server takes it."""
        spec, name = terminal.contract(self.symbol)
        request = TradeRequest.of(
            action=mt5.TRADE_ACTION_DEAL,
            symbol=name,
            volume=spec.lot_min * abs(self.size),
            type=mt5.ORDER_TYPE_BUY if self.size > 0 else mt5.ORDER_TYPE_SELL,
            magic=self.magic,
        )
        terminal.trade_by_hand(request)
        return call.answer()


@dataclass(frozen=True)
class ForeignClose(Fault):
    """Somebody else closes the oldest position, or a part of it, just before the call.

    Attributes:
        fraction: Of its lot steps, rounded down.
    """

    fraction: float = 1.0

    def applies(self, function: str) -> bool:
        """Any call."""
        return True

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Close at the market, if anything is held and the server takes it."""
        for held in terminal.account.history.holdings()[:1]:
            _, name = terminal.contract(held.symbol)
            part = int(abs(held.steps) * self.fraction)
            request = TradeRequest.of(
                action=mt5.TRADE_ACTION_DEAL,
                symbol=name,
                volume=terminal.account.lots(held.symbol, part),
                type=mt5.ORDER_TYPE_SELL if held.steps > 0 else mt5.ORDER_TYPE_BUY,
                position=held.ticket,
            )
            terminal.trade_by_hand(request)
        return call.answer()
