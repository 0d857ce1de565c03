"""A simulated terminal over a few hand-made hourly bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mtquant.brokers.base import Instrument
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.terminal import SimulatedTerminal
from mtquant.brokers.terminal_state import AccountTerms
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.market.timeframe import Timeframe
from mtquant.sim.account import RULES, Tape
from mtquant.sim.tape import broker_days, contract_rows, market_columns, rules_row

HOUR_NS = 3600 * 10**9
BALANCE = 10_000.0


def make_terminal(
    prices: list[float],
    *,
    clock: str = "utc",
    start: str = "2024-01-02T12:00",
    balance: float = BALANCE,
    low: float = 0.0,
) -> SimulatedTerminal:
    """One symbol, ``TOY`` (the broker says ``TOY.x``); bar n closes where bar n + 1 opens."""
    spec = SymbolSpec(
        name="TOY",
        asset_class="metal",
        base="XAU",
        quote="USD",
        contract_size=100,
        tick_size=0.01,
        digits=2,
        pip_size=0.1,
        margin_mode="cfd_leverage",
        swap_mode="none",
        typical_spread_points=10,
        commission_per_lot=2.0,
        clock=clock,
        hours={"mon-sun": "00:00-24:00"},
    )
    opened = np.array(prices)
    close = np.append(opened[1:], opened[-1])
    time = np.datetime64(start, "ns").astype(np.int64) + np.arange(len(prices)) * HOUR_NS
    bars = Bars(
        "TOY",
        Timeframe.H1,
        time,
        opened,
        np.maximum(opened, close),
        np.minimum(opened, close) - low,
        close,
        np.full(len(prices), 7.0),
        np.full(len(prices), 10.0),
    )
    panel = Panel([bars])
    rules: dict[str, Any] = dict.fromkeys(RULES.names or (), 0.0)
    rules |= {"money_scale": 100.0, "stop_out_level": 0.5, "max_exposure": 100.0}
    tape = Tape(
        market_columns(panel, [spec], "USD", 2),
        broker_days(panel, spec),
        np.zeros((len(bars), 0), np.float32),
        contract_rows([spec], 100.0, 0.0),
        rules_row(rules),
    )
    return SimulatedTerminal(
        panel,
        [spec],
        tape,
        rows=(0, len(bars) - 1),
        terms=AccountTerms(balance),
        names=["TOY.x"],
    )


@pytest.fixture
def terminal() -> SimulatedTerminal:
    made = make_terminal([100.0, 101.0, 102.0, 103.0, 104.0, 105.0])
    made.initialize()
    return made


def adapter_of(terminal: SimulatedTerminal) -> tuple[MT5Adapter, Instrument]:
    instrument = Instrument(terminal._feeds[0].spec, "TOY.x")
    adapter = MT5Adapter(terminal, [instrument])
    adapter.connect()
    return adapter, instrument


@pytest.fixture(scope="session")
def make() -> Callable[..., SimulatedTerminal]:
    return make_terminal


@pytest.fixture(scope="session")
def adapter_for() -> Callable[[SimulatedTerminal], tuple[MT5Adapter, Instrument]]:
    return adapter_of


@pytest.fixture(scope="session")
def toy_spec() -> SymbolSpec:
    return make_terminal([1.0, 1.0])._feeds[0].spec
