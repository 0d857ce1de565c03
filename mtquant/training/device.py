"""Which device learns: a GPU where there is one and a short trial shows that it is faster.

Small networks are not: a rollout asks for an action at every bar, and each way to the GPU and back
takes longer than the products. So nothing is taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from mtquant.config.schema import AgentConfig
from mtquant.envs.scenario import Scenario
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError
from mtquant.training.learner import build_learner
from mtquant.training.progress import Listener

SHORT_ROLLOUTS = 16  # of a learner that updates after every few bars
Trial = Callable[[Scenario, AgentConfig, str], float]


def update_seconds(
    scenario: Scenario, agent: AgentConfig, device: str, clock: Callable[[], float] = perf_counter
) -> float:
    """Seconds of one rollout with its update, after one that warms up.

    Args:
        scenario: What is learned from.
        agent: What learns.
        device: ``cpu`` or ``cuda``.
        clock: Monotonic seconds.
    """
    lanes = agent.learning.n_envs
    model = build_learner(agent, SB3VecEnv(scenario, lanes), 0, device)
    model.set_logger(Logger(None, []))
    frames, rollouts = lanes, SHORT_ROLLOUTS
    if isinstance(model, OnPolicyAlgorithm):
        frames, rollouts = lanes * model.n_steps, 1
    model.learn(frames + getattr(model, "learning_starts", 0))
    _wait(device)
    started = clock()
    model.learn(frames * rollouts, reset_num_timesteps=False)
    _wait(device)
    return (clock() - started) / rollouts


def on_device(
    agent: AgentConfig,
    scenario: Scenario,
    listener: Listener,
    *,
    trial: Trial = update_seconds,
    gpu: Callable[[], bool] = torch.cuda.is_available,
) -> AgentConfig:
    """The agent with ``device: auto`` decided; as it is where there is nothing to decide.

    Args:
        agent: What learns.
        scenario: What it is to learn from.
        listener: Is told what was measured.
        trial: Seconds of one rollout with its update.
        gpu: Whether there is one.

    Raises:
        ConfigError: ``device: cuda`` without a GPU.
    """
    if agent.device == "cuda" and not gpu():
        raise ConfigError("device cuda: torch finds no GPU here; say `device: auto` or `cpu`")
    if agent.device != "auto" or not gpu():
        return agent
    cpu, cuda = (trial(scenario, agent, device) for device in ("cpu", "cuda"))
    chosen = "cuda" if cuda < cpu else "cpu"
    listener.on_text(
        f"device   {chosen} (a rollout with its update: cpu {1e3 * cpu:.0f} ms, "
        f"cuda {1e3 * cuda:.0f} ms)"
    )
    return agent.model_copy(update={"device": chosen})


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
