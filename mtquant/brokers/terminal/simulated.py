"""SimulatedTerminal: the MetaTrader5 module's API over recorded or simulated bars.

It stands where the official module would stand, so the adapter that trades is the adapter that is
tested: the module's functions, its strict arguments, its struct results and its way to fail. Money
is moved by the kernel alone. Outside the API stand ``advance``, the hand of simulated time,
``now_ns`` and ``account``.
"""

from __future__ import annotations

from functools import cached_property
from math import log10

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.helpers import Helpers
from mtquant.brokers.terminal.pending import MOST_ORDERS
from mtquant.brokers.terminal.records import AccountInfo, TerminalInfo
from mtquant.brokers.terminal.requests import CallRefused, invalid
from mtquant.brokers.terminal.state import api

_BUILD = 5000
_MARGIN_MODES = {
    False: mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
    True: mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING,
}


class SimulatedTerminal(Helpers):
    """The whole API: connection and account here, the rest by subject in the bases."""

    @api
    def initialize(
        self,
        path: str | None = None,
        *,
        login: int | None = None,
        password: str | None = None,
        server: str | None = None,
        timeout: int = 60000,
        portable: bool = False,
    ) -> bool:
        """Connect."""
        _check_access(login, password, server, timeout)
        if not (path is None or isinstance(path, str)):
            raise invalid('Invalid "path" argument')
        self._authorise(login, server)
        self._connected = True
        return True

    @api
    def login(
        self,
        login: int,
        *,
        password: str | None = None,
        server: str | None = None,
        timeout: int = 60000,
    ) -> bool:
        """Choose the account; there is only one."""
        _check_access(login, password, server, timeout)
        self._authorise(login, server)
        return True

    def _authorise(self, login: int | None, server: str | None) -> None:
        if login not in (None, self._terms.login) or server not in (None, self._terms.server):
            raise CallRefused(mt5.RES_E_AUTH_FAILED, "Terminal: Authorization failed")

    def shutdown(self) -> None:
        """Disconnect."""
        self._connected = False

    def last_error(self) -> tuple[int, str]:
        """Code and text of the last call."""
        return self._error

    @api
    def version(self) -> tuple[int, int, str] | None:
        """Terminal version, build and date."""
        return 500, _BUILD, "1 Jan 2026"

    @api
    def terminal_info(self) -> TerminalInfo | None:
        """The program."""
        return TerminalInfo.of(
            connected=True, trade_allowed=True, build=_BUILD, maxbars=10**9, name="mtquant", path=""
        )

    @api
    def account_info(self) -> AccountInfo | None:
        """The account at present quotes."""
        equity, margin = self.account.equity_and_margin()
        balance = float(self.account.book.account["balance"][0])
        mode, warned, least = self._margin_levels
        return AccountInfo.of(
            login=self._terms.login,
            trade_mode=mt5.ACCOUNT_TRADE_MODE_DEMO,
            leverage=self._terms.leverage,
            limit_orders=MOST_ORDERS,
            margin_so_mode=mode,
            trade_allowed=True,
            trade_expert=True,
            margin_mode=_MARGIN_MODES[self.account.hedging],
            currency_digits=self._currency_digits,
            balance=balance,
            profit=equity - balance,
            equity=equity,
            margin=margin,
            margin_free=equity - margin,
            margin_level=100.0 * equity / margin if margin > 0.0 else 0.0,
            margin_so_call=warned,
            margin_so_so=least,
            server=self._terms.server,
            currency=self._terms.currency,
        )

    @cached_property
    def _currency_digits(self) -> int:
        return round(log10(self.account.tape.rules["money_scale"][0]))

    @cached_property
    def _margin_levels(self) -> tuple[int, float, float]:
        """``ACCOUNT_STOPOUT_MODE_*``, and where the account is warned and stopped out."""
        rules = self.account.tape.rules[0]
        if rules["stop_out_money"] > 0.0:
            least = float(rules["stop_out_money"])
            return mt5.ACCOUNT_STOPOUT_MODE_MONEY, least, least  # no warning comes before
        called, least = self._terms.margin_call, float(rules["stop_out_level"])
        return mt5.ACCOUNT_STOPOUT_MODE_PERCENT, 100.0 * called, 100.0 * least


def _check_access(login: object, password: object, server: object, timeout: object) -> None:
    """Refuse what is no access to an account by its type."""
    for name, value, kind in (
        ("login", login, int),
        ("password", password, str),
        ("server", server, str),
        ("timeout", timeout, int),
    ):
        if not (value is None or isinstance(value, kind)):
            raise invalid(f'Invalid "{name}" argument')
