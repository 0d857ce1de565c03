"""Backtest: an agent over bars, through the same kernel that trained it.

The loop observes, predicts and steps one lane; what each bar did to the account becomes the
ledger that metrics and reports read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtquant.agents.base import Agent
from mtquant.agents.bundle import Bundle
from mtquant.agents.catalogue import CHECKPOINTS, bundle_names, find_bundle
from mtquant.agents.rules import RULES, BuyAndHold, Flat, build_rule
from mtquant.backtest.deals import Deal, trades_of
from mtquant.backtest.halt import RESET, Cooldown
from mtquant.backtest.ledger import Event, Ledger, Trade
from mtquant.backtest.metrics import Metrics, summarise
from mtquant.config.data import MarketData, resolve_market
from mtquant.config.load import available, load_agent
from mtquant.config.protection import StopsConfig
from mtquant.config.schema import AgentConfig
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.errors import ConfigError, unknown
from mtquant.market.bars import Float
from mtquant.risk.breaker import LEVEL_NAMES
from mtquant.risk.reasons import STOP_OUT
from mtquant.sim.account import Book, Tape
from mtquant.sim.records import ACCOUNT
from mtquant.sim.simulator import Simulator
from mtquant.sim.target import Target

COSTS = ("spread_cost", "slippage_cost", "commission", "swap")


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """What an agent did over a span of bars, and what it was worth.

    Attributes:
        agent: Name of the agent.
        scenario: Bars and configuration it ran under.
        ledger: The account, bar by bar.
        deals: Every fill, in order.
        rewards: float64 ``[T]``, one per bar.
        reasons: What the agent said for itself, one per bar; none where it never did.
    """

    agent: str
    scenario: Scenario
    ledger: Ledger
    deals: tuple[Deal, ...]
    rewards: Float
    reasons: tuple[str, ...] = ()

    @property
    def equity(self) -> Float:
        """Equity at each bar's close, float64 ``[T]``."""
        return self.ledger.equity

    @property
    def trades(self) -> tuple[Trade, ...]:
        """Closed positions."""
        return self.ledger.trades

    @cached_property
    def metrics(self) -> Metrics:
        """Return, ratios, drawdown, trades and costs."""
        return summarise(self.ledger)

    def to_frame(self) -> pd.DataFrame:
        """One row per bar: time (aware, UTC), price, position, equity, exposure, costs, reward.

        Of an agent that gives reasons, these too.
        """
        ledger = self.ledger
        columns: dict[str, Any] = {
            "time": pd.DatetimeIndex(ledger.time_ns.astype("datetime64[ns]"), tz="UTC")
        }
        for s, symbol in enumerate(ledger.symbols):
            suffix = f"_{symbol}" if len(ledger.symbols) > 1 else ""
            columns[f"price{suffix}"] = ledger.price[:, s]
            columns[f"position_lots{suffix}"] = ledger.position_lots[:, s]
        for name in ("equity", "exposure", *COSTS, "traded_notional"):
            columns[name] = getattr(ledger, name)
        columns["reward"] = self.rewards
        if self.reasons:
            columns["reason"] = self.reasons
        return pd.DataFrame(columns)


class Recorder:
    """Collects the rows of a ledger while a lane is stepped."""

    def __init__(self, tape: Tape, n_bars: int, symbols: int) -> None:
        self.tape = tape
        self.accounts = np.zeros(n_bars, ACCOUNT)
        self.steps = np.zeros((n_bars, symbols), np.int64)
        self.reward = np.zeros(n_bars)
        self.deals: list[Deal] = []
        self.resets: list[int] = []  # bars at whose close the breaker was reset
        self.filled = 0

    def take(self, book: Book, reward: float) -> None:
        """Record the bar that lane 0 has just closed."""
        row = self.filled
        self.accounts[row] = book.account[0]
        self.steps[row] = book.positions["steps"][0]
        self.reward[row] = reward
        for n in range(self.accounts["n_deals"][row]):
            self.deals.append(Deal.of(book.deals[0, n]))
        self.filled += 1


