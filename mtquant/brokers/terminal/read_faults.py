"""Faults of reads, and of any call: none, nothing, nonsense, an exception, the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.fault_kinds import BARS, HISTORY, ORDERS, Call, Fault, no_answer

if TYPE_CHECKING:
    from mtquant.brokers.terminal.faults import FaultyTerminal


class ProcessDied(BaseException):
    """The process of the program is dead; nothing in the package may catch it."""


@dataclass(frozen=True)
class Raises(Fault):
    """The call raises, as a bridge's client may.

    Attributes:
        after: Whether what was called had been done before.
        error: What it raises.
    """

    after: bool = False
    error: type[Exception] = ConnectionResetError

    def applies(self, function: str) -> bool:
        """Any call."""
        return True

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Do it or not, and raise."""
        if self.after:
            call.answer()
        raise self.error(f"{call.function}: the pipe has been ended")


@dataclass(frozen=True)
class Dies(Fault):
    """The process dies at the call.

    Attributes:
        after: Whether what was called had been done before.
    """

    after: bool = False

    def applies(self, function: str) -> bool:
        """Any call."""
        return True

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Do it or not, and die."""
        if self.after:
            call.answer()
        raise ProcessDied(call.function)


@dataclass(frozen=True)
class Dropped(Fault):
    """A read gives None.

    Attributes:
        code: What ``last_error`` then says.
        functions: Those that it can strike; none for every read.
    """

    code: int = mt5.RES_E_INTERNAL_FAIL_TIMEOUT
    functions: tuple[str, ...] = ()

    def applies(self, function: str) -> bool:
        """All reads, or the chosen ones."""
        return function in self.functions or (not self.functions and function not in ORDERS)

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Fail."""
        raise no_answer(self.code)


@dataclass(frozen=True)
class Emptied(Fault):
    """A read succeeds and shows nothing, as while a terminal still loads its history.

    Attributes:
        functions: Those that it can strike.
    """

    functions: tuple[str, ...] = (*HISTORY, *BARS)

    def applies(self, function: str) -> bool:
        """The chosen ones."""
        return function in self.functions

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Nothing of what there is."""
        answer = call.answer()
        return 0 if isinstance(answer, int) else answer[:0]


Spoiling = Literal["duplicate", "reorder", "revise", "gap", "zero", "nan", "negative", "crossed"]


@dataclass(frozen=True)
class SpoiltBars(Fault):
    """Bars come duplicated, out of order, revised, with a hole or with impossible prices.

    Attributes:
        how: In which way.
        back: Which bar, counted back from the newest that is shown.
    """

    how: Spoiling = "duplicate"
    back: int = 0

    def applies(self, function: str) -> bool:
        """Bars alone."""
        return function in BARS

    def strike(self, terminal: FaultyTerminal, call: Call) -> Any:
        """Spoil what is shown; too few bars stay as they are."""
        rows = call.answer()
        at = len(rows) - 1 - self.back
        return self._spoilt(rows, at) if at >= 1 else rows

    def _spoilt(self, rows: Any, at: int) -> Any:
        prices = ["open", "high", "low", "close"]
        if self.how == "duplicate":
            return np.insert(rows, at, rows[at])[1:]
        if self.how == "gap":
            return np.delete(rows, at)
        if self.how == "reorder":
            rows[[at - 1, at]] = rows[[at, at - 1]]
        elif self.how == "revise":
            high, low = rows["high"][at], rows["low"][at]
            rows["close"][at] = low if rows["close"][at] == high else high
        elif self.how == "crossed":
            rows["high"][at], rows["low"][at] = rows["low"][at], rows["high"][at] + 1.0
        else:
            factor = {"zero": 0.0, "nan": np.nan, "negative": -1.0}[self.how]
            for name in prices:
                rows[name][at] *= factor
        return rows
