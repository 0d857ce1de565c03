"""Protective stops and targets as a client sets them: taken, moved, refused."""

from __future__ import annotations

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import Outcome

# The bid is 101.00 and the ask 101.10 while the second bar forms.
BUY = {
    "action": mt5.TRADE_ACTION_DEAL,
    "symbol": "TOY.x",
    "volume": 0.10,
    "type": mt5.ORDER_TYPE_BUY,
    "magic": 77,
}
SELL = BUY | {"type": mt5.ORDER_TYPE_SELL}
CHANGE = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "TOY.x"}
LEVEL_20 = {"stops_level_points": 20}


def test_an_increase_sets_the_levels_and_a_reduction_leaves_them(desk):
    made = desk()
    made.send(10, stop_distance=100, take_distance=300)
    assert made.levels == (100.0, 104.0)
    made.terminal.advance()
    made.send(-4, stop_distance=50, take_distance=50)
    assert made.levels == (100.0, 104.0)
    made.send(2, stop_distance=100)
    assert made.levels == (101.0, 0.0)
    made.send(2)
    assert made.levels == (0.0, 0.0)


def test_turned_round_the_levels_are_the_other_sides(desk):
    made = desk()
    made.send(10, stop_distance=100, take_distance=300)
    turned = made.terminal.order_send(SELL | {"volume": 0.15, "sl": 102.0, "tp": 99.0})
    assert turned.retcode == mt5.TRADE_RETCODE_DONE
    (position,) = made.positions
    assert (position.volume_lots, position.stop, position.take) == (-0.05, 102.0, 99.0)
    assert [deal.opens for deal in made.adapter.deals(made.terminal.now_ns())] == [
        False,  # the deposit
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("request_", "spec", "retcode"),
    [
        (BUY | {"sl": 100.99, "tp": 101.01}, {}, mt5.TRADE_RETCODE_DONE),
        (BUY | {"sl": 101.0}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"sl": 101.05}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"tp": 101.0}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"tp": 99.0}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"sl": 99.005}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"sl": -1.0}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"tp": float("nan")}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"tp": float("inf")}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"sl": 100.80, "tp": 101.20}, LEVEL_20, mt5.TRADE_RETCODE_DONE),
        (BUY | {"sl": 100.81}, LEVEL_20, mt5.TRADE_RETCODE_INVALID_STOPS),
        (BUY | {"tp": 101.19}, LEVEL_20, mt5.TRADE_RETCODE_INVALID_STOPS),
        (SELL | {"sl": 101.11, "tp": 101.09}, {}, mt5.TRADE_RETCODE_DONE),
        (SELL | {"sl": 101.10}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (SELL | {"tp": 101.10}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        (SELL | {"sl": 101.30, "tp": 100.90}, LEVEL_20, mt5.TRADE_RETCODE_DONE),
        (SELL | {"sl": 101.29}, LEVEL_20, mt5.TRADE_RETCODE_INVALID_STOPS),
        (SELL | {"tp": 100.91}, LEVEL_20, mt5.TRADE_RETCODE_INVALID_STOPS),
    ],
)
def test_stops_of_an_order_are_judged(desk, request_, spec, retcode):
    terminal = desk(spec=spec).terminal
    checked = terminal.order_check(request_).retcode
    assert checked == (0 if retcode == mt5.TRADE_RETCODE_DONE else retcode)
    assert terminal.order_send(request_).retcode == retcode
    assert terminal.positions_total() == int(retcode == mt5.TRADE_RETCODE_DONE)
    assert len(terminal.account.deals) == 1 + terminal.positions_total()


def test_stops_are_moved(desk):
    made = desk()
    made.send(10, stop_distance=100, take_distance=300)
    moved = made.change(100.5)
    assert (moved.outcome, moved.retcode, moved.steps) == (Outcome.EXECUTED, 10009, 0)
    assert made.levels == (100.5, 0.0)
    again = made.change(100.5)
    assert (again.outcome, again.retcode) == (Outcome.EXECUTED, mt5.TRADE_RETCODE_NO_CHANGES)
    assert len(made.deals) == 2 and len(made.terminal.account.orders) == 1


@pytest.mark.parametrize(
    ("changes", "spec", "retcode"),
    [
        ({"sl": 100.0, "tp": 104.0}, {}, mt5.TRADE_RETCODE_NO_CHANGES),
        ({"sl": 101.0}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"sl": 101.05, "tp": 104.0}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"sl": 100.0, "tp": 100.5}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"sl": 100.505}, {}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"sl": 100.81}, LEVEL_20, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"sl": 100.0, "position": 999}, {}, mt5.TRADE_RETCODE_POSITION_CLOSED),
        ({"sl": 100.0, "position": 0}, {}, mt5.TRADE_RETCODE_INVALID),
    ],
)
def test_a_change_that_is_refused_changes_nothing(desk, changes, spec, retcode):
    made = desk(spec=spec)
    made.send(10, stop_distance=100, take_distance=300)
    (position,) = made.positions
    request = CHANGE | {"position": position.ticket} | changes
    assert made.terminal.order_check(request).retcode == retcode
    assert made.terminal.order_send(request).retcode == retcode
    assert made.levels == (100.0, 104.0)


def test_no_stop_moves_while_the_market_is_shut(desk):
    made = desk([100.0, 101.0])
    made.send(10, stop_distance=100)
    made.terminal.advance()
    late = made.change(100.5)
    assert (late.outcome, late.retcode) == (Outcome.NOT_EXECUTED, 10018)