def run_agent(agent: Agent, scenario: Scenario, rows: tuple[int, int]) -> BacktestResult:
    """Run an agent from a flat account at row ``rows[0]`` to the close of row ``rows[1]``.

    The first decision is made at the close of the first row, so the result begins with the bar
    after it. After a stop-out or LEVEL_3 the account stays flat to the end, unless its env says
    ``breaker.on_level_3: reset``.
    """
    tape = scenario.tape(scenario.features(agent), rows, window=agent.window)
    first, last = int(tape.rules["first"][0]), rows[1]
    simulator = Simulator(tape, bars_per_year=scenario.bars_per_year, reward=scenario.reward)
    symbols = len(scenario.env.symbols)
    recorder = Recorder(tape, last - first, symbols)
    observation = simulator.place(0, first, last, scenario.env.account.capital)
    state: Any = None
    reasons = [""] * (last - first)
    cooldown = Cooldown(scenario)
    for n in range(last - first):
        action, state = agent.predict(observation, state, deterministic=True)
        if isinstance(action, Target):
            reasons[n] = action.reason
        observation, reward, _status = simulator.step_lane(0, action)
        recorder.take(simulator.book, reward)
        if cooldown.is_over(simulator.book):
            observation = simulator.rearm(0)
            recorder.resets.append(n)
    return BacktestResult(
        agent.name,
        scenario,
        make_ledger(recorder, scenario, first + 1),
        tuple(recorder.deals),
        recorder.reward,
        tuple(reasons) if any(reasons) else (),
    )


def make_ledger(recorder: Recorder, scenario: Scenario, first: int) -> Ledger:
    """The ledger of what a recorder took, its first row being bar ``first`` of the panel."""
    panel, specs, market = scenario.market.panel, scenario.market.specs, recorder.tape.market
    rows = slice(first, first + recorder.filled)
    accounts = recorder.accounts[: recorder.filled]
    bars, contracts = market[rows], recorder.tape.contracts
    price = bars["close"] * contracts["tick_n"] / contracts["tick_d"]
    notional = recorder.steps * bars["close"] * bars["value"]
    gross = notional[:, 0] if len(specs) == 1 else np.abs(notional).sum(axis=1)
    exposure = np.divide(
        gross, accounts["equity"], out=np.zeros(len(gross)), where=accounts["equity"] > 0
    )
    per_bar = {name: np.diff(accounts[name], prepend=0.0) for name in (*COSTS, "traded")}
    return Ledger(
        symbols=panel.symbols,
        timeframe=panel.timeframe,
        start_equity=scenario.env.account.capital,
        time_ns=panel.time[rows],
        equity=accounts["equity"],
        position_lots=recorder.steps * np.array([spec.lot_step for spec in specs]),
        exposure=exposure,
        price=price,
        traded_notional=per_bar.pop("traded"),
        trades=trades_of(recorder.deals, panel, specs, recorder.tape),
        events=_events(recorder, scenario, first),
        **per_bar,
    )


def _events(recorder: Recorder, scenario: Scenario, first: int) -> tuple[Event, ...]:
    """Margin calls, stop-outs, rises and resets of the circuit breaker, by time."""
    panel, call = scenario.market.panel, scenario.env.account.margin_call_level
    events = []
    share = _margin_levels(recorder, first)
    for row in np.flatnonzero(np.diff(share < call, prepend=False) & (share < call)):
        text = f"margin call: equity is {share[row]:.0%} of the margin"
        events.append(Event(int(panel.time[first + row]), text))
    levels = recorder.accounts["level"][: recorder.filled]
    before = np.append(0, levels)
    before[np.array(recorder.resets, np.int64) + 1] = 0
    events += [Event(int(panel.time[first + row]), RESET) for row in recorder.resets]
    for row in np.flatnonzero(levels > before[:-1]):
        level = LEVEL_NAMES[levels[row]]
        events.append(Event(int(panel.time[first + row]), f"circuit breaker {level}"))
    for deal in recorder.deals:
        if deal.reason == STOP_OUT:
            symbol = panel.symbols[deal.symbol]
            events.append(Event(int(panel.time[deal.bar]), f"stop-out of {symbol}"))
    return tuple(sorted(events))


