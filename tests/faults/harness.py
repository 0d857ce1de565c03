"""One life of a runner on a terminal that goes wrong as planned, and what an oracle says of it.

The oracle trusts nothing that the runner says: it reads the terminal's own deals after every call,
and asks the journal through a second connection. A plan that fails is a dict of call numbers and
faults; :mod:`schedules` prints the command that plays it again.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Instrument
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.terminal.account import SimulatedAccount
from mtquant.brokers.terminal.fault_kinds import FaultPlan
from mtquant.brokers.terminal.faults import FaultyTerminal
from mtquant.brokers.terminal.lasting_faults import AccountSwitched
from mtquant.brokers.terminal.order_faults import ForeignClose, ForeignTrade
from mtquant.brokers.terminal.read_faults import ProcessDied
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.config.assemble import assemble_tape
from mtquant.config.live import LiveLimits
from mtquant.config.schema import EnvConfig
from mtquant.errors import MTQuantError
from mtquant.live.decide import Outlook
from mtquant.live.decision import Decision
from mtquant.live.intents import strategy_tag, tag_of
from mtquant.live.journal import Journal
from mtquant.live.kill_switch import Form
from mtquant.live.record import AccountRecord, HeldPosition
from mtquant.live.report import BarReport
from mtquant.live.runner import Runner
from mtquant.live.settings import RunnerSettings
from mtquant.live.writer import WriterLock
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.symbols import SymbolSpec

HOUR = 3600 * 10**9
SPEC = SymbolSpec(
    name="XAUUSD",
    asset_class="metal",
    base="XAU",
    quote="USD",
    contract_size=100,
    tick_size=0.01,
    digits=2,
    pip_size=0.1,
    margin_mode="cfd_leverage",
    swap_mode="none",
    typical_spread_points=18,
    hours={"mon-sun": "00:00-24:00"},
)
MOST = 10  # lot steps
SCRIPT = (10, -10, -5, 8, 3, 0, 6, 10, 2, -7)
BARS, TAIL, GRACE = 14, 70, 30
STAYS, RESTS = 2, 4
OPEN = "SELECT 1 FROM intent WHERE state IN ('sending', 'placed', 'ambiguous') LIMIT 1"
TAG = strategy_tag("faults")
LIMITS = LiveLimits(
    account=5_000_001,
    server="mtquant-simulated",
    currency="USD",
    is_demo=True,
    max_order_lots={"XAUUSD": 0.10},
    max_order_value=1e6,
    max_position_lots={"XAUUSD": 0.10},
    max_account_value=1e6,
    max_delta_lots={"XAUUSD": 0.20},
    price_collar=0.2,
    max_quote_age_seconds=600.0,
    max_decision_age_seconds=60.0,
    orders_per_minute=8,
    orders_per_hour=8,
    orders_per_day=500,
    executions_per_day=500,
    max_position_value=1e7,
    connection_lost_seconds=1e9,
    attempts_per_bar=2,
    starts_per_hour=50,
    on_trigger="reduce",
    on_foreign="adopt",
)


class Scripted:
    """A strategy that wants what stands in a script at a bar; cheap, so that many lives fit.

    All that stands between it and the account is the real code.
    """

    managed = False
    bars_needed = bars_kept = 3
    pipeline = SimpleNamespace(pipeline=SimpleNamespace(related=()))
    agent = None

    def __init__(
        self,
        env: EnvConfig,
        last: int,
        spec: SymbolSpec = SPEC,
        script: tuple[int, ...] = SCRIPT,
    ) -> None:
        self.env, self._last, self._spec, self._script = env, last, spec, script
        self._one_step = spec.contract_size * spec.lot_step

    def wanted(self, bar_time_ns: int) -> int:
        """Lot steps; after the last scripted bar always the same."""
        return self._script[min(bar_time_ns, self._last) // HOUR % len(self._script)]

    def step_value(self, bars: Any) -> tuple[float, ...]:
        return (float(bars[0].close[-1]) * self._one_step,)

    def decide(
        self,
        bars: Any,
        record: Any,
        found: Any,
        guards: Any,
        context: Any = (),
        quotes: Any = (),
    ) -> Outlook:
        held, bar = found.positions[0].steps, int(bars[0].time[-1])
        target, reason = self.wanted(bar), "script"
        if guards[0] is not None:
            allowed = guards[0].allowed(held, target)
            if allowed != target:
                target, reason = allowed, guards[0].reason
        close = float(bars[0].close[-1])
        balance = found.balance
        position = HeldPosition(
            held,
            identifiers=tuple(one.identifier for one in found.positions[0].tickets),
            beyond=found.positions[0].beyond,
        )
        state = AccountRecord(bar, balance, balance, balance, balance, 0, 0, (position,))
        decision = Decision(self._spec.name, bar, 0.0, held, target, reason, 0)
        return Outlook(state, (decision,), "NORMAL", (close,), self.step_value(bars))


class Stage:
    """Bars and tape, made once for many lives: so many scripted bars, then a quiet tail."""

    def __init__(self, hedging: bool = False, bars: int = BARS, tail: int = TAIL) -> None:
        book = "hedging" if hedging else "netting"
        self.env = EnvConfig(
            name="faults",
            symbols=("XAUUSD",),
            features=("hour",),
            account={"book": book},
            breaker={"max_errors": 0},
            stops={},
        )
        market = SimulatedMarket("XAUUSD", "H1", bars + tail + 40, 3).bars(SPEC)
        self.panel = Panel([market])
        features = np.zeros((len(market), 0), np.float32)
        rules = self.env.rules(reward_scale=1.0)
        self.tape = assemble_tape(self.env, self.panel, (SPEC,), features, rules)
        self.first, self.bars, self.tail = 20, bars, tail
        self.instrument = Instrument(SPEC, "XAUUSD")
        self.strategy = Scripted(self.env, int(market.time[self.first + bars]))

    def terminal(self, plan: FaultPlan) -> Watched:
        return Watched(
            self.panel,
            (SPEC,),
            self.tape,
            rows=(self.first, self.first + self.bars + self.tail),
            terms=AccountTerms(100_000.0),
            plan=plan,
        )


class Watched(FaultyTerminal):
    """Looks at its own account after whatever happens, and at the journal before each order."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.broken: list[str] = []
        self.journal: sqlite3.Connection | None = None
        self._looked, self._foreign, self._ids = 1, 0, set[int]()

    def look_into(self, path: Path) -> None:
        """Read a journal through a connection of its own."""
        self.journal = sqlite3.connect(path)

    def look_away(self) -> None:
        """Close that connection."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def advance(self) -> None:
        super().advance()
        self.look()

    def _call(self, function: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ == "order_send":
            self._before_order(args[0])
        try:
            return super()._call(function, args, kwargs)
        finally:
            self.look()

    def _before_order(self, request: dict[str, Any]) -> None:
        if request["action"] != mt5.TRADE_ACTION_DEAL:
            return
        magic = request["magic"]
        if magic in self._ids:
            self.broken.append(f"A2: intent {magic} is sent twice")
        self._ids.add(magic)
        rows = self.states(magic)
        if rows not in ([("sending",)], [("spare",)]):
            self.broken.append(f"A3: {magic} is sent and the journal says {rows}")

    def states(self, magic: int) -> list[tuple[str]]:
        """What the journal says of an intent."""
        assert self.journal is not None
        return self.journal.execute("SELECT state FROM intent WHERE magic = ?", (magic,)).fetchall()

    def has_open_orders(self) -> bool:
        """Whether the journal of a runner that lives has orders without an answer."""
        return self.journal is not None and bool(self.journal.execute(OPEN).fetchall())

    def look(self) -> None:
        """B1: never more than the limit, but for what somebody else has done."""
        deals = self.account.deals
        if len(deals) != self._looked:
            for deal in deals[self._looked :]:
                if tag_of(deal.magic) != TAG:
                    self._foreign += round(deal.volume * 100)
            self._looked = len(deals)
        held = abs(int(self.account.book.positions["steps"][0, 0]))
        if held > MOST + self._foreign:
            self.broken.append(f"B1: {held} lot steps are held, {MOST} are allowed")


@dataclass
class Life:
    """What came of one plan.

    Attributes:
        broken: Properties that did not hold, in words.
        deaths: Of the process.
        calls: Functions called.
        armed: Whether the switch still was at the end.
        held: Lot steps at the end.
        reports: How many bars were decided.
    """

    broken: list[str] = field(default_factory=list)
    deaths: int = 0
    calls: list[str] = field(default_factory=list)
    armed: bool = True
    held: int = 0
    reports: int = 0


def play(stage: Stage, plan: FaultPlan, path: Path, limits: LiveLimits = LIMITS) -> Life:
    """Run the script and what comes after it under a plan, until nothing can; judge the whole.

    It is over when for a few bars nothing struck nor was still to come and the runner held what it
    wants. One that cannot come to that, for somebody's position stands in its way, has a few more.
    """
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    path.write_bytes(empty_journal())
    life, terminal = Life(), stage.terminal(plan)
    with suppress(ProcessDied, ConnectionError):  # as whoever connects lives through it
        terminal.initialize()
    rested, stayed, parts = 0, 0, None
    while not terminal.finished and stayed < STAYS and rested < RESTS:
        report, struck = None, len(terminal.struck)
        try:
            if parts is None:
                parts = _born(stage, terminal, path, limits)
            report = parts[-1].on_bar()
        except ProcessDied:
            life.deaths += 1
            parts = _dead(parts, terminal)
        except MTQuantError:
            pass
        life.reports += report is not None
        scripted = terminal.account.forming <= stage.first + stage.bars + 1
        disturbed = scripted or len(terminal.struck) > struck or to_come(terminal)
        rested = 0 if disturbed else rested + 1
        stayed = stayed + 1 if rested and report is not None and settled(stage, report) else 0
        terminal.advance()
    judge(stage, terminal, life, path)
    _dead(parts, terminal)
    return life


@cache
def empty_journal() -> bytes:
    """A journal's file before its first row."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        Journal(path, durable=False).close()
        return path.read_bytes()


