"""The adapter's limit and stop orders, and the rules that it keeps before it sends anything."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.brokers import constants as mt5
from mtquant.brokers.approval import issue
from mtquant.brokers.base import Instrument, MarketOrder, OrderState, Outcome, StopChange
from mtquant.brokers.mt5_requests import (
    Request,
    cancel_request,
    change_request,
    modify_request,
    order_request,
    place_request,
)
from mtquant.brokers.orders import OpenOrder, OrderKind, PendingCancel, PendingChange, PendingOrder
from mtquant.brokers.retcodes import outcome_of_placing
from mtquant.brokers.terminal.fault_plans import CATALOGUE
from mtquant.brokers.terminal.faults import FaultyTerminal
from mtquant.brokers.terminal.requests import parse_request
from mtquant.errors import BrokerUnavailable, ConfigError

LIMIT, STOP = OrderKind.LIMIT, OrderKind.STOP
NEXT_CALL = 5  # after those of connecting


@pytest.fixture
def placing(desk):
    """A desk, and one way to place: the bid is 101.00 and the ask 101.10."""

    def made(**changes):
        opened = desk(**changes)

        def place(kind, steps, price, **more):
            order = PendingOrder(opened.instrument, kind, steps, price, magic=9, **more)
            return opened.adapter.place(issue(order, "", lambda: ""))

        return opened, place

    return made


def test_an_order_from_placing_to_its_deal(placing):
    opened, place = placing(low=0.6)
    placed = place(LIMIT, 7, 100.5, stop=99.5, take=103.0, comment="c", day=True)
    assert (placed.outcome, placed.retcode, placed.steps) == (Outcome.PLACED, 10009, 0)
    (order,) = opened.adapter.open_orders()
    now = opened.terminal.now_ns()
    assert order == OpenOrder(
        placed.order, "TOY.x", 9, OrderState.OPEN, LIMIT, 0.07, 100.5, 99.5, 103.0, True, now
    )
    assert opened.positions == ()
    opened.terminal.advance()
    assert opened.adapter.open_orders() == ()
    (past,) = opened.adapter.past_orders(now)
    assert (past.ticket, past.magic, past.state) == (placed.order, 9, OrderState.FILLED)
    deal = opened.adapter.deals(now)[-1]
    assert (deal.order, deal.magic, deal.volume_lots, deal.price) == (placed.order, 9, 0.07, 100.5)
    assert opened.levels == (99.5, 103.0)


def test_orders_are_changed_and_cancelled(placing):
    opened, place = placing()
    ticket = place(STOP, -3, 100.5).order
    change = PendingChange(opened.instrument, ticket, 100.0, stop=101.0)
    for _ in range(2):  # the second time it stands so already
        assert opened.adapter.modify(issue(change, "", lambda: "")).outcome is Outcome.EXECUTED
    (order,) = opened.adapter.open_orders()
    assert (order.kind, order.volume_lots, order.price) == (STOP, -0.03, 100.0)
    assert (order.stop, order.take, order.day) == (101.0, 0.0, False)
    wrong = replace(change, price=105.0)
    bad = opened.adapter.modify(issue(wrong, "", lambda: ""))
    assert (bad.outcome, bad.retcode) == (Outcome.NOT_EXECUTED, mt5.TRADE_RETCODE_INVALID_PRICE)
    gone = PendingCancel(opened.instrument, ticket)
    cancelled, again = (opened.adapter.cancel(issue(gone, "", lambda: "")) for _ in range(2))
    assert (cancelled.outcome, cancelled.steps) == (Outcome.EXECUTED, 0)
    assert again.outcome is Outcome.NOT_EXECUTED
    (past,) = opened.adapter.past_orders(opened.terminal.now_ns())
    assert past.state is OrderState.DEAD and opened.adapter.open_orders() == ()


@pytest.mark.parametrize(
    ("kind", "steps", "price", "sent"),
    [
        (LIMIT, 1, 100.90, True),
        (LIMIT, 1, 100.91, False),
        (LIMIT, -1, 101.20, True),
        (LIMIT, -1, 101.19, False),
        (STOP, 1, 101.30, True),
        (STOP, 1, 101.29, False),
        (STOP, -1, 100.80, True),
        (STOP, -1, 100.81, False),
        (LIMIT, 1, float("nan"), False),
        (LIMIT, 1, float("inf"), False),
        (LIMIT, 1, 0.0, True),  # which the server refuses
    ],
)
def test_what_stands_too_near_is_not_sent(placing, kind, steps, price, sent):
    opened, place = placing(kind=FaultyTerminal, spec={"stops_level_points": 20})
    result = place(kind, steps, price)
    assert bool(opened.terminal.sent) == sent
    assert (result.outcome is Outcome.PLACED) == (sent and price > 0)
    if not sent:
        assert (result.outcome, result.retcode) == (Outcome.NOT_EXECUTED, None)
    elif price == 0:
        assert result.retcode == mt5.TRADE_RETCODE_INVALID_PRICE


def test_prices_and_volumes_come_on_their_grids(placing):
    opened, place = placing(spec={"tick_size": 0.25, "digits": 2, "lot_step": 0.1, "lot_min": 0.1})
    place(LIMIT, 3, 99.8300001, stop=98.1)
    (order,) = opened.adapter.open_orders()
    assert (order.price, order.stop, order.volume_lots) == (99.75, 98.0, 0.3)


@pytest.mark.parametrize(
    ("name", "outcome", "works"),
    [
        ("time-out, executed", Outcome.AMBIGUOUS, 1),
        ("time-out, not executed", Outcome.AMBIGUOUS, 0),
        ("unknown retcode, executed", Outcome.AMBIGUOUS, 1),
        ("raises after", Outcome.AMBIGUOUS, 1),
        ("rejected", Outcome.NOT_EXECUTED, 0),
        ("trading off for programs", Outcome.NOT_EXECUTED, 0),
    ],
)
def test_a_doubtful_placing_is_found_by_its_magic(placing, name, outcome, works):
    # The quote comes before the order.
    opened, place = placing(kind=FaultyTerminal, plan={NEXT_CALL + 1: CATALOGUE[name]})
    assert place(LIMIT, 1, 100.0).outcome is outcome
    assert [order.magic for order in opened.adapter.open_orders()] == [9] * works


def test_without_a_quote_nothing_is_placed(placing):
    opened, place = placing(kind=FaultyTerminal, plan={NEXT_CALL: CATALOGUE["read fails"]})
    unsent = place(LIMIT, 1, 100.0)
    assert unsent.outcome is Outcome.NOT_EXECUTED and not opened.terminal.sent


def test_stops_inside_the_freeze_level_are_left_alone(desk):
    made = desk(kind=FaultyTerminal, spec={"freeze_level_points": 20})
    made.send(10, stop_distance=20)
    frozen = made.change(100.0)
    assert (frozen.outcome, frozen.retcode) == (Outcome.NOT_EXECUTED, None)
    assert "frozen" in frozen.text and len(made.terminal.sent) == 1
    made.terminal.advance()
    assert made.change(101.0).outcome is Outcome.EXECUTED
    assert made.change(101.5, ticket=5).retcode == mt5.TRADE_RETCODE_POSITION_CLOSED
    made.terminal._plan[made.terminal._number] = CATALOGUE["positions fail"]
    blind = made.adapter.change_stops(
        issue(StopChange(made.instrument, 5, 1.0, 0.0), "", lambda: "")
    )
    assert blind.outcome is Outcome.NOT_EXECUTED and "positions_get failed" in blind.text


def test_without_a_freeze_level_nothing_is_read_before_a_change(desk):
    made = desk(kind=FaultyTerminal)
    made.send(10, stop_distance=20)
    ticket, before = made.positions[0].ticket, len(made.terminal.calls)
    made.change(100.0, ticket=ticket)
    assert made.terminal.calls[before:] == ["order_send"]


@pytest.mark.parametrize(
    ("kind", "steps"), [(OrderKind.MARKET, 1), (OrderKind.OTHER, 1), (LIMIT, 0)]
)
def test_what_is_no_working_order(toy_spec, kind, steps):
    with pytest.raises(ConfigError, match="send a market order instead"):
        PendingOrder(Instrument(toy_spec, "TOY.x"), kind, steps, 100.0, 1)


@given(
    steps=st.integers(-10_000, 10_000).filter(bool),
    price=st.floats(0.01, 1e6),
    level=st.one_of(st.just(0.0), st.floats(0.01, 1e6)),
    magic=st.integers(0, 2**53),
    kind=st.sampled_from([LIMIT, STOP]),
    number=st.sampled_from([int, np.int64]),
)
def test_every_request_has_known_keys_of_the_modules_types(
    toy_spec, steps, price, level, magic, kind, number
):
    instrument = Instrument(toy_spec, "TOY.x")
    steps, magic, price = number(steps), number(magic), np.float64(price)
    pending = PendingOrder(instrument, kind, steps, price, magic, "c", level, level)
    quote = SimpleNamespace(bid=100.0, ask=100.1)
    requests = [
        order_request(MarketOrder(instrument, steps, magic, "c", 5, 5, magic), 0, quote),
        change_request(StopChange(instrument, magic, price, level)),
        place_request(pending),
        modify_request(PendingChange(instrument, magic, price, level, level, True)),
        cancel_request(instrument, magic),
    ]
    for request in requests:
        parse_request(request)
        hints = get_type_hints(Request)
        assert request.keys() <= hints.keys()
        assert all(type(value) is hints[name] for name, value in request.items()), request


@pytest.mark.parametrize(
    ("retcode", "outcome"),
    [
        (10008, Outcome.PLACED),
        (10009, Outcome.PLACED),
        (10010, Outcome.PARTIAL),
        (10025, Outcome.AMBIGUOUS),
        (10015, Outcome.NOT_EXECUTED),
        (10012, Outcome.AMBIGUOUS),
    ],
)
def test_what_is_done_when_placing_is_placing(retcode, outcome):
    assert outcome_of_placing(SimpleNamespace(retcode=retcode), 1) is outcome
    assert outcome_of_placing(None, -2) is Outcome.NOT_EXECUTED
    assert outcome_of_placing(None, -10005) is Outcome.AMBIGUOUS


def test_strange_orders_are_shown_and_not_understood(desk, monkeypatch):
    made = desk()
    shown = made.terminal.TradeOrder.of(ticket=4, type=mt5.ORDER_TYPE_BUY_STOP_LIMIT)
    monkeypatch.setattr(made.terminal, "orders_get", lambda: (shown,))
    (order,) = made.adapter.open_orders()
    assert (order.kind, order.ticket, order.state) == (OrderKind.OTHER, 4, OrderState.OPEN)
    monkeypatch.setattr(made.terminal, "orders_get", lambda: None)
    with pytest.raises(BrokerUnavailable, match="orders_get failed"):
        made.adapter.open_orders()
