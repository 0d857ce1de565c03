"""Arguments as strictly as the MetaTrader5 module takes them.

Volumes and prices must be floats and everything else Python ints: ``1`` lot, ``np.int64`` and
``np.float32`` are refused, a string of 30 characters too. Unknown keys are ignored and missing
ones are zero, which is how a misspelt key opens a second position. Tests that pass against a lax
fake would fail live.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from math import isfinite

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.records import TradeRequest

_LONGEST_TEXT = 29  # UTF-16 units
_UINT32 = ("action", "type", "type_filling", "type_time")
_UINT64 = ("magic", "order", "deviation", "position", "position_by")
_INT64 = ("expiration",)
_FLOATS = ("volume", "price", "stoplimit", "sl", "tp")
_TEXTS = ("symbol", "comment")
_INTEGERS = (
    {name: (0, 2**32) for name in _UINT32}
    | {name: (0, 2**64) for name in _UINT64}
    | {name: (-(2**63), 2**63) for name in _INT64}
)


class CallRefused(Exception):
    """An API call fails: None (or False) to the caller, code and text to ``last_error``."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid(text: str) -> CallRefused:
    """A refusal for wrong arguments."""
    return CallRefused(mt5.RES_E_INVALID_PARAMS, text)


def only(arguments: tuple[object, ...], named: object) -> object:
    """The one argument without a name that ``order_send`` and ``order_check`` take."""
    if named or len(arguments) != 1:
        raise invalid("Unnamed arguments not allowed" if named else "Invalid number of arguments")
    return arguments[0]


def parse_request(request: object) -> TradeRequest:
    """The request of ``order_send`` and ``order_check``.

    Raises:
        CallRefused: No dict, or a value of another type or range.
    """
    if not isinstance(request, dict):
        raise invalid("Invalid arguments")
    values: dict[str, object] = {}
    for name in (*_INTEGERS, *_FLOATS, *_TEXTS):
        if name not in request:
            values[name] = 0.0 if name in _FLOATS else "" if name in _TEXTS else 0
        elif _fits(name, request[name]):
            values[name] = request[name]
        else:
            raise invalid(f'Invalid "{name}" argument')
    return TradeRequest.of(**values)


def _fits(name: str, value: object) -> bool:
    if name in _FLOATS:
        return isinstance(value, float)
    if name in _TEXTS:
        return isinstance(value, str) and len(value.encode("utf-16-le")) <= 2 * _LONGEST_TEXT
    low, high = _INTEGERS[name]
    return isinstance(value, int) and low <= value < high


def epoch_seconds(moment: object) -> int:
    """Whole seconds of a date argument; a naive datetime means the zone of this process.

    The module keeps 32 bits of them: what lies beyond 2038 comes out as long ago.

    Raises:
        CallRefused: Neither a number nor a datetime.
    """
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    if not isinstance(moment, int | float) or not isfinite(moment):
        raise invalid("Invalid arguments")
    return (int(moment) + 2**31) % 2**32 - 2**31  # as the module's 32 bits hold it


def whole(value: object) -> int:
    """A count or a position in history.

    Raises:
        CallRefused: Not a Python int, or negative.
    """
    if not isinstance(value, int) or value < 0:
        raise invalid("Invalid arguments")
    return value


def chosen(ticket: object, **texts: object) -> None:
    """Check what a list is asked for.

    Args:
        ticket: Of an order or a position, or None.
        **texts: Texts such as the symbol or the group, or None.

    Raises:
        CallRefused: A ticket is no Python int, or a text no string.
    """
    if not (ticket is None or isinstance(ticket, int)):
        raise invalid('Invalid "ticket" argument')
    for name, text in texts.items():
        if not (text is None or isinstance(text, str)):
            raise invalid(f'Invalid "{name}" argument')


def unnamed(arguments: tuple[object, ...]) -> None:
    """Refuse arguments without a name where the module takes none."""
    if arguments:
        raise invalid("Unnamed arguments not allowed")


def in_group(name: str, group: str | None) -> bool:
    """Whether a symbol belongs to a group such as ``"*, !*USD*, !*EUR*"``.

    Conditions are separated by commas and hold one after the other: those with ``!`` take away
    from what the others have taken in.
    """
    if group is None:
        return True
    included = False
    for condition in group.split(","):
        pattern = condition.strip()
        if pattern.startswith("!"):
            included = included and not _pattern(pattern[1:]).fullmatch(name)
        else:
            included = included or bool(_pattern(pattern).fullmatch(name))
    return included


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))))
