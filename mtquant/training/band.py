"""An actor that leaves alone what is good enough: the no-trade band.

Its last layer answers a centre m and a half width w = softplus(s) for each symbol. The mean action
is the position held, clipped into [m - w, m + w]: inside the band nothing is traded, outside it no
more than to the nearer edge. Under proportional costs the optimal policy has this form (Davis and
Norman 1990; as a network Imaki, Imajo, Ito, Minami and Nakagawa 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, inf, isfinite, log
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.vec_env import VecEnv

from mtquant.config.assemble import leverage_at_full_size
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError, unknown
from mtquant.sim.observation import account_feature_names

KINDS = ("band",)
KEYS = ("kind", "width")
LEARNERS = ("ppo", "a2c")
WIDTH = 0.1


class BandHead(torch.nn.Module):
    """From what the hidden layers found, and what is held, to the mean action.

    Attributes:
        edges: Linear layer to the centres, then to the half widths before softplus.
        unit: Action that holds what the position's column shows as 1, ``[actions]``.
    """

    unit: torch.Tensor

    def __init__(self, found: int, unit: Sequence[float], width: float) -> None:
        """Begin with bands around 0 that reach ``width`` to either side."""
        super().__init__()
        actions = len(unit)
        self.edges = torch.nn.Linear(found, 2 * actions)
        torch.nn.init.orthogonal_(self.edges.weight, 0.01)
        torch.nn.init.zeros_(self.edges.bias)
        torch.nn.init.constant_(self.edges.bias[actions:], log(expm1(width)))
        self.register_buffer("unit", torch.tensor(unit, dtype=torch.float32))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """``[B, found + actions]``, the columns of the positions last, to ``[B, actions]``."""
        actions = len(self.unit)
        held = latent[:, -actions:] * self.unit
        centre, reach = self.edges(latent[:, :-actions]).split(actions, dim=1)
        width = torch.nn.functional.softplus(reach)
        return torch.minimum(torch.maximum(held, centre - width), centre + width)


class BandExtractor(MlpExtractor):
    """SB3's hidden layers; the actor's hand on the positions' columns beside what they found."""

    def __init__(self, held: Sequence[int], features: int, *arguments: Any) -> None:
        """Take ``held``, counted from the end, out of that many ``features``."""
        super().__init__(features, *arguments)
        self.held = [features + column for column in held]
        self.latent_dim_pi += len(held)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """``[B, features]`` to ``[B, found + actions]``."""
        return torch.cat((self.policy_net(features), features[:, self.held]), dim=1)


class BandPolicy(ActorCriticPolicy):
    """SB3's policy with a :class:`BandHead`.

    Attributes:
        held: Column of each symbol's position, counted from the end of an observation. Features
            extractors hand the account on as their last columns, so it is the same after them.
        unit: See :class:`BandHead`.
        width: Half width of every band at first.
    """

    def __init__(
        self, *arguments: Any, held: Sequence[int], unit: Sequence[float], width: float, **own: Any
    ) -> None:
        self.held, self.unit, self.width = tuple(held), tuple(unit), width
        super().__init__(*arguments, **own)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = BandExtractor(
            self.held, self.features_dim, self.net_arch, self.activation_fn, self.device
        )

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        found = self.mlp_extractor.latent_dim_pi - len(self.held)
        self.action_net = BandHead(found, self.unit, self.width)
        options: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **options)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"held": self.held, "unit": self.unit, "width": self.width}
        return super()._get_constructor_parameters() | own


def positions_held(env: SB3VecEnv) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Where an observation shows each symbol's position, and what action holds it.

    Returns:
        Columns, counted from the end; and the action that asks for a position shown as 1, at the
        median full size of the env's bars where sizing lets it change.
    """
    config, tape = env.scenario.env, env.simulator.tape
    names = account_feature_names(config.symbols, config.reward.differential)
    columns = [k - len(names) for k, name in enumerate(names) if name.split(".")[-1] == "position"]
    rules = tape.rules[0]
    bars = tape.market[int(rules["first"]) : int(rules["last"]) + 1]
    # Sizing multiplies the action before the limits cap what comes out.
    limits = config.limits.model_copy(update={"max_exposure": inf, "max_position": None})
    sizes = leverage_at_full_size(config.model_copy(update={"limits": limits}), bars)
    unit = float(rules["exposure_unit"]) / np.median(sizes, axis=0)
    return tuple(columns), tuple(unit.tolist())


def resolve_head(
    chosen: dict[str, Any], kind: str, env: VecEnv
) -> tuple[type[ActorCriticPolicy] | None, dict[str, Any]]:
    """The policy's class, None for the algorithm's own, and ``policy_kwargs`` as it takes them.

    Args:
        chosen: SB3's names and ``action_head``, such as ``{kind: band, width: 0.1}``.
        kind: Of the agent.
        env: Whose observations show the positions.

    Raises:
        ConfigError: Unknown kind or key, a width that is no number above 0, or an agent or env
            that has no place for it.
    """
    if "action_head" not in chosen:
        return None, chosen
    head, where = chosen["action_head"], "policy_kwargs.action_head"
    if kind not in LEARNERS:
        raise ConfigError(f"agent {kind}: action_head serves {' and '.join(LEARNERS)} only")
    if not isinstance(head, dict) or "kind" not in head:
        raise ConfigError(f"{where} = {head!r} must be like {{kind: band, width: {WIDTH}}}")
    for key in head:
        if key not in KEYS:
            raise ConfigError(f"{where}: {unknown('key', str(key), KEYS)}")
    if head["kind"] not in KINDS:
        raise ConfigError(f"{where}: {unknown('kind', str(head['kind']), KINDS)}")
    width = head.get("width", WIDTH)
    number = isinstance(width, int | float) and not isinstance(width, bool) and isfinite(width)
    if not (number and 0.0 < width <= 1.0):
        raise ConfigError(f"{where}.width = {width!r} must be a number above 0 and at most 1")
    if not isinstance(env, SB3VecEnv):
        raise ConfigError(f"{where} reads the position held, which only an env of mtquant shows")
    held, unit = positions_held(env)
    others = {key: value for key, value in chosen.items() if key != "action_head"}
    return BandPolicy, {**others, "held": held, "unit": unit, "width": float(width)}
