"""An account behind a bridge over real loopback HTTP: verified and read, its token unseen."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from mtquant.brokers.accounts import AccountEntry, accounts_of
from mtquant.brokers.bridge.calls import Scope
from mtquant.brokers.bridge.tokens import read_token, write_token
from mtquant.brokers.connect import connect
from mtquant.brokers.reading import Pace, Reads
from mtquant.brokers.source import MT5Source
from mtquant.brokers.terminal.state import LOGIN, SERVER
from mtquant.config.load import load_symbols
from mtquant.errors import BrokerUnavailable, ConfigError, RiskHalt
from mtquant.market.mapper import SymbolMapper
from mtquant.market.timeframe import Timeframe

WRONG = "CaNaRy0123456789_-abcdefXYZ"
ROW = 700


@pytest.fixture
def bridge(bridges, terminal_of, gold_bars, tmp_path) -> Iterator[Any]:
    terminal = terminal_of(gold_bars[:1000], load_symbols()["XAUUSD"], ROW, "XAUUSD")
    opened = bridges.Bridge(lambda: bridges.ThreadWorker(terminal), tmp_path / "bridge")
    opened.now_ns = terminal.now_ns
    yield opened
    opened.close()


def entry(url: str, token: str, **changes: Any) -> AccountEntry:
    values = {"broker_id": "ic_markets", "login": LOGIN, "server": SERVER, "is_demo": True}
    values |= {"bridge": {"url": url, "token": token}}
    return accounts_of({"demo": {**values, **changes}}, "brokers.yaml")["demo"]


def test_bars_come_through_a_bridge_as_they_are(bridge, gold_bars):
    account = entry(bridge.url, "${A_TOKEN}")
    credentials = account.credentials({"A_TOKEN": bridge.read.secret})
    module = connect(account, credentials)
    assert bridge.read.secret not in repr(module) + repr(credentials)
    reads = Reads(module, Pace(bridge.now_ns, lambda seconds: None))
    source = MT5Source(reads, SymbolMapper("ic_markets", load_symbols), "demo", page_bars=300)
    spec = load_symbols()["XAUUSD"]
    got = source.fetch(spec, Timeframe.H1)
    assert len(got) == ROW + 1
    for column in ("time", "open", "high", "low", "close"):
        assert getattr(got, column).tolist() == getattr(gold_bars, column)[: ROW + 1].tolist()
    reads.close()


def test_a_token_may_lie_in_the_file_that_the_bridge_made(bridges, make, tmp_path):
    path = tmp_path / "token"
    write_token(path, Scope.READ)
    opened = bridges.Bridge(
        lambda: bridges.ThreadWorker(make([1.0, 1.1])), tmp_path / "b", tokens=[read_token(path)]
    )
    try:
        account = entry(opened.url, f"file:{path}")
        module = connect(account, account.credentials({}))
        assert module.account_info().login == LOGIN
        module.shutdown()
    finally:
        opened.close()


def test_another_account_behind_the_bridge_is_refused(bridge):
    account = entry(bridge.url, "${A_TOKEN}", currency="EUR")
    with pytest.raises(RiskHalt, match="currency is USD and not EUR"):
        connect(account, account.credentials({"A_TOKEN": bridge.read.secret}))
    other = entry(bridge.url, "${A_TOKEN}", login=7)
    with pytest.raises((ConfigError, BrokerUnavailable), match="7"):
        connect(other, other.credentials({"A_TOKEN": bridge.read.secret}))


def test_a_wrong_token_is_refused_and_not_shown(bridge, caplog):
    caplog.set_level(logging.DEBUG)
    account = entry(bridge.url, "${A_TOKEN}")
    with pytest.raises((ConfigError, BrokerUnavailable)) as refused:
        connect(account, account.credentials({"A_TOKEN": WRONG}))
    assert WRONG not in "".join(traceback.format_exception(refused.value)) + caplog.text


@pytest.mark.parametrize("token", ["short", "read", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a b c"])
def test_a_weak_token_is_refused_before_anything_is_sent(token):
    account = entry("https://127.0.0.1:1", "${A_TOKEN}")
    with pytest.raises(ConfigError, match=r"'bridge.token' of account 'demo'") as refused:
        connect(account, account.credentials({"A_TOKEN": token}))
    assert token not in str(refused.value).replace("holds no token", "").replace("bridge.token", "")


def test_a_bridge_that_is_not_there_is_unavailable():
    account = entry("http://127.0.0.1:9", "${A_TOKEN}")
    with pytest.raises(BrokerUnavailable, match=r"no terminal answers.*No connection"):
        connect(account, account.credentials({"A_TOKEN": WRONG}))
