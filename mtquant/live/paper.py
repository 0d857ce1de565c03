"""Paper: the live path on the simulated terminal, one bar after the other."""

from __future__ import annotations

from collections.abc import Iterator

from mtquant.brokers.base import Instrument
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.live.breaker_log import BARS_CLOCK
from mtquant.live.decide import Strategy
from mtquant.live.journal import Journal
from mtquant.live.report import BarReport
from mtquant.live.runner import Runner
from mtquant.live.settings import RunnerSettings
from mtquant.live.writer import WriterLock


def paper_runner(
    terminal: SimulatedTerminal,
    journal: Journal,
    strategy: Strategy,
    name: str,
    *,
    boot_id: str = "",
    writer: WriterLock | None = None,
) -> Runner:
    """A runner on a simulated terminal; its clock is the terminal's.

    Args:
        terminal: Standing at the close of the first bar to decide on.
        journal: Where to write.
        strategy: Decides.
        name: Of the strategy.
        boot_id: Of this start, where the journal outlives it.
        writer: Held for the runner's life, where others could write.
    """
    instruments = [Instrument(spec, spec.name) for spec in strategy.specs]
    context = [Instrument(spec, spec.name) for spec in strategy.context_specs]
    adapter = MT5Adapter(terminal, [*instruments, *context])
    adapter.connect()
    settings = RunnerSettings(name, clock=BARS_CLOCK, boot_id=boot_id)
    return Runner(
        adapter, journal, strategy, instruments, settings, terminal.now_ns, context, writer=writer
    )


def paper_bars(terminal: SimulatedTerminal, runner: Runner) -> Iterator[BarReport | None]:
    """Run to the end of the bars, yielding after each; the caller sets the pace.

    When a report is yielded, the bar whose open filled its orders has just closed:
    ``terminal.account.book`` is the account after it and holds its deals, as a backtest's lane
    does.
    """
    while not terminal.finished:
        report = runner.on_bar()
        if report is not None:
            terminal.account.explain([d.reason_code for d in report.outlook.decisions])
        terminal.advance()
        yield report
