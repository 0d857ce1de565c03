"""``python -m mtquant.deploy --paper --account``: a simulated account on a real terminal's bars.

The terminal is asked for bars and contracts alone, by a type that has nothing else; behind a bridge
with a token that allows nothing else. Orders reach the simulated terminal, whose account is kept
in a record beside the journal, so that a restart goes on with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
from rich.console import Console
from rich.live import Live

from mtquant.backtest.run import Recorder, bundle_scenario, make_ledger
from mtquant.brokers.feed import BarFeed
from mtquant.brokers.terminal.growing import GrowingTerminal
from mtquant.config.assemble import full_size_steps
from mtquant.config.data import MarketData
from mtquant.errors import ConfigError
from mtquant.live.journal import Journal
from mtquant.live.log import LiveLog
from mtquant.live.loop import Hands, keep_looking
from mtquant.live.monitor import Monitor
from mtquant.live.paper import paper_runner
from mtquant.live.paper_account import PaperAccount, Watcher
from mtquant.live.paper_feed import FeedPaper
from mtquant.live.paper_record import PaperRecord
from mtquant.live.runner import Runner
from mtquant.live.screen import Screen
from mtquant.live.writer import WriterLock
from mtquant.live_deploy import World
from mtquant.live_plan import refuse_few_steps
from mtquant.market.panel import Panel
from mtquant.paper_line import PaperPlan, ReadingLine
from mtquant.paper_report import PaperRun, against_backtest, finish
from mtquant.sim.account import Book, Tape
from mtquant.sim.records import ACCOUNT


class _Growing(Recorder):
    """A recorder of a run whose end nobody knows."""

    def take(self, book: Book, reward: float = 0.0) -> None:
        """Record the bar that has just closed."""
        if self.filled == len(self.accounts):
            more = max(self.filled, 1024)
            self.accounts = np.concatenate([self.accounts, np.zeros(more, ACCOUNT)])
            self.steps = np.concatenate(
                [self.steps, np.zeros((more, self.steps.shape[1]), np.int64)]
            )
            self.reward = np.concatenate([self.reward, np.zeros(more)])
        super().take(book, reward)

    def trim(self) -> None:
        """Leave no row empty."""
        self.accounts = self.accounts[: self.filled]
        self.steps, self.reward = self.steps[: self.filled], self.reward[: self.filled]

    def level(self, level: int) -> None:
        """The breaker is the runner's, known when the next bar is decided."""
        if self.filled:
            self.accounts["level"][self.filled - 1] = level


def feed_paper(plan: PaperPlan, console: Console, world: World) -> None:
    """Follow the account's bars until told to stop, then report.

    Raises:
        ConfigError: Contracts, history or what the folder holds do not fit the bundle.
        BrokerUnavailable: No terminal answers at the start.
        RiskHalt: What only a person can settle.
    """
    credentials = plan.entry.reading_credentials()
    with ReadingLine(plan, credentials, world) as line:
        notes = line.contracts()
        feed, clock = line.feed(), line.clock()
        recorder = _Growing(_refuse_short(plan, feed), 0, feed.traded)
        _announce(plan, console, notes)
        log = LiveLog(plan.folder / "log.jsonl", world.now_ns(), credentials.hidden)
        try:

            def reconnect() -> None:
                line.connect()
                feed.follow(line.reads)

            look = partial(line.look_at_clock, clock)
            hands = Hands(world.sleep, reconnect, look, world.over)
            _run(plan, feed, hands, recorder, (log, console))
        finally:
            log.close()


