"""A small simulated gold market, and one run of it through backtest and through the live path."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.config.assemble import assemble_tape, warm_up
from mtquant.config.schema import EnvConfig
from mtquant.features.observed import observed_rows
from mtquant.features.pipeline import FeaturePipeline, FittedPipeline
from mtquant.live.decide import Strategy
from mtquant.live.journal import Journal
from mtquant.live.paper import paper_bars, paper_runner
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.symbols import SymbolSpec
from mtquant.sim.account import Tape
from mtquant.sim.records import DEAL
from mtquant.sim.simulator import Simulator

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
    swap_mode="points",
    swap_long=-38.0,
    swap_short=20.0,
    commission_per_lot=3.5,
    typical_spread_points=18,
    hours={"mon-fri": "01:00-24:00"},
)


STOPS: dict[str, Any] = {
    "atr": 2.5,
    "target_atr": 3.5,
    "trail_atr": 1.5,
    "break_even_atr": 1.0,
    "partial_at": 0.4,
    "partial_share": 0.4,
    "reentry_bars": 5,
}


EAGER = (1.0, 0.5, 0.8, 1.0, np.nan, 0.3, 0.6, np.nan, -0.5, -0.9, -1.0, -0.4)


class ScriptedAgent:
    """Plays a list of actions, the one that belongs to the bar it is shown.

    It finds the bar by a feature column, so that it has no memory of its own to lose in a restart.
    """

    name = "scripted"
    inputs = ("hour_sin", "hour_cos")
    scaled = False
    window = 1

    def __init__(self, amplitude: float = 1.0) -> None:
        self.amplitude = amplitude
        self.seen: list[bytes] = []

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Flips, partial reductions, holding (NaN), flat: by the hour and by what is held."""
        self.seen.append(observation.tobytes())
        hour = round(np.arctan2(observation[0], observation[1]) / (2 * np.pi) * 24) % 24
        script = {2: 1.0, 5: 0.4, 9: -0.8, 13: -0.2, 15: 0.7, 18: 1.0, 22: 0.0}
        action = script.get(hour, np.nan) * self.amplitude
        if observation[2] < -0.3 and hour == 9:
            action = np.nan
        return np.array([action], np.float32), state


class Fixed:
    """Does not know of stops; ``wish`` says what it wants at an hour of the day."""

    name, inputs, scaled, window = "fixed", ("hour_sin", "hour_cos"), False, 1

    def __init__(self, wish: Callable[[int], float]) -> None:
        self.wish = wish
        self.seen: list[bytes] = []

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        self.seen.append(observation.tobytes())
        hour = round(np.arctan2(observation[0], observation[1]) / (2 * np.pi) * 24) % 24
        return np.array([self.wish(hour)], np.float32), state


def make_env(**changes: Any) -> EnvConfig:
    plain: dict[str, Any] = {
        "name": "test",
        "symbols": ("XAUUSD",),
        "features": ("hour", "returns"),
    }
    return EnvConfig(**{**plain, **changes})


@dataclass
class Run:
    """Per bar: equity, position, breaker level; and all deals."""

    equity: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    deals: list[tuple[Any, ...]] = field(default_factory=list)

    def take(self, book: Any) -> None:
        self.equity.append(float(book.account["equity"][0]))
        held = book.positions["steps"][0].tolist()
        self.steps.append(held[0] if len(held) == 1 else held)
        self.levels.append(int(book.account["level"][0]))
        assert DEAL.names is not None
        for deal in book.deals[0, : int(book.account["n_deals"][0])]:
            self.deals.append(tuple(deal[name].item() for name in DEAL.names))


