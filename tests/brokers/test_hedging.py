"""A hedging account: one side of a symbol, kept in tickets that are closed one by one."""

from __future__ import annotations

import pytest

from mtquant.brokers import constants as mt5
from mtquant.brokers.base import DealReason, Outcome


@pytest.fixture
def hedged(desk):
    return lambda **changes: desk(rules={"hedging": 1}, **changes)


@pytest.fixture
def three(hedged):
    """0.10, 0.20 and 0.30 lots at 101.10, 102.10 and 103.10; bar 3 is forming."""
    opened = hedged()
    for steps in (10, 20, 30):
        assert opened.send(steps, magic=steps).outcome is Outcome.EXECUTED
        if steps < 30:
            opened.terminal.advance()
    return opened


def test_the_account_is_a_hedging_one(hedged):
    opened = hedged()
    assert opened.adapter.account().hedging
    mode = opened.terminal.account_info().margin_mode
    assert mode == mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING


def test_every_order_opens_a_ticket(three):
    assert [(p.volume_lots, p.price_open, p.magic) for p in three.positions] == [
        (0.10, 101.10, 10),
        (0.20, 102.10, 20),
        (0.30, 103.10, 30),
    ]
    orders = [order.ticket for order in three.terminal.account.orders]
    assert [p.identifier for p in three.positions] == orders
    assert [p.ticket for p in three.positions] == orders
    assert len({p.opened_time_ns for p in three.positions}) == 3
    assert int(three.terminal.account.book.positions["steps"][0, 0]) == 60


def test_the_oldest_is_closed_in_part_and_then_wholly(three):
    oldest = three.positions[0]
    part = three.send(-4, ticket=oldest.ticket)
    assert (part.outcome, part.steps, part.price) == (Outcome.EXECUTED, -4, 103.0)
    # Bought at 101.10, sold at 103.00.
    deal = three.deals[-1]
    assert (deal.position_id, deal.magic, deal.entry) == (oldest.identifier, 5, mt5.DEAL_ENTRY_OUT)
    assert (deal.volume, deal.profit) == (0.04, 7.6)
    assert [p.volume_lots for p in three.positions] == [0.06, 0.20, 0.30]
    left = {"volume_lots": 0.06, "profit": pytest.approx(0.6 * oldest.profit)}
    assert three.positions[0] == type(oldest)(**{**vars(oldest), **left})
    three.send(-6, ticket=oldest.ticket)
    assert [p.magic for p in three.positions] == [20, 30]
    assert three.send(-1, ticket=oldest.ticket).retcode == mt5.TRADE_RETCODE_POSITION_CLOSED


def test_any_ticket_may_be_closed(three):
    middle = three.positions[1]
    closed = three.send(-20, ticket=middle.ticket)
    assert closed.outcome is Outcome.EXECUTED
    assert (three.deals[-1].position_id, three.deals[-1].profit) == (middle.identifier, 18.0)
    assert [(p.magic, p.price_open) for p in three.positions] == [(10, 101.10), (30, 103.10)]
    assert three.send(-30, ticket=three.positions[1].ticket).outcome is Outcome.EXECUTED
    assert [p.magic for p in three.positions] == [10]


def test_what_is_refused_changes_nothing(three):
    before, booked = three.positions, len(three.deals)
    oldest = before[0].ticket
    for steps, ticket, retcode in (
        (-5, 0, mt5.TRADE_RETCODE_HEDGE_PROHIBITED),
        (-11, oldest, mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME),
        (5, oldest, mt5.TRADE_RETCODE_INVALID),
        (-5, 999, mt5.TRADE_RETCODE_POSITION_CLOSED),
    ):
        refused = three.send(steps, ticket=ticket)
        assert (refused.outcome, refused.retcode) == (Outcome.NOT_EXECUTED, retcode)
    assert three.positions == before and len(three.deals) == booked


