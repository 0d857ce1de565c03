"""Planted markets through the ordinary env: the preset, a market to learn on, and the score.

Nothing here is a toy of its own. A history's bars and signals become a panel, the preset is an
``EnvConfig`` like any other, and positions are what the kernel holds. The preset alone makes the
optimum exact: bars open where the last one closed, the only cost is a commission on the notional,
stops and breakers are off, lots are fixed for an episode, and equity is a hundred times what is
traded.

An agent learns on one history and is scored on a fresh draw of the same law, by the conditional
mean of its positions: what they were worth given all that could be known, without the luck of what
happened (Rao-Blackwell).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtquant.agents.base import Agent
from mtquant.config.data import MarketData
from mtquant.config.load import validate
from mtquant.config.schema import EnvConfig, FeatureChoice
from mtquant.envs.scenario import Scenario
from mtquant.market.bars import Float
from mtquant.market.panel import Panel
from mtquant.market.planted import PlantedHistory, PlantedLaw, noise_signals
from mtquant.market.planted_history import SYMBOL, VOLATILITY, VOLUME
from mtquant.market.symbols import SymbolSpec
from mtquant.research.optimum import conditional_value
from mtquant.sim.simulator import Simulator

STEPS = 1000  # lot steps at |action| = 1
LEVERAGE = 0.01  # notional over equity at |action| = 1
MEAN_MOVE = (2.0 / np.pi) ** 0.5  # size of a standard normal move: what ATR is here
EVALUATED_BARS = 5_000  # between two fresh starts, so that equity and price stay near theirs

CONTRACT = SymbolSpec(
    name=SYMBOL,
    description="A planted market: a seeded law with a known optimum",
    asset_class="crypto",
    base="PLANTED",
    quote="USD",
    contract_size=100.0,
    tick_size=1e-5,
    digits=5,
    pip_size=1e-5,
    lot_min=1.0,
    lot_step=1.0,
    lot_max=1e9,
    margin_mode="cfd_leverage",
    swap_mode="none",
    typical_spread_points=1.0,
    clock="UTC",
    hours={"mon-sun": "00:00-24:00"},
)
PRESET: dict[str, Any] = {
    "name": "planted",
    "symbols": [SYMBOL],
    "timeframe": "H1",
    "account": {"capital": STEPS * 100.0 * 100.0 / LEVERAGE},
    "sizing": {
        "method": "fixed_at_start",
        "notional_fraction": LEVERAGE,
        "rebalance_band": 0.0,
    },
    "stops": {"atr": 0.0},
    "limits": {"max_exposure": 5.0},
    "breaker": {"daily_loss": [0.97, 0.98, 0.99], "shed": 0.0},
    "episode": {"bars": 1000, "randomise": False},
    "split": {"validation": 0.08, "test": 0.01, "embargo_bars": 24},
}


def planted_env(
    law: PlantedLaw, features: Sequence[FeatureChoice], changes: Mapping[str, Any] | None = None
) -> EnvConfig:
    """The preset under a law's costs.

    Args:
        law: Says what trading costs.
        features: What the agent is shown.
        changes: Other sections of the env, such as ``reward``.
    """
    costs: dict[str, Any] = {"slippage": "none", "commission_fraction": law.cost * VOLATILITY}
    if law.cost_quadratic:
        # Impact of a deal of x full sizes: coefficient * x STEPS / VOLUME * ATR. A flip is two
        # deals and pays for each, a little less than the optimum counts for it.
        coefficient = law.cost_quadratic * VOLUME / (2.0 * STEPS * MEAN_MOVE)
        costs |= {"slippage": "volume", "slippage_coefficient": coefficient}
    return validate(
        EnvConfig,
        {**PRESET, "features": tuple(features), "costs": costs, **(changes or {})},
        "the planted preset",
    )


@dataclass(frozen=True)
class PlantedMarket:
    """A law, what an agent is shown of it, and how much history there is to learn from.

    Attributes:
        law: That draws the bars.
        features: Selection of ordinary features.
        signals: The law's signals that are shown beside them.
        noise: Columns that carry nothing, shown too.
        bars: Of the history to learn from, validation included.
        changes: Sections of the env that differ from the preset.
    """

    law: PlantedLaw
    features: tuple[FeatureChoice, ...] = ()
    signals: tuple[str, ...] = ()
    noise: int = 0
    bars: int = 250_000
    changes: Mapping[str, Any] | None = None

    def data(self, n_bars: int, seed: int) -> tuple[PlantedHistory, MarketData]:
        """A draw of the law, and the same as the env's bars."""
        history = self.law.draw(n_bars, seed)
        shown = {name: history.signals[name] for name in self.signals}
        shown |= noise_signals(self.noise, n_bars, seed)
        context = history.as_context(shown)
        specs = tuple(CONTRACT.model_copy(update={"name": bars.symbol}) for bars in context)
        panel = Panel([history.bars], context)
        source = f"planted market {type(self.law).__name__}"
        return history, MarketData(panel, (CONTRACT,), source, context_specs=specs)

    def scenario(self, seed: int, window: int = 1) -> Scenario:
        """A history to learn from, fitted, for an agent that sees ``window`` bars at once."""
        _, market = self.data(self.bars, seed)
        names = [bars.symbol for bars in market.panel.context]
        levels: list[FeatureChoice] = [{"level": {"of": names}}] if names else []
        env = planted_env(self.law, [*self.features, *levels], self.changes)
        return Scenario.fit(env, market, window)

    def fresh(self, fitted: Scenario, n_bars: int, seed: int) -> tuple[PlantedHistory, Scenario]:
        """Another draw, seen through what was fitted on the first."""
        history, market = self.data(n_bars, seed)
        scale, window = fitted.reward_scale, fitted.window
        scenario = Scenario(fitted.env, market, fitted.pipeline, scale, window=window)
        return history, scenario


