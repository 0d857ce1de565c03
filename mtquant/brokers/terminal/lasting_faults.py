"""Faults that last: a frozen feed, a lagging history, another account, trading switched off.

From its call on a spell lasts until ``bars`` more bars have opened, and then for ``calls`` more
calls; with no bars for this call and the next ``calls``. Every call meanwhile goes through it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.fault_kinds import (
    BARS,
    HISTORY,
    POSITIONS,
    QUOTES,
    Call,
    Fault,
    changed,
    no_answer,
)
from mtquant.brokers.terminal.records import StructSequence

if TYPE_CHECKING:
    from mtquant.brokers.terminal.faults import FaultyTerminal

Around = Callable[[Call], Any]

FOR_EVER = 10**9
_DATES = dict.fromkeys(HISTORY, (0, 1)) | {"copy_rates_from": (2,), "copy_rates_range": (2, 3)}


@dataclass(frozen=True)
class Lasting(Fault):
    """Something that lasts.

    Attributes:
        bars: Until so many more have opened.
        calls: And then for so many more calls.
    """

    bars: int = 1
    calls: int = 0

    def applies(self, function: str) -> bool:
        """Any call."""
        return True

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Begin; the call is the first that goes through it."""
        return terminal.begin(self)(call)

    def begin(self, terminal: FaultyTerminal) -> Around:
        """What every call goes through from now on."""
        raise NotImplementedError


@dataclass(frozen=True)
class Frozen(Lasting):
    """What is shown of the market stands still while time passes.

    Attributes:
        functions: Of which the answers stand: bars and quotes, or quotes alone.
    """

    functions: tuple[str, ...] = (*BARS, *QUOTES)

    def begin(self, terminal: FaultyTerminal) -> Around:
        """Show the market as it is now."""
        account, present = terminal.account, terminal.account.forming

        def around(call: Call) -> Any:
            if call.function not in self.functions:
                return call.answer()
            now, account.forming = account.forming, present
            try:
                return call.answer()
            finally:
                account.forming = now

        return around


@dataclass(frozen=True)
class LateHistory(Lasting):
    """History does not show yet what is dealt from now on; positions and balance do."""

    def begin(self, terminal: FaultyTerminal) -> Around:
        """Remember how much there is."""
        account = terminal.account
        deals, orders = len(account.deals), len(account.orders)

        def around(call: Call) -> Any:
            answer = call.answer()
            if call.function not in HISTORY:
                return answer
            new = account.deals[deals:] if "deals" in call.function else account.orders[orders:]
            hidden = {entry.ticket for entry in new}
            if isinstance(answer, int):
                listed = getattr(terminal, call.function.replace("total", "get"))
                shown = listed.__wrapped__(terminal, *call.args)
                return sum(entry.ticket not in hidden for entry in shown)
            return tuple(entry for entry in answer if entry.ticket not in hidden)

        return around


@dataclass(frozen=True)
class LatePositions(Lasting):
    """Positions do not show yet what is dealt from now on; history and balance do."""

    def begin(self, terminal: FaultyTerminal) -> Around:
        """Remember what is held."""
        held = terminal.account.positions()

        def around(call: Call) -> Any:
            answer = call.answer()
            if call.function not in POSITIONS:
                return answer
            return len(held) if isinstance(answer, int) else held

        return around


@dataclass(frozen=True)
class AccountSwitched(Lasting):
    """The terminal is on another account, which has money and holds nothing.

    Orders that are sent meanwhile are executed there: ``FaultyTerminal.guests`` are such accounts.
    """

    def begin(self, terminal: FaultyTerminal) -> Around:
        """Open the other account."""
        guest = terminal.new_guest()

        def around(call: Call) -> Any:
            home = terminal.account, terminal._terms
            terminal.account = guest
            terminal._terms = replace(home[1], login=home[1].login + 1, server="elsewhere")
            try:
                return call.answer()
            finally:
                terminal.account, terminal._terms = home

        return around


@dataclass(frozen=True)
class TradingOff(Lasting):
    """Automatic trading is switched off.

    Attributes:
        where: In the terminal (10027), at the server (10026) or for programs (-8).
    """

    where: Literal["terminal", "server", "api"] = "terminal"

    def begin(self, terminal: FaultyTerminal) -> Around:
        """Refuse orders and say so wherever it shows."""
        return self._through(terminal)

    def _through(self, terminal: FaultyTerminal) -> Around:
        def around(call: Call) -> Any:
            if call.function == "order_send":
                return self._refuse(terminal, call)
            answer = call.answer()
            if call.function == "terminal_info" and self.where == "terminal":
                return changed(answer, trade_allowed=False)
            if call.function == "terminal_info" and self.where == "api":
                return changed(answer, tradeapi_disabled=True)
            if call.function == "account_info" and self.where == "server":
                return changed(answer, trade_expert=False)
            return answer

        return around

    def _refuse(self, terminal: FaultyTerminal, call: Call) -> Any:
        if self.where == "api":
            raise no_answer(mt5.RES_E_AUTO_TRADING_DISABLED)
        return terminal.answer(
            terminal.parsed(call),
            mt5.TRADE_RETCODE_CLIENT_DISABLES_AT
            if self.where == "terminal"
            else mt5.TRADE_RETCODE_SERVER_DISABLES_AT,
        )


@dataclass(frozen=True)
class Refusing(Lasting):
    """Every order is answered with a code and not executed.

    Attributes:
        retcode: The code.
    """

    retcode: int = mt5.TRADE_RETCODE_MARKET_CLOSED

    def begin(self, terminal: FaultyTerminal) -> Around:
        """Refuse."""

        def around(call: Call) -> Any:
            if call.function != "order_send":
                return call.answer()
            return terminal.answer(terminal.parsed(call), self.retcode)

        return around


@dataclass(frozen=True)
class Outage(Lasting):
    """The terminal does not answer at all; the server goes on.

    Attributes:
        code: What ``last_error`` then says.
    """

    code: int = mt5.RES_E_INTERNAL_FAIL_CONNECT

    def begin(self, terminal: FaultyTerminal) -> Around:
        """Fail."""

        def around(call: Call) -> Any:
            raise no_answer(self.code)

        return around


@dataclass(frozen=True)
class ClockJump(Lasting):
    """The server's clock is set forward or back: all times that it shows, and asks for, are.

    Attributes:
        seconds: By so much.
    """

    bars: int = FOR_EVER
    seconds: int = 3600

    def begin(self, terminal: FaultyTerminal) -> Around:
        """Shift."""

        def around(call: Call) -> Any:
            args = list(call.args)
            for place in _DATES.get(call.function, ())[: len(args)]:
                if isinstance(args[place], int | float):
                    args[place] -= self.seconds
            return self._shifted(call.run(*args, **call.kwargs))

        return around

    def _shifted(self, answer: Any) -> Any:
        if isinstance(answer, np.ndarray):
            answer["time"] += self.seconds
            return answer
        if isinstance(answer, StructSequence):
            times = {
                name: value + self.seconds * (1000 if name.endswith("_msc") else 1)
                for name, value in answer._asdict().items()
                if name.startswith("time") and value
            }
            return changed(answer, **times) if times else answer
        return tuple(map(self._shifted, answer)) if isinstance(answer, tuple) else answer
