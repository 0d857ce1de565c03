"""The plan of a paper run on a feed, and the line over which it reads an account's terminal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtquant.agents.bundle import Bundle
from mtquant.brokers.accounts import AccountEntry, Credentials, load_accounts
from mtquant.brokers.base import Instrument
from mtquant.brokers.feed import BarFeed, ReadingModule
from mtquant.brokers.reading import Pace, Reads
from mtquant.brokers.server_clock import ServerClock, measure
from mtquant.brokers.specs import live_spec, refuse_other_contract
from mtquant.brokers.terminal.state import SERVER, AccountTerms
from mtquant.config.assemble import assemble_tape, look_back
from mtquant.config.load import load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError
from mtquant.live.decide import Strategy
from mtquant.live.paper_account import Making
from mtquant.live_deploy import World
from mtquant.live_plan import Traded, strategy_name
from mtquant.market.clock import Clock
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe
from mtquant.sim.account import Tape


@dataclass(frozen=True)
class PaperPlan(Traded):
    """A bundle that is to trade on paper, and whose bars it reads.

    Its folder holds the record and the report, too.

    Attributes:
        risk: What was tightened.
        entry: The account whose bars they are.
        every: Seconds between two looks for a closed bar.
    """

    risk: tuple[str, ...]
    entry: AccountEntry
    every: float

    def strategy(self) -> Strategy:
        """Decides."""
        bundle = self.bundle
        return Strategy(bundle.agent, bundle.pipeline, self.env, bundle.specs, bundle.context_specs)

    def tape(self, panel: Panel) -> Tape:
        """What the kernel reads of any run of bars."""
        nothing = np.zeros((len(panel), 0), np.float32)
        rules = self.env.rules(reward_scale=self.bundle.manifest.reward_scale)
        return assemble_tape(self.env, panel, self.bundle.specs, nothing, rules)

    def making(self) -> Making:
        """What the simulated account is made of."""
        account = self.env.account
        rules = hashlib.sha256(self.env.model_dump_json().encode()).hexdigest()
        return Making(
            {"bundle": self.bundle.manifest.bundle_hash, "risk profile": rules[:12]},
            self.bundle.specs,
            self.bundle.context_specs,
            Timeframe.parse(self.env.timeframe),
            self.tape,
            look_back(self.env) + 3,
            AccountTerms(
                account.capital,
                account.currency,
                round(account.leverage),
                account.margin_call_level,
            ),
        )


def plan_paper(
    bundle: Bundle,
    env: EnvConfig,
    risk: tuple[str, ...],
    account: str,
    folder: Path | None,
    every: float,
) -> PaperPlan:
    """Everything that can be known before a terminal is asked.

    Raises:
        ConfigError: The account is not filled in, or the env cannot be followed on a feed.
    """
    if not 0.0 < every <= 60.0:
        raise ConfigError(f"--every {every} must be above 0 and at most 60 seconds")
    if env.execution.latency_bars % 1.0:
        raise ConfigError(
            f"execution.latency_bars {env.execution.latency_bars} fills inside a bar, which a feed "
            "shows only when it has closed; train with whole bars of latency"
        )
    entry = load_accounts()[account].refuse_unfilled()
    place = folder or Path("paper") / f"{account}-{strategy_name(bundle)}"
    return PaperPlan(bundle, env, place, risk, entry, every)


class ReadingLine:
    """The connection to the account, and what is read over it.

    Attributes:
        reads: Of what answers now.
    """

    def __init__(self, plan: PaperPlan, credentials: Credentials, world: World) -> None:
        """Do not connect yet."""
        self._plan, self._credentials, self._world = plan, credentials, world
        table, bundle = load_symbols(), plan.bundle
        self._instruments = [
            Instrument(spec, table.broker_name(spec.name, plan.entry.broker_id))
            for spec in (*bundle.specs, *bundle.context_specs)
        ]

    def __enter__(self) -> ReadingLine:
        self.connect()
        return self

    def __exit__(self, *error: object) -> None:
        self.reads.close()

    def connect(self) -> None:
        """Of the module nothing is kept but what reads."""
        world = self._world
        module = ReadingModule(world.connect(self._plan.entry, self._credentials))
        self.reads = Reads(module, Pace(now_ns=world.now_ns, sleep=world.sleep))

    def contracts(self) -> list[str]:
        """Terms of the traded symbols that differ from the training; another contract refuses."""
        notes = list[str]()
        for one in self._instruments[: len(self._plan.bundle.specs)]:
            live = live_spec(self.reads.symbol_info(one.broker_name), one.spec)
            notes += [f"{one.spec.name}: {n}" for n in refuse_other_contract(one.spec, live)]
        return notes

    def feed(self) -> BarFeed:
        """The bars of all symbols."""
        timeframe, traded = Timeframe.parse(self._plan.env.timeframe), len(self._plan.bundle.specs)
        return BarFeed(self.reads, self._instruments, traded, timeframe, self._world.monotonic_ns)

    def clock(self) -> ServerClock | None:
        """The server's, measured; a simulated server's time is its own."""
        if self._plan.entry.server == SERVER:
            return None
        first = self._instruments[0]
        clock = ServerClock(Clock.parse(first.spec.clock))
        measure(clock, self.reads, first.broker_name, wait=self._plan.every)
        return clock

    def look_at_clock(self, clock: ServerClock | None) -> None:
        """Hold a fresh quote against it."""
        if clock is not None:
            tick = self.reads.tick(self._instruments[0].broker_name)
            clock.observe(tick.time, self.reads.pace.now_ns())
