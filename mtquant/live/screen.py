"""Screen: a runner's newest bars on the console, and all of them in its log."""

from __future__ import annotations

from rich.live import Live

from mtquant.live.log import LiveLog
from mtquant.live.monitor import Monitor
from mtquant.live.report import BarReport


class Screen:
    """Shows the newest bars and writes all of them to the log."""

    def __init__(self, monitor: Monitor, view: Live, log: LiveLog) -> None:
        self._monitor, self._view, self._log = monitor, view, log

    def on_report(self, report: BarReport) -> None:
        """A bar was decided."""
        self._log.on_report(report)
        self._monitor.add(report)
        self._view.update(self._monitor.table(), refresh=True)

    def on_trouble(self, problem: str) -> None:
        """A look failed; the next one tries again."""
        self._log.on_trouble(problem)
        self._view.console.print(problem, markup=False, soft_wrap=True, highlight=False)
