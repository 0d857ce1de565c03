"""Faults: what can go wrong between a program and its terminal, one small record for each kind.

A plan says at which API call a fault begins to wait; it strikes the first call, that one or a later
one, which it applies to. A fault changes what is answered and *when* something is executed, never
how: money is moved by the simulated terminal's kernel alone. The kinds stand in ``order_faults``,
``read_faults`` and, where they last, in ``lasting_faults`` beside this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.records import StructSequence
from mtquant.brokers.terminal.requests import CallRefused

if TYPE_CHECKING:
    from mtquant.brokers.terminal.faults import FaultyTerminal

ORDERS = ("order_send",)
HISTORY = (
    "history_deals_get",
    "history_deals_total",
    "history_orders_get",
    "history_orders_total",
)
POSITIONS = ("positions_get", "positions_total")
WORKING = ("orders_get", "orders_total")
BARS = ("copy_rates_from_pos", "copy_rates_from", "copy_rates_range")
QUOTES = ("symbol_info_tick", "symbol_info")

TEXTS = {
    mt5.RES_E_FAIL: "Terminal: Call failed",
    mt5.RES_E_AUTO_TRADING_DISABLED: "Auto-Trading using Python API disabled in Terminal",
    mt5.RES_E_INTERNAL_FAIL: "IPC call failed",
    mt5.RES_E_INTERNAL_FAIL_SEND: "IPC send failed",
    mt5.RES_E_INTERNAL_FAIL_RECEIVE: "IPC recv failed",
    mt5.RES_E_INTERNAL_FAIL_CONNECT: "No IPC connection",
    mt5.RES_E_INTERNAL_FAIL_TIMEOUT: "IPC timeout",
}
"""What ``last_error()`` says beside a code."""


@dataclass(frozen=True)
class Call:
    """One call of the API on its way.

    Attributes:
        function: Its name.
        args: As called.
        kwargs: As called.
        run: Does it, with these or other arguments.
    """

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    run: Callable[..., Any]

    def answer(self) -> Any:
        """Do it as called."""
        return self.run(*self.args, **self.kwargs)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    def applies(self, function: str) -> bool:
        """Whether it can strike a call of this function."""
        raise NotImplementedError

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Answer the call in its place.

        Raises:
            CallRefused: The call fails: None, and a code in ``last_error``.
        """
        raise NotImplementedError


FaultPlan = Mapping[int, Fault]
"""Faults by the number of the API call at which they begin to wait, counted from 0.

Every call of a function of the module counts, but ``last_error`` and ``shutdown``, which cannot
fail.
"""


def no_answer(code: int) -> CallRefused:
    """A call that fails with a code of ``RES_E_*``."""
    return CallRefused(code, TEXTS.get(code, "Terminal: Call failed"))


def changed(struct: StructSequence, **values: Any) -> Any:
    """A result with some fields changed."""
    return type(struct).of(**(struct._asdict() | values))
