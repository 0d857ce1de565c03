"""How fast training and backtest are, beside peers, in one run on one core.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/speed.py [--json FILE]

gym-anytrading and gym-trading-env are measured where they are installed
(``pip install gym-anytrading==2.0.0 gym-trading-env==0.3.5``); every rate is also given as a
multiple of Stable-Baselines3's own defaults or of a bare copy of the observation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from env_speed import scenario_64
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from mtquant.agents.policy import OnnxPolicy
from mtquant.backtest.run import run_agent
from mtquant.config.data import simulated_market
from mtquant.config.load import load_agent
from mtquant.config.schema import AgentConfig
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.trading import TradingEnv
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.training.export import export_policy
from mtquant.training.learner import build_learner

ROWS: list[dict[str, Any]] = []


def report(what: str, rate: float, unit: str, **more: Any) -> None:
    ROWS.append({"what": what, "rate": rate, "unit": unit, **more})
    extra = "  ".join(f"{key} {value}" for key, value in more.items())
    print(f"{what:<52} {rate:>14,.0f} {unit:<12} {extra}", flush=True)


def best_of(run: Callable[[], None], work: int, rounds: int = 7) -> float:
    """Best rate over some rounds: what the code can do when the machine lets it."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return work / min(times)


def training(scenario: Scenario) -> None:
    defaults = DummyVecEnv([lambda: TradingEnv(scenario)])
    model = PPO("MlpPolicy", defaults, device="cpu", seed=0)
    base = frames_per_second(model, 12_288)
    report("SB3 PPO as it comes, 1 env of ours", base, "frames/s")
    config, _found = load_agent("ppo")
    plain = {
        "n_steps": 128,
        "batch_size": 4096,
        "n_epochs": 4,
        "policy_kwargs": {"net_arch": [64, 64]},
    }
    for label, agent in (
        ("our ppo.yaml, 128 lanes, probes beside each", config),
        ("a 64x64 net, 128 lanes, 4 epochs", AgentConfig(kind="ppo", params=plain)),
    ):
        env = SB3VecEnv(scenario, agent.learning.n_envs)
        model = build_learner(agent, env, 0)
        rate = frames_per_second(model, 300_000)
        report(f"PPO, {label}", rate, "frames/s", of_sb3_defaults=f"{rate / base:.0f}x")


def frames_per_second(model: Any, frames: int) -> float:
    model.learn(model.n_steps * model.n_envs)
    before = model.num_timesteps
    started = time.perf_counter()
    model.learn(frames, reset_num_timesteps=False)
    return float((model.num_timesteps - before) / (time.perf_counter() - started))


def backtest(n_bars: int = 50_000) -> None:
    env = resolve_env("xauusd_h1")
    market = simulated_market(env, n_bars + 800)
    scenario = Scenario.fit(env, market)
    config, _found = load_agent("ppo")
    model = build_learner(config, SB3VecEnv(scenario, 8), 0)
    agent = OnnxPolicy(export_policy(model), name="ppo", inputs=scenario.inputs)
    run_agent(agent, scenario, scenario.rows("test"))
    times = []
    for _ in range(5):
        fresh = Scenario(env, market, scenario.pipeline, scenario.reward_scale, None)
        started = time.perf_counter()
        result = run_agent(agent, fresh, fresh.rows("all"))
        result.metrics.to_dict()
        times.append(time.perf_counter() - started)
    seconds = statistics.median(times)
    report(
        "backtest of a policy, features to metrics",
        len(result.equity) / seconds,
        "bars/s",
        bars=len(result.equity),
        seconds=f"{seconds:.2f}",
    )


def peers() -> None:
    try:
        import pandas as pd
        from gym_anytrading.envs import ForexEnv
    except ImportError as missing:
        print(f"gym-anytrading is left out: {missing}")
        return
    rng = np.random.default_rng(7)
    close = 1.1 * np.exp(np.cumsum(rng.normal(0, 5e-4, 50_000)))
    frame = pd.DataFrame({"Open": close, "High": close, "Low": close, "Close": close})

    def anytrading() -> Any:
        return ForexEnv(df=frame, window_size=10, frame_bound=(10, len(frame)))

    measure_peer("gym-anytrading ForexEnv", anytrading)
    try:
        from gym_trading_env.environments import TradingEnv as PeerEnv
    except ImportError as missing:
        print(f"gym-trading-env is left out: {missing}")
        return
    warnings.resetwarnings()  # importing it turns every warning into an error
    warnings.simplefilter("ignore")
    columns = {name.lower(): frame[name].to_numpy() for name in frame.columns}
    named = pd.DataFrame(columns, index=pd.date_range("2015-01-01", periods=len(frame), freq="h"))
    for k in range(20):
        named[f"feature_{k}"] = rng.normal(size=len(frame)).astype(np.float32)

    def trading_env() -> Any:
        return PeerEnv(df=named, positions=[-1, 0, 1], trading_fees=1e-4, verbose=0)

    measure_peer("gym-trading-env TradingEnv", trading_env)


def measure_peer(name: str, make: Callable[[], Any]) -> None:
    env = make()
    env.action_space.seed(3)
    actions = [int(env.action_space.sample()) for _ in range(4096)]
    env.reset(seed=1)

    def run() -> None:
        for n in range(10_000):
            result = env.step(actions[n % 4096])
            if result[2] or result[3]:
                env.reset()

    report(f"{name}, one env", best_of(run, 10_000, 3), "steps/s")
    model = PPO("MlpPolicy", DummyVecEnv([make]), device="cpu", seed=0)
    report(f"{name}, SB3 PPO as it comes", frames_per_second(model, 8_192), "frames/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.chdir(tempfile.mkdtemp())
    scenario = scenario_64(100_000)
    training(scenario)
    backtest()
    peers()
    if chosen.json:
        chosen.json.write_text(json.dumps({"python": sys.version, "rows": ROWS}, indent=2))


if __name__ == "__main__":
    main()
