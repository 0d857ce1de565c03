"""Panel: several symbols on the union of their bar times.

Nothing is filled. A symbol's features run on its own bars and are then placed on the common clock
as of its last closed bar; ``tradable`` says where it really has a bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mtquant.errors import DataError
from mtquant.market.bars import Bars, Float, Int
from mtquant.market.timeframe import Timeframe


@dataclass(frozen=True, eq=False)
class Panel:
    """Bars of ``S`` symbols on one clock of ``T`` bar times.

    Attributes:
        bars: One ``Bars`` per symbol, all of one timeframe.
        context: Bars that features may read and nobody trades; they do not shape the clock.
    """

    bars: tuple[Bars, ...]
    context: tuple[Bars, ...] = ()

    def __init__(self, bars: Sequence[Bars], context: Sequence[Bars] = ()) -> None:
        if not bars:
            raise DataError("a panel needs the bars of at least one symbol")
        given = (*bars, *context)
        if len({b.timeframe for b in given}) > 1:
            mixed = ", ".join(f"{b.symbol} {b.timeframe.name}" for b in given)
            raise DataError(f"a panel needs one timeframe, got {mixed}; resample first")
        if len({b.symbol for b in given}) < len(given):
            raise DataError(f"a symbol stands twice in {[b.symbol for b in given]}")
        object.__setattr__(self, "bars", tuple(bars))
        object.__setattr__(self, "context", tuple(context))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Standard names, in observation order."""
        return tuple(b.symbol for b in self.bars)

    @property
    def timeframe(self) -> Timeframe:
        """The common bar length."""
        return self.bars[0].timeframe

    @cached_property
    def time(self) -> Int:
        """Union of the bar opens, int64 ns UTC, ``[T]``."""
        if len(self.bars) == 1:
            return self.bars[0].time
        return np.unique(np.concatenate([b.time for b in self.bars]))

    @cached_property
    def row(self) -> Int:
        """Index of each symbol's newest own bar at each time, -1 before its first, ``[T, S]``."""
        if len(self.bars) == 1:
            return np.arange(len(self), dtype=np.int64)[:, None]
        return np.stack(
            [np.searchsorted(b.time, self.time, side="right") - 1 for b in self.bars], axis=1
        ).astype(np.int64)

    @cached_property
    def tradable(self) -> npt.NDArray[np.bool_]:
        """Whether the symbol has a bar of exactly this time, ``[T, S]``."""
        if len(self.bars) == 1:
            return np.ones((len(self), 1), np.bool_)
        own = [np.isin(self.time, b.time, assume_unique=True) for b in self.bars]
        return np.stack(own, axis=1)

    def __len__(self) -> int:
        return int(self.time.size)

    def of(self, symbol: str) -> Bars:
        """The bars of one symbol, traded or context.

        Raises:
            DataError: The panel does not hold it.
        """
        for bars in (*self.bars, *self.context):
            if bars.symbol == symbol:
                return bars
        held = [b.symbol for b in (*self.bars, *self.context)]
        raise DataError(f"the panel holds no bars of '{symbol}', only of {', '.join(held)}")

    def __getitem__(self, rows: slice) -> Panel:
        """The panel restricted to a contiguous run of its times; context keeps its past."""
        first, last, step = rows.indices(len(self))
        if step != 1 or last <= first:
            raise DataError(f"a panel is cut by a non-empty run of bars, not by {rows}")
        end = int(self.time[last - 1]) + 1
        return Panel(
            [b.between(int(self.time[first]), end) for b in self.bars],
            [b.between(None, end) for b in self.context],
        )

    def place(self, own: Sequence[Float], last: int | None = None) -> Float:
        """Put per-symbol rows on the common clock.

        Args:
            own: Per symbol ``[n, k]``, on all of the symbol's bars or from the first on that the
                rows kept need.
            last: Keep only the last ``last`` rows of the clock.

        Returns:
            ``[T, S, k]``; NaN before a symbol's first bar.

        Raises:
            DataError: A symbol has another number of rows.
        """
        rows = self.row if last is None else self.row[-last:]
        placed = []
        for s, (values, bars) in enumerate(zip(own, self.bars, strict=True)):
            needed = len(bars) - max(int(rows[0, s]), 0)
            if len(values) not in (len(bars), needed):
                raise DataError(
                    f"{bars.symbol}: {len(values)} rows for {len(bars)} bars; give one for each, "
                    f"or for the newest {needed}"
                )
            if len(own) == 1:
                return values[-len(rows) :, None]
            if not len(bars):
                placed.append(np.full((len(rows), values.shape[1]), np.nan))
                continue
            at = rows[:, s] - (len(bars) - len(values))
            at[rows[:, s] < 0] = -1
            placed.append(np.where(at[:, None] >= 0, values[np.maximum(at, 0)], np.nan))
        return np.stack(placed, axis=1)