def test_eight_tickets_are_the_most(hedged):
    opened = hedged()
    for _ in range(8):
        assert opened.send(1).outcome is Outcome.EXECUTED
    ninth = opened.send(1)
    assert (ninth.outcome, ninth.retcode) == (Outcome.NOT_EXECUTED, 10040)
    opened.send(-1, ticket=opened.positions[3].ticket)
    assert opened.send(1).outcome is Outcome.EXECUTED
    assert len({p.ticket for p in opened.positions}) == 8


def test_flat_again_the_other_side_may_be_opened(hedged):
    opened = hedged()
    opened.send(10)
    opened.send(-10, ticket=opened.positions[0].ticket)
    assert opened.send(-10).outcome is Outcome.EXECUTED
    (position,) = opened.positions
    assert position.volume_lots == -0.10
    assert opened.send(10).retcode == mt5.TRADE_RETCODE_HEDGE_PROHIBITED


def test_all_tickets_carry_the_newest_levels(hedged):
    opened = hedged()
    opened.send(10, stop_distance=100, take_distance=500)
    opened.terminal.advance()
    opened.send(10, stop_distance=100, take_distance=500)
    assert {(p.stop, p.take) for p in opened.positions} == {(101.0, 107.0)}
    first, second = (opened.change(101.5, 107.0, p.ticket) for p in opened.positions)
    assert (first.outcome, first.retcode) == (Outcome.EXECUTED, mt5.TRADE_RETCODE_DONE)
    assert (second.outcome, second.retcode) == (Outcome.EXECUTED, mt5.TRADE_RETCODE_NO_CHANGES)
    assert {(p.stop, p.take) for p in opened.positions} == {(101.5, 107.0)}


def test_a_stop_closes_all_tickets(hedged):
    # The stop of the third ticket, 100 ticks below the bid of 103.00, is every ticket's.
    opened = hedged(low=[0.0, 0.0, 0.0, 1.5, 0.0, 0.0])
    for steps in (10, 20, 30):
        opened.send(steps, magic=steps, stop_distance=100)
        if steps < 30:
            opened.terminal.advance()
    held, forming_ns = opened.positions, opened.terminal.now_ns()
    opened.terminal.advance()
    assert opened.positions == ()
    closed = opened.adapter.deals(forming_ns)[-3:]
    assert [d.reason for d in closed] == [DealReason.STOP] * 3
    assert [(d.position_id, d.magic) for d in closed] == [(p.identifier, p.magic) for p in held]
    assert [d.price for d in closed] == [102.0] * 3
    # Bought at 101.10, 102.10 and 103.10.
    assert [d.profit for d in closed] == pytest.approx([9.0, -2.0, -33.0])


def test_swap_is_each_tickets_own(hedged):
    # The midnight after Tuesday books one night, 6.00 a lot.
    opened = hedged(start="2024-01-02T22:00", spec={"swap_mode": "money", "swap_long": -6.0})
    opened.send(10)
    opened.terminal.advance()
    opened.send(20)
    assert [p.swap for p in opened.positions] == [-0.6, 0.0]
    opened.send(-5, ticket=opened.positions[0].ticket)
    assert opened.deals[-1].swap == -0.3
    assert [p.swap for p in opened.positions] == [-0.3, 0.0]


def test_a_bar_with_many_deals_still_shows_all_that_its_stop_closes(hedged):
    opened = hedged(low=5.0)
    for _ in range(124):
        opened.send(1)
        opened.send(-1, ticket=opened.positions[0].ticket)
    for _ in range(8):
        opened.send(1, stop_distance=10)
    assert len(opened.deals) == 1 + 2 * 124 + 8
    opened.terminal.advance()
    assert opened.positions == ()
    assert len(opened.deals) == 1 + 2 * 124 + 2 * 8
    assert {d.reason for d in opened.deals[-8:]} == {mt5.DEAL_REASON_SL}
    paid = sum(d.profit + d.commission for d in opened.deals)
    assert opened.adapter.account().balance == pytest.approx(paid)
