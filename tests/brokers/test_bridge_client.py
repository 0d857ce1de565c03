"""The client stands where the module stands, and the connection breaks in every way it can."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from enum import IntEnum

import numpy as np
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.approval import issue
from mtquant.brokers.base import MarketOrder, Outcome
from mtquant.brokers.bridge.calls import CALLS, Scope
from mtquant.brokers.bridge.client import BridgeClient, ClientPatience
from mtquant.brokers.bridge.http import parse_url
from mtquant.brokers.bridge.orders import OrderTable, digest_of
from mtquant.brokers.bridge.tokens import Token, read_token, token_of_variable, write_token
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.mt5_orders import TradeRules
from mtquant.brokers.retcodes import outcome_of
from mtquant.errors import BrokerUnavailable, ConfigError

REQUEST = {"action": 1, "symbol": "TOY.x", "volume": 0.1, "type": 0, "magic": 5}
SOON = ClientPatience(answer=60.0, settle=60.0, tries=3, pause=0.01)


class Proxy:
    """Stands between client and bridge, and breaks connections as it is told.

    ``plan`` says for each request what to do: ``pass``; ``cut before`` the bridge has got it;
    ``cut after`` it has answered, so that only the answer is lost; ``stall`` for ever;
    ``stranger`` or a ``busy`` bridge answers instead; ``drip`` an answer without end, from its
    ``head`` or its body on.
    """

    def __init__(self, port: int) -> None:
        self.plan: list[str] = []
        self.seen = 0
        self.closed = threading.Event()
        self._port = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            while request := message(client):
                what = self.plan.pop(0) if self.plan else "pass"
                self.seen += 1
                if what == "cut before":
                    return
                if what == "stall":
                    self._held.append(client.dup())
                    return
                if what.startswith("drip"):
                    if what == "drip body":
                        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    else:
                        client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    with suppress(OSError):
                        while not self.closed.wait(0.02):
                            client.sendall(b"x")
                    return
                if what == "busy":
                    body = b'{"error":"busy","text":"later","executed":"never"}'
                    head = f"HTTP/1.1 503 Busy\r\nContent-Length: {len(body)}\r\n\r\n"
                    client.sendall(head.encode() + body)
                    continue
                if what == "stranger":
                    client.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}")
                    continue
                with socket.create_connection(("127.0.0.1", self._port)) as server:
                    server.sendall(request)
                    answer = message(server)
                if what == "cut after":
                    return
                client.sendall(answer)

    def close(self) -> None:
        self.closed.set()
        self._socket.close()
        for held in self._held:
            held.close()


def message(connection: socket.socket) -> bytes:
    """One whole HTTP message, nothing at the end."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = (
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        chunk = connection.recv(65536)
        body, received = body + chunk, received + chunk
    return received


@pytest.fixture
def terminal(make):
    made = make([100.0, 101.0, 102.0, 103.0])
    made.initialize()
    return made


