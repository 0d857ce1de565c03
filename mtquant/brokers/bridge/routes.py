"""The bridge's routes: the whitelist over HTTP, made from its table.

``POST /v1/FUNCTION`` with a JSON body of named arguments; bars and ticks come back as raw rows,
everything else as JSON, ``last_error`` with each. An order carries ``Idempotency-Key``.
"""

from __future__ import annotations

import http
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from mtquant import __version__
from mtquant.brokers.bridge.calls import CALLS, SENDING, Call, Scope
from mtquant.brokers.bridge.checks import Refused, check, schema
from mtquant.brokers.bridge.guard import (
    BODY,
    OPEN_PAGES,
    SCOPE,
    refusal_body,
    refusal_headers,
)
from mtquant.brokers.bridge.orders import is_key
from mtquant.brokers.bridge.supervisor import Refusal, Supervisor
from mtquant.brokers.bridge.wire import dump

_NO_STORE = {"cache-control": "no-store"}
_JSON = "application/json"
_ROWS = "application/octet-stream"


def make_routes(supervisor: Supervisor) -> FastAPI:
    """All routes; nothing guards them yet."""
    app = FastAPI(
        title="mtquant bridge",
        version=__version__,
        description="The MetaTrader5 module's functions, beside a terminal. Floats are written "
        "with a decimal point and ints without, as the module tells them apart.",
        openapi_url=None,  # the document is for token holders: see below
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for name, call in CALLS.items():
        app.add_api_route(
            f"/v1/{name}",
            _endpoint(name, call, supervisor),
            methods=["POST"],
            operation_id=name,
            summary=f"MetaTrader5.{name}",
            openapi_extra=_described(name, call),
            responses=_REFUSALS,  # type: ignore[arg-type]
            response_class=Response,
        )
    for page, answer in zip(OPEN_PAGES, (_health, _ready(supervisor)), strict=True):
        app.add_api_route(page, answer, methods=["GET"], response_class=Response)

    async def document() -> Response:
        return Response(json.dumps(app.openapi()), media_type=_JSON, headers=_NO_STORE)

    app.add_api_route("/openapi.json", document, include_in_schema=False)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Refusal, _refused)
    return app


def _endpoint(
    name: str, call: Call, supervisor: Supervisor
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        granted: Scope = request.scope[SCOPE]
        if not granted.covers(call.scope):
            raise Refusal(403, "scope", f"{name} needs a token of scope '{call.scope.value}'")
        if request.headers.get("content-type", "").partition(";")[0].strip() != _JSON:
            raise Refusal(415, "type", f"the body must be {_JSON}")
        try:
            arguments = check(name, request.scope[BODY])
        except Refused as problem:
            raise Refusal(422, "arguments", str(problem)) from None
        key = _key(request) if name == SENDING else None
        settle = request.headers.get("idempotency-settle") == "1"
        reply = await run_in_threadpool(supervisor.call, name, arguments, key, settle=settle)
        headers = dict(_NO_STORE)
        if reply.repeated:
            headers["idempotency-replayed"] = "true"
        if not (call.array and b'"dtype"' in reply.body[:16]):
            return Response(reply.body, media_type=_JSON, headers=headers)
        headers["mt5-array"] = reply.body.decode("ascii")
        return Response(reply.rows, media_type=_ROWS, headers=headers)

    return endpoint


def _key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if not is_key(key):
        raise Refusal(
            428, "key", "an order needs Idempotency-Key: 16 to 64 of A-Z a-z 0-9 _ - of its own"
        )
    return key


async def _health() -> Response:
    return Response(dump({"status": "ok"}), media_type=_JSON, headers=_NO_STORE)


def _ready(supervisor: Supervisor) -> Callable[[], Awaitable[Response]]:
    async def ready() -> Response:
        body = dump({"ready": supervisor.ready})
        status = 200 if supervisor.ready else 503
        return Response(body, status, media_type=_JSON, headers=_NO_STORE)

    return ready


async def _no_route(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    known = {404: "the bridge has no such function", 405: "a call is a POST"}
    phrase = known.get(problem.status_code, http.HTTPStatus(problem.status_code).phrase)
    answer = await _refused(request, Refusal(problem.status_code, "route", phrase))
    answer.headers.update(problem.headers or {})  # Allow, of a 405
    return answer


async def _refused(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Refusal)
    return Response(
        refusal_body(problem), problem.status, refusal_headers(problem), media_type=_JSON
    )


_REFUSAL = {
    "type": "object",
    "required": ["error", "text", "executed"],
    "properties": {
        "error": {"type": "string"},
        "text": {"type": "string"},
        "executed": {"enum": ["never", "unknown"]},
    },
}
_REFUSALS = {
    status: {
        "description": http.HTTPStatus(status).phrase,
        "content": {_JSON: {"schema": _REFUSAL}},
    }
    for status in (
        400,
        401,
        403,
        404,
        405,
        408,
        409,
        410,
        413,
        415,
        421,
        422,
        428,
        429,
        502,
        503,
        504,
    )
}


def _described(name: str, call: Call) -> dict[str, Any]:
    """What the OpenAPI document says of a call."""
    answer = {
        "type": "object",
        "required": ["answer", "last_error"],
        "properties": {
            "answer": {},
            "last_error": {"type": "array", "minItems": 2, "maxItems": 2},
        },
    }
    contents: dict[str, Any] = {_JSON: {"schema": answer}}
    if call.array:
        contents[_ROWS] = {"schema": {"type": "string", "format": "binary"}}
    described: dict[str, Any] = {
        "requestBody": {"required": True, "content": {_JSON: {"schema": schema(name)}}},
        "responses": {"200": {"description": "The terminal's answer", "content": contents}},
        "security": [{"token": [call.scope.value]}],
    }
    if name == SENDING:
        described["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{16,64}$"},
            }
        ]
    return described
