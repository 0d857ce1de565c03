"""Odd answers: what no terminal should say is unknown or ambiguous, and ends no process."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import astuple
from types import SimpleNamespace

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import OrderState, Outcome
from mtquant.brokers.mt5 import MT5Adapter
from mtquant.brokers.odd import number, unsigned, whole
from mtquant.brokers.terminal.fault_kinds import changed
from mtquant.brokers.terminal.records import TradeOrder
from mtquant.errors import BrokerUnavailable, ConfigError

LISTS = ("positions_get", "orders_get", "history_orders_get", "history_deals_get")


@pytest.fixture
def answers(desk, monkeypatch):
    """A desk, and a way to change what one of its terminal's functions answers."""
    made = desk()

    def change(function, odd):
        honest = getattr(made.terminal, function)
        monkeypatch.setattr(made.terminal, function, lambda *args: odd(honest(*args)))

    return made, change


def listed(made, function):
    since = made.terminal.now_ns()
    return {
        "positions_get": made.adapter.positions,
        "orders_get": made.adapter.open_orders,
        "history_orders_get": lambda: made.adapter.past_orders(since),
        "history_deals_get": lambda: made.adapter.deals(since),
    }[function]()


@pytest.mark.parametrize("function", LISTS)
def test_what_is_listed_twice_is_there_once(answers, function):
    made, change = answers
    made.send(3)
    honest = listed(made, function)
    working = TradeOrder.of(ticket=4, type=mt5.ORDER_TYPE_BUY_LIMIT, time_setup=1)
    if function == "orders_get":
        change(function, lambda rows: (*rows, working, working))
        assert [order.ticket for order in listed(made, function)] == [4]
    else:
        change(function, lambda rows: rows + rows)
        assert listed(made, function) == honest != ()


@pytest.mark.parametrize(
    ("retcode", "volume"),
    [(10009, 0.0), (10009, 0.05), (10009, 0.2), (10010, 0.0), (10010, 0.1), (10010, -0.05)],
)
def test_an_answer_that_contradicts_itself_proves_nothing(answers, retcode, volume):
    made, change = answers
    change("order_send", lambda answer: changed(answer, retcode=retcode, volume=volume))
    result = made.send(-10)
    assert (result.outcome, result.steps) == (Outcome.AMBIGUOUS, 0)
    assert "of 10 lot steps" in result.text


ODD_ANSWERS = [
    lambda answer: True,
    lambda answer: (10009,),
    lambda answer: {"retcode": 10009},
    *(
        lambda answer, field=field, value=value: changed(answer, **{field: value})
        for field, value in [
            ("volume", None),
            ("volume", math.nan),
            ("volume", math.inf),
            ("volume", 0.0153),
            ("price", None),
            ("price", math.nan),
            ("order", None),
            ("deal", 1.5),
            ("deal", 2**64),
            ("retcode", 10009.0),
        ]
    ),
]


@pytest.mark.parametrize("odd", ODD_ANSWERS)
def test_an_odd_answer_to_an_order_is_ambiguous_and_can_be_stored(answers, odd):
    made, change = answers
    change("order_send", odd)
    result = made.send(10, stop_distance=50)
    assert (result.outcome, result.steps) == (Outcome.AMBIGUOUS, 0)
    assert result.text.isprintable() and storable(result.text, result.order, result.deal)
    assert len(made.adapter.positions()) == 1


@pytest.mark.parametrize("comment", ["\ud800", None, "a\nb\0", "x" * 9_000])
def test_a_comment_proves_nothing_and_can_be_stored(answers, comment):
    made, change = answers
    change("order_send", lambda answer: changed(answer, comment=comment, order=2**64 - 1))
    result = made.send(10)
    assert (result.outcome, result.steps, result.order) == (Outcome.EXECUTED, 10, -1)
    assert result.text.isprintable() and len(result.text) <= 300
    assert storable(result.text, result.order)


def test_an_odd_last_error_after_an_order_is_ambiguous(answers):
    made, change = answers
    change("last_error", lambda error: None)
    assert made.send(10).outcome is Outcome.AMBIGUOUS
    change("positions_get", lambda rows: None)
    with pytest.raises(BrokerUnavailable, match="last_error answered what makes no sense"):
        made.adapter.positions()


def test_an_odd_answer_to_a_change_is_ambiguous(answers):
    made, change = answers
    made.send(10)
    ticket = made.positions[0].ticket
    change("order_send", lambda answer: True)
    assert made.change(100.0, ticket=ticket).outcome is Outcome.AMBIGUOUS


def storable(*values):
    """Whether SQLite takes them as they are."""
    with sqlite3.connect(":memory:") as database:
        marks = ",".join("?" * len(values))
        return database.execute(f"select {marks}", values).fetchone() == values


@pytest.mark.parametrize("magic", [2**64 - 1, 2**63, -1])
def test_numbers_of_64_bits_can_be_stored(answers, magic):
    made, change = answers
    made.send(3)
    change("positions_get", lambda rows: tuple(changed(p, magic=magic, ticket=magic) for p in rows))
    change("history_deals_get", lambda rows: tuple(changed(d, magic=magic) for d in rows))
    change("orders_get", lambda rows: (TradeOrder.of(ticket=magic, magic=magic, time_setup=1),))
    change("history_orders_get", lambda rows: tuple(changed(o, magic=magic) for o in rows))
    for function in LISTS:
        for record in listed(made, function):
            assert record.magic == magic - 2**64 * (magic > 0)
            assert storable(*(v for v in astuple(record) if isinstance(v, int)))