@pytest.fixture
def bridge(bridges, terminal, tmp_path):
    made = bridges.Bridge(lambda: bridges.ThreadWorker(terminal), tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(bridge):
    made = bridge.client()
    yield made
    made.shutdown()


@pytest.fixture
def proxy(bridge):
    made = Proxy(bridge.server.port)
    yield made
    made.close()


@pytest.fixture
def far(bridge, proxy):
    """A client beyond the proxy; it notes how long it would have slept."""
    slept: list[float] = []
    made = BridgeClient(proxy.url, bridge.trade, patience=SOON, sleep=slept.append)
    made.slept = slept
    yield made
    made.shutdown()


def executed(terminal) -> int:
    return len(terminal.account.deals) - 1


@pytest.mark.parametrize(
    ("plan", "outcome", "executions"),
    [
        (["pass"], Outcome.EXECUTED, 1),
        (["cut before"], Outcome.NOT_EXECUTED, 0),
        (["cut after"], Outcome.EXECUTED, 1),
        (["stranger"], Outcome.NOT_EXECUTED, 0),
        (["cut before", "cut before"], Outcome.NOT_EXECUTED, 0),
        (["cut before", "cut after"], Outcome.NOT_EXECUTED, 0),
        (["cut after", "cut before", "cut after"], Outcome.EXECUTED, 1),
        (["cut after", "stranger"], Outcome.AMBIGUOUS, 1),
        (["busy"], Outcome.NOT_EXECUTED, 0),
        (["cut after", "busy", "pass"], Outcome.EXECUTED, 1),
        (["cut after", "busy", "busy", "busy"], Outcome.AMBIGUOUS, 1),
        (["cut before"] * 4, Outcome.AMBIGUOUS, 0),
        (["cut after"] * 4, Outcome.AMBIGUOUS, 1),
    ],
)
def test_an_order_runs_at_most_once_and_its_outcome_is_never_a_guess(
    far, proxy, terminal, plan, outcome, executions
):
    proxy.plan = list(plan)
    answer = far.order_send(REQUEST)
    assert outcome_of(answer, far.last_error()[0]) is outcome, far.last_error()
    assert executed(terminal) == executions
    assert proxy.seen <= 1 + SOON.tries
    proxy.plan = []
    assert far.order_send(REQUEST).retcode == mt5.TRADE_RETCODE_DONE
    assert executed(terminal) == executions + 1


def test_an_order_that_a_dead_server_had_begun_is_not_begun_again(bridges, terminal, tmp_path):
    key = "k" * 16
    table = OrderTable(tmp_path / "orders.sqlite3")
    table.claim(key, digest_of({"request": REQUEST}), 0)
    table.close()
    bridge = bridges.Bridge(lambda: bridges.ThreadWorker(terminal), tmp_path)
    client = bridge.client(patience=SOON)
    assert client.order_send(REQUEST, key=key) is None
    assert outcome_of(None, client.last_error()[0]) is Outcome.AMBIGUOUS
    assert "no answer" in client.last_error()[1] and executed(terminal) == 0
    client.shutdown()
    bridge.close()


def test_a_bridge_that_never_answers_leaves_doubt(bridge, proxy, terminal):
    hasty = BridgeClient(
        proxy.url,
        bridge.trade,
        patience=ClientPatience(answer=0.1, settle=0.1, tries=2, pause=0.0),
        sleep=lambda _: None,
    )
    proxy.plan = ["stall"] * 9
    assert hasty.order_send(REQUEST) is None
    assert outcome_of(None, hasty.last_error()[0]) is Outcome.AMBIGUOUS
    assert hasty.account_info() is None and hasty.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_RECEIVE
    hasty.shutdown()


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_drips_in_is_waited_for_no_longer(bridge, proxy, part):
    hasty = BridgeClient(
        proxy.url,
        bridge.trade,
        patience=ClientPatience(answer=0.3, settle=0.3, tries=1),
        sleep=lambda _: None,
    )
    proxy.plan = [f"drip {part}"] * 3
    begun = time.monotonic()
    assert hasty.account_info() is None
    assert hasty.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_RECEIVE
    assert hasty.order_send(REQUEST) is None
    assert outcome_of(None, hasty.last_error()[0]) is Outcome.AMBIGUOUS
    assert time.monotonic() - begun < 30.0
    hasty.shutdown()


def test_a_read_is_tried_again_a_few_times_and_waits_longer_each_time(far, proxy):
    proxy.plan = ["cut before", "cut after"]
    assert far.account_info().login == 5_000_001
    assert far.slept == [0.01, 0.02]
    proxy.plan = ["cut before"] * 9
    assert far.positions_get() is None, "unknown, never empty"
    assert far.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_RECEIVE
    assert proxy.seen == 3 + SOON.tries


def test_no_bridge_at_all(bridge, adapter_for, terminal):
    instrument = adapter_for(terminal)[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    alone = BridgeClient(url, bridge.trade, patience=SOON, sleep=lambda _: None)
    assert not alone.initialize()
    assert alone.last_error()[0] == mt5.RES_E_INTERNAL_FAIL_CONNECT
    adapter = MT5Adapter(alone, [instrument])
    with pytest.raises(BrokerUnavailable, match="No connection to the bridge"):
        adapter.positions()
    adapter._rules[instrument.broker_name] = TradeRules(mt5.ORDER_FILLING_FOK, 0.0, 0.0)
    order = issue(MarketOrder(instrument, 1, magic=5), "", lambda: "")
    assert adapter.send(order).outcome is Outcome.AMBIGUOUS


def test_a_read_token_sends_nothing_and_that_is_proven(bridge, terminal):
    reader = bridge.client(bridge.read)
    assert reader.account_info() is not None
    for call in (reader.order_send, reader.order_check):
        assert call(REQUEST) is None
    assert reader.order_send(REQUEST) is None
    assert reader.last_error()[0] == mt5.RES_E_AUTO_TRADING_DISABLED
    assert outcome_of(None, reader.last_error()[0]) is Outcome.NOT_EXECUTED
    assert executed(terminal) == 0
    reader.shutdown()


def test_a_wrong_token_is_a_failed_authorisation(bridge):
    stranger = bridge.client(Token(Scope.TRADE, "x" * 43))
    assert stranger.account_info() is None
    assert stranger.last_error()[0] == mt5.RES_E_AUTH_FAILED
    assert stranger.order_send(REQUEST) is None
    assert outcome_of(None, stranger.last_error()[0]) is Outcome.NOT_EXECUTED
    stranger.shutdown()


class Side(IntEnum):
    SELL = 1


@pytest.mark.parametrize(
    ("changes", "volume"),
    [
        ({"volume": 1}, 1.0),
        ({"volume": np.float64(0.1)}, 0.1),
        ({"volume": np.int64(1), "type": np.int64(1)}, 1.0),
        ({"type": Side.SELL, "magic": np.uint64(2**63)}, 0.1),
        ({"comment": "x" * 29}, 0.1),
    ],
)
def test_what_can_be_made_right_is_made_right(client, changes, volume):
    answer = client.order_send(REQUEST | changes)
    assert answer.retcode == mt5.TRADE_RETCODE_DONE and answer.volume == volume
    assert answer.request.magic == int(changes.get("magic", 5))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("volume", float("nan")),
        ("volume", float("inf")),
        ("volume", "0.1"),
        ("volume", True),
        ("volume", None),
        ("type", 1.5),
        ("magic", -1),
        ("symbol", b"TOY.x"),
        ("comment", "x" * 30),
        ("comment", "\U0001f600" * 15),
        ("comment", "two\nlines"),
        ("expiration", datetime(2024, 1, 1, tzinfo=UTC)),
        ("postion", 5),
        ("Volume", 1.0),
    ],
)
def test_what_cannot_is_refused_before_it_is_sent(client, terminal, key, value):
    assert client.order_send(REQUEST | {key: value}) is None
    code, text = client.last_error()
    assert code == mt5.RES_E_INVALID_PARAMS and key in text
    assert executed(terminal) == 0


