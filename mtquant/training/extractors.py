"""Features extractors: from a window of bars to a short description of it.

An observation is ``window`` bars of ``columns`` features, the oldest first, then the account. Only
the bars go through the extractor; the account's columns, which belong to the newest bar alone, are
handed on beside what comes out of it.
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from mtquant.errors import ConfigError, unknown


class _WindowExtractor(BaseFeaturesExtractor):
    """Splits an observation; a subclass describes the bars by ``described`` numbers."""

    def __init__(
        self, observation_space: gym.spaces.Box, window: int, columns: int, described: int
    ) -> None:
        self.window, self.columns = window, columns
        account = int(observation_space.shape[0]) - window * columns
        super().__init__(observation_space, described + account)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Description of the bars, then the account: ``[B, described + A]``."""
        seen = self.window * self.columns
        bars = observations[:, :seen].reshape(-1, self.window, self.columns)
        return torch.cat((self.describe(bars), observations[:, seen:]), dim=1)

    def describe(self, bars: torch.Tensor) -> torch.Tensor:
        """``[B, window, columns]`` to ``[B, described]``."""
        raise NotImplementedError


class ConvExtractor(_WindowExtractor):
    """Two convolutions along time: one over the bars, one over what it found."""

    def __init__(
        self,
        observation_space: gym.spaces.Box,
        window: int,
        columns: int,
        channels: int = 16,
        kernel: int = 4,
        stride: int = 2,
    ) -> None:
        """Lay it out.

        Args:
            observation_space: Of the env.
            window: Bars.
            columns: Features of each bar.
            channels: Of both convolutions.
            kernel: Bars that a convolution reads at once.
            stride: Bars between its places.

        Raises:
            ValueError: The window is too short for two such convolutions.
        """
        once = (window - kernel) // stride + 1
        twice = (once - kernel) // stride + 1
        if min(once, twice) < 1:
            raise ValueError(
                f"a window of {window} bars is too short for two convolutions of kernel {kernel} "
                f"and stride {stride}; it needs {kernel + (kernel - 1) * stride}"
            )
        super().__init__(observation_space, window, columns, channels * twice)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv1d(columns, channels, kernel, stride),
            torch.nn.Tanh(),
            torch.nn.Conv1d(channels, channels, kernel, stride),
            torch.nn.Tanh(),
            torch.nn.Flatten(),
        )

    def describe(self, bars: torch.Tensor) -> torch.Tensor:
        """Channels at the places that are left of the window."""
        described: torch.Tensor = self.layers(bars.transpose(1, 2))
        return described


class AttentionExtractor(_WindowExtractor):
    """The newest bar asks all bars of the window once, with ``heads`` questions."""

    def __init__(
        self,
        observation_space: gym.spaces.Box,
        window: int,
        columns: int,
        size: int = 16,
        heads: int = 2,
    ) -> None:
        """Lay it out.

        Args:
            observation_space: Of the env.
            window: Bars.
            columns: Features of each bar.
            size: Numbers that describe one bar.
            heads: Questions.

        Raises:
            ValueError: The heads do not divide the size.
        """
        if heads < 1 or size % heads:
            raise ValueError(f"attention of size {size} cannot be shared by {heads} heads")
        super().__init__(observation_space, window, columns, 2 * size)
        self.heads = heads
        self.embed = torch.nn.Linear(columns, size)
        self.place = torch.nn.Parameter(torch.zeros(window, size))
        self.ask = torch.nn.Linear(size, size, bias=False)
        self.offer = torch.nn.Linear(size, 2 * size, bias=False)

    def describe(self, bars: torch.Tensor) -> torch.Tensor:
        """The newest bar, and what it found in the others."""
        known = torch.tanh(self.embed(bars) + self.place)
        newest, size = known[:, -1], known.shape[2] // self.heads
        asked = self.ask(newest).reshape(-1, self.heads, size, 1)
        offered = self.offer(known).reshape(-1, self.window, 2, self.heads, size)
        keys, values = offered.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(keys @ asked / size**0.5, dim=2)
        found = (weights * values).sum(dim=2).reshape(-1, self.heads * size)
        return torch.cat((newest, found), dim=1)


EXTRACTORS: dict[str, type[_WindowExtractor]] = {
    "conv": ConvExtractor,
    "attention": AttentionExtractor,
}


def resolve_extractor(chosen: dict[str, Any], window: int, columns: int) -> dict[str, Any]:
    """``policy_kwargs`` with the extractor's name replaced by its class and arguments.

    Args:
        chosen: SB3's names; without ``features_extractor_class`` they are returned as they are.
        window: Bars of an observation.
        columns: Features of each bar.

    Raises:
        ConfigError: Unknown extractor or argument, or no window to extract from.
    """
    name = chosen.get("features_extractor_class")
    own = chosen.get("features_extractor_kwargs", {})
    if name is None:
        if own:
            raise ConfigError("features_extractor_kwargs need a features_extractor_class")
        return chosen
    if str(name) not in EXTRACTORS:
        raise ConfigError(
            f"policy_kwargs: {unknown('features_extractor_class', str(name), EXTRACTORS)}"
        )
    if not isinstance(own, dict):
        raise ConfigError(f"features_extractor_kwargs must map names to values, found {own!r}")
    if window == 1:
        raise ConfigError(
            f"features extractor '{name}' reads bars over time; give a window above 1"
        )
    extractor = EXTRACTORS[name]
    accepted = set(inspect.signature(extractor).parameters)
    accepted -= {"observation_space", "window", "columns"}
    for key, value in own.items():
        if key not in accepted:
            raise ConfigError(f"features_extractor_kwargs: {unknown('key', key, accepted)}")
        if type(value) is not int or value < 1:
            raise ConfigError(f"features_extractor_kwargs: {key} = {value!r} must be 1 or above")
    arguments = {**own, "window": window, "columns": columns}
    return {
        **chosen,
        "features_extractor_class": extractor,
        "features_extractor_kwargs": arguments,
    }
