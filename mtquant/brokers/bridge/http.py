"""BridgeConnection: one kept-alive HTTP connection to a bridge, and nothing cleverer.

Plain HTTP goes to this machine only. No redirect is followed and no proxy asked: the token goes to
the address that was configured.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mtquant.errors import ConfigError

_CONNECT_SECONDS = 5.0
_IDLE_SECONDS = 20.0  # after which the other side may be about to hang up
_LARGEST_ANSWER = 256 * 2**20


class NotConnected(Exception):
    """No connection: nothing was sent."""


class Interrupted(Exception):
    """Something was sent and no answer came."""


@dataclass(frozen=True)
class HttpAnswer:
    """Status, headers in lower case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BridgeConnection:
    """To one server; not for several threads at once."""

    def __init__(self, url: str, token: str, ca_file: Path | None = None) -> None:
        """Do not connect yet.

        Args:
            url: Such as ``http://127.0.0.1:8750`` or ``https://desk.example:8750``.
            token: Sent with every request, shown nowhere.
            ca_file: PEM file of a private authority that signed the server's certificate.

        Raises:
            ConfigError: No such URL, or plain HTTP to another machine.
        """
        self._host, self._port, secure = parse_url(url)
        self._context = _context(ca_file) if secure else None
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0

    def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        timeout: float,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """The answer to a request.

        Args:
            method: Of HTTP.
            path: Of the URL.
            body: JSON.
            timeout: Seconds for the whole answer, however it drips in.
            headers: Besides the connection's own.

        Raises:
            NotConnected: Nothing was sent.
            Interrupted: The request may or may not have arrived.
        """
        connection = self._connected()
        try:
            with _hung_up_after(timeout, connection.sock):
                connection.request(method, path, body, {**self._headers, **(headers or {})})
                answer = connection.getresponse()
                received = answer.read(_LARGEST_ANSWER + 1)
            if len(received) > _LARGEST_ANSWER:
                raise http.client.HTTPException("an answer without end")
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            raise Interrupted(f"{type(problem).__name__}: {problem}") from None
        self._used = time.monotonic()
        named = {name.lower(): value for name, value in answer.getheaders()}
        if answer.will_close:
            self.close()
        return HttpAnswer(answer.status, named, received)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is not None and time.monotonic() - self._used > _IDLE_SECONDS:
            self.close()
        if self._connection is not None:
            return self._connection
        if self._context is None:
            made = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_SECONDS)
        else:
            made = http.client.HTTPSConnection(
                self._host, self._port, timeout=_CONNECT_SECONDS, context=self._context
            )
        try:
            made.connect()
        except OSError as problem:
            made.close()
            raise NotConnected(f"{type(problem).__name__}: {problem}") from None
        self._connection = made
        return made


@contextmanager
def _hung_up_after(seconds: float, sock: socket.socket) -> Iterator[None]:
    """Hang up in the middle of an answer: each byte that drips in begins a socket's wait anew.

    Raises:
        TimeoutError: It took longer, even if what came until then looks whole.
    """

    def hang_up() -> None:
        with suppress(OSError):  # it may be closed by now
            # Past TLS's own shutdown, which pulls the ground from under the thread that reads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    sock.settimeout(seconds)
    until = time.monotonic() + seconds
    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if time.monotonic() >= until:
        raise TimeoutError(f"no whole answer within {seconds:g} s")


def parse_url(url: str) -> tuple[str, int, bool]:
    """Host, port, and whether it is TLS.

    Raises:
        ConfigError: It is no such URL, holds a secret, or is plain HTTP to another machine.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("a bridge's URL holds no user, password or query; tokens go elsewhere")
    if parts.scheme not in ("http", "https") or not host or parts.path not in ("", "/"):
        raise ConfigError(
            f"'{url}' is no address of a bridge; write http://127.0.0.1:8750 or https://HOST:PORT"
        )
    secure = parts.scheme == "https"
    if not secure and not _loopback(host):
        raise ConfigError(
            f"'{url}' would send the token in the clear to another machine; use https, or tunnel "
            "to 127.0.0.1"
        )
    return host, port or (443 if secure else 80), secure


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as problem:
        raise ConfigError(
            f"cannot read certificates from '{ca_file}': {problem}; name a PEM file"
        ) from None
