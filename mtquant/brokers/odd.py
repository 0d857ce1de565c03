"""What a module has told, as what our records and a database can hold, or as no answer at all.

A terminal, a bridge or a broker may say None where a number stands, NaN for money, or an unsigned
number that SQLite cannot take. Such an answer must not end a process that holds positions: it is
*unknown*, as silence is.
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

from mtquant.errors import BrokerUnavailable, one_line

_SIGNED, _UNSIGNED = 2**63, 2**64
_SENSELESS = (TypeError, ValueError, AttributeError, ArithmeticError, LookupError)


class understood:
    """Take an answer that makes no sense for none: ``with understood("account_info"):``.

    It raises BrokerUnavailable where the answer is not what the module documents.
    """

    __slots__ = ("_function",)

    def __init__(self, function: str) -> None:
        """Say what is asked, for the message."""
        self._function = function

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        """Translate."""
        if isinstance(problem, _SENSELESS):
            raise BrokerUnavailable(
                f"{self._function} answered what makes no sense ({one_line(repr(problem))}); look "
                "at the terminal"
            ) from problem


def whole(value: Any) -> int:
    """A ticket or magic number in the 64 signed bits of a database: ``2**64 - 1`` is -1.

    Raises:
        TypeError: It is no whole number; a float has lost a ticket's last digits.
        OverflowError: It has more than 64 bits.
    """
    number = index(value)
    if not -_SIGNED <= number < _UNSIGNED:
        raise OverflowError(f"{number} has more than 64 bits")
    return (number + _SIGNED) % _UNSIGNED - _SIGNED


def unsigned(ticket: int) -> int:
    """A ticket as the module takes it, of what :func:`whole` has made of it."""
    return int(ticket) % _UNSIGNED


def number(value: Any) -> float:
    """A finite number.

    Raises:
        TypeError: It is none.
        ValueError: It is NaN or infinite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number")
    return float(value)


def text(value: Any) -> str:
    """A text.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
