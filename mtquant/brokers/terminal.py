"""SimulatedTerminal: the MetaTrader5 module's API over recorded or simulated bars.

It stands where the official module would stand, so the adapter that trades is the adapter that is
tested: the module's functions, its strict arguments, its struct results and its way to fail. Money
is moved by the kernel alone. Outside the API stand ``advance``, the hand of simulated time,
``now_ns`` and ``account``.
"""

from __future__ import annotations

from math import log10

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal_market import MarketCalls
from mtquant.brokers.terminal_records import AccountInfo, TerminalInfo
from mtquant.brokers.terminal_requests import CallRefused
from mtquant.brokers.terminal_state import api
from mtquant.brokers.terminal_trading import TradingCalls

_BUILD = 5000
_MARGIN_MODES = {
    False: mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
    True: mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING,
}


class SimulatedTerminal(MarketCalls, TradingCalls):
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
        mode, least = self._stop_out()
        return AccountInfo.of(
            login=self._terms.login,
            trade_mode=mt5.ACCOUNT_TRADE_MODE_DEMO,
            leverage=self._terms.leverage,
            margin_so_mode=mode,
            trade_allowed=True,
            trade_expert=True,
            margin_mode=_MARGIN_MODES[self.account.hedging],
            currency_digits=round(log10(self.account.tape.rules["money_scale"][0])),
            balance=balance,
            profit=equity - balance,
            equity=equity,
            margin=margin,
            margin_free=equity - margin,
            margin_level=100.0 * equity / margin if margin > 0.0 else 0.0,
            margin_so_call=least,  # no warning comes before
            margin_so_so=least,
            server=self._terms.server,
            currency=self._terms.currency,
        )

    def _stop_out(self) -> tuple[int, float]:
        """``(ACCOUNT_STOPOUT_MODE_*, level)`` at which the account is stopped out."""
        rules = self.account.tape.rules[0]
        if rules["stop_out_money"] > 0.0:
            return mt5.ACCOUNT_STOPOUT_MODE_MONEY, float(rules["stop_out_money"])
        return mt5.ACCOUNT_STOPOUT_MODE_PERCENT, 100.0 * float(rules["stop_out_level"])
