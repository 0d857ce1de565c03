"""Limit and stop orders: where they may stand, what ends them, and what a bar does with them.

Bar 1 is forming: it opens at 101.00 (the ask is 101.10) and closes at 102.00.
"""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.terminal.fault_plans import CATALOGUE
from mtquant.brokers.terminal.faults import FaultyTerminal
from mtquant.brokers.terminal.pending import MOST_ORDERS

BUY_LIMIT, SELL_LIMIT, BUY_STOP, SELL_STOP = range(2, 6)
FLAT = [100.0, 101.0, 101.0, 101.0, 101.0]


def request(kind, price, **changes):
    return {
        "action": mt5.TRADE_ACTION_PENDING,
        "symbol": "TOY.x",
        "volume": 0.10,
        "type": kind,
        "price": price,
        "type_filling": mt5.ORDER_FILLING_RETURN,
        "magic": 5,
        "comment": "waits",
    } | changes


@pytest.fixture
def open_at(make):
    """A connected terminal; by default bar 1 rises from 101.00 to 102.00."""

    def opened(prices=(100.0, 101.0, 102.0, 102.0, 102.0), **changes):
        terminal = make(list(prices), **changes)
        terminal.initialize()
        return terminal

    return opened


def place(terminal, kind, price, **changes):
    answer = terminal.order_send(request(kind, price, **changes))
    assert answer.retcode == mt5.TRADE_RETCODE_DONE, answer
    return answer.order


def fills(terminal):
    return [(d.type, d.volume, d.price) for d in terminal.account.deals[1:]]


@pytest.mark.parametrize(
    ("kind", "price", "reach", "missed", "side"),
    [
        (BUY_LIMIT, 100.5, {"low": 0.60}, {"low": 0.59}, mt5.DEAL_TYPE_BUY),  # the ask must
        (SELL_LIMIT, 102.5, {"high": 0.50}, {"high": 0.49}, mt5.DEAL_TYPE_SELL),
        (BUY_STOP, 102.3, {"high": 0.20}, {"high": 0.19}, mt5.DEAL_TYPE_BUY),
        (SELL_STOP, 100.6, {"low": 0.40}, {"low": 0.39}, mt5.DEAL_TYPE_SELL),
    ],
)
def test_a_bar_that_reaches_the_price_fills_at_it(open_at, kind, price, reach, missed, side):
    for bar, expected in ((missed, []), (reach, [(side, 0.10, price)])):
        terminal = open_at(**bar)
        ticket = place(terminal, kind, price)
        terminal.advance()
        assert fills(terminal) == expected
        assert terminal.orders_total() == 1 - len(expected)
    deal, order = terminal.account.deals[-1], terminal.account.orders[-1]
    assert (deal.order, deal.magic, deal.comment, deal.entry) == (ticket, 5, "waits", 0)
    assert (order.ticket, order.state, order.type, order.price_open) == (ticket, 4, kind, price)
    assert order.position_id == deal.position_id == terminal.positions_get()[0].identifier
    assert order.time_setup < order.time_done == deal.time


@pytest.mark.parametrize(
    ("kind", "price", "bar", "missed", "paid"),
    [
        (BUY_LIMIT, 100.5, {"low": 0.63}, {"low": 0.62}, 100.5),
        (SELL_LIMIT, 102.5, {"high": 0.53}, {"high": 0.52}, 102.5),
        (BUY_STOP, 102.3, {"high": 0.20}, {"high": 0.19}, 102.33),
        (SELL_STOP, 100.6, {"low": 0.40}, {"low": 0.39}, 100.57),
    ],
)
def test_slippage_never_worsens_a_limit_and_always_a_stop(open_at, kind, price, bar, missed, paid):
    for reached, expected in ((missed, []), (bar, [paid])):
        terminal = open_at(**reached)
        terminal.account.tape.contracts["slippage_ticks"][0] = 3
        place(terminal, kind, price)
        terminal.advance()
        assert [fill[2] for fill in fills(terminal)] == expected


