"""Requests and answers: exact levels, every refusal's retcode, and no guess."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import (
    DealReason,
    Instrument,
    MarketOrder,
    Outcome,
    Quote,
    StopChange,
)
from mtquant.brokers.mt5_records import deal_of
from mtquant.brokers.mt5_requests import change_request, order_request
from mtquant.brokers.retcodes import outcome_of, outcome_of_change
from mtquant.brokers.terminal.records import TradeDeal
from mtquant.risk.reasons import PRICE_BAND


@pytest.mark.parametrize(
    ("tick", "digits", "prices", "bought", "sold"),
    [
        # bid and ask: 101.00 and 101.10, 1.10003 and 1.10013, 4001.75 and 4002.00
        (0.01, 2, [100.0, 101.0], (100.86, 101.25), (101.24, 100.85)),
        (0.00001, 5, [1.1, 1.10003], (1.09989, 1.10028), (1.10027, 1.09988)),
        (0.25, 2, [4000.0, 4001.75], (3998.25, 4008.0), (4005.5, 3995.75)),
    ],
)
def test_distances_become_exact_levels(desk, tick, digits, prices, bought, sold):
    spec = {"tick_size": tick, "digits": digits, "pip_size": tick}
    for steps, expected in ((10, bought), (-10, sold)):
        made = desk(prices, spec=spec)
        assert made.send(steps, stop_distance=14, take_distance=25).outcome is Outcome.EXECUTED
        assert made.levels == expected
        account = made.terminal.account
        assert account.standing(0) == tuple(made.instrument.ticks(price) for price in expected)


@given(
    tick=st.sampled_from(["0.01", "0.00001", "0.25"]),
    bid=st.integers(1, 10**7),
    spread=st.integers(0, 500),
    stop=st.integers(1, 10**6),
    take=st.integers(1, 10**6),
    side=st.sampled_from([1, -1]),
)
def test_levels_are_whole_ticks_away_or_none(toy_spec, tick, bid, spread, stop, take, side):
    spec = toy_spec.model_copy(update={"tick_size": float(tick), "digits": 5})
    instrument, size = Instrument(spec, "TOY.x"), Decimal(tick)
    quote = Quote(float(bid * size), float((bid + spread) * size))
    order = MarketOrder(instrument, side, 1, "", stop, take)
    request = order_request(order, mt5.ORDER_FILLING_FOK, quote)
    quoted = bid if side > 0 else bid + spread
    wanted = max(quoted - side * stop, 0), max(quoted + side * take, 0)
    assert (request["sl"], request["tp"]) == tuple(float(ticks * size) for ticks in wanted)
    change = change_request(StopChange(instrument, 9, request["sl"], request["tp"]))
    assert (change["sl"], change["tp"], change["position"]) == (request["sl"], request["tp"], 9)


def test_a_request_names_only_what_was_asked_for(toy_spec):
    order = MarketOrder(Instrument(toy_spec, "TOY.x"), 3, 1)
    request = order_request(order, mt5.ORDER_FILLING_IOC, None)
    assert not {"sl", "tp", "position"} & set(request)


def test_an_order_that_names_its_position_only_closes_it(desk):
    made = desk()
    made.send(10)
    (position,) = made.positions
    assert made.send(-11, ticket=position.ticket).retcode == mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
    assert made.send(1, ticket=position.ticket).retcode == mt5.TRADE_RETCODE_INVALID
    assert made.send(-1, ticket=999).retcode == mt5.TRADE_RETCODE_POSITION_CLOSED
    assert made.send(-10, ticket=position.ticket).outcome is Outcome.EXECUTED
    assert made.positions == ()


@pytest.mark.parametrize(
    ("prepare", "retcode"),
    [
        (lambda a: a.tape.market["banded"].__setitem__(1, PRICE_BAND), 10021),
        (lambda a: a.tape.rules["reject_probability"].__setitem__(0, 1.0), 10006),
        (lambda a: a.book.account["balance"].__setitem__(0, 1.0), 10019),
    ],
)
def test_what_the_server_refuses_has_its_retcode(desk, prepare, retcode):
    made = desk()
    prepare(made.terminal.account)
    refused = made.send(10)
    assert (refused.outcome, refused.retcode) == (Outcome.NOT_EXECUTED, retcode)
    assert made.positions == () and not made.terminal.account.orders


def test_a_part_is_what_the_lanes_own_generator_draws(desk):
    # splitmix64 of state 0 begins e220a8397b1dcdaf, 6e789e6aa1b965f4: 0.8833, 0.4315.
    made = desk(rules={"partial_probability": 1.0})
    part = made.send(10, stop_distance=100)
    assert (part.outcome, part.retcode, part.steps) == (Outcome.PARTIAL, 10010, 4)
    (position,) = made.positions
    assert (position.volume_lots, position.stop) == (0.04, 100.0)
    (order,) = made.terminal.account.orders
    assert (order.volume_initial, order.volume_current) == (0.10, 0.06)
    assert order.state == mt5.ORDER_STATE_PARTIAL


@pytest.mark.parametrize(
    ("rules", "mode", "level", "warned"),
    [
        ({}, mt5.ACCOUNT_STOPOUT_MODE_PERCENT, 50.0, 100.0),
        ({"stop_out_money": 300.0}, mt5.ACCOUNT_STOPOUT_MODE_MONEY, 300.0, 300.0),
    ],
)
def test_the_account_says_when_it_is_warned_and_stopped_out(desk, rules, mode, level, warned):
    made = desk(rules=rules)
    info = made.terminal.account_info()
    assert (info.margin_so_mode, info.margin_so_so, info.margin_so_call) == (mode, level, warned)
    account = made.adapter.account()
    assert account.margin_call == (warned / 100.0 if warned == 100.0 else 0.0)
    assert not account.called  # nothing is held
    assert replace(account, margin=account.equity * 1.01).called == (account.margin_call > 0.0)
    assert info.margin_mode == mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING


def test_without_a_quote_no_order_leaves(desk, monkeypatch):
    made = desk()
    monkeypatch.setattr(made.terminal, "symbol_info_tick", lambda name: None)
    unsent = made.send(10, stop_distance=100)
    assert unsent.outcome is Outcome.NOT_EXECUTED and "symbol_info_tick failed" in unsent.text
    empty = SimpleNamespace(bid=0.0, ask=0.0)
    monkeypatch.setattr(made.terminal, "symbol_info_tick", lambda name: empty)
    unsent = made.send(10, take_distance=100)
    assert unsent.outcome is Outcome.NOT_EXECUTED and "wait for a quote" in unsent.text
    assert made.positions == ()
    assert made.send(10).outcome is Outcome.EXECUTED


def test_a_change_without_an_answer_is_in_doubt(desk, monkeypatch):
    made = desk()

    def broken(request):
        raise ConnectionResetError("pipe")

    monkeypatch.setattr(made.terminal, "order_send", broken)
    lost = made.change(100.0, ticket=1)
    assert lost.outcome is Outcome.AMBIGUOUS and "pipe" in lost.text
    assert made.adapter.quote(made.instrument) == Quote(101.0, 101.1)


def test_no_changes_proves_a_change_and_no_order():
    answer = SimpleNamespace(retcode=mt5.TRADE_RETCODE_NO_CHANGES)
    assert outcome_of_change(answer, 1) is Outcome.EXECUTED
    assert outcome_of(answer, 1) is Outcome.AMBIGUOUS
    refused = SimpleNamespace(retcode=mt5.TRADE_RETCODE_INVALID_STOPS)
    assert outcome_of_change(refused, 1) is Outcome.NOT_EXECUTED
    assert outcome_of_change(None, -10005) is Outcome.AMBIGUOUS


@pytest.mark.parametrize(
    ("shown", "entry", "reason", "opens"),
    [
        (mt5.DEAL_REASON_CLIENT, mt5.DEAL_ENTRY_IN, DealReason.CLIENT, True),
        (mt5.DEAL_REASON_MOBILE, mt5.DEAL_ENTRY_OUT, DealReason.CLIENT, False),
        (mt5.DEAL_REASON_WEB, mt5.DEAL_ENTRY_INOUT, DealReason.CLIENT, True),
        (mt5.DEAL_REASON_EXPERT, mt5.DEAL_ENTRY_OUT_BY, DealReason.EXPERT, False),
        (mt5.DEAL_REASON_SL, mt5.DEAL_ENTRY_OUT, DealReason.STOP, False),
        (mt5.DEAL_REASON_TP, mt5.DEAL_ENTRY_OUT, DealReason.TARGET, False),
        (mt5.DEAL_REASON_SO, mt5.DEAL_ENTRY_OUT, DealReason.STOP_OUT, False),
        (mt5.DEAL_REASON_SPLIT, mt5.DEAL_ENTRY_IN, DealReason.OTHER, True),
        (99, mt5.DEAL_ENTRY_IN, DealReason.OTHER, True),
    ],
)
def test_why_a_deal_was_made(shown, entry, reason, opens):
    deal = deal_of(TradeDeal.of(reason=shown, entry=entry, volume=1.0), lambda seconds: seconds)
    assert (deal.reason, deal.opens) == (reason, opens)
    assert deal.stop_out == (reason is DealReason.STOP_OUT)
    money = TradeDeal.of(type=mt5.DEAL_TYPE_BALANCE, reason=shown, entry=entry)
    assert not deal_of(money, lambda seconds: seconds).opens
