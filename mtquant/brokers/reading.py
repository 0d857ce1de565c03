"""Reads: what may be asked of a terminal, politely, and nothing that could trade.

A read that gets no answer is repeated up to three times with growing pauses, and never more than
so many calls a second leave. Orders have no place here: an order is sent once, by the adapter of
its one account.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from mtquant.brokers import constants as mt5
from mtquant.errors import BrokerUnavailable, ConfigError, shown
from mtquant.jit import Structured
from mtquant.market.clock import SECOND_NS
from mtquant.market.timeframe import Timeframe

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Codes of ``last_error`` where the connection is at fault and not what was asked.
LOST = frozenset(range(mt5.RES_E_INTERNAL_FAIL_TIMEOUT, mt5.RES_E_INTERNAL_FAIL + 1))


@dataclass(frozen=True)
class Pace:
    """How reads are timed.

    Attributes:
        now_ns: A clock, ns since the epoch, UTC.
        sleep: Waits for seconds.
        calls_per_second: At most.
        retries: After a read that failed.
        first_wait: Seconds before the first retry; doubled before each further one.
    """

    now_ns: Callable[[], int]
    sleep: Callable[[float], None]
    calls_per_second: float = 10.0
    retries: int = 3
    first_wait: float = 0.5


class Reads:
    """The reading half of one connected module; every method retries, then raises.

    Attributes:
        pace: How reads are timed.
        round_trip_ns: Of the last read that was answered, without the waiting before it.

    Raises:
        BrokerUnavailable: The module gave no answer, again and again.
    """

    def __init__(self, module: Any, pace: Pace) -> None:
        """Read from ``module`` at that pace."""
        self.pace = pace
        self._module = module
        self._next_ns = pace.now_ns()
        self._selected: set[str] = set()
        self.round_trip_ns = 0

    def account(self) -> Any:
        """``account_info()``."""
        return self._asked("account_info")

    def terminal(self) -> Any:
        """``terminal_info()``."""
        return self._asked("terminal_info")

    def positions(self) -> tuple[Any, ...]:
        """``positions_get()`` of the whole account."""
        return tuple(self._asked("positions_get"))

    def symbols(self) -> tuple[str, ...]:
        """Names of all the broker's symbols."""
        return tuple(str(info.name) for info in self._asked("symbols_get"))

    def symbol_info(self, name: str) -> Any:
        """``symbol_info`` of a symbol that exists.

        Raises:
            ConfigError: The broker has no such symbol.
        """
        self._select(name)
        return self._asked("symbol_info", name)

    def tick(self, name: str) -> Any:
        """``symbol_info_tick``; raises as :meth:`symbol_info`."""
        self._select(name)
        return self._asked("symbol_info_tick", name)

    def rates(self, name: str, timeframe: Timeframe, start_pos: int, count: int) -> Structured:
        """``copy_rates_from_pos``: ascending rows, ``start_pos`` bars back from the forming one.

        Raises:
            ConfigError: The broker has no such symbol.
        """
        self._select(name)
        constant = getattr(mt5, f"TIMEFRAME_{timeframe.name}")
        found: Structured = self._asked("copy_rates_from_pos", name, constant, start_pos, count)
        return found

    def close(self) -> None:
        """Disconnect; what is lost already is none the worse for it."""
        with suppress(BrokerUnavailable, OSError):
            self._module.shutdown()

    def _select(self, name: str) -> None:
        """Have the symbol shown: without that there are neither ticks nor bars."""

        def select() -> bool:
            if self._module.symbol_select(name, True):
                return True
            code, text = self._module.last_error()
            if code in LOST:
                raise BrokerUnavailable(f"symbol_select failed: {text} ({code})")
            return False

        if name in self._selected:
            return
        if not self._again(select):
            raise ConfigError(
                f"the broker has no symbol '{shown(name)}'; correct 'brokers' in "
                "configs/symbols.yaml"
            )
        self._selected.add(name)

    def _asked(self, function: str, *args: object) -> Any:
        def ask() -> Any:
            answer = getattr(self._module, function)(*args)
            if answer is None:
                code, text = self._module.last_error()
                raise BrokerUnavailable(
                    f"{function} failed: {text} ({code}); is the terminal running?"
                )
            return answer

        return self._again(ask)

    def _again(self, call: Callable[[], T]) -> T:
        """The call's answer, at the pace's rate and with its retries."""
        pace = self.pace

        def paced() -> T:
            wait = self._next_ns - pace.now_ns()
            if wait > 0:
                pace.sleep(wait / SECOND_NS)
            self._next_ns = pace.now_ns() + round(SECOND_NS / pace.calls_per_second)
            begun = pace.now_ns()
            try:
                answer = call()
                self.round_trip_ns = pace.now_ns() - begun
                return answer
            except OSError as lost:  # of a bridge's connection
                raise BrokerUnavailable(
                    f"no answer ({type(lost).__name__}); is the bridge running?"
                ) from None

        retrying = Retrying(
            stop=stop_after_attempt(1 + pace.retries),
            wait=wait_exponential(multiplier=pace.first_wait),
            retry=retry_if_exception_type(BrokerUnavailable),
            before_sleep=_tell,
            sleep=pace.sleep,
            reraise=True,
        )
        return retrying(paced)


def _tell(state: RetryCallState) -> None:
    problem = None if state.outcome is None else state.outcome.exception()
    _log.info("read %d failed, trying again: %s", state.attempt_number, problem)
