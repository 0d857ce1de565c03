"""Rows of the journal's tables: how records are written, and how they are read again."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mtquant.brokers.base import Deal, OrderResult
from mtquant.live.decision import Decision
from mtquant.live.intents import Intent, IntentState
from mtquant.live.record import AccountRecord, HeldPosition

Row = tuple[Any, ...]

ACCOUNT = "bar_time_ns, balance, equity, peak, day_start, day, level, positions, memory, "
ACCOUNT += "state_digest"
INTENT = "magic, symbol, bar_time_ns, leg, steps, state, stop_distance, take_distance, ticket"

_told = json.JSONEncoder(separators=(",", ":")).encode

#: Code, steps, price, order, deal and text where nothing was answered.
NO_ANSWER: Row = (None, 0, None, None, None, None)


def account_row(record: AccountRecord, broker_equity: float, at_ns: int) -> Row:
    """Of ``account``; floats survive JSON to the last bit."""
    return (
        record.bar_time_ns,
        record.balance,
        record.equity,
        record.peak,
        record.day_start,
        record.day,
        record.level,
        _told([vars(one) for one in record.positions]),
        _told(dict(record.memory)),
        broker_equity,
        at_ns,
        state_digest(record.agent_state),
    )


def state_digest(agent_state: bytes) -> str:
    """By which a remembered state is known to be the one of its bar."""
    return hashlib.sha256(agent_state).hexdigest() if agent_state else ""


def record_of_row(row: Row) -> AccountRecord:
    """The record of the columns :data:`ACCOUNT` but the last."""
    bar, balance, equity, peak, day_start, day, level, positions, memory = row
    held = tuple(
        HeldPosition(**one | {"identifiers": tuple(one["identifiers"])})
        for one in json.loads(positions)
    )
    known = json.loads(memory)
    return AccountRecord(bar, balance, equity, peak, day_start, day, level, held, known)


def decision_row(decision: Decision) -> Row:
    """Of ``decision``."""
    return (
        decision.symbol,
        decision.bar_time_ns,
        decision.action,
        decision.held,
        decision.target,
        decision.reason,
        decision.checks,
    )


def intent_row(intent: Intent) -> Row:
    """Of ``intent``, all that never changes."""
    return (
        intent.magic,
        intent.symbol,
        intent.bar_time_ns,
        intent.leg,
        intent.steps,
        intent.stop_distance,
        intent.take_distance,
        intent.ticket,
    )


def intent_of_row(row: Row) -> Intent:
    """The intent of the columns :data:`INTENT`."""
    magic, symbol, bar, leg, steps, state, *rest = row
    return Intent(magic, symbol, bar, leg, steps, IntentState(state), *rest)


def answer_row(result: OrderResult | None, executed_steps: int) -> Row:
    """Code, steps, price, order, deal and text of an answer, or what history has proven."""
    if result is None:
        return (None, executed_steps, *NO_ANSWER[2:])
    return (
        result.retcode,
        result.steps,
        result.price,
        result.order,
        result.deal,
        result.text,
    )


def deal_row(deal: Deal) -> Row:
    """Of ``deal``."""
    return (
        deal.ticket,
        deal.order,
        deal.symbol,
        deal.magic,
        deal.time_ns,
        deal.volume_lots,
        deal.price,
        deal.profit,
        deal.swap,
        deal.commission,
        deal.reason.value,
        deal.opens,
    )
