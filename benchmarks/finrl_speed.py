"""FinRL's StockTradingEnv, the same layout on mtquant's kernel, and mtquant's batched env, in turn.

    python scripts/install_finrl.py FOLDER
    OMP_NUM_THREADS=1 PYTHONPATH=. taskset -c 0 FOLDER/bin/python benchmarks/finrl_speed.py

One frame for all, random actions. Every rate is the best of many short rounds, which the rivals
take in turn, so that another process costs rounds and not the result.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mtquant.config.data import MarketData
from mtquant.envs.finrl import FinRLStockEnv
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.market.bars import Bars
from mtquant.market.finrl import to_finrl
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe

TICS, BARS, INDICATORS, LANES, ROUNDS = 5, 2_000, 8, 128, 20
DAY_NS = Timeframe.D1.nanoseconds


def prices(tic: str, seed: int) -> Bars:
    rng = np.random.default_rng(seed)
    close = (100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, BARS)))).round(2)
    opened = np.concatenate([[100.0], close[:-1]])
    time_ns = np.arange(BARS, dtype=np.int64) * DAY_NS
    high, low = np.maximum(opened, close) + 0.5, np.minimum(opened, close) - 0.5
    volume, spread = np.full(BARS, 1e6), np.ones(BARS)
    return Bars(tic, Timeframe.D1, time_ns, opened, high, low, close, volume, spread)


def stock(tic: str) -> SymbolSpec:
    return SymbolSpec(
        name=tic,
        asset_class="stock",
        base=tic,
        quote="USD",
        contract_size=1,
        tick_size=0.01,
        digits=2,
        pip_size=0.01,
        lot_min=1,
        lot_step=1,
        lot_max=1_000_000,
        margin_mode="cfd",
        swap_mode="none",
        typical_spread_points=1,
        clock="utc",
        hours={"mon-sun": "00:00-24:00"},
    )


def batched(panel: Panel) -> SB3VecEnv:
    """The same tics, with as many columns each as FinRL has indicators."""
    columns = [{"returns": {"horizons": list(range(1, INDICATORS + 1))}}]
    settings = {
        "name": "stocks",
        "symbols": panel.symbols,
        "timeframe": "D1",
        "features": columns,
        "stops": {"atr": 0.0},
    }
    env = resolve_env(settings)
    market = MarketData(panel, tuple(stock(tic) for tic in panel.symbols), "given bars")
    return SB3VecEnv(Scenario.fit(env, market), LANES)


def steps_of(env: Any, actions: np.ndarray) -> Callable[[int], int]:
    """A round on a single env."""
    env.reset()

    def play(count: int) -> int:
        for k in range(count):
            _, _, terminated, truncated, _ = env.step(actions[k % len(actions)])
            if terminated or truncated:
                env.reset()
        return count

    return play


def lanes_of(env: SB3VecEnv, actions: np.ndarray) -> Callable[[int], int]:
    """A round on all lanes."""
    env.reset()

    def play(count: int) -> int:
        for k in range(count):
            env.step(actions[k % len(actions)])
        return count * LANES

    return play


def main() -> int:
    try:
        from finrl.meta.env_stock_trading.env_stocktrading import StockTradingEnv
    except ImportError:
        print("no FinRL here; run with the interpreter that scripts/install_finrl.py builds")
        return 2
    panel = Panel([prices(f"TIC{k}", k) for k in range(TICS)])
    frame = to_finrl(panel).drop(columns="spread")
    names = [f"indicator_{k}" for k in range(INDICATORS)]
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.normal(size=(len(frame), INDICATORS)), frame.index, names)
    frame = pd.concat([frame, values], axis=1)
    settings = {
        "hmax": 100,
        "initial_amount": 1_000_000,
        "num_stock_shares": [0] * TICS,
        "buy_cost_pct": [0.001] * TICS,
        "sell_cost_pct": [0.001] * TICS,
        "reward_scaling": 1e-4,
        "state_space": 1 + (2 + INDICATORS) * TICS,
        "stock_dim": TICS,
        "tech_indicator_list": names,
        "action_space": TICS,
    }
    single = rng.uniform(-1, 1, (997, TICS)).astype(np.float32)
    many = rng.uniform(-1, 1, (97, LANES, TICS)).astype(np.float32)
    theirs = StockTradingEnv(df=frame, print_verbosity=10**9, **settings)
    rivals = {
        "FinRL StockTradingEnv": (steps_of(theirs, single), 100),
        "FinRLStockEnv": (steps_of(FinRLStockEnv(frame, **settings), single), 2_000),
        f"SB3VecEnv, {LANES} lanes": (lanes_of(batched(panel), many), 200),
    }
    best = dict.fromkeys(rivals, 0.0)
    for _ in range(ROUNDS):
        for name, (play, count) in rivals.items():
            began = time.perf_counter()
            done = play(count)
            best[name] = max(best[name], done / (time.perf_counter() - began))
    base = best["FinRL StockTradingEnv"]
    print(f"{TICS} tics, {INDICATORS} indicators, {BARS:,} dates; best of {ROUNDS} rounds")
    for name, rate in best.items():
        print(f"{name:26s}{rate:14,.0f} steps/s{rate / base:10.1f} x")
    return 0


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    sys.exit(main())
