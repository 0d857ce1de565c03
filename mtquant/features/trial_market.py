"""A hostile made-up market on which a leak has nowhere to hide.

Whoever reads the future often does so at rare rows only: at a month's end, before a halt, within a
stretch without volume. So this market has all of them within some 1,300 bars: the turn of the year,
a leap day, four changes of summer time, weekends, halts of hours and of months, flat and unrecorded
stretches, jumps, new highs and ties; a second symbol and context symbols trade at other times. Its
prices lie on a binary grid, so that sums of them are exact and running sums show no rounding.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mtquant.market.bars import PRICE_COLUMNS, Bars, Int
from mtquant.market.clock import DAY_NS, HOUR_NS, Mask
from mtquant.market.panel import Panel
from mtquant.market.timeframe import MINUTE_NS, Timeframe

#: First and last day of each stretch; between them trading is halted.
_STRETCHES = (
    ("2023-12-20", "2024-01-05"),
    ("2024-01-24", "2024-02-07"),
    ("2024-02-26", "2024-03-14"),
    ("2024-03-26", "2024-04-04"),
    ("2024-10-23", "2024-11-07"),
)
_TRADED = (("XAUUSD", 2048.0), ("EURUSD", 1.125), ("GBPUSD", 1.25), ("AUDUSD", 0.75))
_CONTEXT_PRICE = 64.0
_TICK = 2.0**-15  # of the starting price
_WEEK_HOURS, _OPEN_HOURS = 168, 110  # fewer than are open, to be safe


def trial_panel(lookback: int, context: Sequence[str] = ()) -> Panel:
    """The market, with enough bars before its hostile part for a feature's warm-up.

    Args:
        lookback: Bars that a row of the feature reads.
        context: Symbols that it reads besides those it describes.
    """
    traded = [entry for entry in _TRADED if entry[0] not in context][:2] or [_TRADED[0]]
    names = [name for name, _ in traded]
    slots, longer = _slots(lookback), _slots(2 * lookback)
    bars = [_bars(name, _own_times(slots, k), price) for k, (name, price) in enumerate(traded)]
    others = [name for name in context if name not in names]
    return Panel(bars, [_bars(n, _context_times(longer, n), _CONTEXT_PRICE) for n in others])


def _slots(warm_up: int) -> Int:
    """Hours at which the week is open, Sunday 22:00 to Friday 22:00 UTC."""
    weeks = (warm_up + 60) // _OPEN_HOURS + 1
    start = np.datetime64(_STRETCHES[0][0], "h").astype(np.int64)
    pieces = [np.arange(start - weeks * _WEEK_HOURS, start)]
    for first, last in _STRETCHES:
        days = (np.datetime64(day, "h").astype(np.int64) for day in (first, last))
        pieces.append(np.arange(*days))
    hours = np.concatenate(pieces)
    of_week = (hours + 3 * 24) % _WEEK_HOURS  # from Monday 00:00
    return np.asarray(hours[(of_week < 118) | (of_week >= 166)] * HOUR_NS)


def _own_times(slots: Int, k: int) -> Int:
    """The first symbol pauses daily and has two halts, the second misses other bars."""
    rng = np.random.default_rng(k)
    kept = rng.random(slots.size) > 0.02
    if k == 0:
        kept &= slots // HOUR_NS % 24 != 22
    for ago in (170 + 40 * k, 610 + 40 * k):
        kept[-ago : -ago + 9 + k] = False
    return slots[kept]


def _context_times(slots: Int, name: str) -> Int:
    """By turns at the same times, 20 minutes late, full of holes, and with bars in between."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    turn = (np.arange(slots.size) - slots.size) // 90 % 4
    holes = (turn == 2) & (rng.random(slots.size) < 0.5)
    late = slots + 20 * MINUTE_NS * (turn == 1)
    between = slots[(turn == 3) & (rng.random(slots.size) < 0.4)] + 30 * MINUTE_NS
    return np.unique(np.concatenate([late[~holes], between]))


