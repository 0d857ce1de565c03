"""From ``configs/agents/*.yaml`` to a Stable-Baselines3 algorithm.

``params:`` are the library's own names, checked against its constructor. Where the library wants a
class (activation, optimiser, noise) the file says a name from a short list; nothing is looked up by
a dotted path. Where it wants a function of progress the file says ``{from: ..., to: ...}``.
"""

from __future__ import annotations

import inspect
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import (
    ActionNoise,
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from mtquant.config.schema import AgentConfig, ProbesConfig
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError, unknown
from mtquant.training.band import resolve_head
from mtquant.training.extractors import resolve_extractor
from mtquant.training.fast_ppo import FastPPO, served
from mtquant.training.probes import Probes
from mtquant.training.schedules import Schedule, deviation_of, with_entropy
from mtquant.training.sparse import SparseAdamW

LEARNERS: dict[str, type[BaseAlgorithm]] = {
    "ppo": FastPPO,
    "a2c": A2C,
    "sac": SAC,
    "td3": TD3,
    "ppo_recurrent": RecurrentPPO,
}
POLICIES = {"ppo_recurrent": "MlpLstmPolicy"}
ACTIVATIONS: dict[str, type[torch.nn.Module]] = {
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "elu": torch.nn.ELU,
}
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sparse_adamw": SparseAdamW,
}
# Constructor of each, and the names of it that a file may set beside ``sigma``.
NOISES: dict[str, tuple[type[ActionNoise], tuple[str, ...]]] = {
    "normal": (NormalActionNoise, ()),
    "ornstein_uhlenbeck": (OrnsteinUhlenbeckActionNoise, ("theta", "dt")),
}
POLICY_KEYS: tuple[str, ...] = (
    "net_arch",
    "activation_fn",
    "log_std_init",
    "optimizer_class",
    "optimizer_kwargs",
    "features_extractor_class",
    "features_extractor_kwargs",
    "action_head",
)
RECURRENT_KEYS = ("lstm_hidden_size", "n_lstm_layers", "shared_lstm", "enable_critic_lstm")
# Decided by the trainer, not by an agent's file.
RESERVED = {"self", "policy", "env", "seed", "device", "verbose", "tensorboard_log"}
SHARES = {"gamma", "gae_lambda", "tau", "clip_range"}
COUNTS = {"batch_size", "n_steps", "n_epochs", "buffer_size", "train_freq", "policy_delay"}
SCHEDULED = {"learning_rate", "clip_range", "ent_coef"}
RESERVED |= {"_init_setup_model", "policy_kwargs", "stats_window_size"}


def build_learner(
    config: AgentConfig, env: VecEnv, seed: int, device: str = "cpu"
) -> BaseAlgorithm:
    """The algorithm of an agent's configuration, its networks on ``device``.

    Raises:
        ConfigError: Unknown kind or parameter (names the nearest), or a value that the library
            refuses.
    """
    params = dict(config.params)
    algorithm = learner_class(config.kind)
    policy, own = _policy(config, params.pop("policy_kwargs", {}), env)
    signature = inspect.signature(algorithm).parameters
    accepted = set(signature) - RESERVED
    for name, value in params.items():
        if name not in accepted:
            raise ConfigError(f"agent {config.kind}: {unknown('parameter', name, accepted)}")
        default = signature[name].default
        params[name] = _argument(config.kind, name, value, default, env)
    if params.get("use_rms_prop", "use_rms_prop" in accepted):
        _check_optimizer(config.kind, own)
    entropy = params.get("ent_coef")
    if isinstance(entropy, Schedule):
        algorithm, params["ent_coef"] = with_entropy(algorithm, entropy), entropy.first
    try:
        model = algorithm(
            policy,
            env,
            policy_kwargs=own,
            seed=seed,
            device=device,
            verbose=0,
            **params,
        )
    except (TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"agent {config.kind}: its parameters were refused: {reason}") from None
    if config.learning.exploration is not None:
        deviation_of(model)
    if config.learning.probes is not None:
        _probe(model, config.learning.probes, config.kind, env)
    return model


def _probe(model: BaseAlgorithm, probes: ProbesConfig, kind: str, env: VecEnv) -> None:
    """Let probes judge the actions of a model."""
    if not (isinstance(model, FastPPO) and served(model) and isinstance(env, SB3VecEnv)):
        raise ConfigError(
            f"agent {kind}: learning.probes serves ppo on the CPU, with separate layers of tanh or "
            "relu, adam or adamw and no extractor"
        )
    model.probes = Probes(probes, env, model.gamma)