def test_a_request_is_a_dict(client):
    for request in (None, list(REQUEST.items()), 5):
        assert client.order_send(request) is None
        assert client.last_error() == (-2, "Invalid arguments")
    with pytest.raises(TypeError):
        client.order_send(request=REQUEST)


def test_answers_are_the_terminals_own(client, terminal):
    """Every call that the simulated terminal has, through the bridge and beside it."""
    client.order_send(REQUEST)
    moment, naive = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 1)
    calls = [
        ("version", (), {}),
        ("terminal_info", (), {}),
        ("account_info", (), {}),
        ("symbols_total", (), {}),
        ("symbols_get", (), {}),
        ("symbols_get", ("*TOY*",), {}),
        ("symbols_get", (), {"group": "EUR*"}),
        ("symbol_info", ("TOY.x",), {}),
        ("symbol_info", ("nothing",), {}),
        ("symbol_info_tick", ("TOY.x",), {}),
        ("symbol_select", ("TOY.x",), {}),
        ("symbol_select", ("TOY.x", False), {}),
        ("symbol_select", ("nothing", True), {}),
        ("positions_total", (), {}),
        ("positions_get", (), {}),
        ("positions_get", (), {"symbol": "TOY.x"}),
        ("positions_get", (), {"ticket": 1}),
        ("orders_total", (), {}),
        ("orders_get", (), {"group": "*"}),
        ("history_deals_total", (0, moment), {}),
        ("history_deals_get", (0, moment), {}),
        ("history_deals_get", (np.float64(0.0), naive), {"group": "*"}),
        ("history_deals_get", (), {"position": 1}),
        ("history_orders_get", (0, 2**31 - 1), {}),
        ("history_orders_get", (), {"ticket": 1}),
        ("order_calc_margin", (0, "TOY.x", 1.0, 100.0), {}),
        ("order_calc_margin", (9, "TOY.x", 1.0, 100.0), {}),
        ("order_calc_profit", (1, "TOY.x", 0.5, 100.0, 99.0), {}),
        ("order_check", (REQUEST,), {}),
        ("copy_rates_from_pos", ("TOY.x", mt5.TIMEFRAME_H1, 0, 10), {}),
        ("copy_rates_from_pos", ("TOY.x", mt5.TIMEFRAME_D1, 0, 10), {}),
        ("copy_rates_from_pos", ("TOY.x", mt5.TIMEFRAME_H1, 500, 10), {}),
        ("copy_rates_from", ("TOY.x", mt5.TIMEFRAME_H1, moment, 2), {}),
        ("copy_rates_range", ("TOY.x", mt5.TIMEFRAME_H1, 0, moment), {}),
    ]
    for name, args, kwargs in calls:
        near = getattr(terminal, name)(*args, **kwargs)
        told = terminal.last_error()
        through = getattr(client, name)(*args, **kwargs)
        assert client.last_error() == told, name
        assert type(through) is type(near), name
        if isinstance(near, np.ndarray):
            assert through.dtype == near.dtype and np.array_equal(through, near), name
        else:
            assert repr(through) == repr(near), name
    assert {name for name, _, _ in calls} <= set(CALLS)


