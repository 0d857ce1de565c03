from __future__ import annotations

import math

import numpy as np
import pytest

from mtquant.agents.base import Agent
from mtquant.agents.rules import RULES, BuyAndHold, EmaCross, Flat, RsiReversion, Rule, build_rule
from mtquant.backtest.run import run_agent
from mtquant.config.data import given_market
from mtquant.config.load import available, load_agent, load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.envs.scenario import Scenario
from mtquant.errors import ConfigError
from mtquant.market.simulated import SimulatedMarket
from mtquant.sim.observation import SYMBOL_FEATURES

HOLD = float("nan")


def act(agent: Agent, *columns: float, held: tuple[float, ...] = (0.0,)) -> list[float]:
    """The action on an observation of these columns and positions."""
    rest = [0.0] * (len(SYMBOL_FEATURES) - 1)
    account = [x for position in held for x in (position, *rest)]
    observation = np.array([*columns, *account, 0.0, 0.0, 0.0], np.float32)
    action, state = agent.predict(observation)
    assert state is None
    assert action.dtype == np.float32
    return [HOLD if math.isnan(x) else round(float(x), 6) for x in action]


def same(ours: list[float], theirs: list[float]) -> bool:
    return np.array_equal(ours, theirs, equal_nan=True)


def test_flat_never_trades():
    assert act(Flat(), held=(0.7,)) == [0.0]
    assert act(Flat(2), held=(0.7, -0.2)) == [0.0, 0.0]


def test_buy_and_hold_buys_once():
    assert act(BuyAndHold(), held=(0.0,)) == [1.0]
    assert same(act(BuyAndHold(), held=(0.3,)), [HOLD])
    assert act(BuyAndHold(), held=(-0.3,)) == [1.0]
    assert same(act(BuyAndHold(2), held=(0.3, 0.0)), [HOLD, 1.0])
    assert act(BuyAndHold(exposure=0.4)) == [0.4]


@pytest.mark.parametrize(
    ("gap", "action"), [(0.5, 0.8), (-0.5, -0.8), (0.25, HOLD), (-0.25, HOLD), (0.0, HOLD)]
)
def test_ema_cross(gap, action):
    assert same(act(EmaCross(exposure=0.8, band=0.25), gap), [action])


@pytest.mark.parametrize(
    ("rsi", "held", "action"),
    [
        (29.9, 0.0, 1.0),
        (70.1, 0.0, -1.0),
        (30.0, 0.0, HOLD),
        (70.0, 0.0, HOLD),
        (45.0, 0.5, HOLD),  # a long waits for 50
        (55.0, 0.5, 0.0),
        (55.0, -0.5, HOLD),
        (45.0, -0.5, 0.0),
        (50.0, 0.5, HOLD),
        (75.0, 0.5, -1.0),  # straight from long to short
    ],
)
def test_rsi_reversion(rsi, held, action):
    assert same(act(RsiReversion(), rsi, held=(held,)), [action])


def test_a_rule_treats_every_symbol_by_its_own_columns():
    """The columns come input by input, each with all symbols."""
    agent = RsiReversion(3)
    action = act(agent, 20.0, 55.0, 80.0, held=(0.0, 0.4, 0.0))
    assert action == [1.0, 0.0, -1.0]


@pytest.mark.parametrize("kind", sorted(RULES))
def test_every_rule_is_an_agent_with_raw_inputs(kind):
    agent = build_rule(kind, {}, 2)
    assert isinstance(agent, Agent)
    assert agent.name == kind
    assert not agent.scaled
    assert agent.window == 1


@pytest.mark.parametrize("name", available("configs/agents"))
def test_shipped_rules_build(name):
    config, _ = load_agent(name)
    if config.kind in RULES:
        assert build_rule(config.kind, config.params, 1).name == config.kind


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("ema_cros", {}, "unknown rule 'ema_cros'; did you mean 'ema_cross'"),
        ("ema_cross", {"exposur": 1.0}, "unknown parameter 'exposur'; did you mean 'exposure'"),
        ("ema_cross", {"symbols": 3}, "unknown parameter 'symbols'"),
        ("flat", {"exposure": 1.0}, "unknown parameter 'exposure'"),
        ("ema_cross", {"exposure": 0.0}, "exposure = 0.0"),
        ("ema_cross", {"exposure": 1.1}, "exposure = 1.1"),
        ("ema_cross", {"exposure": HOLD}, "exposure = nan"),
        ("ema_cross", {"exposure": "big"}, "agent ema_cross"),
        ("ema_cross", {"band": -0.1}, "band = -0.1"),
        ("rsi_reversion", {"low": 60}, "low = 60"),
        ("rsi_reversion", {"high": 40}, "high = 40"),
    ],
)
def test_a_wrong_rule_is_one_sentence(kind, params, said):
    with pytest.raises(ConfigError) as caught:
        build_rule(kind, params, 1)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


class Listens(Rule):
    """Long of the first symbol, short of the second, and keeps what it is shown of each."""

    inputs = ("ema_gap_20_50", "rsi_14")

    def __init__(self, symbols: int = 1) -> None:
        super().__init__(symbols)
        self.shown: list[tuple[float, ...]] = []

    def exposure(self, inputs, held):
        self.shown.append((float(inputs[0]), float(inputs[1]), held))
        return 0.4 if len(self.shown) % 2 else -0.4


def test_each_symbol_is_shown_its_own_columns_and_position():
    """Through a real env of two symbols, whose layout no rule may guess."""
    table, symbols = load_symbols(), ("XAUUSD", "EURUSD")
    bars = [SimulatedMarket(name, "H1", 900, 3).bars(table[name]) for name in symbols]
    env = EnvConfig(name="two", symbols=symbols, features=("rsi", "ema_gap"), stops={})
    scenario, agent = Scenario.fit_all(env, given_market(env, bars)), Listens(2)
    run_agent(agent, scenario, scenario.rows("all"))
    gold, euro = np.array(agent.shown[2::2]), np.array(agent.shown[3::2])
    for shown, side in ((gold, 1.0), (euro, -1.0)):
        assert np.abs(shown[:, 0]).max() < 0.5 and 1.0 < shown[:, 1].min(), "gap, then RSI"
        assert (np.sign(shown[:, 2]) == side).mean() > 0.9
    assert not np.array_equal(gold[:, 1], euro[:, 1])
