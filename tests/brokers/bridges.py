"""Bridges over real loopback HTTP, for tests; the worker is a thread of the test or a process."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mtquant.brokers.bridge.calls import Scope
from mtquant.brokers.bridge.client import BridgeClient
from mtquant.brokers.bridge.orders import OrderTable
from mtquant.brokers.bridge.process import FrameChannel
from mtquant.brokers.bridge.server import BridgeServer, ServerSettings
from mtquant.brokers.bridge.supervisor import Patience, Supervisor
from mtquant.brokers.bridge.tokens import Token, TokenTable
from mtquant.brokers.bridge.worker import serve

FAST = 1e6  # calls a second: no limit


class ThreadWorker:
    """The worker's own loop over real pipes, with a module of the test's process."""

    def __init__(self, module: Any, extra: Any = None) -> None:
        asked, calls = os.pipe()
        answers, answered = os.pipe()
        streams = os.fdopen(asked, "rb"), os.fdopen(answered, "wb")

        def work() -> None:
            with streams[0], streams[1]:
                serve(*streams, lambda setup: module, extra)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        self._calls = os.fdopen(calls, "wb")
        self._channel = FrameChannel(self._calls, os.fdopen(answers, "rb"))
        self.connected = self._channel.begin({}, 5.0)

    def ask(self, frame: bytes, timeout: float) -> bytes:
        return self._channel.ask(frame, timeout)

    def end(self) -> None:
        """The module of a thread cannot be killed; it is left to whatever it hangs in."""
        try:
            self._calls.close()
        except OSError:
            pass
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._channel.close()


class Bridge:
    """A running bridge and what its clients need."""

    def __init__(
        self,
        start: Callable[[], Any],
        folder: Path,
        *,
        patience: Patience | None = None,
        tokens: Sequence[Token] = (),
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.read = Token(Scope.READ, secrets.token_urlsafe(32))
        self.trade = Token(Scope.TRADE, secrets.token_urlsafe(32))
        self.supervisor = Supervisor(start, OrderTable(folder / "orders.sqlite3"), patience)
        self.supervisor.open()
        self.settings = ServerSettings(**{"port": 0, "rate": FAST, **settings})
        table = TokenTable([self.read, self.trade, *tokens])
        self.server = BridgeServer(self.supervisor, table, self.settings)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        while not self.server._server.started and self._thread.is_alive():
            time.sleep(0.005)
        scheme = "http" if self.settings.certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.port}"

    def client(self, token: Token | None = None, **options: Any) -> BridgeClient:
        return BridgeClient(self.url, token or self.trade, **options)

    def close(self) -> None:
        self.server.stop()
        self._thread.join(10.0)
        assert not self._thread.is_alive()


class Pool:
    """Bridges that stand in front of one terminal after the other; to start one takes a while."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[tuple[Bridge, BridgeClient, list[Any]]] = []
        self._busy = 0

    def through(self, terminal: Any) -> BridgeClient:
        """A client of a bridge to the terminal, until :meth:`release`."""
        if self._busy == len(self._made):
            behind = [terminal]
            bridge = Bridge(lambda: ThreadWorker(behind[0]), self._folder / str(self._busy))
            self._made.append((bridge, bridge.client(), behind))
        bridge, client, behind = self._made[self._busy]
        self._busy += 1
        if behind[0] is not terminal:
            behind[0] = terminal
            assert bridge.supervisor._worker is None
        return client

    def release(self) -> None:
        for bridge, _, _ in self._made[: self._busy]:
            if bridge.supervisor._worker is not None:
                bridge.supervisor._worker.end()
                bridge.supervisor._worker = None
        self._busy = 0

    def close(self) -> None:
        for bridge, client, _ in self._made:
            client.shutdown()
            bridge.close()
