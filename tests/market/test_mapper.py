"""One broker's names: there, back, again after the file has changed, and the nearest of a slip."""

from __future__ import annotations

import pytest

from mtquant.errors import ConfigError
from mtquant.market.mapper import SymbolMapper
from mtquant.market.symbols import SymbolTable, broker_symbol

EIGHT = ("XAUUSD", "BTCUSD", "USDJPY", "EURUSD", "GBPUSD", "US500", "ETHUSD", "USOIL")


@pytest.mark.parametrize("broker", ["ic_markets", "oanda", "exness", "pepperstone"])
def test_the_eight_symbols_go_there_and_back(symbols: SymbolTable, broker: str) -> None:
    mapper = SymbolMapper(broker, lambda: symbols)
    assert set(EIGHT) <= set(mapper.names)
    for name in mapper.names:
        theirs = mapper.to_broker(name)
        assert mapper.to_standard(theirs) == mapper.to_standard(theirs.lower()) == name
        assert mapper.spec(name) is symbols[name]


def test_gold_at_two_brokers(symbols: SymbolTable) -> None:
    assert SymbolMapper("oanda", lambda: symbols).to_broker("XAUUSD") == "GOLD.pro"
    assert SymbolMapper("ic_markets", lambda: symbols).to_broker("xauusd") == "XAUUSD"


def test_slips_are_answered_by_the_nearest(symbols: SymbolTable) -> None:
    mapper = SymbolMapper("oanda", lambda: symbols)
    with pytest.raises(ConfigError, match="did you mean 'XAUUSD'"):
        mapper.to_broker("XAUSD")
    with pytest.raises(ConfigError, match=r"symbol of oanda 'GOLD.prp'; did you mean 'GOLD.pro'"):
        mapper.to_standard("GOLD.prp")
    with pytest.raises(ConfigError, match="unknown broker 'oandaa'; did you mean 'oanda'"):
        SymbolMapper("oandaa", lambda: symbols)
    with pytest.raises(ConfigError, match=r"unknown broker of SPY 'oanda'.*add its name"):
        mapper.spec("SPY")
    with pytest.raises(ConfigError, match="symbol of oanda 'XAUUSD'"):
        mapper.to_standard("XAUUSD")  # others call gold so, this broker does not


def test_a_file_is_read_again_and_a_wrong_one_is_not_taken(symbols: SymbolTable) -> None:
    gold = symbols["XAUUSD"]
    answers: list[object] = [symbols]

    def load() -> SymbolTable:
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        assert isinstance(answers[-1], SymbolTable)
        return answers[-1]

    mapper = SymbolMapper("oanda", load)
    answers.append(ConfigError("wrong"))
    with pytest.raises(ConfigError, match="wrong"):
        mapper.reload()
    assert mapper.to_broker("XAUUSD") == "GOLD.pro"
    answers.append(SymbolTable([gold.model_copy(update={"brokers": {"oanda": "XAU_USD"}})]))
    mapper.reload()
    assert mapper.to_broker("XAUUSD") == "XAU_USD" and mapper.names == ("XAUUSD",)


@pytest.mark.parametrize(
    "name",
    [
        "XAUUSD.m",
        "US500#",
        "#AAPL",
        "[SP500]",
        "BTC/USD",
        "EURUSD_i",
        "Wall Street 30",
        ".US500Cash",
    ],
)
def test_names_that_brokers_use(name: str) -> None:
    assert broker_symbol(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "..\\x",
        "a/../b",
        "./x",
        "/etc",
        "a/",
        "a//b",
        "C:\\x",
        "CON",
        "con.m",
        "NUL/x",
        "COM1",
        "a\0b",
        "a\nb",
        "\u2024\u2024/x",
        "\uff38AU",
        "XAUUSD\u202e",
        "x" * 30,
        "x" * 4096,
        "#.#",
        "~x",
        "x ",
        "$(x)",
        "`x`",
    ],
    ids=ascii,
)
def test_names_that_no_broker_uses(name: str) -> None:
    with pytest.raises(ValueError, match="no broker's symbol") as refused:
        broker_symbol(name)
    assert len(str(refused.value)) < 300 and str(refused.value).isprintable()
