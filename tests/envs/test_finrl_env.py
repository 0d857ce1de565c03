from __future__ import annotations

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from mtquant.envs.finrl import FinRLStockEnv
from mtquant.errors import ConfigError, DataError

OPEN = np.array([[100, 50], [101, 49], [103, 47], [105, 45], [107, 43]], np.float64)
CLOSE = np.array([[100, 50], [102, 48], [104, 46], [106, 44], [110, 40]], np.float64)
COST = 0.01
TICK = 0.01  # the spread where none is recorded


def frame_of(opened: np.ndarray, close: np.ndarray, **indicators: object) -> pd.DataFrame:
    """A FinRL frame of tics A, B, ...; prices ``[T, n]``."""
    count, size = close.shape
    dates = pd.bdate_range("2024-01-02", periods=count).strftime("%Y-%m-%d")
    columns = {
        "date": np.repeat(dates, size),
        "tic": [chr(65 + s) for s in range(size)] * count,
        "open": opened.ravel(),
        "high": np.maximum(opened, close).ravel(),
        "low": np.minimum(opened, close).ravel(),
        "close": close.ravel(),
        "volume": 1000.0,
    }
    return pd.DataFrame({**columns, **indicators})


def walk(seed: int = 0, count: int = 60, size: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Opens and closes in whole cents, with gaps."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (count, size)), axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 0.01, (count, size)))
    return opened.round(2), close.round(2)


def five_bars(**changes: object) -> FinRLStockEnv:
    settings = {"hmax": 10, "initial_amount": 10_000, "buy_cost_pct": COST, "sell_cost_pct": COST}
    return FinRLStockEnv(frame_of(OPEN, CLOSE), **{**settings, **changes})


def act(*shares: float) -> np.ndarray:
    return np.array(shares, np.float32)


def test_the_account_by_hand():
    """Each row: action; shares, cash and assets after it.

    1  buys 10 A at 101.01 and int(5.5) = 5 B at 49.01: 1010.10 + 10.101 + 245.05 + 2.4505
    2  sells int(3.7) = 3 A at 103 and 5 B, all there are, at 47: 309 - 3.09 + 235 - 2.35
    3  int(0.5) = 0 A, and there is no B to sell
    4  the last bar's action counts: sells 7 A at 107, 749 - 7.49, and buys 10 B at 43.01, 4.301
    """
    env = five_bars()
    observation, info = env.reset(seed=0)
    np.testing.assert_array_equal(observation, np.float32([10_000, 100, 50, 0, 0]))
    assert info["total_assets"] == 10_000.0
    table = [
        (act(1.0, 0.55), [10, 5], 8732.2985, 8732.2985 + 10 * 102 + 5 * 48),
        (act(-0.37, -1.0), [7, 0], 9270.8585, 9270.8585 + 7 * 104),
        (act(0.05, -1.0), [7, 0], 9270.8585, 9270.8585 + 7 * 106),
        (act(-1.0, 1.0), [0, 10], 9577.9675, 9577.9675 + 10 * 40),
    ]
    before = 10_000.0
    for row, (action, shares, cash, assets) in enumerate(table, start=1):
        observation, reward, terminated, truncated, info = env.step(action)
        assert info["shares"] == shares
        assert info["cash"] == pytest.approx(cash, abs=1e-9)
        assert info["total_assets"] == pytest.approx(assets)
        assert reward == pytest.approx((assets - before) * 1e-4, abs=1e-12)
        np.testing.assert_allclose(observation, [cash, *CLOSE[row], *shares], rtol=1e-6)
        assert not terminated
        assert truncated == (row == 4)
        before = assets
    with pytest.raises(gym.error.ResetNeeded):
        env.step(act(0.0, 0.0))


def test_both_checkers_find_nothing():
    frame = frame_of(*walk(), macd=np.linspace(-1.0, 1.0, 180))
    env = FinRLStockEnv(frame, tech_indicator_list=["macd"])
    check_env(env, skip_render_check=True)
    sb3_check_env(env)


def test_the_observation_is_cash_closes_shares_and_each_indicator_of_all_tics():
    rising = np.arange(10.0)
    frame = frame_of(OPEN, CLOSE, rsi=rising, boll=-rising)
    env = FinRLStockEnv(
        frame, hmax=10, tech_indicator_list=["boll", "rsi"], num_stock_shares=[2, 3]
    )
    first, _ = env.reset()
    assert first.tolist() == [1e6, 100, 50, 2, 3, 0, -1, 0, 1]
    second, *_ = env.step(act(1.0, 0.0))
    assert second.dtype == np.float32
    assert second[1:].tolist() == [102, 48, 12, 3, -2, -3, 2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_money_is_what_an_independent_ledger_says(seed):
    """From the shares that moved and the bars alone, without the kernel; cash stays above 0."""
    opened, close = walk(seed)
    settings = {"hmax": 100, "initial_amount": 20_000, "reserve": 0.02 * (seed % 2)}
    costs = {"buy_cost_pct": COST, "sell_cost_pct": [COST] * 3}
    env = FinRLStockEnv(frame_of(opened, close), **settings, **costs)
    env.reset()
    rng, cash, held = np.random.default_rng(seed), 20_000.0, np.zeros(3)
    bound = 0
    for t in range(1, len(close)):
        action = rng.uniform(-0.8, 1.0, 3).astype(np.float32)
        _, reward, _, truncated, info = env.step(action)
        asked = np.maximum(held + np.trunc(action * np.float32(100)), 0.0)
        moved, before = np.array(info["shares"]) - held, cash + held @ close[t - 1]
        for change, price in zip(moved, opened[t], strict=True):
            value = abs(change) * (price + TICK * (change > 0.0))
            cash -= np.sign(change) * value + COST * value
        held = held + moved
        assert info["cash"] == pytest.approx(cash, abs=1e-4) and cash >= 0.0
        assert info["total_assets"] == pytest.approx(cash + held @ close[t])
        assert reward == pytest.approx((cash + held @ close[t] - before) * 1e-4, abs=1e-8)
        fewer = held < asked
        np.testing.assert_array_equal(held[~fewer], asked[~fewer])
        bound += int(fewer.sum())
        assert truncated == (t == len(close) - 1)
    assert bound > 10  # the walk does come to the end of its cash


@pytest.mark.parametrize("wanted", [1, 3, 999_999, 8_388_609, 16_777_215])
def test_every_whole_number_of_shares_can_be_bought(wanted):
    env = FinRLStockEnv(frame_of(OPEN, CLOSE), hmax=wanted, initial_amount=1e10)
    env.reset()
    *_, info = env.step(act(1.0, 0.0))
    assert info["shares"] == [wanted, 0]
    *_, info = env.step(act(-1.0, 0.0))
    assert info["shares"] == [0, 0]


def test_an_open_beyond_the_cash_refuses_the_order_and_a_reserve_pays_it():
    """All cash at the close of 100, and the next bar opens 5 % higher."""
    opened, close = OPEN[:, :1].copy(), CLOSE[:, :1].copy()
    opened[1] = 105.0
    for reserve, shares, reason in ((0.0, 0, "not enough money"), (0.1, 90, "reduced to")):
        env = FinRLStockEnv(
            frame_of(opened, close), hmax=200, initial_amount=10_000, reserve=reserve
        )
        env.reset()
        *_, info = env.step(act(1.0))
        assert info["shares"] == [shares]
        assert info["reason"][0].startswith(reason)


def test_what_a_sale_brings_is_spent_one_bar_later():
    env = five_bars(hmax=200, initial_amount=100, num_stock_shares=[0, 180], reserve=0.1)
    env.reset()
    *_, info = env.step(act(1.0, -1.0))
    assert info["shares"] == [0, 0]
    *_, info = env.step(act(1.0, 0.0))
    assert info["shares"] == [77, 0]  # 0.9 * 8831.8 / 102


def test_an_indicator_of_one_switches_no_trading_off():
    """StockTradingEnv reads the first indicator as a flag: 1.0 means that a stock is disabled."""
    env = FinRLStockEnv(frame_of(OPEN, CLOSE, flag=1.0), tech_indicator_list=["flag"], hmax=10)
    env.reset()
    *_, info = env.step(act(1.0, 1.0))
    assert info["shares"] == [10, 10]
    *_, info = env.step(act(-1.0, -0.5))
    assert info["shares"] == [0, 5]


def test_nothing_seen_depends_on_a_later_bar():
    """And the fill is at the next open, never at the close that was seen."""
    opened, close = walk(4)
    actions = np.random.default_rng(4).uniform(-1, 1, (40, 3)).astype(np.float32)
    lives = []
    for cut in (60, 41):
        frame = frame_of(*(prices.copy() for prices in (opened, close)))
        frame.loc[frame.index >= 3 * cut, ["open", "high", "low", "close"]] *= 2.0
        env = FinRLStockEnv(frame, initial_amount=1e5)
        seen = [env.reset()[0]] + [env.step(action)[0] for action in actions]
        lives.append(np.array(seen))
    np.testing.assert_array_equal(*lives)
    paid = []
    for next_open in (101.0, 102.0):
        later = OPEN.copy()
        later[1, 0] = next_open
        env = FinRLStockEnv(frame_of(later, CLOSE), hmax=10, buy_cost_pct=0, sell_cost_pct=0)
        env.reset()
        paid.append(1e6 - env.step(act(1.0, 0.0))[-1]["cash"])
    assert paid == pytest.approx([1010.10, 1020.10])


def test_an_action_beyond_its_range_is_clipped_and_no_number_orders_nothing():
    env = five_bars()
    env.reset()
    assert env.step(act(7.0, np.nan))[-1]["shares"] == [10, 0]
    assert env.step(act(np.nan, np.inf))[-1]["shares"] == [10, 10]


def test_turbulence_sells_everything_at_the_next_open():
    frame = frame_of(OPEN, CLOSE, vix=np.repeat([1.0, 1.0, 9.0, 1.0, 1.0], 2))
    env = FinRLStockEnv(frame, hmax=10, turbulence_threshold=9, risk_indicator_col="vix")
    env.reset()
    held = [env.step(act(1.0, 1.0))[-1]["shares"] for _ in range(4)]
    assert held == [[10, 10], [20, 20], [0, 0], [10, 10]]


def test_a_crash_ends_nothing_and_nobody_is_stopped_out():
    opened = np.array([[100.0], [100.0], [100.0], [2.0], [2.0]])
    close = np.array([[100.0], [100.0], [2.0], [2.0], [50.0]])
    settings = {"hmax": 90, "initial_amount": 10_000, "buy_cost_pct": 0, "sell_cost_pct": 0}
    env = FinRLStockEnv(frame_of(opened, close), **settings)
    env.reset()
    for action in (act(1.0), act(0.0), act(0.0), act(0.0)):
        _, _, terminated, truncated, info = env.step(action)
        assert not terminated
    assert truncated and info["shares"] == [90]
    assert info["total_assets"] == pytest.approx(10_000 - 90 * 100.01 + 90 * 50)


def test_finrls_own_keywords_are_taken_and_wrong_ones_refused():
    kwargs = {
        "hmax": 100,
        "initial_amount": 1_000_000,
        "num_stock_shares": [0, 0],
        "buy_cost_pct": [0.001] * 2,
        "sell_cost_pct": [0.001] * 2,
        "state_space": 5,
        "stock_dim": 2,
        "tech_indicator_list": [],
        "action_space": 2,
        "reward_scaling": 1e-4,
    }
    frame = frame_of(OPEN, CLOSE)
    assert FinRLStockEnv(df=frame, **kwargs).observation_space.shape == (5,)
    wrong = [
        ({"state_space": 7}, "state_space = 7, but frame and indicators make it 5"),
        ({"stock_dims": 2}, "'stock_dims'; did you mean 'stock_dim'"),
        ({"sell_cost_pct": [0.001, 0.002]}, "0.001, 0.002; the account charges one fraction"),
        ({"num_stock_shares": [1, -1]}, "must be 2 numbers from 0 to 16,777,216"),
        ({"initial_amount": 0}, "initial_amount = 0 must be above 0"),
        ({"reserve": 1.0}, r"reserve = 1 in \[0, 1\)"),
        ({"hmax": 0}, "hmax = 0"),
        ({"digits": 0}, "digits = 0 makes the price 40 of B less than 100 ticks"),
    ]
    for change, says in wrong:
        with pytest.raises(ConfigError, match=says):
            FinRLStockEnv(frame, **{**kwargs, **change})
    with pytest.raises(DataError, match="two dates at least"):
        FinRLStockEnv(frame.iloc[:2], timeframe="D1")


def test_the_memories_are_finrls_and_outlive_the_reset_of_a_vectorised_env():
    """DRL_prediction steps a DummyVecEnv, which resets at the end, and asks only then."""
    env = five_bars()
    vectorised, first = env.get_sb_env()
    assert isinstance(vectorised, DummyVecEnv) and first.shape == (1, 5)
    vectorised.reset()
    for action in (act(1.0, 0.5), act(0.0, -0.2), act(0.0, 0.0), act(-0.4, 0.0)):
        _, _, done, _ = vectorised.step(action[None])
    assert done[0]
    (assets,) = vectorised.env_method("save_asset_memory")
    (actions,) = vectorised.env_method("save_action_memory")
    dates = env.df["date"].unique().tolist()
    assert list(assets.columns) == ["date", "account_value"]
    assert assets["date"].tolist() == dates
    assert assets["account_value"][0] == 10_000.0
    assert list(actions.columns) == ["A", "B"] and actions.index.name == "date"
    assert actions.index.tolist() == dates[:-1]
    assert actions.values.tolist() == [[10, 5], [0, -2], [0, 0], [-4, 0]]
    assert env.df.index.unique().tolist() == [0, 1, 2, 3, 4]
    env.reset()
    env.step(act(0.0, 0.0))
    assert len(env.save_asset_memory()) == 2
