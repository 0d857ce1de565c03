"""``python -m mtquant.deploy --live``: a bundle on an account, behind three yeses.

``--live``, ``--confirm``, and a file of limits in which the account's number is typed out and every
limit is written down. Env, features and costs come from the bundle alone; the broker's contract is
held against the one that it was trained on, its server's clock is measured, and what is traded is
said before anything is.
"""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live

from mtquant.agents.bundle import Bundle
from mtquant.brokers.accounts import AccountEntry, Credentials, load_accounts
from mtquant.brokers.base import AccountState, Instrument
from mtquant.brokers.connect import connect, far_switch
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.reading import Pace, Reads
from mtquant.brokers.server_clock import ServerClock, measure
from mtquant.brokers.specs import live_spec, refuse_other_contract
from mtquant.commands.live import JOURNAL_NAME, KEY, LIVE
from mtquant.config.assemble import full_size_steps, market_of
from mtquant.config.live import LiveLimits
from mtquant.config.load import load_symbols, read_yaml, validate
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError, RiskHalt, unknown
from mtquant.live.decide import Strategy
from mtquant.live.log import LiveLog
from mtquant.live.loop import Hands, keep_looking
from mtquant.live.monitor import Monitor
from mtquant.live.screen import Screen
from mtquant.live.start import live_runner
from mtquant.market.clock import Clock
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

LIMITS = Path("configs/live.yaml")
LOCKS = Path.home() / ".mtquant" / "locks"
FEWEST_STEPS = 10
# What a broker changes from week to week and orders have to respect all the same.
TAKEN_FROM_BROKER = ("lot_max", "stops_level_points", "freeze_level_points")


@dataclass(frozen=True)
class World:
    """Clocks, waiting and the way to a terminal; tests bring their own.

    Attributes:
        now_ns: Real time, ns UTC.
        monotonic_ns: A clock that nobody sets.
        sleep: Waits for seconds.
        connect: To an account, verified.
        over: Whether to stop looking.
    """

    now_ns: Callable[[], int]
    monotonic_ns: Callable[[], int]
    sleep: Callable[[float], None]
    connect: Callable[[AccountEntry, Credentials], Any]
    over: Callable[[], bool]


@dataclass(frozen=True)
class LivePlan:
    """What is to be traded where.

    Attributes:
        bundle: The agent and all that it was trained with.
        env: The bundle's, tightened or not.
        entry: The account.
        limits: Of that account.
        folder: Of journal and log.
        every: Seconds between two looks for a closed bar.
    """

    bundle: Bundle
    env: EnvConfig
    entry: AccountEntry
    limits: LiveLimits
    folder: Path
    every: float

    @property
    def name(self) -> str:
        """Of the strategy."""
        return strategy_name(self.bundle)

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.folder / JOURNAL_NAME


def strategy_name(bundle: Bundle) -> str:
    """Another bundle is another strategy, with a journal of its own."""
    return f"{bundle.name}-{bundle.manifest.bundle_hash[:12]}"


def refuse_few_steps(steps: int, symbol: str, money: str, cure: str) -> None:
    """An account that buys too few lot steps cannot follow a policy.

    Raises:
        ConfigError: It does.
    """
    if steps < FEWEST_STEPS:
        raise ConfigError(
            f"{money} buy {steps} lot steps of {symbol} at full size and {FEWEST_STEPS} are the "
            f"least to follow a policy; {cure}"
        )


def load_limits(account: str, path: Path = LIMITS) -> LiveLimits:
    """The limits of an account.

    Raises:
        ConfigError: No file, no such account in it, or a limit is missing or wrong.
    """
    if not path.is_file():
        raise ConfigError(
            f"no '{path}': write every limit of account '{account}' into it; nothing has a default "
            "(docs/live.md shows one)"
        )
    listed = read_yaml(path)
    if not isinstance(listed, dict):
        raise ConfigError(f"'{path}' must map account names to their limits")
    if account not in listed:
        raise ConfigError(unknown("account", account, map(str, listed), cure=f"(in '{path}')"))
    return validate(LiveLimits, listed[account], f"{path}: {account}")


def plan_live(
    bundle: Bundle, env: EnvConfig, account: str | None, folder: Path | None, every: float
) -> LivePlan:
    """Everything that can be known before a terminal is asked.

    Raises:
        ConfigError: The account is not named, not filled in or without limits.
    """
    if account is None:
        raise ConfigError("say which account: --account NAME of configs/brokers.yaml")
    if not 0.0 < every <= 60.0:
        raise ConfigError(f"--every {every} must be above 0 and at most 60 seconds")
    entry = load_accounts()[account].refuse_unfilled()
    if entry.bridge is not None and entry.bridge.token is None:
        raise ConfigError(f"account '{account}' is only read: its bridge has no 'token' to trade")
    limits = load_limits(account)
    limits.must_name(spec.name for spec in bundle.specs)
    place = folder or LIVE / f"{account}-{strategy_name(bundle)}"
    return LivePlan(bundle, env, entry, limits, place, every)


def real_world() -> World:
    """This machine's; SIGTERM and Ctrl-C end the looking, positions and stops stay as they are."""
    ended: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ended.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return World(time.time_ns, time.monotonic_ns, time.sleep, connect, lambda: bool(ended))