class World:
    """Bars, features and a tape; runs an agent over them either way."""

    def __init__(
        self, env: EnvConfig, bars: Bars | list[Bars], agent: Any, context: Sequence[Bars] = ()
    ) -> None:
        self.env, self.agent = env, agent
        self.panel = Panel(bars if isinstance(bars, list) else [bars], context)
        self.specs = tuple(SPEC.model_copy(update={"name": n}) for n in self.panel.symbols)
        self.context_specs = tuple(SPEC.model_copy(update={"name": b.symbol}) for b in context)
        self.pipeline: FittedPipeline = FeaturePipeline(env.features, env.symbols).fit(self.panel)
        first = max(warm_up(self.pipeline, env) - 1, self.pipeline.first_valid(self.panel))
        self.rows = (first + agent.window - 1, len(self.panel) - 1)

    def tape(self) -> Tape:
        features = observed_rows(self.agent, self.pipeline, self.panel)
        rules = self.env.rules(reward_scale=1.0)
        tape = assemble_tape(self.env, self.panel, self.specs, features, rules)
        return tape._replace(window=self.agent.window)

    def backtest(self) -> Run:
        simulator, run = Simulator(self.tape()), Run()
        first, last = self.rows
        observation, state = simulator.place(0, first, last, self.env.account.capital), None
        for _ in range(last - first):
            action, state = self.agent.predict(observation, state)
            observation, _, _ = simulator.step_lane(0, action)
            run.take(simulator.book)
        return run

    def terminal(self, kind: Any = SimulatedTerminal) -> Any:
        terms = AccountTerms(self.env.account.capital, self.env.account.currency)
        specs = (*self.specs, *self.context_specs)
        return kind(self.panel, specs, self.tape(), rows=self.rows, terms=terms)

    def strategy(self) -> Strategy:
        return Strategy(self.agent, self.pipeline, self.env, self.specs, self.context_specs)

    def paper(self, terminal: Any, path: Path, bars: int | None = None) -> Run:
        """Run to the end, or for a number of bars."""
        run = Run()
        journal = Journal(path, durable=False)
        runner = paper_runner(terminal, journal, self.strategy(), "test")
        for count, _report in enumerate(paper_bars(terminal, runner), 1):
            run.take(terminal.account.book)
            if count == bars:
                break
        journal.close()
        return run


class Desk:
    """A terminal with a journal and a runner; each ``bar`` is one more of its life."""

    def __init__(self, world: Any, path: Path, terminal: Any) -> None:
        self.path, self.terminal = path, terminal
        self.journal = Journal(path, durable=False)
        self.runner = paper_runner(self.terminal, self.journal, world.strategy(), "test")

    def bar(self) -> Any:
        report = self.runner.on_bar()
        self.terminal.advance()
        return report

    def until_held(self) -> Any:
        while not self.terminal.positions_get():
            self.bar()
        return self.terminal.positions_get()[0]

    def change(self, **levels: float) -> None:
        """A person moves the levels."""
        for one in self.terminal.positions_get():
            request = {
                "action": mt5.TRADE_ACTION_SLTP,
                "symbol": one.symbol,
                "position": one.ticket,
            }
            answer = self.terminal.order_send(request | {"sl": one.sl, "tp": one.tp} | levels)
            assert answer.retcode == mt5.TRADE_RETCODE_DONE

    def run_out(self) -> list[Any]:
        return [report for report in paper_bars(self.terminal, self.runner) if report]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.path) as database:
            rows = database.execute(sql).fetchall()
        database.close()
        return rows

    @property
    def stop(self) -> float:
        return self.terminal.positions_get()[0].sl


def gold(n_bars: int, seed: int = 5) -> Bars:
    return SimulatedMarket("XAUUSD", "H1", n_bars, seed).bars(SPEC)


@pytest.fixture(autouse=True)
def _close_journals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test, or a runner that was made to die in it, left open."""
    opened: list[Journal] = []
    begin = Journal.__init__

    def remember(self: Journal, path: Path, **options: Any) -> None:
        begin(self, path, **options)
        opened.append(self)

    monkeypatch.setattr(Journal, "__init__", remember)
    yield
    for journal in opened:
        journal.close()


@pytest.fixture(scope="session")
def make_world() -> Any:
    def make(n_bars: int = 400, amplitude: float = 1.0, seed: int = 5, **env: Any) -> World:
        return World(make_env(**env), gold(n_bars, seed), ScriptedAgent(amplitude))

    return make


@pytest.fixture
def protected(make_world: Any) -> Any:
    """A world in which somebody eager is stopped, trailed and partly closed all the time."""

    def make(n_bars: int = 700, book: str = "netting", stops: Any = STOPS, **env: Any) -> World:
        world: World = make_world(n_bars, stops=stops, account={"book": book}, **env)
        world.agent = Fixed(lambda hour: EAGER[hour // 2])
        return world

    return make


@pytest.fixture
def desk_of(tmp_path: Path) -> Any:
    def make(world: World, terminal: Any = None, path: str = "journal.db") -> Desk:
        return Desk(world, tmp_path / path, terminal or world.terminal())

    return make


@pytest.fixture
def holding(protected: Any, desk_of: Any) -> Any:
    """The desk of somebody who buys once, with a wide stop, and holds."""

    def make(kind: Any = SimulatedTerminal, **options: Any) -> Desk:
        chosen = {"stops": {"atr": 9.0}, "sizing": {"rebalance_band": 0.9}} | options
        world = protected(300, **chosen)
        world.agent = Fixed(lambda hour: 1.0)
        return desk_of(world, world.terminal(kind))

    return make
