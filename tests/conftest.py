"""Toy markets, in which one lot step of one symbol is worth one dollar for each dollar of price."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.config.data import given_market
from mtquant.config.load import load_symbols
from mtquant.config.schema import AgentConfig, EnvConfig
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.simulated import SimulatedMarket
from mtquant.market.store import Source, Store
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.sim.account import Tape
from mtquant.sim.tape import broker_days, contract_rows, market_columns, rules_row

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them every
# process whose Ctrl-C is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from mtquant.agents.bundle import Bundle
    from mtquant.training.trainer import TrainingConfig

# Tests compute; what they keep would stay in the user's own cache.
os.environ["MTQUANT_FEATURE_CACHE"] = "0"

# Files of half a minute and more begin first, the longest before the others, so that no core waits
# for the last of them; but one that compiles the account's kernels beside one that needs none, or
# both would compile them.
LONG = """
    test_four_faces test_detector test_sigkill test_feature_parity test_schedules test_finrl_agent
    test_many_cases test_mutants test_kill test_bridge_parity test_readme test_crashes
    test_feed_parity test_paper_parity test_portfolio_parity test_reward_selects test_bridge_schema
    test_without_jit test_train test_same_result test_fuzz test_hostile test_kernel_properties
""".split()

TUESDAY_NOON = "2024-01-02T12:00"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of collected tests stay for good: the garbage collector need not look at them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


HEARD = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")]


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A command that runs in this process leaves its handlers; the next Ctrl-C needs ours."""
    before = {number: signal.getsignal(number) for number in HEARD if number is not None}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


MakeSpec = Callable[..., SymbolSpec]
MakeBars = Callable[..., Bars]
MakeTape = Callable[..., Tape]


def _toy_spec(name: str = "TOY", **changes: Any) -> SymbolSpec:
    plain: dict[str, Any] = {
        "name": name,
        "asset_class": "metal",
        "base": "XAU",
        "quote": "USD",
        "contract_size": 100,
        "tick_size": 0.01,
        "digits": 2,
        "pip_size": 0.1,
        "swap_mode": "none",
        "typical_spread_points": 10,
        "clock": "utc",
        "hours": {"mon-sun": "00:00-24:00"},
    }
    return SymbolSpec(**{**plain, **changes})


def _toy_bars(
    prices: Sequence[Sequence[float]],
    symbol: str = "TOY",
    *,
    start: str = TUESDAY_NOON,
    spread: float | Sequence[float] = 10.0,
    hours: Sequence[int] | None = None,
) -> Bars:
    """Hourly bars from rows of open, high, low, close; ``hours`` after ``start`` leave gaps."""
    columns = np.asarray(prices, np.float64).T
    count = columns.shape[1]
    after = np.arange(count) if hours is None else np.asarray(hours)
    time = np.datetime64(start, "ns").astype(np.int64) + after * Timeframe.H1.nanoseconds
    opened, high, low, close = columns
    spreads = np.broadcast_to(np.asarray(spread, np.float64), count)
    return Bars(
        symbol, Timeframe.H1, time, opened, high, low, close, np.zeros(count), spreads.copy()
    )


TOY_RULES: dict[str, float] = {
    "sizing_method": 1,
    "risk_fraction": 0.02,
    "atr_multiple": 2.0,
    "notional_fraction": 1.0,
    "rebalance_band": 0.1,
    "max_exposure": 5.0,
    "leverage": 100.0,
    "stop_out_level": 0.5,
    "daily_loss_level_1": 0.97,
    "daily_loss_level_2": 0.98,
    "daily_loss_level_3": 0.99,
    "shrink": 0.5,
    "capital": 10_000.0,
    "money_scale": 100.0,
    "reward_scale": 0.01,
    "downside_penalty": 0.05,
    "first": 0,
    "last": 0,
    "episode_bars": 0,
    "randomise": 0,
}


def _toy_tape(
    bars: Bars | Sequence[Bars],
    specs: SymbolSpec | Sequence[SymbolSpec] | None = None,
    *,
    currency: str = "USD",
    atr_bars: int = 1,
    slippage_points: float = 0.0,
    features: int = 2,
    **rules: float,
) -> Tape:
    """A tape over toy bars; the rules are sized by notional and stop at nothing by default."""
    listed = [bars] if isinstance(bars, Bars) else list(bars)
    if specs is None:
        specs = [_toy_spec(b.symbol) for b in listed]
    specs = [specs] if isinstance(specs, SymbolSpec) else list(specs)
    panel = Panel(listed)
    numbers = {**TOY_RULES, "last": len(panel) - 1, **rules}
    columns = np.arange(len(panel) * features, dtype=np.float32).reshape(len(panel), features)
    return Tape(
        market=market_columns(panel, specs, currency, atr_bars),
        day=broker_days(panel, specs[0]),
        features=columns / max(columns.size, 1),
        contracts=contract_rows(specs, numbers["leverage"], slippage_points),
        rules=rules_row({name: numbers[name] for name in numbers if name != "leverage"}),
    )


@pytest.fixture(scope="session")
def toy_spec() -> MakeSpec:
    """A symbol of which one lot step is worth 1 USD per 1.0 of price; keywords change it."""
    return _toy_spec


@pytest.fixture(scope="session")
def toy_bars() -> MakeBars:
    """Hourly bars from rows of prices."""
    return _toy_bars


@pytest.fixture(scope="session")
def toy_tape() -> MakeTape:
    """A tape over toy bars; keywords change its rules."""
    return _toy_tape


