"""From ``configs/agents/*.yaml`` to a Stable-Baselines3 algorithm.

``params:`` are the library's own names, checked against its constructor. Where the library wants a
class (activation, optimiser) the file says a name from a short list; nothing is looked up by a
dotted path.
"""

from __future__ import annotations

import inspect
from math import inf, isfinite
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
SHARES = {"gamma", "gae_lambda", "tau", "clip_range"}
COUNTS = {"batch_size", "n_steps", "n_epochs", "buffer_size", "train_freq"}
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
    signature = inspect.signature(algorithm).parameters
    accepted = set(signature) - RESERVED
    for name, value in params.items():
        if name not in accepted:
            raise ConfigError(f"agent {config.kind}: {unknown('parameter', name, accepted)}")
        _check_value(config.kind, name, value, signature[name].default)
    try:
        return algorithm(
            "MlpPolicy", env, policy_kwargs=policy, seed=seed, device="cpu", verbose=0, **params
        )
    except (TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"agent {config.kind}: its parameters were refused: {reason}") from None


def _check_value(kind: str, name: str, value: Any, default: Any) -> None:
    """Refuse a value of another type than the library's default; SB3 itself would find out late."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        least = 1 if name in COUNTS else -1
        fits, wanted = number and isinstance(value, int) and value >= least, "a whole number"
        wanted += " above 0" if name in COUNTS else ""
    elif isinstance(default, float):
        most = 1.0 if name in SHARES else inf
        fits, wanted = number and 0 <= value <= most, "a number, 0 or above"
        wanted += " and at most 1" if name in SHARES else ""
    elif isinstance(default, str):
        automatic = isinstance(value, str) and value.startswith(default)
        fits, wanted = number or automatic, f"a number or '{default}'"
    else:
        return
    if not fits:
        raise ConfigError(f"agent {kind}: {name} = {value!r} must be {wanted}")


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
    if not isinstance(chosen, dict):
        raise ConfigError(f"policy_kwargs must map names to values, found {chosen!r}")
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
