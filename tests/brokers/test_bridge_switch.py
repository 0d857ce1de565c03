"""The bridge's kill switch: one place that every order passes, from any machine."""

from __future__ import annotations

import errno
import http.client
import json
import os
import secrets
import threading
from types import SimpleNamespace

import pytest

from mtquant.brokers.base import Outcome
from mtquant.brokers.bridge.calls import CALLS, Scope
from mtquant.brokers.bridge.client import BridgeClient, ClientPatience
from mtquant.brokers.bridge.supervisor import Refusal
from mtquant.brokers.bridge.switch import UNTOLD
from mtquant.brokers.bridge.tokens import Token
from mtquant.brokers.connect import far_switch
from mtquant.brokers.retcodes import outcome_of
from mtquant.errors import BrokerUnavailable
from mtquant.risk.switch import Form, SwitchFiles

BUY = {"action": 1, "symbol": "TOY.x", "volume": 0.3, "type": 0, "magic": 5}
SELL = {**BUY, "type": 1}
QUICK = ClientPatience(answer=60.0, settle=60.0, tries=2, pause=0.01)


class Desk:
    """A bridge that counts what reaches its terminal; two that trade through it and one phone."""

    def __init__(self, bridges, terminal, folder) -> None:
        self.terminal, self.sent = terminal, []
        self.executing, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        inner = terminal.order_send

        def order_send(request, /):
            self.sent.append(request)
            self.executing.set()
            assert self.go_on.wait(60.0)
            return inner(request)

        terminal.order_send = order_send
        self.phone_token = Token(Scope.KILL, secrets.token_urlsafe(32))
        self.made = bridges, folder
        self.bridge, self.clients = None, []
        self.open()

    def open(self) -> None:
        bridges, folder = self.made
        self.bridge = bridges.Bridge(
            lambda: bridges.ThreadWorker(self.terminal), folder, tokens=[self.phone_token]
        )
        self.clients = [
            self.bridge.client(token, patience=QUICK)
            for token in (self.bridge.trade, self.bridge.trade, self.phone_token)
        ]
        self.one, self.two, self.phone = self.clients

    @property
    def files(self) -> SwitchFiles:
        """As somebody at the terminal's machine holds them."""
        return SwitchFiles(self.bridge.folder / "orders.sqlite3")

    @property
    def table(self):
        return self.bridge.supervisor._orders

    def send(self, request, client=None, key=None):
        """The outcome of an order, and what was said."""
        client = client or self.one
        answer = client.order_send(request, key=key)
        return outcome_of(answer, client.last_error()[0]), client.last_error()[1]

    def in_thread(self, request, key):
        found = []
        thread = threading.Thread(target=lambda: found.append(self.send(request, self.two, key)))
        thread.start()
        return thread, found

    def close(self) -> None:
        self.go_on.set()
        for client in self.clients:
            client.shutdown()
        self.bridge.close()


@pytest.fixture
def desk(bridges, make, tmp_path):
    terminal = make([100.0, 101.0, 102.0, 103.0])
    terminal.initialize()
    made = Desk(bridges, terminal, tmp_path)
    yield made
    made.close()


def stopped(found, form, reason):
    outcome, said = found
    assert outcome is Outcome.NOT_EXECUTED and "HTTP 423" in said
    assert f"at {form.name}" in said and reason in said and "nothing was sent" in said
    return True


