"""What a terminal can be asked without sending anything: the adapter's own promises, one by one.

Each check reads through :class:`mtquant.brokers.mt5.MT5Adapter`, or calls the module as the adapter
does, and says what it found. No order is sent and no setting changed, but that the symbol is shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import AccountState, Instrument
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.errors import MTQuantError
from mtquant.market.timeframe import Timeframe

_BARS = 100
_CALLS = 30
_NO_SYMBOL = "mtquant.no.such.symbol"
_HALF_HOUR_NS = 1800 * 10**9


@dataclass(frozen=True)
class Finding:
    """One check: what, whether it holds, and what was seen."""

    what: str
    good: bool
    seen: str


class Checkup:
    """The checks of one terminal and one symbol."""

    def __init__(self, module: Any, adapter: MT5Adapter, instrument: Instrument) -> None:
        self._module = module
        self._adapter = adapter
        self._instrument = instrument

    def run(self, account: AccountState, now_ns: int) -> Iterator[Finding]:
        """All checks, in an order in which each rests on those before.

        Args:
            account: What connecting found.
            now_ns: The clock here.
        """
        kind = "demo" if account.is_demo else "REAL"
        book = "hedging" if account.hedging else "netting"
        told = f"{account.login} at {account.server}, {account.currency}, {kind}, {book}"
        yield Finding("account", account.login > 0 and bool(account.server), told)
        checks: dict[str, Callable[[int], tuple[bool, str]]] = {
            "contract": self._contract,
            "quote": self._quote,
            "closed bars": self._bars,
            "the forming bar is the last row": self._forming,
            "positions and orders": self._books,
            "history": self._history,
            "server's clock": self._clock,
            "failure is None and a code": self._failure,
            "round trip": self._round_trip,
        }
        for what, check in checks.items():
            try:
                yield Finding(what, *check(now_ns))
            except MTQuantError as problem:
                yield Finding(what, False, str(problem))

    def _contract(self, _: int) -> tuple[bool, str]:
        """The numbers that sizes and prices are counted in."""
        info, spec = self._module.symbol_info(self._instrument.broker_name), self._instrument.spec
        if info is None:
            return False, f"no answer: {self._module.last_error()}"
        pairs = {
            "digits": (info.digits, spec.digits),
            "tick_size": (info.trade_tick_size, spec.tick_size),
            "contract_size": (info.trade_contract_size, spec.contract_size),
            "lot_step": (info.volume_step, spec.lot_step),
        }
        wrong = [
            f"{name} is {theirs}, configs/symbols.yaml says {ours}"
            for name, (theirs, ours) in pairs.items()
            if theirs != ours
        ]
        return not wrong, "; ".join(wrong) or f"{info.name}: {info.digits} digits, as configured"

    def _quote(self, _: int) -> tuple[bool, str]:
        quote = self._adapter.quote(self._instrument)
        return True, f"{quote.bid} / {quote.ask}"

    def _bars(self, _: int) -> tuple[bool, str]:
        bars = self._adapter.closed_bars(self._instrument, Timeframe.H1, _BARS)
        inside = (bars.low <= np.minimum(bars.open, bars.close)) & (
            bars.high >= np.maximum(bars.open, bars.close)
        )
        good = len(bars) > 0 and bool(inside.all() and (np.diff(bars.time) > 0).all())
        return good, f"{len(bars)} H1 bars until {bars.when(-1)}" if len(bars) else "none came"

    def _forming(self, _: int) -> tuple[bool, str]:
        rows = self._module.copy_rates_from_pos(
            self._instrument.broker_name, mt5.TIMEFRAME_H1, 0, 3
        )
        closed = self._module.copy_rates_from_pos(
            self._instrument.broker_name, mt5.TIMEFRAME_H1, 1, 2
        )
        if rows is None or closed is None:
            return False, f"no bars: {self._module.last_error()}"
        good = len(rows) == 3 and bool((rows["time"][:-1] == closed["time"]).all())
        return good, f"opened at {int(rows['time'][-1])} on the server's clock"

    def _books(self, _: int) -> tuple[bool, str]:
        positions, orders = self._adapter.positions(), self._adapter.open_orders()
        return True, f"{len(positions)} positions, {len(orders)} working orders"

    def _history(self, _: int) -> tuple[bool, str]:
        deals, orders = self._adapter.deals(0), self._adapter.past_orders(0)
        ascending = all(a.time_ns <= b.time_ns for a, b in pairwise(deals))
        return ascending, f"{len(deals)} deals, {len(orders)} past orders"

    def _clock(self, now_ns: int) -> tuple[bool, str]:
        quoted = self._adapter.tick_time_ns(self._instrument, now_ns)
        late = (now_ns - quoted) / _HALF_HOUR_NS / 2.0
        told = f"the last quote is {late:.2f} hours old on clock {self._instrument.spec.clock}"
        return late > -0.25, told if late > -0.25 else f"{told}: it lies in the future"

    def _failure(self, _: int) -> tuple[bool, str]:
        answer, error = self._module.symbol_info(_NO_SYMBOL), self._module.last_error()
        return answer is None and error[0] != mt5.RES_S_OK, f"{error[0]} {error[1]}"

    def _round_trip(self, _: int) -> tuple[bool, str]:
        taken = []
        for _call in range(_CALLS):
            began = time.perf_counter()
            self._module.account_info()
            taken.append(time.perf_counter() - began)
        return True, f"median {1000.0 * statistics.median(taken):.2f} ms of {_CALLS} calls"
