"""``mtquant accounts``, ``data fetch|update`` and ``symbols`` as a user types them."""

from __future__ import annotations

import re
import sys
from difflib import ndiff
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from mtquant.brokers.accounts import accounts_of
from mtquant.brokers.terminal.records import SymbolInfo
from mtquant.brokers.terminal.state import LOGIN, SERVER
from mtquant.commands import accounts as account_commands
from mtquant.commands import fetch as fetch_commands
from mtquant.config.load import load_symbols
from mtquant.market.bars import Bars
from mtquant.market.store import Store
from mtquant.market.timeframe import Timeframe

ROOT = Path(__file__).parents[2]
H1 = Timeframe.H1
ROW = 700
CANARY = "canary-2ab61c90f7"
FETCH = ("data", "fetch", "--account", "demo", "--symbol", "XAUUSD", "--timeframe", "H1")
UPDATE = ("data", "update", "--account", "demo")


class Desktop:
    """A Windows desktop: the MetaTrader5 module is there, and time is its terminal's."""

    def __init__(self, terminal_of: Any, bars: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bars = Bars.from_frame(bars.to_frame().round({"volume": 0, "spread": 0}), "XAUUSD", H1)
        self.spec = load_symbols()["XAUUSD"]
        self._monkeypatch = monkeypatch
        self.minutes_late = 1
        self.open(terminal_of(self.bars, self.spec, ROW, "XAUUSD"))

    def open(self, terminal: Any) -> None:
        self.terminal = terminal
        self._monkeypatch.setitem(sys.modules, "MetaTrader5", terminal)
        late = 60 * 10**9
        time = SimpleNamespace(
            time_ns=lambda: terminal.now_ns() + self.minutes_late * late, sleep=lambda seconds: None
        )
        self._monkeypatch.setattr(account_commands, "time", time)
        self._monkeypatch.setattr(fetch_commands, "time", time)

    def stored(self) -> Bars:
        return Store("data").get("XAUUSD", H1)


@pytest.fixture
def desktop(desk, terminal_of, gold_bars, monkeypatch) -> Desktop:
    account = {"broker_id": "ic_markets", "login": LOGIN, "server": SERVER, "is_demo": True}
    account["password"] = "${MT5_DEMO_PASSWORD}"
    monkeypatch.setenv("MT5_DEMO_PASSWORD", CANARY)
    (desk / "configs").mkdir()
    listed = {"demo": account, "live": {**account, "is_demo": False, "login": None}}
    (desk / "configs/brokers.yaml").write_text(yaml.safe_dump(listed), encoding="utf-8")
    return Desktop(terminal_of, gold_bars[:1000], monkeypatch)


def test_fetch_and_update(desktop, mtquant):
    day = desktop.bars.when(300)[:10]
    first = int(
        (desktop.bars.time >= desktop.bars.time[300] // 86400_000000000 * 86400_000000000).argmax()
    )
    done = mtquant(*FETCH, "--from", day)
    assert done.code == 0, done
    assert "which is ny+7" in done.out and "0 replaced" in done.out
    assert f"{ROW + 1 - first:,} closed bars XAUUSD H1" in done.out
    assert "XAUUSD of demo" in done.out, "the quality check's findings are shown"
    assert desktop.stored().fingerprint() == desktop.bars[first : ROW + 1].fingerprint()
    for _ in range(5):
        desktop.terminal.advance()
    done = mtquant(*UPDATE)
    assert done.code == 0, done
    assert ": 5 new, 0 replaced" in done.out
    assert desktop.stored().fingerprint() == desktop.bars[first : ROW + 6].fingerprint()
    assert ": 0 new" in mtquant(*UPDATE, "--symbol", "xauusd", "--timeframe", "h1").out
    listed = mtquant("data", "list").out
    assert "XAUUSD of demo (ny+7)" in listed
    assert CANARY not in done.out + done.err + listed


def test_a_revised_history_is_refused_until_told(desktop, mtquant, terminal_of):
    mtquant(*FETCH, "--from", desktop.bars.when(300)[:10])
    before = desktop.stored().fingerprint()
    frame = desktop.bars.to_frame()
    frame.loc[ROW - 3, "high"] += 0.01
    changed = Bars.from_frame(frame, "XAUUSD", H1)
    desktop.open(terminal_of(changed, desktop.spec, ROW, "XAUUSD"))
    done = mtquant(*UPDATE)
    assert done.code == 2 and "differs from the stored one; use --replace" in done.err
    assert desktop.stored().fingerprint() == before
    done = mtquant(*UPDATE, "--replace")
    assert done.code == 0 and ": 0 new, 100 replaced" in done.out
    assert desktop.stored().fingerprint() != before


def test_a_server_on_another_clock_is_found_out_before_anything_is_read(
    desktop, mtquant, terminal_of
):
    wrong = desktop.spec.model_copy(update={"clock": "utc+6"})
    desktop.open(terminal_of(desktop.bars, wrong, ROW, "XAUUSD"))
    done = mtquant(*FETCH, "--from", "2015-01-01")
    assert done.code == 2 and "correct 'clock' of the broker's symbols" in done.err
    assert not Path("data").exists()


def test_on_a_weekend_the_clock_is_taken_from_the_file_and_that_is_said(desktop, mtquant):
    desktop.minutes_late = 40 * 60
    done = mtquant(*FETCH, "--from", "2015-01-01")
    assert done.code == 0 and "cannot be measured, XAUUSD has no new tick" in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*FETCH, "--from", "yesterday"), "--from 'yesterday' is no day"),
        ((*FETCH, "--from", "2020-02-31"), "is no day; write it as 2020-01-31"),
        ((*FETCH, "--from", "2020-01-01", "--to", "../x"), "--to '../x' is no day"),
        ((*FETCH, "--from", "2035-01-01"), "begin earlier"),
        (("data", "fetch", "--account", "dmeo", *FETCH[4:], "--from", "2020-01-01"), "'demo'"),
        (("data", "fetch", "--account", "live", *FETCH[4:], "--from", "2020-01-01"), "not filled"),
        (("data", "fetch", "--account", "../x", *FETCH[4:], "--from", "2020-01-01"), "'../x'"),
        ((*FETCH[:5], "../XAUUSD", *FETCH[6:], "--from", "2020-01-01"), "unknown symbol"),
        ((*FETCH[:5], "SPY", *FETCH[6:], "--from", "2020-01-01"), "no symbol 'SPY.NYSE'"),
        (UPDATE, "nothing in data is to be updated"),
        (("accounts", "check", "live"), "account 'live' is not filled in"),
        (("symbols", "show", "GOLD.prp"), "did you mean 'GOLD.pro'"),
        (("symbols", "sync", "--account", "demo", "XAUSD"), "did you mean 'XAUUSD'"),
    ],
    ids=lambda value: " ".join(value[-6:]) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_sentence(desktop, refused, words, told):
    said = refused(*words)
    assert told in said and CANARY not in said


