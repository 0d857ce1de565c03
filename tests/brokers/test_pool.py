"""Several accounts: reads fail over where the answer is the same for all, and nothing can trade."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mtquant.brokers import pool as pool_module
from mtquant.brokers.accounts import AccountEntry, Credentials
from mtquant.brokers.connect import connect
from mtquant.brokers.connection import CHECK_EVERY_NS
from mtquant.brokers.pool import ConnectionPool
from mtquant.brokers.reading import Pace, Reads
from mtquant.brokers.terminal.state import LOGIN, SERVER
from mtquant.errors import BrokerUnavailable, ConfigError
from mtquant.market.clock import SECOND_NS
from mtquant.market.symbols import SymbolTable
from mtquant.market.timeframe import Timeframe

START_NS = 1_700_000_000 * SECOND_NS
H1 = Timeframe.H1


class FakeTime:
    """Time passes by sleeping, and 2 ms with each look at the clock."""

    def __init__(self) -> None:
        self.now = START_NS
        self.slept: list[float] = []

    def now_ns(self) -> int:
        self.now += 2_000_000
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * SECOND_NS)


class Line:
    """A terminal behind a line that can be cut; counts what is asked."""

    def __init__(self, terminal: Any) -> None:
        self.terminal = terminal
        self.cut = False
        self.connected = True
        self.other_login = 0
        self.asked: list[str] = []
        self.cut_for = 0
        self.silent = False

    def last_error(self) -> tuple[int, str]:
        return (-10004, "No IPC connection") if self.silent else self.terminal.last_error()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.terminal, name)
        if not callable(real):
            return real

        def call(*args: Any, **named: Any) -> Any:
            self.asked.append(name)
            self.silent = self.cut
            if self.cut:
                self.cut_for -= 1
                self.cut = self.cut_for != 0
                return False if name in ("initialize", "symbol_select") else None
            answer = real(*args, **named)
            if name == "account_info" and self.other_login:
                answer = type(answer).of(**{**answer._asdict(), "login": self.other_login})
            if name == "terminal_info":
                answer = type(answer).of(**{**answer._asdict(), "connected": self.connected})
            return answer

        return call

    def cut_off(self, calls: int = -1) -> None:
        self.cut, self.cut_for = True, calls


class Ring:
    """Three accounts, two of them with one broker, over real simulated terminals."""

    def __init__(self, make: Callable[..., Any], spec: Any) -> None:
        self.time = FakeTime()
        self.lines = {name: Line(make([100.0, 101.0, 102.0, 103.0])) for name in ("a", "b", "c")}
        named = spec.model_copy(update={"brokers": {"same": "TOY.x", "else": "TOY.x"}})
        self.pool = ConnectionPool(
            [self.entry("a", "same"), self.entry("b", "same"), self.entry("c", "else")],
            self.open,
            SymbolTable([named]),
            self.time.now_ns,
        )

    @staticmethod
    def entry(name: str, broker: str, **changes: Any) -> AccountEntry:
        address = {"url": "https://desk.example", "token": "${A_TOKEN}"}
        plain = {"name": name, "broker_id": broker, "login": LOGIN, "server": SERVER}
        return AccountEntry.model_validate({**plain, "is_demo": True, "bridge": address, **changes})

    def open(self, entry: AccountEntry) -> Reads:
        module = connect(entry, Credentials(), lambda *_: self.lines[entry.name])
        return Reads(module, Pace(self.time.now_ns, self.time.sleep))

    def asked(self, name: str, function: str) -> int:
        return self.lines[name].asked.count(function)


@pytest.fixture
def ring(make, toy_spec) -> Ring:
    return Ring(make, toy_spec)


def test_a_pool_has_nothing_to_trade_with():
    """By name and by type: what it hands out is data, what it holds can only read."""
    public = {name for name in vars(ConnectionPool) if not name.startswith("_")}
    assert public == {"check", "statistics", "symbol_info", "rates", "positions", "close"}
    reads = {name for name in vars(Reads) if not name.startswith("_")}
    assert reads == {
        "account",
        "terminal",
        "positions",
        "symbols",
        "symbol_info",
        "tick",
        "rates",
        "close",
    }
    with pytest.raises(AttributeError):
        _ = Reads.order_send  # type: ignore[attr-defined]
    source = pool_module.__file__
    with open(source, encoding="utf-8") as file:
        assert "order_send" not in file.read()


def test_bars_come_from_the_first_account_while_it_answers(ring):
    rows = ring.pool.rates("same", "TOY", H1, 1, 1)
    assert rows["open"].tolist() == [100.0]
    assert ring.asked("a", "copy_rates_from_pos") == 1
    assert ring.lines["b"].asked == [] and ring.lines["c"].asked == []


def test_a_read_fails_over_to_an_account_of_the_same_broker_only(ring):
    ring.pool.rates("same", "TOY", H1, 1, 1)
    ring.lines["a"].cut_off()
    assert len(ring.pool.rates("same", "TOY", H1, 1, 1)) == 1
    assert ring.asked("b", "copy_rates_from_pos") == 1
    assert ring.pool.symbol_info("same", "TOY").name == "TOY.x"
    ring.lines["b"].cut_off()
    with pytest.raises(BrokerUnavailable, match="no account of same answers"):
        ring.pool.symbol_info("same", "TOY")
    assert ring.lines["c"].asked == [], "another broker's answer is another answer"
    assert ring.pool.symbol_info("else", "TOY").name == "TOY.x"


def test_an_account_that_came_back_is_used_again(ring):
    ring.lines["a"].cut_off()
    ring.pool.rates("same", "TOY", H1, 1, 1)
    ring.lines["a"].cut = False
    ring.time.sleep(31)
    assert [one.up for one in ring.pool.check()] == [True, True, True]
    ring.pool.rates("same", "TOY", H1, 1, 1)
    assert ring.asked("a", "copy_rates_from_pos") == 1


def test_positions_never_come_from_another_account(ring):
    send = {"action": 1, "symbol": "TOY.x", "type": 0, "type_filling": 0}
    for name, volume in (("a", 0.01), ("c", 0.02)):
        ring.lines[name].terminal.initialize()
        assert ring.lines[name].terminal.order_send({**send, "volume": volume}).retcode == 10009
    held = ring.pool.positions()
    assert [(p.account, p.symbol, p.volume_lots) for p in held.positions] == [
        ("a", "TOY", 0.01),
        ("c", "TOY", 0.02),
    ]
    assert held.net_lots() == {"TOY": 0.03} and held.unknown == ()
    ring.lines["a"].cut_off()
    held = ring.pool.positions()
    assert held.unknown == ("a",), "unknown, and not flat"
    assert held.net_lots() == {"TOY": 0.02}


def test_a_terminal_switched_to_another_account_is_down_and_tells_no_positions(ring):
    assert all(one.up for one in ring.pool.check())
    ring.lines["b"].other_login = 7
    assert ring.pool.positions().unknown == ("b",)
    ring.time.sleep(31)
    health = {one.account: one for one in ring.pool.check()}
    assert not health["b"].up and not health["b"].repairable
    assert "login is 7 and not" in health["b"].problem
    ring.lines["a"].cut_off()
    with pytest.raises(BrokerUnavailable, match="login is 7"):
        ring.pool.rates("same", "TOY", H1, 1, 1)
    ring.lines["b"].other_login = 0
    ring.time.sleep(31)
    assert {one.account: one.up for one in ring.pool.check()} == {"a": False, "b": True, "c": True}


def test_a_symbol_that_is_not_there_is_no_reason_to_ask_another_account(ring, toy_spec):
    gone = toy_spec.model_copy(update={"brokers": {"same": "GONE"}})
    ring.pool._symbols = SymbolTable([gone])
    with pytest.raises(ConfigError, match="the broker has no symbol 'GONE'"):
        ring.pool.symbol_info("same", "TOY")
    assert ring.lines["b"].asked == []


def test_an_unknown_broker_names_the_pools(ring, toy_spec):
    wide = toy_spec.model_copy(update={"brokers": {"third": "T"}})
    ring.pool._symbols = SymbolTable([wide])
    with pytest.raises(ConfigError, match="unknown broker of the pool 'third'; known: else, same"):
        ring.pool.symbol_info("third", "TOY")


def test_health_is_asked_every_thirty_seconds(ring):
    ring.pool.check()
    ring.time.now += CHECK_EVERY_NS - SECOND_NS
    ring.pool.check()
    assert ring.asked("a", "terminal_info") == 2  # connecting, and the check
    ring.time.now += SECOND_NS
    ring.pool.check()
    assert ring.asked("a", "terminal_info") == 3


def test_latency_uptime_and_counts(ring):
    (first, *_) = ring.pool.check()
    assert first.up and 2.0 <= first.latency_ms < 100.0 and first.problem == ""
    ring.lines["a"].connected = False
    ring.time.sleep(60)
    (down, *_) = ring.pool.check()
    assert not down.up and "lost its server" in down.problem and down.repairable
    ring.lines["a"].connected = True
    ring.time.sleep(60)
    ring.pool.check()
    counts = ring.pool.statistics()["a"]
    assert (counts.checks, counts.failed_checks, counts.connects) == (3, 1, 2)
    assert counts.uptime == pytest.approx(0.5, abs=0.05)
    assert counts.latency_mean_ms == pytest.approx(first.latency_ms, rel=0.5)
    assert ring.pool.statistics()["b"].uptime == 1.0
    ring.pool.rates("same", "TOY", H1, 1, 1)
    assert ring.pool.statistics()["a"].reads == 1
    ring.lines["a"].cut_off()
    ring.pool.rates("same", "TOY", H1, 1, 1)
    assert ring.pool.statistics()["a"].failed_reads == 1


def test_one_process_has_one_terminal(toy_spec):
    local = [Ring.entry(name, "same", bridge=None) for name in "ab"]
    with pytest.raises(ConfigError, match="one process speaks to one terminal, and a, b"):
        ConnectionPool(local, lambda entry: None, SymbolTable([toy_spec]), lambda: 0)
    for wrong in ([], [local[0], local[0]]):
        with pytest.raises(ConfigError, match="each once"):
            ConnectionPool(wrong, lambda entry: None, SymbolTable([toy_spec]), lambda: 0)


# --- reads


def reads_of(line: Line, **changes: Any) -> tuple[Reads, FakeTime]:
    time = FakeTime()
    line.terminal.initialize()
    return Reads(line, Pace(time.now_ns, time.sleep, **changes)), time


def test_a_read_is_retried_three_times_with_growing_pauses(make):
    line = Line(make([100.0, 101.0]))
    reads, time = reads_of(line, calls_per_second=1e6)
    line.cut_off(3)
    assert reads.account().login == LOGIN
    assert [s for s in time.slept if s >= 0.1] == [0.5, 1.0, 2.0]
    line.cut_off(4)
    with pytest.raises(BrokerUnavailable, match="account_info failed: No IPC connection"):
        reads.account()
    assert line.asked == ["account_info"] * 8


def test_a_lost_bridge_is_retried_like_silence(make):
    line = Line(make([100.0, 101.0]))
    reads, _time = reads_of(line)

    def lost() -> None:
        line.asked.append("lost")
        raise ConnectionResetError("peer")

    line.positions_get = lost  # type: ignore[attr-defined]
    with pytest.raises(BrokerUnavailable, match="ConnectionResetError"):
        reads.positions()
    assert line.asked == ["lost"] * 4


def test_reads_keep_to_their_rate(make):
    line = Line(make([100.0, 101.0]))
    reads, time = reads_of(line, calls_per_second=10.0)
    begun = time.now
    for _ in range(31):
        reads.account()
    assert 3.0 <= (time.now - begun) / SECOND_NS < 3.3
