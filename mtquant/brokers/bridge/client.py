"""BridgeClient: the MetaTrader5 module's API from any machine, through a bridge.

It stands where the module would stand: the same functions and constants, results with the same
fields, None (or False) and ``last_error()`` where something fails. What is new can go wrong here:
the connection. A read is tried a few times. An order is sent *once*; if its answer does not come,
the bridge's table of orders is asked what became of it, and an order that never arrived is
withdrawn there, so that it cannot be executed late. Where nobody can tell, the error is one that
:mod:`mtquant.brokers.retcodes` calls ambiguous.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mtquant.brokers import constants as mt5
from mtquant.brokers.bridge.calls import CALLS, KILL, SENDING, SWITCH
from mtquant.brokers.bridge.http import BridgeConnection, HttpAnswer, Interrupted, NotConnected
from mtquant.brokers.bridge.normal import normal_arguments
from mtquant.brokers.bridge.switch import SwitchState, state_of
from mtquant.brokers.bridge.tokens import Token
from mtquant.brokers.bridge.wire import (
    WireError,
    dump,
    load,
    read_answer,
    read_array,
    read_error,
)
from mtquant.brokers.terminal.requests import CallRefused
from mtquant.errors import BrokerUnavailable
from mtquant.risk.switch import Form

Answer = tuple[Any, tuple[int, str]]

_SHUT = (401, 403, 421, 423)  # the bridge is there, and not for us
_LATER = (429, 502, 503)  # 504 is not: what hung once would hang again


@dataclass(frozen=True)
class ClientPatience:
    """How long and how often a client waits.

    Attributes:
        answer: Seconds for an answer, more than the server's own patience.
        connect: Seconds for ``initialize``.
        settle: Seconds for each question what became of an order.
        tries: Of a read, and of that question.
        pause: Seconds before the second try; each further one waits twice as long.
    """

    answer: float = 30.0
    connect: float = 100.0
    settle: float = 8.0
    tries: int = 4
    pause: float = 0.25


class BridgeClient:
    """A module whose terminal is elsewhere; safe for several threads, one call at a time."""

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        ca_file: Path | None = None,
        patience: ClientPatience | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Do not connect yet.

        Args:
            url: Of the bridge; plain HTTP for this machine only.
            token: Of its server.
            ca_file: PEM file of a private authority that signed the server's certificate.
            patience: How long and how often to wait.
            sleep: Waits between tries.

        Raises:
            ConfigError: The URL is none, or the token would travel in the clear.
        """
        self._connection = BridgeConnection(url, token.secret, ca_file)
        self._url = url
        self._patience = patience or ClientPatience()
        self._sleep = sleep
        self._lock = threading.RLock()
        self._error: tuple[int, str] = (mt5.RES_S_OK, "Success")

    def __repr__(self) -> str:
        return f"BridgeClient({self._url!r})"

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *CALLS]

    def __getattr__(self, name: str) -> Any:
        """The module's other functions, and its constants such as ``TIMEFRAME_H1``."""
        if name in CALLS:
            return partial(self._function, name)
        if name.isupper() and hasattr(mt5, name):
            return getattr(mt5, name)
        raise AttributeError(f"the bridge offers no '{name}'")

    def last_error(self) -> tuple[int, str]:
        """Code and text of the last call."""
        return self._error

    def shutdown(self) -> None:
        """Hang up; the terminal stays connected for others."""
        with self._lock:
            self._connection.close()

    def order_send(self, request: object, /, *, key: str | None = None) -> Any:
        """Send an order, once.

        Args:
            request: As the module takes it; a key that it does not know is refused.
            key: Makes the order known to the bridge for ever: another call with the same key and
                request is answered and not executed. A new one if None.

        Returns:
            ``OrderSendResult``, or None and ``last_error()``.
        """
        with self._lock:
            try:
                arguments = normal_arguments(CALLS[SENDING], {"request": request})
            except CallRefused as refusal:
                self._error = (refusal.code, refusal.text)
                return None
            answer, self._error = self._send(dump(arguments), key or secrets.token_hex(16))
            return answer

    def switch(self) -> SwitchState:
        """Where the bridge's kill switch stands.

        Raises:
            BrokerUnavailable: It does not say.
        """
        return self._switch("GET", SWITCH, b"")

    def kill(self, form: Form, reason: str) -> SwitchState:
        """Let the bridge's kill switch fall, for all who trade through it.

        Args:
            form: How much to stop.
            reason: Why, for those who look; at most 256 characters.

        Returns:
            Where it stands now, which may be worse.

        Raises:
            BrokerUnavailable: It does not say so; it may have fallen all the same.
        """
        return self._switch("POST", KILL, dump({"form": form.word, "reason": reason}))

    def _switch(self, method: str, name: str, body: bytes) -> SwitchState:
        """An answer about the switch, which does no harm to be asked for again."""
        told = ""
        with self._lock:
            for _ in self._tries():
                try:
                    answer = self._ask(method, name, body, self._patience.settle)
                    if answer.status == 200:
                        return state_of(load(answer.body))
                    told = _text_of(answer)
                    if answer.status not in _LATER:
                        break
                except (NotConnected, Interrupted, WireError) as problem:
                    told = str(problem)
        raise BrokerUnavailable(f"the bridge says nothing of its kill switch: {told}")

    def _function(self, name: str, *positional: Any, **named: Any) -> Any:
        call = CALLS[name]
        bound = call.bind(positional, named)
        with self._lock:
            try:
                body = dump(normal_arguments(call, bound))
                answer, self._error = self._read(name, body)
            except CallRefused as refusal:
                answer, self._error = None, (refusal.code, refusal.text)
            return call.fails_as if answer is None else answer

    def _read(self, name: str, body: bytes) -> Answer:
        """The answer to anything but an order, which may be asked for again."""
        waiting = self._patience.connect if name in ("initialize", "login") else None
        error = (mt5.RES_E_INTERNAL_FAIL_CONNECT, "not tried")
        for _ in self._tries():
            try:
                answer = self._ask("POST", name, body, waiting or self._patience.answer)
                if answer.status == 200:
                    return _answer_of(answer)
            except NotConnected as problem:
                error = (mt5.RES_E_INTERNAL_FAIL_CONNECT, f"No connection to the bridge: {problem}")
            except (Interrupted, WireError) as problem:
                error = (mt5.RES_E_INTERNAL_FAIL_RECEIVE, f"The bridge did not answer: {problem}")
            else:
                error = _error_of(answer)
                if answer.status not in _LATER:
                    break
        return None, error

    def _send(self, body: bytes, key: str) -> Answer:
        """The answer to an order, or what the bridge's table knows of it."""
        headers = {"Idempotency-Key": key}
        try:
            answer = self._ask("POST", SENDING, body, self._patience.answer, headers)
            if answer.status == 200:
                return _answer_of(answer)
            if _never_executed(answer):
                return None, _error_of_order(answer)
        except (NotConnected, Interrupted, WireError):
            pass  # whether it arrived is for the bridge to say
        return self._settle(body, headers)

    def _settle(self, body: bytes, headers: dict[str, str]) -> Answer:
        """What became of an order: its answer, its withdrawal, or that nobody knows."""
        told = "no connection"
        for _ in self._tries():
            try:
                settling = {**headers, "Idempotency-Settle": "1"}
                answer = self._ask("POST", SENDING, body, self._patience.settle, settling)
                if answer.status == 200:
                    return _answer_of(answer)
                # Any other refusal is of the question; only this one is of the order.
                if answer.status == 410 and _never_executed(answer):
                    return None, _error_of_order(answer)
                told = _text_of(answer)
                if answer.status not in _LATER:
                    break
            except (NotConnected, Interrupted, WireError) as problem:
                told = str(problem)
        return None, (
            mt5.RES_E_INTERNAL_FAIL_RECEIVE,
            f"The bridge cannot say what became of the order: {told}",
        )

    def _tries(self) -> Iterator[int]:
        """A few, with a pause before each but the first, twice as long each time."""
        for attempt in range(self._patience.tries):
            if attempt:
                self._sleep(self._patience.pause * 2.0 ** (attempt - 1))
            yield attempt

    def _ask(
        self,
        method: str,
        name: str,
        body: bytes,
        timeout: float,
        headers: dict[str, str] | None = None,
    ) -> HttpAnswer:
        return self._connection.ask(method, f"/v1/{name}", body, timeout, headers)


