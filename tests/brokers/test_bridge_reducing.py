"""What counts as a reduction while the bridge's switch is at REDUCE: what the terminal proves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.bridge.reducing import doubt_of

BUY = {"action": 1, "symbol": "TOY.x", "volume": 0.3, "type": 0, "magic": 5}
SELL = {**BUY, "type": 1}
NETTING, EXCHANGE, HEDGING = 0, 1, 2


def position(ticket, side=0, volume=0.3, sl=0.0, tp=0.0, symbol="TOY.x"):
    return SimpleNamespace(ticket=ticket, type=side, volume=volume, sl=sl, tp=tp, symbol=symbol)


ONE = (position(7),)


def doubt(request, mode=NETTING, held=ONE, orders=(), **answers):
    told = {
        "account_info": SimpleNamespace(margin_mode=mode),
        "positions_get": held,
        "orders_get": orders,
        **answers,
    }
    return doubt_of(request, lambda function, named: told[function])


TWO = (position(7), position(8, 1, 0.2))
CLOSE, LEVELS = {**SELL, "position": 7}, {"action": 6, "symbol": "TOY.x", "position": 7}


@pytest.mark.parametrize("mode", [NETTING, EXCHANGE])
def test_what_reduces_a_net_position(mode):
    for request in (SELL, CLOSE, {**SELL, "volume": 0.1}, {"action": 8, "order": 5}, LEVELS):
        assert doubt(request, mode) == "", request
    short = (position(7, 1),)
    assert doubt(BUY, mode, short) == "" and doubt(SELL, mode, short)
    for request, held in (
        (BUY, (position(7),)),
        ({**SELL, "volume": 0.31}, (position(7),)),
        ({**SELL, "volume": 0.0}, (position(7),)),
        ({**SELL, "position": 8}, (position(7),)),
        (SELL, ()),
        (SELL, (position(7, symbol="OTHER"),)),
        (SELL, TWO),
        ({**SELL, "type": 3}, (position(7),)),
        ({**SELL, "sl": 99.0}, (position(7),)),
        ({**SELL, "tp": 99.0}, (position(7),)),
        ({key: SELL[key] for key in ("action", "type", "volume")}, (position(7),)),
    ):
        assert doubt(request, mode, held), request


def test_what_reduces_on_a_hedging_account():
    assert doubt(CLOSE, HEDGING, TWO) == ""
    assert doubt({**BUY, "position": 8, "volume": 0.2}, HEDGING, TWO) == ""
    for request in (
        SELL,
        {**BUY, "position": 7},
        {**SELL, "position": 8},
        {**BUY, "position": 8},
        {**SELL, "position": 9},
        {**CLOSE, "volume": 0.4},
        {**LEVELS, "position": 0},
    ):
        assert doubt(request, HEDGING, TWO), request


@pytest.mark.parametrize("action", [0, 2, 3, 5, 7, 9, 10])
def test_no_other_action_is_proven_to_reduce(action):
    assert doubt({**CLOSE, "action": action, "position_by": 8, "order": 5}, HEDGING, TWO)


@pytest.mark.parametrize(
    ("side", "stands", "new", "passes"),
    [
        (0, (95.0, 110.0), (95.0, 110.0), True),
        (0, (95.0, 110.0), (96.0, 109.0), True),
        (0, (95.0, 110.0), (94.0, 110.0), False),
        (0, (95.0, 110.0), (95.0, 111.0), False),
        (0, (95.0, 110.0), (0.0, 110.0), False),
        (0, (95.0, 110.0), (95.0, 0.0), False),
        (0, (0.0, 0.0), (90.0, 0.0), True),
        (1, (110.0, 95.0), (109.0, 96.0), True),
        (1, (110.0, 95.0), (111.0, 95.0), False),
        (1, (110.0, 95.0), (110.0, 94.0), False),
        (1, (110.0, 95.0), (0.0, 0.0), False),
    ],
)
def test_which_levels_are_nearer(side, stands, new, passes):
    held = (position(7, side, 0.3, *stands),)
    for mode in (NETTING, HEDGING):
        assert (doubt({**LEVELS, "sl": new[0], "tp": new[1]}, mode, held) == "") is passes


def test_E3_what_the_terminal_does_not_say_proves_nothing():
    for answers in (
        {"account_info": None},
        {"account_info": SimpleNamespace(margin_mode=3)},
        {"account_info": SimpleNamespace()},
        {"positions_get": None},
        {"positions_get": (SimpleNamespace(),)},
        {"positions_get": (position(7, side=5),)},
        {"positions_get": (position(7, volume=float("nan")),)},
        {"orders_get": None},
        {"orders_get": (SimpleNamespace(type=mt5.ORDER_TYPE_SELL),)},
        {"orders_get": (SimpleNamespace(type=mt5.ORDER_TYPE_BUY),)},
    ):
        assert doubt(SELL, **answers), answers
    assert doubt(SELL, orders=(SimpleNamespace(type=mt5.ORDER_TYPE_SELL_STOP),)) == ""
    nan = (position(7, sl=float("nan")),)
    assert doubt({**LEVELS, "sl": 99.0}, held=nan)
