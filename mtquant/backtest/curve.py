"""The equity curve of a ledger: its returns, its falls, its months.

One definition each, so that a chart, a table and a ratio never disagree about what a return or a
drawdown is. The start equity belongs to the curve: an account that only ever loses is in drawdown
from its first bar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtquant.backtest.ledger import Ledger
from mtquant.market.bars import Float


@dataclass(frozen=True)
class Drawdown:
    """The deepest fall of equity from an earlier peak.

    Attributes:
        depth: Fraction of the peak; above 1 where equity fell below 0.
        peak_time_ns: Last bar at the peak, None where equity never fell.
        trough_time_ns: Bar of the lowest equity.
        recovery_time_ns: First bar back at the peak, None where it never came back.
    """

    depth: float
    peak_time_ns: int | None = None
    trough_time_ns: int | None = None
    recovery_time_ns: int | None = None


def equity_path(ledger: Ledger) -> Float:
    """Equity with the start before the first bar, ``[T + 1]``."""
    return np.concatenate(([ledger.start_equity], ledger.equity))


def bar_returns(ledger: Ledger) -> Float:
    """Simple return of each bar, ``[T]``; 0 once equity was not positive before it."""
    path = equity_path(ledger)
    alive = np.minimum.accumulate(path)[:-1] > 0
    before = np.where(alive, path[:-1], 1.0)
    return np.where(alive, np.diff(path) / before, 0.0)


def drawdowns(ledger: Ledger) -> Float:
    """Fall from the highest equity so far, start included, as a fraction of it, ``[T]``."""
    path = equity_path(ledger)
    fall: Float = 1 - path / np.maximum.accumulate(path)
    return fall[1:]


def monthly_returns(ledger: Ledger) -> dict[str, float | None]:
    """Return of each calendar month (UTC, by bar open) with a bar, such as ``{"2024-01": 0.02}``.

    The first and the last month may be partial. None where a month began without equity.
    """
    months = ledger.time_ns.astype("datetime64[ns]").astype("datetime64[M]")
    last = np.append(np.flatnonzero(months[1:] != months[:-1]), len(ledger) - 1)
    ends = ledger.equity[last]
    starts = np.concatenate(([ledger.start_equity], ends[:-1]))
    return {
        str(month): float(end / start - 1) if start > 0 else None
        for month, start, end in zip(months[last], starts, ends, strict=True)
    }


def max_drawdown(ledger: Ledger) -> Drawdown:
    """The deepest of :func:`drawdowns`, with its dates."""
    falls = drawdowns(ledger)
    trough = int(falls.argmax())
    if falls[trough] <= 0:
        return Drawdown(0.0)
    path = equity_path(ledger)
    high = path[: trough + 1].max()
    peak = int(np.flatnonzero(path[: trough + 1] == high)[-1])
    back = np.flatnonzero(ledger.equity[trough:] >= high)
    times = ledger.time_ns
    return Drawdown(
        depth=float(falls[trough]),
        # A peak before the first bar is dated by the first bar's open.
        peak_time_ns=int(times[max(peak - 1, 0)]),
        trough_time_ns=int(times[trough]),
        recovery_time_ns=int(times[trough + back[0]]) if back.size else None,
    )
