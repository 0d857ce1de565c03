"""Symbols as shipped, and small market files made on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from mtquant.market.bars import Bars
from mtquant.market.symbols import SymbolSpec, SymbolTable
from mtquant.market.timeframe import Timeframe

SYMBOLS = Path(__file__).parents[2] / "configs" / "symbols.yaml"


@pytest.fixture(scope="session")
def symbols() -> SymbolTable:
    entries = yaml.safe_load(SYMBOLS.read_text(encoding="utf-8"))
    return SymbolTable(SymbolSpec(name=name, **fields) for name, fields in entries.items())


@pytest.fixture(scope="session")
def gold(symbols: SymbolTable) -> SymbolSpec:
    return symbols["XAUUSD"]


@pytest.fixture(scope="session")
def bitcoin(symbols: SymbolTable) -> SymbolSpec:
    return symbols["BTCUSD"]


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., Path]:
    def write(content: str | bytes, name: str = "prices.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


@pytest.fixture
def hourly() -> Callable[..., Bars]:
    """Quiet hourly gold bars from a Monday 01:00 server time on, without closed hours."""

    def make(n: int = 20, start: str = "2024-01-08T06:00", symbol: str = "XAUUSD") -> Bars:
        time = np.datetime64(start, "ns").astype(np.int64) + np.arange(n) * 3_600_000_000_000
        close = 2000.0 + np.arange(n) % 7
        opened = np.concatenate([[2000.0], close[:-1]])
        return Bars(
            symbol,
            Timeframe.H1,
            time=time,
            open=opened,
            high=np.maximum(opened, close) + 1,
            low=np.minimum(opened, close) - 1,
            close=close,
            volume=np.arange(n) + 1.0,
            spread=np.full(n, 18.0),
        )

    return make