def _refuse_short(plan: PaperPlan, feed: BarFeed) -> Tape:
    """The tape of a history that is long enough to decide on, and of capital that can follow."""
    strategy, specs = plan.strategy(), plan.bundle.specs
    bars = feed.history(strategy.bars_kept)
    for spec, held in zip(specs, bars, strict=False):
        if len(held) <= strategy.bars_needed:
            raise ConfigError(
                f"the terminal has {len(held) - 1} closed bars of {spec.name} and the bundle needs "
                f"{strategy.bars_needed}; raise 'Max. bars in chart' in the terminal"
            )
    tape = plan.tape(Panel(bars[: len(specs)]))
    capital = plan.env.account.capital
    for s, spec in enumerate(specs):
        steps = full_size_steps(plan.env, tape.market[plan.env.sizing.atr_bars :, s], capital)
        money = f"{capital:,.0f} {plan.env.account.currency}"
        refuse_few_steps(steps, spec.name, money, "train with more capital")
    return tape


def _announce(plan: PaperPlan, console: Console, notes: list[str]) -> None:
    account = plan.env.account
    lines = [
        f"bars     of account '{plan.entry.name}', read only; nothing can be sent to it",
        f"account  simulated, {account.capital:,.2f} {account.currency}",
        f"bundle   {plan.name}",
        f"folder   {plan.folder}",
        *(f"risk     {line}" for line in plan.risk),
        *(f"differs  {note}; the bundle's holds" for note in notes),
    ]
    console.print("\n".join(lines), markup=False, soft_wrap=True, highlight=False)


@contextmanager
def _account(
    plan: PaperPlan, recorder: _Growing
) -> Iterator[tuple[PaperAccount, Journal, WriterLock]]:
    """The account as its record leaves it, and its journal; one process has them."""
    writer = WriterLock(plan.journal.with_name(plan.journal.name + ".lock"))
    try:
        journal = Journal(plan.journal)
        try:
            record = PaperRecord(plan.folder / "account.jsonl")
            try:
                account = PaperAccount(
                    record, plan.making(), Watcher(recorder.take, recorder.level)
                )
                recorded = journal.latest_record() is not None
                if (recorded and not account.begun) or (account.decisions and not recorded):
                    raise ConfigError(
                        f"of journal and account.jsonl in '{plan.folder}' one is missing or empty; "
                        "begin another paper account with --out"
                    )
                yield account, journal, writer
            finally:
                record.close()
        finally:
            journal.close()
    finally:
        writer.release()


def _run(
    plan: PaperPlan,
    feed: BarFeed,
    hands: Hands,
    recorder: _Growing,
    around: tuple[LiveLog, Console],
) -> None:
    """The runner until it is over, and its report."""
    log, console = around
    strategy = plan.strategy()
    with _account(plan, recorder) as (account, journal, writer):
        boot = secrets.token_hex(8)

        def start(terminal: GrowingTerminal) -> Runner:
            return paper_runner(terminal, journal, strategy, plan.name, boot_id=boot, writer=writer)

        log.say("started", strategy=plan.name, account=plan.entry.name)
        with Live(console=console, auto_refresh=False) as view:
            screen = Screen(Monitor(f"{plan.name} on paper"), view, log)
            paper = FeedPaper(feed, account, start, strategy.bars_kept, screen.on_trouble)
            try:
                keep_looking([paper], hands, screen, plan.every)
            finally:
                log.say("ended", strategy=plan.name)
        _report(plan, account, recorder, console)


def _report(plan: PaperPlan, account: PaperAccount, recorder: _Growing, console: Console) -> None:
    """What has become of the account so far, its earlier lives included."""
    if not recorder.filled:
        console.print("no bar has closed on this account yet; there is nothing to report")
        return
    growing = account.terminal
    whole = growing.account.forming
    panel = growing.panel[:whole]
    market = MarketData(
        panel,
        plan.bundle.specs,
        f"bars of account {plan.entry.name}",
        context_specs=plan.bundle.context_specs,
    )
    recorder.tape = growing.account.tape
    recorder.trim()
    scenario = replace(bundle_scenario(plan.bundle, market), env=plan.env)
    run = PaperRun(plan.bundle, scenario, (account.first, whole - 1), plan.risk)
    ledger = make_ledger(recorder, scenario, account.first + 1)
    outcome = against_backtest(run, ledger, recorder, account.undecided)
    finish(run, plan.folder, console, ledger, outcome)