def _policy(
    config: AgentConfig, chosen: dict[str, Any], env: VecEnv
) -> tuple[str | type[ActorCriticPolicy], dict[str, Any]]:
    """The policy, by SB3's name or its class, and its arguments."""
    resolved = policy_kwargs(chosen, config.kind)
    columns = len(env.scenario.inputs) if isinstance(env, SB3VecEnv) else 0
    resolved = resolve_extractor(resolved, config.window, columns)
    hands = config.learning.probes is not None
    head, resolved = resolve_head(resolved, config.kind, env, hands=hands)
    return head or POLICIES.get(config.kind, "MlpPolicy"), resolved


def _argument(kind: str, name: str, value: Any, default: Any, env: VecEnv) -> Any:
    """What the library is given for a value of the file."""
    if name == "action_noise":
        return action_noise(kind, value, int(np.prod(env.action_space.shape or (1,))))
    if name in SCHEDULED and isinstance(default, float) and isinstance(value, dict):
        schedule = Schedule.parse(value, f"agent {kind}: {name}")
        for end in (schedule.first, schedule.last):
            _check_value(kind, name, end, default)
        return schedule
    _check_value(kind, name, value, default)
    return value


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


def _check_optimizer(kind: str, policy: dict[str, Any]) -> None:
    """Refuse options that A2C would replace by those of its own optimiser."""
    if "optimizer_kwargs" in policy and "optimizer_class" not in policy:
        raise ConfigError(
            f"agent {kind}: optimizer_kwargs go with an optimizer_class or use_rms_prop: false"
        )


def learner_class(kind: str) -> type[BaseAlgorithm]:
    """The algorithm behind a ``kind``.

    Raises:
        ConfigError: It is none that learns.
    """
    if kind not in LEARNERS:
        raise ConfigError(unknown("kind of learning agent", kind, LEARNERS))
    return LEARNERS[kind]


def action_noise(agent: str, chosen: Any, symbols: int) -> ActionNoise | None:
    """Exploration noise from ``{kind: normal, sigma: 0.2}``; SB3 gives each lane its own.

    Args:
        agent: Kind of agent, for messages.
        chosen: The mapping; None for no noise.
        symbols: Width of an action.

    Raises:
        ConfigError: Unknown kind or key, or a value that is no number, 0 or above.
    """
    if chosen is None:
        return None
    where = f"agent {agent}: action_noise"
    if not isinstance(chosen, dict) or not {"kind", "sigma"} <= set(chosen):
        raise ConfigError(f"{where} = {chosen!r} must be like {{kind: normal, sigma: 0.2}}")
    kind = str(chosen["kind"])
    if kind not in NOISES:
        raise ConfigError(f"{where}: {unknown('kind', kind, NOISES)}")
    noise, options = NOISES[kind]
    numbers = {key: value for key, value in chosen.items() if key != "kind"}
    for key, value in numbers.items():
        if key not in ("sigma", *options):
            raise ConfigError(f"{where}: {unknown('key', str(key), ('sigma', *options))}")
        _check_value(agent, f"action_noise.{key}", value, 0.0)
    sigma = np.full(symbols, float(numbers.pop("sigma")))
    return noise(np.zeros(symbols), sigma, **numbers)  # type: ignore[call-arg]


def policy_kwargs(chosen: dict[str, Any], kind: str = "ppo") -> dict[str, Any]:
    """SB3's ``policy_kwargs`` with names of activations and optimisers replaced by classes.

    ``features_extractor_class`` and ``action_head`` need the env, and stay as they are.

    Raises:
        ConfigError: Unknown key, activation or optimiser.
    """
    if not isinstance(chosen, dict):
        raise ConfigError(f"policy_kwargs must map names to values, found {chosen!r}")
    resolved = dict(chosen)
    known = POLICY_KEYS + (RECURRENT_KEYS if kind == "ppo_recurrent" else ())
    for key in resolved:
        if key not in known:
            raise ConfigError(f"policy_kwargs: {unknown('key', key, known)}")
    for key, classes in (("activation_fn", ACTIVATIONS), ("optimizer_class", OPTIMIZERS)):
        if key in resolved:
            name = str(resolved[key])
            if name not in classes:
                raise ConfigError(f"policy_kwargs: {unknown(key, name, classes)}")
            resolved[key] = classes[name]
    return resolved
