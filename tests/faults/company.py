"""Two strategies on one account of a terminal that goes wrong, and what an oracle says of them.

Each is scripted on a symbol of its own; what both want together is more than the account allows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import harness
import numpy as np
from harness import BARS, LIMITS, SCRIPT, SPEC, TAIL, Life, Scripted, executed_on

from mtquant.brokers.base import Instrument
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.terminal.fault_kinds import FaultPlan
from mtquant.brokers.terminal.read_faults import ProcessDied
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.config.assemble import assemble_tape
from mtquant.config.schema import EnvConfig
from mtquant.errors import MTQuantError
from mtquant.live.desk import Desk
from mtquant.live.intents import strategy_tag, tag_of
from mtquant.live.journal import Journal
from mtquant.live.loop import Hands, keep_looking
from mtquant.live.runner import Runner
from mtquant.live.settings import RunnerSettings
from mtquant.live.writer import WriterLock
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.symbols import SymbolSpec

EURO = SymbolSpec(
    name="EURUSD",
    asset_class="forex",
    base="EUR",
    quote="USD",
    contract_size=100_000,
    tick_size=0.00001,
    digits=5,
    pip_size=0.0001,
    swap_mode="none",
    typical_spread_points=10,
    hours={"mon-sun": "00:00-24:00"},
)
SPECS = (SPEC, EURO)
SCRIPTS = (SCRIPT, (5, 7, 0, -4, -10, 10, 3, 3, -6, 1))
NAMES = ("gold", "euro")
TAGS = tuple(map(strategy_tag, NAMES))
MOST_VALUE, DRIFT = 24_000.0, 1.02
"""Of both together, and how much of it prices may add to what is held."""
COMPANY_LIMITS = LIMITS.model_copy(
    update={
        "max_account_value": MOST_VALUE,
        "max_order_lots": {"XAUUSD": 0.10, "EURUSD": 0.10},
        "max_position_lots": {"XAUUSD": 0.10, "EURUSD": 0.10},
        "max_delta_lots": {"XAUUSD": 0.20, "EURUSD": 0.20},
        "orders_per_minute": 16,
        "orders_per_hour": 16,
    }
)


class Stage:
    """Bars and tape, made once for many lives."""

    def __init__(self, bars: int = BARS) -> None:
        env = EnvConfig(
            name="company",
            symbols=("XAUUSD", "EURUSD"),
            features=("hour",),
            breaker={"max_errors": 0},
            stops={},
        )
        self.panel = Panel(
            [SimulatedMarket(one.name, "H1", bars + TAIL + 40, 3).bars(one) for one in SPECS]
        )
        features = np.zeros((len(self.panel), 0), np.float32)
        rules = env.rules(reward_scale=1.0)
        self.tape = assemble_tape(env, self.panel, SPECS, features, rules)
        self.first, self.bars = 20, bars
        self.instruments = [Instrument(one, one.name) for one in SPECS]
        last = int(self.panel.time[self.first + bars])
        self.strategies = [
            Scripted(env, last, spec, script) for spec, script in zip(SPECS, SCRIPTS, strict=True)
        ]

    def terminal(self, plan: FaultPlan) -> Watched:
        return Watched(
            self.panel,
            SPECS,
            self.tape,
            rows=(self.first, self.first + self.bars + TAIL),
            terms=AccountTerms(100_000.0),
            plan=plan,
        )


class Watched(harness.Watched):
    """Looks at both strategies' positions after whatever happens, and at their journals."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._own, self._others = np.zeros(2), np.zeros(2)
        self.journals: dict[int, sqlite3.Connection] = {}

    def look_into(self, path: Path) -> None:
        """Read the journals of a folder, by their strategies' tags."""
        for name, tag in zip(NAMES, TAGS, strict=True):
            self.journals[tag] = sqlite3.connect(path / f"{name}.db")

    def look_away(self) -> None:
        """Close them."""
        for journal in self.journals.values():
            journal.close()

    def states(self, magic: int) -> list[tuple[str]]:
        journal = self.journals[tag_of(magic)]
        return journal.execute("SELECT state FROM intent WHERE magic = ?", (magic,)).fetchall()

    def has_open_orders(self) -> bool:
        return any(journal.execute(harness.OPEN).fetchall() for journal in self.journals.values())

    def look(self) -> None:
        """B1: what both hold together is worth no more than the account's limit."""
        deals, before = self.account.deals, self._worth()
        for deal in deals[self._looked :]:
            s = 0 if deal.symbol == "XAUUSD" else 1
            signed = round(deal.volume * 100) * (1 if deal.type == 0 else -1)
            if tag_of(deal.magic) not in TAGS:
                self._others[s] += abs(signed)
            elif tag_of(deal.magic) != TAGS[s]:
                self.broken.append(f"B7: {NAMES[1 - s]} traded {deal.symbol}")
            else:
                self._own[s] += signed
        self._looked = len(deals)
        allowed = MOST_VALUE * DRIFT + float(self._others @ self._step_values())
        if self._worth() > max(before, allowed):
            self.broken.append(f"B1: positions are worth {self._worth():,.0f}")

    def _worth(self) -> float:
        return float(np.abs(self._own) @ self._step_values())

    def _step_values(self) -> Any:
        prices = [self.account.quote(s)[1] for s in range(2)]
        return np.array(
            [price * one.contract_size * 0.01 for price, one in zip(prices, SPECS, strict=True)]
        )