def settled(stage: Stage, report: BarReport) -> bool:
    """Whether a bar found what the script wants, and wants it still."""
    decided = report.outlook.decisions[0]
    return decided.held == decided.target == stage.strategy.wanted(decided.bar_time_ns)


def _born(stage: Stage, terminal: Watched, path: Path, limits: LiveLimits) -> tuple[Any, ...]:
    settings = RunnerSettings("faults", grace_bars=GRACE, limits=limits, boot_id="b")
    parts = begun(stage, terminal, path, settings)
    terminal.look_into(path)
    return parts


def begun(stage: Stage, module: Any, path: Path, settings: RunnerSettings) -> tuple[Any, ...]:
    """A process: lock, journal, adapter, runner; the module has a clock beside its functions."""
    lock = WriterLock(path.with_name(path.name + ".lock"))
    journal = None
    try:
        journal = Journal(path, durable=False)
        adapter = MT5Adapter(module, [stage.instrument])
        adapter.connect()
        runner = Runner(
            adapter,
            journal,
            stage.strategy,  # type: ignore[arg-type]
            [stage.instrument],
            settings,
            module.now_ns,
            writer=lock,
        )
    except BaseException:
        lock.release()
        if journal is not None:
            journal.close()
        raise
    return lock, journal, runner


def _dead(parts: Any, terminal: Watched) -> None:
    """The process is gone: what it held open is let go, nothing else happens."""
    terminal.look_away()
    if parts is not None:
        parts[0].release()
        parts[1].close()