@pytest.fixture(scope="session")
def gold_bars() -> Bars:
    """4,000 simulated hourly gold bars."""
    return SimulatedMarket("XAUUSD", "H1", 4_000, 5).bars(load_symbols()["XAUUSD"])


@pytest.fixture(scope="session")
def terminal_of() -> Callable[..., SimulatedTerminal]:
    """A simulated terminal over given bars that stands at the close of bar ``row``."""

    def make(bars: Bars, spec: SymbolSpec, row: int, name: str = "") -> SimulatedTerminal:
        return SimulatedTerminal(
            Panel([bars]),
            [spec],
            _toy_tape(bars, spec),
            rows=(row, len(bars) - 1),
            terms=AccountTerms(10_000.0),
            names=[name or spec.name],
        )

    return make


@pytest.fixture(scope="session")
def gold_scenario(gold_bars: Bars) -> Scenario:
    """The shipped gold env with short episodes, fitted on :func:`gold_bars`."""
    env = resolve_env("xauusd_h1", {"episode": {"bars": 200}})
    return Scenario.fit(env, given_market(env, gold_bars))


@dataclass(frozen=True)
class SmallRun:
    """A finished small training; ``models`` and ``runs`` lie in ``folder``."""

    folder: Path
    config: TrainingConfig
    bundle: Bundle


@pytest.fixture(scope="session")
def memory_policy() -> Callable[..., bytes]:
    """An ONNX model with a memory of two cells, which acts by ``clip(h' @ act)``.

    ``c' = c / 2 + h / 4 + obs @ read`` and ``h' = tanh(c')``. ``out`` is the shape that it claims
    its state to have.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def make(
        read: Sequence[Sequence[float]], act: Sequence[float], out: Sequence[int] = (2, 1, 2)
    ) -> bytes:
        weights = {
            "read": np.asarray(read, np.float32),
            "act": np.asarray(act, np.float32).reshape(-1, 1),
            "half": np.float32(0.5),
            "quarter": np.float32(0.25),
            "low": np.float32(-1.0),
            "high": np.float32(1.0),
            "first": np.array([0], np.int64),
        }
        wide = {"state_in": [2, 1, 2], "state_out": list(out), "action": [1, 1]}
        wide["obs"] = [1, len(weights["read"])]
        ends = {
            name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in wide.items()
        }
        nodes = [
            helper.make_node("Split", ["state_in"], ["h", "c"], axis=0),
            helper.make_node("Mul", ["c", "half"], ["kept"]),
            helper.make_node("Mul", ["h", "quarter"], ["fed"]),
            helper.make_node("MatMul", ["obs", "read"], ["seen"]),
            helper.make_node("Sum", ["kept", "fed", "seen"], ["cell"]),
            helper.make_node("Tanh", ["cell"], ["hidden"]),
            helper.make_node("Concat", ["hidden", "cell"], ["state_out"], axis=0),
            helper.make_node("MatMul", ["hidden", "act"], ["wish"]),
            helper.make_node("Squeeze", ["wish", "first"], ["raw"]),
            helper.make_node("Clip", ["raw", "low", "high"], ["action"]),
        ]
        graph = helper.make_graph(
            nodes,
            "memory",
            [ends["obs"], ends["state_in"]],
            [ends["action"], ends["state_out"]],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    return make


@pytest.fixture(scope="session")
def easy_bars() -> Bars:
    """Gold with a regime so strong that even a small network finds it within seconds."""
    law = SimulatedMarket("XAUUSD", "H1", 2000, 3, drift=1.0, flip_probability=0.03)
    return law.bars(load_symbols()["XAUUSD"])


@pytest.fixture(scope="session")
def small_env() -> EnvConfig:
    """An env whose warm-up leaves three splits of 2,000 bars."""
    return EnvConfig.model_validate(
        {
            "name": "small",
            "symbols": ["XAUUSD"],
            "features": ["returns", "spread"],
            "episode": {"bars": 200},
        }
    )


@pytest.fixture(scope="session")
def small_agent() -> AgentConfig:
    """A PPO that learns the easy market in four rollouts."""
    params = {
        "learning_rate": 0.01,
        "n_steps": 32,
        "batch_size": 128,
        "n_epochs": 4,
        "gamma": 0.5,
        "policy_kwargs": {"net_arch": {"pi": [4], "vf": [8]}, "log_std_init": -0.5},
    }
    learning = {"timesteps": 2048, "n_envs": 16, "validate_every": 512}
    return AgentConfig.model_validate({"kind": "ppo", "params": params, "learning": learning})


@pytest.fixture(scope="session")
def easy_store(tmp_path_factory: pytest.TempPathFactory, easy_bars: Bars) -> Path:
    """A folder whose store holds the easy market; not to be written to."""
    folder = tmp_path_factory.mktemp("store")
    source = Source("easy.csv", "utc", len(easy_bars), easy_bars.when(0), easy_bars.when(-1))
    Store(folder).add(easy_bars, source)
    return folder


@pytest.fixture(scope="session")
def small_run(
    tmp_path_factory: pytest.TempPathFactory,
    easy_store: Path,
    small_env: EnvConfig,
    small_agent: AgentConfig,
) -> SmallRun:
    """One training on the stored easy market; not to be written to."""
    from mtquant.training.trainer import TrainingConfig, run_training

    folder = tmp_path_factory.mktemp("small")
    config = TrainingConfig(
        env=small_env,
        agent=small_agent,
        name="small",
        out=folder / "models",
        runs=folder / "runs",
        data_dir=easy_store,
    )
    return SmallRun(folder, config, run_training(config))
