"""How fast PPO is on one core: FastPPO and stock Stable-Baselines3 in turn, and where time goes.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/ppo_speed.py [--rounds 40]

A round is one rollout and its update, 128 lanes x 128 steps on an observation of 64 floats, in
minibatches of 4,096; four epochs with the plain network, and what ``ppo.yaml`` says with its own,
without probes, which stock has not. Times are of the processor, so that other processes cost
little, and the best round counts. A bare product of the networks' size, measured in turn with them,
says how much of that core there was, and gives the rate at which products alone would run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from env_speed import scenario_64
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from mtquant.config.load import load_agent
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.training import learner
from mtquant.training.band import resolve_head
from mtquant.training.fast_ppo import FastPPO, served
from mtquant.training.mlp import ActorCritic

PLAIN: dict[str, Any] = {
    "n_steps": 128,
    "batch_size": 4096,
    "n_epochs": 4,
    "gamma": 0.9,
    "policy_kwargs": {"net_arch": [64, 64], "log_std_init": -1.0},
}
NETS: dict[str, Any] = {"64x64 tanh, both": PLAIN, "configs/agents/ppo.yaml": None}
FORWARD = ("forward", "predict_values")


class Race:
    """A learner whose rounds are timed, and how long the parts of its best one took."""

    def __init__(self, kind: type[PPO], scenario: Scenario, params: Any) -> None:
        if params is None:
            params = {**load_agent("ppo")[0].params, "learning_rate": 0.001}
        env = SB3VecEnv(scenario, 128)
        head, own = resolve_head(learner.policy_kwargs(params["policy_kwargs"]), "ppo", env)
        params = {**params, "policy_kwargs": own}
        self.model = kind(head or "MlpPolicy", env, seed=0, device="cpu", **params)
        self.model.set_logger(Logger(None, []))
        _, self.callback = self.model._setup_learn(10**9)
        self.spent: dict[str, float] = defaultdict(float)
        self.best: dict[str, float] = {"all": float("inf")}
        env.step = self.timed("env", env.step)  # type: ignore[method-assign]
        for name in FORWARD:
            function = getattr(self.model.policy, name)
            setattr(self.model.policy, name, self.timed("forward", function))

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            started = time.process_time()
            result = function(*arguments)
            self.spent[part] += time.process_time() - started
            return result

        return run

    def round(self) -> None:
        self.spent.clear()
        model = self.model
        rollout = self.timed("rollout", model.collect_rollouts)
        kept = ActorCritic.means, ActorCritic.values
        if isinstance(model, FastPPO):
            ActorCritic.means, ActorCritic.values = (self.timed("forward", f) for f in kept)  # type: ignore[method-assign,assignment]
        rollout(model.env, self.callback, model.rollout_buffer, model.n_steps)
        ActorCritic.means, ActorCritic.values = kept  # type: ignore[method-assign]
        self.timed("update", model.train)()
        self.spent["all"] = self.spent["rollout"] + self.spent["update"]
        if self.spent["all"] < self.best["all"]:
            self.best = dict(self.spent)


def product() -> float:
    """GFLOP/s of a product of 512 rows with a layer of 64 by 64."""
    rows, layer, out = (np.ones(shape, np.float32) for shape in ((512, 64), (64, 64), (512, 64)))
    times = []
    for _ in range(50):
        started = time.perf_counter()
        np.matmul(rows, layer, out=out)
        times.append(time.perf_counter() - started)
    return 2e-9 * rows.size * 64 / min(times)


def products(model: PPO) -> float:
    """GFLOP of a frame: one pass forward, and one forward and backward in each epoch."""
    network = ActorCritic(model.policy)
    work = 0.0
    for layers in (network.actor.weights, network.critic.weights):
        sizes = [2e-9 * matrix.size for matrix in layers]
        work += sum(sizes) + model.n_epochs * (3.0 * sum(sizes) - sizes[0])
    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.chdir(tempfile.mkdtemp())
    scenario = scenario_64(100_000)
    for what, params in NETS.items():
        fast, stock = (Race(kind, scenario, params) for kind in (FastPPO, PPO))
        assert served(fast.model)
        gflops = []
        for _ in range(rounds):
            gflops.append(product())
            fast.round()
            stock.round()
        for name, race in (("FastPPO", fast), ("stock PPO", stock)):
            show(f"{name}, {what}", race, stock.best["all"])
        bound = max(gflops) / products(fast.model)
        print(f"{'':<36} products alone at {max(gflops):.0f} GFLOP/s: {bound:,.0f} frames/s")


def show(what: str, race: Race, stock: float) -> None:
    best = race.best
    frames = race.model.n_steps * race.model.n_envs
    rest = best["rollout"] - best["env"] - best["forward"]
    parts = {"env": best["env"], "forward": best["forward"], "rest of rollout": rest}
    split = "  ".join(
        f"{part} {1e6 * seconds / frames:.2f} us ({seconds / best['all']:.0%})"
        for part, seconds in {**parts, "update": best["update"]}.items()
    )
    rate = frames / best["all"]
    print(f"{what:<36} {rate:>9,.0f} frames/s  {stock / best['all']:.1f}x  {split}", flush=True)


if __name__ == "__main__":
    main()