def ask(bridge, method, path, token, body=b"", **headers):
    """Status and body over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", bridge.server.port, timeout=30)
    named = {"Content-Type": "application/json", "Idempotency-Key": "k" * 20} | headers
    if token is not None:
        named["Authorization"] = f"Bearer {token.secret}"
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_E1_after_a_kill_no_client_sends(desk):
    assert desk.send(BUY)[0] is Outcome.EXECUTED
    state = desk.phone.kill(Form.HARD, "enough")
    assert (state.form, state.reason, state.sending, state.kept) == (
        Form.HARD,
        "enough",
        False,
        True,
    )
    assert state.by.startswith("a kill token at 127.0.0.1") and state.at_ns > 1_700_000_000 * 10**9
    for client in (desk.one, desk.two):
        assert stopped(desk.send(SELL, client, "k" * 20), Form.HARD, "enough")
    assert len(desk.sent) == 1 and not desk.table.knows("k" * 20)
    desk.files.arm("Ann", "looked at it", 1)
    assert desk.send(SELL, desk.two, "k" * 20)[0] is Outcome.EXECUTED
    assert desk.phone.switch().form is Form.ARMED


def test_E1_an_order_that_waits_while_the_kill_arrives_is_refused(desk, monkeypatch):
    """The kill itself waits for nobody: the terminal is busy all the time."""
    arrived, places = threading.Event(), desk.bridge.supervisor._places.acquire

    def acquire(*args, **kwargs):
        arrived.set()
        return places(*args, **kwargs)

    monkeypatch.setattr(desk.bridge.supervisor._places, "acquire", acquire)
    with desk.bridge.supervisor._lock:
        thread, found = desk.in_thread(BUY, "w" * 20)
        assert arrived.wait(30.0)
        state = desk.phone.kill(Form.HARD, "enough")
        assert state.form is Form.HARD and not state.sending
    thread.join()
    assert stopped(found[0], Form.HARD, "enough")
    assert desk.sent == [] and not desk.table.knows("w" * 20)


def test_E1_a_kill_while_an_order_executes_says_so_and_loses_no_answer(desk):
    desk.go_on.clear()
    thread, found = desk.in_thread(BUY, "e" * 20)
    assert desk.executing.wait(30.0)
    assert desk.phone.kill(Form.HARD, "enough").sending
    desk.go_on.set()
    thread.join()
    assert found[0][0] is Outcome.EXECUTED and not desk.phone.switch().sending
    for client in (desk.one, desk.two):  # a repetition is answered, for nothing is sent by it
        assert desk.send(BUY, client, "e" * 20)[0] is Outcome.EXECUTED
    assert len(desk.sent) == 1
    assert stopped(desk.send(BUY, None, "f" * 20), Form.HARD, "enough")


@pytest.mark.parametrize("form", [Form.REDUCE, Form.HARD])
def test_E1_the_switch_is_read_last_right_before_the_worker_is_asked(desk, monkeypatch, form):
    """It falls when the order is judged and claimed already; the claim is given back."""
    claim = desk.table.claim

    def claim_then_fall(*args):
        known = claim(*args)
        desk.files.kill(form, "in between")
        return known

    with monkeypatch.context() as patched:
        patched.setattr(desk.table, "claim", claim_then_fall)
        assert stopped(desk.send(BUY, None, "c" * 20), form, "in between")
    assert desk.sent == [] and not desk.table.knows("c" * 20)
    desk.files.arm("Ann", "fine", 1)
    assert desk.send(BUY, None, "c" * 20)[0] is Outcome.EXECUTED


def test_E1_a_hard_kill_while_a_reduction_is_judged_stops_it(desk):
    desk.send(BUY)
    desk.files.kill(Form.REDUCE, "less")
    inner = desk.terminal.orders_get

    def orders_get(*args, **kwargs):
        desk.phone.kill(Form.HARD, "enough")
        return inner(*args, **kwargs)

    desk.terminal.orders_get = orders_get
    assert stopped(desk.send(SELL), Form.HARD, "enough")
    assert len(desk.sent) == 1


@pytest.mark.parametrize("form", [Form.REDUCE, Form.FLATTEN])
def test_E1_at_reduce_only_what_is_proven_to_reduce_is_sent(desk, form):
    desk.send(BUY)
    desk.phone.kill(form, "less")
    (position,) = desk.terminal.positions_get()
    stop = {"action": 6, "symbol": "TOY.x", "position": position.ticket}
    for request in (BUY, {**SELL, "volume": 0.4}, {**BUY, "action": 5, "price": 90.0}):
        assert stopped(desk.send(request), form, "less")
    assert len(desk.sent) == 1
    assert desk.send({**stop, "sl": 90.0})[0] is Outcome.EXECUTED
    assert desk.send({**stop, "sl": 91.0})[0] is Outcome.EXECUTED
    assert "sl would leave 91" in desk.send({**stop, "sl": 90.0})[1]
    assert desk.send({**SELL, "volume": 0.2})[0] is Outcome.EXECUTED
    assert "0.1 lots are held" in desk.send({**SELL, "volume": 0.2})[1]
    assert desk.send({**SELL, "volume": 0.1})[0] is Outcome.EXECUTED
    assert "no such position" in desk.send({**SELL, "volume": 0.1})[1]
    assert desk.terminal.positions_get() == ()


def test_E2_a_kill_survives_a_restart_and_a_person_takes_it_back(desk):
    desk.phone.kill(Form.REDUCE, "less")
    desk.one.kill(Form.HARD, "enough")
    assert desk.phone.kill(Form.REDUCE, "less again").form is Form.HARD, "no worse one is undone"
    desk.close()
    desk.open()
    state = desk.phone.switch()
    assert (state.form, state.reason) == (Form.HARD, "enough")
    assert stopped(desk.send(BUY), Form.HARD, "enough")
    desk.files.arm("Ann", "fine", 7)
    assert (desk.phone.switch().by, desk.phone.switch().at_ns) == ("Ann", 7)
    assert desk.send(BUY)[0] is Outcome.EXECUTED
    desk.close()
    desk.open()
    assert desk.send(BUY)[0] is Outcome.EXECUTED


def test_E2_only_the_first_start_arms(desk):
    place = desk.bridge.folder / "orders.sqlite3.armed"
    assert json.loads(place.read_text())["reason"] == "first start"
    assert place.stat().st_mode & 0o077 == 0
    desk.close()
    place.unlink()
    desk.open()
    assert stopped(desk.send(BUY), Form.HARD, UNTOLD) and desk.sent == []


def test_E2_what_was_killed_before_the_first_start_is_not_armed_by_it(bridges, make, tmp_path):
    SwitchFiles(tmp_path / "orders.sqlite3").kill(Form.REDUCE, "not yet")
    made = Desk(bridges, make([100.0, 101.0]), tmp_path)
    assert stopped(made.send(BUY), Form.REDUCE, "not yet")
    made.close()


def test_E2_nothing_arms_it_over_http(desk):
    desk.phone.kill(Form.HARD, "enough")
    bridge = desk.bridge
    for form in ("armed", "ARMED", "hard ", "", None, 0):
        body = json.dumps({"form": form, "reason": "x"}).encode()
        assert ask(bridge, "POST", "/v1/kill", bridge.trade, body)[0] == 422
    for path in ("/v1/arm", "/v1/switch/arm", "/arm"):
        assert ask(bridge, "POST", path, bridge.trade, b"{}")[0] == 404
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert ask(bridge, method, "/v1/switch", bridge.trade, b'{"form":"armed"}')[0] == 405
    for method in ("GET", "PUT", "DELETE"):
        assert ask(bridge, method, "/v1/kill", bridge.trade)[0] == 405
    assert desk.files.read() is Form.HARD


def test_E3_a_switch_that_cannot_be_read_allows_no_increase(desk, monkeypatch):
    desk.send(BUY)

    def broken(path):
        raise OSError(errno.EIO, "I/O error")

    with monkeypatch.context() as patched:
        patched.setattr("mtquant.risk.switch._is_there", broken)
        assert desk.phone.switch().form is Form.REDUCE
        assert desk.send(BUY)[0] is Outcome.NOT_EXECUTED
        assert desk.send({**SELL, "volume": 0.1})[0] is Outcome.EXECUTED
    assert desk.send(BUY)[0] is Outcome.EXECUTED
    (desk.bridge.folder / "orders.sqlite3.armed").unlink()
    assert stopped(desk.send(SELL), Form.HARD, UNTOLD)


def test_E3_a_terminal_that_dies_while_it_is_asked_proves_nothing(desk):
    desk.send(BUY)
    desk.phone.kill(Form.REDUCE, "less")
    inner, desk.terminal.account_info = desk.terminal.account_info, lambda: 1 / 0
    outcome, said = desk.send({**SELL, "volume": 0.1})
    assert outcome is Outcome.NOT_EXECUTED and "does not answer account_info" in said
    desk.terminal.account_info = inner
    worker = desk.bridge.supervisor._worker
    desk.bridge.supervisor._worker = SimpleNamespace(ask=lost(worker), end=worker.end)
    outcome, said = desk.send({**SELL, "volume": 0.1})
    assert outcome is Outcome.NOT_EXECUTED and "could not be judged" in said
    assert len(desk.sent) == 1


def lost(worker):
    from mtquant.brokers.bridge.process import WorkerLost

    def ask(frame, timeout):
        raise WorkerLost("it died")

    return ask


def test_E4_it_falls_on_a_full_disk_and_past_a_rate_that_is_used_up(desk, monkeypatch):
    guard = desk.bridge.server._server.config.loaded_app
    desk.send(BUY)
    guard._buckets["trade"]._rate = guard._buckets["trade"]._left = 0.0

    def full(path, flags, mode=0o777):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        state = desk.one.kill(Form.HARD, "enough")
    assert state.form is Form.HARD and state.kept
    assert desk.files.read() is Form.HARD
    assert desk.send(SELL)[0] is Outcome.NOT_EXECUTED, "too many requests, as it was arranged"


def test_E4_where_no_file_can_be_changed_it_holds_until_the_end_and_says_so(desk, monkeypatch):
    def read_only(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", read_only)
        patched.setattr(os, "open", read_only)
        state = desk.phone.kill(Form.HARD, "enough")
    assert state.form is Form.HARD and not state.kept
    assert desk.send(BUY)[0] is Outcome.NOT_EXECUTED and desk.sent == []
    desk.files.arm("Ann", "repaired", 3)
    assert desk.send(BUY)[0] is Outcome.EXECUTED


def test_G5_who_may_do_what(desk):
    bridge = desk.bridge
    body = json.dumps({"form": "hard", "reason": "enough"}).encode()
    assert ask(bridge, "POST", "/v1/kill", bridge.read, body)[0] == 403
    assert desk.files.read() is Form.ARMED
    for name in CALLS:
        status, said = ask(bridge, "POST", f"/v1/{name}", desk.phone_token, b"{}")
        assert status == 403 and "needs a token of scope" in said["text"], name
    assert ask(bridge, "GET", "/openapi.json", desk.phone_token)[0] == 403
    for token in (bridge.read, bridge.trade, desk.phone_token):
        assert ask(bridge, "GET", "/v1/switch", token)[0] == 200
        assert ask(bridge, "GET", "/health", token)[0] == 200
    for method, path in (("GET", "/v1/switch"), ("POST", "/v1/kill")):
        assert ask(bridge, method, path, None, body)[0] == 401
        wrong = Token(Scope.KILL, "x" * 43)
        assert ask(bridge, method, path, wrong, body)[0] == 401
        for foreign in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            assert ask(bridge, method, path, desk.phone_token, body, **foreign)[0] in (403, 421)
    assert desk.files.read() is Form.ARMED
    for token, form in ((desk.phone_token, "reduce"), (bridge.trade, "hard")):
        body = json.dumps({"form": form, "reason": "enough"}).encode()
        status, state = ask(bridge, "POST", "/v1/kill", token, body)
        assert status == 200 and state["form"] == form and token.scope.value in state["by"]


@pytest.mark.parametrize(
    "body",
    [
        {"form": "hard"},
        {"reason": "x"},
        {"form": "hard", "reason": ""},
        {"form": "hard", "reason": "two\nlines"},
        {"form": "hard", "reason": "x" * 257},
        {"form": "hard", "reason": "x", "by": "Ann"},
        {"form": ["hard"], "reason": "x"},
    ],
)
def test_what_is_no_kill_is_refused(desk, body):
    status, said = ask(
        desk.bridge, "POST", "/v1/kill", desk.bridge.trade, json.dumps(body).encode()
    )
    assert status == 422 and said["executed"] == "never"
    assert desk.files.read() is Form.ARMED


def test_what_a_runner_hears(desk, terminal):
    assert far_switch(terminal) == (Form.ARMED, "")
    assert far_switch(desk.one)[0] is Form.ARMED
    desk.phone.kill(Form.FLATTEN, "enough")
    form, why = far_switch(desk.one)
    assert form is Form.FLATTEN and why == "a kill token at 127.0.0.1: enough"
    stranger = BridgeClient(desk.bridge.url, Token(Scope.TRADE, "x" * 43), patience=QUICK)
    for asked in (stranger.switch, lambda: stranger.kill(Form.HARD, "x")):
        with pytest.raises(BrokerUnavailable, match=r"no valid token.*HTTP 401"):
            asked()
    stranger.shutdown()


def test_a_refusal_of_the_switch_is_no_answer_to_a_known_key(desk):
    """What was sent before is answered or unknown, whatever the switch is at."""
    desk.send(BUY, None, "a" * 20)
    desk.table.claim("u" * 20, b"another", 0)
    desk.phone.kill(Form.HARD, "enough")
    with pytest.raises(Refusal) as refusal:
        desk.bridge.supervisor.call("order_send", {"request": BUY}, "u" * 20)
    assert (refusal.value.status, refusal.value.executed) == (409, "unknown")
    assert desk.table.knows("u" * 20)
    assert desk.bridge.supervisor.call("order_send", {"request": BUY}, "a" * 20).repeated
