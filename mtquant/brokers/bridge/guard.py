"""What stands before the bridge's routes: who asks, from where, how often and how much.

In this order: the Host and Origin of the request, the open pages, the token, the rate, the body.
A refusal is JSON with an HTTP status, and shows nothing of what was sent.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from mtquant.brokers.bridge.calls import KILL
from mtquant.brokers.bridge.supervisor import Refusal
from mtquant.brokers.bridge.tokens import TokenTable
from mtquant.brokers.bridge.wire import dump

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PAGES = ("/health", "/ready")
KILL_PAGE = f"/v1/{KILL}"
SCOPE, BODY = "bridge.scope", "bridge.body"
_PORT = re.compile(r":[0-9]{1,5}$")
_OPEN_RATE, _STRANGER_RATE = 20.0, 5.0  # a second; neither takes from what a token may do


class Bucket:
    """A rate limit: ``rate`` a second, and a second's worth at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left, self._at = max(rate, 1.0), time.monotonic()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = time.monotonic()
        self._left = min(max(self._rate, 1.0), self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Guard:
    """An ASGI application around another one."""

    def __init__(
        self,
        app: App,
        tokens: TokenTable,
        *,
        hosts: Iterable[str],
        rate: float,
        largest_body: int,
        body_seconds: float,
    ) -> None:
        """Around ``app``.

        Args:
            app: The routes.
            tokens: Who may call.
            hosts: Names in the Host header that mean this server, without a port.
            rate: Calls a second of one token.
            largest_body: Bytes.
            body_seconds: How long a body may take to arrive.
        """
        self._app = app
        self._tokens = tokens
        self._hosts = frozenset(host.lower() for host in hosts)
        self._rate, self._buckets = rate, dict[str, Bucket]()
        self._open, self._strangers = Bucket(_OPEN_RATE), Bucket(_STRANGER_RATE)
        self._largest_body = largest_body
        self._body_seconds = body_seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"the bridge speaks HTTP, not {scope['type']}")
        try:
            headers = _headers(scope)
            self._check_origin(headers)
            if scope["path"] in OPEN_PAGES:
                self._spend(self._open)
            else:
                scope[SCOPE] = self._check_token(headers, scope["path"])
                if scope["method"] == "POST":
                    scope[BODY] = await self._body(headers, receive)
        except Refusal as refusal:
            await refuse(send, refusal)
            return
        await self._app(scope, _nothing, send)

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        if _PORT.sub("", headers.get("host", "").lower()) not in self._hosts:
            raise Refusal(421, "host", "this server has another name; see --allow-host")
        if "origin" in headers:
            raise Refusal(403, "origin", "the bridge is not for pages in a browser")

    def _check_token(self, headers: Mapping[str, str], path: str) -> Any:
        kind, _, secret = headers.get("authorization", "").partition(" ")
        scope = self._tokens.scope_of(secret) if kind.lower() == "bearer" else None
        if scope is None:
            self._spend(self._strangers)
            raise Refusal(401, "token", "no valid token; send 'Authorization: Bearer ...'")
        # Whoever uses up what a scope may do must not stand in the way of a kill.
        bucket = f"{scope.value} to kill" if path == KILL_PAGE else scope.value
        self._spend(self._buckets.setdefault(bucket, Bucket(self._rate)))
        return scope

    def _spend(self, bucket: Bucket) -> None:
        if not bucket.take():
            raise Refusal(429, "rate", "too many requests; wait a second")

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        announced = headers.get("content-length", "0")
        if not announced.isdigit() or int(announced) > self._largest_body:
            raise Refusal(413, "size", f"a body has at most {self._largest_body} bytes")
        try:
            async with asyncio.timeout(self._body_seconds):
                return await self._read(receive)
        except TimeoutError:
            raise Refusal(408, "slow", "the body did not arrive in time") from None

    async def _read(self, receive: Receive) -> bytes:
        parts, length = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Refusal(400, "cut", "the body did not arrive whole")
            part = message.get("body", b"")
            length += len(part)
            if length > self._largest_body:
                raise Refusal(413, "size", f"a body has at most {self._largest_body} bytes")
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


async def refuse(send: Send, refusal: Refusal) -> None:
    """Answer with a refusal."""
    body = refusal_body(refusal)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in refusal_headers(refusal).items()),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def refusal_body(refusal: Refusal) -> bytes:
    """As JSON."""
    told = {"error": refusal.error, "text": str(refusal), "executed": refusal.executed}
    return dump(told)


def refusal_headers(refusal: Refusal) -> dict[str, str]:
    """Headers that go with a status; what was not read ends the connection."""
    headers = {"cache-control": "no-store"}
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    if refusal.status in (429, 503):
        headers["retry-after"] = "1"
    if refusal.status in (408, 413, 421):
        headers["connection"] = "close"
    return headers


def _headers(scope: Message) -> dict[str, str]:
    """Headers by name; one that is given twice counts as neither.

    Two readers that take different ones of two headers are how requests are smuggled.
    """
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in found:
            raise Refusal(400, "twice", "a header is given twice")
        found[key] = value.decode("latin-1")
    return found


async def _nothing() -> Message:
    """The body was read already; nobody waits for the end of the connection."""
    return {"type": "http.request", "body": b"", "more_body": False}