def trade_live(plan: LivePlan, console: Console, world: World) -> None:
    """Connect, check and trade until told to stop.

    Raises:
        ConfigError: The broker's contracts or the account do not fit the bundle.
        BrokerUnavailable: No terminal answers at the start.
        RiskHalt: What only a person can settle.
    """
    credentials = plan.entry.credentials()
    module = world.connect(plan.entry, credentials)
    try:
        reads = Reads(module, Pace(now_ns=world.now_ns, sleep=world.sleep))
        traded, context, notes = _instruments(plan, reads)
        adapter = MT5Adapter(module, [*traded, *context], (_login(plan), plan.entry.server))
        account = adapter.connect()
        clock = ServerClock(Clock.parse(traded[0].spec.clock))
        measure(clock, reads, traded[0].broker_name, wait=plan.every)
        _refuse_too_small(plan, adapter, traded, account)
        _announce(plan, console, account, notes)
        log = LiveLog(plan.folder / "log.jsonl", world.now_ns(), credentials.hidden)
        try:
            hands = Hands(
                world.sleep,
                adapter.connect,
                partial(_look_at_clock, clock, reads, traded[0].broker_name),
                world.over,
                partial(far_switch, module),
            )
            _run(plan, adapter, traded, context, hands, (world, log, console))
        finally:
            log.close()
    finally:
        module.shutdown()


def _look_at_clock(clock: ServerClock, reads: Reads, name: str) -> None:
    clock.observe(reads.tick(name).time, reads.pace.now_ns())


def _login(plan: LivePlan) -> int:
    assert plan.entry.login is not None, "an entry that is not filled in was refused"
    return plan.entry.login


def _instruments(
    plan: LivePlan, reads: Reads
) -> tuple[list[Instrument], list[Instrument], list[str]]:
    """Symbols and context as the broker has them, and what differs from the training."""
    table, notes = load_symbols(), list[str]()

    def of(spec: SymbolSpec, *, traded: bool) -> Instrument:
        theirs = table.broker_name(spec.name, plan.entry.broker_id)
        if not traded:
            return Instrument(spec, theirs)
        live = live_spec(reads.symbol_info(theirs), spec)
        notes.extend(f"{spec.name}: {one}" for one in refuse_other_contract(spec, live))
        taken = {name: getattr(live, name) for name in TAKEN_FROM_BROKER}
        return Instrument(spec.model_copy(update=taken), theirs)

    bundle = plan.bundle
    traded = [of(spec, traded=True) for spec in bundle.specs]
    return traded, [of(spec, traded=False) for spec in bundle.context_specs], notes


def _refuse_too_small(
    plan: LivePlan, adapter: MT5Adapter, traded: Sequence[Instrument], account: AccountState
) -> None:
    """An account that buys too few lot steps cannot follow a policy."""
    timeframe = Timeframe.parse(plan.env.timeframe)
    count = 2 * plan.env.sizing.atr_bars + 2
    panel = Panel([adapter.closed_bars(one, timeframe, count) for one in traded])
    market = market_of(plan.env, panel, [one.spec for one in traded])
    for s, instrument in enumerate(traded):
        rows = market[plan.env.sizing.atr_bars :, s]
        steps = full_size_steps(plan.env, rows, account.equity) if len(rows) else 0
        money = f"{account.equity:,.0f} {account.currency}"
        refuse_few_steps(steps, instrument.spec.name, money, "use a larger account")


def _announce(
    plan: LivePlan, console: Console, account: AccountState, notes: Sequence[str]
) -> None:
    kind = "demo" if account.is_demo else "REAL MONEY"
    limits = plan.limits.model_dump(exclude={"account", "server", "currency", "is_demo"})
    lines = [
        f"account  {account.login} at {account.server}: {kind}, equity {account.equity:,.2f} "
        f"{account.currency}",
        f"bundle   {plan.name}",
        f"journal  {plan.journal}",
        *(f"limit    {name}: {value}" for name, value in limits.items()),
        *(f"differs  {note}" for note in notes),
    ]
    console.print("\n".join(lines), markup=False, soft_wrap=True, highlight=False)


def _run(
    plan: LivePlan,
    adapter: MT5Adapter,
    traded: Sequence[Instrument],
    context: Sequence[Instrument],
    hands: Hands,
    around: tuple[World, LiveLog, Console],
) -> None:
    """The runner, until it is over."""
    world, log, console = around
    bundle, specs = plan.bundle, [one.spec for one in traded]
    strategy = Strategy(bundle.agent, bundle.pipeline, plan.env, specs, bundle.context_specs)
    log.say("started", strategy=plan.name, account=plan.limits.account)
    with (
        live_runner(
            strategy,
            adapter,
            traded,
            plan.limits,
            name=plan.name,
            journal=plan.journal,
            locks=LOCKS,
            boot_id=secrets.token_hex(8),
            clock=world.now_ns,
            monotonic_ns=world.monotonic_ns,
            key=os.environ.get(KEY, "").encode(),
            context=context,
        ) as runner,
        Live(console=console, auto_refresh=False) as view,
    ):
        screen = Screen(Monitor(f"{plan.name} on {plan.entry.name}"), view, log)
        try:
            keep_looking(runner, hands, screen, plan.every)
        except RiskHalt as halt:
            log.on_trouble(str(halt))
            raise
    log.say("ended", strategy=plan.name)