def test_without_a_terminal_or_an_account_one_sentence(desk, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "MetaTrader5", None)
    assert "is not filled in" in refused(*FETCH, "--from", "2020-01-01")
    assert "no account is filled in" in refused("accounts", "check")
    text = (ROOT / "configs/brokers.yaml").read_text(encoding="utf-8")
    filled = text.replace("login: null", "login: 1").replace('server: ""', "server: S")
    (desk / "configs").mkdir()
    (desk / "configs/brokers.yaml").write_text(filled, encoding="utf-8")
    monkeypatch.delenv("MT5_DEMO_PASSWORD", raising=False)
    monkeypatch.setattr("mtquant.brokers.secrets.keyring_secret", lambda name: None)
    assert "MT5_DEMO_PASSWORD is not set" in refused(*FETCH, "--from", "2020-01-01")
    monkeypatch.setenv("MT5_DEMO_PASSWORD", CANARY)
    said = refused(*FETCH, "--from", "2020-01-01")
    assert "has no MetaTrader5 module" in said and CANARY not in said


def test_accounts_are_listed_and_checked(desktop, mtquant):
    listed = mtquant("accounts", "list")
    assert listed.code == 0 and "not filled in" in listed.out and "REAL MONEY" in listed.out
    order = {"action": 1, "symbol": "XAUUSD", "type": 0, "type_filling": 0, "volume": 0.5}
    desktop.terminal.initialize()
    assert desktop.terminal.order_send(order).retcode == 10009
    done = mtquant("accounts", "check")
    assert done.code == 0, done
    assert re.search(r"demo .* up ", done.out) and "+0.5" in done.out
    assert CANARY not in done.out + listed.out