def _bars(symbol: str, time: Int, start: float) -> Bars:
    rng = np.random.default_rng(zlib.crc32(symbol.encode()))
    size = time.size
    volatility = 0.002 * np.exp(np.cumsum(0.1 * rng.standard_normal(size)) % 1.5 - 0.7)
    steps = volatility * rng.standard_normal(size) * (rng.random(size) > 0.08)
    steps[-450:-380] += 0.002  # new highs
    steps[-380:-290] -= 0.0015
    jumps = -np.arange(60, min(size, 1200), 97)
    steps[jumps] = np.where(np.arange(jumps.size) % 2, 0.04, -0.04)
    flat = np.zeros(size, np.bool_)
    for ago in (1000, 550, 240):
        flat[-ago : -ago + 45] = True
    level = np.cumsum(np.where(flat, 0.0, steps))
    close = np.exp(level - 0.7 * np.round(level / 0.7))  # a long warm-up must not run away
    opening = np.concatenate([close[:1], close[:-1]])
    opening *= 1.0 + 0.5 * volatility * rng.standard_normal(size) * ~flat
    opening[flat] = close[flat]
    reach = 1.0 + np.where(flat, 0.0, volatility) * rng.random((2, size))
    prices = {
        "open": opening,
        "high": np.maximum(opening, close) * reach[0],
        "low": np.minimum(opening, close) / reach[1],
        "close": close,
    }
    volume = rng.integers(0, 900, size).astype(np.float64)
    spread = np.where(rng.random(size) > 0.05, rng.integers(5, 40, size), 0).astype(np.float64)
    for ago in (1100, 700, 220):
        volume[-ago : -ago + 40] = 0.0
        spread[-ago - 60 : -ago - 25] = 0.0
    on_grid = {name: np.rint(values / _TICK) * (_TICK * start) for name, values in prices.items()}
    return Bars(symbol, Timeframe.H1, time, **on_grid, volume=volume, spread=spread)


def telling_rows(panel: Panel, first: int, each: int) -> Int:
    """Rows from ``first`` on at which something happens now or with the next bar.

    Args:
        panel: Any bars.
        first: Earliest row.
        each: How many rows of every kind, where there are as many.

    Returns:
        Ascending; the last row is not among them, nothing follows it.
    """
    rng = np.random.default_rng(7)
    order = first + rng.permutation(max(len(panel) - 1 - first, 0))
    taken: set[int] = set()
    for happens in _happenings(panel):
        rows = order[happens[order]]
        missing = each - sum(int(row) in taken for row in rows)
        fresh = [int(row) for row in rows if int(row) not in taken]
        taken.update(fresh[: max(missing, 0)])
    return np.array(sorted(taken), dtype=np.int64)