@pytest.mark.parametrize(
    ("kind", "price", "opens", "paid"),
    [
        (BUY_LIMIT, 100.5, 99.0, 99.1),
        (SELL_LIMIT, 101.5, 103.0, 103.0),
        (BUY_STOP, 101.5, 103.0, 103.1),
        (SELL_STOP, 100.5, 99.0, 99.0),
    ],
)
def test_a_gap_fills_at_the_open_before_anybody_sees_it(open_at, kind, price, opens, paid):
    terminal = open_at([100.0, 101.0, opens, opens], closes=[101.0, 101.0, opens, opens])
    place(terminal, kind, price)
    terminal.advance()
    assert [fill[2] for fill in fills(terminal)] == [paid]
    assert terminal.orders_get() == () and len(terminal.positions_get()) == 1
    assert terminal.account.deals[-1].time == terminal.symbol_info_tick("TOY.x").time


def test_a_gap_fill_is_the_fill_of_a_market_order_there(open_at):
    gap = {"prices": [100.0, 101.0, 99.0, 99.5, 99.5], "closes": [101.0, 101.0, 99.5, 99.5, 99.5]}
    one, other = open_at(**gap), open_at(**gap)
    place(one, BUY_LIMIT, 100.5, sl=98.0, tp=103.0)
    for terminal in (one, other):
        terminal.advance()
    other.order_send(request(0, 0.0, action=1, sl=98.0, tp=103.0, type_filling=0))
    for terminal in (one, other):
        terminal.advance()
    books = one.account.book, other.account.book
    assert books[0].account.tobytes() == books[1].account.tobytes()
    for name in ("steps", "entry", "stop", "take", "result"):
        assert books[0].positions[name] == books[1].positions[name]


@pytest.mark.parametrize(
    ("order", "bar", "closes", "deals"),
    [
        # High first it is bought and stopped out, low first it would be held: the worse.
        (request(BUY_STOP, 102.0, sl=101.5), (1.0, 1.0), 102.5, [102.0, 101.5]),
        # Both ways meet the target after the fill.
        (request(BUY_STOP, 102.0, tp=102.5), (0.0, 1.0), 102.5, [102.0, 102.5]),
        # High first the target has gone by before the fill, and the close does not reach it.
        (request(BUY_LIMIT, 100.5, tp=101.9), (1.0, 1.5), 101.0, [100.5]),
        # The close does.
        (request(BUY_LIMIT, 100.5, tp=101.9), (1.0, 1.0), 102.0, [100.5, 101.9]),
        # A sell's stop needs the ask.
        (request(SELL_STOP, 100.5, sl=101.5), (1.0, 0.39), 101.0, [100.5]),
        (request(SELL_STOP, 100.5, sl=101.5), (1.0, 0.40), 101.0, [100.5, 101.5]),
    ],
)
def test_of_two_ways_through_a_bar_the_worse_is_taken(open_at, order, bar, closes, deals):
    prices = [100.0, 101.0, closes, closes]
    terminal = open_at(prices, low=bar[0], high=bar[1], closes=[101.0, closes, closes, closes])
    assert terminal.order_send(order).retcode == mt5.TRADE_RETCODE_DONE
    terminal.advance()
    assert [fill[2] for fill in fills(terminal)] == deals


def test_a_stop_that_comes_first_leaves_the_order_to_open(open_at):
    terminal = open_at(low=[0.0, 3.0, 0.0, 0.0, 0.0])
    terminal.order_send(request(0, 0.0, action=1, sl=100.0, type_filling=0))
    place(terminal, SELL_STOP, 99.5)
    terminal.advance()
    assert fills(terminal) == [(0, 0.10, 101.1), (1, 0.10, 100.0), (1, 0.10, 99.5)]
    assert [d.reason for d in terminal.account.deals[1:]] == [3, mt5.DEAL_REASON_SL, 3]
    assert terminal.positions_get()[0].type == mt5.POSITION_TYPE_SELL


def test_an_order_that_comes_before_the_stop_leaves_it_nothing(open_at):
    terminal = open_at(low=[0.0, 3.0, 0.0, 0.0, 0.0])
    terminal.order_send(request(0, 0.0, action=1, sl=99.5, type_filling=0))
    place(terminal, SELL_STOP, 100.0)
    terminal.advance()
    assert fills(terminal) == [(0, 0.10, 101.1), (1, 0.10, 100.0)]
    assert terminal.positions_get() == ()