def quiet(terminal: Watched) -> bool:
    """Whether nothing goes wrong now."""
    return not (terminal._kept or terminal._spells)


def to_come(terminal: Watched) -> bool:
    """Whether something may yet happen of itself: an order executed or given up, a spell's end.

    A fault that waits for a call is none of it: a runner makes the same calls at each such bar.
    """
    left = terminal.account._last - terminal.account.forming
    return (
        bool(terminal._kept)
        or any(due.bars <= left for _, due in terminal._spells)
        or terminal.has_open_orders()
    )


def judge(stage: Stage, terminal: Watched, life: Life, path: Path) -> None:
    life.broken += terminal.broken
    life.calls = terminal.calls
    life.held = int(terminal.account.book.positions["steps"][0, 0])
    home = executed_on(terminal.account)
    executed = Counter(home)
    for guest in terminal.guests:
        executed.update(executed_on(guest))
    if terminal.journal is None:  # the last process was not born again
        terminal.look_into(path)
    assert terminal.journal is not None
    rows = dict(
        (magic, (state, steps))
        for magic, state, steps in terminal.journal.execute(
            "SELECT magic, state, executed_steps FROM intent"
        )
    )
    bars = terminal.journal.execute("SELECT bar_time_ns, symbol FROM decision").fetchall()
    last = terminal.journal.execute("SELECT form FROM switch ORDER BY id DESC LIMIT 1").fetchone()
    open_ = {m for m, (state, _) in rows.items() if state in ("sending", "placed", "ambiguous")}
    unknown = set(executed) - set(rows)
    if unknown:
        life.broken.append(f"A1: deals of no intent: {unknown}")
    for magic, (state, steps) in rows.items():
        # What went to another account between two looks is known only where it was answered.
        if magic not in open_ and steps not in (executed[magic], home[magic]):
            life.broken.append(
                f"F4: {magic} ({state}): {steps} journalled, {executed[magic]} dealt"
            )
    if len(bars) != len(set(bars)):
        life.broken.append("C4: a bar was decided twice")
    judge_once(executed, life)
    foreign = any(isinstance(one, ForeignTrade | ForeignClose) for one in terminal.struck.values())
    _judge_account(terminal, life)
    life.armed = last == (Form.ARMED.name,)
    wanted = stage.strategy.wanted(2**62)
    disturbed = foreign or open_ or terminal.guests or not life.armed or not quiet(terminal)
    if not disturbed and life.held != wanted:
        life.broken.append(f"A1: {life.held} lot steps after the quiet tail, wanted {wanted}")


