"""Supervisor: one call at a time to the worker, time-outs, replacement, and each order once.

It lives in the server's process and never loads the MetaTrader5 module. What waits too long is
refused before it reaches the terminal, so no order is sent late; what the terminal has begun and
does not finish is *unknown*, and its worker is killed before another one starts. The kill switch
is asked last, right before the worker.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mtquant.brokers.bridge.calls import CALLS, SENDING
from mtquant.brokers.bridge.orders import Known, OrderTable, Standing, digest_of
from mtquant.brokers.bridge.process import Worker, WorkerLost, WorkerRefused, WorkerSilent
from mtquant.brokers.bridge.session import call_frame, split_answer
from mtquant.brokers.bridge.switch import BridgeSwitch, Stopped
from mtquant.brokers.bridge.wire import WireError, read_answer
from mtquant.risk.switch import Form

logger = logging.getLogger(__name__)

_OUT_OF_REACH = range(-10005, -10000)  # the module's codes for a terminal that is not there
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class Refusal(Exception):
    """No answer of the terminal's.

    Attributes:
        status: Of HTTP.
        error: In a word.
        executed: ``never`` where it is proven that nothing was sent, else ``unknown``.
    """

    def __init__(self, status: int, error: str, text: str, executed: str = "never") -> None:
        super().__init__(text)
        self.status = status
        self.error = error
        self.executed = executed


@dataclass(frozen=True)
class Reply:
    """An answer of the terminal's.

    Attributes:
        body: The JSON part.
        rows: Of an array.
        repeated: Whether it was answered before.
    """

    body: bytes
    rows: bytes = b""
    repeated: bool = False


@dataclass(frozen=True)
class Patience:
    """Seconds that things may take.

    Attributes:
        waiting: Behind other calls; a late order is worse than none.
        call: The terminal's answer to a call.
        connect: Its answer to ``initialize``, which waits for the terminal to start.
        queue: Calls that may wait at once.
    """

    waiting: float = 5.0
    call: float = 20.0
    connect: float = 90.0
    queue: int = 32


class Supervisor:
    """The one way to the terminal.

    Attributes:
        switch: What it lets pass.
    """

    def __init__(
        self,
        start: Callable[[], Worker],
        orders: OrderTable,
        patience: Patience | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            start: Starts a worker; raises WorkerRefused or WorkerLost.
            orders: What became of every order.
            patience: How long things may take.

        Raises:
            RiskHalt: The switch of a new table cannot be armed.
        """
        self._start = start
        self._orders = orders
        self.switch = BridgeSwitch(orders.path)
        if orders.fresh:
            self.switch.begin(time.time_ns())
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._places = threading.Semaphore(self._patience.queue)
        self._worker: Worker | None = None
        self._connected = False
        self._not_before, self._pause = 0.0, _FIRST_PAUSE
        self._wanted, self._closed = threading.Event(), threading.Event()

    @property
    def ready(self) -> bool:
        """Whether there is a worker whose terminal was in reach when it was last asked."""
        return self._worker is not None and self._connected

    def open(self) -> None:
        """Start the worker, and a thread that replaces it when it is lost.

        Raises:
            WorkerRefused: There is no terminal to own.
            WorkerLost: It did not get ready.
        """
        with self._lock:
            self._begin()
        threading.Thread(target=self._replace, name="bridge-replace", daemon=True).start()

    def close(self) -> None:
        """End the worker and close the table; a call that is under way becomes unknown."""
        self._closed.set()
        self._wanted.set()
        worker = self._worker
        if worker is not None:
            worker.end()
        with self._lock:
            self._worker = None
            self._orders.close()

    def call(
        self,
        function: str,
        arguments: dict[str, Any],
        key: str | None = None,
        *,
        settle: bool = False,
    ) -> Reply:
        """The terminal's answer to a call.

        Args:
            function: Of the whitelist, or of the worker's extra.
            arguments: By name, already checked.
            key: Of an order.
            settle: The order was sent before: say what became of it, and see that it is never
                executed if it has not arrived.

        Raises:
            Refusal: There is none.
        """
        until = time.monotonic() + self._patience.waiting
        if not self._places.acquire(blocking=False):
            raise Refusal(503, "busy", "too many calls wait for the terminal; try again later")
        try:
            if not self._lock.acquire(timeout=self._patience.waiting):
                raise Refusal(503, "busy", "the terminal is busy; nothing was sent")
        finally:
            self._places.release()
        try:
            if key is not None:
                return self._order(arguments, key, until, settle)
            return self._ask(self._ready_worker(until), function, arguments)
        finally:
            self._lock.release()

    def _order(self, arguments: dict[str, Any], key: str, until: float, settle: bool) -> Reply:
        """An order, once."""
        enter = self._orders.withdraw if settle else self._orders.claim
        worker = None if settle else self._worker_of_order(key, until)
        most = Form.ARMED
        try:
            if worker is not None and not self._orders.knows(key):
                most = self._let(worker, arguments["request"], until)
            known = enter(key, digest_of(arguments), time.time_ns())
        except Stopped as stopped:
            raise Refusal(423, "switch", str(stopped)) from None
        except sqlite3.Error as problem:
            raise Refusal(
                503, "table", f"the table of orders cannot be written ({problem}); nothing was sent"
            ) from None
        if known.standing is not Standing.NEW or worker is None:
            return _answered(known)
        try:
            with self.switch.sending(most):
                reply = self._ask(worker, SENDING, arguments)
        except Stopped as stopped:
            self._keep(self._orders.give_back, key)
            raise Refusal(423, "switch", str(stopped)) from None
        self._keep(self._orders.answer, key, reply.body)
        return reply

    def _keep(self, what: Callable[..., None], *values: Any) -> None:
        """Write what has become of an order, where that can be."""
        try:
            what(*values)
        except sqlite3.Error:
            logger.exception("what became of an order was not kept; a repetition stays unknown")

    def _let(self, worker: Worker, request: dict[str, Any], until: float) -> Form:
        """The worst that the switch may be at for an order that it lets pass now."""

        def ask(function: str, named: dict[str, Any]) -> Any:
            return read_answer(self._ask(worker, function, named).body)[0]

        most = self.switch.let(request, ask)
        if time.monotonic() > until:
            raise Refusal(503, "late", "the call waited too long for the terminal; nothing sent")
        return most

    def _worker_of_order(self, key: str, until: float) -> Worker | None:
        """The worker; None where none is there but the table may know the order."""
        try:
            return self._ready_worker(until)
        except Refusal:
            if self._orders.knows(key):
                return None
            raise

    def _ask(self, worker: Worker, function: str, arguments: dict[str, Any]) -> Reply:
        call = CALLS.get(function)
        args, kwargs = ([], arguments) if call is None else call.spread(arguments)
        connecting = function in ("initialize", "login")
        timeout = self._patience.connect if connecting else self._patience.call
        try:
            frame = worker.ask(call_frame(function, args, kwargs), timeout)
            code, body, rows = split_answer(frame)
        except (WorkerLost, WireError) as problem:
            self._lose(worker, str(problem))
            status = 504 if isinstance(problem, WorkerSilent) else 502
            raise Refusal(
                status, "lost", f"{problem}; what it was doing may have happened", "unknown"
            ) from None
        self._connected = code not in _OUT_OF_REACH
        return Reply(body, rows)

    def _ready_worker(self, until: float) -> Worker:
        """The worker, started anew where it is missing.

        Raises:
            Refusal: There is none yet, or it took so long that the call is late.
        """
        if self._worker is None:
            if time.monotonic() < self._not_before:
                raise Refusal(503, "starting", "the terminal's process starts again; nothing sent")
            try:
                self._begin()
            except (WorkerLost, WorkerRefused) as problem:
                raise Refusal(503, "no terminal", f"{problem}; nothing was sent") from None
        if time.monotonic() > until:
            raise Refusal(503, "late", "the call waited too long for the terminal; nothing sent")
        assert self._worker is not None
        return self._worker

    def _begin(self) -> None:
        """Start a worker; the lock is held."""
        if self._closed.is_set():
            raise WorkerLost("the bridge is closing")
        try:
            worker = self._start()
        except (WorkerLost, WorkerRefused):
            self._not_before = time.monotonic() + self._pause
            self._pause = min(2.0 * self._pause, _LONGEST_PAUSE)
            raise
        self._worker, self._connected = worker, worker.connected
        self._not_before, self._pause = 0.0, _FIRST_PAUSE
        self._wanted.clear()
        logger.info("the terminal's process is there; connected: %s", worker.connected)

    def _lose(self, worker: Worker, why: str) -> None:
        """End a worker that cannot be trusted any more; the lock is held."""
        logger.error("%s; its process is replaced", why)
        worker.end()
        self._worker, self._connected = None, False
        self._wanted.set()

    def _replace(self) -> None:
        """Start a new worker whenever one is wanted, until closed."""
        while not self._closed.is_set():
            self._wanted.wait()
            if self._closed.wait(max(0.0, self._not_before - time.monotonic())):
                return
            with self._lock:
                if self._worker is None and not self._closed.is_set():
                    try:
                        self._begin()
                    except (WorkerLost, WorkerRefused) as problem:
                        logger.warning("no terminal: %s", problem)


def _answered(known: Known) -> Reply:
    """What a key's standing says to a repetition.

    Raises:
        Refusal: Anything but the answer.
    """
    if known.standing is Standing.ANSWERED:
        return Reply(known.answer, repeated=True)
    if known.standing is Standing.WITHDRAWN:
        raise Refusal(410, "withdrawn", "the order never arrived and is refused from now on")
    if known.standing is Standing.ANOTHER:
        raise Refusal(409, "another", "the idempotency key belongs to another request", "unknown")
    raise Refusal(
        504, "unknown", "the order was begun and has no answer; look into the history", "unknown"
    )
