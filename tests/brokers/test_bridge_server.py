"""Whoever is not meant to gets a clear refusal on every route, and learns nothing from it."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import ssl
import time

import pytest
import trustme

from mtquant.brokers import constants as mt5
from mtquant.brokers.bridge.calls import CALLS, Scope
from mtquant.brokers.bridge.guard import Bucket
from mtquant.brokers.bridge.server import BridgeServer, ServerSettings
from mtquant.brokers.bridge.tokens import Token, TokenTable
from mtquant.errors import ConfigError

CANARY = Token(Scope.TRADE, "c4naryTokenThatMustNeverBeSeen-0123456789ab")
ORDER = {"request": {"action": 1, "symbol": "TOY.x", "volume": 0.1, "type": 0, "magic": 5}}
BODIES = {
    "order_send": ORDER,
    "order_check": ORDER,
    "login": {"login": 5_000_001},
    "symbol_info": {"symbol": "TOY.x"},
    "symbol_info_tick": {"symbol": "TOY.x"},
    "symbol_select": {"symbol": "TOY.x", "enable": True},
    "market_book_add": {"symbol": "TOY.x"},
    "market_book_release": {"symbol": "TOY.x"},
    "market_book_get": {"symbol": "TOY.x"},
    "copy_rates_from": {"symbol": "TOY.x", "timeframe": 16385, "date_from": 9, "count": 2},
    "copy_rates_from_pos": {"symbol": "TOY.x", "timeframe": 16385, "start_pos": 0, "count": 2},
    "copy_rates_range": {"symbol": "TOY.x", "timeframe": 16385, "date_from": 0, "date_to": 9},
    "copy_ticks_from": {"symbol": "TOY.x", "date_from": 9, "count": 2, "flags": 1},
    "copy_ticks_range": {"symbol": "TOY.x", "date_from": 0, "date_to": 9, "flags": 1},
    "history_orders_total": {"date_from": 0, "date_to": 9},
    "history_deals_total": {"date_from": 0, "date_to": 9},
    "history_orders_get": {"ticket": 5},
    "history_deals_get": {"date_from": 0, "date_to": 9, "group": "*"},
    "order_calc_margin": {"action": 0, "symbol": "TOY.x", "volume": 0.1, "price": 100.0},
    "order_calc_profit": {
        "action": 0,
        "symbol": "TOY.x",
        "volume": 0.1,
        "price_open": 100.0,
        "price_close": 101.0,
    },
}


@pytest.fixture(scope="module")
def terminal(make):
    made = make([100.0, 101.0, 102.0, 103.0])
    made.initialize()
    return made


@pytest.fixture(scope="module")
def bridge(bridges, terminal, tmp_path_factory):
    made = bridges.Bridge(
        lambda: bridges.ThreadWorker(terminal),
        tmp_path_factory.mktemp("server"),
        tokens=[CANARY],
        body_seconds=0.3,
    )
    made.server._server.config.loaded_app._strangers._rate = 1e6
    made.server._server.config.loaded_app._strangers._left = 1e6
    yield made
    made.close()


@pytest.fixture
def ask(bridge):
    """Sends a request and returns status, headers and body; headers that are None are left out."""

    def send(path, body=b"{}", method="POST", token=bridge.trade, **changes):
        headers = {
            "Authorization": token and f"Bearer {token.secret}",
            "Content-Type": "application/json",
            "Idempotency-Key": "a-key-for-the-test",
        }
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        connection = http.client.HTTPConnection("127.0.0.1", bridge.server.port, timeout=30)
        try:
            chosen = {name: value for name, value in headers.items() if value is not None}
            connection.request(method, path, body, chosen)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    return send


@pytest.fixture(autouse=True)
def _nothing_is_executed(request, terminal):
    """Except where the test is about that."""
    before = len(terminal.account.deals)
    yield
    if "executes" not in request.node.name:
        assert len(terminal.account.deals) == before


def body_of(name):
    return json.dumps(BODIES.get(name, {})).encode()


def refused(answer, status):
    assert answer[0] == status, answer
    told = json.loads(answer[2])
    assert set(told) == {"error", "text", "executed"} and told["executed"] == "never"
    return told["text"]


@pytest.mark.parametrize("name", CALLS)
class TestEveryRoute:
    def test_no_token(self, ask, name):
        refused(ask(f"/v1/{name}", body_of(name), token=None), 401)
        refused(ask(f"/v1/{name}", body_of(name), Authorization="Basic Zm9vOmJhcg=="), 401)

    def test_wrong_token(self, ask, bridge, name):
        nearly = bridge.trade.secret[:-1] + ("A" if bridge.trade.secret[-1] != "A" else "B")
        for secret in (nearly, bridge.trade.secret + "A", "", "\xe9" * 40):
            refused(ask(f"/v1/{name}", body_of(name), Authorization=f"Bearer {secret}"), 401)

    def test_a_read_token(self, ask, bridge, name):
        if CALLS[name].scope is Scope.TRADE:
            refused(ask(f"/v1/{name}", body_of(name), token=bridge.read), 403)
        else:
            assert ask(f"/v1/{name}", body_of(name), token=bridge.read)[0] == 200

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
    def test_another_method(self, ask, name, method):
        refused(ask(f"/v1/{name}", b"", method), 405)

    def test_a_foreign_host_or_page(self, ask, name):
        for host in ("evil.example", "127.0.0.1.evil.example", "127.0.0.2", "", "localhost:x"):
            refused(ask(f"/v1/{name}", body_of(name), Host=host), 421)
        for origin in ("https://evil.example", "null", "http://127.0.0.1"):
            refused(ask(f"/v1/{name}", body_of(name), Origin=origin), 403)

    def test_too_large_a_body(self, ask, name):
        refused(ask(f"/v1/{name}", b" " * 65_537), 413)

    def test_an_unknown_key(self, ask, name):
        body = json.dumps({**BODIES.get(name, {}), "postion": 5}).encode()
        assert "postion" in refused(ask(f"/v1/{name}", body), 422)

    def test_a_wrong_type(self, ask, name):
        for body in (b"[]", b"5", b"null", b'"x"', b"{", b"\xff", b'{"a":NaN}', b"[" * 30_000):
            refused(ask(f"/v1/{name}", body), 422)
        for key in BODIES.get(name, {}):
            for value in (None, [], {"a": 1}, "x" * 300, True if key != "enable" else 1):
                body = json.dumps({**BODIES[name], key: value}).encode()
                refused(ask(f"/v1/{name}", body), 422)

    def test_a_body_that_is_no_json_by_its_own_word(self, ask, name):
        refused(ask(f"/v1/{name}", body_of(name), Content_Type="text/plain"), 415)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("volume", 1),
        ("volume", "0.1"),
        ("price", 100),
        ("sl", None),
        ("type", 1.0),
        ("type", True),
        ("magic", -1),
        ("magic", 2**64),
        ("symbol", None),
        ("symbol", "TOY.x\x00"),
        ("comment", "x" * 30),
        ("comment", "\U0001f600" * 15),
        ("comment", "two\nlines"),
        ("postion", 5),
    ],
)
def test_an_order_is_typed_as_the_module_types_it(ask, key, value):
    body = json.dumps({"request": {**ORDER["request"], key: value}}).encode()
    assert key in refused(ask("/v1/order_send", body), 422)


def test_an_order_needs_a_key_of_its_own(ask):
    for key in (None, "", "short", "k" * 65, "spaces in the key"):
        refused(ask("/v1/order_send", body_of("order_send"), Idempotency_Key=key), 428)


def test_a_key_executes_once_and_is_one_requests(ask, terminal):
    before = len(terminal.account.deals)
    first = ask("/v1/order_send", body_of("order_send"), Idempotency_Key="once-" * 4)
    again = ask("/v1/order_send", body_of("order_send"), Idempotency_Key="once-" * 4)
    assert first[0] == again[0] == 200 and first[2] == again[2]
    assert again[1]["idempotency-replayed"] == "true"
    other = json.dumps({"request": {**ORDER["request"], "volume": 0.2}}).encode()
    status, _, told = ask("/v1/order_send", other, Idempotency_Key="once-" * 4)
    assert status == 409 and json.loads(told)["executed"] == "unknown"
    assert len(terminal.account.deals) == before + 1


def test_an_order_that_is_asked_for_before_it_arrives_never_executes(ask, terminal):
    before, key = len(terminal.account.deals), "withdrawn-" * 2
    settle = {"Idempotency_Key": key, "Idempotency_Settle": "1"}
    assert "never arrived" in refused(ask("/v1/order_send", body_of("order_send"), **settle), 410)
    refused(ask("/v1/order_send", body_of("order_send"), Idempotency_Key=key), 410)
    assert len(terminal.account.deals) == before


def test_unknown_functions(ask):
    for path in (
        "/v1/Buy",
        "/v1/advance",
        "/v1/__class__",
        "/v1/",
        "/",
        "/v1/order_send/",
        "/docs",
    ):
        refused(ask(path), 404)
        refused(ask(path, token=None), 401)
    refused(ask("/v1/a%0Ab%00"), 404)


def test_only_health_and_readiness_are_open_and_they_say_nothing_else(ask, terminal):
    assert ask("/health", b"", "GET", token=None)[::2] == (200, b'{"status":"ok"}')
    assert ask("/ready", b"", "GET", token=None)[::2] == (200, b'{"ready":true}')
    refused(ask("/openapi.json", b"", "GET", token=None), 401)
    status, _, document = ask("/openapi.json", b"", "GET")
    assert status == 200
    paths = json.loads(document)["paths"]
    assert set(paths) == {
        *(f"/v1/{name}" for name in (*CALLS, "kill", "switch")),
        "/health",
        "/ready",
    }


def raw(bridge, *parts, wait=0.0):
    """Sends bytes with pauses, and returns all that comes until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", bridge.server.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(wait)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass  # it hung up on what it had not read yet
        return received


