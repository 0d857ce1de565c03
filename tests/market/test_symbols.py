import pytest

from mtquant.errors import ConfigError
from mtquant.market.clock import Clock
from mtquant.market.hours import TradingHours
from mtquant.market.rollover import nights_of_week
from mtquant.market.symbols import SymbolTable

EIGHT = ("XAUUSD", "BTCUSD", "USDJPY", "EURUSD", "GBPUSD", "US500", "ETHUSD", "USOIL")


@pytest.mark.parametrize("name", EIGHT)
def test_the_eight_symbols_are_named_at_the_four_brokers(symbols: SymbolTable, name: str) -> None:
    for broker in ("ic_markets", "oanda", "exness", "pepperstone"):
        theirs = symbols.broker_name(name, broker)
        assert symbols.standard_name(theirs, broker) == name


def test_every_shipped_contract_is_consistent(symbols: SymbolTable) -> None:
    for name in symbols.names:
        spec = symbols[name]
        assert spec.tick_size == pytest.approx(spec.point)
        assert spec.pip_size >= spec.tick_size
        assert TradingHours.of(spec).open_minutes.any()
        assert Clock.parse(spec.clock).name == spec.clock
        assert nights_of_week(spec).sum() == 7


def test_oandas_gold_is_found_and_a_misspelling_is_named(symbols: SymbolTable) -> None:
    assert symbols.standard_name("gold.PRO") == "XAUUSD"
    assert symbols.standard_name("BTCUSDT", "binance") == "BTCUSD"
    with pytest.raises(ConfigError, match="did you mean 'XAUUSD'"):
        symbols["XAUSD"]
