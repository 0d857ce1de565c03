"""One kernel, many faces: the same bars and actions give the same account, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mtquant.backtest.run import run_agent
from mtquant.config.data import given_market
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.trading import TradingEnv
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.envs.vector import VectorTradingEnv
from mtquant.market.simulated import SimulatedMarket
from mtquant.sim.kernel import RUNNING, step
from mtquant.sim.simulator import Simulator

BARS = 400
LANES = 5


def noisy_actions(bars: int, symbols: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1.2, 1.2, (bars, symbols)).astype(np.float32)
    actions[rng.random(actions.shape) < 0.2] = np.nan
    return actions


@pytest.fixture(scope="module")
def two_symbols(gold_bars) -> Scenario:
    """Gold and the euro, which pause at different hours."""
    from mtquant.config.load import load_symbols

    euro = SimulatedMarket("EURUSD", "H1", 4_000, 6).bars(load_symbols()["EURUSD"])
    env = resolve_env(
        "xauusd_h1", {"symbols": ["XAUUSD", "EURUSD"], "features": ["returns", "spread"]}
    )
    return Scenario.fit(env, given_market(env, [gold_bars, euro]))


@pytest.fixture(scope="module", params=["one symbol", "two symbols"])
def scenario(request, gold_scenario, two_symbols) -> Scenario:
    return gold_scenario if request.param == "one symbol" else two_symbols


class Script:
    """An agent that says what it was told, bar by bar."""

    name = "script"
    scaled = True
    window = 1

    def __init__(self, actions: np.ndarray) -> None:
        self.actions = actions
        self.inputs = None
        self.seen: list[np.ndarray] = []

    def predict(
        self,
        observation: np.ndarray,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        row = state or 0
        self.seen.append(np.array(observation))
        return self.actions[row], row + 1


def whole_split(scenario: Scenario) -> tuple[int, int]:
    first, last = scenario.rows("test")
    return max(first, scenario.first_row), last


def test_env_backtest_batch_and_bare_kernel_agree(scenario):
    first, last = whole_split(scenario)
    actions = noisy_actions(last - first, len(scenario.env.symbols))

    backtest = run_agent(script := Script(actions), scenario, (first, last))
    env = TradingEnv(scenario, split="test", training=False)
    batch = SB3VecEnv(scenario, LANES, split="test", training=False)
    vector = VectorTradingEnv(scenario, LANES, split="test", training=False)
    bare = Simulator(batch.simulator.tape)
    bare.place(0, first, last, scenario.env.account.capital)

    seen, _ = env.reset()
    many, other = batch.reset().copy(), vector.reset(seed=0)[0]
    for row, action in enumerate(actions):
        for crowd in (many, other):
            for lane in range(LANES):
                np.testing.assert_array_equal(crowd[lane], seen)
        np.testing.assert_array_equal(script.seen[row], seen)
        repeated = np.repeat(action[None], LANES, axis=0)
        reward, status = step(bare.book, bare.tape, 0, action[None])
        seen, env_reward, terminated, truncated, info = env.step(action)
        batched = batch.step(repeated)
        many, many_rewards, dones, _ = batched
        other, other_rewards, other_over, other_cut, _ = vector.step(repeated)
        assert env_reward == reward == backtest.rewards[row]
        assert (terminated or truncated) == (status != RUNNING)
        assert info["equity"] == bare.book.account["equity"][0] == backtest.equity[row]
        assert set(many_rewards.tolist()) == {float(np.float32(reward))}
        np.testing.assert_array_equal(many_rewards, other_rewards)
        np.testing.assert_array_equal(dones, other_over | other_cut)
        if status != RUNNING:
            assert dones.all()
            break
        many = many.copy()
    summary = info["episode_summary"]
    assert batch.take_finished()[0]._asdict() == summary
    assert len(backtest.deals) > 50
    assert row > 100


def test_random_lives_are_the_same_alone_and_in_a_crowd(scenario):
    """Random starts, resets and all: each lane of a batch is the env of its own random state."""
    tape = scenario.simulator("train", 1, training=True).tape
    crowd = Simulator(tape, LANES, bars_per_year=scenario.bars_per_year)
    crowd.seed(8)
    states = crowd.book.account["rng"].copy()
    actions = noisy_actions(BARS * LANES, len(scenario.env.symbols)).reshape(BARS, LANES, -1)
    rows = [crowd.reset().copy()]
    rewards, finished = [], []
    for action in actions:
        result = crowd.step(action)
        rows.append(result.observations.copy())
        rewards.append(result.rewards)
        finished.append(result.finished)
    ends = 0
    for lane in range(LANES):
        env = TradingEnv(scenario)
        env.reset(seed=0)
        env._simulator.book.account["rng"][0] = states[lane]
        seen, _ = env.reset()
        for row, action in enumerate(actions):
            np.testing.assert_array_equal(rows[row][lane], seen)
            seen, reward, terminated, truncated, info = env.step(action[lane])
            assert np.float32(reward) == rewards[row][lane]
            assert (lane in finished[row]) == (terminated or truncated)
            if terminated or truncated:
                last, summary = finished[row][lane]
                np.testing.assert_array_equal(last, seen)
                assert summary._asdict() == info["episode_summary"]
                seen, _ = env.reset()
                ends += 1
    if scenario.env.episode.bars < BARS:
        assert ends >= LANES


def test_the_ledger_is_the_accounts_own_story(scenario):
    first, last = whole_split(scenario)
    actions = noisy_actions(last - first, len(scenario.env.symbols), seed=3)
    result = run_agent(Script(actions), scenario, (first, last))
    ledger = result.ledger
    assert len(ledger) == last - first
    np.testing.assert_array_equal(ledger.time_ns, scenario.market.panel.time[first + 1 : last + 1])
    steps = np.zeros(len(scenario.env.symbols), np.int64)
    for row in range(len(ledger)):
        for deal in result.deals:
            if deal.bar == first + 1 + row:
                steps[deal.symbol] += deal.steps
        lots = [n * spec.lot_step for n, spec in zip(steps, scenario.market.specs, strict=True)]
        np.testing.assert_allclose(ledger.position_lots[row], lots, atol=1e-12)
    money = sum(deal.profit + deal.swap - deal.commission for deal in result.deals)
    env = TradingEnv(scenario, split="test", training=False)
    env.reset()
    for action in actions:
        *_, over, cut, info = env.step(action)
        if over or cut:
            break
    assert info["balance"] == pytest.approx(scenario.env.account.capital + money, abs=1e-6)
