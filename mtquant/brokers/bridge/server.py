"""BridgeServer: the bridge's routes behind their guard, on a socket that is safe to offer.

On this machine alone unless there is TLS; patient with nobody who sends slowly.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mtquant.brokers.bridge.guard import Guard
from mtquant.brokers.bridge.routes import make_routes
from mtquant.brokers.bridge.supervisor import Supervisor
from mtquant.brokers.bridge.tokens import TokenTable
from mtquant.errors import ConfigError

_LARGEST_HEAD = 16 * 1024
_MOST_CONNECTIONS = 64
_IDLE_SECONDS = 60
_HEAD_SECONDS = 10.0


@dataclass(frozen=True)
class ServerSettings:
    """Where the bridge listens and how much it takes.

    Attributes:
        host: Name or address to bind.
        port: 0 takes a free one.
        certificate: PEM file; without it only this machine can be bound.
        private_key: PEM file.
        allow_hosts: Further names by which clients may call it.
        rate: Calls a second of one scope.
        largest_body: Bytes.
        body_seconds: How long a body may take to arrive.
    """

    host: str = "127.0.0.1"
    port: int = 8750
    certificate: Path | None = None
    private_key: Path | None = None
    allow_hosts: tuple[str, ...] = ()
    rate: float = 200.0
    largest_body: int = 64 * 1024
    body_seconds: float = 10.0

    def check(self) -> None:
        """Refuse what would be unsafe.

        Raises:
            ConfigError: Another machine could listen in, or a file is missing.
        """
        if (self.certificate is None) != (self.private_key is None):
            raise ConfigError("TLS needs both --cert and --key")
        if self.certificate is None and not is_loopback(self.host):
            raise ConfigError(
                f"host '{self.host}' is not this machine alone, and tokens would travel in the "
                "clear; give --cert and --key, or bind 127.0.0.1 and tunnel to it"
            )
        for path in (self.certificate, self.private_key):
            if path is not None and not path.is_file():
                raise ConfigError(f"there is no file '{path}'; name a PEM file")

    @property
    def names(self) -> list[str]:
        """Hosts, without a port, that mean this server: a tunnel may have another port."""
        own = ["localhost", "127.0.0.1", "[::1]"] if is_loopback(self.host) else []
        known = [f"[{name}]" if ":" in name else name for name in (self.host, *self.allow_hosts)]
        return [*own, *known]


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _PatientProtocol(H11Protocol):
    """HTTP/1.1 that ends a connection on which no whole request head arrives in time."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._timer is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BridgeServer:
    """A bound socket and the application on it.

    Attributes:
        port: On which it listens.
    """

    def __init__(
        self, supervisor: Supervisor, tokens: TokenTable, settings: ServerSettings
    ) -> None:
        """Bind, without answering yet.

        Raises:
            ConfigError: See :meth:`ServerSettings.check`, or the address cannot be bound.
        """
        settings.check()
        self._socket = _bound(settings.host, settings.port)
        self.port = int(self._socket.getsockname()[1])
        self._supervisor = supervisor
        guard = Guard(
            make_routes(supervisor),
            tokens,
            hosts=settings.names,
            rate=settings.rate,
            largest_body=settings.largest_body,
            body_seconds=settings.body_seconds,
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                guard,
                http=_PatientProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=_LARGEST_HEAD,
                ssl_certfile=settings.certificate,
                ssl_keyfile=settings.private_key,
            )
        )

    def run(self) -> None:
        """Answer until stopped by a signal or :meth:`stop`."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self._supervisor.close()

    def stop(self) -> None:
        """Have :meth:`run` return, from another thread."""
        self._server.should_exit = True


def _bound(host: str, port: int) -> socket.socket:
    """A socket that waits for connections.

    It is made as TCP by name, because asyncio sends small answers at once (TCP_NODELAY) only on
    such: else each would wait 40 ms for the other side's acknowledgement.

    Raises:
        ConfigError: There is no such address here, or it is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen()
    except OSError as problem:
        made.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {problem.strerror or problem}; choose another"
        ) from None
    return made
