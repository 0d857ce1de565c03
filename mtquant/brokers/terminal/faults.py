"""FaultyTerminal: the simulated terminal with a plan of what goes wrong, and a record of calls.

With an empty plan it answers what :class:`SimulatedTerminal` answers. Its account is the kernel's
all the same: a fault that executes something late, in part or for somebody else sends it through
the same gate to the same kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.account import SimulatedAccount
from mtquant.brokers.terminal.fault_kinds import Call, Fault, FaultPlan, changed
from mtquant.brokers.terminal.lasting_faults import Around, Lasting
from mtquant.brokers.terminal.records import OrderSendResult, TradeOrder, TradeRequest
from mtquant.brokers.terminal.requests import only, parse_request
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.market.symbols import SymbolSpec

_COMMON = ("symbol", "type", "type_filling", "type_time", "magic", "comment", "sl", "tp")


@dataclass
class Sent:
    """One request that a program sent, whatever became of it.

    Attributes:
        call: Number of its API call.
        request: The dict, as it was sent.
        retcode: Of the answer; None where there was none.
    """

    call: int
    request: Mapping[str, Any]
    retcode: int | None = None


@dataclass
class _Countdown:
    """So many bars, then so many calls."""

    bars: int
    calls: int

    def bar(self) -> None:
        self.bars = max(self.bars - 1, 0)

    @property
    def over(self) -> bool:
        return self.bars == 0 and self.calls == 0

    def call(self) -> bool:
        """Whether it is over before this call; else the call is counted."""
        if self.over:
            return True
        if self.bars == 0:
            self.calls -= 1
        return False


@dataclass
class _Kept:
    """An order that the server executes later."""

    request: TradeRequest
    ticket: int
    due: _Countdown


class FaultyTerminal(SimulatedTerminal):
    """The module's API, going wrong as planned.

    Attributes:
        calls: Names of the functions called, by number.
        sent: Orders and changes as they were sent.
        struck: Faults that have struck, by the number of the call that they met.
        guests: Accounts on which the terminal was for a while.
    """

    def __init__(
        self, *args: Any, plan: FaultPlan | None = None, record: bool = True, **options: Any
    ) -> None:
        """As the simulated terminal.

        Args:
            *args: Its own.
            plan: What goes wrong, see :data:`mtquant.brokers.terminal.fault_kinds.FaultPlan`.
            record: Whether to keep ``calls``, ``sent`` and ``struck``.
            **options: Its own.
        """
        super().__init__(*args, **options)
        self.calls: list[str] = []
        self.sent: list[Sent] = []
        self.struck: dict[int, Fault] = {}
        self.guests: list[SimulatedAccount] = []
        self._plan, self._record = dict(plan or {}), record
        self._number = 0
        self._armed: list[Fault] = []
        self._spells: list[tuple[Around, _Countdown]] = []
        self._kept: list[_Kept] = []

    def advance(self) -> None:
        """Close the forming bar and open the next; what is due in the old one comes before."""
        self._execute_kept(lambda due: due.over)
        super().advance()
        for guest in self.guests:
            if not guest.finished:
                guest.advance()
        for due in (*(kept.due for kept in self._kept), *(due for _, due in self._spells)):
            due.bar()

    def _call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        number, name = self._number, function.__name__
        self._number += 1
        if self._kept:
            self._execute_kept(_Countdown.call)
        if self._spells:
            self._spells = [(around, due) for around, due in self._spells if not due.call()]
        if number in self._plan:
            self._armed.append(self._plan[number])
        fault = None
        if self._armed:
            fault = next((fault for fault in self._armed if fault.applies(name)), None)
        body = self._disturbed(function, fault) if fault is not None or self._spells else function
        if not self._record:
            return super()._call(body, args, kwargs)
        self.calls.append(name)
        if fault is not None:
            self.struck[number] = fault
        if name != "order_send" or not args or not isinstance(args[0], dict):
            return super()._call(body, args, kwargs)
        sent = Sent(number, dict(args[0]))
        self.sent.append(sent)
        answer = super()._call(body, args, kwargs)
        sent.retcode = None if answer is None else answer.retcode
        return answer

    def _disturbed(self, function: Callable[..., Any], fault: Fault | None) -> Callable[..., Any]:
        """A call that a fault strikes, or that goes through spells."""
        name, spells = function.__name__, [around for around, _ in self._spells]

        @wraps(function)
        def body(terminal: FaultyTerminal, /, *args: Any, **kwargs: Any) -> Any:
            through = Call(name, args, kwargs, terminal._through(function, name, spells))
            if fault is None:
                return through.answer()
            terminal._armed.remove(fault)
            return fault.strike(terminal, through)

        return body

    def _through(
        self, function: Callable[..., Any], name: str, spells: list[Around]
    ) -> Callable[..., Any]:
        """The call through all that lasts, the newest spell first."""

        def run(*args: Any, **kwargs: Any) -> Any:
            if not spells:
                return function(self, *args, **kwargs)
            return spells[-1](Call(name, args, kwargs, self._through(function, name, spells[:-1])))

        return run

    def begin(self, fault: Lasting) -> Around:
        """Begin a spell; what every call goes through from now on."""
        around = fault.begin(self)
        self._spells.append((around, _Countdown(fault.bars, fault.calls)))
        return around

    def new_guest(self) -> SimulatedAccount:
        """Another account at the same server, with as much money as this began with."""
        home = self.account
        rows = (home.forming - 1, home._last)
        guest = SimulatedAccount(self._panel, home._feeds, home.tape, rows, self._terms.balance)
        self.guests.append(guest)
        return guest

    def contract(self, s: int) -> tuple[SymbolSpec, str]:
        """Contract of a traded symbol, and its name here."""
        return self._feeds[s].spec, self._feeds[s].name

    def parsed(self, call: Call) -> TradeRequest:
        """The request of an ``order_send``, as strictly as ever."""
        return parse_request(only(call.args, call.kwargs))

    def answer(self, request: TradeRequest, retcode: int, **values: float) -> OrderSendResult:
        """The struct of an answer."""
        return self._answer(request, retcode, **values)

    def keep(self, request: TradeRequest, bars: int, calls: int, *, shown: bool) -> int:
        """Execute an order or a change later; its ticket, 0 where the server would refuse it now.

        An order waits on while its market is shut.

        Args:
            request: What was asked.
            bars: How many bars later.
            calls: How many calls of that bar come before it.
            shown: Whether it is among the working orders until then.
        """
        _, verdict = self._judge(request)
        if verdict.retcode:
            return 0
        ticket = self.account.history.new_ticket()
        self._kept.append(_Kept(request, ticket, _Countdown(bars, calls)))
        if shown and request.action == mt5.TRADE_ACTION_DEAL:
            self.account.pending.in_work[ticket] = self._in_work(request, ticket)
        return ticket

    def _in_work(self, request: TradeRequest, ticket: int) -> TradeOrder:
        """A market order that the server has accepted and not executed yet."""
        now = self.account.now_seconds()
        common = {name: getattr(request, name) for name in _COMMON}
        return TradeOrder.of(
            ticket=ticket,
            time_setup=now,
            time_setup_msc=now * 1000,
            state=mt5.ORDER_STATE_STARTED,
            reason=mt5.ORDER_REASON_EXPERT,
            volume_initial=request.volume,
            volume_current=request.volume,
            **common,
        )

    def execute_part(self, request: TradeRequest, fraction: float) -> OrderSendResult | None:
        """Execute a part of a market order; None where the server would refuse it anyway."""
        s, verdict = self._judge(request)
        if verdict.retcode or request.action != mt5.TRADE_ACTION_DEAL:
            return None
        part = int(abs(verdict.steps) * fraction)
        if part == 0:
            return self._answer(request, mt5.TRADE_RETCODE_REJECT)
        return self._execute(request, s, verdict.steps, part if verdict.steps > 0 else -part)

    def trade_by_hand(self, request: TradeRequest) -> bool:
        """A market order of somebody else; whether anything was executed."""
        history = self.account.history
        program, history.reason = history.reason, mt5.DEAL_REASON_EXPERT
        if request.magic == 0:
            history.reason = mt5.DEAL_REASON_CLIENT
        try:
            return bool(self._serve(request).deal)
        finally:
            history.reason = program

    def _execute_kept(self, is_due: Callable[[_Countdown], bool]) -> None:
        waiting, self._kept = self._kept, []
        for kept in waiting:
            shut = self.finished or not self.account.tradable(self._index[kept.request.symbol])
            if not is_due(kept.due) or shut:
                self._kept.append(kept)
                continue
            done = self._serve(kept.request, kept.ticket)
            accepted = self.account.pending.in_work.pop(kept.ticket, None)
            if accepted is not None and not done.deal:
                now = self.account.now_seconds()
                ended = {"time_done": now, "time_done_msc": now * 1000}
                dead = changed(accepted, state=mt5.ORDER_STATE_REJECTED, **ended)
                self.account.history.orders.append(dead)
