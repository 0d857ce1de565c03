"""PPO's clipped loss and its gradient by hand, for a diagonal Gaussian.

Derivatives are taken at the networks' outputs only (log density, mean, deviation, value);
:mod:`mtquant.training.mlp` carries them on to the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt
from typing import NamedTuple

import numpy as np
from stable_baselines3.common.buffers import RolloutBuffer

from mtquant.training.mlp import ROWS, ActorCritic, Array

LOG_SQRT_2PI = 0.5 * log(2.0 * pi)


@dataclass(frozen=True)
class Samples:
    """Rows of a rollout, in the order in which SB3 counts them.

    Attributes:
        observations: ``[n, O + 1]``, the last column 1.
        actions: ``[n, A]``, before they were clipped.
        values: ``[n]``, of the policy that acted.
        log_probs: ``[n]``, as ``values``.
        advantages: ``[n]``.
        returns: ``[n]``.
    """

    observations: Array
    actions: Array
    values: Array
    log_probs: Array
    advantages: Array
    returns: Array

    @classmethod
    def of(cls, buffer: RolloutBuffer) -> Samples:
        """All rows of a full buffer, which stays as it is."""
        flat = buffer.swap_and_flatten
        observations = np.ones((buffer.values.size, buffer.obs_shape[0] + 1), np.float32)
        observations[:, :-1] = flat(buffer.observations)
        columns = (buffer.values, buffer.log_probs, buffer.advantages, buffer.returns)
        return cls(observations, flat(buffer.actions), *(flat(column)[:, 0] for column in columns))

    def advantages_of(self, rows: Array, *, normalize: bool) -> Array:
        """Of one minibatch, with mean 0 and deviation 1 where SB3 would do that."""
        advantages = self.advantages[rows]
        if not normalize or len(rows) == 1:
            return advantages
        normal: Array = (advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)
        return normal


def log_density(actions: Array, means: Array, log_std: Array) -> tuple[Array, Array]:
    """Of a diagonal Gaussian.

    Args:
        actions: ``[n, A]``.
        means: ``[n, A]``.
        log_std: ``[A]``.

    Returns:
        Log density ``[n]``; and the actions' distance from their means in deviations, ``[n, A]``.

    Raises:
        ValueError: The network diverged, where torch would refuse the distribution.
    """
    distance = (actions - means) / np.exp(log_std)
    constant = log_std.sum() + LOG_SQRT_2PI * len(log_std)
    density: Array = -0.5 * np.einsum("na,na->n", distance, distance) - constant
    if not np.isfinite(density).all():
        raise ValueError("the actor's mean action or deviation is no longer finite")
    return density, distance


class Parts(NamedTuple):
    """What SB3 logs of a minibatch."""

    policy_loss: float
    value_loss: float
    entropy_loss: float
    approx_kl: float
    clip_fraction: float


@dataclass(frozen=True)
class Objective:
    """PPO's clipped loss (Schulman et al. 2017); coefficients under SB3's names."""

    clip_range: float
    clip_range_vf: float | None
    ent_coef: float
    vf_coef: float

    def loss(self, parts: Parts) -> float:
        """What is minimised."""
        entropy, value = self.ent_coef * parts.entropy_loss, self.vf_coef * parts.value_loss
        return parts.policy_loss + entropy + value

    def gradient(
        self, network: ActorCritic, samples: Samples, rows: Array, advantages: Array
    ) -> Parts:
        """Leave the loss's gradient over one minibatch in ``network.gradient``.

        Args:
            network: Its weights are where the gradient is taken.
            samples: All.
            rows: Of the minibatch.
            advantages: Of these rows, ``[n]``.
        """
        network.gradient.fill(0.0)
        network.log_std_gradient -= self.ent_coef
        sums = np.zeros(4)
        for begin in range(0, len(rows), ROWS):
            some = slice(begin, begin + ROWS)
            sums += self._add(network, samples, rows[some], advantages[some], 1.0 / len(rows))
        policy_loss, value_loss, approx_kl, clip_fraction = (sums / len(rows)).tolist()
        entropy = float(network.log_std.sum()) + (0.5 + LOG_SQRT_2PI) * len(network.log_std)
        return Parts(policy_loss, value_loss, -entropy, approx_kl, clip_fraction)

    def _add(
        self, network: ActorCritic, samples: Samples, rows: Array, advantages: Array, share: float
    ) -> tuple[float, ...]:
        """Forward, loss and backward for some rows of a minibatch, each with its ``share``."""
        np.take(samples.observations, rows, 0, network.first[: len(rows)], "clip")
        means, values = network.forward(len(rows))
        log_probs, distance = log_density(samples.actions[rows], means, network.log_std)

        log_ratio = log_probs - samples.log_probs[rows]
        ratio = np.exp(log_ratio)
        gain = advantages * ratio
        capped = advantages * ratio.clip(1.0 - self.clip_range, 1.0 + self.clip_range)
        by_log_prob = np.where(gain <= capped, -share * gain, 0.0)[:, None]

        before, limit = samples.values[rows], self.clip_range_vf
        error = values - samples.returns[rows]
        by_value = (2.0 * self.vf_coef * share) * error
        if limit is not None:
            change = values - before
            error = before + change.clip(-limit, limit) - samples.returns[rows]
            by_value = np.where(np.abs(change) <= limit, (2.0 * self.vf_coef * share) * error, 0.0)

        network.add_gradient(
            by_log_prob * distance / network.std(),
            np.sum(by_log_prob * (distance * distance - 1.0), axis=0),
            by_value[:, None],
            share,
            distance,
        )
        clipped = int(np.count_nonzero(np.abs(ratio - 1.0) > self.clip_range))
        kl = np.sum(ratio - 1.0 - log_ratio)
        return -np.minimum(gain, capped).sum(), np.dot(error, error), kl, clipped


def clip_norm(gradient: Array, most: float) -> None:
    """Scale a gradient down to a Euclidean norm of ``most``."""
    norm = sqrt(np.dot(gradient, gradient))
    gradient *= min(most / (norm + 1e-6), 1.0)
