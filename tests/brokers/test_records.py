"""Orders and positions as people read them: checked when made, and the same after a dict."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mtquant.brokers.records import Order, Position
from mtquant.errors import DataError

AT = datetime(2024, 1, 2, 12, tzinfo=UTC)
ORDER = {
    "order_id": "1000001",
    "agent_id": "ppo",
    "symbol": "XAUUSD",
    "side": "buy",
    "volume": 0.1,
    "created_at": AT,
    "broker_id": "demo",
}
POSITION = {
    "position_id": "1000001",
    "agent_id": "ppo",
    "symbol": "XAUUSD",
    "side": "sell",
    "volume": 0.1,
    "entry_price": 2000.0,
    "current_price": 1990.0,
    "unrealised_pnl": 100.0,
    "value": 19_900.0,
    "opened_at": AT,
    "seen_at": AT + timedelta(hours=3),
    "broker_id": "demo",
}
numbers = st.floats(0.01, 1e6)


@given(
    volume=numbers,
    price=numbers,
    kind=st.sampled_from(["market", "limit", "stop"]),
    signal=st.floats(-1, 1),
    status=st.sampled_from(["pending", "filled", "cancelled", "rejected"]),
    at=st.datetimes(timezones=st.just(timezone(timedelta(hours=3)))),
)
def test_orders_come_back_from_json(volume, price, kind, signal, status, at):
    changes = {"volume": volume, "price": price, "order_type": kind, "signal": signal}
    order = Order(**ORDER | changes | {"status": status, "created_at": at, "take_profit": 2e6})
    back = Order.from_dict(json.loads(json.dumps(order.to_dict())))
    assert back == order and back.to_dict() == order.to_dict()
    assert order.created_at == at and order.created_at.tzinfo is UTC


@given(entry=numbers, current=numbers, profit=st.floats(-1e9, 1e9), hours=st.floats(0, 1e4))
def test_positions_come_back_from_json(entry, current, profit, hours):
    changes = {"entry_price": entry, "current_price": current, "unrealised_pnl": profit}
    position = Position(**POSITION | changes | {"seen_at": AT + timedelta(hours=hours)})
    back = Position.from_dict(json.loads(json.dumps(position.to_dict())))
    assert back == position and back.to_dict() == position.to_dict()


def test_what_follows_from_the_fields():
    position = Position(**POSITION)
    assert position.unrealised_fraction == 100.0 / 19_900.0
    assert position.duration == timedelta(hours=3)
    shown = position.to_dict()
    assert (shown["duration_seconds"], shown["opened_at"]) == (10_800.0, "2024-01-02T12:00:00Z")
    assert Position(**POSITION | {"value": 0.0}).unrealised_fraction == 0.0
    with pytest.raises(DataError, match=r"duration_seconds is 1, the other fields give 10800"):
        Position.from_dict(shown | {"duration_seconds": 1})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (ORDER, {"volume": 0.0}),
        (ORDER, {"volume": float("nan")}),
        (ORDER, {"volume": True}),
        (ORDER, {"side": "long"}),
        (ORDER, {"order_type": "limit"}),
        (ORDER, {"signal": 1.01}),
        (ORDER, {"status": "open"}),
        (ORDER, {"symbol": ""}),
        (ORDER, {"created_at": datetime(2024, 1, 2)}),
        (ORDER, {"price": 2000.0, "stop_loss": 2000.0}),
        (ORDER, {"price": 2000.0, "take_profit": 1999.0}),
        (ORDER, {"stop_loss": 2001.0, "take_profit": 2000.0}),
        (ORDER, {"side": "sell", "price": 2000.0, "stop_loss": 1999.0}),
        (ORDER, {"commment": "x"}),
        (POSITION, {"entry_price": -1.0}),
        (POSITION, {"unrealised_pnl": float("inf")}),
        (POSITION, {"seen_at": AT - timedelta(seconds=1)}),
        (POSITION, {"stop_loss": 1900.0, "take_profit": 1950.0}),
    ],
)
def test_what_cannot_be_is_refused(kind, changes):
    record = Order if kind is ORDER else Position
    with pytest.raises(ValidationError):
        record(**kind | changes)
    with pytest.raises(DataError, match=r"write it by to_dict\(\)"):
        record.from_dict(kind | changes)


def test_records_do_not_change():
    with pytest.raises(ValidationError):
        Order(**ORDER).volume = 1.0
    with pytest.raises(DataError, match="agent_id"):
        Order.from_dict({name: ORDER[name] for name in ORDER if name != "agent_id"})