def head(bridge, *lines, token=CANARY):
    first = [b"POST /v1/order_send HTTP/1.1", b"Host: 127.0.0.1"]
    known = [f"Authorization: Bearer {token.secret}".encode(), b"Content-Type: application/json"]
    return (
        b"\r\n".join([*first, *known, b"Idempotency-Key: slow-slow-slow-slow", *lines])
        + b"\r\n\r\n"
    )


def test_a_slow_body_is_not_waited_for(bridge):
    began = time.monotonic()
    answer = raw(bridge, head(bridge, b"Content-Length: 50"), b'{"req')
    assert answer.startswith(b"HTTP/1.1 408") and time.monotonic() - began < 10.0


def test_a_slow_head_is_not_waited_for(bridge, monkeypatch):
    monkeypatch.setattr("mtquant.brokers.bridge.server._HEAD_SECONDS", 0.2)
    assert raw(bridge) == b""
    assert raw(bridge, b"POST /v1/order_send HTTP/1.1\r\nHost: ") == b""


def test_a_body_without_end_is_cut_off(bridge):
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    answer = raw(bridge, head(bridge, b"Transfer-Encoding: chunked"), chunk, chunk, chunk)
    assert answer.startswith(b"HTTP/1.1 413")


def test_two_heads_that_disagree_are_neither(bridge):
    told = raw(bridge, head(bridge, b"Authorization: Bearer x", b"Connection: close"))
    assert told.startswith(b"HTTP/1.1 400") and b"given twice" in told
    both = raw(bridge, head(bridge, b"Content-Length: 2", b"Content-Length: 3") + b"{}")
    assert both.startswith(b"HTTP/1.1 400")
    long = raw(bridge, head(bridge, b"X: " + b"y" * 40_000, b"Connection: close"))
    assert long.startswith(b"HTTP/1.1 4")


