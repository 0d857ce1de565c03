"""What all calls of the simulated terminal share: the account, the symbols and the one gate.

The module fails by None (or False) and a code in ``last_error()``, one slot for all calls. Bodies
of calls raise :class:`CallRefused` instead, and ``_call`` translates; everything that ever goes
wrong between a program and its terminal has its place there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.account import SimulatedAccount
from mtquant.brokers.terminal.records import StructSequence
from mtquant.brokers.terminal.requests import CallRefused, invalid
from mtquant.brokers.terminal.symbols import SymbolFeed
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.sim.account import Tape

P = ParamSpec("P")
R = TypeVar("R")

_EXPORTED: dict[str, Any] = {
    name: value
    for name, value in vars(mt5).items()
    if name.isupper() and name not in (*mt5.ABSENT, "ABSENT")
} | {kind.__name__: kind for kind in StructSequence.__subclasses__()}

SERVER = "mtquant-simulated"
LOGIN = 5_000_001


def api(function: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """A function of the module: goes through the terminal's one gate."""

    @wraps(function)
    def call(self: TerminalState, /, *args: P.args, **kwargs: P.kwargs) -> R:
        answer: R = self._call(function, args, kwargs)
        return answer

    return call


def not_found() -> CallRefused:
    """A refusal for a symbol or a history that does not exist."""
    return CallRefused(mt5.RES_E_NOT_FOUND, "Terminal: Not found")


@dataclass(frozen=True)
class AccountTerms:
    """Whose account it is.

    Attributes:
        balance: First deposit.
        currency: Of the account.
        leverage: As the account shows it; margins follow the tape's contracts.
        margin_call: Equity over margin below which the account is warned.
        login: Account number.
        server: Where it is.
    """

    balance: float
    currency: str = "USD"
    leverage: int = 100
    margin_call: float = 1.0
    login: int = LOGIN
    server: str = SERVER


class TerminalState:
    """A terminal whose present is the open of one forming bar.

    Attributes:
        account: The broker's side.
    """

    def __init__(
        self,
        panel: Panel,
        specs: Sequence[SymbolSpec],
        tape: Tape,
        *,
        rows: tuple[int, int],
        terms: AccountTerms,
        names: Sequence[str] | None = None,
    ) -> None:
        """Stand at the close of bar ``rows[0]``.

        Args:
            panel: Bars; later ones are shown as time goes on. Its context is quoted, not traded.
            specs: Contracts, in the panel's order, its context last.
            tape: The same bars as the kernel reads them; its features are not used.
            rows: Row of the last closed bar, and the row after which time ends.
            terms: The account.
            names: The broker's symbol names; None for the standard ones.
        """
        called = [spec.name for spec in specs] if names is None else list(names)
        self._feeds = [
            SymbolFeed(bars, spec, name)
            for bars, spec, name in zip((*panel.bars, *panel.context), specs, called, strict=True)
        ]
        self._index = {name: s for s, name in enumerate(called)}
        self._panel = panel
        self._terms = terms
        self._connected = False
        self._requests = 0
        self._books: set[int] = set()
        self._error = (mt5.RES_S_OK, "Success")
        traded = self._feeds[: len(panel.bars)]
        self.account = SimulatedAccount(panel, traded, tape, rows, terms.balance)

    def __getattr__(self, name: str) -> Any:
        """The module's constants, such as ``TIMEFRAME_H1``, and its result types."""
        if name in _EXPORTED:
            return _EXPORTED[name]
        raise AttributeError(f"the simulated terminal has no attribute '{name}'")

    @property
    def finished(self) -> bool:
        """Whether the last bar has closed."""
        return self.account.finished

    def now_ns(self) -> int:
        """Simulated time: the open of the forming bar, ns UTC; at the end the last close."""
        if self.finished:
            last = self._panel.time[self.account.forming - 1]
            return int(last) + self._panel.timeframe.nanoseconds
        return int(self._panel.time[self.account.forming])

    def advance(self) -> None:
        """Close the forming bar and open the next."""
        self.account.advance()

    def _call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The one gate of all API calls: connection, failure and ``last_error``."""
        try:
            if not self._connected and function.__name__ != "initialize":
                raise CallRefused(mt5.RES_E_INTERNAL_FAIL_CONNECT, "No IPC connection")
            answer = function(self, *args, **kwargs)
        except CallRefused as refusal:
            self._error = (refusal.code, refusal.text)
            return False if function.__annotations__["return"] == "bool" else None
        self._error = (mt5.RES_S_OK, "Success")
        return answer

    def _traded(self, s: int) -> bool:
        """Whether a symbol may be traded; context is for looking at."""
        return s < len(self._panel.bars)

    def _newest(self, s: int) -> tuple[int, bool]:
        """The newest row of a symbol that has begun, and whether it is still forming."""
        if self._traded(s):
            return self.account.newest(s)
        time, now = self._panel.context[s - len(self._panel.bars)].time, self.now_ns()
        row = int(np.searchsorted(time, now, side="right")) - 1
        return row, row >= 0 and int(time[row]) + self._panel.timeframe.nanoseconds > now

    def _quote(self, s: int) -> tuple[float, float]:
        """Bid and ask now."""
        if self._traded(s):
            return self.account.quote(s)
        bars, (row, forming) = self._panel.context[s - len(self._panel.bars)], self._newest(s)
        bid = float((bars.open if forming else bars.close)[max(row, 0)])
        return bid, bid + float(bars.spread[max(row, 0)]) * self._feeds[s].spec.point

    def _symbol(self, name: object) -> int:
        if not isinstance(name, str):
            raise invalid('Invalid "symbol" argument')
        if name not in self._index:
            raise not_found()
        return self._index[name]
