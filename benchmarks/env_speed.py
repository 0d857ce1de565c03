"""How fast the kernel is under all its rules, and what lanes share, in one run on one core.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/env_speed.py

Every rate is the best of many short rounds, so that another process costs rounds and not the
result; each is also given as a ratio to something measured in the same run.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit

from mtquant.config.data import MarketData, simulated_market
from mtquant.config.load import load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.envs.trading import TradingEnv
from mtquant.envs.vec_env import SB3VecEnv
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.risk.gates import GATES
from mtquant.risk.order import order_of
from mtquant.risk.verdict import PreTradeChecker
from mtquant.sim.simulator import Simulator
from mtquant.sim.tape import rules_row

# 56 market columns; with the account's eight the observation has 64 floats.
HORIZONS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 24, 28, 32, 36, 40, 44, 48]
HORIZONS += [52, 56, 60, 66, 72, 80, 88, 96, 100, 104]
FEATURES = ["returns", "technical", "trend", "volatility", "spread", "hour", "weekday", "session"]

OFF: dict[str, dict[str, Any]] = {
    "stops": {"atr": 0.0},
    "breaker": {"daily_loss": (0.97, 0.98, 0.99), "shed": 0.0},
}
ON: dict[str, dict[str, Any]] = {
    "stops": {
        "atr": 3.0,
        "target_atr": 6.0,
        "trail_atr": 4.0,
        "break_even_atr": 2.0,
        "partial_at": 0.5,
    },
    "breaker": {
        "daily_loss": (0.5, 0.6, 0.7),
        "weekly_loss": 0.9,
        "drawdown": 0.9,
        "start_loss": 0.9,
        "losing_run": 100_000,
    },
    "limits": {
        "max_position": 5.0,
        "max_lots": 50.0,
        "max_daily_volume_share": 0.9,
        "max_class_exposure": 5.0,
        "min_balance": 1.0,
        "max_positions": 3,
        "order_budget": 1e7,
        "day_budget": 1e9,
        "trades_per_day": 1000,
        "max_day_trades": 200,
        "day_trade_equity": 1.0,
        "cooldown_bars": 1,
        "max_holding_bars": 500,
        "leverage": {"XAUUSD": 20.0},
        "max_spread_points": 1000.0,
        "min_price": 1.0,
        "price_band": 0.1,
    },
}


def report(what: str, rate: float, unit: str, **more: Any) -> None:
    extra = "  ".join(f"{key} {value}" for key, value in more.items())
    print(f"{what:<52} {rate:>14,.0f} {unit:<16} {extra}", flush=True)


def seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def best(run: Callable[[], None], work: int, rounds: int = 60) -> float:
    """Best rate over many short rounds."""
    return work / min(seconds(run) for _ in range(rounds))


def scenario_64(n_bars: int, **changes: Any) -> Scenario:
    features = [*FEATURES, {"returns": {"horizons": HORIZONS}}]
    env = resolve_env("xauusd_h1", {"features": features})
    scenario = Scenario.fit(env, simulated_market(env, n_bars))
    width = len(scenario.inputs) + 8
    assert width == 64, f"the observation has {width} floats"
    return under(scenario, changes)


def under(scenario: Scenario, changes: dict[str, Any]) -> Scenario:
    values = scenario.env.model_dump()
    for section, keys in changes.items():
        values[section] = {**values[section], **keys}
    return replace(scenario, env=EnvConfig.model_validate(values))


@njit
def _copy_rows(source: Any, rows: Any, out: Any) -> None:
    for i in range(rows.shape[0]):
        for k in range(out.shape[1]):
            out[i, k] = source[rows[i], k]


def stepping(scenario: Scenario, lanes: int) -> tuple[Callable[[], None], int]:
    """Random actions on every lane for about 3 ms, and how many steps that is."""
    env = SB3VecEnv(scenario, lanes)
    actions = np.random.default_rng(0).uniform(-1, 1, (64, lanes, 1)).astype(np.float32)
    steps = max(12_800 // lanes, 8)
    env.reset()

    def run() -> None:
        for n in range(steps):
            env.step(actions[n % 64])

    run()
    return run, steps * lanes


def batched(plain: Scenario, rounds: int = 600) -> None:
    """Every number of lanes with all rules off and on, in turn, so that they share the weather."""
    chosen = [(lanes, changes) for lanes in (64, 256, 1024) for changes in (OFF, ON)]
    races = [stepping(under(plain, changes), lanes) for lanes, changes in chosen]
    laps = [[seconds(run) for run, _ in races] for _ in range(rounds)]
    rates = [work / time for (_, work), time in zip(races, np.min(laps, axis=0), strict=True)]
    source = np.zeros((len(plain.market.panel), 64), np.float32)
    for lanes, off, on in zip((64, 256, 1024), rates[::2], rates[1::2], strict=True):
        rows, out = np.arange(lanes) * 7, np.zeros((lanes, 64), np.float32)
        _copy_rows(source, rows, out)
        copied = best(lambda: _copy_rows(source, rows, out), lanes)  # noqa: B023  run here
        report(
            f"{lanes} lanes, 64 floats, all gates and stops on",
            on,
            "steps/s",
            off=f"{off:,.0f}",
            time_of_off=f"{off / on:.2f}x",
            of_bare_copy=f"{on / copied:.2f}",
        )


def single(plain: Scenario) -> None:
    env = TradingEnv(under(plain, ON))
    env.reset(seed=0)
    actions = list(np.random.default_rng(0).uniform(-1, 1, (1000, 1)).astype(np.float32))

    def run() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    report("single TradingEnv.step, all on", best(run, 1000, 200), "steps/s")


def history() -> None:
    """The same lanes at the beginning of a short and of a long history."""
    rates = []
    for n_bars in (20_000, 200_000):
        scenario = under(scenario_64(n_bars), ON)
        tape = scenario.tape(scenario.features(), (scenario.first_row, 10_000), training=True)
        simulator = Simulator(tape, 256)
        actions = np.random.default_rng(0).uniform(-1, 1, (64, 256, 1)).astype(np.float32)
        simulator.reset(stagger=True)

        def run(simulator: Simulator = simulator, actions: Any = actions) -> None:
            for n in range(50):
                simulator.step(actions[n])

        run()
        rates.append(best(run, 50 * 256))
    report("256 lanes on 200,000 bars", rates[1], "steps/s", of_20_000=f"{rates[1] / rates[0]:.2f}")


def portfolio(symbols: int = 30, lanes: int = 64) -> None:
    gold = load_symbols()["XAUUSD"]
    names = tuple(f"GOLD{k:02d}" for k in range(symbols))
    specs = tuple(gold.model_copy(update={"name": name}) for name in names)
    bars = [SimulatedMarket("XAUUSD", "H1", 6_000, k).bars(gold) for k in range(symbols)]
    panel = Panel([replace(one, symbol=name) for one, name in zip(bars, names, strict=True)])
    limits = {**ON["limits"], "leverage": {}, "max_positions": symbols}
    chosen = {**ON, "limits": limits, "sizing": {"risk_fraction": 0.002}, "symbols": names}
    env = resolve_env("xauusd_h1", {**chosen, "features": ["returns"]})
    scenario = Scenario.fit(env, MarketData(panel, specs, "thirty golds"))
    simulator = scenario.simulator("train", training=True, lanes=lanes)
    actions = np.random.default_rng(0).uniform(-1, 1, (16, lanes, symbols)).astype(np.float32)
    simulator.reset(stagger=True)

    def run() -> None:
        for row in actions:
            simulator.step(row)

    run()
    rate = best(run, 16 * lanes * symbols, 20)
    trades = simulator.book.account["trades"].sum() / simulator.book.account["bars"].sum()
    what = f"portfolio of {symbols} symbols, all on"
    report(what, rate, "symbol-steps/s", trades_a_step=f"{trades:.1f}")


def checker() -> None:
    env = under(scenario_64(5_000), ON).env
    tested = PreTradeChecker(rules_row(env.rules(reward_scale=1.0))[0], env.limits.gates())
    read = np.ones(len(GATES))
    order = order_of(
        held=0, target=100, step_notional=2000.0, step_margin=20.0, step_lots=0.01, equity=1e5
    )[0]

    def run() -> None:
        for _ in range(500):
            tested.check(order, read)

    rate = best(run, 500)
    report("PreTradeChecker.check", rate, "orders/s", microseconds=f"{1e6 / rate:.1f}")


def memory(lanes: int = 4096, n_bars: int = 1_000_000) -> None:
    """What lanes add to the feature matrix that they share."""
    scenario = under(scenario_64(20_000), ON)
    short = scenario.tape(scenario.features(), scenario.rows("train"), training=True)
    times = -(-n_bars // len(short.market))
    wide = np.resize(short.features, (len(short.market), 64))
    features = np.tile(wide, (times, 1))[:n_bars]
    small = np.resize(short.market, (n_bars, 1)), np.resize(short.day, n_bars)
    tape = short._replace(features=features, market=small[0], day=small[1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    simulator = Simulator(tape, lanes)
    simulator.reset(stagger=True)
    for _ in range(5):
        simulator.step(np.zeros((lanes, 1), np.float32))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    arrays = [*simulator.book, *tape, *simulator._buffers, simulator._final]
    total = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    report(
        f"{lanes} lanes on {n_bars:,} bars x 64 floats",
        total / 2**20,
        "MiB",
        of_features=f"{total / features.nbytes:.3f}",
        process_grew_by=f"{grown / 2**20:.0f} MiB",
    )


def main() -> None:
    warnings.simplefilter("ignore")
    os.chdir(tempfile.mkdtemp())
    plain = scenario_64(100_000)
    batched(plain)
    single(plain)
    history()
    portfolio()
    checker()
    memory()


if __name__ == "__main__":
    main()
