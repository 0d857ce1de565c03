"""What a file said, before it is trusted: raw bars, where each came from, and findings about them.

``RawBars`` may hold anything a file can hold - unsorted, repeated or absurd rows. Only what passes
:mod:`mtquant.market.quality` becomes :class:`~mtquant.market.bars.Bars`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from mtquant.errors import DataError
from mtquant.market.bars import Bars, Float, Int
from mtquant.market.clock import Clock, readable
from mtquant.market.timeframe import Timeframe

Rows = Int | npt.NDArray[np.bool_] | slice
COLUMNS = ("time", "open", "high", "low", "close", "volume", "spread")


class UnknownClock(DataError):
    """The times of a file are a wall clock's, and nobody said which; the user must tell."""


class Severity(Enum):
    """What a finding means for the import."""

    ERROR = "error"  # would corrupt training: refused until repaired
    WARNING = "warning"  # imported as it is; the user should look
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One kind of defect in a set of bars.

    Attributes:
        code: Stable short name, such as ``spike``.
        severity: Whether it stops the import.
        what: The defect in words.
        count: Rows that have it.
        place: File and line (or time) of the first.
        value: What stands there.
        cure: What the user can do.
    """

    code: str
    severity: Severity
    what: str
    count: int
    place: str
    value: str
    cure: str = ""

    def sentence(self) -> str:
        """The finding as one sentence that names place, value and cure."""
        many = f" ({self.count} in all)" if self.count > 1 else ""
        return f"{self.place}: {self.what}: {self.value}{many}" + (self.cure and f"; {self.cure}")


@dataclass(frozen=True, eq=False)
class Origin:
    """Where rows stood in their file.

    Attributes:
        name: File name or store key.
        unit: ``line`` of a text file, ``row`` of a table, ``bar`` of a store.
        number: 1-based number of each row in that unit, int64 ``[T]``.
    """

    name: str
    unit: str
    number: Int

    def at(self, row: int) -> str:
        """Such as ``prices.csv, line 4711``."""
        return f"{self.name}, {self.unit} {int(self.number[row])}"

    def take(self, rows: Rows) -> Origin:
        """The origin of some of the rows."""
        return replace(self, number=self.number[rows])


@dataclass(frozen=True, eq=False)
class RawBars:
    """Bars as read: in UTC and on the tick grid, but otherwise unchecked.

    Attributes:
        symbol: Standard name.
        timeframe: As stated or inferred.
        time: int64 ns UTC ``[T]``, in any order.
        open: Prices, float64 ``[T]``, NaN where the file had none; so ``high``, ``low``, ``close``.
        high: As ``open``.
        low: As ``open``.
        close: As ``open``.
        volume: float64 ``[T]``; 0 where not recorded.
        spread: Points, float64 ``[T]``; 0 where not recorded.
        origin: Where each row stood.
        layout: Which program's layout the file has.
        clock: The clock by which the times were read.
        noted: What was found (and done) while reading.
    """

    symbol: str
    timeframe: Timeframe
    time: Int
    open: Float
    high: Float
    low: Float
    close: Float
    volume: Float
    spread: Float
    origin: Origin
    layout: str
    clock: Clock
    noted: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return int(self.time.size)

    def place(self, row: int) -> str:
        """File, line and time of a row, for messages."""
        return f"{self.origin.at(row)} ({readable(int(self.time[row]))}Z)"

    def take(self, rows: Rows) -> RawBars:
        """Some of the rows, by mask, index or slice."""
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(self, origin=self.origin.take(rows), **columns)

    def to_bars(self) -> Bars:
        """The bars, which must by now be in order.

        Raises:
            DataError: Times do not increase.
        """
        columns = {name: getattr(self, name) for name in COLUMNS}
        return Bars(self.symbol, self.timeframe, **columns)

    @classmethod
    def from_bars(cls, bars: Bars, name: str, clock: Clock) -> RawBars:
        """Stored bars, to be checked again."""
        origin = Origin(name, "bar", np.arange(1, len(bars) + 1, dtype=np.int64))
        columns = {column: getattr(bars, column) for column in COLUMNS}
        return cls(
            bars.symbol, bars.timeframe, **columns, origin=origin, layout="store", clock=clock
        )