def _margin_levels(recorder: Recorder, first: int) -> Float:
    """Equity over margin at each close, infinite where nothing is held, float64 ``[T]``."""
    bars = recorder.tape.market[first : first + recorder.filled]
    a_step = bars["close"] * bars["value"] * recorder.tape.contracts["margin_share"]
    margin = (np.abs(recorder.steps[: recorder.filled]) * a_step).sum(axis=1)
    equity = recorder.accounts["equity"][: recorder.filled]
    levels: Float = np.divide(equity, margin, out=np.full(len(margin), np.inf), where=margin > 0.0)
    return levels


def run_baselines(scenario: Scenario, rows: tuple[int, int]) -> tuple[Ledger, Ledger]:
    """*Flat* and *buy and hold* over the same rows, under the same costs and gates.

    Buy and hold is what people mean by it: bought once for the whole equity, without leverage and
    without a protective stop.
    """
    scenario = replace(scenario, env=scenario.env.model_copy(update={"stops": StopsConfig(atr=0)}))
    symbols = len(scenario.env.symbols)
    leverage = scenario.leverage_at_full_size(max(rows[0], scenario.first_row)) * symbols
    hold = BuyAndHold(symbols, exposure=min(1.0, 1.0 / leverage) if leverage > 0.0 else 1.0)
    flat_run, hold_run = (run_agent(agent, scenario, rows) for agent in (Flat(symbols), hold))
    return flat_run.ledger, hold_run.ledger


def bundle_scenario(bundle: Bundle, market: MarketData) -> Scenario:
    """Bars under what a bundle was trained with; nothing is fitted again."""
    own = replace(market, specs=bundle.specs)
    manifest = bundle.manifest
    return Scenario(bundle.env, own, bundle.pipeline, manifest.reward_scale, window=manifest.window)


def run_backtest(
    agent: Agent | Bundle | str, env_name_or_config: Any = None, data: Any = None
) -> BacktestResult:
    """Run an agent over all bars after the warm-up.

    Args:
        agent: An agent, a bundle, the name of a rule agent (``ema_cross``), or the name or folder
            of a bundle.
        env_name_or_config: As for ``make_env``; a bundle brings its own env, leave it None.
        data: ``Bars``, ``Panel`` or a list of ``Bars``; None takes the store under ``data/``, and
            the simulated market where it holds nothing.

    Raises:
        ConfigError: Unknown agent or env, or no env for an agent without a bundle.
        BundleError: The bundle is altered or missing.
        DataError: Too few bars, or bars of another symbol or timeframe.
    """
    tested = named_agent(agent) if isinstance(agent, str) else agent
    if isinstance(tested, Bundle):
        if env_name_or_config is not None:
            raise ConfigError(
                f"bundle {tested.name} brings the env that it was trained for; leave the env out"
            )
        scenario = bundle_scenario(tested, resolve_market(tested.env, data))
        return run_agent(tested.agent, scenario, scenario.rows("all"))
    if env_name_or_config is None:
        raise ConfigError("an agent without a bundle needs an env to run in; name one")
    env = resolve_env(env_name_or_config)
    scenario = Scenario.fit_all(env, resolve_market(env, data))
    if isinstance(tested, AgentConfig):
        tested = build_rule(tested.kind, tested.params, len(env.symbols))
    return run_agent(tested, scenario, scenario.rows("all"))


def named_agent(name: str, root: Path = CHECKPOINTS) -> Bundle | AgentConfig:
    """A bundle by name or folder, or the configuration of a rule agent by name.

    Raises:
        ConfigError: Neither exists; names the nearest. Or the agent has to be trained first.
    """
    if name in bundle_names(root) or (Path(name) / "manifest.json").is_file():
        return find_bundle(name, root)
    known = {*bundle_names(root), *available("configs/agents")}
    if name not in known and not name.endswith((".yaml", ".yml")):
        raise ConfigError(unknown("bundle or agent", name, known))
    config, _found = load_agent(name)
    if config.kind not in RULES:
        raise ConfigError(
            f"agent '{name}' has to learn first: run `python -m mtquant.train --agent {name}` and "
            "backtest the bundle"
        )
    return config
