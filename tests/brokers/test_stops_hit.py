"""What the server closes by itself as a bar passes, and what it says of that."""

from __future__ import annotations

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import DealReason, Outcome
from mtquant.risk.reasons import BREAKER, STOP


def test_a_stop_is_hit_inside_the_bar(desk):
    # Bar 1 goes from 101.00 to 102.00 and down to 99.50; the stop stands at 100.00.
    made = desk(low=[0.0, 1.5, 0.0, 0.0, 0.0, 0.0])
    made.send(10, stop_distance=100, take_distance=300)
    (position,) = made.positions
    forming_ns = made.terminal.now_ns()
    made.terminal.advance()
    assert made.positions == ()
    deal = made.adapter.deals(forming_ns)[-1]
    assert (deal.reason, deal.opens, deal.stop_out) == (DealReason.STOP, False, False)
    assert (deal.price, deal.volume_lots, deal.magic) == (100.0, -0.10, 5)
    # Bought at 101.10: 10 steps of 1 unit lose 1.10 each; 2.00 a lot of commission a side.
    assert (deal.profit, deal.commission) == (-11.0, -0.2)
    assert (deal.position_id, deal.order) == (position.identifier, 0)
    assert forming_ns < deal.time_ns < made.terminal.now_ns()
    shown = made.deals[-1]
    assert (shown.reason, shown.comment) == (mt5.DEAL_REASON_SL, "sl")
    assert (shown.entry, shown.type) == (mt5.DEAL_ENTRY_OUT, mt5.DEAL_TYPE_SELL)
    assert made.adapter.account().balance == 10_000.0 - 11.0 - 2 * 0.2


def test_only_deals_of_the_forming_bar_are_explained(desk):
    made = desk(low=5.0)
    made.send(10, stop_distance=100)
    made.terminal.account.explain([BREAKER])
    made.terminal.advance()
    made.terminal.account.explain([BREAKER])  # nothing was sent in the new bar
    deals = made.terminal.account.book.deals[0]
    assert deals["reason"][:2].tolist() == [BREAKER, STOP]


@pytest.mark.parametrize(
    ("steps", "low", "high", "price", "reason"),
    [
        (10, 1.0, 0.0, 100.0, DealReason.STOP),  # low 100.00 touches
        (10, 0.99, 0.0, None, None),
        (10, 0.0, 2.0, 104.0, DealReason.TARGET),  # high 104.00 touches
        (10, 0.0, 1.99, None, None),
        (10, 1.0, 2.0, 100.0, DealReason.STOP),  # of both the stop
        (-10, 0.0, 0.0, 102.1, DealReason.STOP),  # ask 102.10 at the high of 102.00
        (-10, 0.0, 9.0, 102.1, DealReason.STOP),
        (-10, 3.0, 0.0, 102.1, DealReason.STOP),
    ],
)
def test_which_level_is_hit_and_where(desk, steps, low, high, price, reason):
    made = desk(low=low, high=high)
    made.send(steps, stop_distance=100, take_distance=300)
    forming_ns = made.terminal.now_ns()
    made.terminal.advance()
    if price is None:
        assert len(made.positions) == 1
        return
    deal = made.adapter.deals(forming_ns)[-1]
    assert (deal.price, deal.reason, deal.magic) == (price, reason, 5)
    assert made.positions == ()


def test_a_shorts_target_needs_the_ask(desk):
    # The ask was 101.10: the target is 99.10, which the bid must pass by the spread of 0.10.
    for low, held in ((1.99, 1), (2.0, 0)):
        made = desk(low=low)
        made.send(-10, take_distance=200)
        made.terminal.advance()
        assert len(made.positions) == held
    assert made.deals[-1].price == 99.1
    assert made.deals[-1].comment == "tp"


def test_a_gap_fills_at_the_open_and_bars_increases_until_then(desk):
    # Bar 2 opens at 97.00, beyond the stop at 100.00.
    made = desk([100.0, 101.0, 97.0, 97.0], closes=[101.0, 101.0, 97.0, 97.0])
    made.send(10, stop_distance=100)
    made.terminal.advance()
    assert made.send(5).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    passed = made.change(100.5)
    assert (passed.outcome, passed.retcode) == (Outcome.NOT_EXECUTED, 10016)
    assert made.send(-4).price == 97.0
    assert made.levels == (100.0, 0.0)
    made.terminal.advance()
    assert made.positions == ()
    deal = made.deals[-1]
    assert (deal.price, deal.volume, deal.reason) == (97.0, 0.06, mt5.DEAL_REASON_SL)


def test_a_level_that_stays_is_not_judged_again(desk):
    # Bar 2 opens at 105.00, beyond the target at 104.00; the stop may still follow.
    made = desk([100.0, 101.0, 105.0, 105.0], closes=[101.0, 101.0, 105.0, 105.0])
    made.send(10, stop_distance=100, take_distance=300)
    made.terminal.advance()
    moved = made.change(103.0, 104.0)
    assert moved.outcome is Outcome.EXECUTED and made.levels == (103.0, 104.0)
    assert made.send(5).retcode == mt5.TRADE_RETCODE_INVALID_STOPS
    made.terminal.advance()
    deal = made.deals[-1]
    assert (deal.price, deal.reason) == (105.0, mt5.DEAL_REASON_TP)
