"""Probes: what an action is worth, seen by living the same bars with it and without it.

A market does not answer a small account, so a bar can be lived twice. Every lane goes by the
policy's mean action. At each bar a copy of its account takes an action that the policy draws, and
then goes on as the lane does, through the same bars and with the same luck; what it earns more in
``bars`` bars is the advantage of that action. Prices and costs that both met cancel, so what is
left is what the action changed. Estimated from a lane alone, as usual, an advantage is mostly the
noise of prices.

What the lane earns depends on prices but not on the action drawn, so as a baseline it leaves the
policy's gradient unbiased (Mao, Venkatakrishnan, Schwarzkopf and Alizadeh 2019, input-driven
baselines). Copies of a visited state with common random numbers are the "vine" of Schulman, Levine,
Moritz, Jordan and Abbeel (2015).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mtquant.config.schema import ProbesConfig
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.sim.kernel import RUNNING, TERMINATED
from mtquant.sim.simulator import Simulator
from mtquant.training.mlp import ActorCritic, Array


class Probes:
    """``bars`` copies of every lane, one of them planted anew at each bar.

    Attributes:
        jumps: Odds that a lane goes to any position instead of the policy's, so that it comes
            into some that the policy alone would not hold.
    """

    def __init__(self, config: ProbesConfig, env: SB3VecEnv, gamma: float) -> None:
        """Lay out the copies.

        Args:
            config: How long each is followed, and the jumps.
            env: Whose lanes are copied.
            gamma: Discount of a bar.
        """
        self.config, self.gamma, self.jumps = config, gamma, config.jumps
        self.lanes = env.num_envs
        self._source, scenario = env.simulator, env.scenario
        self._copies = Simulator(
            self._source.tape,
            config.bars * self.lanes,
            bars_per_year=scenario.bars_per_year,
            reward=scenario.reward,
            others=self._source.others,
        )
        shape = (config.bars, self.lanes)
        self._observations = np.zeros((*shape, self._copies.width), np.float32)
        self._rewards, self._statuses = np.zeros(shape), np.zeros(shape, np.int64)
        # What each copy has earned more than its lane, whether it still runs beside it, and what
        # the next bar counts; the bar of the rollout that planted each row of copies, or -1.
        self._gained, self._runs = np.zeros(shape), np.zeros(shape, np.bool_)
        self._weight, self._planted = np.ones((config.bars, 1)), np.full(config.bars, -1)
        self._advantages = np.zeros((0, self.lanes))

    def move(self, done: float) -> None:
        """Set the odds of jumps for when a share of the frames is done."""
        self.jumps = self.config.jumps * max(1.0 - done / self.config.until, 0.0)

    def begin(self, steps: int, observations: Array) -> None:
        """A rollout of so many bars begins."""
        self._advantages = np.zeros((steps, self.lanes))
        self._planted[:] = -1
        self._runs[:] = False
        for row in range(self.config.bars):
            self._copy(np.full(self.lanes, row), np.arange(self.lanes), observations)

    def play(
        self, step: int, network: ActorCritic, observations: Array, means: Array, actions: Array
    ) -> Array:
        """Plant this bar's probes and move all by a bar.

        Args:
            step: Bar of the rollout.
            network: The policy.
            observations: What the lanes see, ``[N, O]``.
            means: Their mean actions, ``[N, S]``.
            actions: Drawn by the policy, ``[N, S]``: the probes.

        Returns:
            What the lanes are to do, ``[N, S]``.
        """
        row = step % self.config.bars
        self._harvest(row, network, observations)
        self._copy(np.full(self.lanes, row), np.arange(self.lanes), observations)
        self._planted[row], self._runs[row], self._gained[row] = step, True, 0.0
        self._weight[row] = 1.0
        played: Array = means.copy()
        asked = network.means(self._observations.reshape(-1, self._copies.width))
        asked = asked.reshape(*self._runs.shape, -1)
        if self.jumps:
            # Copies jump with their lane. A probe planted here would be set against the jump.
            jumping = torch.rand(self.lanes).numpy() < self.jumps
            played[jumping] = 2.0 * torch.rand(actions.shape).numpy()[jumping] - 1.0
            asked[:, jumping] = played[jumping]
            self._runs[row] &= ~jumping
        asked[row] = actions
        moved = self._copies.advance(asked.clip(-1.0, 1.0).reshape(self._copies.lanes, -1))
        self._observations[:] = moved.observations.reshape(self._observations.shape)
        self._rewards[:] = moved.rewards.reshape(self._runs.shape)
        self._statuses[:] = moved.statuses.reshape(self._runs.shape)
        return played

    def compare(
        self,
        network: ActorCritic,
        observations: Array,
        rewards: Array,
        dones: Array,
        infos: list[dict[str, Any]],
    ) -> None:
        """Count what the copies earned more than their lanes in the bar that both have played.

        Args:
            network: The policy.
            observations: What the lanes see now, of a new episode where one ended.
            rewards: Of the lanes, ``[N]``.
            dones: Whether a lane's episode ended.
            infos: Of the lanes, as from an :class:`SB3VecEnv`.
        """
        self._gained += np.where(self._runs, self._weight * (self._rewards - rewards), 0.0)
        self._weight *= self.gamma
        ended = (self._statuses != RUNNING) | dones
        rows, lanes = np.nonzero(self._runs & ended)
        if len(rows):
            seen, worthless = observations.copy(), np.zeros(self.lanes, np.bool_)
            for lane in np.flatnonzero(dones):
                seen[lane] = infos[lane]["terminal_observation"]
                worthless[lane] = not infos[lane]["TimeLimit.truncated"]
            ours = network.values(self._observations[rows, lanes])
            ours[self._statuses[rows, lanes] == TERMINATED] = 0.0
            theirs = np.where(worthless, 0.0, network.values(seen))[lanes]
            self._gained[rows, lanes] += self._weight[rows, 0] * (ours - theirs)
            self._runs[rows, lanes] = False
        rows, lanes = np.nonzero(ended)
        if len(rows):
            # What is over would run out of its bars.
            self._copy(rows, lanes, observations)

    def finish(self, network: ActorCritic, observations: Array) -> Array:
        """The advantages of the whole rollout, ``[T, N]``; the critic sees what was still ahead."""
        for row in range(self.config.bars):
            self._harvest(row, network, observations)
        return self._advantages

    def _harvest(self, row: int, network: ActorCritic, observations: Array) -> None:
        """Note the advantages of one row of copies; what is still ahead is the critic's word."""
        step, running = self._planted[row], self._runs[row]
        if step < 0:
            return
        ahead = network.values(self._observations[row]) - network.values(observations)
        ahead = np.where(running, self._weight[row] * ahead, 0.0)
        self._advantages[step] = self._gained[row] + ahead
        self._planted[row] = -1

    def _copy(self, rows: Array, lanes: Array, observations: Array) -> None:
        """Put copies where their lanes are, which see ``observations``."""
        self._copies.copy_lanes(self._source, lanes, rows * self.lanes + lanes)
        self._observations[rows, lanes] = observations[lanes]