def _answer_of(answer: HttpAnswer) -> Answer:
    """Value and ``last_error`` of a good answer.

    Raises:
        WireError: It is none.
    """
    facts = answer.headers.get("mt5-array")
    if facts is None:
        return read_answer(answer.body)
    found = load(facts.encode("latin-1"))
    return read_array(found, answer.body), read_error(found.get("last_error"))


def _told(answer: HttpAnswer) -> dict[str, Any]:
    """A refusal in the bridge's own words; nothing where a stranger answered."""
    try:
        found = load(answer.body)
    except WireError:
        return {}
    return found if isinstance(found, dict) and "executed" in found else {}


def _text_of(answer: HttpAnswer) -> str:
    text = _told(answer).get("text", "it is no bridge that answers there")
    return f"{text} (HTTP {answer.status})"


def _never_executed(answer: HttpAnswer) -> bool:
    return _told(answer).get("executed") == "never"


def _error_of(answer: HttpAnswer) -> tuple[int, str]:
    """A refused read."""
    if answer.status in _SHUT:
        return mt5.RES_E_AUTH_FAILED, f"The bridge refuses: {_text_of(answer)}"
    if answer.status == 422:
        return mt5.RES_E_INVALID_PARAMS, f"The bridge refuses: {_text_of(answer)}"
    return mt5.RES_E_INTERNAL_FAIL, f"The bridge cannot: {_text_of(answer)}"


def _error_of_order(answer: HttpAnswer) -> tuple[int, str]:
    """An order that is proven not to have been sent, with a code that says so."""
    shut = answer.status in _SHUT
    code = mt5.RES_E_AUTO_TRADING_DISABLED if shut else mt5.RES_E_INVALID_PARAMS
    return code, f"Nothing was sent: {_text_of(answer)}"