def test_two_orders_are_met_in_their_order_and_may_turn_the_position(open_at):
    terminal = open_at(low=[0.0, 3.0, 0.0, 0.0, 0.0])
    for price, volume in ((99.0, 0.30), (100.5, 0.20)):
        place(terminal, BUY_LIMIT, price, volume=volume)
    terminal.advance()
    assert [fill[1:] for fill in fills(terminal)] == [(0.20, 100.5), (0.30, 99.0)]
    place(terminal, SELL_LIMIT, 104.0, volume=0.80, sl=105.0)
    terminal.account.tape.market["above"][2, 0] = 200
    terminal.advance()
    assert [fill[1:] for fill in fills(terminal)][2:] == [(0.50, 104.0), (0.30, 104.0)]
    (position,) = terminal.positions_get()
    assert (position.type, position.volume, position.sl) == (1, 0.30, 105.0)


def test_a_stop_out_comes_before_an_order_that_would_have_helped(make):
    terminal = make([100.0, 100.0, 100.0, 100.0], balance=120.0, low=7.0, high=9.0)
    terminal.initialize()
    terminal.order_send(request(0, 0.0, action=1, volume=0.2, type_filling=0))
    place(terminal, SELL_LIMIT, 108.0, volume=0.2)
    terminal.advance()
    assert terminal.account.deals[2].reason == mt5.DEAL_REASON_SO
    assert terminal.account.book.account["level"][0] == 3


@pytest.mark.parametrize(
    ("changes", "retcode"),
    [
        ({"price": 101.1}, mt5.TRADE_RETCODE_INVALID_PRICE),  # at the ask
        ({"price": 102.0}, mt5.TRADE_RETCODE_INVALID_PRICE),
        ({"price": 0.0}, mt5.TRADE_RETCODE_INVALID_PRICE),
        ({"price": -1.0}, mt5.TRADE_RETCODE_INVALID_PRICE),
        ({"price": float("nan")}, mt5.TRADE_RETCODE_INVALID_PRICE),
        ({"price": 100.005}, mt5.TRADE_RETCODE_INVALID_PRICE),
        ({"price": 101.01}, mt5.TRADE_RETCODE_INVALID_STOPS),  # nearer than 10 points
        ({"price": 101.0}, 0),
        ({"sl": 99.91}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"sl": 99.9}, 0),
        ({"tp": 100.09}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"tp": 99.0}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"sl": 99.001}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"volume": 0.015}, mt5.TRADE_RETCODE_INVALID_VOLUME),
        ({"type_filling": mt5.ORDER_FILLING_FOK}, mt5.TRADE_RETCODE_INVALID_FILL),
        ({"type": mt5.ORDER_TYPE_BUY_STOP_LIMIT}, mt5.TRADE_RETCODE_INVALID_ORDER),
        ({"type": mt5.ORDER_TYPE_BUY}, mt5.TRADE_RETCODE_INVALID_ORDER),
        ({"type_time": mt5.ORDER_TIME_SPECIFIED}, mt5.TRADE_RETCODE_INVALID_EXPIRATION),
        ({"position": 7}, mt5.TRADE_RETCODE_INVALID),
        ({"type": SELL_LIMIT, "price": 101.0}, mt5.TRADE_RETCODE_INVALID_PRICE),
        ({"type": SELL_LIMIT, "price": 101.1}, 0),
        ({"type": BUY_STOP, "price": 101.1}, mt5.TRADE_RETCODE_INVALID_PRICE),
        ({"type": BUY_STOP, "price": 101.19}, mt5.TRADE_RETCODE_INVALID_STOPS),
        ({"type": SELL_STOP, "price": 100.9}, 0),
    ],
)
def test_where_an_order_may_stand(open_at, changes, retcode):
    terminal = open_at(spec={"stops_level_points": 10})
    asked = request(BUY_LIMIT, 100.0) | changes
    assert terminal.order_check(asked).retcode == retcode
    assert terminal.order_send(asked).retcode == (retcode or mt5.TRADE_RETCODE_DONE)
    assert terminal.orders_total() == (retcode == 0) and len(terminal.account.deals) == 1


