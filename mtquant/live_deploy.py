"""``python -m mtquant.deploy --live``: bundles on an account, behind three yeses.

``--live``, ``--confirm``, and a file of limits in which the account's number is typed out and every
limit is written down. Env, features and costs come from the bundles alone; the broker's contract is
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

from mtquant.brokers.accounts import AccountEntry, Credentials
from mtquant.brokers.base import AccountState, Instrument
from mtquant.brokers.connect import connect, far_switch, guarded_module
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.reading import Pace, Reads
from mtquant.brokers.server_clock import ServerClock, measure
from mtquant.brokers.specs import live_spec, refuse_other_contract
from mtquant.commands.live import KEY, LIVE
from mtquant.config.assemble import full_size_steps, market_of
from mtquant.config.load import load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.errors import RiskHalt
from mtquant.live.decide import Strategy
from mtquant.live.log import LiveLog
from mtquant.live.loop import Hands, keep_looking
from mtquant.live.monitor import Monitor
from mtquant.live.screen import Screen
from mtquant.live.start import Trader, live_runners
from mtquant.live_plan import LivePlan, Traded, refuse_few_steps
from mtquant.market.clock import Clock
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

LOCKS = Path.home() / ".mtquant" / "locks"
# What a broker changes from week to week and orders have to respect all the same.
TAKEN_FROM_BROKER = ("lot_max", "volume_limit", "stops_level_points", "freeze_level_points")


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


def connect_guarded(entry: AccountEntry, credentials: Credentials) -> Any:
    """To an account; a terminal on this machine is reached through a bridge of its own."""
    provide = partial(guarded_module, folder=LIVE / f"{entry.name}-bridge")
    return connect(entry, credentials, provide)


def real_world(reach: Callable[[AccountEntry, Credentials], Any] = connect) -> World:
    """This machine's; SIGTERM and Ctrl-C end the looking, positions and stops stay as they are.

    Args:
        reach: Connects to an account.
    """
    ended: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ended.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return World(time.time_ns, time.monotonic_ns, time.sleep, reach, lambda: bool(ended))


def trade_live(plan: LivePlan, console: Console, world: World) -> None:
    """Connect, check and trade until told to stop.

    Raises:
        ConfigError: The broker's contracts or the account do not fit a bundle.
        BrokerUnavailable: No terminal answers at the start.
        RiskHalt: What only a person can settle.
    """
    credentials = plan.entry.credentials()
    module = world.connect(plan.entry, credentials)
    try:
        reads = Reads(module, Pace(now_ns=world.now_ns, sleep=world.sleep))
        notes = list[str]()
        traders = [_trader(one, plan.entry, reads, notes) for one in plan.traded]
        listed = [one for trader in traders for one in (*trader.instruments, *trader.context)]
        adapter = MT5Adapter(module, _once(listed), (_login(plan), plan.entry.server))
        account, first = adapter.connect(), listed[0]
        clock = ServerClock(Clock.parse(first.spec.clock))
        measure(clock, reads, first.broker_name, wait=plan.every)
        for one, trader in zip(plan.traded, traders, strict=True):
            _refuse_too_small(one.env, adapter, trader.instruments, account)
        _announce(plan, console, account, notes)
        hands = Hands(
            world.sleep,
            adapter.connect,
            partial(_look_at_clock, clock, reads, first.broker_name),
            world.over,
            partial(far_switch, module),
        )
        log_file = plan.traded[0].folder / "log.jsonl"
        log = LiveLog(log_file, world.now_ns(), credentials.hidden)
        try:
            _run(plan, adapter, traders, hands, (world, log, console))
        finally:
            log.close()
    finally:
        module.shutdown()


def _look_at_clock(clock: ServerClock, reads: Reads, name: str) -> None:
    clock.observe(reads.tick(name).time, reads.pace.now_ns())


def _login(plan: LivePlan) -> int:
    assert plan.entry.login is not None, "an entry that is not filled in was refused"
    return plan.entry.login


def _once(instruments: Sequence[Instrument]) -> list[Instrument]:
    """Each symbol once: what one bundle trades may be another's context."""
    return list({one.broker_name: one for one in reversed(instruments)}.values())[::-1]


def _trader(one: Traded, entry: AccountEntry, reads: Reads, notes: list[str]) -> Trader:
    """A bundle on the broker's contracts; what of them differs from the training is noted."""
    table, bundle = load_symbols(), one.bundle

    def of(spec: SymbolSpec, *, traded: bool) -> Instrument:
        theirs = table.broker_name(spec.name, entry.broker_id)
        if not traded:
            return Instrument(spec, theirs)
        live = live_spec(reads.symbol_info(theirs), spec)
        notes.extend(f"{spec.name}: {note}" for note in refuse_other_contract(spec, live))
        taken = {name: getattr(live, name) for name in TAKEN_FROM_BROKER}
        return Instrument(spec.model_copy(update=taken), theirs)

    instruments = [of(spec, traded=True) for spec in bundle.specs]
    context = [of(spec, traded=False) for spec in bundle.context_specs]
    specs = [one.spec for one in instruments]
    strategy = Strategy(bundle.agent, bundle.pipeline, one.env, specs, bundle.context_specs)
    return Trader(one.name, strategy, one.journal, instruments, context)


def _refuse_too_small(
    env: EnvConfig, adapter: MT5Adapter, traded: Sequence[Instrument], account: AccountState
) -> None:
    """An account that buys too few lot steps cannot follow a policy."""
    timeframe = Timeframe.parse(env.timeframe)
    count = 2 * env.sizing.atr_bars + 2
    panel = Panel([adapter.closed_bars(one, timeframe, count) for one in traded])
    market = market_of(env, panel, [one.spec for one in traded])
    for s, instrument in enumerate(traded):
        rows = market[env.sizing.atr_bars :, s]
        steps = full_size_steps(env, rows, account.equity) if len(rows) else 0
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
        *(f"bundle   {one.name}\njournal  {one.journal}" for one in plan.traded),
        *(f"limit    {name}: {value}" for name, value in limits.items()),
        *(f"differs  {note}" for note in notes),
    ]
    console.print("\n".join(lines), markup=False, soft_wrap=True, highlight=False)


def _run(
    plan: LivePlan,
    adapter: MT5Adapter,
    traders: Sequence[Trader],
    hands: Hands,
    around: tuple[World, LiveLog, Console],
) -> None:
    """The runners, until it is over."""
    world, log, console = around
    log.say("started", strategy=plan.names, account=plan.limits.account)
    with (
        live_runners(
            traders,
            adapter,
            plan.limits,
            locks=LOCKS,
            boot_id=secrets.token_hex(8),
            clock=world.now_ns,
            monotonic_ns=world.monotonic_ns,
            key=os.environ.get(KEY, "").encode(),
        ) as runners,
        Live(console=console, auto_refresh=False) as view,
    ):
        screen = Screen(Monitor(f"{plan.names} on {plan.entry.name}"), view, log)
        try:
            keep_looking(runners, hands, screen, plan.every)
        except RiskHalt as halt:
            log.on_trouble(str(halt))
            raise
    log.say("ended", strategy=plan.names)