def test_arguments_are_bound_as_the_module_binds_them(client):
    for call in (
        lambda: client.symbol_info(),
        lambda: client.symbol_info("a", "b"),
        lambda: client.positions_get("TOY.x"),
        lambda: client.history_deals_get(date_form=0),
        lambda: client.symbols_get("a", group="b"),
    ):
        with pytest.raises(TypeError):
            call()
    for date in ("2024-01-01", None, np.datetime64("2024-01-01")):
        assert client.history_deals_get(date, 2_000_000_000) is None
        assert client.last_error()[0] == mt5.RES_E_INVALID_PARAMS


def test_it_has_the_modules_names_and_no_others(client):
    assert client.TIMEFRAME_H1 == 16385
    assert set(CALLS) <= set(dir(client))
    for name in ("Buy", "Sell", "Close", "TIMEFRAME_H5", "advance", "_secret"):
        with pytest.raises(AttributeError, match="offers no"):
            getattr(client, name)


def test_the_account_is_the_owners(client, terminal):
    """A client asks which account it is; it can neither choose one nor end the connection."""
    assert client.initialize() and client.initialize(login=5_000_001, server="mtquant-simulated")
    assert not client.initialize(login=1)
    assert client.last_error() == (mt5.RES_E_AUTH_FAILED, "Terminal: Authorization failed")
    assert not client.login(5_000_001, server="elsewhere")
    client.shutdown()
    assert terminal.account_info() is not None and client.account_info() is not None
    for secret in ({"password": "x"}, {"path": "c:\\terminal64.exe"}, {"portable": True}):
        with pytest.raises(TypeError):
            client.initialize(**secret)


def test_a_terminal_that_was_closed_is_connected_again_on_initialize(client, terminal):
    terminal.shutdown()
    assert client.account_info() is None and client.last_error()[0] == -10004
    assert client.initialize() and client.account_info() is not None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://10.1.2.3:8750", "in the clear"),
        ("http://desk.example", "in the clear"),
        ("http://127.0.0.1.evil.example:1", "in the clear"),
        ("http://user:secret@127.0.0.1:8750", "no user"),
        ("http://127.0.0.1:8750/?token=secret", "no user"),
        ("ftp://127.0.0.1", "no address"),
        ("127.0.0.1:8750", "no address"),
        ("http://127.0.0.1:99999", "no address"),
        ("http://127.0.0.1:1/path", "no address"),
        ("", "no address"),
    ],
)
def test_where_a_token_may_go(url, told):
    with pytest.raises(ConfigError, match=told) as refusal:
        BridgeClient(url, Token(Scope.READ, "x" * 43))
    assert "secret" not in str(refusal.value)
    assert parse_url("https://desk.example") == ("desk.example", 443, True)
    assert parse_url("http://[::1]:9") == ("::1", 9, False)


def test_tokens_come_from_private_files_and_variables(tmp_path, monkeypatch):
    place = tmp_path / "deep" / "token"
    write_token(place, Scope.READ)
    token = read_token(place)
    assert token.scope is Scope.READ and len(token.secret) >= 43
    assert token.secret not in repr(token) and place.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="exists"):
        write_token(place, Scope.READ)
    place.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read"):
        read_token(place)
    monkeypatch.setenv("MY_TOKEN", token.secret)
    assert token_of_variable("MY_TOKEN", Scope.TRADE).secret == token.secret
    with pytest.raises(ConfigError, match="MY_OTHER holds no token"):
        token_of_variable("MY_OTHER", Scope.READ)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "read",
        "read short",
        "read " + "a" * 43,
        "all " + "x1Y2z3W4" * 5,
        "read a b",
        "read \xe9" * 30,
    ],
)
def test_a_weak_token_is_refused_unseen(tmp_path, text):
    place = tmp_path / "token"
    place.write_text(text)
    place.chmod(0o600)
    with pytest.raises(ConfigError) as refusal:
        read_token(place)
    assert not {"short", "a" * 43, "x1Y2z3W4" * 5} & set(str(refusal.value).split())


def test_a_live_process_loads_no_server():
    code = (
        "import sys, mtquant.brokers.bridge.client\n"
        "print(sorted({'fastapi', 'starlette', 'uvicorn', 'requests', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
