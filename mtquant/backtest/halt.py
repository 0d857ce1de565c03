"""What becomes of a backtest whose circuit breaker has come to LEVEL_3.

By default nothing more: it stays flat to its end. Where the env says ``breaker.on_level_3: reset``
it does what a person does live once the cooldown is over.
"""

from __future__ import annotations

from math import inf

from mtquant.backtest.ledger import Ledger
from mtquant.envs.scenario import Scenario
from mtquant.market.timeframe import MINUTE_NS
from mtquant.risk.breaker import LEVEL_3, LEVEL_NAMES
from mtquant.sim.account import Book

RESET = "circuit breaker reset"


def halted_for_good(ledger: Ledger) -> int | None:
    """Open of the bar from which on LEVEL_3 was not reset any more, ns UTC; None without one."""
    halt = None
    for event in ledger.events:
        if event.text == RESET:
            halt = None
        elif halt is None and event.text.endswith(LEVEL_NAMES[LEVEL_3]):
            halt = event.time_ns
    return halt


class Cooldown:
    """Watches one lane for a halt, and for the end of its cooldown."""

    def __init__(self, scenario: Scenario) -> None:
        """Read the rule and the clock of a scenario."""
        breaker, panel = scenario.env.breaker, scenario.market.panel
        self._ns = breaker.cooldown_minutes * MINUTE_NS if breaker.on_level_3 == "reset" else inf
        self._closes_ns = panel.time + panel.timeframe.nanoseconds
        self._tripped_ns: int | None = None

    def is_over(self, book: Book) -> bool:
        """Whether lane 0, which has just closed a bar, is to be reset now.

        A ruined account never is.
        """
        account = book.account[0]
        if account["level"] < LEVEL_3:
            self._tripped_ns = None
            return False
        now_ns = int(self._closes_ns[account["cursor"]])
        if self._tripped_ns is None:
            self._tripped_ns = now_ns
        if now_ns - self._tripped_ns < self._ns or book.positions["steps"][0].any():
            return False
        self._tripped_ns = None
        return bool(account["equity"] > 0.0)