def test_a_token_may_only_do_so_much_a_second(bridges, terminal, tmp_path):
    made = bridges.Bridge(lambda: bridges.ThreadWorker(terminal), tmp_path, rate=2.0)
    client = made.client(sleep=lambda _: None)
    answers = [client.version() for _ in range(30)]
    assert None in answers and "too many requests" in client.last_error()[1]
    assert client.order_send(ORDER["request"]) is None
    assert client.last_error()[0] == mt5.RES_E_INVALID_PARAMS, "proven not sent"
    client.shutdown()
    made.close()


def test_strangers_have_a_rate_of_their_own():
    bucket = Bucket(5.0)
    assert [bucket.take() for _ in range(7)] == [True] * 5 + [False] * 2


def test_the_bridge_starts_with_a_token_or_not_at_all():
    with pytest.raises(ConfigError, match="has no token"):
        TokenTable([])
    with pytest.raises(ConfigError, match="given twice"):
        TokenTable([CANARY, Token(Scope.READ, CANARY.secret)])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "desk.example", ""])
def test_only_this_machine_is_bound_without_tls(host):
    with pytest.raises(ConfigError, match="in the clear"):
        BridgeServer(None, None, ServerSettings(host=host, port=0))
    with pytest.raises(ConfigError, match="both --cert and --key"):
        ServerSettings(host=host, certificate=__file__).check()


