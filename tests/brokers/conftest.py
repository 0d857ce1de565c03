"""A simulated terminal over a few hand-made hourly bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import pytest

from mtquant.brokers.approval import issue
from mtquant.brokers.base import BrokerPosition, Instrument, MarketOrder, OrderResult, StopChange
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.terminal.records import TradeDeal
from mtquant.brokers.terminal.simulated import SimulatedTerminal
from mtquant.brokers.terminal.state import AccountTerms
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.sim.account import Tape
from mtquant.sim.records import RULES
from mtquant.sim.tape import broker_days, contract_rows, market_columns, rules_row

HOUR_NS = 3600 * 10**9
BALANCE = 10_000.0
PRICES = (100.0, 101.0, 102.0, 103.0, 104.0, 105.0)
TOY = {
    "name": "TOY",
    "asset_class": "metal",
    "base": "XAU",
    "quote": "USD",
    "contract_size": 100,
    "tick_size": 0.01,
    "digits": 2,
    "pip_size": 0.1,
    "margin_mode": "cfd_leverage",
    "swap_mode": "none",
    "typical_spread_points": 10,
    "commission_per_lot": 2.0,
    "hours": {"mon-sun": "00:00-24:00"},
}


def make_terminal(
    prices: list[float],
    *,
    clock: str = "utc",
    start: str = "2024-01-02T12:00",
    balance: float = BALANCE,
    low: float | list[float] = 0.0,
    high: float | list[float] = 0.0,
    closes: list[float] | None = None,
    spec: Mapping[str, Any] = MappingProxyType({}),
    rules: Mapping[str, Any] = MappingProxyType({}),
    kind: type[SimulatedTerminal] = SimulatedTerminal,
    **options: Any,
) -> SimulatedTerminal:
    """One symbol, ``TOY`` (the broker says ``TOY.x``), which opens at ``prices``.

    Bar n closes where bar n + 1 opens, unless ``closes`` says otherwise, and reaches ``low`` below
    and ``high`` above both.
    """
    contract = SymbolSpec.model_validate(TOY | {"clock": clock} | spec)
    opened = np.array(prices)
    close = np.append(opened[1:], opened[-1]) if closes is None else np.array(closes)
    time = np.datetime64(start, "ns").astype(np.int64) + np.arange(len(prices)) * HOUR_NS
    bars = Bars(
        "TOY",
        Timeframe.H1,
        time,
        opened,
        np.maximum(opened, close) + high,
        np.minimum(opened, close) - low,
        close,
        np.full(len(prices), 7.0),
        np.full(len(prices), 10.0),
    )
    panel = Panel([bars])
    numbers: dict[str, Any] = dict.fromkeys(RULES.names or (), 0.0)
    numbers |= {"money_scale": 100.0, "stop_out_level": 0.5, "max_exposure": 100.0, **rules}
    tape = Tape(
        market_columns(panel, [contract], "USD", 2),
        broker_days(panel, contract),
        np.zeros((len(bars), 0), np.float32),
        contract_rows([contract], 100.0, 0.0),
        rules_row(numbers),
    )
    return kind(
        panel,
        [contract],
        tape,
        rows=(0, len(bars) - 1),
        terms=AccountTerms(balance),
        names=["TOY.x"],
        **options,
    )


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Kernels are there before anything waits for an answer: a bridge takes silence for a fault."""
    made = make_terminal([100.0, 101.0, 102.0])
    made.initialize()
    made.order_send({"action": 1, "symbol": "TOY.x", "volume": 0.1, "type": 0})
    made.advance()


@pytest.fixture
def terminal() -> SimulatedTerminal:
    made = make_terminal([100.0, 101.0, 102.0, 103.0, 104.0, 105.0])
    made.initialize()
    return made


# What the adapter is given instead of the terminal; see ``provider``.
_provide: list[Callable[[SimulatedTerminal], Any]] = [lambda terminal: terminal]


def adapter_of(terminal: SimulatedTerminal) -> tuple[MT5Adapter, Instrument]:
    instrument = Instrument(terminal._feeds[0].spec, "TOY.x")
    adapter = MT5Adapter(_provide[-1](terminal), [instrument])
    adapter.connect()
    return adapter, instrument


class Desk:
    """A terminal, its adapter and short ways to trade; the bid is 101.00 and the ask 101.10."""

    def __init__(self, prices: Sequence[float] = PRICES, **changes: Any) -> None:
        self.terminal = make_terminal(list(prices), **changes)
        self.adapter, self.instrument = adapter_of(self.terminal)

    def send(self, steps: int, magic: int = 5, **changes: Any) -> OrderResult:
        order = MarketOrder(self.instrument, steps, magic, **changes)
        return self.adapter.send(issue(order, "", lambda: ""))

    def change(self, stop: float, take: float = 0.0, ticket: int = 0) -> OrderResult:
        """Of the oldest position, unless a ticket is named."""
        ticket = ticket or self.positions[0].ticket
        change = StopChange(self.instrument, ticket, stop, take)
        return self.adapter.change_stops(issue(change, "", lambda: ""))

    @property
    def positions(self) -> tuple[BrokerPosition, ...]:
        return self.adapter.positions()

    @property
    def levels(self) -> tuple[float, float]:
        """Of the one position."""
        (position,) = self.positions
        return position.stop, position.take

    @property
    def deals(self) -> list[TradeDeal]:
        """As the server shows them, the deposit first."""
        return self.terminal.account.deals


@pytest.fixture(scope="session")
def desk() -> type[Desk]:
    return Desk


@pytest.fixture(scope="session")
def make() -> Callable[..., SimulatedTerminal]:
    return make_terminal


@pytest.fixture(scope="session")
def adapter_for() -> Callable[[SimulatedTerminal], tuple[MT5Adapter, Instrument]]:
    return adapter_of


@pytest.fixture(scope="session")
def toy_spec() -> SymbolSpec:
    return make_terminal([1.0, 1.0])._feeds[0].spec


# The adapter's own tests run against the terminal itself and through a bridge to it.
ADAPTER_SUITE = ("test_mt5", "test_hedging", "test_stops", "test_stops_hit")
PROVIDERS = ("in process", "bridge")


def load(name: str) -> ModuleType:
    """A helper that stands beside this file, which is no package."""
    folder = str(Path(__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module(name)


@pytest.fixture(scope="session")
def bridges() -> ModuleType:
    """Makes bridges."""
    return load("bridges")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name = metafunc.module.__name__.rpartition(".")[2]
    if name in ADAPTER_SUITE and {"desk", "adapter_for"} & set(metafunc.fixturenames):
        metafunc.parametrize("provider", PROVIDERS, indirect=True)


@pytest.fixture(scope="session")
def bridge_pool(bridges: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = bridges.Pool(tmp_path_factory.mktemp("pool"))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def provider(request: pytest.FixtureRequest) -> Iterator[None]:
    """Who stands between adapter and terminal in this test."""
    if getattr(request, "param", PROVIDERS[0]) == PROVIDERS[0]:
        yield
        return
    pool = request.getfixturevalue("bridge_pool")
    _provide.append(pool.through)
    yield
    _provide.pop()
    pool.release()
