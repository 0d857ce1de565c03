"""Approved: the only thing that a broker takes for sending, and nothing but the checker makes it.

An approval is used up by its one use. One that was made by hand, copied, changed or used before is
refused at the broker's door, and the checker's last look, at the kill switch and at the age of the
decision, happens there, as the last thing before the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

from mtquant.brokers.base import MarketOrder, StopChange
from mtquant.brokers.orders import PendingCancel, PendingChange, PendingOrder
from mtquant.errors import RiskHalt

Action = MarketOrder | StopChange | PendingOrder | PendingChange | PendingCancel
Kind = TypeVar("Kind", MarketOrder, StopChange, PendingOrder, PendingChange, PendingCancel)


class Approved:
    """An order, or a change of stops, that has passed every gate.

    Attributes:
        action: What may be sent.
        limits_hash: Of the limits that it was held against.
    """

    __slots__ = ("__weakref__", "_last_look", "action", "limits_hash")

    action: Action
    limits_hash: str
    _last_look: Callable[[], str]

    def __init__(self) -> None:
        raise TypeError("only mtquant.live.gates approves orders")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an approval does not change")


_ISSUED: WeakSet[Approved] = WeakSet()


def issue(action: Action, limits_hash: str, last_look: Callable[[], str]) -> Approved:
    """Make an approval; for :mod:`mtquant.live.gates` alone.

    Args:
        action: What may be sent.
        limits_hash: Of the limits that it was held against.
        last_look: Why it may not be sent after all, empty where it may.
    """
    made = object.__new__(Approved)
    for name, value in (
        ("action", action),
        ("limits_hash", limits_hash),
        ("_last_look", last_look),
    ):
        object.__setattr__(made, name, value)
    _ISSUED.add(made)
    return made


def action_of(approved: Approved, kind: type[Kind]) -> Kind:
    """What is to be sent.

    Raises:
        RiskHalt: It is no approval of this kind.
    """
    action = approved.action if type(approved) is Approved else approved
    if action is approved or not isinstance(action, kind):
        raise RiskHalt(f"{action!r} was not approved by the gates as a {kind.__name__}")
    return action


def withheld(approved: Approved) -> str:
    """Use an approval up: why it may not be sent after all, empty where it may.

    Raises:
        RiskHalt: The checker has not made it, or it was used before.
    """
    if type(approved) is not Approved or approved not in _ISSUED:
        raise RiskHalt(
            f"{approved!r} was not approved by the gates; nothing is sent past them, nor twice"
        )
    _ISSUED.discard(approved)
    try:
        return approved._last_look()
    except Exception as problem:
        return f"the last look failed: {problem!r}"