def test_an_account_that_is_another_one_is_down(desktop, mtquant, desk):
    path = desk / "configs/brokers.yaml"
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    listed["demo"]["currency"] = "EUR"
    path.write_text(yaml.safe_dump(listed), encoding="utf-8")
    done = mtquant("accounts", "check", "demo")
    assert done.code == 2 and "currency is USD and not EUR" in done.err


# --- symbols


def test_symbols_are_listed_and_shown(desk, mtquant):
    listed = mtquant("symbols", "list").out
    for name in load_symbols().names:
        assert name in listed
    assert "oanda GOLD.pro" in re.sub(r"\s+", " ", mtquant("symbols", "show", "GOLD.pro").out)
    assert "100" in mtquant("symbols", "show", "xauusd").out


def drifted(desktop: Desktop, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    shown = type(desktop.terminal).symbol_info

    def info(self: Any, symbol: str, /) -> SymbolInfo:
        return SymbolInfo.of(**{**shown(self, symbol)._asdict(), **changes})

    monkeypatch.setattr(type(desktop.terminal), "symbol_info", info)


def test_sync_shows_each_field_and_writes_only_when_told(desktop, mtquant, desk, monkeypatch):
    path = desk / "configs/symbols.yaml"
    assert "no contract differs" in mtquant("symbols", "sync", "--account", "demo").out
    drifted(desktop, monkeypatch, swap_long=-41.25, volume_max=50.0, volume_limit=75.0)
    done = mtquant("symbols", "sync", "--account", "demo")
    assert done.code == 0 and not path.exists()
    for words in (
        r"XAUUSD .* lot_max .* 100 .* 50 ",
        r"volume_limit .* none .* 75 ",
        r"swap_long .* -38 .* -41.25 ",
    ):
        assert re.search(words, done.out)
    assert "no symbol EURUSD there" in done.out
    assert "XAUUSD differ; nothing was written" in done.out
    done = mtquant("symbols", "sync", "--account", "demo", "--write")
    assert "XAUUSD written to configs/symbols.yaml" in done.out
    packaged = (ROOT / "configs/symbols.yaml").read_text(encoding="utf-8").splitlines()
    written = path.read_text(encoding="utf-8").splitlines()
    come = [line[2:] for line in ndiff(packaged, written) if line.startswith("+ ")]
    assert sorted(line.split()[:2] for line in come) == [
        ["lot_max:", "50"],
        ["swap_long:", "-41.25"],
        ["volume_limit:", "75"],
    ]
    now = load_symbols()["XAUUSD"]
    assert (now.swap_long, now.volume_limit) == (-41.25, 75.0)
    assert "no contract differs" in mtquant("symbols", "sync", "--account", "demo").out
    assert sorted(p.name for p in path.parent.iterdir()) == ["brokers.yaml", "symbols.yaml"]


def test_sync_says_what_cannot_be_computed(desktop, mtquant, monkeypatch):
    drifted(desktop, monkeypatch, trade_calc_mode=34)
    done = mtquant("symbols", "sync", "--account", "demo", "XAUUSD", "--write")
    assert "margin mode 34 is none that mtquant" in re.sub(r"\s+", " ", done.out)
    assert not Path("configs/symbols.yaml").exists()


# --- the page


def fenced(language: str) -> str:
    page = (ROOT / "docs/accounts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (block,) = [text for named, text in blocks if named == language]
    return block


def test_the_accounts_of_the_page_are_accounts():
    accounts = accounts_of(yaml.safe_load(fenced("yaml")), "the page")
    assert accounts.names == ("demo", "live")
    for name in accounts.names:
        accounts[name].refuse_unfilled()


def test_every_command_of_the_page_runs(desktop, mtquant):
    lines = fenced("").splitlines()
    assert len(lines) == 7
    for line in lines:
        words = line.replace("2020-01-01", "2015-01-01").split()[1:]
        done = mtquant(*(word for word in words if word != "--watch"))
        assert done.code == 0, (line, done)


def test_watching_checks_again_until_it_is_stopped(desktop, mtquant, monkeypatch):
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if waited.count(30.0) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(account_commands.time, "sleep", sleep)
    done = mtquant("accounts", "check", "demo", "--watch")
    assert done.code == 130 and waited.count(30.0) == 2
    assert len(re.findall(r"demo .* up ", done.out)) == 2