def test_orders_are_listed_changed_and_removed(open_at):
    terminal = open_at()
    ticket = place(terminal, BUY_LIMIT, 100.0, sl=99.0)
    (order,) = terminal.orders_get(ticket=ticket)
    assert (order.state, order.type_filling, order.volume_current) == (1, 2, 0.10)
    assert (order.price_open, order.sl, order.tp, order.price_current) == (100.0, 99.0, 0.0, 101.1)
    assert terminal.orders_get(symbol="TOY") == () and terminal.history_orders_total(0, 9**9) == 0
    change = {"action": mt5.TRADE_ACTION_MODIFY, "order": ticket, "price": 99.5, "tp": 103.0}
    assert terminal.order_send(change).retcode == mt5.TRADE_RETCODE_DONE
    (order,) = terminal.orders_get()
    assert (order.ticket, order.price_open, order.sl, order.tp) == (ticket, 99.5, 0.0, 103.0)
    assert (order.magic, order.comment, order.volume_initial) == (5, "waits", 0.10)
    for changes, retcode in (
        ({}, mt5.TRADE_RETCODE_NO_CHANGES),
        ({"price": 102.0}, mt5.TRADE_RETCODE_INVALID_PRICE),
        ({"order": 1}, None),
        ({"order": 1, "symbol": "TOY.x"}, mt5.TRADE_RETCODE_INVALID),
    ):
        answer = terminal.order_send(change | changes)
        assert (answer and answer.retcode) == retcode
    remove = {"action": mt5.TRADE_ACTION_REMOVE, "order": ticket, "symbol": "TOY.x"}
    assert terminal.order_send(remove).retcode == mt5.TRADE_RETCODE_DONE
    assert terminal.order_send(remove).retcode == mt5.TRADE_RETCODE_INVALID
    (order,) = terminal.history_orders_get(ticket=ticket)
    assert (order.state, order.volume_current) == (mt5.ORDER_STATE_CANCELED, 0.10)
    assert terminal.orders_total() == 0


def test_nothing_near_the_market_may_be_touched(open_at):
    terminal = open_at(spec={"freeze_level_points": 20})
    near, far = place(terminal, BUY_LIMIT, 100.9), place(terminal, BUY_LIMIT, 100.89)
    for ticket, retcode in ((near, mt5.TRADE_RETCODE_FROZEN), (far, mt5.TRADE_RETCODE_DONE)):
        change = {"action": mt5.TRADE_ACTION_MODIFY, "order": ticket, "price": 99.0}
        assert terminal.order_send(change).retcode == retcode
    remove = {"action": mt5.TRADE_ACTION_REMOVE, "order": near}
    assert terminal.order_send(remove).retcode == mt5.TRADE_RETCODE_FROZEN
    bought = terminal.order_send(request(0, 0.0, action=1, sl=100.8, type_filling=0)).order
    move = {"action": mt5.TRADE_ACTION_SLTP, "symbol": "TOY.x", "position": bought, "sl": 99.0}
    assert terminal.order_send(move).retcode == mt5.TRADE_RETCODE_FROZEN
    terminal.advance()
    assert terminal.order_send(move | {"sl": 101.0}).retcode == mt5.TRADE_RETCODE_DONE


def test_an_order_for_the_day_ends_with_it(open_at):
    terminal = open_at(start="2024-01-02T22:00")
    day = place(terminal, BUY_LIMIT, 90.0, type_time=mt5.ORDER_TIME_DAY)
    good = place(terminal, BUY_LIMIT, 91.0)
    terminal.advance()
    assert [order.ticket for order in terminal.orders_get()] == [good]
    (ended,) = terminal.history_orders_get(0, 2**31 - 1)
    assert (ended.ticket, ended.state) == (day, mt5.ORDER_STATE_EXPIRED)
    late = place(terminal, BUY_LIMIT, 92.0, type_time=mt5.ORDER_TIME_DAY)
    terminal.advance()
    assert [order.ticket for order in terminal.orders_get()] == [good, late]


def test_what_the_server_cannot_fill_is_dead(open_at):
    terminal = open_at(low=[0.0, 3.0, 0.0, 0.0, 0.0])
    ticket = place(terminal, BUY_LIMIT, 101.0, volume=100.0)
    terminal.advance()
    assert terminal.history_orders_get(ticket=ticket)[0].state == mt5.ORDER_STATE_REJECTED
    assert fills(terminal) == [] and terminal.orders_total() == 0
    terminal = open_at(low=[0.0, 3.0, 0.0, 0.0, 0.0], rules={"hedging": 1})
    terminal.order_send(request(0, 0.0, action=1, type_filling=0))
    ticket = place(terminal, SELL_STOP, 100.0)
    more = place(terminal, BUY_LIMIT, 100.0)
    terminal.advance()
    assert terminal.history_orders_get(ticket=ticket)[0].state == mt5.ORDER_STATE_REJECTED
    assert [p.ticket for p in terminal.positions_get()][1:] == [more]


