"""Growth: bars, panel and tape that are extended at their end, bar by bar.

Rows keep their numbers for ever, since books and reports name bars by them. What a bar adds is
computed from a window of the newest bars, by the function that tabulates whole histories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mtquant.jit import Structured
from mtquant.market.bars import Bars, Int
from mtquant.market.panel import Panel
from mtquant.market.rollover import swap_nights
from mtquant.market.symbols import SymbolSpec
from mtquant.sim.account import Tape

TapeOf = Callable[[Panel], Tape]
"""A tape over any run of bars, with the same columns on each row as over the whole."""


@dataclass(frozen=True)
class Opening:
    """A bar has opened, and with it the one before it has closed.

    Attributes:
        now_ns: Its open, ns UTC.
        bars: Per symbol, context last, from the newest bar on that was known before; what forms
            now is known by its open alone.
    """

    now_ns: int
    bars: tuple[Bars, ...]


def seen_at(bars: Bars, now_ns: int) -> Bars:
    """What is known of bars at an instant; of one that still forms, its open and spread."""
    shown = bars.between(None, now_ns + 1)
    if not len(shown) or shown.time[-1] + shown.timeframe.nanoseconds <= now_ns:
        return shown
    columns = {name: np.array(column) for name, column in shown.columns()}
    for name in ("high", "low", "close"):
        columns[name][-1] = columns["open"][-1]
    columns["volume"][-1] = 1.0
    return Bars(shown.symbol, shown.timeframe, **columns)


class Rows:
    """An array that grows along its first axis."""

    def __init__(self, rows: npt.NDArray[Any]) -> None:
        self._held, self._count = rows.copy(), len(rows)

    def put(self, first: int, rows: npt.NDArray[Any]) -> None:
        """Put rows from a place on; nothing is left behind them."""
        end = first + len(rows)
        if end > len(self._held):
            held = np.zeros((2 * end, *self._held.shape[1:]), self._held.dtype)
            held[: self._count] = self._held[: self._count]
            self._held = held
        self._held[first:end] = rows
        self._count = end

    @property
    def all(self) -> npt.NDArray[Any]:
        """Those there are, a view."""
        return self._held[: self._count]


class Series:
    """The bars of one symbol.

    Attributes:
        bars: Those so far.
    """

    def __init__(self, bars: Bars) -> None:
        self._columns = {name: Rows(column) for name, column in bars.columns()}
        self.bars = bars

    def take(self, bars: Bars) -> int:
        """Take bars in the place of what was known from the first of them on; its row."""
        first = int(np.searchsorted(self.bars.time, bars.time[0]))
        grown = object.__new__(Bars)  # without the checks: they read every bar
        its: dict[str, Any] = grown.__dict__
        its["symbol"], its["timeframe"] = bars.symbol, bars.timeframe
        for name, column in bars.columns():
            self._columns[name].put(first, column)
            its[name] = self._columns[name].all
            its[name].flags.writeable = False
        self.bars = grown
        return first


class Growth:
    """A panel and a tape over it, of which the last row forms.

    Attributes:
        panel: All bars so far.
        tape: Its columns.
    """

    def __init__(
        self,
        bars: Sequence[Bars],
        specs: Sequence[SymbolSpec],
        tape_of: TapeOf,
        window: int,
    ) -> None:
        """Tabulate a history.

        Args:
            bars: Traded symbols first, then context; the newest traded one forms.
            specs: Of the traded symbols.
            tape_of: Computes columns.
            window: Bars of each symbol from which the two newest rows come out right.
        """
        self._specs, self._tape_of, self._window = tuple(specs), tape_of, window
        self._series = [Series(one) for one in bars]
        traded = len(specs)
        self.panel = Panel(bars[:traded], bars[traded:])
        self.tape = tape_of(self.panel)
        panel, tape = self.panel, self.tape
        self._places = [Rows(column) for column in (panel.time, panel.row, panel.tradable)]
        self._columns = [Rows(column) for column in (tape.market, tape.day, tape.correlation)]

    @property
    def known_ns(self) -> tuple[int, ...]:
        """Open of each symbol's newest bar."""
        return tuple(int(one.bars.time[-1]) for one in self._series)

    def take(self, opening: Opening) -> list[int]:
        """Close the row that forms and open the next; per symbol the row that it was taken at."""
        firsts = [
            series.take(bars) for series, bars in zip(self._series, opening.bars, strict=True)
        ]
        count, traded = len(self.panel), self._series[: len(self._specs)]
        two = np.array([int(self.panel.time[-1]), opening.now_ns])
        rows = np.stack([_rows_at(one.bars, two) for one in traded], axis=1)
        own = np.stack(
            [
                one.bars.time[np.maximum(row, 0)] == two
                for one, row in zip(traded, rows.T, strict=True)
            ],
            axis=1,
        )
        for held, values in zip(self._places, (two, rows, own), strict=True):
            held.put(count - 1, values)
        tape = self._tape_of(Panel([one.bars[-self._window :] for one in traded]))
        self._charge_rest(tape.market[-2], rows[0], own, two)
        for held, values in zip(
            self._columns, (tape.market, tape.day, tape.correlation), strict=True
        ):
            if len(values):
                held.put(count - 1, values[-2:])
        self._show()
        return firsts

    def _charge_rest(
        self, closing: Structured, rows: Int, own: npt.NDArray[np.bool_], two: Int
    ) -> None:
        """Charge a symbol that trades again for the nights of its rest.

        While it rested nobody knew that it would last beyond the close of its last bar.
        """
        for s, spec in enumerate(self._specs):
            if own[1, s] and not own[0, s] and rows[s] >= 0:
                bars = self._series[s].bars
                rested = bars.time[rows[s]] + bars.timeframe.nanoseconds
                nights = swap_nights(np.array([rested]), two[1:], spec)
                closing[s]["nights"] = nights[0]

    def _show(self) -> None:
        """The panel and the tape of what is held; nothing is computed anew."""
        traded = len(self._specs)
        panel = object.__new__(Panel)
        its: dict[str, Any] = panel.__dict__
        its["bars"] = tuple(one.bars for one in self._series[:traded])
        its["context"] = tuple(one.bars for one in self._series[traded:])
        its["time"], its["row"], its["tradable"] = (held.all for held in self._places)
        self.panel = panel
        market, day, correlation = (held.all for held in self._columns)
        features = np.zeros((len(market), 0), np.float32)
        self.tape = self.tape._replace(
            market=market, day=day, correlation=correlation, features=features
        )


def _rows_at(bars: Bars, times: Int) -> Int:
    """The newest own row at each time, -1 before the first."""
    return np.searchsorted(bars.time, times, side="right") - 1
