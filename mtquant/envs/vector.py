"""VectorTradingEnv: many accounts as a Gymnasium vector environment, reset in the same step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mtquant.envs.scenario import Scenario
from mtquant.sim.kernel import TERMINATED, TRUNCATED

Float32 = npt.NDArray[np.float32]


class VectorTradingEnv(VectorEnv[Float32, Float32, npt.NDArray[Any]]):
    """``num_envs`` lanes of one scenario; spaces and rules are those of ``TradingEnv``."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012  Gymnasium's attribute

    def __init__(
        self, scenario: Scenario, num_envs: int, *, split: str = "train", training: bool = True
    ) -> None:
        self.scenario = scenario
        self.num_envs = num_envs
        self.simulator = scenario.simulator(split, num_envs, training=training)
        bound = scenario.observation_bound()
        self.single_observation_space = gym.spaces.Box(-bound, bound, dtype=np.float32)
        symbols = len(scenario.env.symbols)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (symbols,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seeded = False

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32, dict[str, Any]]:
        """Start an episode in every lane; one integer seeds all of them."""
        if isinstance(seed, list):
            raise gym.error.Error("give one integer: it seeds every lane independently")
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self.simulator.seed(int(self.np_random.integers(2**63)) if seed is None else seed)
            self._seeded = True
        return self.simulator.reset(stagger=True).copy(), {}

    def step(
        self, actions: Float32
    ) -> tuple[Float32, Float32, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """One bar of every lane.

        ``infos["final_obs"]`` and ``infos["episode_summary"]`` hold the end of finished lanes,
        ``infos["_final_obs"]`` says which those are.
        """
        batch = np.asarray(actions, np.float32).reshape(self.action_space.shape)
        result = self.simulator.step(batch)
        infos: dict[str, Any] = {}
        if result.finished:
            final = np.full(self.num_envs, None, object)
            summaries = np.full(self.num_envs, None, object)
            for lane, (last, summary) in result.finished.items():
                final[lane], summaries[lane] = last, summary._asdict()
            done = result.statuses != 0
            infos = {"final_obs": final, "_final_obs": done}
            infos |= {"episode_summary": summaries, "_episode_summary": done}
        return (
            result.observations.copy(),
            result.rewards,
            result.statuses == TERMINATED,
            result.statuses == TRUNCATED,
            infos,
        )
