"""FinRLStockEnv: the layout of FinRL's ``StockTradingEnv``, the accounting of mtquant's kernel.

One lot step is one share. The orders of a step become the shares to hold, and those the exposure
that the kernel's sizer turns back into exactly as many; cash is what is left of equity beside the
shares at their closes. No line here changes money or a position. FinRL is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pandas as pd
from stable_baselines3.common.vec_env import DummyVecEnv

from mtquant.config.assemble import bars_per_year
from mtquant.envs.shares import MOST_SHARES, stock_tape
from mtquant.errors import ConfigError, unknown
from mtquant.market.finrl import finrl_panel, indicator_columns
from mtquant.risk.reasons import REASONS
from mtquant.sim.episodes import show, start_with
from mtquant.sim.kernel import RUNNING, TERMINATED, TRUNCATED
from mtquant.sim.simulator import Simulator

Float32 = npt.NDArray[np.float32]
Prices = float | Sequence[float]
LARGEST = float(np.finfo(np.float32).max)


class FinRLStockEnv(gym.Env[Float32, Float32]):
    r"""Trade shares of the tics of a FinRL frame, long only and from cash.

    ## Action

    `Box(-1, 1, (n,), float32)`, times `hmax` and cut to whole numbers: shares to buy (+) or sell
    (-) of each tic. No more is sold than is held. Tics are bought in their order from the cash at
    the close, less `reserve`; what a sale brings can be spent one bar later.

    ## Observation

    `[cash] + close of each tic + shares of each tic + for each indicator: value of each tic`,
    float32, `1 + 2 n + k n` values of the last closed bar.

    ## One step

    Orders fill at the next bar's *open*, at bid or ask, with commission; a buy that the open has
    made dearer than the cash is refused. Then the bar is marked at its close.

    ## Reward

    Change of total assets from close to close, times `reward_scaling`.

    ## End

    `truncated` after the last bar, whose action counts like any other. `terminated` only where
    nothing is left.

    ## Arguments

    `df`: FinRL frame with every tic on every date, see :mod:`mtquant.market.finrl`.
    `hmax`, `initial_amount`, `num_stock_shares`, `reward_scaling`, `tech_indicator_list`: as
    FinRL's. `buy_cost_pct`, `sell_cost_pct`: fraction of the value, one for all. With
    `turbulence_threshold` everything is sold where `risk_indicator_col` has reached it.
    `digits`: decimals of a price; the spread is one unit of the last where none is recorded.
    `reserve`: share of assets that orders leave as cash, so that an open above the close is still
    paid. `timeframe`: such as `D1`, told from the dates by default. `stock_dim`, `state_space` and
    `action_space` follow from the rest and are only checked.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  the attribute is Gymnasium's

    def __init__(
        self,
        df: pd.DataFrame,
        *,
        hmax: int = 100,
        initial_amount: float = 1_000_000.0,
        num_stock_shares: Sequence[int] = (),
        buy_cost_pct: Prices = 0.001,
        sell_cost_pct: Prices = 0.001,
        reward_scaling: float = 1e-4,
        tech_indicator_list: Sequence[str] = (),
        turbulence_threshold: float | None = None,
        risk_indicator_col: str = "turbulence",
        digits: int = 2,
        reserve: float = 0.02,
        timeframe: str | None = None,
        **sizes: int,
    ) -> None:
        panel = finrl_panel(df, timeframe=timeframe)
        bars, n = len(panel), len(panel.symbols)
        indicators = indicator_columns(df, tech_indicator_list)
        width = 1 + n * (2 + len(tech_indicator_list))
        _check_sizes(sizes, stock_dim=n, action_space=n, state_space=width)
        cost = _one_cost(buy_cost_pct, sell_cost_pct)
        tape = stock_tape(panel, initial_amount, cost, digits, reserve)
        self._simulator = Simulator(tape, bars_per_year=bars_per_year(panel.time))
        self._close = tape.market["close"] / 10.0**digits
        self._rows = _rows(self._close, indicators)
        self._turbulent = np.zeros(bars, np.bool_)
        if turbulence_threshold is not None:
            risk = indicator_columns(df, [risk_indicator_col])
            self._turbulent = risk.max(axis=(1, 2)) >= turbulence_threshold
        self.df = df.set_axis(np.repeat(np.arange(bars), n))
        self.tics = panel.symbols
        self.dates: list[Any] = df["date"].iloc[::n].tolist()
        self._initial = _initial_shares(num_stock_shares, n)
        self._amount, self._scaling, self._hmax = initial_amount, reward_scaling, _orders(hmax)
        self._assets, self._traded = np.zeros(bars), np.zeros((bars, n), np.int64)
        self._status, self._row, self._shown = TRUNCATED, 0, 0
        low = _lowest(width, n)
        self.observation_space = gym.spaces.Box(low, LARGEST, dtype=np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (n,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32, dict[str, Any]]:
        """Start at the first bar; nothing is drawn, so every episode begins alike."""
        super().reset(seed=seed)
        simulator = self._simulator
        market = simulator.tape.market
        worth = self._amount + float(self._initial @ self._close[0])
        simulator.place(0, 0, len(self._close) - 1, worth)
        self._assets[0] = worth
        for s in np.flatnonzero(self._initial).tolist():
            start_with(simulator.book, 0, s, int(self._initial[s]), int(market["close"][0, s]))
        show(simulator.book, 0, simulator.shown)
        self._status = RUNNING
        return self._see()

    def step(self, action: Float32) -> tuple[Float32, float, bool, bool, dict[str, Any]]:
        """One bar."""
        if self._status != RUNNING:
            raise gym.error.ResetNeeded("the episode is over; call reset() first")
        row, held, before = self._row, self._shares, self._worth
        wanted = self._wanted(np.asarray(action, np.float32).reshape(held.shape))
        asked = (wanted / MOST_SHARES).astype(np.float32)
        _, _, self._status = self._simulator.step_lane(0, asked)
        observation, info = self._see()
        self._traded[row] = self._shares - held
        self._assets[row : row + 2] = before, self._worth
        self._shown = row + 1
        reward = (self._worth - before) * self._scaling
        ends = self._status == TERMINATED, self._status == TRUNCATED
        return observation, reward, *ends, info

    def _wanted(self, action: Float32) -> npt.NDArray[np.float64]:
        """Whole shares to hold after the orders of an action; NaN keeps what is held."""
        if self._turbulent[self._row]:
            return np.zeros(action.shape)
        orders = np.trunc(np.minimum(np.maximum(action, -1.0), 1.0) * self._hmax)
        wanted: npt.NDArray[np.float64] = np.maximum(self._shares + orders, 0.0)
        return wanted

    def _see(self) -> tuple[Float32, dict[str, Any]]:
        """Read the account off the kernel: observation and info."""
        shown = self._simulator.shown.tolist()
        self._row, self._worth = int(shown[0]), shown[1]
        self._shares = np.array(shown[4::2])
        n, row = len(self.tics), self._row
        # Average entry prices are rounded to a millionth of a tick, so 0 may come out as -1e-9.
        cash = max(self._worth - float(self._close[row].dot(self._shares)), 0.0)
        observation = self._rows[row].copy()
        observation[0], observation[1 + n : 1 + 2 * n] = cash, self._shares
        return observation, {
            "date": self.dates[row],
            "cash": cash,
            "shares": [int(held) for held in shown[4::2]],
            "total_assets": self._worth,
            "reason": [REASONS[int(code)] for code in shown[5::2]],
        }

    def get_sb_env(self) -> tuple[DummyVecEnv, Any]:
        """This env as Stable-Baselines3 wants it, and its first observation; FinRL asks for it."""
        vectorised = DummyVecEnv([lambda: self])
        return vectorised, vectorised.reset()

    def save_asset_memory(self) -> pd.DataFrame:
        """``date, account_value`` of the episode that was stepped last, a reset after it or not."""
        last = self._shown + 1
        return pd.DataFrame({"date": self.dates[:last], "account_value": self._assets[:last]})

    def save_action_memory(self) -> pd.DataFrame:
        """Shares bought and sold, by the date of the decision: one column a tic, as FinRL's."""
        dates, traded = self.dates[: self._shown], self._traded[: self._shown]
        if len(self.tics) == 1:
            return pd.DataFrame({"date": dates, "actions": traded[:, 0]})
        index = pd.Index(dates, name="date")
        return pd.DataFrame(traded, index=index, columns=list(self.tics))


def _rows(close: npt.NDArray[np.float64], indicators: npt.NDArray[np.float64]) -> Float32:
    """Observations of every bar without cash and shares, float32 ``[T, 1 + 2 n + k n]``."""
    bars, n = close.shape
    after = indicators.reshape(bars, -1)
    rows = np.zeros((bars, 1 + 2 * n + after.shape[1]), np.float32)
    rows[:, 1 : 1 + n], rows[:, 1 + 2 * n :] = close, after
    return rows


def _lowest(width: int, n: int) -> Float32:
    """Cash, closes and shares are not negative, indicators are any numbers; float32 ``[width]``."""
    low = np.full(width, -LARGEST, np.float32)
    low[: 1 + 2 * n] = 0.0
    return low


def _orders(hmax: int) -> np.float32:
    """The largest order, in the type in which FinRL multiplies by it."""
    if not 1 <= hmax <= MOST_SHARES:
        raise ConfigError(f"hmax = {hmax} must lie from 1 to {MOST_SHARES:,} shares")
    return np.float32(hmax)


def _one_cost(buying: Prices, selling: Prices) -> float:
    """The one commission fraction of both sides and all tics."""
    costs = np.unique(np.concatenate([np.ravel(buying), np.ravel(selling)])).tolist()
    if len(costs) != 1 or not 0.0 <= costs[0] < 1.0:
        raise ConfigError(
            f"buy_cost_pct and sell_cost_pct are {', '.join(f'{c:g}' for c in costs)}; the account "
            "charges one fraction, at least 0 and below 1, for both sides and all tics"
        )
    return float(costs[0])


def _initial_shares(given: Sequence[int], n: int) -> npt.NDArray[np.int64]:
    """Shares held at the start, int64 ``[n]``."""
    shares = np.array(given if len(given) else [0] * n, np.int64)
    if shares.shape != (n,) or shares.min() < 0 or shares.max() > MOST_SHARES:
        raise ConfigError(
            f"num_stock_shares = {list(given)} must be {n} numbers from 0 to {MOST_SHARES:,}"
        )
    return shares


def _check_sizes(given: dict[str, int], **true: int) -> None:
    """What FinRL lets a user state although it follows from the frame."""
    for name, value in given.items():
        if name not in true:
            raise ConfigError(unknown("argument of FinRLStockEnv", name, true))
        if value != true[name]:
            raise ConfigError(f"{name} = {value}, but frame and indicators make it {true[name]}")
