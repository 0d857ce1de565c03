"""An actor that leaves alone what is good enough: the no-trade band.

Its last layer answers a centre m and a half width w = softplus(10 s) / 10 for each symbol. The mean
action is the position held, clipped into [m - w, m + w]: inside the band nothing is traded, outside
it no more than to the nearer edge. Under proportional costs the optimal policy has this form (Davis
and Norman 1990; as a network Imaki, Imajo, Ito, Minami and Nakagawa 2021).

No gradient sees what lies inside a band, so one that has become too wide would stay. It begins
narrow, and a slight pull narrows it wherever nothing else moves it.

Beside probes, which measure an action against the mean itself, there is more to be seen: inside
the band an action below the position says what selling is worth there, one above it what buying is.
Each counts for the edge that decides it, the less the farther away that is. How far such a *hand*
reaches follows the deviation of the actions, so that in the end only positions at an edge speak for
it. With hands, edges answer within [-1, 1], where noise to the inside always tells something, and
what of them lies beyond is pulled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, isfinite, log
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.vec_env import VecEnv

from mtquant.envs.vec_env import SB3VecEnv
from mtquant.errors import ConfigError, unknown
from mtquant.sim.observation import account_feature_names

KINDS = ("band",)
KEYS = ("kind", "width", "inwards")
LEARNERS = ("ppo", "a2c")
WIDTH = 0.05
SHARPNESS = 10.0  # of the bend where a width meets 0
PULL = 0.02  # loss for each unit of half width, where advantages have deviation 1
REACH = 5.0  # of hands, in deviations of the actions
INWARDS = 0.2  # over the deviation: slope of the loss of an edge that lies 1 out of bounds


def _pull(gradient: torch.Tensor) -> torch.Tensor:
    """The loss's derivative by the half widths ``[B, actions]``, the pull added."""
    return gradient + PULL / len(gradient)