class _Hears:
    """Keeps reports, and counts those of late that found nothing to do."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.still = 0

    def on_report(self, report: Any) -> None:
        self.reports.append(report)
        decided = report.outlook.decisions[0]
        self.still = self.still + 1 if decided.held == decided.target else 0

    def on_trouble(self, problem: str) -> None:
        self.still = 0


def play(stage: Stage, plan: FaultPlan, folder: Path) -> Life:
    """Run both scripts and the quiet tail under a plan; judge the whole."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name in NAMES:
        (folder / f"{name}.db").write_bytes(harness.empty_journal())
    life, terminal, hears = Life(), stage.terminal(plan), _Hears()
    terminal.look_into(folder)
    resting, struck = terminal.account.forming, 0
    with suppress(ProcessDied, ConnectionError):
        terminal.initialize()

    def over() -> bool:
        nonlocal resting, struck
        bar, before, struck = terminal.account.forming, struck, len(terminal.struck)
        scripted = bar <= stage.first + stage.bars + 1
        if scripted or struck > before or harness.to_come(terminal):
            resting, hears.still = bar, 0
        stayed = hears.still >= len(NAMES) * harness.STAYS
        return terminal.finished or stayed or bar - resting >= harness.RESTS

    while not over():
        try:
            with ExitStack() as process:
                _live(stage, terminal, folder, process, over, hears)
        except ProcessDied:
            life.deaths += 1
        except MTQuantError:
            pass
        if not terminal.finished:
            terminal.advance()
    life.broken, life.calls, life.reports = terminal.broken, terminal.calls, len(hears.reports)
    for tag in TAGS:
        _judge(terminal, tag, life)
    terminal.look_away()
    return life


def _live(
    stage: Stage,
    terminal: Watched,
    folder: Path,
    process: ExitStack,
    over: Callable[[], bool],
    hears: _Hears,
) -> None:
    """One process, from its start until the bars or its life are over."""
    lock = WriterLock(folder / "account.lock")
    process.callback(lock.release)
    adapter, desk = MT5Adapter(terminal, stage.instruments), Desk()
    adapter.connect()
    runners = [
        Runner(
            adapter,
            process.enter_context(closing(Journal(folder / f"{name}.db", durable=False))),
            strategy,  # type: ignore[arg-type]
            [instrument],
            RunnerSettings(name, grace_bars=harness.GRACE, limits=COMPANY_LIMITS, boot_id="b"),
            terminal.now_ns,
            writer=lock,
            desk=desk,
        )
        for name, strategy, instrument in zip(
            NAMES, stage.strategies, stage.instruments, strict=True
        )
    ]
    hands = Hands(lambda _: terminal.advance(), adapter.connect, lambda: None, over)
    keep_looking(runners, hands, hears, 5.0)


def _judge(terminal: Watched, tag: int, life: Life) -> None:
    """A1, F4 and C4 of one strategy."""
    home, journal = executed_on(terminal.account, tag), terminal.journals[tag]
    executed = home.copy()
    for guest in terminal.guests:
        executed.update(executed_on(guest, tag))
    rows = {
        magic: (state, steps)
        for magic, state, steps in journal.execute(
            "SELECT magic, state, executed_steps FROM intent"
        )
    }
    bars = journal.execute("SELECT bar_time_ns FROM decision").fetchall()
    if unknown := set(executed) - set(rows):
        life.broken.append(f"A1: deals of no intent: {unknown}")
    for magic, (state, steps) in rows.items():
        still_open = state in ("sending", "placed", "ambiguous")
        if not still_open and steps not in (executed[magic], home[magic]):
            life.broken.append(f"F4: {magic} ({state}): {steps} journalled")
    if len(bars) != len(set(bars)):
        life.broken.append("C4: a bar was decided twice")
    harness.judge_once(executed, life)
