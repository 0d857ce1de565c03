"""Limit and stop orders as the kernel fills them: the bid of each, and what a fill does.

The bar opens at 100.00, the spread is 0.10 and slippage 0.03; a lot step is worth 1 USD per 1.0.
"""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.risk.reasons import NO_MONEY
from mtquant.sim.account import empty_book, margin_at_open
from mtquant.sim.episodes import open_account
from mtquant.sim.kernel import open_bar
from mtquant.sim.orders import execute
from mtquant.sim.records import DEAL
from mtquant.sim.working import fill_order, order_bid

pytestmark = pytest.mark.nojit

BARS = [[100.0, 101.0, 99.0, 100.0]] * 3


@pytest.fixture
def lane(toy_bars, toy_tape):
    def made(**rules):
        tape = toy_tape(toy_bars(BARS), slippage_points=3, **rules)
        book = empty_book(1, 1, tape.rules[0])._replace(deals=np.zeros((1, 8), DEAL))
        open_account(book, tape, 0, 0, 2, 10_000.0)
        open_bar(book, tape, 0, 1)
        return book, tape

    return made


def prices(book):
    count = int(book.account["n_deals"][0])
    return [(int(d["steps"]), round(float(d["price"]), 2)) for d in book.deals[0, :count]]


@pytest.mark.parametrize(
    ("steps", "stop", "price", "bid", "paid"),
    [
        (5, False, 9_950, 9_937, 99.50),  # a limit's price holds the slippage
        (-5, False, 10_050, 10_053, 100.50),
        (5, True, 10_050, 10_040, 100.53),  # a stop's comes on top
        (-5, True, 9_950, 9_950, 99.47),
    ],
)
def test_where_an_order_fills_and_what_is_paid(lane, steps, stop, price, bid, paid):
    book, tape = lane()
    assert order_bid(book, tape, 0, 0, 1, steps, stop, price) == bid
    assert fill_order(book, tape, 0, 0, 1, steps, bid) == (0, steps)
    assert prices(book) == [(steps, paid)]
    assert int(book.positions["steps"][0, 0]) == steps


@pytest.mark.parametrize("hedging", [0, 1])
def test_a_fill_reduces_first_and_then_opens(lane, hedging):
    book, tape = lane(hedging=hedging)
    execute(book, tape, 0, 0, 1, 4, 0)
    execute(book, tape, 0, 0, 1, 3, 0)
    assert fill_order(book, tape, 0, 0, 1, -2, 10_053) == (-2, 0)
    assert fill_order(book, tape, 0, 0, 1, -9, 10_053) == (-5, -4)
    closed = [steps for steps, price in prices(book)[2:] if price == 100.5]
    assert closed == ([-2, -2, -3, -4] if hedging else [-2, -5, -4])
    assert int(book.positions["steps"][0, 0]) == -4
    # Seven bought at 100.13, sold at 100.50.
    assert book.account["balance"][0] == pytest.approx(10_000.0 + 7 * 0.37)
    equity, margin = margin_at_open(book, tape, 0, 1)
    assert book.account["open_equity"][0] == pytest.approx(equity)
    assert book.account["open_margin"][0] == pytest.approx(margin)


def test_without_money_only_the_reduction_stands(lane):
    book, tape = lane()
    execute(book, tape, 0, 0, 1, 4, 0)
    assert fill_order(book, tape, 0, 0, 1, -20_000, 10_053) == (-4, 0)
    assert int(book.positions["steps"][0, 0]) == 0
    assert int(book.positions["reason"][0, 0]) == NO_MONEY


def test_a_market_order_at_the_open_is_the_same_fill(lane):
    (one, tape), (other, _) = lane(), lane()
    execute(one, tape, 0, 0, 1, 7, 0)
    fill_order(other, tape, 0, 0, 1, 7, 10_000)
    assert np.array_equal(one.deals, other.deals)
    assert one.account.tobytes() == other.account.tobytes()
