"""OwnBridge: a bridge as a child of this process, for a terminal on this machine.

The MetaTrader5 module holds Python's lock during every call: in the trading process a terminal that
hangs would stop the loop, its time-outs and its kill switch. So the terminal belongs to a bridge,
and the bridge to this process: it listens on this machine alone, under tokens that nobody else is
told, and ends when its parent does, however that came.
"""

from __future__ import annotations

import os
import queue
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtquant.brokers.bridge.calls import Scope
from mtquant.brokers.bridge.client import BridgeClient
from mtquant.brokers.bridge.http import BridgeConnection
from mtquant.brokers.bridge.tokens import VARIABLES, Token
from mtquant.errors import BrokerUnavailable

_LISTENS = re.compile(r"bridge on (http://\S+)")
_START_SECONDS, _END_SECONDS = 120.0, 10.0
_NOWHERE = "http://127.0.0.1:9"  # until it has been started


class OwnBridge(BridgeClient):
    """A client of a bridge that it starts, starts again where it has died, and ends."""

    def __init__(
        self, options: Sequence[str], folder: Path, hidden: Mapping[str, str] | None = None
    ) -> None:
        """Start nothing yet; ``initialize`` does.

        Args:
            options: Of ``mtquant bridge serve``: the account and its terminal, no secrets.
            folder: Of its table of orders and its log.
            hidden: Environment variables of the child alone.
        """
        self._token = Token(Scope.TRADE, secrets.token_urlsafe(32))
        super().__init__(_NOWHERE, self._token)
        self._options, self._folder = tuple(options), folder
        self._hidden = {**(hidden or {}), VARIABLES[Scope.TRADE]: self._token.secret}
        self._child: subprocess.Popen[str] | None = None

    def initialize(self, *path: str, **account: Any) -> bool:
        """Start the bridge where it does not run, and connect it to its terminal.

        Args:
            *path: Of the terminal; the child was told.
            **account: ``login``, ``server`` and ``password``, which the child was told likewise.

        Raises:
            BrokerUnavailable: It does not start.
        """
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._begin()
        named = {name: account[name] for name in ("login", "server") if name in account}
        return bool(self._function("initialize", **named))

    def shutdown(self) -> None:
        """Hang up and end the bridge."""
        super().shutdown()
        self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()  # by which it ends
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _begin(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        table, log = self._folder / "orders.sqlite3", self._folder / "bridge.log"
        command = [sys.executable, "-m", "mtquant", "bridge", "serve", "--port", "0"]
        command += ["--orders", str(table), "--until-stdin-ends", *self._options]
        file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **self._hidden},
                text=True,
                **_apart(),
            )
        finally:
            os.close(file)
        url = _heard(self._child)
        if url is None:
            self.shutdown()
            raise BrokerUnavailable(
                f"the bridge beside the terminal does not start; '{log}' says why"
            )
        self._connection = BridgeConnection(url, self._token.secret, None)


def _apart() -> dict[str, Any]:
    """A group of its own: Ctrl-C is for the parent, which then ends the child."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _heard(child: subprocess.Popen[str]) -> str | None:
    """Where it listens; None where it ends without a word, or takes too long."""
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def listen() -> None:
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                if found := _LISTENS.search(line):
                    said.put(found[1])
        said.put(None)

    threading.Thread(target=listen, name="bridge-child", daemon=True).start()
    try:
        return said.get(timeout=_START_SECONDS)
    except queue.Empty:
        return None