def executed_on(account: SimulatedAccount, tag: int = TAG) -> Counter[int]:
    """Signed lot steps that were dealt on an account for each intent of a strategy."""
    executed = Counter[int]()
    for deal in account.deals:
        if tag_of(deal.magic) == tag:
            sign = 1 if deal.type == mt5.DEAL_TYPE_BUY else -1
            executed[deal.magic] += sign * round(deal.volume * 100)
    return executed


def judge_once(executed: Counter[int], life: Life) -> None:
    """A1: of one decision's leg at most one attempt is executed, unless it was not all of it."""
    legs = Counter(magic & ~(7 << 4) for magic, steps in executed.items() if steps)
    twice = [leg for leg, count in legs.items() if count > 1]
    if twice:
        life.broken.append(f"A1: more than one attempt of {twice} was executed")


def _judge_account(terminal: Watched, life: Life) -> None:
    """E6: nothing is sent on another account, once the account was asked for again."""
    calls = {sent.request.get("magic"): sent.call for sent in terminal.sent}
    began = [n for n, one in terminal.struck.items() if isinstance(one, AccountSwitched)]
    for guest in terminal.guests:
        for deal in guest.deals:
            call = calls.get(deal.magic, 0)
            if tag_of(deal.magic) == TAG and all(call - n > 5 for n in began if n <= call):
                life.broken.append(f"E6: call {call} traded on another account")
