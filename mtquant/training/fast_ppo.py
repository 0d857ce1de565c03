"""Stable-Baselines3's PPO, two to eight times as fast on a CPU: the same algorithm in numpy.

With small networks most of an update goes into torch's bookkeeping, not into products. Here it is a
loop over minibatches of loss and gradient (:mod:`mtquant.training.ppo_loss`), clip and step
(:mod:`mtquant.training.adam`). Noise and minibatches come from the generators that SB3 draws from,
in its order; between updates policy and optimiser are SB3's own, so both may take turns. What is
not served (see :func:`served`) runs as SB3 wrote it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv

from mtquant.training.adam import Adam
from mtquant.training.band import BandPolicy
from mtquant.training.mlp import ActorCritic, Array
from mtquant.training.ppo_loss import Objective, Parts, Samples, clip_norm, log_density
from mtquant.training.probes import Probes
from mtquant.training.sparse import SparseAdamW


def served(model: PPO) -> bool:
    """Whether numpy can do what this PPO was asked to do.

    That is: float32 vectors in, a diagonal Gaussian out, separate MLPs with tanh or ReLU, a linear
    or a band head, and Adam or AdamW on the CPU, alike for all parameters but for a threshold.
    """
    policy, optimizer = model.policy, model.policy.optimizer
    spaces_fit = all(
        isinstance(space, spaces.Box) and space.dtype == np.float32 and len(space.shape) == 1
        for space in (model.observation_space, model.action_space)
    )
    return (
        spaces_fit
        and type(policy) in (ActorCriticPolicy, BandPolicy)
        and type(policy.features_extractor) is FlattenExtractor
        and type(policy.action_dist) is DiagGaussianDistribution
        and policy.activation_fn in (torch.nn.Tanh, torch.nn.ReLU)
        and type(model.rollout_buffer) is RolloutBuffer
        and type(optimizer) in (torch.optim.Adam, torch.optim.AdamW, SparseAdamW)
        and _one_rule(optimizer)
        and not (optimizer.defaults["amsgrad"] or optimizer.defaults["maximize"])
        and all(
            (parameter.requires_grad or parameter is policy.log_std)
            and parameter.dtype == torch.float32
            and parameter.device.type == "cpu"
            for parameter in policy.parameters()
        )
    )


def _one_rule(optimizer: torch.optim.Optimizer) -> bool:
    """Whether all parameters are stepped alike but for their threshold."""
    own = ("params", "sparsity")
    first, *others = (
        {key: value for key, value in group.items() if key not in own}
        for group in optimizer.param_groups
    )
    return all(other == first for other in others)


class FastPPO(PPO):
    """Drop-in for :class:`stable_baselines3.PPO`.

    A callback's ``locals`` hold no ``values`` and ``log_probs``: they are computed once a rollout
    is whole.

    Attributes:
        probes: Judge the actions in place of the lanes' own rewards; None as in SB3.
    """

    probes: Probes | None = None

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """See SB3; False where a callback ended the training."""
        if not served(self) or n_rollout_steps != rollout_buffer.buffer_size:
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        network, bounds = ActorCritic(self.policy), self.action_space
        assert isinstance(bounds, spaces.Box)
        means, std = np.empty_like(rollout_buffer.actions), network.std()
        new_obs: Any = self._last_obs
        probes = self.probes
        if probes is not None:
            probes.begin(n_rollout_steps, new_obs)
        for step, actions in enumerate(rollout_buffer.actions):
            rollout_buffer.observations[step] = new_obs
            rollout_buffer.episode_starts[step] = self._last_episode_starts
            means[step] = network.means(new_obs)
            actions[...] = means[step] + torch.randn(actions.shape).numpy() * std
            played = actions
            if probes is not None:
                played = probes.play(step, network, new_obs, means[step], actions)
            clipped_actions = played.clip(bounds.low, bounds.high)
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            if probes is not None:
                probes.compare(network, new_obs, rewards, dones, infos)
            self._take_news(network, rewards, dones, infos)
            rollout_buffer.rewards[step] = rewards
            rollout_buffer.pos = step + 1
            self._last_obs, self._last_episode_starts = new_obs, dones
        rollout_buffer.full = True
        self._judge(network, means, new_obs, dones)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _take_news(
        self, network: ActorCritic, rewards: Array, dones: Array, infos: list[dict[str, Any]]
    ) -> None:
        """Note finished episodes; where one was only cut off, add what was still to come."""
        lanes = [lane for lane, info in enumerate(infos) if info]
        if not lanes:
            return
        self._update_info_buffer([infos[lane] for lane in lanes], dones[lanes])
        cut = [
            lane
            for lane in lanes
            if dones[lane]
            and infos[lane].get("TimeLimit.truncated", False)
            and infos[lane].get("terminal_observation") is not None
        ]
        if cut:
            final = np.stack([infos[lane]["terminal_observation"] for lane in cut])
            rewards[cut] += self.gamma * network.values(final)

    @np.errstate(all="ignore")
    def _judge(self, network: ActorCritic, means: Array, new_obs: Array, dones: Array) -> None:
        """Fill in the values, log densities and advantages of a whole rollout."""
        buffer = self.rollout_buffer
        observations = buffer.observations.reshape(-1, *buffer.obs_shape)
        buffer.values[...] = network.values(observations).reshape(buffer.values.shape)
        flat = means.reshape(-1, means.shape[-1])
        density, _ = log_density(buffer.actions.reshape(flat.shape), flat, network.log_std)
        buffer.log_probs[...] = density.reshape(buffer.log_probs.shape)
        last = torch.from_numpy(network.values(new_obs))
        buffer.compute_returns_and_advantage(last, dones)
        if self.probes is not None:
            # Their size does not matter; 0 does, which is what the mean action is worth.
            found = self.probes.finish(network, new_obs)
            buffer.advantages[...] = found / max(float(np.sqrt(np.mean(found**2))), 1e-12)

    def train(self) -> None:
        """One update from the rollout buffer; see SB3."""
        if not served(self):
            return super().train()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        remaining = self._current_progress_remaining
        clip: Any = self.clip_range
        clip_vf: Any = self.clip_range_vf
        limit_vf = None if clip_vf is None else clip_vf(remaining)
        objective = Objective(clip(remaining), limit_vf, self.ent_coef, self.vf_coef)
        network = ActorCritic(self.policy)
        optimizer = Adam(self.policy.optimizer, network)
        try:
            parts, last_epoch = self._epochs(objective, network, optimizer)
        finally:
            network.write()
            optimizer.write()
        self._log(objective, parts, last_epoch)

    @np.errstate(all="ignore")
    def _epochs(
        self, objective: Objective, network: ActorCritic, optimizer: Adam
    ) -> tuple[list[Parts], int]:
        """Passes over the rollout until the policy has moved too far; where the last one began."""
        samples = Samples.of(self.rollout_buffer)
        parts: list[Parts] = []
        for _ in range(self.n_epochs):
            last_epoch, self._n_updates = len(parts), self._n_updates + 1
            order = np.random.permutation(len(samples.values))
            for begin in range(0, len(order), self.batch_size):
                rows = order[begin : begin + self.batch_size]
                advantages = samples.advantages_of(rows, normalize=self.normalize_advantage)
                parts.append(objective.gradient(network, samples, rows, advantages))
                if self.target_kl is not None and parts[-1].approx_kl > 1.5 * self.target_kl:
                    return parts, last_epoch
                clip_norm(network.gradient, self.max_grad_norm)
                optimizer.step()
        return parts, last_epoch

    def _log(self, objective: Objective, parts: list[Parts], last_epoch: int) -> None:
        record, buffer = self.logger.record, self.rollout_buffer
        means = Parts(*np.mean(parts, axis=0))
        record("train/entropy_loss", means.entropy_loss)
        record("train/policy_gradient_loss", means.policy_loss)
        record("train/value_loss", means.value_loss)
        record("train/approx_kl", np.mean([part.approx_kl for part in parts[last_epoch:]]))
        record("train/clip_fraction", means.clip_fraction)
        record("train/loss", objective.loss(parts[-1]))
        values, returns = buffer.values.flatten(), buffer.returns.flatten()
        record("train/explained_variance", explained_variance(values, returns))
        record("train/std", self.policy.log_std.exp().mean().item())
        record("train/n_updates", self._n_updates, exclude="tensorboard")
        record("train/clip_range", objective.clip_range)
        if objective.clip_range_vf is not None:
            record("train/clip_range_vf", objective.clip_range_vf)
