"""A client's arguments, as strictly typed as the module wants them.

Floats become floats and ints Python ints, dates whole seconds; what cannot be made right is refused
here, before anything is sent, in the module's own words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from numbers import Integral, Real
from typing import Any

from mtquant.brokers.bridge.calls import LONGEST_TEXT, REQUEST_KEYS, Call, Kind
from mtquant.brokers.terminal.requests import CallRefused, invalid
from mtquant.errors import unknown


def normal_arguments(call: Call, bound: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, ready to travel.

    Raises:
        CallRefused: One has another type, or no value that can travel.
    """
    kinds = {argument.name: argument.kind for argument in call.arguments}
    return {name: _normal(name, kinds[name], value) for name, value in bound.items()}


def _normal(name: str, kind: Kind, value: Any) -> Any:
    if kind is Kind.REQUEST:
        return _request(value)
    if kind in (Kind.TEXT, Kind.GROUP):
        return _text(name, kind, value)
    if kind is Kind.FLAG:
        return bool(value)
    if kind is Kind.DATE:
        return _seconds(value)
    number = _number(name, value)
    if kind is Kind.REAL:
        if isinstance(number, bool):
            raise _wrong(name)
        return float(number)
    if not isinstance(number, Integral) or (kind is Kind.COUNT and number < 0):
        raise _wrong(name)
    return int(number)


def _request(request: Any) -> dict[str, Any]:
    if not isinstance(request, dict):
        raise invalid("Invalid arguments")
    for key in request:
        if key not in REQUEST_KEYS:
            # The module ignores it: a misspelt 'position' opens a second one.
            raise invalid(unknown("key", str(key), REQUEST_KEYS))
    return {key: _normal(key, REQUEST_KEYS[key], value) for key, value in request.items()}


def _text(name: str, kind: Kind, value: Any) -> str:
    if not isinstance(value, str) or any(character < " " for character in value):
        raise _wrong(name)
    if kind is Kind.TEXT and len(value.encode("utf-16-le", "surrogatepass")) > 2 * LONGEST_TEXT:
        raise _wrong(name)
    return str(value)


def _number(name: str, value: Any) -> Any:
    if not isinstance(value, Real) or not math.isfinite(value):
        raise _wrong(name)
    return value


def _seconds(moment: Any) -> int:
    """Whole seconds; a naive datetime means the zone of this process, as in the module."""
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    return int(_number("date", moment))


def _wrong(name: str) -> CallRefused:
    return invalid(f'Invalid "{name}" argument')
