"""Scenario: an env's configuration together with its bars, fitted and cut, ready to be simulated.

Everything that training, validation, test, backtest and the Python API share is decided here once:
which rows belong to which split, which features are scaled by what, and what unit the reward has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mtquant.config.assemble import (
    SMALLEST_SPLIT,
    Splits,
    assemble_tape,
    bars_per_year,
    full_size_steps,
    leverage_at_full_size,
    look_back,
    market_of,
    reward_scale,
    split_rows,
    warm_up,
)
from mtquant.config.data import MarketData
from mtquant.config.load import load_env, validate
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError, DataError, unknown
from mtquant.features.observed import Observer, observed_rows
from mtquant.features.pipeline import FeaturePipeline, FittedPipeline
from mtquant.features.scaler import CLIP, Float32
from mtquant.jit import Structured
from mtquant.sim.account import Tape
from mtquant.sim.custom_reward import CustomReward, custom_reward
from mtquant.sim.observation import account_feature_names
from mtquant.sim.simulator import Simulator

SPLITS = ("train", "validation", "test", "all")


@dataclass(frozen=True, eq=False)
class Scenario:
    """Bars under a fitted environment.

    Attributes:
        env: Configuration.
        market: Bars, contracts and their origin.
        pipeline: Features and scaler, fitted on the training split alone.
        reward_scale: Reference volatility times reference leverage.
        splits: Rows of each split; None where the bars are only tested on.
        window: Bars that an env over it shows at once.
        others: The env on each of ``episode.other_symbols``, fitted on that symbol's bars up to the
            end of this training split, all of which are for training.
    """

    env: EnvConfig
    market: MarketData
    pipeline: FittedPipeline
    reward_scale: float
    splits: Splits | None = None
    window: int = 1
    others: tuple[Scenario, ...] = ()

    @classmethod
    def fit(cls, env: EnvConfig, market: MarketData, window: int = 1) -> Scenario:
        """Cut the history and fit features, scaler and reward unit on its training split.

        Args:
            env: Configuration.
            market: Bars.
            window: Bars that an env over it shows at once.

        Raises:
            DataError: Too few bars; says how many are needed.
        """
        pipeline = FeaturePipeline(env.features, env.symbols)
        needed = max(pipeline.lookback, look_back(env) + 1) + window - 1
        splits = split_rows(len(market.panel), needed, env.split)
        train = market.panel[: splits.train[1] + 1]
        scale = reward_scale(env, train, market.specs)
        end = int(train.time[-1])
        others = tuple(cls._other(env, other.until(end), window) for other in market.others)
        return cls(env, market, pipeline.fit(train), scale, splits, window, others)

    @classmethod
    def _other(cls, env: EnvConfig, market: MarketData, window: int) -> Scenario:
        """The env on another symbol, whose bars are all for training."""
        bars = market.panel.bars[0]
        one = env.on(bars.symbol)
        lookback = FeaturePipeline(one.features, one.symbols).lookback
        needed = max(lookback, look_back(one) + 1) + window - 1 + SMALLEST_SPLIT
        if len(bars) < needed:
            raise DataError(
                f"{one.name}: {len(bars)} bars until {bars.when(-1)}, where training ends, are "
                f"fewer than the {needed} that are needed; import earlier ones, or leave "
                f"{bars.symbol} out of episode.other_symbols"
            )
        return cls.fit_all(one, market, window)

    @classmethod
    def fit_all(cls, env: EnvConfig, market: MarketData, window: int = 1) -> Scenario:
        """One span over all bars, without splits."""
        fitted = FeaturePipeline(env.features, env.symbols).fit(market.panel)
        scale = reward_scale(env, market.panel, market.specs)
        return cls(env, market, fitted, scale, window=window)

    @property
    def first_row(self) -> int:
        """The first row on which a decision can be made."""
        return self._ready + self.window - 1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all feature columns, in order."""
        return self.pipeline.names

    @property
    def bars_per_year(self) -> float:
        """Pace of the data."""
        return bars_per_year(self.market.panel.time)

    @property
    def reward(self) -> CustomReward | None:
        """The user's own reward that the env asks for; None where it is one of mtquant's.

        Raises:
            ConfigError: It is not known in this process.
        """
        return custom_reward(self.env.reward.kind)

    @property
    def market_names(self) -> tuple[str, ...]:
        """Names of the market part of an env's observation, the oldest bar's first."""
        earlier = range(self.window - 1, 0, -1)
        return (*(f"{name}[-{bar}]" for bar in earlier for name in self.inputs), *self.inputs)

    def observation_bound(self) -> Float32:
        """Largest absolute value of each observation column, market first, then the account."""
        account = len(account_feature_names(self.env.symbols, self.env.reward.differential))
        return np.array([CLIP] * len(self.inputs) * self.window + [1.0] * account, np.float32)

    def leverage_at_full_size(self, row: int) -> float:
        """Largest notional over equity that one symbol has at ``|action| = 1`` on a row."""
        return float(leverage_at_full_size(self.env, self._market[row : row + 1]).max())

    def full_size_steps(self, rows: tuple[int, int], symbol: int) -> int:
        """Lot steps of one symbol at ``|action| = 1`` for the env's capital, median over rows."""
        span = slice(rows[0], rows[1] + 1)
        return full_size_steps(self.env, self._market[span, symbol], self.env.account.capital)

    def rows(self, split: str) -> tuple[int, int]:
        """First and last row of a split.

        Raises:
            ConfigError: No such split.
        """
        if split == "all":
            return self.first_row, len(self.market.panel) - 1
        if split not in SPLITS or self.splits is None:
            raise ConfigError(unknown("split", split, SPLITS))
        rows: tuple[int, int] = getattr(self.splits, split)
        return rows

    @cached_property
    def times(self) -> list[str]:
        """Opens of the bars, ISO 8601 to the second, UTC."""
        opens = self.market.panel.time.astype("datetime64[ns]")
        texts: list[str] = np.datetime_as_string(opens, unit="s", timezone="UTC").tolist()
        return texts

    @cached_property
    def _market(self) -> Structured:
        return market_of(self.env, self.market.panel, self.market.specs)

    @cached_property
    def _ready(self) -> int:
        """The first row whose own columns, sizing and checks are past their warm-up."""
        ready = self.pipeline.first_valid(self.market.panel)
        return max(ready, warm_up(self.pipeline, self.env) - 1)

    @cached_property
    def _scaled(self) -> Float32:
        return self.pipeline.transform(self.market.panel)

    def features(self, agent: Observer | None = None) -> Float32:
        """What is observed of every bar, float32 ``[T, F]``: all columns, scaled, by default."""
        if agent is None or (agent.scaled and agent.inputs == self.inputs):
            return self._scaled
        return observed_rows(agent, self.pipeline, self.market.panel)

    def tape(
        self,
        features: Float32,
        rows: tuple[int, int],
        *,
        window: int = 1,
        training: bool = False,
    ) -> Tape:
        """A tape on which lanes stay within ``rows``.

        Args:
            features: From :meth:`features`.
            rows: First and last row.
            window: Bars seen at once; nothing is decided before there are as many.
            training: Whether episodes are cut and randomised as the env says.

        Raises:
            DataError: The rows hold no bar to trade on.
        """
        warm = self._ready + max(window, self.window) - 1
        first, last = max(rows[0], warm), rows[1]
        if last - first < 1:
            raise DataError(
                f"{self.env.name}: the span holds {max(last - first, 0)} bars after the warm-up of "
                f"{warm} bars; give earlier bars too, or a longer span"
            )
        rules = self.env.rules(
            reward_scale=self.reward_scale, first=first, last=last, training=training
        )
        tape = assemble_tape(
            self.env, self.market.panel, self.market.specs, features, rules, self._market
        )
        return tape._replace(window=window)

    def simulator(
        self, split: str = "train", lanes: int = 1, *, training: bool = True
    ) -> Simulator:
        """Lanes over one split with all features, scaled, in windows.

        Training on the training split draws other symbols, too, where the env has some.

        Raises:
            ConfigError: It has some, and the scenario was fitted without their bars.
        """
        tape = self._split_tape(split, training)
        others = self._other_tapes() if training and split == "train" else []
        pace, reward = self.bars_per_year, self.reward
        return Simulator(tape, lanes, bars_per_year=pace, reward=reward, others=others)

    def _split_tape(self, split: str, training: bool) -> Tape:
        features, rows = self.features(), self.rows(split)
        return self.tape(features, rows, window=self.window, training=training)

    def _other_tapes(self) -> list[tuple[Tape, float]]:
        """The tape of each other symbol, and its pace."""
        names = self.env.episode.other_symbols
        if len(names) != len(self.others):
            raise ConfigError(
                f"env {self.env.name} trains on {', '.join(names)} too, and the scenario was "
                "fitted without their bars; fit it on what `training_market` finds"
            )
        return [(one._split_tape("all", True), one.bars_per_year) for one in self.others]


def resolve_env(
    name_or_config: str | EnvConfig | Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> EnvConfig:
    """An env by name, YAML path, mapping or config, with overrides merged key by key.

    Raises:
        ConfigError: Unknown name, key or value.
    """
    if isinstance(name_or_config, EnvConfig):
        env = name_or_config
    elif isinstance(name_or_config, str):
        env = load_env(name_or_config)[0]
    else:
        env = validate(EnvConfig, {"name": "custom", **name_or_config}, "env configuration")
    if not overrides:
        return env
    merged = _merge(env.model_dump(), overrides)
    return validate(EnvConfig, merged, f"overrides of env {env.name}")


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        nested = isinstance(value, Mapping) and isinstance(old, Mapping)
        merged[key] = _merge(old, value) if nested and isinstance(old, Mapping) else value
    return merged