def test_a_ticket_goes_out_as_it_came():
    for ticket in (0, 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1):
        assert unsigned(whole(ticket)) == ticket
    with pytest.raises(OverflowError, match="more than 64 bits"):
        whole(2**64)
    with pytest.raises(TypeError):
        whole(5.0)
    with pytest.raises(ValueError, match="nan is no number"):
        number(math.nan)


@pytest.mark.parametrize(
    ("code", "raised", "told"),
    [
        (mt5.RES_E_INTERNAL_FAIL_TIMEOUT, BrokerUnavailable, "symbol_select failed for 'TOY.x'"),
        (mt5.RES_E_NOT_FOUND, ConfigError, "no symbol 'TOY.x'"),
    ],
)
def test_a_lost_connection_is_no_missing_symbol(answers, code, raised, told):
    made, change = answers
    change("symbol_select", lambda answer: False)
    change("last_error", lambda error: (code, "IPC"))
    with pytest.raises(raised, match=told):
        made.adapter.connect()


def test_a_past_order_keeps_what_was_left_of_it(answers):
    made, change = answers
    made.send(10)
    part = {"state": mt5.ORDER_STATE_PARTIAL, "volume_current": 0.04}
    change("history_orders_get", lambda rows: tuple(changed(o, **part) for o in rows))
    (past,) = listed(made, "history_orders_get")
    assert (past.state, past.left_lots) == (OrderState.FILLED, 0.04)


@pytest.mark.parametrize(
    ("function", "field", "value"),
    [
        *(("account_info", field, None) for field in ("balance", "margin", "login", "leverage")),
        *(("account_info", field, math.nan) for field in ("balance", "equity", "margin")),
        ("account_info", "equity", math.inf),
        *(("positions_get", field, None) for field in ("swap", "ticket", "time", "type", "symbol")),
        *(("positions_get", field, math.nan) for field in ("sl", "profit", "volume")),
        ("positions_get", "ticket", 5.0),
        ("positions_get", "time", 10**30),
        ("history_deals_get", "ticket", 5.0),
        ("history_deals_get", "profit", math.nan),
        ("history_deals_get", "magic", None),
        ("history_deals_get", "type", None),
        ("history_orders_get", "ticket", None),
        ("history_orders_get", "state", None),
    ],
)
def test_an_odd_read_is_no_answer(answers, function, field, value):
    made, change = answers
    made.send(3)
    odd = {field: value}

    def spoilt(answer):
        if function == "account_info":
            return changed(answer, **odd)
        return tuple(changed(row, **odd) for row in answer)

    change(function, spoilt)
    with pytest.raises(BrokerUnavailable, match=f"{function} answered what makes no sense"):
        made.adapter.account() if function == "account_info" else listed(made, function)


@pytest.mark.parametrize("function", LISTS)
@pytest.mark.parametrize("odd", [lambda rows: (*rows, None), lambda rows: 5, lambda rows: ((1,),)])
def test_a_list_of_anything_else_is_no_answer(answers, function, odd):
    made, change = answers
    change(function, odd)
    with pytest.raises(BrokerUnavailable, match=f"{function} answered what makes no sense"):
        listed(made, function)


@pytest.mark.parametrize("tick", [5, SimpleNamespace(time=None, bid=None, ask=1.0)])
def test_an_odd_tick_is_no_answer(answers, tick):
    made, change = answers
    change("symbol_info_tick", lambda honest: tick)
    with pytest.raises(BrokerUnavailable, match="symbol_info_tick answered"):
        made.adapter.quote(made.instrument)
    with pytest.raises(BrokerUnavailable, match="symbol_info_tick answered"):
        made.adapter.tick_time_ns(made.instrument, made.terminal.now_ns())


@pytest.mark.parametrize("function", ["terminal_info", "symbol_info", "account_info"])
def test_an_odd_answer_while_connecting_is_none(answers, function):
    made, change = answers
    change(function, lambda honest: 5)
    with pytest.raises(BrokerUnavailable, match=f"{function} answered"):
        MT5Adapter(made.terminal, [made.instrument]).connect()


def test_filling_that_has_changed_is_read_again(answers):
    made, change = answers
    ioc = mt5.SYMBOL_FILLING_IOC
    change("symbol_info", lambda info: changed(info, filling_mode=ioc, trade_exemode=2))
    refused = []
    honest = made.terminal.order_send

    def only_ioc(request):
        refused.append(request["type_filling"])
        answer = honest(request)
        return (
            changed(answer, retcode=mt5.TRADE_RETCODE_INVALID_FILL) if refused[1:] == [] else answer
        )

    made.terminal.order_send = only_ioc
    assert made.send(1).outcome is Outcome.NOT_EXECUTED
    assert made.send(1).outcome is Outcome.EXECUTED
    assert refused == [mt5.ORDER_FILLING_FOK, mt5.ORDER_FILLING_IOC]


def test_rules_that_cannot_be_read_again_keep_an_order_back(answers):
    made, change = answers
    made.adapter._rules.clear()
    change("symbol_info", lambda info: None)
    result = made.send(1)
    assert (result.outcome, result.retcode) == (Outcome.NOT_EXECUTED, None)
    assert "symbol_info failed" in result.text and not made.positions
