"""A learner between two updates: everything that decides what it does next.

Networks and optimisers, lanes, replay buffer, the generators of torch, numpy, Python and the action
space, noise that remembers, hidden states. The algorithm itself is built again from its
configuration; its learning rate and schedules follow from the frames.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import VectorizedActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from mtquant.envs.vec_env import SB3VecEnv
from mtquant.training.replay import Segment, refill, rows_since

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """A learner's state, in memory.

    Attributes:
        frames: Trained.
        modules: States of policy and optimisers.
        tensors: Single tensors that are trained, and hidden states.
        arrays: Lanes, episode starts, noise and the generators that SB3 draws from.
        facts: JSON values: counters, episodes that ended lately, the action space's generator.
        replay: Rows of the replay buffer.
    """

    frames: int
    modules: dict[str, Any]
    tensors: dict[str, Any]
    arrays: Arrays
    facts: dict[str, Any]
    replay: tuple[Segment, ...] = field(default=(), repr=False)

    @classmethod
    def take(cls, model: BaseAlgorithm, before: Snapshot | None = None) -> Snapshot:
        """Copy a learner's state.

        Args:
            model: The learner, between two updates.
            before: The snapshot before; its rows of the replay buffer are not copied again.
        """
        env = _lanes(model)
        replay: tuple[Segment, ...] = ()
        if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
            added = model.num_timesteps // model.n_envs
            replay = rows_since(model.replay_buffer, added, before.replay if before else ())
        arrays = {
            "episode_starts": np.array(model._last_episode_starts),
            "noise": np.array([noise.noise_prev for noise in _noises(model)]),
            **_generators(model.device),
            **env.simulator.state(),
        }
        variables = {name: getattr(model, name).data for name in _variables(model)}
        memory = getattr(model, "_last_lstm_states", None)
        hidden = [list(pair) for pair in memory] if memory is not None else []
        recent = [[episode["r"], episode["l"]] for episode in model.ep_info_buffer or ()]
        facts = {
            "updates": model._n_updates,
            "episodes": model._episode_num,
            "recent": recent,
            "actions": model.action_space.np_random.bit_generator.state,
        }
        modules = copy.deepcopy(model.get_parameters())
        tensors = copy.deepcopy({"variables": variables, "hidden": hidden})
        return cls(model.num_timesteps, modules, tensors, arrays, facts, replay)

    def restore(self, model: BaseAlgorithm) -> None:
        """Bring a freshly built learner to this state."""
        env, facts = _lanes(model), self.facts
        model.set_parameters(self.modules)
        for name, value in self.tensors["variables"].items():
            getattr(model, name).data.copy_(value)
        if self.tensors["hidden"]:
            states: Any = model._last_lstm_states  # type: ignore[attr-defined]
            pairs = (
                tuple(part.to(model.device) for part in pair) for pair in self.tensors["hidden"]
            )
            model._last_lstm_states = type(states)(*pairs)  # type: ignore[attr-defined]
        if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
            refill(model.replay_buffer, self.replay, self.frames // model.n_envs)
        model._last_obs = env.simulator.restore(self.arrays)
        model._last_episode_starts = self.arrays["episode_starts"]
        model.num_timesteps = self.frames
        model._n_updates, model._episode_num = facts["updates"], facts["episodes"]
        recent = [{"r": r, "l": bars, "t": 0.0} for r, bars in facts["recent"]]
        model.ep_info_buffer = deque(recent, maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
        model.action_space.np_random.bit_generator.state = facts["actions"]
        _set_generators(self.arrays, model.device)

    def restore_noise(self, model: BaseAlgorithm) -> None:
        """The same for noise that remembers, which SB3 clears when learning begins."""
        for noise, value in zip(_noises(model), self.arrays["noise"], strict=True):
            noise.noise_prev = value.copy()


def _lanes(model: BaseAlgorithm) -> SB3VecEnv:
    env = model.env
    assert isinstance(env, SB3VecEnv)
    return env


def _variables(model: BaseAlgorithm) -> list[str]:
    """Names of trained tensors that are part of no module, such as SAC's temperature."""
    return model._get_torch_save_params()[1]


def _noises(model: BaseAlgorithm) -> list[Any]:
    noise = model.action_noise
    noises = noise.noises if isinstance(noise, VectorizedActionNoise) else [noise]
    return [one for one in noises if hasattr(one, "noise_prev")]


def _generators(device: torch.device) -> Arrays:
    on_gpu = device.type == "cuda"
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    _, python, pending = random.getstate()
    return {
        "torch_rng": torch.get_rng_state().numpy().copy(),
        "cuda_rng": torch.cuda.get_rng_state(device).numpy() if on_gpu else np.zeros(0, np.uint8),
        "numpy_keys": np.array(keys),
        "numpy_rest": np.array([position, has_gauss]),
        "numpy_gauss": np.array([gauss]),
        "python_rng": np.array(python, np.uint32),
        "python_gauss": np.array([] if pending is None else [pending]),
    }


def _set_generators(arrays: Arrays, device: torch.device) -> None:
    torch.set_rng_state(torch.from_numpy(arrays["torch_rng"]))
    if device.type == "cuda" and arrays["cuda_rng"].size:
        torch.cuda.set_rng_state(torch.from_numpy(arrays["cuda_rng"]), device)
    position, has_gauss = arrays["numpy_rest"].tolist()
    gauss = float(arrays["numpy_gauss"][0])
    np.random.set_state(("MT19937", arrays["numpy_keys"], position, has_gauss, gauss))
    pending = arrays["python_gauss"].tolist()
    version = random.getstate()[0]
    random.setstate(
        (version, tuple(arrays["python_rng"].tolist()), pending[0] if pending else None)
    )
