"""Bars: one symbol's closed candles as plain numpy columns, in UTC.

This is the only form in which prices travel inside mtquant. Conversion from and to pandas happens
here, at the edge, because a pandas index may count in any unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mtquant.errors import DataError
from mtquant.market.timeframe import Timeframe

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

PRICE_COLUMNS = ("open", "high", "low", "close")
COLUMNS = ("time", *PRICE_COLUMNS, "volume", "spread")


@dataclass(frozen=True, eq=False)
class Bars:
    """Closed bars of one symbol.

    Attributes:
        symbol: Standard name, such as ``XAUUSD``.
        timeframe: Length of one bar.
        time: Bar *open*, int64 ns since the epoch, UTC, strictly increasing. Shape ``[T]``.
        open: Prices, float64 ``[T]``; bid prices where the source has two sides.
        high: As ``open``.
        low: As ``open``.
        close: As ``open``.
        volume: Ticks or traded amount, float64 ``[T]``; 0 where not recorded.
        spread: Points of the symbol, float64 ``[T]``; 0 means *not recorded*, never free.
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

    def __post_init__(self) -> None:
        for name, column in self.columns():
            dtype = np.int64 if name == "time" else np.float64
            column = np.ascontiguousarray(column, dtype=dtype)
            if column.flags.writeable:
                column = column.copy()
                column.flags.writeable = False
            object.__setattr__(self, name, column)
            if column.shape != self.time.shape or column.ndim != 1:
                raise DataError(
                    f"{self.symbol}: column '{name}' has shape {column.shape}, "
                    f"'time' has {self.time.shape}; every column needs one value a bar"
                )
        steps = np.diff(self.time)
        if steps.size and steps.min() <= 0:
            at = int(np.argmin(steps > 0)) + 1
            raise DataError(
                f"{self.symbol}: bar {at} opens at {self.when(at)}, not after the bar before it; "
                "sort the bars and drop duplicates first"
            )

    def __len__(self) -> int:
        return int(self.time.size)

    def __getitem__(self, rows: slice) -> Bars:
        if rows.step is not None and rows.step < 1:
            raise DataError(f"{self.symbol}: bars are cut forwards in time, not by {rows}")
        # A cut of valid columns is valid: the checks are not repeated, live it happens every bar.
        return self._made({name: column[rows] for name, column in self.columns()})

    def then(self, later: Bars) -> Bars:
        """These bars and later ones of the same symbol; only the seam is checked.

        Raises:
            DataError: The first of the later ones opens no later than the last of these.
        """
        if len(self) and len(later) and later.time[0] <= self.time[-1]:
            raise DataError(
                f"{self.symbol}: bars from {later.when(0)} on do not follow those until "
                f"{self.when(-1)}; cut what both have"
            )
        return self._made({n: np.concatenate((c, getattr(later, n))) for n, c in self.columns()})

    def _made(self, columns: Mapping[str, npt.NDArray[np.generic]]) -> Bars:
        """Bars of columns that are known to be valid, so that no check is repeated."""
        made = object.__new__(Bars)
        made.__dict__.update(symbol=self.symbol, timeframe=self.timeframe, **columns)
        for column in columns.values():
            column.flags.writeable = False
        return made

    def columns(self) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
        """Name and array of each column, in the order of the record."""
        for name in COLUMNS:
            yield name, getattr(self, name)

    def when(self, row: int) -> str:
        """The opening time of a bar, readable, UTC."""
        return str(np.datetime64(int(self.time[row]), "ns").astype("datetime64[s]")) + "Z"

    def between(self, start_ns: int | None = None, end_ns: int | None = None) -> Bars:
        """Bars that open in ``[start_ns, end_ns)``; None leaves that side open."""
        first = 0 if start_ns is None else int(np.searchsorted(self.time, start_ns))
        last = len(self) if end_ns is None else int(np.searchsorted(self.time, end_ns))
        return self[first:last]

    def fingerprint(self) -> str:
        """Hash of symbol, timeframe and every value: equal bars, equal fingerprint."""
        digest = hashlib.sha256(f"{self.symbol} {self.timeframe.name} {len(self)}".encode())
        for name, column in self.columns():
            digest.update(name.encode() + column.astype(column.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, symbol: str, timeframe: Timeframe) -> Bars:
        """Bars from a frame with a ``time`` column (aware, or naive meaning UTC) and prices.

        Missing ``volume`` and ``spread`` become 0, which means not recorded.

        Raises:
            DataError: A price column is missing, or the times do not increase.
        """
        missing = [name for name in ("time", *PRICE_COLUMNS) if name not in frame.columns]
        if missing:
            raise DataError(f"{symbol}: the frame lacks the columns {', '.join(missing)}")
        time = pd.DatetimeIndex(pd.to_datetime(frame["time"]))
        if time.tz is not None:
            time = time.tz_convert("UTC").tz_localize(None)
        columns = {name: frame[name].to_numpy(np.float64) for name in PRICE_COLUMNS}
        for name in ("volume", "spread"):
            given = frame[name].to_numpy(np.float64) if name in frame else np.zeros(len(frame))
            columns[name] = given
        return cls(symbol, timeframe, time.as_unit("ns").to_numpy().astype(np.int64), **columns)

    def to_frame(self) -> pd.DataFrame:
        """A frame with an aware UTC ``time`` column and one column each for the rest."""
        frame = pd.DataFrame({name: np.array(column) for name, column in self.columns()})
        frame["time"] = pd.DatetimeIndex(frame["time"].astype("datetime64[ns]"), tz="UTC")
        return frame