def test_a_taken_port_is_one_sentence(bridge):
    with pytest.raises(ConfigError, match="cannot listen on 127"):
        BridgeServer(None, None, ServerSettings(port=bridge.server.port))


def test_tls_and_a_name_of_ones_own_executes(bridges, terminal, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    made = bridges.Bridge(
        lambda: bridges.ThreadWorker(terminal),
        tmp_path,
        certificate=tmp_path / "cert.pem",
        private_key=tmp_path / "key.pem",
    )
    assert made.url.startswith("https://")
    client = made.client(ca_file=tmp_path / "ca.pem")
    assert client.order_send(ORDER["request"]).retcode == mt5.TRADE_RETCODE_DONE
    client.shutdown()
    stranger = made.client(sleep=lambda _: None)
    assert stranger.account_info() is None
    assert ssl.SSLCertVerificationError.__name__ in stranger.last_error()[1]
    made.close()


def test_a_token_is_seen_nowhere_and_executes(bridge, bridges, terminal, tmp_path, caplog, capfd):
    """Canary: not in an answer, a log, a traceback, a repr or the table of orders."""
    caplog.set_level(logging.DEBUG)
    client = bridge.client(CANARY, sleep=lambda _: None)
    seen = [repr(client), str(vars(CANARY).keys()), repr(CANARY), f"{CANARY}"]
    for name in ("account_info", "terminal_info", "positions_get"):
        seen += [repr(getattr(client, name)()), str(client.last_error())]
    seen += [
        repr(client.order_send({**ORDER["request"], "comment": "c"})),
        str(client.last_error()),
    ]
    for part in (
        b"not http\r\n\r\n",
        head(bridge, b"Content-Length: x"),
        head(bridge, b"Content-Length: 3", b"Connection: close") + b"{}}",
    ):
        seen.append(raw(bridge, part, wait=0.1).decode("latin-1"))
    broken = bridges.Bridge(lambda: bridges.ThreadWorker(terminal), tmp_path, tokens=[CANARY])
    broken.supervisor.call = lambda *_, **__: 1 / 0
    other = broken.client(CANARY, sleep=lambda _: None)
    seen += [str(other.account_info()), str(other.last_error())]
    seen += [str(other.order_send(ORDER["request"])), str(other.last_error())]
    other.shutdown()
    client.shutdown()
    broken.close()
    printed = capfd.readouterr()
    seen += [caplog.text, printed.out, printed.err]
    assert "ZeroDivisionError" in caplog.text, "the traceback is really looked at"
    for text in seen:
        assert CANARY.secret not in text
    for path in (*bridge.folder.rglob("*"), *tmp_path.rglob("*")):
        if path.is_file():
            assert CANARY.secret.encode() not in path.read_bytes(), path