class BandHead(torch.nn.Module):
    """From what the hidden layers found, and what is held, to the mean action.

    Attributes:
        actions: How many there are.
        edges: Linear layer to the centres, then to the half widths before softplus.
        hands: Whether actions inside the band speak for its edges.
        inwards: Pull on what of an edge lies out of bounds.
        drawn: The actions that are judged, and their deviation, while a loss is taken.
    """

    def __init__(
        self,
        found: int,
        actions: int,
        width: float,
        *,
        hands: bool = False,
        inwards: float = INWARDS,
    ) -> None:
        """Begin with bands around 0 that reach ``width`` to either side."""
        super().__init__()
        self.actions, self.hands, self.inwards = actions, hands, inwards
        self.drawn: tuple[torch.Tensor, torch.Tensor] | None = None
        self.edges = torch.nn.Linear(found, 2 * actions)
        torch.nn.init.orthogonal_(self.edges.weight, 0.01)
        torch.nn.init.zeros_(self.edges.bias)
        reach = log(expm1(SHARPNESS * width)) / SHARPNESS
        torch.nn.init.constant_(self.edges.bias[actions:], reach)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """``[B, found + actions]``, the columns of the positions last, to ``[B, actions]``."""
        found, held = latent[:, : -self.actions], latent[:, -self.actions :]
        centre, reach = self.edges(found).split(self.actions, dim=1)
        width = torch.nn.functional.softplus(SHARPNESS * reach) / SHARPNESS
        if width.requires_grad:
            width.register_hook(_pull)  # type: ignore[no-untyped-call]
        lower, upper = centre - width, centre + width
        if not self.hands:
            return torch.minimum(torch.maximum(held, lower), upper)
        lowest, highest = lower.detach().clamp(-1.0, 1.0), upper.detach().clamp(-1.0, 1.0)
        mean = torch.minimum(torch.maximum(held, lowest), highest)
        if self.drawn is None:
            return mean
        held_inside = (held >= lowest) & (held <= highest)
        drawn, std = self.drawn
        bought = torch.exp((lowest - held) / (REACH * std)) * (held_inside & (drawn > mean))
        sold = torch.exp((held - highest) / (REACH * std)) * (held_inside & (drawn < mean))
        moved = self._moving(lower, lowest, bought + (held < lowest))
        return mean + moved + self._moving(upper, highest, sold + (held > highest))

    def _moving(self, edge: torch.Tensor, bound: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Zeros, through which an edge gets its share of the mean's gradient, and is pulled in."""
        assert self.drawn is not None
        inwards = (edge.detach() - bound) * (self.inwards / len(edge)) / self.drawn[1]
        if edge.requires_grad:
            edge.register_hook(lambda gradient: gradient + inwards)  # type: ignore[no-untyped-call]
        return share * (edge - edge.detach())


class BandExtractor(MlpExtractor):
    """SB3's hidden layers; the actor's hand on the positions' columns beside what they found.

    The positions are for the band alone: edges that moved with them would be no edges.
    """

    seen: torch.Tensor

    def __init__(self, held: Sequence[int], features: int, *arguments: Any) -> None:
        """Take ``held``, counted from the end, out of that many ``features``."""
        super().__init__(features, *arguments)
        self.held = [features + column for column in held]
        self.latent_dim_pi += len(held)
        seen = torch.ones(features)
        seen[self.held] = 0.0
        self.register_buffer("seen", seen)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """``[B, features]`` to ``[B, found + actions]``."""
        found = self.policy_net(features * self.seen)
        return torch.cat((found, features[:, self.held]), dim=1)


class BandPolicy(ActorCriticPolicy):
    """SB3's policy with a :class:`BandHead`.

    Attributes:
        held: Column of each symbol's position, counted from the end of an observation. Features
            extractors hand the account on as their last columns, so it is the same after them.
        width: Half width of every band at first.
        hands: Whether actions inside a band speak for its edges.
        inwards: With hands, the pull on what of an edge lies out of bounds.
    """

    def __init__(
        self,
        *arguments: Any,
        held: Sequence[int],
        width: float,
        hands: bool = False,
        inwards: float = INWARDS,
        **own: Any,
    ) -> None:
        self.held, self.width = tuple(held), width
        self.hands, self.inwards = hands, inwards
        super().__init__(*arguments, **own)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = BandExtractor(
            self.held, self.features_dim, self.net_arch, self.activation_fn, self.device
        )

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        found = self.mlp_extractor.latent_dim_pi - len(self.held)
        self.action_net = BandHead(
            found, len(self.held), self.width, hands=self.hands, inwards=self.inwards
        )
        self._begin_blind()
        options: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self._groups(options), **options)

    def _groups(self, options: dict[str, Any]) -> list[Any]:
        """All parameters; apart from the actor's first weights where a threshold is meant for them.

        It decides which columns are looked at. The critic trades nothing, and may look at all.
        """
        if "sparsity" not in options:
            return list(self.parameters())
        first = self._first_layer().weight
        others = [one for one in self.parameters() if one is not first]
        return [{"params": [first]}, {"params": others, "sparsity": 0.0}]

    def _first_layer(self) -> torch.nn.Linear:
        """Of the actor."""
        layers = (*self.mlp_extractor.policy_net, self.action_net.edges)
        return next(layer for layer in layers if isinstance(layer, torch.nn.Linear))

    def evaluate_actions(
        self, obs: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """See SB3; the head is told which actions are judged."""
        head = self.action_net
        assert isinstance(head, BandHead)
        head.drawn = actions, self.log_std.detach().exp()
        try:
            return super().evaluate_actions(obs, actions)
        finally:
            head.drawn = None

    @torch.no_grad()
    def _begin_blind(self) -> None:
        """Let the edges not depend on the account at first: its every jitter would be traded.

        The account's columns begin with the first symbol's position.
        """
        first = self._first_layer()
        first.weight[:, self.held[0] + self.features_dim : self.features_dim] = 0.0

    def _get_constructor_parameters(self) -> dict[str, Any]:
        names = ("held", "width", "hands", "inwards")
        own = {name: getattr(self, name) for name in names}
        return super()._get_constructor_parameters() | own


def positions_held(env: SB3VecEnv) -> tuple[int, ...]:
    """Columns that show each symbol's position as an action, counted from an observation's end."""
    config = env.scenario.env
    names = account_feature_names(config.symbols, config.reward.differential)
    return tuple(k - len(names) for k, name in enumerate(names) if name.endswith("position"))


def resolve_head(
    chosen: dict[str, Any], kind: str, env: VecEnv, *, hands: bool = False
) -> tuple[type[ActorCriticPolicy] | None, dict[str, Any]]:
    """The policy's class, None for the algorithm's own, and ``policy_kwargs`` as it takes them.

    Args:
        chosen: SB3's names and ``action_head``, such as ``{kind: band, width: 0.05}``.
        kind: Of the agent.
        env: Whose observations show the positions.
        hands: Whether probes measure what actions inside a band are worth.

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
    width, inwards = head.get("width", WIDTH), head.get("inwards", INWARDS)
    if not (_is_number(width) and 0.0 < width <= 1.0):
        raise ConfigError(f"{where}.width = {width!r} must be a number above 0 and at most 1")
    if not (_is_number(inwards) and 0.0 <= inwards <= 10.0):
        raise ConfigError(f"{where}.inwards = {inwards!r} must be a number from 0 to 10")
    if not isinstance(env, SB3VecEnv):
        raise ConfigError(f"{where} reads the position held, which only an env of mtquant shows")
    held = positions_held(env)
    others = {key: value for key, value in chosen.items() if key != "action_head"}
    own = {"held": held, "width": float(width), "hands": hands, "inwards": float(inwards)}
    return BandPolicy, {**others, **own}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
