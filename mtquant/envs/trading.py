"""TradingEnv: one account as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from mtquant.config.data import resolve_market, training_market
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.risk.breaker import LEVEL_NAMES
from mtquant.risk.reasons import REASONS
from mtquant.sim.episodes import show
from mtquant.sim.kernel import RUNNING, TERMINATED, TRUNCATED
from mtquant.sim.observation import account_feature_names
from mtquant.sim.randomness import seed_lanes
from mtquant.sim.target import Target

Float32 = npt.NDArray[np.float32]


# By number, whole floats included.
REASON_OF = dict(enumerate(REASONS))
LEVEL_OF = dict(enumerate(LEVEL_NAMES))


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
    | account, each symbol | `stop_distance`, `stopped_side` | [-1, 1] |
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
    position, on one of `episode.other_symbols` or the env's own, all drawn from `reset(seed=...)`.

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
            *scenario.market_names,
            *account_feature_names(symbols, scenario.env.reward.differential),
        )
        bound = scenario.observation_bound()
        self.observation_space = gym.spaces.Box(-bound, bound, dtype=np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (len(symbols),), np.float32)
        self._played = (scenario, *scenario.others)
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
        observation = self._simulator.reset()[0].copy()
        scenario = self._played[self._simulator.drawn[0]]
        self._lot_steps = [spec.lot_step for spec in scenario.market.specs]
        self._times = scenario.times
        show(self._simulator.book, 0, self._simulator.shown)
        return observation, self._info()

    def step(self, action: Float32 | Target) -> tuple[Float32, float, bool, bool, dict[str, Any]]:
        """One bar."""
        if self._status != RUNNING:
            raise gym.error.ResetNeeded("the episode is over; call reset() first")
        observation, reward, status = self._simulator.step_lane(0, action)
        info = self._info()
        if status == RUNNING:
            return observation.copy(), reward, False, False, info
        self._status = status
        info["episode_summary"] = self._simulator.summary()._asdict()
        return observation.copy(), reward, status == TERMINATED, status == TRUNCATED, info

    def _info(self) -> dict[str, Any]:
        shown = self._simulator.shown.tolist()
        if len(shown) == 6:  # one symbol, where comprehensions would be half of a step
            lots, reasons = [shown[4] * self._lot_steps[0]], [REASON_OF[shown[5]]]
        else:
            lots = [n * lot for n, lot in zip(shown[4::2], self._lot_steps, strict=True)]
            reasons = [REASON_OF[code] for code in shown[5::2]]
        return {
            "time": self._times[int(shown[0])],
            "equity": shown[1],
            "balance": shown[2],
            "breaker": LEVEL_OF[shown[3]],
            "position_lots": lots,
            "reason": reasons,
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
    market = training_market(env, data) if training else resolve_market(env, data)
    return TradingEnv(Scenario.fit(env, market), split=split, training=training)


def make_registered(name: str, **options: Any) -> TradingEnv:
    """Entry point of ``gymnasium.make("mtquant/XAUUSD-H1-v0")``."""
    config: Mapping[str, Any] = options
    return make_env(name, **config)
