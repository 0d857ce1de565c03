"""The bridge's routes: the whitelist over HTTP, made from its table.

``POST /v1/FUNCTION`` with a JSON body of named arguments; bars and ticks come back as raw rows,
everything else as JSON, ``last_error`` with each. An order carries ``Idempotency-Key``.
``POST /v1/kill`` lets the bridge's switch fall and ``GET /v1/switch`` shows it; nothing arms it.
"""

from __future__ import annotations

import http
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from mtquant import __version__
from mtquant.brokers.bridge.calls import CALLS, KILL, SENDING, SWITCH, Call, Scope
from mtquant.brokers.bridge.checks import Refused, check, schema
from mtquant.brokers.bridge.guard import (
    BODY,
    KILL_PAGE,
    OPEN_PAGES,
    SCOPE,
    refusal_body,
    refusal_headers,
)
from mtquant.brokers.bridge.orders import is_key
from mtquant.brokers.bridge.supervisor import Refusal, Supervisor
from mtquant.brokers.bridge.switch import SwitchState
from mtquant.brokers.bridge.wire import dump
from mtquant.errors import shown
from mtquant.risk.switch import Form

logger = logging.getLogger(__name__)

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

    _add_switch(app, supervisor)

    async def document(request: Request) -> Response:
        _must_cover(request, Scope.READ, "the document")
        return Response(json.dumps(app.openapi()), media_type=_JSON, headers=_NO_STORE)

    app.add_api_route("/openapi.json", document, include_in_schema=False)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Refusal, _refused)
    return app


def _endpoint(
    name: str, call: Call, supervisor: Supervisor
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        _must_cover(request, call.scope, name)
        arguments = _arguments(request, name)
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


def _add_switch(app: FastAPI, supervisor: Supervisor) -> None:
    """The two routes of the kill switch; there is none that arms it."""
    switch = supervisor.switch

    async def state(request: Request) -> Response:
        return _state_answer(await run_in_threadpool(switch.state))

    async def kill(request: Request) -> Response:
        _must_cover(request, Scope.KILL, KILL)
        asked, scope = _arguments(request, KILL), request.scope[SCOPE]
        person = f"a {scope.value} token at {request.client.host if request.client else '?'}"
        form, reason = Form[asked["form"].upper()], asked["reason"]
        logger.warning("the switch falls to %s by %s: %s", form.name, person, shown(reason))
        at_ns = time.time_ns()
        return _state_answer(await run_in_threadpool(switch.kill, form, reason, person, at_ns))

    for path, answer, method in ((f"/v1/{SWITCH}", state, "GET"), (KILL_PAGE, kill, "POST")):
        app.add_api_route(
            path,
            answer,
            methods=[method],
            operation_id=answer.__name__,
            openapi_extra=_SWITCH if answer is state else {**_SWITCH, **_described_kill()},
            responses=_REFUSALS,  # type: ignore[arg-type]
            response_class=Response,
        )


def _state_answer(state: SwitchState) -> Response:
    return Response(dump(state.told()), media_type=_JSON, headers=_NO_STORE)


def _must_cover(request: Request, needed: Scope, name: str) -> None:
    granted: Scope = request.scope[SCOPE]
    if not granted.covers(needed):
        raise Refusal(403, "scope", f"{name} needs a token of scope '{needed.value}'")


def _arguments(request: Request, name: str) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != _JSON:
        raise Refusal(415, "type", f"the body must be {_JSON}")
    try:
        return check(name, request.scope[BODY])
    except Refused as problem:
        raise Refusal(422, "arguments", str(problem)) from None


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
    known = {
        404: "the bridge has no such function",
        405: "a call is a POST, a look a GET",
    }
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
        423,
        428,
        429,
        502,
        503,
        504,
    )
}


_SWITCH: dict[str, Any] = {
    "responses": {
        "200": {
            "description": "Where the switch stands",
            "content": {
                _JSON: {
                    "schema": {
                        "type": "object",
                        "required": ["form", "by", "reason", "at_ns", "sending", "kept"],
                        "properties": {
                            "form": {"enum": [form.word for form in Form]},
                            "by": {"type": "string"},
                            "reason": {"type": "string"},
                            "at_ns": {"type": "integer"},
                            "sending": {"type": "boolean"},
                            "kept": {"type": "boolean"},
                        },
                        "additionalProperties": False,
                    }
                }
            },
        }
    },
}


def _described_kill() -> dict[str, Any]:
    """What the OpenAPI document says of a kill, besides its answer."""
    return {
        "requestBody": {"required": True, "content": {_JSON: {"schema": schema(KILL)}}},
        "security": [{"token": [Scope.KILL.value]}],
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
