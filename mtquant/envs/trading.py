"""TradingEnv: one account as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from mtquant.config.data import resolve_market
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.risk.breaker import LEVEL_NAMES
from mtquant.risk.checks import REASONS
from mtquant.sim.kernel import RUNNING, TERMINATED, TRUNCATED
from mtquant.sim.simulator import account_feature_names, seed_lanes

Float32 = npt.NDArray[np.float32]


class TradingEnv(gym.Env[Float32, Float32]):
    r"""Trade one account on closed bars of one or several symbols.

    ## Action

    `Box(-1, 1, (S,), float32)`: the target exposure of each symbol. 1 is the full size that the
    `PositionSizer` allows, 0 is flat, -1 is fully short. The order is target minus held.

    ## Observation

    `Box(float32)` of the last *closed* bar; `env.observation_names` lists the columns.

    | part | columns | range |
    |---|---|---|
    | market | the env's features, symbol by symbol, scaled on the training split | [-5, 5] |
    | account, each symbol | `position`, `position_profit`, `position_age` | [-1, 1] |
    | account | `drawdown`, `day_gain`, `breaker_level` | [-1, 1] |

    ## One step

    The action is sized and checked at the close of bar t, filled at the open of bar t+1 at bid or
    ask with slippage and commission, carried overnight, and marked at the close of bar t+1. The
    price that the agent has seen is never the price that it gets.

    ## Reward

    `g - lambda/2 min(g, 0)^2 - c`, where `g` is the held position times the bid-to-bid change and
    `c` every cost, both over `equity x reference volatility x reference leverage`; see
    `mtquant.sim.reward`.

    ## Start

    A random bar of the split, and with `episode.randomise` a random capital, drawdown and
    position, all drawn from `reset(seed=...)`.

    ## End

    `terminated`: stop-out, or the circuit breaker's LEVEL_3 has flattened the account.
    `truncated`: the episode's bars, or the data, are over. The last `info` carries
    `info["episode_summary"]`: trades, win rate, Sharpe, Sortino, maximum drawdown, total return,
    average holding period, turnover, exposure and costs.

    ## Arguments

    `scenario`: bars, contracts and fitted features, see `mtquant.envs.scenario.Scenario`.
    `split`: `train` (default), `validation`, `test` or `all`. `training`: whether episodes are cut
    and randomised as the env's `episode` says; otherwise one episode runs over the whole split.

    ## Version history

    v0: first version.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  the attribute is Gymnasium's

    def __init__(self, scenario: Scenario, *, split: str = "train", training: bool = True) -> None:
        self.scenario = scenario
        self._simulator = scenario.simulator(split, training=training)
        symbols = scenario.env.symbols
        self.observation_names: tuple[str, ...] = (
            *scenario.pipeline.names,
            *account_feature_names(symbols, scenario.env.reward.differential),
        )
        bound = scenario.observation_bound()
        self.observation_space = gym.spaces.Box(-bound, bound, dtype=np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (len(symbols),), np.float32)
        self._lot_steps = [spec.lot_step for spec in scenario.market.specs]
        self._times = scenario.times
        # Views, because looking a field up costs more than reading it.
        account, positions = self._simulator.book.account, self._simulator.book.positions[0]
        self._cursor, self._level = account["cursor"], account["level"]
        self._equity, self._balance = account["equity"], account["balance"]
        self._steps, self._reasons = positions["steps"], positions["reason"]
        self._status = TRUNCATED

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32, dict[str, Any]]:
        """Start an episode; equal seeds start equal episodes."""
        fresh = self._np_random is None
        super().reset(seed=seed)
        if seed is not None or fresh:
            lane_seed = int(self.np_random.integers(2**63)) if seed is None else seed
            seed_lanes(self._simulator.book, lane_seed)
        self._status = RUNNING
        return self._simulator.reset()[0].copy(), self._info()

    def step(self, action: Float32) -> tuple[Float32, float, bool, bool, dict[str, Any]]:
        """One bar."""
        if self._status != RUNNING:
            raise gym.error.ResetNeeded("the episode is over; call reset() first")
        if getattr(action, "shape", None) != self.action_space.shape:
            action = np.asarray(action, np.float32).reshape(self.action_space.shape)
        observation, reward, status = self._simulator.step_lane(0, action)
        self._status = status
        info = self._info()
        if status != RUNNING:
            info["episode_summary"] = dict(vars(self._simulator.summary()))
        return observation.copy(), reward, status == TERMINATED, status == TRUNCATED, info

    def _info(self) -> dict[str, Any]:
        held, reasons = self._steps.tolist(), self._reasons.tolist()
        return {
            "time": self._times[self._cursor.item()],
            "equity": self._equity.item(),
            "balance": self._balance.item(),
            "breaker": LEVEL_NAMES[self._level.item()],
            "position_lots": [n * step for n, step in zip(held, self._lot_steps, strict=True)],
            "reason": [REASONS[code] for code in reasons],
        }


def make_env(
    name_or_config: Any,
    data: Any = None,
    *,
    split: str = "train",
    training: bool = True,
    **overrides: Any,
) -> TradingEnv:
    """One trading environment.

    Args:
        name_or_config: Name of an env (``xauusd_h1``), path of a YAML file, mapping or
            :class:`~mtquant.config.schema.EnvConfig`.
        data: ``Bars``, ``Panel`` or a list of ``Bars``; None takes the store under ``data/``, and
            the simulated market where it holds nothing.
        split: ``train``, ``validation``, ``test`` or ``all``.
        training: Whether episodes are cut and randomised as the env's ``episode`` says.
        **overrides: Keys of the env to change, nested ones as mappings:
            ``account={"capital": 50_000}``.

    Raises:
        ConfigError: Unknown name, key or value.
        DataError: Too few bars, or bars of another symbol or timeframe.
    """
    env = resolve_env(name_or_config, overrides)
    return TradingEnv(Scenario.fit(env, resolve_market(env, data)), split=split, training=training)


def make_registered(name: str, **options: Any) -> TradingEnv:
    """Entry point of ``gymnasium.make("mtquant/XAUUSD-H1-v0")``."""
    config: Mapping[str, Any] = options
    return make_env(name, **config)
