"""What an answer to ``order_send`` proves: total, and in doubt *ambiguous*.

An order that timed out may have been executed, so it is not "rejected": only an answer that proves
non-execution is taken as one. Where the sources differ about a code, the more cautious class holds
(``LOCKED`` and ``NO_CHANGES`` are ambiguous for that reason). A wrong table here is a machine for
duplicate orders.
"""

from __future__ import annotations

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Outcome

_PROVEN_NOT_EXECUTED = (
    mt5.TRADE_RETCODE_REQUOTE,
    mt5.TRADE_RETCODE_REJECT,
    mt5.TRADE_RETCODE_CANCEL,
    mt5.TRADE_RETCODE_INVALID,
    mt5.TRADE_RETCODE_INVALID_VOLUME,
    mt5.TRADE_RETCODE_INVALID_PRICE,
    mt5.TRADE_RETCODE_INVALID_STOPS,
    mt5.TRADE_RETCODE_TRADE_DISABLED,
    mt5.TRADE_RETCODE_MARKET_CLOSED,
    mt5.TRADE_RETCODE_NO_MONEY,
    mt5.TRADE_RETCODE_PRICE_CHANGED,
    mt5.TRADE_RETCODE_PRICE_OFF,
    mt5.TRADE_RETCODE_INVALID_EXPIRATION,
    mt5.TRADE_RETCODE_ORDER_CHANGED,
    mt5.TRADE_RETCODE_TOO_MANY_REQUESTS,
    mt5.TRADE_RETCODE_SERVER_DISABLES_AT,
    mt5.TRADE_RETCODE_CLIENT_DISABLES_AT,
    mt5.TRADE_RETCODE_FROZEN,
    mt5.TRADE_RETCODE_INVALID_FILL,
    mt5.TRADE_RETCODE_ONLY_REAL,
    mt5.TRADE_RETCODE_LIMIT_ORDERS,
    mt5.TRADE_RETCODE_LIMIT_VOLUME,
    mt5.TRADE_RETCODE_INVALID_ORDER,
    mt5.TRADE_RETCODE_POSITION_CLOSED,
    mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME,
    mt5.TRADE_RETCODE_CLOSE_ORDER_EXIST,
    mt5.TRADE_RETCODE_LIMIT_POSITIONS,
    mt5.TRADE_RETCODE_REJECT_CANCEL,
    mt5.TRADE_RETCODE_LONG_ONLY,
    mt5.TRADE_RETCODE_SHORT_ONLY,
    mt5.TRADE_RETCODE_CLOSE_ONLY,
    mt5.TRADE_RETCODE_FIFO_CLOSE,
    mt5.TRADE_RETCODE_HEDGE_PROHIBITED,
)

_OUTCOMES = {code: Outcome.NOT_EXECUTED for code in _PROVEN_NOT_EXECUTED} | {
    mt5.TRADE_RETCODE_DONE: Outcome.EXECUTED,
    mt5.TRADE_RETCODE_DONE_PARTIAL: Outcome.PARTIAL,
    mt5.TRADE_RETCODE_PLACED: Outcome.PLACED,
}

# The terminal refused before anything left the machine.
_NEVER_SENT = (mt5.RES_E_INVALID_PARAMS, mt5.RES_E_AUTO_TRADING_DISABLED)


def outcome_of_retcode(retcode: object) -> Outcome:
    """The class of a server's return code.

    Args:
        retcode: Whatever stood in the answer; anything but a known int is ambiguous.
    """
    if type(retcode) is not int:
        return Outcome.AMBIGUOUS
    return _OUTCOMES.get(retcode, Outcome.AMBIGUOUS)


def outcome_of(answer: object, error_code: object) -> Outcome:
    """The class of one call of ``order_send``.

    Args:
        answer: What it returned: None or a struct with a ``retcode``.
        error_code: First item of ``last_error()`` right after it.
    """
    if answer is not None:
        return outcome_of_retcode(getattr(answer, "retcode", None))
    if type(error_code) is int and error_code in _NEVER_SENT:
        return Outcome.NOT_EXECUTED
    return Outcome.AMBIGUOUS


def outcome_of_placing(answer: object, error_code: object) -> Outcome:
    """The class of one placing of a limit or stop order: what is done is that it works.

    Args:
        answer: As for :func:`outcome_of`.
        error_code: As there.
    """
    outcome = outcome_of(answer, error_code)
    return Outcome.PLACED if outcome is Outcome.EXECUTED else outcome


def outcome_of_change(answer: object, error_code: object) -> Outcome:
    """The class of one change of stops or of an order: that it stands already is as good as done.

    Args:
        answer: As for :func:`outcome_of`.
        error_code: As there.
    """
    if getattr(answer, "retcode", None) == mt5.TRADE_RETCODE_NO_CHANGES:
        return Outcome.EXECUTED
    return outcome_of(answer, error_code)
