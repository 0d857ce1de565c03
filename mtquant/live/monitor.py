"""Monitor: the newest bars of a running strategy as a table; whoever owns the console draws it.

The last trips of the breaker stay below the table when their bars have left it.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from mtquant.brokers.base import Outcome
from mtquant.live.report import BarReport

ROWS, TRIPS = 12, 3
_COLUMNS = ("bar", "price", "position", "equity", "drawdown", "reason")


class Monitor:
    """Remembers the last reports, one line per symbol and bar."""

    def __init__(self, title: str, rows: int = ROWS) -> None:
        """Begin empty.

        Args:
            title: Heading.
            rows: How many lines to keep.
        """
        self.title = title
        self._rows: deque[tuple[str, ...]] = deque(maxlen=rows)
        self._trips: deque[str] = deque(maxlen=TRIPS)

    def add(self, report: BarReport) -> None:
        """Take in what a bar led to."""
        record = report.outlook.record
        when = str(np.datetime64(record.bar_time_ns, "ns").astype("datetime64[m]"))
        if report.trip is not None:
            self._trips.append(f"{when.replace('T', ' ')} {report.trip.words}")
        for decision, price, lots in zip(
            report.outlook.decisions, report.outlook.price, report.position_lots, strict=True
        ):
            self._rows.append(
                (
                    f"{when.replace('T', ' ')} {decision.symbol}",
                    f"{price:,.5f}".rstrip("0").rstrip("."),
                    f"{lots:+.2f}" if lots else "flat",
                    f"{record.equity:,.2f}",
                    f"{record.drawdown:.1%}",
                    _why(report, decision.checks or decision.reason),
                )
            )

    def table(self) -> Table:
        """The lines so far, oldest first."""
        trips = Text("\n".join(self._trips), "bold red") if self._trips else None
        table = Table(
            title=Text(self.title), box=box.SIMPLE_HEAD, caption=trips, caption_justify="left"
        )
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name in ("bar", "reason") else "right")
        for row in self._rows:
            # Broker texts are shown as they are, never read as markup.
            table.add_row(*map(Text, row))
        return table


def _why(report: BarReport, reason: str) -> str:
    """The decision's reason, and what went wrong where something did."""
    level = report.outlook.level
    parts = [reason if level == "NORMAL" else f"{level}: {reason}"]
    if report.trip is not None:
        parts.insert(0, report.trip.words)
    parts += [r.text for r in report.results if r.outcome is not Outcome.EXECUTED]
    parts += report.events
    return "; ".join(parts)