def _happenings(panel: Panel) -> list[Mask]:
    """What may happen at a row, rarest kinds first; each mask is ``[T]``."""
    time, found = panel.time, []
    day = time // DAY_NS
    dates = time.astype("datetime64[ns]")
    month, year = dates.astype("datetime64[M]"), dates.astype("datetime64[Y]")
    gap = np.diff(time, prepend=time[:1]) // panel.timeframe.nanoseconds
    for turn in (np.diff(year), np.diff(month), np.diff((day + 3) // 7), gap[1:] > 100):
        found.append(np.append(turn.astype(np.int64) != 0, False))
    bars, own = panel.bars[0], np.maximum(panel.row[:, 0], 0)
    change = np.abs(np.diff(np.log(np.abs(bars.close) + 1e-300), prepend=0.0))
    change[0] = 0.0
    ends = np.array(np.diff(day, append=day[-1:]) > 0, np.bool_)
    top, bottom = _records(bars)
    states: list[Mask] = [gap > 1, ends, top[own], bottom[own]]
    states += [(column == 0.0)[own] for column in (bars.volume, bars.spread, bars.high - bars.low)]
    states += [
        (change > np.quantile(change, 0.98))[own],
        np.logical_not(panel.tradable.all(axis=1)),
    ]
    for state in states:
        begins = np.diff(state.astype(np.int64), append=0)
        found += [begins == 1, begins == -1, state]
    minutes = panel.timeframe.minutes
    found += [(time // HOUR_NS) % 4 == 3] if minutes < 240 else []
    found += [dates.astype("datetime64[D]") - month == k for k in range(31)]
    hour_of_week = (time // HOUR_NS + 72) % 168
    return found + [hour_of_week == k for k in np.unique(hour_of_week)]


def _records(bars: Bars) -> tuple[Mask, Mask]:
    """Bars that close at the highest, and at the lowest, of the last 50."""
    padded = np.concatenate([np.full(49, bars.close[0]), bars.close])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 50)
    high, low = windows.max(axis=1), windows.min(axis=1)
    return bars.close >= high, bars.close <= low


#: What may follow a row instead of what did; each maker is given the bars after it and the last
#: close before them. ``huge`` tells a small share of the future from a rounding.
FUTURES: dict[str, Callable[[Bars, float], Bars]] = {
    "soaring": lambda tail, last: _scaled(tail, 1.5, volume=1000.0, spread=50.0),
    "crashing, three days later": lambda tail, last: _with(
        _scaled(tail, 0.5), {"time": tail.time + 77 * HOUR_NS}
    ),
    "standing still, without volume and spread": lambda tail, last: _still(tail, last),
    "half missing": lambda tail, last: tail[1::2],
    "running backwards, without a gap": lambda tail, last: _with(
        backwards(tail),
        {"time": tail.time[:1] + tail.timeframe.nanoseconds * np.arange(len(tail))},
    ),
    "only two": lambda tail, last: _scaled(tail[:2], 0.75),
    "huge": lambda tail, last: _scaled(tail, 2.0**20),
}


def with_future(panel: Panel, row: int, future: str) -> Panel:
    """The panel up to ``row``, followed by one of :data:`FUTURES` for every symbol."""
    end = int(panel.time[row]) + 1

    def joined(bars: Bars) -> Bars:
        head, tail = bars.between(None, end), bars.between(end, None)
        if not len(tail):
            return owned(head)
        last = head.close[-1] if len(head) else tail.open[0]
        follows = FUTURES[future](tail, float(last))
        pairs = zip(head.columns(), follows.columns(), strict=True)
        return _with(bars, {name: np.concatenate([c, later]) for (name, c), (_, later) in pairs})

    return each_symbol(panel, joined)


def backwards(bars: Bars) -> Bars:
    """The same times with the other columns from the last bar to the first."""
    return _with(bars, {name: c[::-1] for name, c in bars.columns() if name != "time"})


def turned(panel: Panel) -> Panel:
    """The panel with every symbol's bars :func:`backwards`."""
    return each_symbol(panel, backwards)


def shifted(panel: Panel, nanoseconds: int) -> Panel:
    """The same bars a moment later."""
    return each_symbol(panel, lambda bars: _with(bars, {"time": bars.time + nanoseconds}))


def without(panel: Panel, times: Int) -> Panel:
    """The panel without any symbol's bars of these times."""

    def kept(bars: Bars) -> Bars:
        stays = ~np.isin(bars.time, times)
        return _with(bars, {name: column[stays] for name, column in bars.columns()})

    return each_symbol(panel, kept)


def owned(bars: Bars) -> Bars:
    """The bars in memory of their own, so that nobody finds the whole history behind a slice."""
    return _with(bars, {name: np.array(column) for name, column in bars.columns()})


def each_symbol(panel: Panel, change: Callable[[Bars], Bars]) -> Panel:
    """The panel of changed bars."""
    return Panel([change(b) for b in panel.bars], [change(b) for b in panel.context])


def _with(bars: Bars, columns: Mapping[str, Any]) -> Bars:
    return Bars(bars.symbol, bars.timeframe, **{**dict(bars.columns()), **columns})


def _scaled(bars: Bars, factor: float, volume: float = 0.0, spread: float = 0.0) -> Bars:
    prices = {name: getattr(bars, name) * factor for name in PRICE_COLUMNS}
    return _with(bars, {**prices, "volume": bars.volume + volume, "spread": bars.spread + spread})


def _still(bars: Bars, price: float) -> Bars:
    level, nothing = np.full(len(bars), price), np.zeros(len(bars))
    return _with(
        bars, {**dict.fromkeys(PRICE_COLUMNS, level), "volume": nothing, "spread": nothing}
    )
