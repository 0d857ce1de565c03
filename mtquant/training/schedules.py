"""What changes while an agent learns, as a function of the share of its frames that is done.

    Schedule           a parameter of SB3 that goes from one value to another
    ScheduledEntropy   lets ``ent_coef`` follow one, which SB3 itself wants constant
    CostRamp           training episodes whose costs grow to what they truly are
    Exploration        sets the deviation of the actions, which is then not learned

Nothing here has a memory that a resumed run would need: the share alone decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, isfinite, log, pi
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import DiagGaussianDistribution

from mtquant.config.schema import CurriculumConfig, ExplorationConfig
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError, unknown

SHAPES = ("linear", "cosine", "geometric")
ENDS = ("from", "to")
LEAST_FACTOR = 1e-9  # of costs; so small that it rounds to no tick, and yet can be divided by


@dataclass(frozen=True)
class Schedule:
    """A value for each share of the frames that remains, as SB3 asks for it: 1 at first, then 0.

    Attributes:
        first: Value at the beginning.
        last: Value at the end, and after it.
        shape: ``linear``; ``cosine``: half a wave, slow at both ends; or ``geometric``: by the
            same factor over equal shares, between values above 0.
    """

    first: float
    last: float
    shape: str = "linear"

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Schedule:
        """From ``{from: 0.0003, to: 0.00003, shape: cosine}``; the shape may be left out.

        Raises:
            ConfigError: A key is missing or unknown, an end no number, the shape unknown, or an
                end that is not above 0 where it is geometric.
        """
        for key in values:
            if key not in (*ENDS, "shape"):
                raise ConfigError(f"{where}: {unknown('key', str(key), (*ENDS, 'shape'))}")
        for end in ENDS:
            if end not in values:
                raise ConfigError(f"{where}: the key '{end}' is missing")
            value = values[end]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not isfinite(value):
                raise ConfigError(f"{where}.{end} = {value!r} must be a number")
        shape = str(values.get("shape", "linear"))
        if shape not in SHAPES:
            raise ConfigError(f"{where}: {unknown('shape', shape, SHAPES)}")
        for end in ENDS:
            if shape == "geometric" and values[end] <= 0:
                raise ConfigError(f"{where}.{end} = {values[end]!r} must be above 0 if geometric")
        return cls(float(values["from"]), float(values["to"]), shape)

    def __call__(self, remaining: float) -> float:
        """The value; a last rollout that goes beyond the end keeps the last one."""
        done = min(max(1.0 - remaining, 0.0), 1.0)
        if self.shape == "geometric":
            return float(self.first ** (1.0 - done) * self.last**done)
        if self.shape == "cosine":
            done = 0.5 * (1.0 - cos(pi * done))
        return self.first + (self.last - self.first) * done


class ScheduledEntropy:
    """Mixed into an algorithm before it: each update sets ``ent_coef`` as SB3 sets its rates."""

    entropy: Schedule
    ent_coef: float

    def train(self: Any) -> None:
        """One update of the algorithm."""
        self.ent_coef = self.entropy(self._current_progress_remaining)
        self.logger.record("train/ent_coef", self.ent_coef)
        super().train()  # type: ignore[misc]  # the algorithm's, which comes next


def with_entropy(algorithm: type[BaseAlgorithm], entropy: Schedule) -> type[BaseAlgorithm]:
    """The algorithm, with an ``ent_coef`` that follows a schedule."""
    return type(algorithm.__name__, (ScheduledEntropy, algorithm), {"entropy": entropy})


class CostRamp:
    """Multiplies spread, slippage and commission of training lanes by a factor that grows to 1.

    The env's own randomisation stays: each lane keeps the dearness that its episode drew, times the
    factor. What is observed, and what validation and test pay, does not change.
    """

    def __init__(self, curriculum: CurriculumConfig, env: SB3VecEnv) -> None:
        self.curriculum = curriculum
        self.drawn = env.scenario.env.costs.randomise
        self.account, self.tapes = env.simulator.book.account, env.simulator.tapes
        rules = self.tapes[0].rules[0]
        self.fees = float(rules["commission_per_fill"]), float(rules["commission_fraction"])
        self.per_step = [tape.contracts["commission"].copy() for tape in self.tapes]
        self.factor = 1.0

    def at(self, done: float) -> float:
        """The factor when a share of the frames is done."""
        costs, until = self.curriculum.costs, self.curriculum.until
        return max(costs + (1.0 - costs) * min(done / until, 1.0), LEAST_FACTOR)

    def resume(self, done: float) -> None:
        """Take lanes over that were left at ``done``."""
        self.factor = self.at(done)

    def move(self, done: float) -> None:
        """Set the costs of running episodes and of those to come."""
        factor = self.at(done)
        if factor != self.factor:
            self.account["cost_factor"] *= factor / self.factor
        self.factor = factor
        per_fill, fraction = self.fees
        for tape, per_step in zip(self.tapes, self.per_step, strict=True):
            rules = tape.rules[0]
            rules["cheapest"], rules["dearest"] = (factor * drawn for drawn in self.drawn)
            rules["commission_per_fill"] = factor * per_fill
            rules["commission_fraction"] = factor * fraction
            tape.contracts["commission"] = factor * per_step


class Exploration:
    """Lets the standard deviation of a Gaussian policy's actions follow the frames.

    It is not learned any more: trading pays for every jitter, so a learned deviation collapses long
    before the mean has got anywhere.
    """

    def __init__(self, exploration: ExplorationConfig, model: BaseAlgorithm) -> None:
        self.schedule = Schedule(exploration.begins, exploration.ends, exploration.shape)
        self.log_std = deviation_of(model).requires_grad_(False)

    def move(self, done: float) -> None:
        """Set the deviation for when a share of the frames is done."""
        self.log_std.data.fill_(log(self.schedule(1.0 - done)))


def deviation_of(model: BaseAlgorithm) -> torch.nn.Parameter:
    """The logarithm of the deviation of a policy's actions.

    Raises:
        ConfigError: It has none that is the same whatever is seen.
    """
    policy: Any = model.policy
    if type(getattr(policy, "action_dist", None)) is not DiagGaussianDistribution:
        raise ConfigError(
            f"learning.exploration sets the deviation of actions, and {type(model).__name__} has "
            "none to be set here; take ppo or a2c without use_sde"
        )
    log_std: torch.nn.Parameter = policy.log_std
    return log_std
