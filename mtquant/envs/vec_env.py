"""SB3VecEnv: the same lanes as a Stable-Baselines3 ``VecEnv``, without a Python loop over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvStepReturn

from mtquant.config.data import resolve_market, training_market
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.errors import ConfigError
from mtquant.sim.kernel import TRUNCATED
from mtquant.sim.summary import EpisodeSummary

Float32 = npt.NDArray[np.float32]


class SB3VecEnv(VecEnv):
    """``num_envs`` lanes of one scenario.

    Finished lanes carry ``terminal_observation``, ``TimeLimit.truncated``, SB3's ``episode`` record
    and ``episode_summary`` in their info; the infos of the others are empty and shared. The
    returned observations are a buffer that is written again two steps later.
    """

    render_mode = None

    def __init__(
        self, scenario: Scenario, num_envs: int, *, split: str = "train", training: bool = True
    ) -> None:
        self.scenario = scenario
        self.simulator = scenario.simulator(split, num_envs, training=training)
        bound = scenario.observation_bound()
        symbols = len(scenario.env.symbols)
        super().__init__(
            num_envs,
            gym.spaces.Box(-bound, bound, dtype=np.float32),
            gym.spaces.Box(-1.0, 1.0, (symbols,), np.float32),
        )
        self._actions = np.zeros((num_envs, symbols), np.float32)
        self._running: list[dict[str, Any]] = [{} for _ in range(num_envs)]
        self.finished: list[EpisodeSummary] = []
        self.simulator.seed(0)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed every lane from one integer, at once."""
        if seed is not None:
            self.simulator.seed(seed)
        return [seed] * self.num_envs

    def reset(self) -> Float32:
        """Start an episode in every lane; their ends are spread over the steps."""
        return self.simulator.reset(stagger=True)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the actions for the next :meth:`step_wait`."""
        if actions.shape != self._actions.shape:
            actions = np.reshape(actions, self._actions.shape)
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One bar of every lane."""
        result = self.simulator.step(self._actions)
        infos = self._running
        if result.finished:
            infos = list(self._running)
            for lane, (last, summary) in result.finished.items():
                infos[lane] = {
                    "terminal_observation": last,
                    "TimeLimit.truncated": bool(result.statuses[lane] == TRUNCATED),
                    "episode": {"r": summary.reward, "l": summary.bars, "t": 0.0},
                    "episode_summary": summary._asdict(),
                }
                self.finished.append(summary)
        return result.observations, result.rewards, result.over, infos

    def take_finished(self) -> list[EpisodeSummary]:
        """Episodes that ended since the last call."""
        finished, self.finished = self.finished, []
        return finished

    def close(self) -> None:
        """Nothing to release."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute, once per asked lane; lanes share everything."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: lanes have no attributes of their own."""
        raise AttributeError(f"lanes share one simulator; '{attr_name}' cannot be set on some")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refused: lanes are no objects."""
        raise AttributeError(f"lanes are no env objects and have no method '{method_name}'")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """False: nothing wraps a lane."""
        return [False] * len(list(self._get_indices(indices)))


def make_vec_env(
    name_or_config: Any,
    data: Any = None,
    n_envs: int = 128,
    seed: int = 0,
    *,
    split: str = "train",
    training: bool = True,
    **overrides: Any,
) -> SB3VecEnv:
    """A batched environment for Stable-Baselines3; arguments as for ``make_env``.

    Args:
        name_or_config: See :func:`mtquant.envs.trading.make_env`.
        data: See there.
        n_envs: Lanes.
        seed: Of all lanes.
        split: See there.
        training: See there.
        **overrides: See there.
    """
    if n_envs < 1:
        raise ConfigError(f"n_envs = {n_envs}: a batched env needs at least one lane")
    env = resolve_env(name_or_config, overrides)
    market = training_market(env, data) if training else resolve_market(env, data)
    scenario = Scenario.fit(env, market)
    batched = SB3VecEnv(scenario, n_envs, split=split, training=training)
    batched.seed(seed)
    return batched
