"""From ``configs/agents/*.yaml`` to a Stable-Baselines3 algorithm.

``params:`` are the library's own names, checked against its constructor. Where the library wants a
class (activation, optimiser) the file says a name from a short list; nothing is looked up by a
dotted path.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from mtquant.config.schema import AgentConfig
from mtquant.errors import ConfigError, unknown

LEARNERS: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "sac": SAC}
ACTIVATIONS: dict[str, type[torch.nn.Module]] = {
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "elu": torch.nn.ELU,
}
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
POLICY_KEYS = ("net_arch", "activation_fn", "log_std_init", "optimizer_class", "optimizer_kwargs")
# Decided by the trainer, not by an agent's file.
RESERVED = {"self", "policy", "env", "seed", "device", "verbose", "tensorboard_log"}
RESERVED |= {"_init_setup_model", "policy_kwargs", "stats_window_size"}


def build_learner(config: AgentConfig, env: VecEnv, seed: int) -> BaseAlgorithm:
    """The algorithm of an agent's configuration on the CPU.

    Raises:
        ConfigError: Unknown kind or parameter (names the nearest), or a value that the library
            refuses.
    """
    params = dict(config.params)
    algorithm = learner_class(config.kind)
    policy = policy_kwargs(params.pop("policy_kwargs", {}))
    accepted = set(inspect.signature(algorithm).parameters) - RESERVED
    for name in params:
        if name not in accepted:
            raise ConfigError(f"agent {config.kind}: {unknown('parameter', name, accepted)}")
    try:
        return algorithm(
            "MlpPolicy", env, policy_kwargs=policy, seed=seed, device="cpu", verbose=0, **params
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"agent {config.kind}: its parameters were refused: {error}") from None


def learner_class(kind: str) -> type[BaseAlgorithm]:
    """The algorithm behind a ``kind``.

    Raises:
        ConfigError: It is none that learns.
    """
    if kind not in LEARNERS:
        raise ConfigError(unknown("kind of learning agent", kind, LEARNERS))
    return LEARNERS[kind]


def policy_kwargs(chosen: dict[str, Any]) -> dict[str, Any]:
    """SB3's ``policy_kwargs`` with names replaced by classes.

    Raises:
        ConfigError: Unknown key, activation or optimiser.
    """
    resolved = dict(chosen)
    for key in resolved:
        if key not in POLICY_KEYS:
            raise ConfigError(f"policy_kwargs: {unknown('key', key, POLICY_KEYS)}")
    for key, classes in (("activation_fn", ACTIVATIONS), ("optimizer_class", OPTIMIZERS)):
        if key in resolved:
            name = str(resolved[key])
            if name not in classes:
                raise ConfigError(f"policy_kwargs: {unknown(key, name, classes)}")
            resolved[key] = classes[name]
    return resolved