def test_so_many_orders_and_no_more(open_at):
    terminal = open_at(low=[0.0, 3.0, 0.0, 0.0, 0.0])
    for n in range(MOST_ORDERS):
        place(terminal, BUY_LIMIT, 100.0 - n / 100, volume=0.01)
    answer = terminal.order_send(request(BUY_LIMIT, 98.0))
    assert answer.retcode == mt5.TRADE_RETCODE_LIMIT_ORDERS
    assert terminal.account_info().limit_orders == MOST_ORDERS
    terminal.advance()
    assert len(fills(terminal)) == MOST_ORDERS and terminal.positions_get()[0].volume == 1.0


@pytest.mark.parametrize("hedging", [0, 1])
def test_books_add_up_and_prices_are_kept_on_random_bars(make, hedging):
    rng = np.random.default_rng(hedging)
    closes = np.round(100.0 + np.cumsum(rng.normal(0.0, 0.5, 250)), 2)
    opens = np.round(np.append(100.0, closes[:-1]) + rng.normal(0.0, 0.6, 250), 2)
    low, high = np.round(rng.exponential(0.5, (2, 250)), 2)
    terminal = make(list(opens), closes=closes, low=low, high=high, rules={"hedging": hedging})
    terminal.initialize()
    asked, seen = {}, set()
    while not terminal.finished:
        bid, kind = terminal.symbol_info_tick("TOY.x").bid, int(rng.integers(2, 6))
        away = round(float(rng.exponential(0.7)), 2) + 0.2
        price = round(bid + away if kind in (SELL_LIMIT, BUY_STOP) else bid - away, 2)
        side = 1 if kind in (BUY_LIMIT, BUY_STOP) else -1
        levels = {"sl": round(price - side * 0.8, 2), "tp": round(price + side * 1.1, 2)}
        ticket = place(terminal, kind, price, volume=0.01 * int(rng.integers(1, 9)), **levels)
        asked[ticket] = (kind, price)
        working = terminal.orders_get()
        if len(working) > 6:
            terminal.order_send({"action": mt5.TRADE_ACTION_REMOVE, "order": working[0].ticket})
        terminal.advance()
        held = sum(p.volume * (1 - 2 * p.type) for p in terminal.positions_get())
        deals = terminal.account.deals[1:]
        assert held == pytest.approx(sum(d.volume * (1 - 2 * d.type) for d in deals))
        money = sum(d.profit + d.commission for d in terminal.account.deals)
        assert terminal.account_info().balance == pytest.approx(money)
    for deal in terminal.account.deals[1:]:
        kind, price = asked.get(deal.order, (None, 0.0))
        better = round((price - deal.price) * (1 - 2 * deal.type), 6)
        assert kind is None or (better <= 0 if kind in (BUY_STOP, SELL_STOP) else better >= 0)
        seen.add((kind, deal.reason, better != 0))
    assert hedging or {(kind, 3, gap) for kind in range(2, 6) for gap in (False, True)} <= seen
    assert {(None, mt5.DEAL_REASON_SL, True), (None, mt5.DEAL_REASON_TP, True)} <= seen
    ended = [order.ticket for order in terminal.account.orders]
    assert len(ended) == len(set(ended)) and set(ended) <= set(asked)
    assert set(ended) | {o.ticket for o in terminal.orders_get()} == set(asked)


@pytest.mark.parametrize("name", ["time-out, executed", "executed a bar later", "rejected"])
def test_working_orders_meet_faults_too(open_at, name):
    terminal = open_at(kind=FaultyTerminal, plan={1: CATALOGUE[name]})
    answer = terminal.order_send(request(BUY_LIMIT, 95.0))
    assert (answer and answer.retcode) == (mt5.TRADE_RETCODE_REJECT if name == "rejected" else None)
    assert terminal.orders_total() == (name == "time-out, executed")
    terminal.advance()
    assert [o.magic for o in terminal.orders_get()] == [5] * (name != "rejected")


def test_flat_bars_touch_nothing(open_at):
    terminal = open_at(FLAT)
    tickets = [place(terminal, BUY_LIMIT, 100.0), place(terminal, SELL_LIMIT, 102.0)]
    while not terminal.finished:
        terminal.advance()
    assert [order.ticket for order in terminal.orders_get()] == tickets
    assert fills(terminal) == []