@dataclass(frozen=True)
class Score:
    """What positions were worth.

    Attributes:
        value: Conditional mean of the reward per bar, lambda and costs included.
        linear_value: The same without lambda.
        turnover: Mean change of the position per bar, in full sizes.
        exposure: Mean size of the position, in full sizes.
    """

    value: float
    linear_value: float
    turnover: float
    exposure: float


def positions_of(agent: Agent, scenario: Scenario, rows: tuple[int, int]) -> Float:
    """What the kernel holds from each close on, in full sizes, ``[rows]``.

    The account starts afresh every :data:`EVALUATED_BARS` bars.
    """
    first, last = rows
    tape = scenario.tape(scenario.features(agent), rows, window=agent.window)
    simulator = Simulator(tape, bars_per_year=scenario.bars_per_year, reward=scenario.reward)
    capital, held = scenario.env.account.capital, np.zeros(last - first)
    full = capital * scenario.env.sizing.notional_fraction / CONTRACT.contract_size
    for start in range(first, last, EVALUATED_BARS):
        end = min(start + EVALUATED_BARS, last)
        observation, state = simulator.place(0, start, end, capital), None
        size = full / scenario.market.panel.bars[0].close[start]
        for t in range(start, end):
            action, state = agent.predict(observation, state, deterministic=True)
            observation, _, _ = simulator.step_lane(0, action)
            held[t - first] = simulator.book.positions["steps"][0, 0] / size
    return held


def score(history: PlantedHistory, positions: Float, downside_penalty: float) -> Score:
    """Value of positions, each held from the close of its row to the next close.

    Args:
        history: The rows that the positions were taken on.
        positions: In full sizes, ``[T]``, flat before the first.
        downside_penalty: Lambda of the reward.
    """
    changes = np.abs(np.diff(positions, prepend=0.0))
    return Score(
        value=conditional_value(history, positions, downside_penalty=downside_penalty),
        linear_value=conditional_value(history, positions, downside_penalty=0.0),
        turnover=float(changes.mean()),
        exposure=float(np.abs(positions).mean()),
    )
