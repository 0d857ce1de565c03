"""Monitor: the newest bars of a running strategy as a table; whoever owns the console draws it."""

from __future__ import annotations

from collections import deque

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from mtquant.brokers.base import Outcome
from mtquant.live.runner import BarReport

ROWS = 12
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

    def add(self, report: BarReport) -> None:
        """Take in what a bar led to."""
        record = report.outlook.record
        when = str(np.datetime64(record.bar_time_ns, "ns").astype("datetime64[m]"))
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
                    _why(report, decision.reason),
                )
            )

    def table(self) -> Table:
        """The lines so far, oldest first."""
        table = Table(title=Text(self.title), box=box.SIMPLE_HEAD)
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
    parts += [r.text for r in report.results if r.outcome is not Outcome.EXECUTED]
    parts += report.events
    return "; ".join(parts)
